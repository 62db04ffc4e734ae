//! Old entries out of pieces of the log.

use bytes::Bytes;
use margate_net::ids::LogIndex;

use super::support::{World, entry, hard_state, name};
use crate::log::batch::BatchFault;
use crate::log::fetch::{FetchError, entries_in_chunk};
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
        (fetched.next, fetched.needs),
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
    assert_eq!(fetched.next, first_batch(2));
}

#[test]
fn a_piece_too_short_says_how_much_it_needs() {
    let world = world();
    let fetched = entries_in_chunk(&chunk(&world, first_batch(2), 4_096), first_batch(2), name(1, 1)).expect("cut");
    assert_eq!(
        (fetched.entries.len(), fetched.next, fetched.needs),
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
