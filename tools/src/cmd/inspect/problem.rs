//! What can be wrong with a stopped node's data, one sentence each.

use std::fmt;
use std::io;
use std::path::PathBuf;

use margate_engine::index::IndexError;
use margate_engine::index::row::RowError;
use margate_engine::log::effects::{EntryFault, RecordMismatch};
use margate_engine::log::fetch::FetchError;
use margate_engine::log::scan::{Damage, DamagedReplicas, ReadFault, ScanError};
use margate_engine::shard::state::StateFault;
use margate_engine::types::{Position, ReplicaName};
use margate_net::ids::{LogIndex, Space, Term, Version};

use crate::key::show;

/// Problems kept; of the rest only the number is told.
const PROBLEMS_MAX: usize = 1_000;

/// Problems in the order they were met.
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: Vec<Problem>,
    count: u64,
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("the log's folder {} cannot be read: {source}; restore it, or replace this node", .path.display())]
    LogFolder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Log(ScanError),
    #[error("{}", Lost(.0))]
    Damage(Damage),
    #[error("{name} was created here and is not in the log: the log was lost; delete this node's data directory, and the node joins anew")]
    LogLost { name: ReplicaName },
    #[error("the log has no segment file: it was lost; delete this node's data directory, and the node joins anew")]
    LogGone,
    #[error(
        "log segments {from} to {to} are gone, and the checkpoints rest on them: restore them, or delete this node's data directory, and the node joins anew"
    )]
    SegmentsLost { from: u32, to: u32 },
    #[error(
        "log segment {} is shorter than it was made: acknowledged bytes behind {position} may be lost, every replica of this core may be hurt and must be replaced", position.segment
    )]
    SegmentCut { position: Position },
    #[error(
        "{name} ended at {position}, for it had lost acknowledged entries: it is never started again; the node asks to be admitted in its place"
    )]
    Ended { name: ReplicaName, position: Position },
    #[error("{name}: a record at {position} is of kind {kind}, which this version does not know; start the version that wrote it")]
    UnknownKind { name: ReplicaName, position: Position, kind: u8 },
    #[error("{name}: entries {from} to {to} are missing before {position}")]
    EntriesMissing {
        name: ReplicaName,
        from: LogIndex,
        to: LogIndex,
        position: Position,
    },
    #[error("{name}: entries up to {commit} are committed, and the log ends with {last}")]
    CommittedMissing {
        name: ReplicaName,
        commit: LogIndex,
        last: LogIndex,
    },
    #[error("{name}: entry {index} at {position} makes no sense: {fault}")]
    Entry {
        name: ReplicaName,
        index: LogIndex,
        position: Position,
        fault: EntryFault,
    },
    #[error("{name}: the copies at {position} make no sense: {fault}")]
    Copies {
        name: ReplicaName,
        position: Position,
        fault: EntryFault,
    },
    #[error("{name}: entry {index} at {position} is a change of members that makes no sense")]
    Change {
        name: ReplicaName,
        index: LogIndex,
        position: Position,
    },
    #[error("the state of {name} is damaged: {fault}")]
    State { name: ReplicaName, fault: StateFault },
    #[error(transparent)]
    Index(IndexError),
    #[error(
        "{name} lost acknowledged entries in an earlier life: its mark says so, it is not started; the node asks to be admitted in its place"
    )]
    MarkedDamaged { name: ReplicaName },
    #[error("the index says that replay begins with batch {sequence} at {position}, and that batch is not there")]
    ReplayMark { position: Position, sequence: u64 },
    #[error("{name}: the index holds entries up to {applied} of commit {commit}, and the log proves a commit of {durable} only")]
    MarkAhead {
        name: ReplicaName,
        applied: LogIndex,
        commit: LogIndex,
        durable: LogIndex,
    },
    #[error("{name}: the index knows a vote of term {term} that the log does not hold")]
    HardStateAhead { name: ReplicaName, term: Term },
    #[error("{name}: the index names term {marked} for entry {index}, and the log {found}")]
    MarkTerm {
        name: ReplicaName,
        index: LogIndex,
        marked: Term,
        found: Term,
    },
    #[error("{name}: the replay mark has passed entry {index}, which the index does not hold yet")]
    MarkPassed { name: ReplicaName, index: LogIndex },
    #[error("{name}: key {:?} has version {version} by entry {index}, which the index claims to hold, and its row is missing or older", show(.key))]
    RowMissing {
        name: ReplicaName,
        index: LogIndex,
        key: Vec<u8>,
        version: Version,
    },
    #[error("{name}: key {:?} was deleted by entry {index}, which the index claims to hold, and its row of version {version} is still there", show(.key))]
    RowOfDeleted {
        name: ReplicaName,
        index: LogIndex,
        key: Vec<u8>,
        version: Version,
    },
    #[error("the index has a key of {bytes} bytes, too few for a space")]
    IndexKey { bytes: usize },
    #[error("row {:?} in space {space}: {fault}", show(.key))]
    Row { space: Space, key: Vec<u8>, fault: RowFault },
    #[error("{name}: the index says that entry {index} lies in the batch at {position}: {fault}")]
    EntryPosition {
        name: ReplicaName,
        index: LogIndex,
        position: Position,
        fault: PositionFault,
    },
    #[error(
        "{name} is suspect and not started, for raft panicked over it again and again: {panic}; delete {} to have it tried again, or this \
         node's data directory, and the node joins anew", .path.display()
    )]
    Suspect { name: ReplicaName, panic: String, path: PathBuf },
    #[error("{} cannot be read: {source}; restore it, or delete it to have all replicas started", .path.display())]
    Suspects { path: PathBuf, source: io::Error },
    #[error("the index was not compared with all entries: more than {bytes} bytes of keys were written and not in it at one time")]
    NotCompared { bytes: usize },
}

/// What is wrong with a row of the index.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowFault {
    #[error("its bytes are none: {0}")]
    Bytes(RowError),
    #[error("no replica has this space, and none ever had")]
    NoReplica,
    #[error("the key is outside the range of {0}")]
    OutsideRange(ReplicaName),
    #[error("version {version} is above the highest its shard has applied, {highest}")]
    Ahead { version: Version, highest: Version },
    #[error("it points to {0}, beyond the end of the log")]
    BeyondLog(Position),
    #[error("it points to {position}: {fault}")]
    Unreadable { position: Position, fault: ReadFault },
    #[error("it points to {position}: {fault}")]
    Mismatch { position: Position, fault: RecordMismatch },
    #[error("it points to {0}, where the key is deleted")]
    Deleted(Position),
    #[error("it points to {0}, whose value has another size or hash")]
    OtherValue(Position),
}

/// What is wrong with the noted place of an entry.
#[derive(Debug, thiserror::Error)]
pub(super) enum PositionFault {
    #[error(transparent)]
    Read(ReadFault),
    #[error(transparent)]
    Batch(FetchError),
    #[error("that batch does not hold it")]
    NotThere,
}

impl Problems {
    /// Adds one.
    pub(super) fn add(&mut self, problem: Problem) {
        self.count += 1;
        if self.kept.len() < PROBLEMS_MAX {
            self.kept.push(problem);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// A line for each, and one for those not kept.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let more = self.count - self.kept.len() as u64;
        let rest = (more > 0).then(|| format!("and {more} more"));
        self.kept.iter().map(ToString::to_string).chain(rest)
    }
}

/// A damage in words.
struct Lost<'a>(&'a Damage);

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            position,
            next_valid,
            replicas,
            gap_batches,
        } = self.0;
        match (replicas, gap_batches) {
            (DamagedReplicas::Listed(held), 0) if held.is_empty() => write!(f, "the header of log segment {} is lost", position.segment)?,
            (_, 0) => write!(f, "the batch at {next_valid} does not follow the one before it")?,
            (_, 1) => write!(f, "acknowledged bytes are lost: 1 batch between {position} and {next_valid}")?,
            (_, batches) => write!(
                f,
                "acknowledged bytes are lost: {batches} batches between {position} and {next_valid}"
            )?,
        }
        match replicas {
            DamagedReplicas::All => f.write_str("; every replica of this core may be hurt and must be replaced"),
            DamagedReplicas::Listed(held) if held.is_empty() => f.write_str("; no replica is hurt"),
            DamagedReplicas::Listed(held) => {
                f.write_str("; hurt and to be replaced:")?;
                held.iter()
                    .try_for_each(|held| write!(f, " {} (entries {} to {})", held.name, held.first, held.last))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_beyond_the_cap_are_counted() {
        let mut problems = Problems::default();
        (0..PROBLEMS_MAX + 5).for_each(|bytes| problems.add(Problem::IndexKey { bytes }));
        assert_eq!(problems.count(), 1_005);
        let lines: Vec<String> = problems.lines().collect();
        assert_eq!(lines.len(), PROBLEMS_MAX + 1);
        assert_eq!(lines.last().map(String::as_str), Some("and 5 more"));
    }

    #[test]
    fn a_damage_says_whom_it_hurts() {
        let at = |offset| Position { segment: 2, offset };
        let damage = |replicas, gap_batches| {
            let damage = Damage {
                position: at(0),
                next_valid: at(4_096),
                replicas,
                gap_batches,
            };
            Lost(&damage).to_string()
        };
        assert_eq!(
            damage(DamagedReplicas::Listed(Vec::new()), 0),
            "the header of log segment 2 is lost; no replica is hurt"
        );
        assert_eq!(
            damage(DamagedReplicas::All, 3),
            "acknowledged bytes are lost: 3 batches between segment 2 offset 0 and segment 2 offset 4096; every replica of this core may be hurt and must be replaced"
        );
    }
}
