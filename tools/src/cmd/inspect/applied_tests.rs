//! Indexes that keep their word and indexes that do not, each held against a log made for it by the engine's writer.

use std::fs;
use std::sync::Arc;

use margate_engine::index::{CoreMarks, Generation, IndexWriter as _, MemoryReader, MemoryStore, Overlay, Row, RowFlags, Slot};
use margate_engine::log::effects::EntryDataBuilder;
use margate_engine::log::record::Record;
use margate_engine::log::scan::{ScanError, scan};
use margate_engine::log::segment::{LogConfig, ReadySegment};
use margate_engine::log::writer::{FlushStep, LogWriter, Resume};
use margate_engine::runtime::segments;
use margate_engine::types::{HardState, Nanos, ValueHash};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId, ReplicaId, ShardId};
use tempfile::TempDir;

use super::super::segments::MappedSegments;
use super::super::survey::Survey;
use super::*;

const SPACE: Space = Space(3);
const NAME: ReplicaName = ReplicaName {
    shard: ShardId(1),
    replica: ReplicaId(1),
};
const CONFIG: LogConfig = LogConfig {
    cluster: ClusterId(1),
    directory: DirectoryId(2),
    node: NodeId(1),
    core: CoreId(0),
    segment_bytes: 4 << 20,
    ready_min: 1,
};

/// A log of one segment on disk, and its writer.
struct Log {
    folder: TempDir,
    bytes: Vec<u8>,
    writer: LogWriter,
}

impl Log {
    fn new() -> Self {
        let mut writer = LogWriter::new(CONFIG, Resume::fresh());
        let first = ReadySegment {
            number: 1,
            salt: 7,
            life: 1,
        };
        assert_eq!(writer.segments_wanted(usize::MAX).first(), Some(&1));
        writer.segment_ready(first);
        let mut bytes = vec![0; CONFIG.segment_bytes as usize];
        bytes[..4_096].copy_from_slice(&CONFIG.segment_header(first).encode());
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            bytes,
            writer,
        }
    }

    /// Queues an entry; `None` deletes the key.
    fn entry(&mut self, term: u64, index: u64, effects: &[(&str, Option<&str>, u64)]) -> &mut Self {
        let mut data = EntryDataBuilder::new(CONFIG.cluster, NAME.shard, Nanos(1));
        for (key, value, version) in effects {
            match value {
                Some(value) => data.put(key.as_bytes(), value.as_bytes(), Version(*version), ValueHash::of(value.as_bytes())),
                None => data.delete(key.as_bytes(), Version(*version)),
            }
        }
        self.writer.push(Record::Entry {
            name: NAME,
            space: SPACE,
            term: Term(term),
            index: LogIndex(index),
            kind: EntryKind::Normal,
            data: data.finish().into(),
            timestamp: Nanos(1),
        });
        self
    }

    /// Writes what is queued as one batch that carries this commit; where it lies.
    fn flush(&mut self, commit: u64) -> Position {
        self.writer.note_commit(NAME, LogIndex(commit));
        self.writer.force_commits();
        let FlushStep::Write(flush) = self.writer.flush(Nanos(1), Nanos(1)) else {
            panic!("something is queued")
        };
        let from = flush.offset as usize;
        flush.encode_into(&mut self.bytes[from..from + flush.length]);
        self.writer.flushed(flush.sequence, Nanos(2));
        Position {
            segment: flush.segment,
            offset: flush.offset,
        }
    }

    /// All that is wrong with an index and its marks.
    fn problems(&self, replay: Position, marks: &ReplicaMarks, rows: &[(&str, u64)]) -> Vec<String> {
        self.problems_within(KEPT_BYTES_MAX, replay, marks, rows)
    }

    fn problems_within(&self, bytes: usize, replay: Position, marks: &ReplicaMarks, rows: &[(&str, u64)]) -> Vec<String> {
        let reader = index(replay, marks, rows);
        let mut problems = Problems::default();
        let mut applied = Applied::new(&reader, replay, std::slice::from_ref(marks));
        applied.kept_bytes_max = bytes;
        self.scan(&mut |batch| applied.batch(batch, &mut problems)).expect("a sound log");
        applied.end(&mut problems);
        problems.lines().collect()
    }

    fn scan(&self, visit: &mut dyn FnMut(&ScannedBatch<'_>)) -> Result<(), ScanError> {
        fs::write(segments::path(self.folder.path(), 1), &self.bytes).expect("written");
        let mut files = MappedSegments::open(self.folder.path()).expect("a folder");
        scan(&mut files, &CONFIG, None, visit).map(|_| ())
    }
}

fn index(replay: Position, marks: &ReplicaMarks, rows: &[(&str, u64)]) -> MemoryReader {
    let mut overlay = Overlay::new();
    for (key, version) in rows {
        let row = Row {
            version: Version(*version),
            position: replay,
            size: 1,
            flags: RowFlags::NONE,
            hash: ValueHash::default(),
        };
        overlay.insert_newer(SPACE, key.as_bytes(), Slot::Put(row));
    }
    let store = MemoryStore::new();
    let generation = Generation {
        number: 1,
        rows: Arc::new(overlay),
        core: CoreMarks {
            generation: 1,
            replay,
            replay_sequence: 1,
            next_space: Space(SPACE.0 + 1),
        },
        replicas: vec![marks.clone()],
        positions: Vec::new(),
        cleared: Vec::new(),
    };
    store.writer().commit(&generation).expect("room");
    let mut reader = store.reader();
    reader.refresh().expect("committed");
    reader
}

fn marks(applied: u64, term: u64) -> ReplicaMarks {
    ReplicaMarks {
        name: NAME,
        damaged: false,
        space: SPACE,
        low: bytes::Bytes::new(),
        high: bytes::Bytes::new(),
        applied: LogIndex(applied),
        applied_term: Term(term),
        hard_state: HardState::default(),
        commit: LogIndex(applied),
        truncated: LogIndex(0),
        term_runs: Vec::new(),
        state: bytes::Bytes::new(),
    }
}

/// Four entries: `a` and `b` are set, `a` is deleted, `b` set again by an entry that replaces another one.
fn log() -> (Log, Vec<Position>) {
    let mut log = Log::new();
    let mut places = vec![log.entry(1, 1, &[("a", Some("1"), 1), ("b", Some("1"), 2)]).flush(0)];
    places.push(log.entry(1, 2, &[("a", None, 3)]).flush(1));
    places.push(log.entry(1, 3, &[("lost", Some("1"), 4)]).entry(1, 4, &[("b", None, 5)]).flush(2));
    places.push(log.entry(2, 3, &[("b", Some("2"), 6)]).flush(3));
    places.push(log.entry(2, 4, &[("c", Some("1"), 7)]).flush(3));
    (log, places)
}

#[test]
fn an_index_that_holds_what_it_claims_is_sound() {
    let (log, places) = log();
    assert_eq!(log.problems(places[3], &marks(2, 1), &[("b", 2)]), [""; 0]);
    assert_eq!(log.problems(places[4], &marks(3, 2), &[("b", 6)]), [""; 0]);
    // Nothing is applied yet; and an index that is further than its mark says is told elsewhere.
    assert_eq!(log.problems(places[0], &marks(0, 0), &[]), [""; 0]);
    assert_eq!(log.problems(places[0], &marks(1, 1), &[("a", 1), ("b", 6)]), [""; 0]);
}

#[test]
fn rows_that_are_missing_old_or_still_there_are_found() {
    let (log, places) = log();
    let [missing] = &log.problems(places[4], &marks(3, 2), &[])[..] else {
        panic!("one key is missing")
    };
    assert!(missing.contains("key \"b\" has version 6 by entry 3"), "{missing}");
    let [old] = &log.problems(places[4], &marks(3, 2), &[("b", 2)])[..] else {
        panic!("one key is old")
    };
    assert_eq!(old, missing);
    let [deleted] = &log.problems(places[4], &marks(3, 2), &[("a", 1), ("b", 6)])[..] else {
        panic!("one key is deleted")
    };
    assert!(deleted.contains("key \"a\" was deleted by entry 2"), "{deleted}");
}

#[test]
fn marks_of_another_term_or_behind_their_replay_are_found() {
    let (log, places) = log();
    let [term] = &log.problems(places[4], &marks(3, 1), &[("b", 6)])[..] else {
        panic!("one mark lies")
    };
    assert!(term.contains("names term 1 for entry 3, and the log 2"), "{term}");
    let [passed] = &log.problems(places[4], &marks(2, 1), &[("b", 2)])[..] else {
        panic!("replay begins too late")
    };
    assert!(passed.contains("the replay mark has passed entry 3"), "{passed}");
    // What was replaced after the mark counts as little as what lies after it.
    assert_eq!(log.problems(places[3], &marks(2, 1), &[("b", 2)]), [""; 0]);
}

#[test]
fn of_a_replica_that_lost_records_or_ended_nothing_more_is_said() {
    // The last batch but one is lost; `b` was written before it and could have been deleted in it.
    for lost in [1, 3] {
        let (mut log, places) = log();
        assert_eq!(log.problems(places[4], &marks(3, 2), &[]).len(), 1, "before anything is lost");
        log.bytes[places[lost].offset as usize + 70] ^= 1;
        assert_eq!(log.problems(places[4], &marks(3, 2), &[]), [""; 0]);
    }
    let (mut log, places) = log();
    let mut damaged = marks(3, 2);
    damaged.damaged = true;
    assert_eq!(log.problems(places[4], &damaged, &[]), [""; 0]);
    log.writer.push(Record::ReplicaEnd {
        name: NAME,
        space: SPACE,
        timestamp: Nanos(1),
    });
    log.flush(4);
    assert_eq!(log.problems(places[4], &marks(3, 2), &[]), [""; 0]);
}

#[test]
fn more_keys_than_may_be_kept_are_told_and_not_passed_over() {
    let (log, places) = log();
    let [told] = &log.problems_within(100, places[4], &marks(3, 2), &[("b", 6)])[..] else {
        panic!("that it gave up, and nothing else")
    };
    assert!(told.contains("was not compared with all entries: more than 100 bytes"), "{told}");
}

#[test]
fn an_end_is_told_once_and_what_follows_it_does_not_count() {
    let (mut log, _) = log();
    log.writer.push(Record::ReplicaEnd {
        name: NAME,
        space: SPACE,
        timestamp: Nanos(1),
    });
    log.flush(4);
    log.entry(3, 9, &[]).flush(9);
    let (mut survey, mut problems) = (Survey::of([(1, 4 << 20)].into_iter()), Problems::default());
    fs::write(segments::path(log.folder.path(), 1), &log.bytes).expect("written");
    let mut files = MappedSegments::open(log.folder.path()).expect("a folder");
    let end = scan(&mut files, &CONFIG, None, &mut |batch| survey.batch(batch, &mut problems)).expect("a sound log");
    survey.end(end, &[NAME].into(), &mut problems);
    let [told] = &problems.lines().collect::<Vec<_>>()[..] else {
        panic!("one end")
    };
    assert!(told.starts_with("shard 1 replica 1 ended at segment 1 offset "), "{told}");
    assert_eq!(survey.replicas[&NAME].last(), LogIndex(4));
}
