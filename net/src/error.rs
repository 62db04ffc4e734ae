//! What a server refuses and why: one enum, one table to wire codes, each with who caused it and a
//! retry class.
//!
//! A refusal is a fact with numbers in it. On the wire it is a code and two 64-bit arguments
//! (`docs/protocol.md` lists them); [`Refusal::to_wire`] and [`Refusal::from_wire`] are the one table.
//!
//! Not here, on purpose: what breaks a connection (`frame.rs`, `handshake`) and what stops a node
//! (`margate_engine`).

use crate::ids::{NodeId, RangeEpoch, Version};

/// An operation was not carried out as asked.
///
/// Except for [`Refusal::OutcomeUnknown`] each variant proves that the operation changed nothing and
/// never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller's key is longer than the limit; no log entry was written.
    #[error("the key has {length} bytes and at most {max} are allowed; shorten it")]
    InvalidKey {
        /// Bytes in the key.
        length: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// The caller's value does not fit one record.
    #[error("the value has {length} bytes and at most {max} are allowed; split it")]
    ValueTooLarge {
        /// Bytes in the value.
        length: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// The caller's arguments contradict each other or are out of their range.
    #[error("{0}")]
    InvalidArgument(ArgumentFault),
    /// The key does not exist (at the version asked for).
    #[error("the key does not exist")]
    NotFound,
    /// `create_only` met a key that exists.
    #[error("the key exists already, at version {version}")]
    AlreadyExists {
        /// The version that stands.
        version: Version,
    },
    /// `at_version` met another version, or none.
    #[error("the key is not at the version asked for: {}", DisplayActual(*.actual))]
    VersionMismatch {
        /// The version that stands, if the key exists.
        actual: Option<Version>,
    },
    /// The version asked for is not the latest, and no history is kept of this key.
    #[error("no such version of the key is kept")]
    NoSuchVersion,
    /// This replica does not lead its shard.
    #[error("this node does not lead the shard: {}", DisplayLeader(*.leader))]
    NotLeader {
        /// The node that leads, where this one knows it.
        leader: Option<NodeId>,
    },
    /// The key is not in the shard's range, or the range epoch of the request is old.
    #[error("the shard's range has changed (epoch {current} now); fetch the map")]
    WrongRange {
        /// The shard's range epoch.
        current: RangeEpoch,
    },
    /// This core holds no replica of the shard.
    #[error("this core holds no replica of the shard; fetch the map")]
    NoSuchShard,
    /// A queue is full.
    #[error("{queue} is full; try again after {retry_after_ms} ms")]
    Busy {
        /// Which one.
        queue: Queue,
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// The shard is handing leadership over and takes no writes for a moment.
    #[error("the shard is not ready yet; try again after {retry_after_ms} ms")]
    NotReady {
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// The disks of too many members of the shard are nearly full. Deletes are the last to be refused.
    #[error(
        "the disk is full: no quorum of the shard's members has room for this write (the fullest has {free_bytes} bytes free); \
         free disk space or delete keys; try again after {retry_after_ms} ms"
    )]
    DiskFull {
        /// Free bytes of the file system of the member that has least.
        free_bytes: u64,
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// The operation waited longer than its deadline and was taken out of the queue unexecuted.
    #[error("the deadline passed before the operation was executed")]
    DeadlineExceeded,
    /// The node is stopping and takes no new operations.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The replica's log or index is damaged, so it was not started.
    #[error("this node's replica of the shard is damaged and was not started; its log names the place")]
    Damaged,
    /// The operation was proposed and this node cannot tell whether it committed.
    #[error("the operation may or may not have been executed")]
    OutcomeUnknown,
}

/// What is wrong with the arguments of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u64)]
pub enum ArgumentFault {
    /// `create_only` and `modify_only` exclude each other.
    #[error("create_only and modify_only exclude each other; pass one of them")]
    CreateAndModify = 1,
    /// `create_only` and `at_version` exclude each other.
    #[error("create_only and at_version exclude each other; pass one of them")]
    CreateAtVersion = 2,
    /// The operation's kind is unknown to this server.
    #[error("the operation is unknown to this server; is it older than the client?")]
    UnknownOperation = 3,
    /// The operation carries a flag that means nothing for its kind.
    #[error("a flag was given that this operation does not take")]
    UnexpectedFlag = 4,
    /// A list must ask for at least one row.
    #[error("the limit of a list must be at least 1")]
    ZeroLimit = 5,
}

/// The queues that can be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u64)]
pub enum Queue {
    /// Operations waiting to be proposed on a shard.
    #[error("the shard's queue of operations")]
    Operations = 1,
    /// Entries proposed and not yet committed.
    #[error("the shard's window of uncommitted entries")]
    Proposals = 2,
    /// Reads waiting for their confirmation or their record.
    #[error("the shard's queue of reads")]
    Reads = 3,
    /// Index rows applied and not yet committed to disk.
    #[error("the core's overlay of uncommitted index rows")]
    Overlay = 4,
}

/// When an operation may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// The same request meets the same answer.
    Never,
    /// At once, by a fresh map or to another leader. It was not executed.
    NowWithNewMap,
    /// After this many milliseconds. It was not executed.
    AfterMs(u32),
    /// It may have been executed: sending it again could execute it twice.
    OutcomeUnknown,
}

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request itself.
    Caller,
    /// What the store holds: a normal answer.
    State,
    /// The caller's idea of the map or the leader.
    Route,
    /// The server: load, start, stop, damage.
    Server,
}

/// A refusal as it travels: a code and its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireRefusal {
    /// See the table in `docs/protocol.md`; 0 is success and never a refusal.
    pub code: u16,
    /// First argument of the code, 0 where it has none.
    pub a: u64,
    /// Second argument of the code, 0 where it has none.
    pub b: u64,
}

/// A refusal came with a code or an argument that this build does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent refusal code {code} with arguments {a} and {b}, unknown to this build; are both of one version?")]
pub struct UnknownRefusal {
    /// The code as it came.
    pub code: u16,
    /// Its first argument.
    pub a: u64,
    /// Its second argument.
    pub b: u64,
}

impl Refusal {
    /// When the operation may be sent again.
    #[must_use]
    pub fn retry(&self) -> RetryClass {
        match *self {
            Self::InvalidKey { .. }
            | Self::ValueTooLarge { .. }
            | Self::InvalidArgument(_)
            | Self::NotFound
            | Self::AlreadyExists { .. }
            | Self::VersionMismatch { .. }
            | Self::NoSuchVersion
            | Self::DeadlineExceeded => RetryClass::Never,
            Self::NotLeader { .. } | Self::WrongRange { .. } | Self::NoSuchShard | Self::ShuttingDown | Self::Damaged => {
                RetryClass::NowWithNewMap
            }
            Self::Busy { retry_after_ms, .. } | Self::NotReady { retry_after_ms } | Self::DiskFull { retry_after_ms, .. } => {
                RetryClass::AfterMs(retry_after_ms)
            }
            Self::OutcomeUnknown => RetryClass::OutcomeUnknown,
        }
    }

    /// Who has to change something.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::InvalidKey { .. } | Self::ValueTooLarge { .. } | Self::InvalidArgument(_) | Self::DeadlineExceeded => Fault::Caller,
            Self::NotFound | Self::AlreadyExists { .. } | Self::VersionMismatch { .. } | Self::NoSuchVersion => Fault::State,
            Self::NotLeader { .. } | Self::WrongRange { .. } | Self::NoSuchShard => Fault::Route,
            Self::Busy { .. }
            | Self::NotReady { .. }
            | Self::DiskFull { .. }
            | Self::ShuttingDown
            | Self::Damaged
            | Self::OutcomeUnknown => Fault::Server,
        }
    }

    /// The one table from refusals to wire codes.
    #[must_use]
    pub fn to_wire(&self) -> WireRefusal {
        let (code, a, b) = match *self {
            Self::InvalidKey { length, max } => (1, length, max),
            Self::ValueTooLarge { length, max } => (2, length, max),
            Self::InvalidArgument(fault) => (3, fault as u64, 0),
            Self::NotFound => (4, 0, 0),
            Self::AlreadyExists { version } => (5, version.0, 0),
            // Versions of effects start at 1, so 0 can say "missing".
            Self::VersionMismatch { actual } => (6, actual.map_or(0, |version| version.0), 0),
            Self::NoSuchVersion => (7, 0, 0),
            // Node ids start at 1, so 0 can say "not known".
            Self::NotLeader { leader } => (8, leader.map_or(0, |node| node.0), 0),
            Self::WrongRange { current } => (9, current.0, 0),
            Self::NoSuchShard => (10, 0, 0),
            Self::Busy { queue, retry_after_ms } => (11, queue as u64, u64::from(retry_after_ms)),
            Self::NotReady { retry_after_ms } => (12, u64::from(retry_after_ms), 0),
            Self::DeadlineExceeded => (13, 0, 0),
            Self::ShuttingDown => (14, 0, 0),
            Self::Damaged => (15, 0, 0),
            Self::OutcomeUnknown => (16, 0, 0),
            Self::DiskFull {
                free_bytes,
                retry_after_ms,
            } => (17, free_bytes, u64::from(retry_after_ms)),
        };
        WireRefusal { code, a, b }
    }

    /// The way back of [`Refusal::to_wire`].
    ///
    /// # Errors
    /// [`UnknownRefusal`] for a code or an argument this build does not know.
    pub fn from_wire(wire: WireRefusal) -> Result<Self, UnknownRefusal> {
        let WireRefusal { code, a, b } = wire;
        let unknown = UnknownRefusal { code, a, b };
        let millis = |value: u64| u32::try_from(value).map_err(|_| unknown);
        Ok(match code {
            1 => Self::InvalidKey { length: a, max: b },
            2 => Self::ValueTooLarge { length: a, max: b },
            3 => Self::InvalidArgument(ArgumentFault::from_wire(a).ok_or(unknown)?),
            4 => Self::NotFound,
            5 => Self::AlreadyExists { version: Version(a) },
            6 => Self::VersionMismatch {
                actual: (a != 0).then_some(Version(a)),
            },
            7 => Self::NoSuchVersion,
            8 => Self::NotLeader {
                leader: (a != 0).then_some(NodeId(a)),
            },
            9 => Self::WrongRange { current: RangeEpoch(a) },
            10 => Self::NoSuchShard,
            11 => Self::Busy {
                queue: Queue::from_wire(a).ok_or(unknown)?,
                retry_after_ms: millis(b)?,
            },
            12 => Self::NotReady {
                retry_after_ms: millis(a)?,
            },
            13 => Self::DeadlineExceeded,
            14 => Self::ShuttingDown,
            15 => Self::Damaged,
            16 => Self::OutcomeUnknown,
            17 => Self::DiskFull {
                free_bytes: a,
                retry_after_ms: millis(b)?,
            },
            _ => return Err(unknown),
        })
    }
}

impl ArgumentFault {
    fn from_wire(value: u64) -> Option<Self> {
        [
            Self::CreateAndModify,
            Self::CreateAtVersion,
            Self::UnknownOperation,
            Self::UnexpectedFlag,
            Self::ZeroLimit,
        ]
        .into_iter()
        .find(|fault| *fault as u64 == value)
    }
}

impl Queue {
    fn from_wire(value: u64) -> Option<Self> {
        [Self::Operations, Self::Proposals, Self::Reads, Self::Overlay]
            .into_iter()
            .find(|queue| *queue as u64 == value)
    }
}

struct DisplayActual(Option<Version>);

impl std::fmt::Display for DisplayActual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "it is at {version}"),
            None => f.write_str("it does not exist"),
        }
    }
}

struct DisplayLeader(Option<NodeId>);

impl std::fmt::Display for DisplayLeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(node) => write!(f, "node {node} does"),
            None => f.write_str("it knows of no leader"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_wire_refusal_is_known_or_named_as_unknown(code in 0u16..20, a in 0u64..10, b in 0u64..10) {
            let wire = WireRefusal { code, a, b };
            match Refusal::from_wire(wire) {
                Ok(refusal) => {
                    let again = Refusal::from_wire(refusal.to_wire()).expect("what we encode we decode");
                    prop_assert_eq!(again, refusal);
                    prop_assert_eq!(refusal.to_wire().code, code);
                }
                Err(unknown) => prop_assert_eq!((unknown.code, unknown.a, unknown.b), (code, a, b)),
            }
        }
    }

    #[test]
    fn only_an_unknown_outcome_forbids_a_retry_for_the_sake_of_exactly_once() {
        for code in 1..=17 {
            let refusal = Refusal::from_wire(WireRefusal { code, a: 1, b: 1 }).expect("codes are dense");
            assert_eq!(refusal.retry() == RetryClass::OutcomeUnknown, refusal == Refusal::OutcomeUnknown);
        }
    }
}
