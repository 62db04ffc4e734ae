//! A TCP proxy before every node that does what networks do: it closes, delays, cuts one direction or both, and flips
//! bits.
//!
//! ```text
//!  client ─┐                       ┌─► node 1 listens here (node.listen)
//!  node 2 ─┼─► proxy of node 1 ────┤
//!  node 3 ─┘   (cluster.nodes)     └─ one link for each (who dials, whom): its own dice, its own faults
//! ```
//! Who dials is read from the first frame. Reading order: `condition` is what is wrong with a link, `dice` draws faults
//! and their times, `pump` moves bytes under a condition, `door` accepts and connects, `counts` is what was done.
//!
//! All of it runs in a thread of its own, so that nodes are not slowed down by whoever records.
//!
//! Not here, on purpose: packets. What TCP repairs by itself nobody above it can see.

mod condition;
pub(crate) mod counts;
mod dice;
mod door;
mod pump;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::sync::watch;

use condition::Link;
use counts::{Counts, FaultCounts};

/// Who dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dialler {
    /// A client, or whoever does not say.
    Client,
    /// A node of this id.
    Node(u64),
}

/// Who dials whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LinkName {
    from: Dialler,
    to: u64,
}

/// What doors, pumps and dice share.
struct Shared {
    seed: u64,
    /// Whether faults are drawn; while it is false all links are sound.
    faulty: watch::Sender<bool>,
    links: Mutex<BTreeMap<LinkName, Arc<Link>>>,
    counts: Counts,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, BTreeMap<LinkName, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Proxies before some nodes; dropping them closes every connection.
pub(crate) struct Proxies {
    shared: Arc<Shared>,
    reached: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxies {
    /// Listens once for each node, given by its id and where it listens itself. All links are sound until
    /// [`Proxies::begin_faults`].
    ///
    /// # Errors
    /// There is no port or no thread.
    pub(crate) fn start(nodes: &[(u64, SocketAddr)], seed: u64) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared {
            seed,
            faulty: watch::Sender::new(false),
            links: Mutex::default(),
            counts: Counts::default(),
        });
        let mut reached = Vec::new();
        let mut doors = Vec::new();
        for (node, address) in nodes {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            reached.push(listener.local_addr()?);
            doors.push((listener, *node, *address));
        }
        let (stop, mut stopped) = watch::channel(false);
        let for_doors = shared.clone();
        let thread = thread::Builder::new().name("proxies".to_owned()).spawn(move || {
            // Leaving the runtime drops every task, and with it every socket.
            runtime.block_on(async {
                for (listener, node, address) in doors {
                    tokio::spawn(door::keep(listener, node, address, for_doors.clone()));
                }
                // An error means that whoever could stop us is gone, which is as good.
                let _ = stopped.wait_for(|stop| *stop).await;
            });
        })?;
        Ok(Self {
            shared,
            reached,
            stop,
            thread: Some(thread),
        })
    }

    /// Where the nodes are reached, in the order they were given.
    pub(crate) fn reached(&self) -> &[SocketAddr] {
        &self.reached
    }

    /// From now on links have faults.
    pub(crate) fn begin_faults(&self) {
        self.shared.faulty.send_replace(true);
    }

    /// From now on all links are sound.
    pub(crate) fn end_faults(&self) {
        self.shared.faulty.send_replace(false);
    }

    /// What was done up to now.
    pub(crate) fn counts(&self) -> FaultCounts {
        self.shared.counts.read(self.shared.links().len())
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It panicked or it ended; both are the end.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
