//! What a scan found: where the log goes on, what was torn, what is damaged, why it cannot be opened.

use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId};

use crate::log::batch::{BatchFault, Held};
use crate::log::segment::ReadySegment;
use crate::log::writer::Resume;
use crate::types::{Position, ReplicaName};

/// The end of a scan.
#[derive(Clone, Debug)]
pub struct ScanEnd {
    /// Where the log goes on.
    pub resume: Resume,
    /// What a crash left unfinished, if anything; it is written over.
    pub torn: Option<TornTail>,
    /// The end of a segment's file that is shorter than it was made, if batches may have been behind it.
    pub cut: Option<Position>,
    /// Acknowledged bytes that are lost, in log order.
    pub damage: Vec<Damage>,
    /// Prewritten segments after the end: give them to the writer.
    pub ready: Vec<ReadySegment>,
    /// Segments after the end that are not fully prewritten, or of another size: delete or redo them.
    pub discard: Vec<u32>,
}

/// Bytes after the last batch that are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Where the log goes on.
    pub position: Position,
    /// Bytes of blocks after it that are not zero.
    pub bytes: u64,
}

/// A place where acknowledged bytes are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the missing batch should begin; a segment's first byte if its header is lost.
    pub position: Position,
    /// The batch after it, which proves the loss.
    pub next_valid: Position,
    /// Whose records may be lost.
    pub replicas: DamagedReplicas,
    /// Batches missing. 0 if only a segment header is lost, or if a batch does not fit its predecessor.
    pub gap_batches: u64,
}

/// Whose records a damage may have taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamagedReplicas {
    /// Exactly these: one batch is missing and its successor lists what it held. Empty if it held no records.
    Listed(Vec<Held>),
    /// Perhaps every replica of the core.
    All,
}

impl DamagedReplicas {
    /// Whether this replica may have lost records.
    #[must_use]
    pub fn include(&self, name: ReplicaName) -> bool {
        match self {
            Self::Listed(listed) => listed.iter().any(|held| held.name == name),
            Self::All => true,
        }
    }
}

/// A read of a segment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// The system refused it.
    #[error("reading log segment {segment} at byte {offset} failed with system error {code}: check the disk, then start the node again")]
    System {
        /// The segment.
        segment: u32,
        /// Where.
        offset: u32,
        /// The system's error number.
        code: i32,
    },
    /// Fewer bytes came than the file should have.
    #[error("log segment {segment} gave {got} of {wanted} bytes at byte {offset}: restore the file, or replace this node")]
    Short {
        /// The segment.
        segment: u32,
        /// Where.
        offset: u32,
        /// Bytes asked for.
        wanted: usize,
        /// Bytes given.
        got: usize,
    },
}

/// What the log's newest segments hold may not be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log segment {segment} cannot be made durable (system error {code}): check the disk, then start the node again")]
pub struct SyncFault {
    /// The segment.
    pub segment: u32,
    /// The system's error number.
    pub code: i32,
}

/// Why a log cannot be opened. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// A segment of another deployment.
    #[error("log segment {segment} is of cluster {found}, this node of {expected}: point the node at its own data directory")]
    ForeignCluster {
        /// The segment.
        segment: u32,
        /// Its cluster.
        found: ClusterId,
        /// The node's.
        expected: ClusterId,
    },
    /// A segment of another data directory.
    #[error(
        "log segment {segment} is of data directory {found}, this one is {expected}: segments may not be copied between directories, move it back"
    )]
    ForeignDirectory {
        /// The segment.
        segment: u32,
        /// Its directory.
        found: DirectoryId,
        /// This one.
        expected: DirectoryId,
    },
    /// A segment of another node.
    #[error("log segment {segment} is of node {found}, this is node {expected}: point the node at its own data directory")]
    ForeignNode {
        /// The segment.
        segment: u32,
        /// Its node.
        found: NodeId,
        /// This one.
        expected: NodeId,
    },
    /// A segment of another core.
    #[error("log segment {segment} is of core {found}, this is core {expected}: move it back to that core's folder")]
    ForeignCore {
        /// The segment.
        segment: u32,
        /// Its core.
        found: CoreId,
        /// This one.
        expected: CoreId,
    },
    /// Written by a newer version of this program.
    #[error("log segment {segment} has format {found}, this version knows {supported}: start the node with the newer version")]
    NewerFormat {
        /// The segment.
        segment: u32,
        /// Its format.
        found: u16,
        /// The newest this version knows.
        supported: u16,
    },
    /// A segment file is gone, with batches in it.
    #[error("log segment {segment} is missing and later ones are in use: restore the file, or replace this node")]
    MissingSegment {
        /// The segment.
        segment: u32,
    },
    /// No sound batch where the caller wanted to begin.
    #[error("no sound batch begins at {position}: scan the log from its beginning")]
    StartNotFound {
        /// Where it should be.
        position: Position,
    },
    /// A sound batch that this version cannot read.
    #[error("the batch at {position} cannot be read by this version: {fault}; start the node with the version that wrote it")]
    Malformed {
        /// Where it begins.
        position: Position,
        /// What is wrong.
        fault: BatchFault,
    },
    /// The disk failed.
    #[error(transparent)]
    Read(#[from] ReadFault),
}
