//! From a log and an index to a running core.
//!
//! ```text
//!   index marks ──► replicas as of their applied mark ──scan from the replay mark──► + votes, commits, entries
//!                                                        └─► entries up to the durable commit are applied
//! ```
//! Entries above the commit become each replica's tail, which its Raft starts with. The overlay is committed to
//! the index whenever it has grown, so that replay needs bounded memory. A replica whose entries are damaged
//! is not started; the others of the core are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use margate_net::ids::{LogIndex, NodeId, ReplicaId, ShardId, Space, Term};
use margate_net::map::Map;
use raft::eraftpb::Entry;

use super::generations::{Contribution, Generations, Positions};
use super::machine::{Core, CoreParts};
use crate::consensus::convert;
use crate::consensus::group::{Group, GroupConfig};
use crate::consensus::window::{BatchPlace, Place, RestoredLog};
use crate::index::error::IndexError;
use crate::index::store::{CoreMarks, Generation, IndexReader, IndexWriter, ReplicaMarks};
use crate::index::view::{Index, OwnedRange};
use crate::limits;
use crate::log::batch::ScannedBatch;
use crate::log::record::{RecordBody, ScannedRecord};
use crate::log::scan::{Damage, DamagedReplicas, ReadSegments, ScanEnd, ScanError, scan};
use crate::log::segment::LogConfig;
use crate::log::writer::LogWriter;
use crate::planted::Planted;
use crate::shard::apply::{AppliedValues, apply_entry};
use crate::shard::replica::{Replica, ReplicaParts};
use crate::shard::state::{ShardState, StateFault};
use crate::types::{HardState, Position, ReplicaName};

/// What a core is told at start.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Whose log it is.
    pub log: LogConfig,
    /// Who serves what.
    pub map: Map,
    /// Ticks without a leader before an election.
    pub election_ticks: u32,
    /// Seed of all dice of this core.
    pub seed: u64,
    /// The bug to show, [`Planted::NONE`] in production.
    pub planted: Planted,
}

/// Why a core does not start.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A replica that was created here is not in the log.
    #[error("{name} was created on this core, but its log does not know it: the log was lost, so this replica must be replaced")]
    LogLost {
        /// The replica.
        name: ReplicaName,
    },
    /// A replica's state in a checkpoint or in the index is damaged.
    #[error("the state of {name} is damaged: {fault}")]
    State {
        /// The replica.
        name: ReplicaName,
        /// How.
        fault: StateFault,
    },
}

/// A core, and what the scan found beside it.
pub struct Replayed<R: IndexReader> {
    /// It.
    pub core: Core<R>,
    /// What the scan of its log ended with: the driver deletes `discard` and reports the rest.
    pub found: Found,
}

/// What the driver should know of a scan.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Bytes of a torn tail that were dropped.
    pub torn_bytes: u64,
    /// Segment files to delete before their numbers are used again.
    pub discard: Vec<u32>,
    /// Replicas that were not started.
    pub damaged: Vec<ReplicaName>,
    /// Entries applied from the log.
    pub entries_applied: u64,
}

/// One replica while the log is replayed.
struct Replaying {
    name: ReplicaName,
    space: Space,
    state: ShardState,
    applied: LogIndex,
    applied_term: Term,
    hard_state: HardState,
    commit: LogIndex,
    term_runs: Vec<(LogIndex, Term)>,
    tail: VecDeque<(Entry, Place)>,
    /// Replay met an entry of this batch without the one before it. That is as it should be where both were replaced:
    /// then the entry that replaced them follows.
    gap: Option<BatchPlace>,
    broken: bool,
}

/// Nobody reads while a core starts, so nothing is worth caching.
struct NoCache;

impl AppliedValues for NoCache {
    fn applied(&mut self, _: Position, _: &[u8]) {}
}

struct Replay<'a, R: IndexReader> {
    replicas: BTreeMap<ReplicaName, Replaying>,
    checkpoints: BTreeMap<ReplicaName, Vec<u8>>,
    index: Index<R>,
    writer: &'a mut dyn IndexWriter,
    generations: Generations,
    positions: Positions,
    applied_entries: u64,
    failure: Option<ReplayError>,
    last_batch: BatchPlace,
    /// Replicas in the lists of lost batches: perhaps created by one of them.
    lost: BTreeSet<ReplicaName>,
    /// More than one batch was lost: any replica may have been created there.
    lost_any: bool,
}

/// Starts a core from its log and its index.
///
/// # Errors
/// [`ReplayError`]: it cannot start, and why.
pub fn replay<R: IndexReader>(
    config: &CoreConfig,
    segments: &mut dyn ReadSegments,
    reader: R,
    writer: &mut dyn IndexWriter,
) -> Result<Replayed<R>, ReplayError> {
    let marks = reader.core_marks()?;
    let mut replay = Replay::from_marks(reader, writer, marks, config.planted)?;
    let from = marks.map(|marks| marks.replay);
    let end = scan(segments, &config.log, from, &mut |batch| replay.batch(batch))?;
    if let Some(failure) = replay.failure.take() {
        return Err(failure);
    }
    replay.finish(config, end)
}

impl<'a, R: IndexReader> Replay<'a, R> {
    fn from_marks(reader: R, writer: &'a mut dyn IndexWriter, marks: Option<CoreMarks>, planted: Planted) -> Result<Self, ReplayError> {
        let replicas = reader
            .replica_marks()?
            .into_iter()
            .map(|marks| Ok((marks.name, Replaying::from_marks(marks)?)));
        let replicas = replicas.collect::<Result<_, ReplayError>>()?;
        let none = CoreMarks {
            generation: 0,
            replay: Position::default(),
            replay_sequence: 0,
        };
        Ok(Self {
            replicas,
            checkpoints: BTreeMap::new(),
            index: Index::new(reader),
            writer,
            generations: Generations::new(marks.unwrap_or(none), planted),
            positions: Positions::default(),
            applied_entries: 0,
            failure: None,
            last_batch: BatchPlace::default(),
            lost: BTreeSet::new(),
            lost_any: false,
        })
    }

    fn batch(&mut self, batch: &ScannedBatch<'_>) {
        if self.failure.is_some() {
            return;
        }
        // Before anything of this batch is used: what follows a gap may rest on what is missing.
        for damage in batch.damage() {
            self.mark_damage(damage);
        }
        self.last_batch = BatchPlace {
            sequence: batch.sequence,
            position: batch.position,
        };
        for record in batch.records() {
            if let Err(failure) = self.record(&record) {
                self.failure = Some(failure);
                return;
            }
        }
        for (name, commit) in batch.commits() {
            if let Some(replica) = self.replicas.get_mut(&name) {
                replica.commit = replica.commit.max(commit);
                self.applied_entries += replica.apply(&mut self.index);
            }
        }
        if self.index.active_bytes() >= limits::OVERLAY_FREEZE_BYTES
            && let Err(error) = self.commit_generation()
        {
            self.failure = Some(error.into());
        }
    }

    fn record(&mut self, record: &ScannedRecord<'_>) -> Result<(), ReplayError> {
        let name = record.name;
        match record.body {
            RecordBody::Checkpoint { part, parts, state, .. } => {
                let whole = self.checkpoints.entry(name).or_default();
                if part == 0 {
                    whole.clear();
                }
                whole.extend_from_slice(state);
                if part + 1 == parts && !self.replicas.contains_key(&name) {
                    let state = ShardState::decode(whole).map_err(|fault| ReplayError::State { name, fault })?;
                    self.replicas.insert(name, Replaying::created(name, record.space, state));
                }
            }
            RecordBody::HardState(state) => {
                if let Some(replica) = self.replicas.get_mut(&name) {
                    replica.hard_state = state;
                }
            }
            RecordBody::Entry {
                term,
                index,
                kind,
                data,
                data_position,
            } => {
                if let Some(replica) = self.replicas.get_mut(&name) {
                    let entry = convert::entry(term, index, kind, Bytes::copy_from_slice(data));
                    replica.append(
                        entry,
                        Place {
                            data: data_position,
                            batch: self.last_batch,
                        },
                    );
                    self.positions.note(name, index, self.last_batch.position);
                    if replica.broken {
                        self.generations.pin();
                    }
                }
            }
            RecordBody::Unknown { kind } => {
                tracing::error!(%name, kind, "a record of a kind unknown to this version: the replica is not started");
                if let Some(replica) = self.replicas.get_mut(&name) {
                    replica.broken = true;
                    self.generations.pin();
                }
            }
        }
        Ok(())
    }

    fn commit_generation(&mut self) -> Result<(), IndexError> {
        let contributions = self.replicas.values().map(Replaying::contribution).collect();
        let end = self.last_batch;
        self.generations.freeze(&mut self.index, contributions, &mut self.positions, end);
        if let Some(generation) = self.generations.take_frozen() {
            let generation: Generation = generation;
            self.writer.commit(&generation)?;
            self.generations.done(generation.number, &mut self.index)?;
        }
        Ok(())
    }

    fn finish(mut self, config: &CoreConfig, end: ScanEnd) -> Result<Replayed<R>, ReplayError> {
        for replica in self.replicas.values_mut() {
            if let Some(batch) = replica.gap {
                tracing::error!(name = %replica.name, batch = batch.sequence, "entries before those of this batch are missing: the replica is not started");
                replica.broken = true;
                self.generations.pin();
            }
        }
        let here = expected(&config.map, config.log.node, config.log.core);
        let unknown = here
            .iter()
            .find(|name| !self.replicas.contains_key(name) && !self.lost_any && !self.lost.contains(name));
        if let Some(name) = unknown {
            return Err(ReplayError::LogLost { name: *name });
        }
        let damaged: Vec<_> = here
            .iter()
            .filter(|name| self.replicas.get(name).is_none_or(|replica| replica.broken))
            .copied()
            .collect();
        let mut resume = end.resume;
        // The scan met only commits that grew after its start.
        self.replicas
            .values()
            .for_each(|replica| resume.remember_commit(replica.name, replica.commit));
        let sound = self
            .replicas
            .into_values()
            .filter(|replica| !replica.broken && here.contains(&replica.name));
        let replicas = sound.map(|replica| (replica.hard_state, replica.start(config)));
        let mut log = LogWriter::new(config.log, resume);
        end.ready.iter().for_each(|ready| log.segment_ready(*ready));
        let found = Found {
            torn_bytes: end.torn.map_or(0, |torn| torn.bytes),
            discard: end.discard,
            damaged: damaged.clone(),
            entries_applied: self.applied_entries,
        };
        let parts = CoreParts {
            cluster: config.log.cluster,
            map: config.map.clone(),
            log_config: config.log,
            log,
            index: self.index,
            generations: self.generations,
            positions: self.positions,
            replicas: replicas.map(|(hard_state, replica)| (replica, hard_state)).collect(),
            damaged,
            planted: config.planted,
        };
        Ok(Replayed {
            core: Core::new(parts),
            found,
        })
    }

    fn mark_damage(&mut self, damage: &Damage) {
        tracing::error!(position = %damage.position, next = %damage.next_valid, "the log is damaged");
        for replica in self.replicas.values_mut() {
            replica.broken |= damage.replicas.include(replica.name);
        }
        if let DamagedReplicas::Listed(held) = &damage.replicas {
            self.lost.extend(held.iter().map(|held| held.name));
            if held.is_empty() {
                return;
            }
        }
        self.generations.pin();
        self.lost_any |= matches!(damage.replicas, DamagedReplicas::All);
    }
}

impl Replaying {
    fn from_marks(marks: ReplicaMarks) -> Result<Self, ReplayError> {
        let name = marks.name;
        assert!(
            marks.applied <= marks.commit,
            "{name}: the index holds entry {} above the durable commit {}",
            marks.applied,
            marks.commit
        );
        Ok(Self {
            name,
            space: marks.space,
            state: ShardState::decode(&marks.state).map_err(|fault| ReplayError::State { name, fault })?,
            applied: marks.applied,
            applied_term: marks.applied_term,
            hard_state: marks.hard_state,
            commit: marks.commit,
            term_runs: marks.term_runs,
            tail: VecDeque::new(),
            gap: None,
            broken: false,
        })
    }

    fn created(name: ReplicaName, space: Space, state: ShardState) -> Self {
        Self {
            name,
            space,
            state,
            applied: LogIndex(0),
            applied_term: Term(0),
            hard_state: HardState::default(),
            commit: LogIndex(0),
            // Raft asks for the term before the first entry too.
            term_runs: vec![(LogIndex(0), Term(0))],
            tail: VecDeque::new(),
            gap: None,
            broken: false,
        }
    }

    fn append(&mut self, entry: Entry, place: Place) {
        let index = LogIndex(entry.index);
        if index <= self.applied {
            // When this entry was written the log ended with it: what was read above it had been replaced.
            self.tail.clear();
            self.gap = None;
            return;
        }
        // A later record of an index replaces the earlier one and all after it.
        while self.tail.back().is_some_and(|(last, _)| last.index >= entry.index) {
            self.tail.pop_back();
        }
        let expected = self.tail.back().map_or(self.applied.next(), |(last, _)| LogIndex(last.index + 1));
        if index == expected {
            self.tail.push_back((entry, place));
            self.gap = None;
        } else if self.tail.is_empty() {
            self.gap.get_or_insert(place.batch);
        } else {
            tracing::error!(name = %self.name, %index, %expected, "entries are missing before this one: the replica is not started");
            self.broken = true;
        }
    }

    fn apply<R: IndexReader>(&mut self, index: &mut Index<R>) -> u64 {
        let owned = OwnedRange {
            space: self.space,
            low: self.state.low.clone(),
            high: self.state.high.clone(),
        };
        let mut count = 0;
        while !self.broken
            && self.tail.front().is_some_and(|(entry, _)| entry.index <= self.commit.0)
            && let Some((entry, place)) = self.tail.pop_front()
        {
            apply_entry(&mut self.state, &owned, (&entry.data, place.data), index, None::<&mut NoCache>);
            (self.applied, self.applied_term) = (LogIndex(entry.index), Term(entry.term));
            if self.term_runs.last().is_none_or(|(_, term)| *term < self.applied_term) {
                self.term_runs.push((self.applied, self.applied_term));
            }
            count += 1;
        }
        count
    }

    fn contribution(&self) -> Contribution {
        let marks = ReplicaMarks {
            name: self.name,
            space: self.space,
            low: self.state.low.clone(),
            high: self.state.high.clone(),
            applied: self.applied,
            applied_term: self.applied_term,
            hard_state: self.hard_state,
            commit: self.commit.max(self.applied),
            term_runs: self.term_runs.clone(),
            state: self.state.encode(),
        };
        Contribution {
            marks,
            replay: self.gap.or(self.tail.front().map(|(_, place)| place.batch)),
        }
    }

    fn start(self, config: &CoreConfig) -> Replica {
        let shard = config.map.shards().iter().find(|shard| shard.id == self.name.shard);
        let homes: Vec<(ReplicaId, NodeId)> = shard.map_or_else(Vec::new, |shard| {
            shard.replicas.iter().map(|replica| (replica.id, replica.node)).collect()
        });
        let group_config = GroupConfig {
            name: self.name,
            voters: self.state.voters.clone(),
            election_ticks: config.election_ticks,
            preferred: self.state.voters.first() == Some(&self.name.replica),
            seed: config.seed ^ self.name.shard.0.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        };
        let restored = RestoredLog {
            hard_state: self.hard_state,
            commit: self.commit,
            term_runs: self.term_runs,
            applied: self.applied,
            entries: self.tail.into(),
        };
        Replica::new(ReplicaParts {
            cluster: config.log.cluster,
            space: self.space,
            group: Group::new(&group_config, restored),
            state: self.state,
            applied: (self.applied, self.applied_term),
            homes,
            planted: config.planted,
        })
    }
}

/// The replicas a map puts on a core.
fn expected(map: &Map, node: NodeId, core: margate_net::ids::CoreId) -> BTreeSet<ReplicaName> {
    let of_shard = |shard: ShardId, replicas: &[margate_net::map::MapReplica]| {
        let here = replicas.iter().find(|replica| (replica.node, replica.core) == (node, core))?;
        Some(ReplicaName { shard, replica: here.id })
    };
    map.shards()
        .iter()
        .filter_map(|shard| of_shard(shard.id, &shard.replicas))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_net::ids::{MemberEpoch, RangeEpoch, Version};
    use margate_net::message::EntryKind;

    use crate::types::Nanos;

    fn replaying(applied: u64) -> Replaying {
        let state = ShardState {
            low: Bytes::new(),
            high: Bytes::new(),
            range_epoch: RangeEpoch(1),
            member_epoch: MemberEpoch(1),
            voters: vec![ReplicaId(1)],
            version_high: Version(0),
            clock: Nanos(0),
        };
        let mut replica = Replaying::created(ReplicaName::default(), Space(1), state);
        replica.applied = LogIndex(applied);
        replica
    }

    fn append(replica: &mut Replaying, index: u64, term: u64, sequence: u64) {
        let entry = convert::entry(Term(term), LogIndex(index), EntryKind::Normal, Bytes::new());
        let batch = BatchPlace {
            sequence,
            position: Position::default(),
        };
        let data = Position::default();
        replica.append(entry, Place { data, batch });
    }

    fn tail(replica: &Replaying) -> Vec<(u64, u64)> {
        replica.tail.iter().map(|(entry, _)| (entry.index, entry.term)).collect()
    }

    #[test]
    fn entries_met_without_those_before_them_are_dropped_when_replaced() {
        let mut replica = replaying(2);
        append(&mut replica, 4, 1, 7);
        append(&mut replica, 5, 1, 8);
        assert_eq!(
            replica.contribution().replay.map(|batch| batch.sequence),
            Some(7),
            "the next replay must meet the gap too"
        );
        append(&mut replica, 3, 2, 9);
        assert_eq!((tail(&replica), replica.gap, replica.broken), (vec![(3, 2)], None, false));
    }

    #[test]
    fn entries_that_nothing_replaces_leave_a_gap() {
        let mut replica = replaying(2);
        append(&mut replica, 4, 1, 7);
        assert!(replica.gap.is_some());
        let mut replica = replaying(2);
        append(&mut replica, 3, 1, 7);
        append(&mut replica, 5, 1, 7);
        assert!(replica.broken, "between two entries nothing can be missing");
    }

    #[test]
    fn an_applied_entry_ends_the_log_that_stood_before_it() {
        let mut replica = replaying(3);
        append(&mut replica, 4, 1, 7);
        append(&mut replica, 3, 2, 7);
        assert_eq!((tail(&replica), replica.gap), (vec![], None));
        append(&mut replica, 5, 1, 7);
        append(&mut replica, 2, 2, 7);
        assert_eq!(replica.gap, None);
    }
}
