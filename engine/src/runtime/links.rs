//! Connections dialled to peers' cores: at most one per lane, pair of cores and direction, for sending only.
//!
//! Raft's rounds have a lane of their own, so that an image delays no heartbeat. The lane of members is dialled
//! when something is to be sent on it for the first time, then kept; what is said while it is dialled waits for that. What
//! cannot be sent is dropped: whoever sends repeats what matters. A link that breaks is dialled again with growing patience; the loss of the one that carries
//! rounds is told to the machine.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use margate_net::codec::FrameWriter;
use margate_net::handshake::Hello;
use margate_net::measure::Traffic;
use margate_net::message::{MemberMessage, PeerBatch};
use margate_net::runtime::connection::{Connection, dial};
use margate_net::runtime::executor::sleep;

use super::core_loop::Shared;
use super::notify::Notify;
use crate::core::event::{Event, PeerName};

/// Bytes of rounds waiting for one peer beyond which new ones are dropped.
const ROUNDS_WAITING_BYTES_MAX: usize = 32 << 20;
/// Bytes about members waiting for one peer beyond which new messages are dropped: enough to keep a connection busy
/// while the next rows of an image are read, and little beside the rounds, which matter more.
const MEMBERS_WAITING_BYTES_MAX: usize = 4 << 20;
/// Milliseconds between dials: at first, and at most.
const DIAL_AGAIN_MS: (u64, u64) = (20, 500);

/// What a link carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What makes and mends members, images among it.
    Members,
    /// Rounds of Raft's messages.
    Rounds,
}

impl Lane {
    fn waiting_bytes_max(self) -> usize {
        match self {
            Self::Members => MEMBERS_WAITING_BYTES_MAX,
            Self::Rounds => ROUNDS_WAITING_BYTES_MAX,
        }
    }
}

/// What waits for one peer's core on one lane.
pub struct Link {
    peer: PeerName,
    lane: Lane,
    waiting: RefCell<Vec<u8>>,
    writer: RefCell<FrameWriter>,
    up: Cell<bool>,
    more: Notify,
    frames: Cell<u64>,
    bytes: Cell<u64>,
    dropped: Cell<u64>,
}

impl Link {
    /// A link that is down.
    #[must_use]
    pub fn new(peer: PeerName, lane: Lane) -> Rc<Self> {
        Rc::new(Self {
            peer,
            lane,
            waiting: RefCell::default(),
            writer: RefCell::new(FrameWriter::new()),
            up: Cell::new(false),
            more: Notify::default(),
            frames: Cell::default(),
            bytes: Cell::default(),
            dropped: Cell::default(),
        })
    }

    /// Sends a batch, or drops it if the peer cannot be reached or takes nothing.
    pub fn send(&self, batch: &PeerBatch) {
        self.write(|writer, waiting| writer.peer(waiting, batch));
    }

    /// Sends a message about members, once the peer is reached if it is being dialled, or drops it likewise.
    pub fn send_member(&self, message: &MemberMessage) {
        self.write(|writer, waiting| writer.member(waiting, message));
    }

    fn write(&self, encode: impl FnOnce(&mut FrameWriter, &mut Vec<u8>)) {
        let mut waiting = self.waiting.borrow_mut();
        // Rounds are stale by the time a dial is done; the lane of members is down until somebody speaks.
        let carried = self.up.get() || self.lane == Lane::Members;
        if carried && waiting.len() < self.lane.waiting_bytes_max() {
            let before = waiting.len();
            encode(&mut self.writer.borrow_mut(), &mut waiting);
            self.frames.set(self.frames.get() + 1);
            self.bytes.set(self.bytes.get() + (waiting.len() - before) as u64);
        } else {
            self.dropped.set(self.dropped.get() + 1);
        }
        // Also where it is dropped: it is a reason to dial.
        self.more.notify();
    }

    /// Adds what was sent on it.
    pub fn add_to(&self, traffic: &mut Traffic) {
        traffic.frames_sent += self.frames.get();
        traffic.bytes_sent += self.bytes.get();
        traffic.frames_dropped += self.dropped.get();
    }

    /// Until there is a reason to dial.
    async fn wanted(&self) {
        match self.lane {
            Lane::Members => self.more.wait().await,
            Lane::Rounds => {}
        }
    }
}

/// Keeps a link up for as long as the executor runs.
pub async fn keep(link: Rc<Link>, address: SocketAddr, hello: Hello, shared: Rc<Shared>) {
    let mut patience = DIAL_AGAIN_MS.0;
    link.wanted().await;
    loop {
        match dial(address, &hello).await {
            Ok((connection, welcome)) => {
                tracing::info!(
                    node = link.peer.node.0,
                    core = link.peer.core.0,
                    lane = ?link.lane,
                    incarnation = welcome.incarnation.0,
                    "peer reached"
                );
                patience = DIAL_AGAIN_MS.0;
                link.up.set(true);
                carry(&link, connection).await;
                link.up.set(false);
                link.waiting.borrow_mut().clear();
                tracing::info!(node = link.peer.node.0, core = link.peer.core.0, lane = ?link.lane, "peer lost");
            }
            Err(error) => {
                link.waiting.borrow_mut().clear();
                tracing::debug!(node = link.peer.node.0, core = link.peer.core.0, lane = ?link.lane, %error, "peer not reached");
            }
        }
        if link.lane == Lane::Rounds {
            shared.push(Event::PeerLost { peer: link.peer });
        }
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
            std::mem::swap(&mut bytes, &mut *link.waiting.borrow_mut());
            if bytes.is_empty() {
                link.more.wait().await;
                continue;
            }
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

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
