//! Indexes that keep their word and indexes that do not, each held against a log made for it by the engine's writer.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use margate_engine::index::{CoreMarks, Generation, IndexWriter as _, MemoryReader, MemoryStore, Overlay, Row, RowFlags, Slot};
use margate_engine::log::effects::EntryDataBuilder;
use margate_engine::log::record::Record;
use margate_engine::log::scan::{ScanEnd, ScanError, scan};
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

/// A log on disk, and its writer.
struct Log {
    folder: TempDir,
    segments: BTreeMap<u32, Vec<u8>>,
    writer: LogWriter,
}

impl Log {
    fn new() -> Self {
        let mut log = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            segments: BTreeMap::new(),
            writer: LogWriter::new(CONFIG, Resume::fresh()),
        };
        log.offer(1, 0);
        log
    }

    /// Makes the next segment ready; one that was recycled is full of what it held.
    fn offer(&mut self, life: u32, filling: u8) {
        let number = *self.writer.segments_wanted(usize::MAX).first().expect("one is wanted");
        let ready = ReadySegment { number, salt: 7, life };
        let mut bytes = vec![filling; CONFIG.segment_bytes as usize];
        bytes[..4_096].copy_from_slice(&CONFIG.segment_header(ready).encode());
        self.segments.insert(number, bytes);
        self.writer.segment_ready(ready);
    }

    /// Entries of one key from `index` on, until the log goes on in another segment; the next index.
    fn fill(&mut self, mut index: u64, life: u32) -> u64 {
        let (before, value) = (self.writer.position().segment, "x".repeat(1 << 20));
        self.offer(life, 0x5A);
        while self.writer.position().segment == before {
            self.entry(1, index, &[("fill", Some(&value), 100 + index)]).flush(index);
            index += 1;
        }
        index
    }

    /// Copies of values, as reclaim and images make them.
    fn copies(&mut self, space: Space, effects: &[(&str, &str, u64)]) -> &mut Self {
        let mut data = EntryDataBuilder::new(CONFIG.cluster, NAME.shard, Nanos(0));
        for (key, value, version) in effects {
            data.put(key.as_bytes(), value.as_bytes(), Version(*version), ValueHash::of(value.as_bytes()));
        }
        self.writer.push(Record::Relocation {
            name: NAME,
            space,
            data: data.finish().into(),
            timestamp: Nanos(1),
        });
        self
    }

    fn checkpoint(&mut self, space: Space, applied: u64, kept_from: u32) -> &mut Self {
        self.writer.push(Record::Checkpoint {
            name: NAME,
            space,
            applied: LogIndex(applied),
            applied_term: Term(1),
            kept_from,
            state: bytes::Bytes::from_static(b"state"),
            timestamp: Nanos(1),
        });
        self
    }

    /// A byte of the first segment changes.
    fn flip(&mut self, at: u32) {
        self.segments.get_mut(&1).expect("the first")[at as usize] ^= 1;
    }

    /// What the survey says, and what is wrong with the log alone.
    fn survey(&self, expected: &[ReplicaName]) -> (Survey, Vec<String>) {
        let sizes = self.segments.iter().map(|(number, bytes)| (*number, bytes.len() as u64, 1));
        let (mut survey, mut problems) = (Survey::of(sizes), Problems::default());
        let end = self.scan(&mut |batch| survey.batch(batch, &mut problems)).expect("a sound log");
        survey.end(end, &expected.iter().copied().collect(), &mut problems);
        (survey, problems.lines().collect())
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
        let bytes = self.segments.get_mut(&flush.segment).expect("it was offered");
        flush.encode_into(&mut bytes[from..from + flush.length]);
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

    fn scan(&self, visit: &mut dyn FnMut(&ScannedBatch<'_>)) -> Result<ScanEnd, ScanError> {
        for number in segments::numbers(self.folder.path()).expect("a folder") {
            fs::remove_file(segments::path(self.folder.path(), number)).expect("there");
        }
        for (number, bytes) in &self.segments {
            fs::write(segments::path(self.folder.path(), *number), bytes).expect("written");
        }
        let mut files = MappedSegments::open(self.folder.path()).expect("a folder");
        scan(&mut files, &CONFIG, None, visit)
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
            next_space: Space(100),
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
        log.flip(places[lost].offset + 70);
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
    let (survey, problems) = log.survey(&[NAME]);
    let [told] = &problems[..] else { panic!("one end") };
    assert!(told.starts_with("shard 1 replica 1 ended at segment 1 offset "), "{told}");
    assert_eq!(survey.replicas[&NAME].last(), LogIndex(4));
}

/// Two entries, then others until the second segment, where reclaim has copied `b`, written a checkpoint and dropped the first one.
fn reclaimed() -> (Log, u64) {
    let mut log = Log::new();
    log.checkpoint(SPACE, 0, 1).flush(0);
    log.entry(1, 1, &[("a", Some("1"), 1), ("b", Some("1"), 2)]).flush(1);
    let next = log.fill(2, 2);
    log.copies(SPACE, &[("b", "1", 2)]).flush(next - 1);
    log.checkpoint(SPACE, next - 1, 2).flush(next - 1);
    log.segments.remove(&1);
    (log, next)
}

#[test]
fn what_was_reclaimed_is_neither_missing_nor_compared() {
    let (mut log, next) = reclaimed();
    let (survey, problems) = log.survey(&[NAME]);
    assert_eq!(problems, [""; 0]);
    let replica = &survey.replicas[&NAME];
    assert_eq!((survey.oldest(), survey.kept_from, replica.copies[&SPACE]), (2, 2, 1));
    assert_eq!(replica.last(), LogIndex(next - 1));

    let fill = ("fill", 100 + next - 1);
    let replay = log.entry(1, next, &[("c", Some("1"), 900), ("a", None, 901)]).flush(next);
    // Whether `a` lived cannot be told; that `b` did, its copy says, and nothing says that it should.
    for rows in [&[fill, ("b", 2), ("c", 900)][..], &[fill, ("c", 900)]] {
        assert_eq!(log.problems(replay, &marks(next, 1), rows), [""; 0]);
    }
    // What is left of the log counts as ever.
    let [missing, deleted] = &log.problems(replay, &marks(next, 1), &[fill, ("a", 1)])[..] else {
        panic!("one row too few and one too many")
    };
    assert!(missing.contains("key \"a\" was deleted by entry"), "{missing}");
    assert!(deleted.contains("key \"c\" has version 900"), "{deleted}");
}

#[test]
fn a_segment_that_nobody_reclaimed_is_missed() {
    let (mut log, next) = reclaimed();
    let next = log.fill(next, 1);
    log.entry(1, next, &[]).flush(next);
    log.segments.remove(&2);
    let problems = log.survey(&[]).1;
    assert!(
        problems.contains(&"log segments 1 to 2 are gone, and the checkpoints rest on them: restore them, or delete this node's data directory, and the node joins anew".to_owned())
    );
    log.checkpoint(SPACE, next, 2).flush(next);
    let [told] = &log.survey(&[]).1[..] else { panic!("one segment") };
    assert!(told.starts_with("log segments 2 to 2 are gone"), "{told}");
    log.checkpoint(SPACE, next, 3).flush(next);
    assert_eq!(log.survey(&[NAME]).1, [""; 0]);
}

#[test]
fn entries_that_neither_the_log_nor_a_checkpoint_has_are_missed() {
    let (mut log, next) = reclaimed();
    log.entry(1, next + 1, &[]).flush(next + 1);
    let [told] = &log.survey(&[NAME]).1[..] else { panic!("one gap") };
    assert!(
        told.contains(&format!("entries {next} to {next} are missing before segment 2")),
        "{told}"
    );
}

#[test]
fn an_image_in_force_makes_history_of_what_came_before() {
    const IMAGE: Space = Space(5);
    let (mut log, places) = log();
    log.copies(Space(4), &[("z", "1", 1)]).flush(3);
    log.copies(IMAGE, &[("b", "2", 50), ("d", "1", 60)]).flush(3);
    // Until then the index is held against the entries, and rows of images mean nothing.
    assert_eq!(log.problems(places[4], &marks(3, 2), &[]).len(), 1);
    assert_eq!(log.survey(&[]).0.replicas[&NAME].unfinished(), [Space(4), IMAGE]);
    log.checkpoint(IMAGE, 70, 1).flush(70);
    assert_eq!(log.problems(places[4], &marks(3, 2), &[]), [""; 0]);
    let mut installed = marks(70, 1);
    installed.space = IMAGE;
    assert_eq!(log.problems(places[4], &installed, &[]), [""; 0]);
    let (survey, problems) = log.survey(&[NAME]);
    assert_eq!(problems, [""; 0]);
    let replica = &survey.replicas[&NAME];
    assert_eq!((replica.space, replica.last(), replica.unfinished()), (IMAGE, LogIndex(70), vec![]));
}

#[test]
fn a_replica_that_a_later_one_replaces_is_history() {
    const LATER: ReplicaName = ReplicaName {
        replica: ReplicaId(4),
        ..NAME
    };
    let (mut log, places) = log();
    log.writer.push(Record::ReplicaEnd {
        name: NAME,
        space: SPACE,
        timestamp: Nanos(1),
    });
    log.flush(4);
    assert_eq!(log.survey(&[NAME]).1.len(), 1);
    log.writer.push(Record::Checkpoint {
        name: LATER,
        space: Space(9),
        applied: LogIndex(0),
        applied_term: Term(0),
        kept_from: 1,
        state: bytes::Bytes::new(),
        timestamp: Nanos(1),
    });
    log.flush(4);
    let (survey, problems) = log.survey(&[NAME]);
    assert_eq!(problems, [""; 0]);
    assert!(survey.replicas[&NAME].replaced && survey.replicas[&LATER].is_whole());
    let mut later = marks(0, 0);
    (later.name, later.space) = (LATER, Space(9));
    assert_eq!(log.problems(places[4], &later, &[]), [""; 0]);
    // The first of a shard may be long gone from the log.
    let before = ReplicaName {
        replica: ReplicaId(0),
        ..NAME
    };
    assert_eq!(log.survey(&[before]).1, [""; 0]);
}
