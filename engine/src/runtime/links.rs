//! Connections dialled to peers' cores: one per pair of cores and direction, for sending only.
//!
//! What cannot be sent is dropped: Raft repeats what matters. A link that breaks is told to the machine and
//! dialled again with growing patience.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use glommio::timer::sleep;
use margate_net::codec::FrameWriter;
use margate_net::handshake::Hello;
use margate_net::message::PeerBatch;
use margate_net::runtime::connection::{Connection, dial};

use super::core_loop::Shared;
use super::notify::Notify;
use crate::core::event::{Event, PeerName};

/// Bytes waiting for one peer beyond which new batches are dropped.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Milliseconds between dials: at first, and at most.
const DIAL_AGAIN_MS: (u64, u64) = (20, 500);

/// What waits for one peer's core.
pub struct Link {
    peer: PeerName,
    waiting: RefCell<Vec<u8>>,
    writer: RefCell<FrameWriter>,
    up: Cell<bool>,
    more: Notify,
}

impl Link {
    /// A link that is down.
    #[must_use]
    pub fn new(peer: PeerName) -> Rc<Self> {
        Rc::new(Self {
            peer,
            waiting: RefCell::default(),
            writer: RefCell::new(FrameWriter::new()),
            up: Cell::new(false),
            more: Notify::default(),
        })
    }

    /// Sends a batch, or drops it if the peer cannot be reached or takes nothing.
    pub fn send(&self, batch: PeerBatch) {
        let mut waiting = self.waiting.borrow_mut();
        if self.up.get() && waiting.len() < WAITING_BYTES_MAX {
            self.writer.borrow_mut().peer(&mut waiting, &batch);
            self.more.notify();
        }
    }
}

/// Keeps a link up for as long as the executor runs.
pub async fn keep(link: Rc<Link>, address: SocketAddr, hello: Hello, shared: Rc<Shared>) {
    let mut patience = DIAL_AGAIN_MS.0;
    loop {
        match dial(address, &hello).await {
            Ok((connection, welcome)) => {
                tracing::info!(
                    node = link.peer.node.0,
                    core = link.peer.core.0,
                    incarnation = welcome.incarnation.0,
                    "peer reached"
                );
                patience = DIAL_AGAIN_MS.0;
                link.up.set(true);
                carry(&link, connection).await;
                link.up.set(false);
                link.waiting.borrow_mut().clear();
                tracing::info!(node = link.peer.node.0, core = link.peer.core.0, "peer lost");
            }
            Err(error) => tracing::debug!(node = link.peer.node.0, core = link.peer.core.0, %error, "peer not reached"),
        }
        shared.push(Event::PeerLost { peer: link.peer });
        sleep(Duration::from_millis(patience)).await;
        patience = (2 * patience).min(DIAL_AGAIN_MS.1);
    }
}

/// Writes until the connection breaks. The peer sends nothing on it, so a read only ends with the connection.
async fn carry(link: &Link, connection: Connection) {
    let Connection { mut reader, mut sender } = connection;
    let writing = async {
        let mut bytes = Vec::new();
        loop {
            link.more.wait().await;
            std::mem::swap(&mut bytes, &mut *link.waiting.borrow_mut());
            if let Err(error) = sender.write_all(&bytes).await {
                tracing::debug!(%error, "writing to a peer failed");
                return;
            }
            bytes.clear();
            bytes.shrink_to(1 << 20);
        }
    };
    let reading = async {
        if let Err(error) = reader.read_frames(&mut Vec::new()).await {
            tracing::debug!(%error, "a peer closed its connection");
        }
    };
    future::or(writing, reading).await;
}
