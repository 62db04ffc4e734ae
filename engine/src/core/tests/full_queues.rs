//! Reclaim while more waits for the log than a batch takes, turn after turn: it once waited for a moment of rest that never came, and
//! the log grew until the disk was full.

use super::driven::Driven;
use super::peers::{Append, Peer};
use crate::core::event::Event;

/// A batch takes what is left of it after its first block.
const SEGMENT_BYTES: u32 = 64 << 10;
/// A value: writes of one turn fill a batch and a third of another, those of one shard fit one entry.
const VALUE: [u8; 3_000] = [7; 3_000];
const WRITES_PER_TURN: usize = 28;
/// Keys that are set once, so that copies of them are what reclaim needs.
const COLD: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Turns in which the queue fills.
const TURNS_TO_FILL: usize = 20;
/// Turns in which reclaim must get somewhere. Here a segment is one batch, so that its reads, the index and its checkpoints take several
/// times as long as it takes to fill one.
const TURNS: usize = 100;
/// Segments that come free meanwhile, at least.
const SEGMENTS: u64 = 8;

/// Every turn brings so much; segments come free all the same, and copies leave most of each batch to what is queued.
fn reclaims_under_load(core: &mut Driven, mut turn: impl FnMut(&mut Driven)) {
    (0..TURNS_TO_FILL).for_each(|_| turn(core));
    let (before, mut most) = (core.core.counters().reclaimed, 0);
    for _ in 0..TURNS {
        let values = core.core.counters().reclaimed.values;
        turn(core);
        let queued = core.core.log.queued_bytes();
        assert!(queued > SEGMENT_BYTES as usize / 2, "only {queued} bytes are queued");
        most = most.max(core.core.counters().reclaimed.values - values);
    }
    let segments = core.core.counters().reclaimed.segments - before.segments;
    assert!(segments >= SEGMENTS, "{segments} segments came free");
    let share = u64::from(SEGMENT_BYTES) / 4;
    assert!(
        (1..=share).contains(&(most * VALUE.len() as u64)),
        "{most} values were copied in one turn"
    );
}

#[test]
fn a_leader_under_steady_full_load_reclaims() {
    let mut core = Driven::with_segments(1, &["m"], SEGMENT_BYTES);
    core.tick(25);
    COLD.iter().for_each(|key| core.set(1, key, &VALUE));
    core.fill_index();
    let mut written = 0;
    reclaims_under_load(&mut core, |core| {
        let of_shard = |core: &mut Driven, shard, key| core.set_event(shard, key, &VALUE);
        let sets = (0..WRITES_PER_TURN).map(|at| {
            if at % 2 == 0 {
                of_shard(core, 1, "k")
            } else {
                of_shard(core, 2, "z")
            }
        });
        let sets: Vec<_> = sets.collect();
        core.turn_after_answers(sets);
        written += core.take_replies().iter().filter(|reply| reply.outcome.is_ok()).count();
    });
    let batch = SEGMENT_BYTES as usize / VALUE.len();
    assert!(written >= TURNS * batch / 2, "{written} writes in {TURNS} turns");
    for key in COLD {
        assert_eq!(core.stale(1, key).as_deref(), Ok(&VALUE[..]), "{key}");
    }
}

#[test]
fn a_follower_under_steady_full_load_reclaims() {
    let leader = Peer {
        shard: 1,
        node: 2,
        term: 1,
    };
    let mut core = Driven::with_segments(3, &[], SEGMENT_BYTES);
    let cold: Vec<_> = COLD
        .iter()
        .zip(1..)
        .map(|(key, version)| leader.put_value(key, &VALUE, version))
        .collect();
    let mut last = cold.len() as u64;
    core.append(
        leader,
        Append {
            after: (0, 0),
            entries: cold,
            commit: last,
        },
    );
    core.fill_index();
    reclaims_under_load(&mut core, |core| {
        let entries: Vec<_> = (last + 1..)
            .take(WRITES_PER_TURN)
            .map(|version| leader.put_value("z", &VALUE, version))
            .collect();
        let append = core.append_event(
            leader,
            Append {
                after: (last, 1),
                entries,
                commit: last,
            },
        );
        last += WRITES_PER_TURN as u64;
        core.turn_after_answers([append]);
    });
    for key in COLD {
        assert_eq!(core.stale(1, key).as_deref(), Ok(&VALUE[..]), "{key}");
    }
}

/// Until it has nothing more to do.
fn rest(core: &mut Driven) {
    let mut turns = 0;
    while core.wants_turn() {
        core.turn_after_answers([]);
        turns += 1;
        assert!(turns < TURNS, "it asks for turn after turn");
    }
}

/// A core whose disk makes no more segments after so many turns of full load, and that has heard everything.
fn short_of_segments(turns: usize) -> Driven {
    let mut core = Driven::with_segments(1, &["m"], SEGMENT_BYTES);
    core.tick(25);
    COLD.iter().for_each(|key| core.set(1, key, &VALUE));
    for turn in 0..turns + TURNS_TO_FILL {
        if turn == turns {
            core.held_segments = Some(Vec::new());
        }
        let sets: Vec<_> = (0..WRITES_PER_TURN / 2).map(|_| core.set_event(2, "z", &VALUE)).collect();
        core.turn_after_answers(sets);
    }
    rest(&mut core);
    core
}

/// Where the share of the next batch is taken and there is no place for that batch, reclaim once asked for turn after turn.
#[test]
fn a_reclaim_that_cannot_move_asks_for_no_turn_and_goes_on_with_room() {
    let mut met = 0;
    for turns in 0..TURNS_TO_FILL {
        let mut core = short_of_segments(turns);
        met += usize::from(core.core.reclaim.has_candidates());
        let before = core.core.counters().reclaimed;
        core.release_segments();
        core.pass(1);
        let after = core.core.counters().reclaimed;
        assert!(after.segments > before.segments, "{after:?} after {before:?}");
        for key in COLD {
            assert_eq!(core.stale(1, key).as_deref(), Ok(&VALUE[..]), "{key}");
        }
    }
    assert!(met > 0, "it never had something to copy");
}

/// What a core that stops still had to copy is nothing to hurry for.
#[test]
fn a_reclaim_that_may_not_go_on_asks_for_no_turn() {
    let mut core = Driven::with_segments(1, &["m"], SEGMENT_BYTES);
    core.tick(25);
    COLD.iter().for_each(|key| core.set(1, key, &VALUE));
    for _ in 0..TURNS {
        let sets: Vec<_> = (0..WRITES_PER_TURN / 2).map(|_| core.set_event(2, "z", &VALUE)).collect();
        core.turn_after_answers(sets);
        if core.core.reclaim.has_candidates() {
            core.turn_after_answers([Event::Stop]);
            rest(&mut core);
            assert!(core.core.reclaim.has_candidates() && !core.core.log.in_flight());
            return;
        }
    }
    panic!("nothing was to be copied in {TURNS} turns");
}
