//! What the checkers find, as facts.
//!
//! Not here, on purpose: finding it (`check`).

use bytes::Bytes;
use margate_net::error::Refusal;
use margate_net::ids::{LogIndex, NodeId, ShardId, Term, Version};

use crate::types::ReplicaName;

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An assertion of the engine failed.
    #[error("an assertion failed: {message}")]
    Assertion {
        /// What it said.
        message: String,
    },
    /// A core said that it cannot go on, though no fault was injected that may do that.
    #[error("a core of node {node} halted: {why}")]
    Halted {
        /// The node.
        node: NodeId,
        /// What the core said.
        why: String,
    },
    /// A core did not start from what its disk holds.
    #[error("a core of node {node} does not start: {why}")]
    NotStarted {
        /// The node.
        node: NodeId,
        /// What replay said.
        why: String,
    },
    /// A core's log has lost so much that its replicas are not known: its node's data directory is to be deleted.
    #[error("a core of node {node} has lost its log")]
    LogLost {
        /// The node.
        node: NodeId,
    },
    /// A replica was taken for damaged, at its start or later.
    #[error("{name} was stopped as damaged, and nothing of it was damaged")]
    FalseDamage {
        /// The replica.
        name: ReplicaName,
    },
    /// A replica runs whose end is in its log.
    #[error("{name} has ended, its log says so, and was started")]
    EndedStarted {
        /// The replica.
        name: ReplicaName,
    },
    /// A replica id came back on a disk that had it before.
    #[error("{name} began on this disk once before, and began again")]
    BegunAgain {
        /// The replica.
        name: ReplicaName,
    },
    /// A replica might answer reads alone by a round that former members answered.
    #[error("{name} has tenure by a round that began before its members changed")]
    TenureOfFormerMembers {
        /// The replica.
        name: ReplicaName,
    },
    /// A start ran a replica that has lost records.
    #[error("{name} has lost acknowledged records, which a scan of its log can prove, and was started")]
    DamageOverlooked {
        /// The replica.
        name: ReplicaName,
    },
    /// No order of a key's operations explains what clients saw.
    #[error("no order explains the {operations} operations on key {key:?}; the first that fits nowhere: {stuck}")]
    NotLinearizable {
        /// The key.
        key: Bytes,
        /// How many operations it has.
        operations: usize,
        /// The operation at which the longest explanation ends.
        stuck: String,
    },
    /// A client got an answer that does not fit its question, or a value nobody wrote.
    #[error("a client got a senseless answer: {what}")]
    SenselessAnswer {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A refusal that cannot be in this world.
    #[error("a client was refused without a reason: {refusal}")]
    SenselessRefusal {
        /// The refusal.
        refusal: Refusal,
    },
    /// An acknowledged write is not in the log.
    #[error("the write of key {key:?} at version {version} was acknowledged and is not in shard {shard}'s log")]
    AcknowledgedLost {
        /// The shard.
        shard: ShardId,
        /// The key.
        key: Bytes,
        /// The version acknowledged.
        version: Version,
    },
    /// A value was written twice, or by an operation that was refused.
    #[error("value {value} is in the log {times} times, at most {allowed} are right")]
    ValueWritten {
        /// The value's number.
        value: u64,
        /// How often it is there.
        times: usize,
        /// How often it may be.
        allowed: usize,
    },
    /// A read showed something that never was committed.
    #[error("a read showed key {key:?} at version {version}, which is not in the log with that value")]
    ReadUncommitted {
        /// The key.
        key: Bytes,
        /// The version shown.
        version: Version,
    },
    /// Versions of a shard do not grow.
    #[error("shard {shard}: version {version} at entry {index} follows a greater one")]
    VersionsFall {
        /// The shard.
        shard: ShardId,
        /// The entry.
        index: LogIndex,
        /// The version.
        version: Version,
    },
    /// Two replicas applied different entries at one index, or one entry changed.
    #[error("shard {shard} entry {index}: {name} has applied term {term}, another replica term {other}, or other data")]
    LogsDisagree {
        /// The shard.
        shard: ShardId,
        /// The entry.
        index: LogIndex,
        /// The later of the two replicas.
        name: ReplicaName,
        /// Its term.
        term: Term,
        /// The other's.
        other: Term,
    },
    /// A replica applied an entry that is not durable in its log.
    #[error("{name} has applied entry {index}, which its disk does not hold")]
    AppliedNotDurable {
        /// The replica.
        name: ReplicaName,
        /// The entry.
        index: LogIndex,
    },
    /// Two replicas led in one term.
    #[error("{name} leads shard {} in term {term}, which replica {other} led before", .name.shard)]
    TwoLeaders {
        /// The later of the two.
        name: ReplicaName,
        /// The term.
        term: Term,
        /// The other.
        other: u64,
    },
    /// Two replicas might answer reads alone at one instant.
    #[error("{name} and replica {other} have tenure of shard {} at the same time", .name.shard)]
    TwoTenures {
        /// The one looked at.
        name: ReplicaName,
        /// The other.
        other: u64,
    },
    /// Two replicas differ at one applied index.
    #[error("{name} at applied index {index} holds other rows than another replica did")]
    StatesDisagree {
        /// The later of the two.
        name: ReplicaName,
        /// The index.
        index: LogIndex,
    },
    /// The index holds entries whose commit is not durable in the log.
    #[error("the index holds {name} up to entry {applied}, but its log says commit {commit}")]
    IndexAhead {
        /// The replica.
        name: ReplicaName,
        /// What the index holds.
        applied: LogIndex,
        /// The highest commit on the disk.
        commit: LogIndex,
    },
    /// The index holds a replica whose creation never was durable in the log.
    #[error("the index holds {name} as one that runs, and its log never held its creation")]
    IndexKnowsUnborn {
        /// The replica.
        name: ReplicaName,
    },
    /// After all faults ended something did not finish.
    #[error("{waiting_ms} ms after all faults ended: {what}")]
    NotLive {
        /// Virtual milliseconds since then.
        waiting_ms: u64,
        /// What is still missing.
        what: String,
    },
    /// The same seed led to another run.
    #[error("the seed ran twice with event hashes {first:#018x} and {second:#018x}")]
    NotDeterministic {
        /// The first run's hash.
        first: u64,
        /// The second run's.
        second: u64,
    },
}

impl Violation {
    /// Which checker finds this.
    #[must_use]
    pub fn checker(&self) -> &'static str {
        match self {
            Self::Assertion { .. } => "assertion",
            Self::Halted { .. } => "halt",
            Self::NotStarted { .. } | Self::LogLost { .. } => "replay",
            Self::FalseDamage { .. } | Self::DamageOverlooked { .. } | Self::EndedStarted { .. } | Self::BegunAgain { .. } => "damage",
            Self::NotLinearizable { .. } => "linearizable",
            Self::SenselessAnswer { .. } | Self::SenselessRefusal { .. } => "answers",
            Self::AcknowledgedLost { .. } | Self::ValueWritten { .. } | Self::ReadUncommitted { .. } | Self::VersionsFall { .. } => {
                "acknowledged"
            }
            Self::LogsDisagree { .. } | Self::AppliedNotDurable { .. } => "log-agreement",
            Self::TwoLeaders { .. } => "single-leader",
            Self::TenureOfFormerMembers { .. } => "membership",
            Self::TwoTenures { .. } => "single-tenure",
            Self::StatesDisagree { .. } => "state-hash",
            Self::IndexAhead { .. } | Self::IndexKnowsUnborn { .. } => "marks",
            Self::NotLive { .. } => "liveness",
            Self::NotDeterministic { .. } => "determinism",
        }
    }
}
