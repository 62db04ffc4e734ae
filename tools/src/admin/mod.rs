//! How a running node is, over HTTP, for monitoring systems and supervisors.
//!
//! ```text
//!   GET /metrics ──► server ──► look: every core is asked, and waited for a second ──► metrics: text for Prometheus
//!   GET /livez, /readyz ─┘                                                        └──► health: 200, or 503 and what is wrong
//! ```
//! One thread of its own, beside the cores and never on one: it asks them over channels, and they answer between two turns. It is bound
//! before the node starts and answers from then on, also while the node waits to become a member or replays its log.
//!
//! Not here, on purpose: what is counted (`margate_engine`), pages for people (`margate top`).

mod health;
mod look;
mod metrics;
mod names;
mod server;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use margate_engine::runtime::watch::NodeWatch;

use self::look::Looker;
use crate::error::Failure;
use crate::listen::listen;

/// Binds the address, before anything is started or touched.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    listen(address).map_err(|source| Failure::Admin { address, source })
}

/// Starts the thread; it ends with the process.
pub(crate) fn start(listener: TcpListener, watch: NodeWatch) -> io::Result<()> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || {
        runtime.block_on(async {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => server::serve(listener, Looker::new(watch)).await,
                Err(error) => tracing::error!(%error, "nobody can look at this node over HTTP"),
            }
        });
    };
    thread::Builder::new().name("mgt-control".to_owned()).spawn(serve)?;
    tracing::info!(%address, "answers /metrics, /livez, /readyz and /version");
    Ok(())
}
