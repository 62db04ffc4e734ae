//! Old entries out of pieces of the log.

use bytes::Bytes;
use margate_net::ids::LogIndex;
use proptest::prelude::*;

use super::support::{World, entry, hard_state, name};
use crate::log::batch::BatchFault;
use crate::log::fetch::{Cursor, FetchError, Walked, entries_in_chunk, salvage_batch};
use crate::log::segment::first_batch;
use crate::types::Position;

/// Five batches of two replicas: four in segment 1, whose last block stays unused, one of two blocks in segment 2.
fn world() -> World {
    let mut world = World::new(6 * 4_096);
    for index in 1..=4 {
        world.batch(vec![
            entry(name(1, 1), index, b"mine"),
            hard_state(name(1, 1), index, 1),
            entry(name(2, 1), index, b"theirs"),
        ]);
    }
    world.batch(vec![entry(name(1, 1), 5, &[7; 5_000])]);
    world
}

fn chunk(world: &World, at: Position, bytes: usize) -> Bytes {
    let from = at.offset as usize;
    Bytes::copy_from_slice(&world.disk.segments[&at.segment][from..from + bytes])
}

#[test]
fn a_piece_gives_one_replicas_entries_as_slices_of_itself() {
    let world = world();
    let piece = chunk(&world, first_batch(1), 2 * 4_096);
    let fetched = entries_in_chunk(&piece, first_batch(1), name(1, 1)).expect("sound");
    assert_eq!(fetched.entries.iter().map(|entry| entry.index.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        (fetched.walked.next, fetched.walked.needs),
        (
            Position {
                segment: 1,
                offset: 3 * 4_096
            },
            None
        )
    );
    for entry in &fetched.entries {
        assert_eq!(entry.data, b"mine"[..]);
        assert!(piece.as_ptr_range().contains(&entry.data.as_ptr()), "the data were copied");
        assert_eq!(chunk(&world, entry.data_position, 4), b"mine"[..]);
    }
}

#[test]
fn the_unused_tail_leads_to_the_next_segment() {
    let world = world();
    let piece = chunk(&world, first_batch(1), 5 * 4_096);
    let fetched = entries_in_chunk(&piece, first_batch(1), name(2, 1)).expect("sound");
    assert_eq!(fetched.entries.last().map(|entry| entry.index), Some(LogIndex(4)));
    assert_eq!(fetched.walked.next, first_batch(2));
}

#[test]
fn a_piece_too_short_says_how_much_it_needs() {
    let world = world();
    let fetched = entries_in_chunk(&chunk(&world, first_batch(2), 4_096), first_batch(2), name(1, 1)).expect("cut");
    assert_eq!(
        (fetched.entries.len(), fetched.walked.next, fetched.walked.needs),
        (0, first_batch(2), Some(2 * 4_096))
    );
    let fetched = entries_in_chunk(&chunk(&world, first_batch(2), 8_192), first_batch(2), name(1, 1)).expect("whole");
    assert_eq!(fetched.entries[0].data, [7; 5_000][..]);
    assert_eq!(
        entries_in_chunk(&Bytes::new(), first_batch(2), name(1, 1))
            .expect("nothing")
            .entries,
        []
    );
}

#[test]
fn a_damaged_first_batch_is_an_error_and_a_misplaced_one_too() {
    let mut world = world();
    let piece = chunk(&world, first_batch(1), 4_096);
    let elsewhere = Position { segment: 1, offset: 8_192 };
    let wrong = FetchError::BadBatch {
        position: elsewhere,
        fault: BatchFault::OtherPlace { found: first_batch(1) },
    };
    assert_eq!(entries_in_chunk(&piece, elsewhere, name(1, 1)), Err(wrong));
    *world.disk.byte(1, 4_096 + 130) ^= 4;
    let damaged = entries_in_chunk(&chunk(&world, first_batch(1), 4_096), first_batch(1), name(1, 1));
    assert_eq!(
        damaged,
        Err(FetchError::BadBatch {
            position: first_batch(1),
            fault: BatchFault::BadChecksum
        })
    );
}

/// The records of a batch, sound or not.
fn salvaged(piece: &[u8]) -> Option<Vec<bool>> {
    let batch = salvage_batch(piece, first_batch(1)).expect("long enough");
    let records = batch.and_then(|batch| batch.records);
    records.map(|records| records.into_iter().map(|(_, sound)| sound).collect())
}

#[test]
fn of_a_damaged_batch_the_records_that_are_sound_are_known() {
    let mut world = world();
    let batch = chunk(&world, first_batch(1), 4_096);
    assert_eq!(salvaged(&batch), Some(vec![true; 3]));
    let theirs = batch.windows(6).position(|bytes| bytes == b"theirs").expect("it is in the batch");
    *world.disk.byte(1, 4_096 + theirs) ^= 4;
    assert_eq!(salvaged(&chunk(&world, first_batch(1), 4_096)), Some(vec![true, true, false]));
    *world.disk.byte(1, 4_096 + 64) ^= 4;
    assert_eq!(salvaged(&chunk(&world, first_batch(1), 4_096)), None, "a record's length");
    *world.disk.byte(1, 4_096) ^= 4;
    assert!(matches!(
        salvage_batch(&chunk(&world, first_batch(1), 4_096), first_batch(1)),
        Ok(None)
    ));
}

#[test]
fn a_damaged_batch_that_is_cut_says_how_much_it_needs() {
    let mut world = world();
    *world.disk.byte(2, 4_096 + 300) ^= 4;
    assert!(matches!(
        salvage_batch(&chunk(&world, first_batch(2), 4_096), first_batch(2)),
        Err(8_192)
    ));
    let whole = chunk(&world, first_batch(2), 8_192);
    let batch = salvage_batch(&whole, first_batch(2)).expect("whole").expect("its header is sound");
    assert_eq!((batch.sequence, batch.padded), (5, 8_192));
}

proptest! {
    /// Whatever has become of a batch, salvaging it ends, and calls nothing sound that was changed.
    #[test]
    fn any_damage_can_be_salvaged_or_not(changes in proptest::collection::vec((0..4_096usize, 1..=255u8), 1..8)) {
        let world = world();
        let whole = chunk(&world, first_batch(1), 4_096);
        let mut bytes = whole.to_vec();
        changes.iter().for_each(|(at, bits)| bytes[*at] ^= bits);
        let known = [b"mine".to_vec(), b"theirs".to_vec()];
        if let Ok(Some(batch)) = salvage_batch(&bytes, first_batch(1)) {
            for (record, sound) in batch.records.into_iter().flatten() {
                if let crate::log::record::RecordBody::Entry { data, .. } = record.body {
                    prop_assert!(!sound || known.contains(&data.to_vec()), "{data:?}");
                }
            }
        }
    }
}

#[test]
fn behind_a_full_segment_comes_the_next() {
    let at = |offset| Position { segment: 3, offset };
    let walk = |from, next| {
        let mut cursor = Cursor::new(at(from), 4_096);
        let possible = cursor.follow(Walked { next, needs: None }, 1 << 16);
        (possible, cursor.at, cursor.skip_tail())
    };
    assert_eq!(walk(0x1000, at(0xF000)), (true, at(0xF000), true));
    assert_eq!(walk(0x1000, at(0x1_0000)), (true, first_batch(4), false));
    assert_eq!(walk(0x1000, first_batch(4)), (true, first_batch(4), false));
}

#[test]
fn a_first_batch_longer_than_a_piece_is_no_batch_that_was_read() {
    let mut cursor = Cursor::new(first_batch(3), 4_096);
    let cut = |needs| Walked {
        next: first_batch(3),
        needs: Some(needs),
    };
    assert!(cursor.follow(cut(8_192), 1 << 16));
    assert_eq!((cursor.length(1 << 16), cursor.skip_tail()), (8_192, false));
    assert!(!cursor.follow(cut(1 << 16), 1 << 16), "its segment has less left");
}
