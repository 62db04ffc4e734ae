//! What clients ask, what servers answer, what replicas tell each other.
//!
//! These are the parsed forms: a value of these types is valid, and nothing behind `net` checks it
//! again. Keys and values are slices of the frame they came in, so nothing is copied on the way.
//!
//! Not here, on purpose: bytes on the wire (`frame.rs`, `codec`), and what an operation does
//! (`margate_engine::shard`).

use bytes::Bytes;

use crate::error::Refusal;
use crate::ids::{CoreId, DirectoryId, LogIndex, NodeId, RangeEpoch, ReplicaId, ShardId, Term, Version};
use crate::measure::Measures;

/// One operation of a client, addressed to a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, unique among the operations it has open on this connection.
    pub id: u64,
    /// The shard that owns the key, by the client's map.
    pub shard: ShardId,
    /// The range epoch of that shard in the client's map.
    pub range_epoch: RangeEpoch,
    /// Milliseconds the client will still wait, counted from arrival.
    pub timeout_ms: u32,
    /// What to do.
    pub operation: Operation,
}

/// What a client asks of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Replaces the value only if the present one equals `expected`; a missing key never does.
    CompareExchange {
        /// The key.
        key: Bytes,
        /// The value that must stand.
        expected: Bytes,
        /// The value to write.
        value: Bytes,
        /// What to send back.
        returning: Returning,
    },
    /// Deletes a key; a missing key, or one at another version, is a success that says "not deleted".
    Delete {
        /// The key.
        key: Bytes,
        /// Delete only at this version.
        at_version: Option<Version>,
        /// What to send back.
        returning: Returning,
    },
    /// Reads a value.
    Get {
        /// The key.
        key: Bytes,
        /// Which version.
        version: ReadVersion,
        /// How fresh.
        consistency: Consistency,
        /// What to send back; only the key makes sense here.
        returning: Returning,
    },
    /// Reads keys, and values if asked, of `[low, high)` in order; an empty `high` is the end.
    List {
        /// First key that may be listed.
        low: Bytes,
        /// First key above `low` that may not be listed; empty for none.
        high: Bytes,
        /// Rows wanted, at least 1; fewer may come, then `resume` says so.
        limit: u32,
        /// Which way.
        direction: Direction,
        /// How much of each row.
        projection: Projection,
        /// How fresh.
        consistency: Consistency,
    },
    /// Writes a value.
    Set {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// When to write.
        precondition: Precondition,
        /// What to send back.
        returning: Returning,
    },
    /// Reads a value's size in bytes.
    Size {
        /// The key.
        key: Bytes,
        /// Which version.
        version: ReadVersion,
        /// How fresh.
        consistency: Consistency,
        /// What to send back; only the key makes sense here.
        returning: Returning,
    },
}

/// When a set writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Always.
    #[default]
    Always,
    /// Only if the key does not exist (`create_only`).
    Absent,
    /// Only if the key exists (`modify_only`).
    Present,
    /// Only if the key is at this version (`at_version`; implies that it exists).
    AtVersion(Version),
}

/// What an operation sends back beside its own answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returning {
    /// The literal key (`return_key`).
    pub key: bool,
    /// The value that stood before (`return_old_value`).
    pub old_value: bool,
}

/// Which version a read wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadVersion {
    /// The one that stands.
    #[default]
    Latest,
    /// Exactly this one.
    Exact(Version),
}

/// How fresh a read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write acknowledged before the read began.
    #[default]
    Linearizable,
    /// Whatever this replica has applied, leader or not.
    Stale,
}

/// Which way a list walks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    #[default]
    Forward,
    /// From the largest key down.
    Reverse,
}

/// How much of each row a list returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// Keys and values.
    #[default]
    KeysAndValues,
    /// Keys and versions only.
    KeysOnly,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's id.
    pub id: u64,
    /// What became of it.
    pub outcome: Result<Success, Refusal>,
}

/// An operation was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    /// A delete that took the key away, or found nothing to take at all.
    Deleted {
        /// Version of the deletion; `None` where nothing was deleted.
        version: Option<Version>,
        /// The literal key, if asked for.
        key: Option<Bytes>,
        /// The value that stood, if asked for and there was one.
        old_value: Option<Bytes>,
    },
    /// A compare-exchange, done or not.
    Exchanged {
        /// Version of the new value; `None` where the present value was not the expected one.
        version: Option<Version>,
        /// The literal key, if asked for.
        key: Option<Bytes>,
        /// The value that stood, if asked for and there was one.
        old_value: Option<Bytes>,
    },
    /// A get's value.
    Found {
        /// The value's version.
        version: Version,
        /// The value.
        value: Bytes,
        /// The literal key, if asked for.
        key: Option<Bytes>,
        /// Highest log index the answering replica had applied.
        applied: LogIndex,
    },
    /// A page of rows.
    Listed {
        /// In the order asked for.
        rows: Vec<Row>,
        /// Where the next page starts (forward: its first key may be this one; reverse: all its keys are
        /// below this one); `None` when the range is exhausted.
        resume: Option<Bytes>,
        /// Highest log index the answering replica had applied.
        applied: LogIndex,
    },
    /// A size's answer.
    Sized {
        /// The value's version.
        version: Version,
        /// Bytes in the value.
        size: u64,
        /// The literal key, if asked for.
        key: Option<Bytes>,
        /// Highest log index the answering replica had applied.
        applied: LogIndex,
    },
    /// A set that wrote.
    Written {
        /// Version of the value written.
        version: Version,
        /// The literal key, if asked for.
        key: Option<Bytes>,
        /// The value that stood before, if asked for and there was one.
        old_value: Option<Bytes>,
    },
}

/// One row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// Its version.
    pub version: Version,
    /// Its value; `None` where only keys were asked for.
    pub value: Option<Bytes>,
}

/// What replicas of one core say to replicas of another, in one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerBatch {
    /// Number of this frame, counted by its sender for this pair of cores.
    pub round: u64,
    /// The highest round the sender has received from the receiver; tenure will rest on it.
    pub echo: u64,
    /// The sender's disk: what its acknowledgements carry.
    pub disk: DiskState,
    /// One message per replica and purpose, in the order they must be stepped.
    pub messages: Vec<PeerMessage>,
}

/// What a core's disk has left, as the core judges it by its own settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskState {
    /// Free bytes of its file system, as last measured; 0 before.
    pub free_bytes: u64,
    /// What that means.
    pub room: DiskRoom,
}

/// Whether a core's disk has room for more. Later is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DiskRoom {
    /// For anything.
    #[default]
    Ample = 0,
    /// It is under its watermark: what frees space may go on.
    Low = 1,
    /// Only what is kept for reclaim is left: nothing more is appended.
    Full = 2,
}

/// Which writes a leader takes, by the disks of its shard's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum WritesTaken {
    /// All.
    #[default]
    All = 0,
    /// Deletes: no quorum is above its watermark.
    Deletes = 1,
    /// None: no quorum can append anything, or this node cannot.
    None = 2,
}

/// One Raft message. The field names are the raft crate's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// The shard both replicas belong to.
    pub shard: ShardId,
    /// The sender.
    pub from: ReplicaId,
    /// The receiver.
    pub to: ReplicaId,
    /// What it is.
    pub kind: PeerMessageKind,
    /// The sender's term, 0 for messages that carry none.
    pub term: Term,
    /// Term of the entry before the first one sent.
    pub log_term: Term,
    /// Index of the entry before the first one sent, or the index answered about.
    pub index: LogIndex,
    /// The sender's commit.
    pub commit: LogIndex,
    /// Term of the entry at `commit`; 0 if the sender does not know it.
    pub commit_term: Term,
    /// The answer is no.
    pub reject: bool,
    /// Where the receiver's log ends, when it rejects an append.
    pub reject_hint: LogIndex,
    /// Priority of a candidate; always 0 today.
    pub priority: i64,
    /// Carried along and given back: a read's identity, a transfer's mark.
    pub context: Bytes,
    /// Entries to append.
    pub entries: Vec<PeerEntry>,
}

impl PeerMessage {
    /// A message that says nothing but its kind.
    #[must_use]
    pub const fn bare(shard: ShardId, (from, to): (ReplicaId, ReplicaId), kind: PeerMessageKind, term: Term) -> Self {
        Self {
            shard,
            from,
            to,
            kind,
            term,
            log_term: Term(0),
            index: LogIndex(0),
            commit: LogIndex(0),
            commit_term: Term(0),
            reject: false,
            reject_hint: LogIndex(0),
            priority: 0,
            context: Bytes::new(),
            entries: Vec::new(),
        }
    }
}

/// One log entry as replicas send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    /// Its term.
    pub term: Term,
    /// Its index.
    pub index: LogIndex,
    /// What its data are.
    pub kind: EntryKind,
    /// Effects (see `docs/format.md`), or a membership change.
    pub data: Bytes,
}

/// What an entry's data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Effects; empty at a leader's first entry.
    Normal = 0,
    /// A membership change of the raft crate, second form.
    Membership = 2,
}

/// The Raft messages that travel between replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PeerMessageKind {
    /// Entries, or a probe for where logs agree.
    Append = 1,
    /// Its answer.
    AppendResponse = 2,
    /// I lead.
    Heartbeat = 3,
    /// Its answer.
    HeartbeatResponse = 4,
    /// Would you vote for me?
    PreVote = 5,
    /// Its answer.
    PreVoteResponse = 6,
    /// Vote for me.
    Vote = 7,
    /// Its answer.
    VoteResponse = 8,
    /// Campaign now: leadership is handed to you.
    TimeoutNow = 9,
}

/// What makes and mends members of a shard: admission, and images that catch them up. Travels on a connection of its own, so that
/// it delays nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMessage {
    /// The shard.
    pub shard: ShardId,
    /// The replica that speaks; in [`MemberBody::Join`] the one that its core has lost, 0 for none.
    pub from: ReplicaId,
    /// The replica that is spoken to; 0 in [`MemberBody::Join`].
    pub to: ReplicaId,
    /// Which image or repair it is about; who sends images never uses a number twice. 0 where it is about none.
    pub attempt: u64,
    /// What is said.
    pub body: MemberBody,
}

/// What a [`MemberMessage`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberBody {
    /// A leader: the core with this data directory is replica `to` from now on.
    Admit {
        /// The data directory that asked.
        directory: DirectoryId,
    },
    /// A leader: an image of the shard's state begins.
    Begin {
        /// The last entry that the image holds.
        applied: LogIndex,
        /// That entry's term.
        applied_term: Term,
        /// The shard's state that is not a key, as its checkpoints hold it.
        state: Bytes,
    },
    /// A leader: the image is complete.
    End {
        /// One more than the number of the last rows.
        number: u64,
        /// The leader's term.
        term: Term,
    },
    /// Either: this image is given up.
    GiveUp,
    /// A member: the value that was asked for.
    Have {
        /// One effect, as an entry's data hold it: key, version, hash and value.
        data: Bytes,
    },
    /// A member: it cannot give the value that was asked for.
    HaveNot,
    /// A core without a replica, or with one that can never serve again: it wants to have one.
    Join {
        /// Its data directory.
        directory: DirectoryId,
    },
    /// Any member: replica `to`, which spoke to this one, is a member no more.
    Removed,
    /// A leader: rows of the image, with their values.
    Rows {
        /// Counts from 1.
        number: u64,
        /// Effects, as an entry's data hold them.
        data: Bytes,
    },
    /// A member: everything up to this number is durable here; 0 for the beginning.
    Taken {
        /// The number.
        number: u64,
    },
    /// A member whose record of a value is damaged: it asks another for it.
    Want {
        /// The value's version.
        version: Version,
        /// Its key.
        key: Bytes,
    },
}

/// What a node tells about itself to `margate status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreStatus {
    /// The node.
    pub node: NodeId,
    /// The core that answers.
    pub core: CoreId,
    /// Seconds since the node's start.
    pub uptime_secs: u64,
    /// Bytes in log segments, prewritten ones included.
    pub log_bytes: u64,
    /// Bytes of log segments that wait empty.
    pub log_ready_bytes: u64,
    /// Bytes of the index in use on disk.
    pub index_bytes: u64,
    /// Rows applied and not yet committed to the index.
    pub overlay_rows: u64,
    /// Times the log had to wait for a prewritten segment.
    pub segment_waits: u64,
    /// Its disk.
    pub disk: DiskState,
    /// Writes refused because disks are full, since the node's start.
    pub writes_refused: u64,
    /// Shards of which the map gives it a replica and it has none yet.
    pub shards_awaited: u32,
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// What it has counted and measured, where that was asked for.
    pub measures: Option<Measures>,
}

/// How much is asked of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StatusDetail {
    /// How it and its replicas are.
    Brief = 0,
    /// That, and all it has counted and measured.
    Measures = 1,
}

/// One replica, as its core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Its shard.
    pub shard: ShardId,
    /// Its id in that shard.
    pub replica: ReplicaId,
    /// What it is doing.
    pub role: ReplicaRole,
    /// The node that leads, where this replica knows it.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: Term,
    /// Highest index committed.
    pub commit: LogIndex,
    /// Highest index applied.
    pub applied: LogIndex,
    /// Highest index in the log.
    pub last: LogIndex,
    /// Which writes it takes, if it leads.
    pub writes: WritesTaken,
    /// Whether it can stand in for another.
    pub readiness: Readiness,
}

/// Whether a replica can stand in for another, or what it lacks for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Readiness {
    /// It votes, knows a leader, and has applied what was committed when its process started.
    Ready = 0,
    /// It knows no leader.
    Leaderless = 1,
    /// It has yet to apply what was committed when its process started, or to learn what that is.
    Behind = 2,
    /// It is not a voter yet.
    Voteless = 3,
    /// It does not run.
    Damaged = 4,
}

/// What a replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplicaRole {
    /// Follows a leader, or waits for one.
    Follower = 0,
    /// Asks for votes.
    Candidate = 1,
    /// Leads and serves.
    Leader = 2,
    /// Was not started, because its log or index is damaged.
    Damaged = 3,
}

impl EntryKind {
    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Normal, Self::Membership].into_iter().find(|kind| *kind as u8 == code)
    }
}

impl PeerMessageKind {
    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [
            Self::Append,
            Self::AppendResponse,
            Self::Heartbeat,
            Self::HeartbeatResponse,
            Self::PreVote,
            Self::PreVoteResponse,
            Self::Vote,
            Self::VoteResponse,
            Self::TimeoutNow,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

impl DiskRoom {
    /// The room with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Ample, Self::Low, Self::Full].into_iter().find(|room| *room as u8 == code)
    }
}

impl WritesTaken {
    /// The writes with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::All, Self::Deletes, Self::None]
            .into_iter()
            .find(|writes| *writes as u8 == code)
    }

    /// Whether an operation is among them; one that reads always is.
    #[must_use]
    pub fn include(self, operation: &Operation) -> bool {
        match operation {
            Operation::Get { .. } | Operation::List { .. } | Operation::Size { .. } => true,
            Operation::Delete { .. } => self < Self::None,
            Operation::CompareExchange { .. } | Operation::Set { .. } => self == Self::All,
        }
    }
}

impl CoreStatus {
    /// A core that has nothing yet.
    #[must_use]
    pub fn new(node: NodeId, core: CoreId) -> Self {
        Self {
            node,
            core,
            uptime_secs: 0,
            log_bytes: 0,
            log_ready_bytes: 0,
            index_bytes: 0,
            overlay_rows: 0,
            segment_waits: 0,
            disk: DiskState::default(),
            writes_refused: 0,
            shards_awaited: 0,
            replicas: Vec::new(),
            measures: None,
        }
    }
}

impl ReplicaStatus {
    /// A replica that has nothing yet and knows nobody.
    #[must_use]
    pub const fn new(shard: ShardId, replica: ReplicaId, role: ReplicaRole) -> Self {
        Self {
            shard,
            replica,
            role,
            leader: None,
            term: Term(0),
            commit: LogIndex(0),
            applied: LogIndex(0),
            last: LogIndex(0),
            writes: WritesTaken::None,
            readiness: Readiness::Leaderless,
        }
    }

    /// Entries that are committed here and not applied.
    #[must_use]
    pub const fn lag(&self) -> u64 {
        self.commit.0.saturating_sub(self.applied.0)
    }
}

impl StatusDetail {
    /// The detail with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Brief, Self::Measures].into_iter().find(|detail| *detail as u8 == code)
    }
}

impl Readiness {
    /// The readiness with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Ready, Self::Leaderless, Self::Behind, Self::Voteless, Self::Damaged]
            .into_iter()
            .find(|readiness| *readiness as u8 == code)
    }
}

impl ReplicaRole {
    /// The role with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Follower, Self::Candidate, Self::Leader, Self::Damaged]
            .into_iter()
            .find(|role| *role as u8 == code)
    }
}

impl Operation {
    /// The key an operation is routed by: its own, or a list's low one.
    #[must_use]
    pub fn routing_key(&self) -> &Bytes {
        match self {
            Self::CompareExchange { key, .. }
            | Self::Delete { key, .. }
            | Self::Get { key, .. }
            | Self::Set { key, .. }
            | Self::Size { key, .. } => key,
            Self::List { low, .. } => low,
        }
    }

    /// Whether carrying it out may change state.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::CompareExchange { .. } | Self::Delete { .. } | Self::Set { .. } => true,
            Self::Get { .. } | Self::List { .. } | Self::Size { .. } => false,
        }
    }

    /// Bytes of key and value it carries, for accounting.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::CompareExchange { key, expected, value, .. } => key.len() + expected.len() + value.len(),
            Self::Delete { key, .. } | Self::Get { key, .. } | Self::Size { key, .. } => key.len(),
            Self::List { low, high, .. } => low.len() + high.len(),
            Self::Set { key, value, .. } => key.len() + value.len(),
        }
    }
}

impl Reply {
    /// Bytes of keys and values it carries, for accounting.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        match &self.outcome {
            Err(_) => 0,
            Ok(
                Success::Deleted { key, old_value, .. }
                | Success::Exchanged { key, old_value, .. }
                | Success::Written { key, old_value, .. },
            ) => length(key) + length(old_value),
            Ok(Success::Found { value, key, .. }) => value.len() + length(key),
            Ok(Success::Listed { rows, .. }) => rows.iter().map(|row| row.key.len() + length(&row.value)).sum(),
            Ok(Success::Sized { key, .. }) => length(key),
        }
    }
}
