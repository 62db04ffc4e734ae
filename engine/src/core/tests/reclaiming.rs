//! Reclaim of logs whose segments end early, and after the index was made anew.

use margate_net::error::Refusal;
use margate_net::measure::Number;

use super::driven::{Driven, SEGMENT_BYTES, VALUE};
use crate::index::memory::MemoryStore;

/// The index takes what is applied, and reclaim all the time it wants.
fn reclaim(core: &mut Driven) {
    core.fill_index();
    core.tick(60);
}

/// The piece that holds the first batch after the reclaimed segment, the proof that it was read to its end, holds that next
/// segment's unused tail too. That was once taken for damage, and nothing was reclaimed ever after.
#[test]
fn a_segment_is_reclaimed_though_the_one_after_it_ends_early() {
    let mut core = Driven::leading(SEGMENT_BYTES);
    (0..20).for_each(|_| core.set(1, "key", &VALUE));
    reclaim(&mut core);
    let reclaimed = core.core.counters().reclaimed;
    assert!(reclaimed.segments >= 5, "of ten segments one is needed: {reclaimed:?}");
    assert_eq!(core.stale(1, "key").as_deref(), Ok(&VALUE[..]));
    let mut core = core.restarted();
    core.tick(25);
    assert_eq!(core.stale(1, "key").as_deref(), Ok(&VALUE[..]));
}

/// One commit for each segment was slower than a load of large values: the log grew until the disk was full.
#[test]
fn a_long_log_gives_several_segments_for_one_commit_of_the_index() {
    let mut core = Driven::leading(SEGMENT_BYTES);
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    keys.iter().for_each(|key| core.set(1, key, &VALUE));
    (0..40).for_each(|_| core.set(1, "z", &VALUE));
    let commits = |core: &Driven| core.core.measures().numbers.get(Number::IndexCommits);
    let before = commits(&core);
    reclaim(&mut core);
    let (segments, commits) = (core.core.counters().reclaimed.segments, commits(&core) - before);
    assert!(segments >= 12 && 3 * commits <= segments, "{segments} segments, {commits} commits");
    core.lose_index();
    let mut core = core.restarted();
    core.tick(25);
    for key in keys {
        assert_eq!(core.stale(1, key).as_deref(), Ok(&VALUE[..]), "{key}");
    }
}

/// Nothing is read of a segment into which no row points; where a delete stands in it, it is: the delete may still be needed.
#[test]
fn a_segment_in_which_nothing_lives_is_not_read() {
    let mut core = Driven::leading(SEGMENT_BYTES);
    // The segment in which the log began is not known whole.
    (0..4).for_each(|_| core.set(1, "key", &VALUE));
    reclaim(&mut core);
    let (before, reads) = (core.core.counters().reclaimed, core.reads);
    (0..20).for_each(|_| core.set(1, "key", &VALUE));
    reclaim(&mut core);
    let after = core.core.counters().reclaimed;
    assert!(after.unread >= before.unread + 5, "{before:?} {after:?}");
    assert_eq!(
        (after.segments - before.segments, core.reads),
        (after.unread - before.unread, reads)
    );

    core.set(1, "gone", b"1");
    core.delete(1, "gone");
    (0..20).for_each(|_| core.set(1, "key", &VALUE));
    reclaim(&mut core);
    let with_delete = core.core.counters().reclaimed;
    assert!(core.reads > reads && with_delete.deletes == 1, "{with_delete:?}");
    core.lose_index();
    let mut core = core.restarted();
    core.tick(25);
    assert_eq!(core.stale(1, "key").as_deref(), Ok(&VALUE[..]));
    assert_eq!(core.stale(1, "gone"), Err(Refusal::NotFound));
}

/// A checkpoint is newer than entries the log still holds; without its index the core knew their terms no more, so reclaim took
/// them for replaced and their values were lost.
#[test]
fn what_lives_is_copied_though_the_index_was_made_anew() {
    // Ten values fill a segment.
    let mut core = Driven::leading(4 * SEGMENT_BYTES);
    let keys: Vec<&str> =
        "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 d0 d1 d2 d3 d4 d5 d6 d7 d8 d9"
            .split(' ')
            .collect();
    // The first segments hold what is overwritten, the next ones what lives.
    (0..20).for_each(|_| core.set(1, "z", &VALUE));
    keys.iter().for_each(|key| core.set(1, key, &VALUE));
    (0..2).for_each(|_| core.set(1, "z", &VALUE));
    reclaim(&mut core);
    let reclaimed = core.core.counters().reclaimed;
    assert!(
        reclaimed.segments >= 1 && reclaimed.values < keys.len() as u64,
        "some of what lives is where it was: {reclaimed:?}"
    );
    core.index = MemoryStore::new();
    let mut core = core.restarted();
    core.tick(25);
    (0..60).for_each(|_| core.set(1, "z", &VALUE));
    reclaim(&mut core);
    let reclaimed = core.core.counters().reclaimed;
    assert!(reclaimed.segments >= 5, "what was there is reclaimed: {reclaimed:?}");
    for key in keys {
        assert_eq!(core.stale(1, key).as_deref(), Ok(&VALUE[..]), "{key} {reclaimed:?}");
    }
}
