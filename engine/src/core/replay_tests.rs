//! Logs written by hand, replayed: what a start makes of entries that were replaced, or are missing.

use std::sync::Arc;

use bytes::Bytes;
use margate_net::ids::{LogIndex, ReplicaId, Space, Term};
use margate_net::message::EntryKind;

use super::*;
use crate::core::creation::checkpoints;
use crate::core::tests::fixture;
use crate::index::memory::{MemoryReader, MemoryStore};
use crate::index::overlay::Overlay;
use crate::index::store::{Generation, ReplicaMarks};
use crate::log::record::Record;
use crate::log::segment::ReadySegment;
use crate::log::writer::FlushStep;
use crate::sim::disk::Disk;
use crate::types::{HardState, Nanos};

const ONE: ReplicaName = name(1);
const TWO: ReplicaName = name(2);

const fn name(shard: u64) -> ReplicaName {
    ReplicaName {
        shard: ShardId(shard),
        replica: ReplicaId(1),
    }
}

/// One node with one core and two shards, its log written batch by batch.
struct Written {
    config: CoreConfig,
    disk: Disk,
    log: LogWriter,
    index: MemoryStore,
}

impl Written {
    /// A log that holds the creation of both replicas.
    fn created() -> Self {
        let config = fixture::config(1, &["m"], 1 << 18);
        let mut disk = fixture::created(&config);
        let end = scan(&mut disk, &config.log, None, &mut |_| {}).expect("a new log is whole");
        Self {
            log: LogWriter::new(config.log, end.resume),
            config,
            disk,
            index: MemoryStore::new(),
        }
    }

    /// One more batch; says where it lies.
    fn batch(&mut self, records: Vec<Record>) -> BatchPlace {
        records.into_iter().for_each(|record| self.log.push(record));
        let FlushStep::Write(flush) = self.log.flush(Nanos(0), Nanos(1)) else {
            panic!("there is something to write, and room");
        };
        self.disk.begin_write(&flush);
        self.disk.finish_write();
        let position = self.log.flushed(flush.sequence, Nanos(0)).batch;
        BatchPlace {
            sequence: flush.sequence,
            position,
        }
    }

    /// The rest of the segment in use is filled with what a former replica left, and the next one is begun.
    fn next_segment(&mut self) {
        for number in self.log.segments_wanted(1) {
            let segment = ReadySegment {
                number,
                salt: u64::from(number),
                life: 1,
            };
            self.disk.begin_segment(segment);
            self.disk.finish_segment(number);
            self.log.segment_ready(segment);
        }
        let before = self.log.position().segment;
        while self.log.position().segment == before {
            let name = ReplicaName {
                replica: ReplicaId(0),
                ..ONE
            };
            let data = vec![0; self.log.data_bytes_max() / 2].into();
            let (space, timestamp) = (Space(2), Nanos(1));
            self.batch(vec![Record::Relocation {
                name,
                space,
                data,
                timestamp,
            }]);
        }
    }

    fn entry(&mut self, name: ReplicaName, index: u64, term: u64) -> BatchPlace {
        self.batch(vec![Record::Entry {
            name,
            space: Space(u32::try_from(name.shard.0).expect("two shards")),
            term: Term(term),
            index: LogIndex(index),
            kind: EntryKind::Normal,
            data: Bytes::new(),
            timestamp: Nanos(1),
        }])
    }

    /// The index holds a replica up to an entry, the other not at all, and wants the scan to begin there.
    fn marked(&mut self, (applied, term): (u64, u64), commit: u64, replay: BatchPlace) {
        let states = checkpoints(&self.config.map, NodeId(1), CoreId(0), fixture::CREATED);
        let marks = states.into_iter().filter_map(|record| match record {
            Record::Checkpoint { name, space, state, .. } => Some((name, space, state)),
            Record::Entry { .. } | Record::HardState { .. } | Record::Relocation { .. } | Record::ReplicaEnd { .. } => None,
        });
        let replicas = marks.map(|(name, space, state)| {
            let (applied, term, commit) = if name == ONE { (applied, term, commit) } else { (0, 0, 0) };
            ReplicaMarks {
                name,
                damaged: false,
                space,
                low: Bytes::new(),
                high: Bytes::new(),
                applied: LogIndex(applied),
                applied_term: Term(term),
                hard_state: HardState::default(),
                commit: LogIndex(commit),
                truncated: LogIndex(0),
                term_runs: [(0, 0), (1, term)].map(|(first, term)| (LogIndex(first), Term(term))).into(),
                state,
            }
        });
        let generation = Generation {
            number: 1,
            rows: Arc::new(Overlay::new()),
            core: CoreMarks {
                generation: 1,
                replay: replay.position,
                replay_sequence: replay.sequence,
                next_space: Space(3),
            },
            replicas: replicas.collect(),
            positions: Vec::new(),
            cleared: Vec::new(),
        };
        self.index.writer().commit(&generation).expect("memory takes everything");
    }

    fn replayed(&mut self) -> Core<MemoryReader> {
        self.replay().core
    }

    fn replay(&mut self) -> Replayed<MemoryReader> {
        let replayed = replay(&self.config, &mut self.disk, self.index.reader(), &mut self.index.writer());
        replayed.expect("it replays")
    }
}

fn terms(core: &Core<MemoryReader>, name: ReplicaName, up_to: u64) -> Vec<Option<Term>> {
    let replica = core.replicas().find(|replica| replica.name() == name).expect("it runs");
    (0..=up_to).map(|index| replica.group().term_at(LogIndex(index))).collect()
}

#[test]
fn the_term_before_the_first_entry_is_known() {
    let mut written = Written::created();
    written.entry(ONE, 1, 1);
    written.log.note_commit(ONE, LogIndex(1));
    written.entry(ONE, 2, 1);
    let core = written.replayed();
    assert_eq!(terms(&core, ONE, 2), [Some(Term(0)), Some(Term(1)), Some(Term(1))]);
    assert_eq!(terms(&core, TWO, 0), [Some(Term(0))]);
}

#[test]
fn a_space_met_in_the_log_is_never_drawn() {
    let mut written = Written::created();
    let (reader, mut writer) = (written.index.reader(), written.index.writer());
    let mut replay = Replay::from_marks(reader, &mut writer, None, Planted::NONE).expect("an empty index");
    assert_eq!(replay.generations.draw_space(), Space(1), "an empty log");
    replay
        .scan_from_mark(&mut written.disk, &written.config, None)
        .expect("a whole log");
    let drawn = [(); 2].map(|()| replay.generations.draw_space());
    assert_eq!(drawn, [Space(3), Space(4)], "two replicas were created");
    replay.generations.hurry(Urgency::Now);
    replay.commit_generation().expect("memory takes everything");
    drop(replay);
    let marks = written.index.reader().core_marks().expect("memory").expect("just committed");
    assert_eq!(marks.next_space, Space(5), "what was drawn stays drawn after a restart");
}

#[test]
fn entries_met_early_for_another_replica_are_passed_over() {
    let mut written = Written::created();
    written.entry(ONE, 1, 1);
    written.entry(ONE, 2, 1);
    // The other replica's mark makes the scan begin here, between two entries that are replaced below.
    let replay = written.entry(TWO, 1, 1);
    written.entry(ONE, 3, 1);
    written.entry(ONE, 2, 2);
    written.entry(ONE, 3, 2);
    written.marked((1, 1), 1, replay);
    let core = written.replayed();
    assert_eq!(core.damaged().count(), 0);
    assert_eq!(
        terms(&core, ONE, 4),
        [Some(Term(0)), Some(Term(1)), Some(Term(2)), Some(Term(2)), None]
    );
}

#[test]
fn entries_replaced_at_the_mark_stay_replaced() {
    let mut written = Written::created();
    written.entry(ONE, 1, 1);
    let replay = written.entry(TWO, 1, 1);
    written.entry(ONE, 2, 1);
    // Another leader's first entry, which the index holds: the second went with the one it replaced.
    written.entry(ONE, 1, 2);
    written.marked((1, 2), 1, replay);
    let core = written.replayed();
    assert_eq!(terms(&core, ONE, 2), [Some(Term(0)), Some(Term(2)), None]);
}

/// Checkpoints of one reclaim are several batches where they are long. A crash between those leaves replicas whose newest checkpoint
/// still needs the oldest segment: a rebuild once began where the newest of all said that it may.
#[test]
fn a_rebuild_begins_with_the_oldest_segment_whatever_a_checkpoint_says() {
    let mut written = Written::created();
    written.entry(ONE, 1, 1);
    written.entry(TWO, 1, 1);
    written.log.note_commit(ONE, LogIndex(1));
    written.entry(TWO, 2, 1);
    written.log.note_commit(TWO, LogIndex(2));
    written.next_segment();
    let created = checkpoints(&written.config.map, NodeId(1), CoreId(0), fixture::CREATED).into_iter();
    let of_one = created.filter_map(|record| match record {
        Record::Checkpoint {
            name: ONE, space, state, ..
        } => Some((space, state)),
        Record::Checkpoint { .. }
        | Record::Entry { .. }
        | Record::HardState { .. }
        | Record::Relocation { .. }
        | Record::ReplicaEnd { .. } => None,
    });
    let closing = of_one.map(|(space, state)| Record::Checkpoint {
        name: ONE,
        space,
        applied: LogIndex(1),
        applied_term: Term(1),
        kept_from: 2,
        state,
        timestamp: Nanos(2),
    });
    written.batch(closing.collect());
    let core = written.replayed();
    assert_eq!(core.damaged().count(), 0);
    let applied = core.replicas().map(|replica| (replica.name(), replica.applied().0));
    assert_eq!(applied.collect::<Vec<_>>(), [(ONE, 1), (TWO, 2)]);
    assert_eq!(terms(&core, TWO, 2), [Some(Term(0)), Some(Term(1)), Some(Term(1))]);
}

#[test]
fn committed_entries_that_are_not_found_are_damage() {
    let mut written = Written::created();
    written.entry(ONE, 1, 1);
    let replay = written.entry(TWO, 1, 1);
    written.entry(ONE, 3, 1);
    written.marked((1, 1), 3, replay);
    let core = written.replayed();
    assert_eq!(core.damaged().collect::<Vec<_>>(), [ONE]);
    assert_eq!(terms(&core, TWO, 1), [Some(Term(0)), Some(Term(1))]);
}

/// Who joined has a log that names no replica at first, so a lost one was once taken for that: admitted again under its old id, the
/// replica could have voted twice.
#[test]
fn a_log_without_a_segment_is_a_lost_one() {
    let written = Written::created();
    let mut config = written.config;
    for joined in [false, true] {
        config.joined = joined;
        let mut gone = Disk::new(config.log);
        let started = replay(&config, &mut gone, written.index.reader(), &mut written.index.writer());
        assert!(matches!(started.err(), Some(ReplayError::LogGone)), "joined: {joined}");
    }
    let mut new = Disk::new(config.log);
    new.begin_segment(ReadySegment {
        number: 1,
        salt: 7,
        life: 1,
    });
    new.finish_segment(1);
    let started = replay(&config, &mut new, written.index.reader(), &mut written.index.writer());
    assert_eq!(started.expect("it was made so").core.replicas().count(), 0);
}

/// (Found by the simulator, seed 4401; it can only have lost rows there if two batches are damaged, or creation and rows share one.)
#[test]
fn a_replica_whose_creation_is_lost_is_not_started_by_the_checkpoint_of_its_image() {
    let newer = ReplicaName {
        replica: ReplicaId(2),
        ..ONE
    };
    for (rots, expected) in [(false, vec![newer, TWO]), (true, vec![TWO])] {
        let mut log = Written::created();
        let replay = log.entry(TWO, 1, 1);
        log.marked((0, 0), 0, replay);
        let (map, node) = (log.config.map.clone(), NodeId(1));
        let mut at = |applied: u64| {
            let states = checkpoints(&map, node, CoreId(0), fixture::CREATED).into_iter();
            let mut states = states.filter_map(|record| match record {
                Record::Checkpoint { state, .. } => Some(state),
                Record::Entry { .. } | Record::HardState { .. } | Record::Relocation { .. } | Record::ReplicaEnd { .. } => None,
            });
            log.batch(vec![Record::Checkpoint {
                name: newer,
                space: Space(3),
                applied: LogIndex(applied),
                applied_term: Term(applied),
                kept_from: 1,
                state: states.next().expect("of shard 1"),
                timestamp: Nanos(1),
            }])
        };
        let creation = at(0).position;
        at(5);
        log.entry(TWO, 2, 1);
        if rots {
            log.disk.rot(Position {
                offset: creation.offset + 60,
                ..creation
            });
        }
        let core = log.replayed();
        let started: Vec<_> = core.replicas().map(|replica| replica.name()).collect();
        assert_eq!(started, expected, "its creation rots: {rots}");
    }
}

/// The end of a replica is met, and its creation is lost. (Found by the simulator, seed 12099: it was admitted under the same id again.)
#[test]
fn a_replica_that_ended_stays_ended_though_its_creation_is_lost() {
    let later = ReplicaName {
        replica: ReplicaId(2),
        ..ONE
    };
    for listed in [true, false] {
        let mut log = Written::created();
        let replay = log.entry(TWO, 1, 1);
        log.marked((0, 0), 0, replay);
        let end = Record::ReplicaEnd {
            name: later,
            space: Space(3),
            timestamp: Nanos(1),
        };
        let hard_state = Record::HardState {
            name: later,
            space: Space(3),
            state: HardState::default(),
            timestamp: Nanos(1),
        };
        log.batch(vec![if listed { end } else { hard_state }]);
        let replayed = log.replay();
        assert_eq!(replayed.found.damaged, [later], "its end: {listed}");
        let started: Vec<_> = replayed.core.replicas().map(|replica| replica.name()).collect();
        assert_eq!(started, [TWO]);
    }
}

/// The index knows of a batch behind the end of the log.
#[test]
fn a_log_that_ends_before_the_mark_of_its_index_has_lost_its_end() {
    let mut log = Written::created();
    let place = log.entry(ONE, 1, 1);
    let behind = BatchPlace {
        sequence: place.sequence + 1,
        position: Position {
            offset: place.position.offset + 4_096,
            ..place.position
        },
    };
    log.marked((1, 1), 1, behind);
    let replayed = replay(&log.config, &mut log.disk, log.index.reader(), &mut log.index.writer());
    let (last, marked) = (place.sequence, behind.sequence);
    assert!(matches!(replayed.err(), Some(ReplayError::EndLost { last: l, marked: m }) if (l, m) == (last, marked)));
}
