//! The appending end: what goes into a batch, when one is due, and what each flush makes durable.

use bytes::Bytes;
use margate_net::ids::{LogIndex, Space, Term};

use super::support::{MemoryDisk, SeenBody, World, config, entries, entry, hard_state, name, scan_all};
use crate::log::limits::{BLOCK_BYTES, QUEUED_BYTES_MAX, SEAL_AFTER, SEGMENT_BYTES_MIN};
use crate::log::record::{Record, RecordKind};
use crate::log::segment::ReadySegment;
use crate::log::writer::{FlushStep, LogWriter, Resume};
use crate::types::{Nanos, Position};

const SEGMENT: u32 = 32 << 10;

#[test]
fn one_flush_at_a_time_and_the_rest_goes_next() {
    let mut world = World::new(SEGMENT);
    world.writer.push(entry(name(1, 1), 1, b"first"));
    let (flush, bytes) = world.begin_flush().expect("a record is queued");
    world.writer.push(entry(name(1, 1), 2, b"second"));
    assert!(world.writer.in_flight());
    assert!(world.begin_flush().is_none(), "a second flush while one is in flight");
    assert_eq!((world.writer.last_sequence(), world.writer.position().segment), (0, 1));
    world.end_flush(flush, bytes);
    world.flush();
    assert_eq!(world.writer.queued_bytes(), 0);
    assert_eq!(world.writer.last_sequence(), 2);
    let seen = world.seen();
    assert_eq!(
        seen.iter().map(|batch| (batch.sequence, batch.records.len())).collect::<Vec<_>>(),
        [(1, 1), (2, 1)]
    );
}

#[test]
fn placed_entries_name_the_bytes_they_placed() {
    let mut world = World::new(SEGMENT);
    world.batch(vec![
        hard_state(name(1, 1), 1, 1),
        entry(name(1, 1), 1, b"alpha"),
        entry(name(2, 9), 4, b""),
    ]);
    world.batch(vec![entry(name(1, 1), 2, &[9; 5_000])]);
    let placed: Vec<_> = world.written.iter().flat_map(|(flush, _)| flush.entries.clone()).collect();
    let read = entries(&mut world.disk, &world.config);
    assert_eq!(placed.len(), 3);
    for (placed, (of, term, index, data, position)) in placed.iter().zip(&read) {
        assert_eq!(
            (placed.name, placed.term, placed.index, placed.data),
            (*of, *term, *index, *position)
        );
        let from = placed.data.offset as usize;
        assert_eq!(world.disk.segments[&placed.data.segment][from..from + data.len()], data[..]);
    }
    assert_eq!(
        placed[2].batch,
        Position {
            segment: 1,
            offset: 2 * 4_096
        }
    );
    assert_eq!(read[2].3, vec![9; 5_000]);
    for (flush, bytes) in &world.written {
        assert!(bytes[flush.used..].iter().all(|byte| *byte == 0), "the padding is not zero");
    }
}

#[test]
fn a_batch_lists_what_its_predecessor_held() {
    let mut world = World::new(SEGMENT);
    let mut cut = vec![entry(name(2, 1), 8, b"x"), entry(name(2, 1), 5, b"x"), hard_state(name(1, 4), 3, 0)];
    cut.push(entry(name(2, 1), 6, b"x"));
    world.batch(cut);
    world.batch(vec![hard_state(name(1, 4), 4, 2)]);
    let seen = world.seen();
    assert_eq!(seen[0].predecessors, []);
    let listed: Vec<_> = seen[1]
        .predecessors
        .iter()
        .map(|held| (held.name, held.first.0, held.last.0))
        .collect();
    assert_eq!(listed, [(name(1, 4), 0, 0), (name(2, 1), 5, 8)]);
    assert!(seen[1].predecessors[0].kinds.contains(RecordKind::HardState));
    assert!(!seen[1].predecessors[0].kinds.contains(RecordKind::Entry));
    assert!(seen[1].predecessors[1].kinds.contains(RecordKind::Entry));
}

#[test]
fn a_seal_follows_after_its_time_and_never_a_seal() {
    let mut world = World::new(SEGMENT);
    assert_eq!(world.writer.deadline(), None, "an empty log has nothing to prove");
    world.batch(vec![entry(name(1, 1), 1, b"a")]);
    let due = world.now.plus(SEAL_AFTER);
    assert_eq!(world.writer.deadline(), Some(due));
    assert!(world.begin_flush().is_none(), "a seal before its time");
    world.now = due;
    world.flush();
    assert!(world.written[1].0.seal);
    assert_eq!(world.writer.deadline(), None, "a seal would be sealed");
    world.now = due.plus(Nanos::from_millis(1_000));
    world.writer.force_seal();
    assert!(world.begin_flush().is_none(), "a seal was sealed");
    assert_eq!(world.seen()[1].predecessors.len(), 1);
}

#[test]
fn queued_records_go_instead_of_a_seal() {
    let mut world = World::new(SEGMENT);
    world.batch(vec![entry(name(1, 1), 1, b"a")]);
    world.writer.push(entry(name(1, 1), 2, b"b"));
    assert_eq!(world.writer.deadline(), None);
    world.now = world.now.plus(SEAL_AFTER);
    world.flush();
    assert!(!world.written[1].0.seal);
    assert_eq!(
        world.writer.deadline(),
        Some(world.now.plus(SEAL_AFTER)),
        "the seal's time begins anew"
    );
}

#[test]
fn a_graceful_stop_seals_at_once_also_behind_a_flush() {
    let mut world = World::new(SEGMENT);
    world.writer.push(entry(name(1, 1), 1, b"a"));
    let (flush, bytes) = world.begin_flush().expect("a record is queued");
    world.writer.force_seal();
    world.end_flush(flush, bytes);
    world.flush();
    assert!(world.written[1].0.seal);
}

#[test]
fn commits_travel_once_and_are_durable_after_the_flush() {
    let mut world = World::new(SEGMENT);
    let (one, two) = (name(1, 1), name(2, 1));
    world.writer.note_commit(one, LogIndex(3));
    world.writer.note_commit(one, LogIndex(5));
    world.writer.note_commit(one, LogIndex(4));
    assert!(world.begin_flush().is_none(), "a commit alone is no reason to write");
    world.writer.push(entry(two, 1, b"a"));
    let (flush, bytes) = world.begin_flush().expect("a record is queued");
    world.writer.note_commit(one, LogIndex(5));
    world.writer.note_commit(two, LogIndex(1));
    assert_eq!(world.writer.durable_commit(one), LogIndex(0));
    world.end_flush(flush, bytes);
    assert_eq!(world.writer.durable_commit(one), LogIndex(5));
    assert_eq!(world.writer.durable_commit(two), LogIndex(0));
    world.seal();
    assert_eq!(world.writer.durable_commit(two), LogIndex(1));
    let commits: Vec<_> = world.seen().into_iter().map(|batch| batch.commits).collect();
    assert_eq!(commits, [vec![(one, LogIndex(5))], vec![(two, LogIndex(1))]]);
    let (end, _) = scan_all(&mut world.disk, &world.config).expect("the log opens");
    assert_eq!(LogWriter::new(world.config, end.resume).durable_commit(one), LogIndex(5));
}

#[test]
fn a_remembered_commit_is_durable_and_not_carried_again() {
    let mut resume = Resume::fresh();
    resume.remember_commit(name(1, 1), LogIndex(9));
    resume.remember_commit(name(1, 1), LogIndex(4));
    let mut world = World::on(MemoryDisk::default(), config(SEGMENT), resume);
    assert_eq!(world.writer.durable_commit(name(1, 1)), LogIndex(9));
    world.writer.note_commit(name(1, 1), LogIndex(9));
    world.batch(vec![entry(name(2, 1), 1, b"a")]);
    assert_eq!(world.seen()[0].commits, []);
}

#[test]
fn forced_commits_are_written_alone_even_behind_a_seal() {
    let mut world = World::new(SEGMENT);
    world.writer.force_commits();
    assert!(world.begin_flush().is_none(), "there are none");
    world.batch(vec![entry(name(1, 1), 1, b"a")]);
    world.seal();
    world.writer.note_commit(name(1, 1), LogIndex(1));
    assert!(world.begin_flush().is_none());
    world.writer.force_commits();
    world.flush();
    assert_eq!(world.writer.durable_commit(name(1, 1)), LogIndex(1));
    assert_eq!(world.writer.deadline(), None);
}

#[test]
fn a_forgotten_replica_is_not_carried() {
    let mut world = World::new(SEGMENT);
    world.writer.note_commit(name(1, 1), LogIndex(3));
    world.writer.forget(name(1, 1));
    world.batch(vec![entry(name(2, 1), 1, b"a")]);
    assert_eq!(world.seen()[0].commits, []);
}

#[test]
fn batches_never_cross_segments_and_none_is_lost() {
    let mut world = World::new(SEGMENT);
    for index in 1..=40_u8 {
        let data = vec![index; 3_000 + 100 * usize::from(index)];
        world.batch(vec![entry(name(1, 1), index.into(), &data)]);
    }
    assert!(
        world.written.iter().any(|(flush, _)| flush.segment > 5),
        "the log did not change segments"
    );
    for (flush, bytes) in &world.written {
        assert!(flush.offset as usize + bytes.len() <= SEGMENT as usize);
    }
    let read = entries(&mut world.disk, &world.config);
    assert_eq!(
        read.iter().map(|(_, _, index, ..)| index.0).collect::<Vec<_>>(),
        (1..=40).collect::<Vec<_>>()
    );
    assert!(
        read.iter()
            .all(|(_, _, index, data, _)| data.iter().all(|byte| u64::from(*byte) == index.0))
    );
}

#[test]
fn what_does_not_fit_one_batch_goes_into_the_next_in_order() {
    let mut world = World::new(SEGMENT);
    (1..=60).for_each(|index| world.writer.push(entry(name(1, 1), index, &[1; 1_000])));
    while world.writer.queued_bytes() > 0 {
        world.flush();
        assert!(
            world
                .written
                .last()
                .is_some_and(|(flush, _)| flush.length <= SEGMENT as usize - BLOCK_BYTES)
        );
    }
    assert_eq!(world.written.len(), 3);
    let read = entries(&mut world.disk, &world.config);
    assert_eq!(
        read.iter().map(|(_, _, index, ..)| index.0).collect::<Vec<_>>(),
        (1..=60).collect::<Vec<_>>()
    );
}

#[test]
fn running_out_of_segments_waits_and_is_counted_once() {
    let mut writer = LogWriter::new(config(SEGMENT), Resume::fresh());
    writer.push(entry(name(1, 1), 1, b"a"));
    let wall = Nanos(0);
    assert!(matches!(writer.flush(Nanos(0), wall), FlushStep::WaitForSegment));
    assert!(matches!(writer.flush(Nanos(0), wall), FlushStep::WaitForSegment));
    assert_eq!(writer.segment_waits(), 1);
    assert_eq!(writer.segments_wanted(usize::MAX), [1, 2]);
    assert_eq!(writer.segments_wanted(usize::MAX), []);
    writer.segment_ready(ReadySegment {
        number: 2,
        salt: 2,
        life: 1,
    });
    assert!(
        matches!(writer.flush(Nanos(0), wall), FlushStep::WaitForSegment),
        "segments are used in order"
    );
    writer.segment_ready(ReadySegment {
        number: 1,
        salt: 1,
        life: 1,
    });
    assert!(matches!(writer.flush(Nanos(0), wall), FlushStep::Write(_)));
    assert_eq!(writer.segment_waits(), 1);
    assert_eq!(writer.segments_wanted(usize::MAX), [3], "one segment was taken into use");
}

#[test]
fn a_wait_for_a_segment_is_no_deadline() {
    let mut world = World::new(2 * 4_096);
    world.batch(vec![entry(name(1, 1), 1, b"a")]);
    let mut alone = LogWriter::new(
        world.config,
        scan_all(&mut world.disk, &world.config).expect("the log opens").0.resume,
    );
    assert_eq!(alone.deadline(), Some(Nanos(0)), "an unproven tail is sealed at once");
    assert!(matches!(alone.flush(Nanos(0), Nanos(0)), FlushStep::WaitForSegment));
    assert_eq!(alone.deadline(), None, "the core would spin");
    alone.segment_ready(ReadySegment {
        number: 2,
        salt: 9,
        life: 1,
    });
    assert_eq!(alone.deadline(), Some(Nanos(0)));
}

#[test]
fn a_long_checkpoint_is_written_in_parts() {
    let mut world = World::new(SEGMENT);
    let state: Vec<u8> = (0..70_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    world.writer.push(Record::Checkpoint {
        name: name(3, 1),
        space: Space(2),
        applied: LogIndex(44),
        applied_term: Term(6),
        kept_from: 1,
        state: Bytes::from(state.clone()),
        timestamp: Nanos(1),
    });
    while world.writer.queued_bytes() > 0 {
        world.flush();
    }
    let mut read = Vec::new();
    let mut parts_met = Vec::new();
    crate::log::scan::scan(&mut world.disk, &world.config, None, &mut |batch| {
        for record in batch.records() {
            if let crate::log::record::RecordBody::Checkpoint {
                applied,
                applied_term,
                part,
                parts,
                kept_from: 1,
                state,
            } = record.body
            {
                assert_eq!((applied, applied_term), (LogIndex(44), Term(6)));
                parts_met.push((part, parts));
                read.extend_from_slice(state);
            }
        }
    })
    .expect("the log opens");
    assert_eq!(read, state);
    assert!(parts_met.len() > 1);
    assert_eq!(
        parts_met.last().map(|(part, parts)| (part + 1, *parts)),
        parts_met.first().map(|(_, parts)| (*parts, *parts))
    );
}

#[test]
fn the_largest_entry_fits_the_smallest_segment() {
    let mut world = World::new(SEGMENT_BYTES_MIN);
    (0..1_000).for_each(|shard| world.writer.push(hard_state(name(shard, 1), 1, 1)));
    world.flush();
    world.batch(vec![entry(name(1, 1), 1, &vec![3; crate::log::limits::ENTRY_DATA_BYTES_MAX])]);
    assert_eq!(entries(&mut world.disk, &world.config).len(), 1);
    assert!(world.writer.has_room());
    let entry_bytes = crate::log::limits::ENTRY_DATA_BYTES_MAX;
    let most = QUEUED_BYTES_MAX.div_ceil(entry_bytes);
    (2..)
        .take(most)
        .for_each(|index| world.writer.push(entry(name(1, 1), index, &vec![3; entry_bytes])));
    assert!(!world.writer.has_room());
}

#[test]
fn a_replicas_end_is_read_back_in_its_place() {
    let mut world = World::new(SEGMENT_BYTES_MIN);
    let (ended, other) = (name(1, 1), name(2, 1));
    let end = Record::ReplicaEnd {
        name: ended,
        space: Space(7),
        timestamp: Nanos(6),
    };
    world.batch(vec![hard_state(ended, 1, 1), end, hard_state(other, 1, 1)]);
    world.batch(vec![hard_state(other, 2, 1)]);
    let seen = world.seen();
    let kinds: Vec<_> = seen[0].records.iter().map(|(of, _, body)| (*of, body.clone())).collect();
    assert_eq!(kinds[1], (ended, SeenBody::Other(RecordKind::ReplicaEnd as u8)));
    let held = seen[1].predecessors.iter().find(|held| held.name == ended).expect("it wrote there");
    assert!(held.kinds.contains(RecordKind::ReplicaEnd) && held.kinds.contains(RecordKind::HardState));
}
