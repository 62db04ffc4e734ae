//! Opening a log: where it goes on, what is refused, what is ready and what is thrown away.

use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId};

use super::support::{MemoryDisk, World, config, entry, name, scan_all, scan_from};
use crate::log::batch::BatchFault;
use crate::log::limits::BLOCK_BYTES;
use crate::log::scan::{DamagedReplicas, ScanError, TornTail};
use crate::log::segment::{LogConfig, ReadySegment, first_batch};
use crate::log::writer::Resume;
use crate::types::Position;

const SEGMENT: u32 = 6 * 4_096;

/// Seven batches of one block, five in segment 1, two in segment 2; segments 3 and 4 are ready.
fn world() -> World {
    let mut world = World::new(SEGMENT);
    (1..=7).for_each(|index| world.batch(vec![entry(name(1, 1), index, b"data")]));
    world.prewrite();
    assert_eq!(world.disk.segments.len(), 4);
    world
}

fn error(disk: &mut MemoryDisk, config: &LogConfig) -> ScanError {
    scan_all(disk, config).expect_err("the log must not open")
}

#[test]
fn nothing_at_all_is_a_fresh_log() {
    let (end, seen) = scan_all(&mut MemoryDisk::default(), &config(SEGMENT)).expect("empty");
    assert_eq!((end.resume, end.torn, end.damage.len(), seen.len()), (Resume::fresh(), None, 0, 0));
}

#[test]
fn prewritten_segments_without_batches_are_ready() {
    let mut world = World::new(SEGMENT);
    world.prewrite();
    let (end, seen) = scan_all(&mut world.disk, &world.config).expect("empty");
    assert_eq!((end.resume, seen.len()), (Resume::fresh(), 0));
    assert_eq!(end.ready.iter().map(|segment| segment.number).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_log_goes_on_where_it_ended_in_the_same_segment() {
    let mut world = world();
    let before = world.seen();
    let mut again = World::reopen(world.disk, world.config);
    assert_eq!(again.writer.last_sequence(), 7);
    assert_eq!(
        again.writer.position(),
        Position {
            segment: 2,
            offset: 3 * 4_096
        }
    );
    assert_eq!(
        again.writer.last_batch(),
        Position {
            segment: 2,
            offset: 2 * 4_096
        }
    );
    assert_eq!(again.writer.segments_wanted(usize::MAX), [], "the two ready ones were kept");
    again.batch(vec![entry(name(1, 1), 8, b"more")]);
    let after = again.seen();
    assert_eq!(after[..7], before[..]);
    assert_eq!(
        (after[7].sequence, after[7].position.offset, after[7].predecessors.len()),
        (8, 3 * 4_096, 1)
    );
}

#[test]
fn every_batch_can_be_the_start_of_a_scan() {
    let mut world = world();
    let all = world.seen();
    let whole = scan_all(&mut world.disk, &world.config).expect("opens").0;
    for (skipped, batch) in all.iter().enumerate() {
        let (end, seen) = scan_from(&mut world.disk, &world.config, Some(batch.position)).expect("opens");
        assert_eq!((seen, end.damage), (all[skipped..].to_vec(), vec![]));
        assert_eq!(end.resume, whole.resume);
    }
}

#[test]
fn a_start_that_is_no_batch_is_refused() {
    let mut world = world();
    let places = [(1, 0), (1, 5_000), (2, 3 * 4_096), (2, SEGMENT), (2, u32::MAX)];
    for position in places.map(|(segment, offset)| Position { segment, offset }) {
        let error = scan_from(&mut world.disk, &world.config, Some(position)).err();
        assert_eq!(error, Some(ScanError::StartNotFound { position }));
    }
    let error = scan_from(&mut world.disk, &world.config, Some(first_batch(9))).err();
    assert_eq!(error, Some(ScanError::MissingSegment { segment: 9 }));
}

#[test]
fn segments_of_others_are_refused() {
    let mut world = world();
    let mine = world.config;
    let other = LogConfig {
        cluster: ClusterId(1),
        ..mine
    };
    assert!(matches!(error(&mut world.disk, &other), ScanError::ForeignCluster { found, .. } if found == mine.cluster));
    let other = LogConfig {
        directory: DirectoryId(1),
        ..mine
    };
    assert!(matches!(error(&mut world.disk, &other), ScanError::ForeignDirectory { found, .. } if found == mine.directory));
    let other = LogConfig { node: NodeId(1), ..mine };
    assert!(matches!(
        error(&mut world.disk, &other),
        ScanError::ForeignNode { found: NodeId(3), .. }
    ));
    let other = LogConfig { core: CoreId(0), ..mine };
    assert!(matches!(
        error(&mut world.disk, &other),
        ScanError::ForeignCore { found: CoreId(1), .. }
    ));
}

#[test]
fn a_newer_format_is_refused_in_a_header_and_in_a_batch() {
    let world = world();
    let newer = ScanError::NewerFormat {
        segment: 2,
        found: 2,
        supported: 1,
    };
    let mut disk = world.disk.clone();
    let header = &mut disk.segments.get_mut(&2).expect("in use")[..BLOCK_BYTES];
    header[4] = 2;
    header[16] = 7; // Another block size is the newer format's right.
    reseal(header, 20);
    assert_eq!(error(&mut disk, &world.config), newer);
    let mut disk = world.disk.clone();
    let (flush, _) = &world.written[5];
    let batch = &mut disk.segments.get_mut(&2).expect("in use")[flush.offset as usize..][..flush.used];
    batch[4] = 2;
    reseal(batch, 52);
    assert_eq!(error(&mut disk, &world.config), newer);
}

#[test]
fn a_sound_batch_that_cannot_be_read_is_refused_not_dropped() {
    let world = world();
    let mut disk = world.disk.clone();
    let (flush, _) = &world.written[6];
    let batch = &mut disk.segments.get_mut(&2).expect("in use")[flush.offset as usize..][..flush.used];
    batch[28] = 2; // One record is there.
    reseal(batch, 52);
    assert!(matches!(
        error(&mut disk, &world.config),
        ScanError::Malformed {
            fault: BatchFault::BadCounts,
            ..
        }
    ));
    let batch = &mut disk.segments.get_mut(&2).expect("in use")[flush.offset as usize..][..flush.used];
    batch[16..24].fill(0xff);
    reseal(batch, 52);
    assert!(matches!(
        error(&mut disk, &world.config),
        ScanError::Malformed {
            fault: BatchFault::LastSequence,
            ..
        }
    ));
}

#[test]
fn a_missing_segment_between_others_is_refused() {
    let mut world = world();
    (8..=12).for_each(|index| world.batch(vec![entry(name(1, 1), index, b"data")]));
    world.disk.segments.remove(&2);
    assert_eq!(error(&mut world.disk, &world.config), ScanError::MissingSegment { segment: 2 });
}

#[test]
fn a_log_whose_first_segments_were_reclaimed_begins_with_the_oldest_one_left() {
    let mut world = world();
    world.disk.segments.remove(&1);
    let (end, seen) = scan_all(&mut world.disk, &world.config).expect("opens");
    assert_eq!(
        (seen.first().map(|batch| batch.sequence), seen.len(), end.damage.len()),
        (Some(6), 2, 0)
    );
    assert_eq!(end.resume.oldest, 2);
}

#[test]
fn a_reclaimed_log_that_lost_its_first_batch_is_damaged() {
    let mut world = world();
    world.disk.segments.remove(&1);
    world.disk.segments.get_mut(&2).expect("in use")[4_096 + 100] ^= 1;
    let (end, _) = scan_all(&mut world.disk, &world.config).expect("opens");
    assert_eq!(end.damage.len(), 1);
    assert_eq!(end.damage[0].replicas, DamagedReplicas::All);
}

#[test]
fn segments_that_are_not_fully_prewritten_are_discarded() {
    let mut world = world();
    world.disk.segments.get_mut(&3).expect("ready").truncate(3 * 4_096);
    world.disk.segments.insert(5, vec![0; SEGMENT as usize]);
    world.disk.segments.insert(6, vec![0; 100]);
    world.disk.segments.insert(7, Vec::new());
    let resized = LogConfig {
        segment_bytes: 2 * SEGMENT,
        ..world.config
    };
    world.disk.prewrite(
        &resized,
        ReadySegment {
            number: 8,
            salt: 1,
            life: 1,
        },
    );
    let (end, seen) = scan_all(&mut world.disk, &world.config).expect("opens");
    assert_eq!(end.ready.iter().map(|segment| segment.number).collect::<Vec<_>>(), [4]);
    assert_eq!(end.discard, [3, 5, 6, 7, 8]);
    assert_eq!((seen.len(), end.torn, end.damage.len()), (7, None, 0));
}

#[test]
fn a_segment_cut_short_takes_no_more_batches() {
    let mut world = world();
    world.disk.segments.get_mut(&2).expect("in use").truncate(3 * 4_096);
    let (end, seen) = scan_all(&mut world.disk, &world.config).expect("opens");
    let cut = Position {
        segment: 2,
        offset: 3 * 4_096,
    };
    assert_eq!((seen.len(), end.cut), (7, Some(cut)));
    assert_eq!(end.damage, [], "no batch proves it");
    let mut again = World::reopen(world.disk, world.config);
    again.batch(vec![entry(name(1, 1), 8, b"more")]);
    assert_eq!(again.seen()[7].position, first_batch(3));
}

#[test]
fn a_segment_cut_where_nothing_was_written_or_within_a_batch_is_told() {
    let written = world();
    for (segment, bytes, seen, cut) in [
        // Behind the last batch, and behind the first place of a segment never used: nothing was there.
        (2, 4 * BLOCK_BYTES, 7, None),
        (3, 2 * BLOCK_BYTES, 7, None),
        // The next segment's first batch may have been there.
        (3, BLOCK_BYTES, 7, Some(BLOCK_BYTES)),
        // The seventh batch was.
        (2, 2 * BLOCK_BYTES, 6, Some(2 * BLOCK_BYTES)),
    ] {
        let mut disk = written.disk.clone();
        disk.segments.get_mut(&segment).expect("there are four").truncate(bytes);
        let (end, found) = scan_all(&mut disk, &written.config).expect("opens");
        let at = |bytes| Position {
            segment,
            offset: u32::try_from(bytes).expect("a small number"),
        };
        assert_eq!((found.len(), end.cut), (seen, cut.map(at)), "segment {segment} cut to {bytes}");
    }
    let mut long = World::new(SEGMENT);
    long.batch(vec![entry(name(1, 1), 1, &[7; 9_000])]);
    long.disk.segments.get_mut(&1).expect("in use").truncate(3 * BLOCK_BYTES);
    let (end, found) = scan_all(&mut long.disk, &long.config).expect("opens");
    assert_eq!((found.len(), end.cut.map(|at| at.segment)), (0, Some(1)), "cut within a batch");
}

#[test]
fn batches_of_a_former_life_are_never_accepted() {
    let world = world();
    let mut disk = world.disk.clone();
    disk.prewrite(
        &world.config,
        ReadySegment {
            number: 2,
            salt: 0xabc,
            life: 1,
        },
    );
    disk.segments.get_mut(&2).expect("new life")[BLOCK_BYTES..].copy_from_slice(&world.disk.segments[&2][BLOCK_BYTES..]);
    let (end, seen) = scan_all(&mut disk, &world.config).expect("opens");
    assert_eq!((seen.len(), end.damage.len(), end.resume.last_sequence()), (5, 0, 5));
    assert_eq!(end.torn.map(|torn| torn.bytes), Some(2 * 4_096));
}

#[test]
fn a_batch_of_another_place_is_never_accepted() {
    let mut world = world();
    let sixth = world.written[5].1.clone();
    world.disk.write(
        Position {
            segment: 2,
            offset: 3 * 4_096,
        },
        &sixth,
    );
    world.disk.write(Position { segment: 4, offset: 4_096 }, &sixth);
    let (end, seen) = scan_all(&mut world.disk, &world.config).expect("opens");
    assert_eq!((seen.len(), end.damage.len(), end.resume.last_sequence()), (7, 0, 7));
}

#[test]
fn a_sound_batch_with_an_old_sequence_is_neither_read_nor_damage() {
    let mut world = world();
    let (flush, mut old) = (world.written[5].0.clone(), world.written[5].1.clone());
    let place = world.writer.position();
    old[56..60].copy_from_slice(&place.segment.to_le_bytes());
    old[60..64].copy_from_slice(&place.offset.to_le_bytes());
    reseal(&mut old[..flush.used], 52);
    world.disk.write(place, &old);
    let (end, seen) = scan_all(&mut world.disk, &world.config).expect("opens");
    assert_eq!((seen.len(), end.damage.len(), end.resume.last_sequence()), (7, 0, 7));
    assert_eq!(
        end.torn,
        Some(TornTail {
            position: place,
            bytes: 4_096
        })
    );
}

#[test]
fn a_batch_that_names_another_predecessor_proves_damage() {
    let world = world();
    let mut disk = world.disk.clone();
    let (flush, _) = &world.written[3];
    let batch = &mut disk.segments.get_mut(&1).expect("in use")[flush.offset as usize..][..flush.used];
    batch[40] ^= 1; // Another time of writing: a sound batch, but not the one its successor followed.
    reseal(batch, 52);
    let (end, seen) = scan_all(&mut disk, &world.config).expect("opens");
    assert_eq!(seen.len(), 7);
    assert_eq!(end.damage.len(), 1);
    assert_eq!((&end.damage[0].replicas, end.damage[0].gap_batches), (&DamagedReplicas::All, 0));
}

#[test]
fn a_copy_of_a_log_inside_a_value_is_not_a_log() {
    let mut world = world();
    let copy = world.disk.segments[&2][BLOCK_BYTES..3 * BLOCK_BYTES].to_vec();
    let mut value = vec![0; 4_096 - 64 - 36 - 64]; // The copy begins on a block boundary.
    value.extend_from_slice(&copy);
    world.batch(vec![entry(name(1, 1), 8, &value)]);
    let (flush, _) = world.written.last().expect("just written");
    let offset = flush.offset as usize;
    assert_eq!(world.disk.segments[&flush.segment][offset + 4_096..offset + 8_192], copy[..4_096]);
    *world.disk.byte(2, offset + 100) ^= 1;
    let (end, seen) = scan_all(&mut world.disk, &world.config).expect("opens");
    assert_eq!((seen.len(), end.damage.len()), (7, 0), "the copy was taken for a batch");
}

/// Writes the right checksum into changed bytes.
fn reseal(bytes: &mut [u8], field: usize) {
    bytes[field..field + 4].fill(0);
    let checksum = crc32fast::hash(bytes);
    bytes[field..field + 4].copy_from_slice(&checksum.to_le_bytes());
}
