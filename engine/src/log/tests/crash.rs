//! Crashes: whatever part of the batch in flight reached the disk, every acknowledged batch is read back, then
//! nothing or exactly the batch in flight, and the log goes on.

use proptest::prelude::*;

use super::support::{MemoryDisk, Seen, World, config, entry, hard_state, name, scan_all};
use crate::log::flush::Flush;
use crate::log::segment::LogConfig;
use crate::types::Position;

const SECTOR: usize = 512;
const SEGMENT: u32 = 5 * 4_096;

/// The disk when only some sectors of a batch in flight were written.
fn torn(disk: &MemoryDisk, flush: &Flush, bytes: &[u8], sectors: impl Fn(usize) -> bool) -> MemoryDisk {
    let mut disk = disk.clone();
    for (sector, part) in bytes.chunks(SECTOR).enumerate().filter(|(sector, _)| sectors(*sector)) {
        let offset = flush.offset + u32::try_from(sector * SECTOR).expect("small");
        disk.write(
            Position {
                segment: flush.segment,
                offset,
            },
            part,
        );
    }
    disk
}

/// Checks what a scan makes of a crashed disk; says whether it took the batch in flight.
fn check(disk: &mut MemoryDisk, config: &LogConfig, acked: &[Seen], flush: &Flush, bytes: &[u8]) -> bool {
    let from = flush.offset as usize;
    let whole = disk.segments[&flush.segment][from..from + flush.used] == bytes[..flush.used];
    let (end, seen) = scan_all(disk, config).expect("a crash is no error");
    assert_eq!(end.damage, [], "a torn tail was taken for damage");
    assert_eq!(seen[..acked.len()], *acked);
    assert_eq!(seen.len() - acked.len(), usize::from(whole), "only a whole batch is taken");
    assert!(end.torn.is_none() || !whole, "the batch was taken and something is torn");
    assert_eq!(end.resume.last_sequence(), acked.len() as u64 + u64::from(whole));
    whole
}

/// Reopens a crashed log, appends to it, and checks that both runs' batches are there.
fn go_on(disk: MemoryDisk, config: LogConfig, kept: usize) {
    let mut again = World::reopen(disk, config);
    again.batch(vec![entry(name(4, 4), 1, b"after the crash")]);
    again.seal();
    let (end, seen) = scan_all(&mut again.disk, &config).expect("opens");
    assert_eq!((seen.len(), end.damage.len()), (kept + 2, 0));
    assert_eq!(
        seen.iter().map(|batch| batch.sequence).collect::<Vec<_>>(),
        (1..=kept as u64 + 2).collect::<Vec<_>>()
    );
}

/// Batches of one block, a change of segment among them, and a seal; then one of several blocks in flight.
fn steps(world: &mut World, step: u64) {
    match step {
        3 => world.now = world.writer.deadline().expect("the seal's time"),
        _ => {
            world
                .writer
                .push(entry(name(1, 1), step + 1, &[u8::try_from(step).expect("small"); 700]));
            world.writer.push(hard_state(name(2, 1), step, 1));
        }
    }
}

#[test]
fn every_sector_subset_of_every_batch_in_flight() {
    let mut world = World::new(SEGMENT);
    for step in 0..9 {
        let acked = world.seen();
        steps(&mut world, step);
        let (flush, bytes) = world.begin_flush().expect("a batch each step");
        assert_eq!(bytes.len(), 8 * SECTOR);
        for subset in 0_u32..1 << 8 {
            let mut disk = torn(&world.disk, &flush, &bytes, |sector| subset & 1 << sector != 0);
            let whole = check(&mut disk, &world.config, &acked, &flush, &bytes);
            go_on(disk, world.config, acked.len() + usize::from(whole));
        }
        world.end_flush(flush, bytes);
    }
    assert!(world.written.iter().any(|(flush, _)| flush.segment == 3), "segments changed");
    assert!(world.written.iter().any(|(flush, _)| flush.seal));
}

#[test]
fn every_sector_subset_of_a_batch_of_two_blocks() {
    let mut world = World::new(SEGMENT);
    world.batch(vec![entry(name(1, 1), 1, b"acknowledged")]);
    let acked = world.seen();
    world.writer.push(entry(name(1, 1), 2, &[0x11; 8_000]));
    let (flush, bytes) = world.begin_flush().expect("queued");
    assert_eq!(bytes.len(), 16 * SECTOR);
    let mut taken = 0;
    for subset in 0_u32..1 << 16 {
        let mut disk = torn(&world.disk, &flush, &bytes, |sector| subset & 1 << sector != 0);
        taken += u32::from(check(&mut disk, &world.config, &acked, &flush, &bytes));
    }
    assert_eq!(taken, 1);
}

/// A second crash over what the first one left: the remains never make a batch.
#[test]
fn remains_of_one_torn_batch_under_another() {
    let mut world = World::new(SEGMENT);
    world.batch(vec![entry(name(1, 1), 1, b"acknowledged")]);
    let acked = world.seen();
    world.writer.push(entry(name(1, 1), 2, &[0x22; 8_000]));
    let (first, first_bytes) = world.begin_flush().expect("queued");
    for remains in [0x00ff_u32, 0xff00, 0x7fff, 0xfffe, 0x5555] {
        let disk = torn(&world.disk, &first, &first_bytes, |sector| remains & 1 << sector != 0);
        let mut again = World::reopen(disk, world.config);
        again.writer.push(entry(name(2, 1), 1, &[0x33; 3_000]));
        let (second, second_bytes) = again.begin_flush().expect("queued");
        assert_eq!(second.offset, first.offset, "the torn batch is written over");
        for subset in 0_u32..1 << 8 {
            let mut disk = torn(&again.disk, &second, &second_bytes, |sector| subset & 1 << sector != 0);
            let whole = disk.segments[&1][second.offset as usize..][..second.used] == second_bytes[..second.used];
            let (end, seen) = scan_all(&mut disk, &config(SEGMENT)).expect("opens");
            assert_eq!((seen.len(), end.damage.len()), (acked.len() + usize::from(whole), 0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Long random runs with crashes in between: nothing acknowledged is ever lost, nothing comes twice.
    #[test]
    fn random_runs_with_crashes(runs in prop::collection::vec((prop::collection::vec((1_u64..4, 0_usize..6_000), 1..8), any::<u64>()), 1..6)) {
        let mut world = World::new(SEGMENT);
        let mut next = 1;
        for (batches, sectors) in runs {
            for (shard, bytes) in batches {
                world.batch(vec![entry(name(shard, 1), next, &vec![0x44; bytes])]);
                next += 1;
            }
            let acked = world.seen();
            world.writer.push(entry(name(1, 1), next, &[0x55; 9_000]));
            let (flush, bytes) = world.begin_flush().expect("queued");
            let mut disk = torn(&world.disk, &flush, &bytes, |sector| sectors >> (sector % 64) & 1 != 0);
            next += u64::from(check(&mut disk, &world.config, &acked, &flush, &bytes));
            world = World::reopen(disk, world.config);
        }
    }
}
