//! Scripts for `core::generations`: when the overlay goes to the index, and with which marks.
//!
//! - `apply R KEY`: replica R of shard 1 applies its next entry, which sets a key
//! - `entry R`: the log is given R's next entry; `commit R INDEX`: R's commit grew
//! - `wait MS`, `flush`, `flushed`: as for the log
//! - `turn`: freezes if it is due, sends what may leave; `done`: the index holds it
//! - `pin`: a replica was not started, or stops for good

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_engine::consensus::window::BatchPlace;
use margate_engine::core::event::{Effect, Effects};
use margate_engine::core::generations::{CommitPace, Conditions, Contribution, Generations, Positions, Urgency};
use margate_engine::index::{CoreMarks, Index, MemoryReader, MemoryStore, OwnedRange, ReplicaMarks, Slot};
use margate_engine::log::record::Record;
use margate_engine::log::segment::LogConfig;
use margate_engine::log::writer::{FlushStep, LogWriter, Resume};
use margate_engine::planted::Planted;
use margate_engine::types::{HardState, Nanos, Position, ReplicaName};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, LogIndex, NodeId, ReplicaId, ShardId, Space, Term, Version};
use margate_net::message::EntryKind;

use crate::disk::Disk;
use crate::runner::{self, Command, Trace};
use crate::show;

/// Bytes of a segment.
const SEGMENT_BYTES: u32 = 1 << 20;

/// A replica as far as marks go.
#[derive(Default)]
struct Replica {
    applied: u64,
    last: u64,
    /// The batch of each entry that was written.
    places: BTreeMap<u64, BatchPlace>,
    /// Whether it was stopped for good.
    damaged: bool,
}

/// See the module's text.
pub(crate) struct Machine {
    config: LogConfig,
    disk: Disk,
    log: LogWriter,
    store: MemoryStore,
    index: Index<MemoryReader>,
    generations: Generations,
    positions: Positions,
    replicas: BTreeMap<u64, Replica>,
    now: Nanos,
}

impl Machine {
    /// An empty log and an empty index.
    pub(crate) fn new() -> Self {
        let config = LogConfig {
            cluster: ClusterId(1),
            directory: DirectoryId(1),
            node: NodeId(1),
            core: CoreId(0),
            segment_bytes: SEGMENT_BYTES,
            ready_min: 1,
        };
        let (mut disk, mut log, store) = (Disk::new(config), LogWriter::new(config, Resume::fresh()), MemoryStore::new());
        log.segment_ready(disk.prewrite(1));
        let none = CoreMarks {
            generation: 0,
            replay: Position::default(),
            replay_sequence: 0,
            next_space: Space(2),
        };
        Self {
            config,
            disk,
            log,
            index: Index::new(store.reader()),
            store,
            generations: Generations::new(none, Planted::NONE),
            positions: Positions::default(),
            replicas: BTreeMap::new(),
            now: Nanos(0),
        }
    }

    fn apply(&mut self, id: u64, key: &str) {
        let replica = self.replicas.entry(id).or_default();
        replica.applied += 1;
        assert!(replica.applied <= replica.last, "replica {id} applies what it does not have");
        let owned = OwnedRange {
            space: Space(u32::try_from(id).expect("few replicas")),
            low: Bytes::new(),
            high: Bytes::new(),
        };
        self.index.apply(&owned, key.as_bytes(), Slot::Deleted(Version(replica.applied)));
    }

    fn entry(&mut self, id: u64) {
        let replica = self.replicas.entry(id).or_default();
        replica.last += 1;
        self.log.push(Record::Entry {
            name: name(id),
            space: Space(1),
            term: Term(1),
            index: LogIndex(replica.last),
            kind: EntryKind::Normal,
            data: Bytes::new(),
            timestamp: Nanos(1),
        });
    }

    fn flush(&mut self, trace: &mut Trace) {
        let FlushStep::Write(flush) = self.log.flush(self.now, Nanos(1)) else {
            return trace.line("nothing to write");
        };
        trace.line(format!(
            "writes {}",
            show::flush(&self.config, self.disk.salt(flush.segment), &flush)
        ));
        self.disk.begin(&flush);
        for placed in &flush.entries {
            let replica = self.replicas.entry(placed.name.replica.0).or_default();
            let place = BatchPlace {
                sequence: flush.sequence,
                position: placed.batch,
            };
            replica.places.insert(placed.index.0, place);
            self.positions.note(placed.name, placed.index, placed.batch);
        }
    }

    fn turn(&mut self, trace: &mut Trace) {
        let conditions = Conditions {
            now: self.now,
            pace: CommitPace::USUAL,
            low: false,
        };
        if self.generations.is_due(conditions, &self.index, &self.log, SEGMENT_BYTES) {
            let contributions = self.replicas.iter().map(|(id, replica)| replica.contribution(*id)).collect();
            let last_batch = BatchPlace {
                sequence: self.log.last_sequence(),
                position: self.log.last_batch(),
            };
            trace.line("freezes");
            self.generations
                .freeze(&mut self.index, contributions, &mut self.positions, last_batch);
        }
        let mut effects = Effects::default();
        self.generations.advance(&mut self.log, &mut effects);
        for effect in effects.drain() {
            let Effect::CommitIndex(generation) = effect else {
                panic!("generations only commit: {effect:?}");
            };
            trace.line(format!("commits {}", show::generation(&generation)));
            generation
                .positions
                .iter()
                .for_each(|(name, index, _)| trace.line(format!("    {} entry {index} is noted", show::name(*name))));
            self.store.begin(&generation);
        }
    }

    fn done(&mut self, trace: &mut Trace) {
        match self.store.finish() {
            Some((generation, _)) => self
                .generations
                .done(generation, &mut self.index, &mut self.positions)
                .expect("memory does not fail"),
            None => trace.line("(no generation is under way)"),
        }
    }
}

impl Replica {
    fn contribution(&self, id: u64) -> Contribution {
        let marks = ReplicaMarks {
            name: name(id),
            damaged: self.damaged,
            space: Space(1),
            low: Bytes::new(),
            high: Bytes::new(),
            applied: LogIndex(self.applied),
            applied_term: Term(1),
            hard_state: HardState::default(),
            commit: LogIndex(0),
            truncated: LogIndex(0),
            term_runs: Vec::new(),
            state: Bytes::new(),
        };
        Contribution {
            marks,
            replay: self.places.get(&(self.applied + 1)).copied().filter(|_| !self.damaged),
        }
    }
}

impl runner::Machine for Machine {
    fn run(&mut self, command: &Command<'_>, trace: &mut Trace) {
        match command.words().as_slice() {
            ["apply", _, key] => self.apply(command.number(1), key),
            ["commit", ..] => self.log.note_commit(name(command.number(1)), LogIndex(command.number(2))),
            ["done"] => self.done(trace),
            ["entry", ..] => self.entry(command.number(1)),
            ["flush"] => self.flush(trace),
            ["flushed"] => match self.disk.finish() {
                Some(sequence) => drop(self.log.flushed(sequence, self.now)),
                None => trace.line("(no write is under way)"),
            },
            ["damage", ..] => {
                self.replicas.entry(command.number(1)).or_default().damaged = true;
                self.generations.hurry(Urgency::Now);
            }
            ["turn"] => self.turn(trace),
            ["wait", ..] => self.now = self.now.plus(Nanos::from_millis(command.number(1))),
            _ => command.unknown(),
        }
    }
}

fn name(id: u64) -> ReplicaName {
    ReplicaName {
        shard: ShardId(1),
        replica: ReplicaId(id),
    }
}
