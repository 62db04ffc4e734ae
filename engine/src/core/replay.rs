//! From a log and an index to a running core.
//!
//! ```text
//!   index marks ──► replicas as of their applied mark ──scan from the replay mark──► + votes, commits, entries
//!                                                        └─► entries up to the durable commit are applied
//! ```
//! Entries above the commit become each replica's tail, which its Raft starts with. The overlay is committed to
//! the index whenever it has grown, so that replay needs bounded memory.
//!
//! Without an index the log is scanned twice: for each replica's newest checkpoint, then for its rows (`rebuilding`). What is
//! committed to the index meanwhile carries no replica's marks, so that a crash in between begins anew.
//! A replica whose entries are damaged
//! is not started, nor is one that is suspect; the others of the core are. What is damaged is given up; what is suspect is read like
//! the others and keeps its marks, so that a later start finds it as it was.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use margate_net::ids::{CoreId, NodeId, ShardId, Space};
use margate_net::map::Map;

use super::generations::{CommitPace, Generations, Positions, Urgency};
use super::machine::{Core, CoreParts};
use super::members::Nursery;
use super::rebuilding::Checkpoints;
pub(crate) use super::rebuilding::is_creation;
use super::replaying::Replaying;
use super::room::DiskLimits;
use crate::consensus::convert;
use crate::consensus::group::RaftTicks;
use crate::consensus::window::{BatchPlace, Place};
use crate::index::error::IndexError;
use crate::index::store::{CoreMarks, IndexReader, IndexWriter};
use crate::index::view::Index;
use crate::log::batch::ScannedBatch;
use crate::log::record::{RecordBody, ScannedRecord};
use crate::log::scan::{Damage, DamagedReplicas, ReadSegments, ScanEnd, ScanError, SyncFault, SyncSegments, scan};
use crate::log::segment::LogConfig;
use crate::log::writer::LogWriter;
use crate::planted::Planted;
use crate::shard::state::StateFault;
use crate::types::{Nanos, Position, ReplicaName};

/// What a core is told at start.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Whose log it is.
    pub log: LogConfig,
    /// Who serves what.
    pub map: Map,
    /// Whether its node joined a deployment that existed: it was created with no replica.
    pub joined: bool,
    /// When its replicas beat, and campaign.
    pub ticks: RaftTicks,
    /// Time between ticks, by which tenure is measured; zero for no tenure: every read asks a quorum.
    pub tick: Nanos,
    /// When its index commits.
    pub commits: CommitPace,
    /// When its disk is low.
    pub disk: DiskLimits,
    /// Replicas that are not to be started, for raft panicked too often over them.
    pub suspects: BTreeSet<ReplicaName>,
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
    /// The log cannot be made durable.
    #[error(transparent)]
    Sync(#[from] SyncFault),
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What the index should be brought up to date from has been reclaimed: it went back to an older generation than it had said was
    /// durable.
    #[error(
        "the index was last durable at batch {sequence}, which the log no longer holds: the index was restored from a copy or its disk \
         lost committed pages; the next start makes a new one from the log"
    )]
    IndexStale {
        /// The batch at which its replay would begin.
        sequence: u64,
    },
    /// The log has not a single segment file, and a core that was created has one at least: what its replicas voted is gone with them,
    /// those too that it was admitted with later.
    #[error("the log of this core has no segment file: the log was lost; delete this node's data directory, and the node joins anew")]
    LogGone,
    /// A replica that was created here is not in the log, or may have been in what the log has lost.
    #[error(
        "the log does not know the replica of shard {shard} that was created on this core: the log was lost; delete this node's data \
         directory, and the node joins anew"
    )]
    LogLost {
        /// The shard.
        shard: ShardId,
    },
    /// The index rests on a batch behind the end of the log.
    #[error(
        "the index knows of batch {marked} and the log ends with batch {last}: acknowledged records are lost; restore the log's files, or delete \
         this node's data directory, and the node joins anew"
    )]
    EndLost {
        /// The last batch of the log.
        last: u64,
        /// The batch at the index's mark.
        marked: u64,
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
    /// Replicas that were not started because they are damaged.
    pub damaged: Vec<ReplicaName>,
    /// Entries applied from the log.
    pub entries_applied: u64,
}

struct Replay<'a, R: IndexReader> {
    replicas: BTreeMap<ReplicaName, Replaying>,
    checkpoints: Checkpoints,
    /// Where a rebuild of the index began; nothing if there is one.
    rebuilt_from: Option<BatchPlace>,
    index: Index<R>,
    writer: &'a mut dyn IndexWriter,
    generations: Generations,
    positions: Positions,
    /// The spaces that copies were met of: rows of images, whether or not they came into force.
    copied: BTreeSet<Space>,
    applied_entries: u64,
    failure: Option<ReplayError>,
    last_batch: BatchPlace,
    /// A batch that was durable, as the index says.
    marked: Option<u64>,
    /// The sequence the first batch must have, until it has come.
    expected_first: Option<u64>,
    /// Replicas in the lists of lost batches, perhaps created by one of them, and those met before their creation.
    lost: BTreeSet<ReplicaName>,
    /// Where the log begins replicas that it saw created: what was lost before hurts them not.
    created: BTreeMap<ReplicaName, u64>,
    /// More than one batch was lost: any replica may have been created there, and have ended.
    lost_any: bool,
    /// Shards whose replica has written since then, or ever: it was the newest of them when it did.
    written_since: BTreeSet<ShardId>,
    planted: Planted,
    /// What follows is not taken; only a planted bug does that.
    dropped: bool,
}

/// Starts a core from its log and its index.
///
/// # Errors
/// [`ReplayError`]: it cannot start, and why.
pub fn replay<R: IndexReader>(
    config: &CoreConfig,
    segments: &mut dyn SyncSegments,
    reader: R,
    writer: &mut dyn IndexWriter,
) -> Result<Replayed<R>, ReplayError> {
    // Not even an index that is still there knows the last vote.
    if segments.segments().is_empty() {
        return Err(ReplayError::LogGone);
    }
    // What the scan takes for durable may still be in the disk's cache, if the process alone died: the index is brought up to it, votes
    // and acknowledgements will rest on it.
    segments.sync()?;
    let marks = reader.core_marks()?;
    let mut replay = Replay::from_marks(reader, writer, marks, config.planted)?;
    let end = if replay.replicas.is_empty() {
        replay.rebuild(segments, config)?
    } else {
        replay.scan_from_mark(segments, config, marks)?
    };
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
            next_space: Space(1),
        };
        Ok(Self {
            replicas,
            checkpoints: Checkpoints::default(),
            rebuilt_from: None,
            index: Index::new(reader),
            writer,
            generations: Generations::new(marks.unwrap_or(none), planted),
            positions: Positions::default(),
            copied: BTreeSet::new(),
            applied_entries: 0,
            failure: None,
            last_batch: BatchPlace::default(),
            marked: marks.map(|marks| marks.replay_sequence),
            expected_first: None,
            lost: BTreeSet::new(),
            created: BTreeMap::new(),
            lost_any: false,
            written_since: BTreeSet::new(),
            planted,
            dropped: false,
        })
    }

    /// Makes the index anew from the newest checkpoints and all that the log holds beside them.
    fn rebuild(&mut self, segments: &mut dyn ReadSegments, config: &CoreConfig) -> Result<ScanEnd, ReplayError> {
        let mut newest = Checkpoints::default();
        scan(segments, &config.log, None, &mut |batch| newest.batch(batch))?;
        self.created = newest.created();
        for (name, checkpoint) in newest.into_whole() {
            self.replicas.insert(name, Replaying::rebuilding(name, checkpoint)?);
        }
        self.rebuilt_from = Some(BatchPlace::default());
        // From the very beginning: a segment that some checkpoints no longer need may hold what others, which a crash kept from being
        // written, would have made needless.
        Ok(scan(segments, &config.log, None, &mut |batch| self.batch(batch))?)
    }

    /// Scans from the index's mark; where that batch cannot be read, from the beginning, which names whom the damage hurts.
    fn scan_from_mark(
        &mut self,
        segments: &mut dyn ReadSegments,
        config: &CoreConfig,
        marks: Option<CoreMarks>,
    ) -> Result<ScanEnd, ReplayError> {
        if let Some(marks) = marks {
            if segments
                .segments()
                .into_iter()
                .min()
                .is_some_and(|oldest| marks.replay.segment < oldest)
            {
                let sequence = marks.replay_sequence;
                return Err(ReplayError::IndexStale { sequence });
            }
            self.expected_first = Some(marks.replay_sequence);
            match scan(segments, &config.log, Some(marks.replay), &mut |batch| self.batch(batch)) {
                Err(ScanError::StartNotFound { position }) => tracing::error!(%position, "the batch at the index's mark cannot be read"),
                Ok(_) if self.expected_first.is_some() => tracing::error!("the batch at the index's mark is another one"),
                result @ (Ok(_) | Err(_)) => return Ok(result?),
            }
            self.expected_first = None;
        }
        Ok(scan(segments, &config.log, None, &mut |batch| self.batch(batch))?)
    }

    fn batch(&mut self, batch: &ScannedBatch<'_>) {
        // Before the first batch this holds the sequence it must have; nothing is taken from a log that begins otherwise.
        if self.expected_first.take_if(|expected| *expected == batch.sequence).is_none() && self.expected_first.is_some() {
            return;
        }
        if self.failure.is_some() {
            return;
        }
        self.dropped |= self.planted.damage_taken_for_torn() && !batch.damage().is_empty();
        if self.dropped {
            return;
        }
        // Before anything of this batch is used: what follows a gap may rest on what is missing.
        for damage in batch.damage() {
            if !(self.planted.proven_taken_for_torn() && damage.gap_batches == 1) {
                self.mark_damage(damage, batch.sequence);
            }
        }
        self.last_batch = BatchPlace {
            sequence: batch.sequence,
            position: batch.position,
        };
        if let Some(from) = self.rebuilt_from.as_mut().filter(|from| from.sequence == 0) {
            *from = self.last_batch;
        }
        for record in batch.records() {
            if let Err(failure) = self.record(&record) {
                self.failure = Some(failure);
                return;
            }
        }
        for (name, commit) in batch.commits() {
            if let Some(replica) = self.replicas.get_mut(&name) {
                self.applied_entries += replica.meet_commit(commit, &mut self.index);
            }
        }
        if self.index.is_busy()
            && let Err(error) = self.commit_generation()
        {
            self.failure = Some(error.into());
        }
    }

    fn record(&mut self, record: &ScannedRecord<'_>) -> Result<(), ReplayError> {
        let name = record.name;
        self.generations.saw_space(record.space);
        if !self.replicas.contains_key(&name) && !is_creation(&record.body) {
            self.lost.insert(name);
        }
        // Ends are written by starts too, of what they took for the newest replica, and copies may have waited.
        if !matches!(record.body, RecordBody::ReplicaEnd | RecordBody::Relocation { .. }) {
            self.written_since.insert(name.shard);
        }
        match record.body {
            RecordBody::Checkpoint { .. } => {
                if let Some(checkpoint) = self.checkpoints.part(record) {
                    match self.replicas.get_mut(&name) {
                        Some(replica) => replica.meet_checkpoint(checkpoint)?,
                        None => {
                            let mut replica = Replaying::rebuilding(name, checkpoint)?;
                            // One that does not begin here has lost its creation, and perhaps rows of its image.
                            replica.broken = !is_creation(&record.body);
                            self.replicas.insert(name, replica);
                        }
                    }
                }
            }
            RecordBody::HardState(state) => {
                if let Some(replica) = self.replicas.get_mut(&name) {
                    replica.meet_hard_state(state);
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
                    let place = Place {
                        data: data_position,
                        batch: self.last_batch,
                    };
                    replica.append(record.space, (entry, place), self.planted);
                    if index > replica.truncated() {
                        self.positions.note(name, index, self.last_batch.position);
                    }
                }
            }
            RecordBody::Relocation { data, data_position } => {
                self.copied.insert(record.space);
                if let Some(replica) = self.replicas.get_mut(&name) {
                    replica.meet_relocation(record.space, (data, data_position), &mut self.index, self.planted)?;
                }
            }
            RecordBody::ReplicaEnd if self.planted.old_records_replayed() => {}
            RecordBody::ReplicaEnd => {
                let replica = self.replicas.entry(name).or_insert_with(|| Replaying::lost(name));
                (replica.ended, replica.given_up, replica.broken) = (true, true, true);
            }
            RecordBody::Unknown { kind } => {
                tracing::error!(%name, kind, "a record of a kind unknown to this version: the replica is not started");
                if let Some(replica) = self.replicas.get_mut(&name) {
                    replica.broken = true;
                }
            }
        }
        Ok(())
    }

    fn commit_generation(&mut self) -> Result<(), IndexError> {
        let (contributions, end) = match self.rebuilt_from {
            // Rows are still missing below the checkpoints.
            Some(from) => (Vec::new(), from),
            None => (self.replicas.values().map(Replaying::contribution).collect(), self.last_batch),
        };
        self.generations.freeze(&mut self.index, contributions, &mut self.positions, end);
        if let Some(generation) = self.generations.take_frozen() {
            self.writer.commit(&generation)?;
            self.generations.done(generation.number, &mut self.index, &mut self.positions)?;
        }
        Ok(())
    }

    fn finish(mut self, config: &CoreConfig, end: ScanEnd) -> Result<Replayed<R>, ReplayError> {
        let last = self.last_batch.sequence;
        if let Some(marked) = self.marked.filter(|marked| *marked > last) {
            return Err(ReplayError::EndLost { last, marked });
        }
        if let Some(at) = end.cut {
            tracing::error!(%at, "a log segment's file is shorter than it was made: acknowledged records behind its end may be lost");
            self.lose_any();
            self.replicas.values_mut().for_each(|replica| replica.broken = true);
        }
        for replica in self.replicas.values_mut() {
            self.applied_entries += replica.finish(&mut self.index);
            replica.broken |= self.planted.torn_taken_for_damage() && end.torn.is_some();
        }
        self.add_lost(config)?;
        if end.cut.is_some() {
            // What shows the loss may be deleted or written over by this very start.
            self.rebuilt_from = None;
            self.generations.hurry(Urgency::Now);
            self.commit_generation()?;
        }
        self.forget_what_is_gone(end.resume.oldest_segment())?;
        let mut resume = end.resume;
        // The scan met only commits that grew after its start.
        let met = self.replicas.values();
        met.for_each(|replica| resume.remember_commit(replica.name, replica.known_commit()));
        let (broken, sound) = of_latest_ids(self.replicas);
        let owned: BTreeSet<Space> = sound.iter().chain(&broken).map(Replaying::space).collect();
        let (suspect, sound): (Vec<_>, Vec<_>) = sound.into_iter().partition(|replica| config.suspects.contains(&replica.name));
        for space in self.index.reader().spaces()?.into_iter().chain(self.copied) {
            if !owned.contains(&space) {
                self.generations.clear(space);
            }
        }
        let unended: Vec<_> = broken.iter().filter(|replica| !replica.ended).map(Replaying::end).collect();
        let damaged: Vec<_> = broken.iter().map(|replica| replica.contribution().marks).collect();
        let replicas = sound.into_iter().map(|replica| (replica.hard_state, replica.start(config)));
        let mut log = LogWriter::new(config.log, resume);
        end.ready.iter().for_each(|ready| log.segment_ready(*ready));
        // The index may be set aside one day, the log then says it alone.
        unended.into_iter().for_each(|end| log.push(end));
        let found = Found {
            torn_bytes: end.torn.map_or(0, |torn| torn.bytes),
            discard: end.discard,
            damaged: damaged.iter().map(|marks| marks.name).collect(),
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
            suspects: suspect.iter().map(Replaying::contribution).collect(),
            nursery: nursery(config, doubted(&broken, self.lost_any, &self.written_since)),
            // One minimum election timeout: the other half of what is allowed is for the handover.
            flush_patience: Nanos(config.tick.0 * u64::from(config.ticks.election)),
            commits: config.commits,
            disk: config.disk,
            planted: config.planted,
        };
        Ok(Replayed {
            core: Core::new(parts),
            found,
        })
    }

    /// An index that went back to an older generation may think that entries still are where they were reclaimed since.
    fn forget_what_is_gone(&mut self, oldest: u32) -> Result<(), IndexError> {
        for replica in self.replicas.values_mut() {
            let at = self.positions.find(replica.name, replica.truncated().next(), &self.index)?;
            if at.is_none_or(|at| at.segment < oldest) {
                replica.truncate();
            }
        }
        Ok(())
    }

    /// Replicas that were created here and of which the log says nothing because it is damaged.
    fn add_lost(&mut self, config: &CoreConfig) -> Result<(), ReplayError> {
        let expected = expected(&config.map, config.log.node, config.log.core);
        let knows = |replicas: &BTreeMap<ReplicaName, Replaying>, shard| replicas.keys().any(|known| known.shard == shard);
        let unknown = expected.iter().map(|name| name.shard).find(|shard| !knows(&self.replicas, *shard));
        if let Some(shard) = unknown.filter(|_| config.joined && self.lost_any) {
            // Admitted under the id it may have voted with, it would vote again.
            return Err(ReplayError::LogLost { shard });
        }
        // Of a joined node only the log knows what it served. Where a replica was replaced, on any node, its successor's creation may be lost:
        // admitted under that id once more, it would vote again.
        let mut created = if config.joined { BTreeSet::new() } else { expected };
        created.extend(&self.lost);
        for name in created {
            let mut known = self.replicas.keys();
            if known.any(|known| known.shard == name.shard && known.replica >= name.replica) {
                continue;
            }
            // Perhaps the lost batch was the one that created it.
            if !self.lost_any && !self.lost.contains(&name) {
                return Err(ReplayError::LogLost { shard: name.shard });
            }
            self.replicas.insert(name, Replaying::lost(name));
        }
        Ok(())
    }

    fn mark_damage(&mut self, damage: &Damage, before: u64) {
        tracing::error!(position = %damage.position, next = %damage.next_valid, "the log is damaged");
        for replica in self.replicas.values_mut() {
            let later = self.created.get(&replica.name).is_some_and(|created| *created >= before);
            replica.broken |= !later && damage.replicas.include(replica.name);
        }
        if let DamagedReplicas::Listed(held) = &damage.replicas {
            self.lost.extend(held.iter().map(|held| held.name));
        }
        if matches!(damage.replicas, DamagedReplicas::All) {
            self.lose_any();
        }
    }

    fn lose_any(&mut self) {
        self.lost_any = true;
        self.written_since.clear();
    }
}

/// Each shard's replica with the highest id, broken or sound: those before it were replaced on this very core and are history.
fn of_latest_ids(replicas: BTreeMap<ReplicaName, Replaying>) -> (Vec<Replaying>, Vec<Replaying>) {
    // Names are in order, so the last of a shard stays.
    let latest: BTreeMap<ShardId, Replaying> = replicas.into_iter().map(|(name, replica)| (name.shard, replica)).collect();
    latest.into_values().partition(|replica| replica.broken)
}

/// Shards of which a newer replica than the broken one may have been here: what took it may have been met by this start, or by one before.
fn doubted(broken: &[Replaying], lost_any: bool, written_since: &BTreeSet<ShardId>) -> BTreeSet<ShardId> {
    let hidden = |shard| lost_any && !written_since.contains(shard);
    let doubted = broken.iter().filter(|replica| replica.given_up || hidden(&replica.name.shard));
    doubted.map(|replica| replica.name.shard).collect()
}

fn nursery(config: &CoreConfig, doubted: BTreeSet<ShardId>) -> Nursery {
    let LogConfig { node, core, directory, .. } = config.log;
    let home = (node, core, directory);
    Nursery {
        doubted,
        ..Nursery::new(&config.map, home, config.ticks, config.tick, config.seed)
    }
}

/// The replicas a map puts on a core.
fn expected(map: &Map, node: NodeId, core: CoreId) -> BTreeSet<ReplicaName> {
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
#[path = "replay_tests.rs"]
mod tests;
