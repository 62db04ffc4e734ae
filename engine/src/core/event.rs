//! What goes into a core and what comes out.

use bytes::Bytes;
use margate_net::codec::ReceivedRequest;
use margate_net::ids::{CoreId, Incarnation, NodeId};
use margate_net::message::{MemberMessage, PeerBatch, Reply};

use crate::index::churn::Churn;
use crate::index::error::IndexError;
use crate::index::store::Generation;
use crate::log::flush::Flush;
use crate::log::segment::ReadySegment;
use crate::shard::answer::{Asked, ConnectionId};
use crate::types::{Nanos, Position};

/// The present, as the driver reads it once per turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time, for timers, deadlines and tenure. It is read after the events it goes with have arrived: a read is then
    /// answered from a state that was current at this moment, which lies between its call and its return, however long the
    /// process is stopped afterwards.
    pub now: Nanos,
    /// Wall time, for leader timestamps; it decides nothing but the shard clock.
    pub wall: Nanos,
}

/// A core of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerName {
    /// Its node.
    pub node: NodeId,
    /// Its core.
    pub core: CoreId,
}

/// Which read a result belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadTicket(pub u64);

/// A read from the log failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading {length} bytes at {position} of the log failed with error {errno}")]
pub struct LogReadFault {
    /// From where.
    pub position: Position,
    /// How much.
    pub length: usize,
    /// The system's error number, 0 where the file ended early.
    pub errno: i32,
}

impl LogReadFault {
    /// Whether there is nothing to read: the file ends before, or there is none. Anything else may pass.
    #[must_use]
    pub const fn finds_nothing(&self) -> bool {
        matches!(self.errno, 0 | libc::ENOENT)
    }
}

/// What happens to a core.
#[derive(Debug)]
pub enum Event {
    /// The file system of the log was measured.
    DiskFree {
        /// Bytes that may still be written to it.
        bytes: u64,
    },
    /// The generation handed to the index is durable.
    IndexDone {
        /// Its number.
        generation: u64,
        /// How it moved rows.
        churn: Churn,
    },
    /// The batch handed to the disk is durable.
    Flushed {
        /// Its sequence.
        sequence: u64,
        /// Monotonic times at which its write began and ended.
        lasted: (Nanos, Nanos),
    },
    /// A peer's core said something about members or images.
    Member {
        /// Which core.
        from: PeerName,
        /// What.
        message: MemberMessage,
    },
    /// A peer's core said something.
    Peer {
        /// Which core.
        from: PeerName,
        /// Its node's present incarnation.
        incarnation: Incarnation,
        /// What.
        batch: PeerBatch,
    },
    /// A peer's core cannot be reached.
    PeerLost {
        /// Which.
        peer: PeerName,
    },
    /// Bytes read from the log.
    ReadDone {
        /// Which read.
        ticket: ReadTicket,
        /// The bytes, exactly as many as asked for.
        result: Result<Bytes, LogReadFault>,
    },
    /// Operations of a client.
    Requests {
        /// The connection they came on.
        connection: ConnectionId,
        /// Monotonic time at which their frame was read.
        received: Nanos,
        /// Them, in order.
        requests: Vec<ReceivedRequest>,
    },
    /// A segment that is needed no more was deleted.
    SegmentDeleted,
    /// A segment is prewritten, or an old one ready for a new life.
    SegmentReady(ReadySegment),
    /// The disk has no space for a segment; what was there of it is gone. Nothing else was harmed.
    SegmentRefused {
        /// The number it was to have.
        number: u32,
    },
    /// Take no more operations, hand leadership over.
    Stop,
    /// One tick of the deployment's length has passed. Missed ones are dropped.
    Tick,
}

/// What happens to a core, without what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// [`Event::DiskFree`].
    DiskFree = 0,
    /// [`Event::Flushed`].
    Flushed = 1,
    /// [`Event::IndexDone`].
    IndexDone = 2,
    /// [`Event::Member`].
    Member = 3,
    /// [`Event::Peer`].
    Peer = 4,
    /// [`Event::PeerLost`].
    PeerLost = 5,
    /// [`Event::ReadDone`].
    ReadDone = 6,
    /// [`Event::Requests`].
    Requests = 7,
    /// [`Event::SegmentDeleted`].
    SegmentDeleted = 8,
    /// [`Event::SegmentReady`].
    SegmentReady = 9,
    /// [`Event::SegmentRefused`].
    SegmentRefused = 10,
    /// [`Event::Stop`].
    Stop = 11,
    /// [`Event::Tick`].
    Tick = 12,
}

impl EventKind {
    /// All, in the order of their codes.
    pub const ALL: [Self; 13] = [
        Self::DiskFree,
        Self::Flushed,
        Self::IndexDone,
        Self::Member,
        Self::Peer,
        Self::PeerLost,
        Self::ReadDone,
        Self::Requests,
        Self::SegmentDeleted,
        Self::SegmentReady,
        Self::SegmentRefused,
        Self::Stop,
        Self::Tick,
    ];

    /// As people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DiskFree => "disk free",
            Self::Flushed => "flushed",
            Self::IndexDone => "index done",
            Self::Member => "member",
            Self::Peer => "peer",
            Self::PeerLost => "peer lost",
            Self::ReadDone => "read done",
            Self::Requests => "requests",
            Self::SegmentDeleted => "segment deleted",
            Self::SegmentReady => "segment ready",
            Self::SegmentRefused => "segment refused",
            Self::Stop => "stop",
            Self::Tick => "tick",
        }
    }
}

impl Event {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::DiskFree { .. } => EventKind::DiskFree,
            Self::Flushed { .. } => EventKind::Flushed,
            Self::IndexDone { .. } => EventKind::IndexDone,
            Self::Member { .. } => EventKind::Member,
            Self::Peer { .. } => EventKind::Peer,
            Self::PeerLost { .. } => EventKind::PeerLost,
            Self::ReadDone { .. } => EventKind::ReadDone,
            Self::Requests { .. } => EventKind::Requests,
            Self::SegmentDeleted => EventKind::SegmentDeleted,
            Self::SegmentReady(_) => EventKind::SegmentReady,
            Self::SegmentRefused { .. } => EventKind::SegmentRefused,
            Self::Stop => EventKind::Stop,
            Self::Tick => EventKind::Tick,
        }
    }
}

/// What a core wants done.
#[derive(Debug)]
pub enum Effect {
    /// Commit this generation to the index and answer with [`Event::IndexDone`].
    CommitIndex(Generation),
    /// Delete this segment, which nobody reads any more, and answer with [`Event::SegmentDeleted`].
    DeleteSegment {
        /// Its number.
        number: u32,
    },
    /// Prewrite this segment and answer with [`Event::SegmentReady`], or with [`Event::SegmentRefused`] where the disk is full.
    PrepareSegment {
        /// Its number.
        number: u32,
    },
    /// Give the file of a segment that nobody reads any more a new life and answer with [`Event::SegmentReady`], or delete it and
    /// answer with [`Event::SegmentRefused`] where the disk is too full even for that.
    RecycleSegment {
        /// The number it has.
        from: u32,
        /// The number it gets.
        to: u32,
    },
    /// Read this from the log and answer with [`Event::ReadDone`].
    Read {
        /// Which read.
        ticket: ReadTicket,
        /// From where; not aligned.
        position: Position,
        /// How much.
        length: usize,
    },
    /// Answer a client.
    Reply {
        /// On this connection, if it still stands.
        connection: ConnectionId,
        /// With this.
        reply: Reply,
        /// What it had asked, where that made sense.
        asked: Option<Asked>,
    },
    /// Tell a peer's core on a connection of its own, or drop it if the peer cannot be reached.
    SendMember {
        /// Which.
        to: PeerName,
        /// What.
        message: MemberMessage,
    },
    /// Tell a peer's core, or drop it if the peer cannot be reached.
    Send {
        /// Which.
        to: PeerName,
        /// What.
        batch: PeerBatch,
    },
    /// Write this batch durably and answer with [`Event::Flushed`].
    Write(Flush),
}

/// Effects in the order they must be performed.
#[derive(Debug, Default)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// Adds one.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// Takes all.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.0.drain(..)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a core cannot go on; its node stops and its peers take over.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The index cannot be read.
    #[error("the index failed: {0}; its log still holds everything, restart the node")]
    Index(#[from] IndexError),
}
