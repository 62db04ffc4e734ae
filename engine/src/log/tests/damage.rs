//! Rot: every flipped byte and every lost set of blocks is called what it is.

use super::support::{MemoryDisk, Seen, World, config, entry, hard_state, name, scan_all};
use crate::log::batch::Held;
use crate::log::limits::BLOCK_BYTES;
use crate::log::scan::{Damage, DamagedReplicas, ScanEnd, scan};
use crate::types::Position;

const SEGMENT: u32 = 5 * 4_096;

/// Six batches, one of two blocks: segment 1 is full, segment 2 has one block left, segments 3 and 4 are ready.
fn world() -> World {
    let mut world = World::new(SEGMENT);
    world.batch(vec![hard_state(name(1, 1), 1, 1), entry(name(1, 1), 1, b"one")]);
    world.batch(vec![entry(name(2, 1), 1, &[2; 4_200]), entry(name(2, 1), 2, b"two")]);
    world.batch(vec![hard_state(name(3, 2), 4, 1)]);
    world.batch(vec![entry(name(1, 1), 2, b"three"), entry(name(3, 2), 9, b"four")]);
    world.batch(vec![entry(name(1, 1), 3, b"five")]);
    world.batch(vec![entry(name(2, 1), 3, b"six")]);
    world.prewrite();
    world
}

/// What each written batch held, as its successor must say.
fn held(world: &mut World) -> Vec<Vec<Held>> {
    world.batch(vec![hard_state(name(9, 9), 1, 1)]);
    let held = world.seen().iter().skip(1).map(|batch| batch.predecessors.clone()).collect();
    world.written.pop();
    held
}

fn opened(disk: &mut MemoryDisk) -> (ScanEnd, Vec<Seen>) {
    scan_all(disk, &config(SEGMENT)).expect("damage is no error")
}

/// The place of a byte: its batch, if it is one of a batch's own bytes.
fn batch_at(world: &World, segment: u32, offset: usize) -> Option<usize> {
    world.written.iter().position(|(flush, _)| {
        let from = flush.offset as usize;
        flush.segment == segment && (from..from + flush.used).contains(&offset)
    })
}

fn place(world: &World, batch: usize) -> Position {
    let (flush, _) = &world.written[batch];
    Position {
        segment: flush.segment,
        offset: flush.offset,
    }
}

/// Flips one bit of every byte of every segment and checks the verdict.
fn flip_everywhere(world: &World, held: &[Vec<Held>]) {
    let mut disk = world.disk.clone();
    let (_, all) = opened(&mut disk);
    let last = world.written.len() - 1;
    for (segment, bytes) in &world.disk.segments {
        for offset in 0..bytes.len() {
            *disk.byte(*segment, offset) ^= 1 << (offset % 8);
            let (end, seen) = opened(&mut disk);
            *disk.byte(*segment, offset) ^= 1 << (offset % 8);
            match batch_at(world, *segment, offset) {
                Some(batch) if batch == last => {
                    assert_eq!(
                        (&seen[..], &end.damage[..]),
                        (&all[..last], &[][..]),
                        "segment {segment} byte {offset}"
                    );
                    assert_eq!(
                        end.torn.map(|torn| torn.position),
                        Some(end.resume.position()),
                        "segment {segment} byte {offset}"
                    );
                }
                Some(batch) => lost_batch(world, &end, batch, &held[batch], (&seen, &all)),
                None if offset < BLOCK_BYTES => lost_header(world, &end, &seen, *segment, &all),
                None => assert_eq!(
                    (&seen, end.damage.len(), end.ready.len()),
                    (&all, 0, 2),
                    "segment {segment} byte {offset}"
                ),
            }
        }
    }
}

/// One batch is lost and its successor says whose it was; all others are there.
fn lost_batch(world: &World, end: &ScanEnd, batch: usize, held: &[Held], (seen, all): (&[Seen], &[Seen])) {
    let follows = batch
        .checked_sub(1)
        .map_or(Position { segment: 1, offset: 4_096 }, |before| end_of(world, before));
    let replicas = DamagedReplicas::Listed(held.to_vec());
    let expected = Damage {
        position: follows,
        next_valid: place(world, batch + 1),
        replicas,
        gap_batches: 1,
    };
    assert_eq!(end.damage, [expected]);
    assert_eq!((&seen[..batch], &seen[batch..]), (&all[..batch], &all[batch + 1..]));
}

fn end_of(world: &World, batch: usize) -> Position {
    let (flush, bytes) = &world.written[batch];
    Position {
        segment: flush.segment,
        offset: flush.offset + u32::try_from(bytes.len()).expect("small"),
    }
}

fn lost_header(world: &World, end: &ScanEnd, seen: &[Seen], segment: u32, all: &[Seen]) {
    assert_eq!(seen, all);
    let Some(first) = world.written.iter().position(|(flush, _)| flush.segment == segment) else {
        assert_eq!((&end.damage, &end.discard), (&vec![], &vec![segment]));
        return;
    };
    let position = Position { segment, offset: 0 };
    let replicas = DamagedReplicas::Listed(vec![]);
    assert_eq!(
        end.damage,
        [Damage {
            position,
            next_valid: place(world, first),
            replicas,
            gap_batches: 0
        }]
    );
}

#[test]
fn a_flip_in_the_last_batch_is_torn_and_in_any_other_names_its_replicas() {
    let mut world = world();
    let mut twin = self::world();
    flip_everywhere(&world, &held(&mut twin));
    assert_eq!(world.seen().len(), 6);
}

#[test]
fn a_flip_in_a_sealed_batch_is_damage() {
    let mut world = world();
    let held = held(&mut self::world());
    world.seal();
    world.prewrite();
    let sealed = world.written.len() - 2;
    let (flush, _) = &world.written[sealed];
    for byte in 0..flush.used {
        let mut disk = world.disk.clone();
        *disk.byte(flush.segment, flush.offset as usize + byte) ^= 0x40;
        let (end, _) = opened(&mut disk);
        assert_eq!(end.torn, None);
        assert_eq!(end.damage[0].replicas, DamagedReplicas::Listed(held[sealed].clone()));
        assert_eq!(end.damage[0].gap_batches, 1);
    }
}

/// Every set of lost blocks of a log of two segments: what is left is shown, each loss is proven by what follows it.
#[test]
fn any_set_of_lost_blocks_is_torn_only_at_the_end() {
    let mut world = world();
    let held = held(&mut self::world());
    let all = world.seen();
    for lost in 0_u32..1 << 8 {
        let mut disk = world.disk.clone();
        let gone = |block: usize| lost & 1 << block != 0;
        for block in (0..8).filter(|block| gone(*block)) {
            let (segment, offset) = if block < 4 { (1, block + 1) } else { (2, block - 3) };
            disk.write(
                Position {
                    segment,
                    offset: u32::try_from(offset * BLOCK_BYTES).expect("small"),
                },
                &[0; BLOCK_BYTES],
            );
        }
        let intact: Vec<usize> = [vec![0], vec![1, 2], vec![3], vec![4], vec![5], vec![6]]
            .iter()
            .enumerate()
            .filter(|(_, blocks)| blocks.iter().all(|block| !gone(*block)))
            .map(|(batch, _)| batch)
            .collect();
        let (end, seen) = opened(&mut disk);
        assert_eq!(
            seen,
            intact.iter().map(|batch| all[*batch].clone()).collect::<Vec<_>>(),
            "lost {lost:#b}"
        );
        let mut gaps = Vec::new();
        let mut next = 0;
        for batch in intact {
            match batch - next {
                0 => {}
                1 => gaps.push(DamagedReplicas::Listed(held[next].clone())),
                _ => gaps.push(DamagedReplicas::All),
            }
            next = batch + 1;
        }
        assert_eq!(
            end.damage.iter().map(|damage| damage.replicas.clone()).collect::<Vec<_>>(),
            gaps,
            "lost {lost:#b}"
        );
        assert_eq!(end.resume.last_sequence(), next as u64, "lost {lost:#b}");
    }
}

#[test]
fn a_lost_header_never_turns_batches_into_a_torn_tail() {
    let mut world = world();
    let held = held(&mut self::world());
    world.disk.segments.get_mut(&2).expect("in use")[..BLOCK_BYTES].fill(0);
    let first = world.written[3].0.offset as usize;
    *world.disk.byte(2, first + 70) ^= 1;
    let (end, seen) = opened(&mut world.disk);
    assert_eq!(seen.iter().map(|batch| batch.sequence).collect::<Vec<_>>(), [1, 2, 3, 5, 6]);
    assert_eq!(end.damage[0].replicas, DamagedReplicas::Listed(held[3].clone()));
    assert!(end.damage[0].replicas.include(name(1, 1)) && !end.damage[0].replicas.include(name(2, 1)));
    assert_eq!(end.damage[1].position, Position { segment: 2, offset: 0 });
    assert_eq!(end.discard, [], "a segment with batches is never thrown away");
}

#[test]
fn damage_is_told_with_the_batch_that_proves_it() {
    let mut world = world();
    let (first, third) = (world.written[0].0.offset as usize, world.written[2].0.offset as usize);
    *world.disk.byte(1, first + 70) ^= 1;
    *world.disk.byte(1, third + 70) ^= 1;
    *world.disk.byte(2, 30) ^= 1;
    let mut told = Vec::new();
    let end = scan(&mut world.disk, &world.config, None, &mut |batch| {
        told.extend(batch.damage().iter().map(|damage| (batch.sequence, damage.clone())));
    })
    .expect("damage is no error");
    assert_eq!(told.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [2, 4, 4]);
    assert_eq!(told.into_iter().map(|(_, damage)| damage).collect::<Vec<_>>(), end.damage);
}

#[test]
fn a_log_never_goes_on_in_a_segment_that_lost_its_header() {
    let mut world = world();
    *world.disk.byte(2, 9) ^= 1;
    let (end, _) = opened(&mut world.disk);
    let mut again = World::on(world.disk, world.config, end.resume);
    end.ready.iter().for_each(|segment| again.writer.segment_ready(*segment));
    again.batch(vec![entry(name(1, 1), 4, b"more")]);
    let (flush, _) = &again.written[0];
    assert_eq!((flush.segment, flush.offset, flush.sequence), (3, 4_096, 7));
    assert_eq!(opened(&mut again.disk).1.len(), 7);
}
