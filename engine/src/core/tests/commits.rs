//! When a core's index commits, and what reclaim makes of that.

use super::driven::{Driven, SEGMENT_BYTES, VALUE};
use crate::core::event::Event;

/// Bytes of a segment that takes all that a test writes.
const ROOMY_BYTES: u32 = 4 << 20;

/// A core whose only replica leads, and which takes no index for small beside what comes free.
fn leading(segment_bytes: u32) -> Driven {
    let mut core = Driven::leading(segment_bytes);
    core.core.commits.reclaim_parts = u64::MAX;
    core.fill_index();
    core
}

/// So many segments of which nothing lives but the last value.
fn write_segments(core: &mut Driven, segments: usize) {
    (0..2 * segments).for_each(|_| core.set(1, "key", &VALUE));
}

fn segments_freed(core: &Driven) -> u64 {
    core.core.counters().reclaimed.segments
}

/// Each commit may write the whole index again.
#[test]
fn while_the_log_is_written_the_index_commits_once_a_minute() {
    let mut core = leading(ROOMY_BYTES);
    let before = core.commits;
    for _ in 0..59 {
        core.set(1, "key", b"1");
        core.pass(1_000);
    }
    assert_eq!(core.commits, before, "nothing is a minute old");
    for _ in 0..62 {
        core.set(1, "key", b"1");
        core.pass(1_000);
    }
    assert_eq!(core.commits, before + 2);
}

#[test]
fn a_log_that_rests_is_in_the_index_after_five_seconds() {
    let mut core = leading(ROOMY_BYTES);
    let before = core.commits;
    core.set(1, "key", b"1");
    // The batch that seals the last one is written too.
    core.pass(10);
    core.pass(4_980);
    assert_eq!(core.commits, before);
    core.pass(30);
    assert_eq!(core.commits, before + 1);
    (0..4).for_each(|_| core.pass(60_000));
    assert_eq!(core.commits, before + 1, "a node that rests commits nothing");
}

/// Where it is only a little too long.
#[test]
fn reclaim_waits_for_the_commit_that_is_due() {
    let mut core = leading(SEGMENT_BYTES);
    write_segments(&mut core, 5);
    let before = core.commits;
    core.tick(60);
    assert_eq!(
        (segments_freed(&core), core.commits),
        (0, before),
        "the index is not small beside it"
    );
    core.fill_index();
    core.tick(60);
    core.fill_index();
    assert!(segments_freed(&core) >= 2, "{:?}", core.core.counters().reclaimed);
}

#[test]
fn a_log_that_is_far_too_long_waits_for_no_commit() {
    let mut core = leading(SEGMENT_BYTES);
    let (freed, commits) = (segments_freed(&core), core.commits);
    write_segments(&mut core, 20);
    core.tick(60);
    assert!(segments_freed(&core) > freed && core.commits > commits);
}

/// Nothing was scanned while a commit was awaited once: a log that is always written used up more segments than came free at a time.
#[test]
fn reclaim_scans_on_while_what_is_emptied_waits_for_the_index() {
    let mut core = leading(SEGMENT_BYTES);
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for key in keys {
        core.set(1, key, &VALUE);
        core.set(1, "key", &VALUE);
    }
    core.fill_index();
    core.tick(20);
    let (freed, commits) = (segments_freed(&core), core.commits);
    let waiting = core.core.reclaim.emptied_segments();
    // It makes the log long enough for one more segment to go.
    write_segments(&mut core, 1);
    core.tick(10);
    assert_eq!((segments_freed(&core), core.commits), (freed, commits), "the commit is not due");
    let emptied = core.core.reclaim.emptied_segments();
    assert!(emptied > waiting, "{waiting} waited, {emptied} do now");
    core.pass(6_000);
    core.tick(20);
    let (freed, commits) = (segments_freed(&core) - freed, core.commits - commits);
    assert!(
        freed >= emptied as u64 && freed > commits as u64,
        "{freed} segments, {commits} commits"
    );
    core.lose_index();
    let mut core = core.restarted();
    core.tick(25);
    for key in keys.into_iter().chain(["key"]) {
        assert_eq!(core.stale(1, key).as_deref(), Ok(&VALUE[..]), "{key}");
    }
}

/// Only the index says what came free.
#[test]
fn a_disk_that_becomes_low_waits_for_no_commit() {
    let mut core = leading(SEGMENT_BYTES);
    write_segments(&mut core, 5);
    core.tick(60);
    assert_eq!(segments_freed(&core), 0);
    core.hear(Event::DiskFree {
        bytes: u64::from(3 * SEGMENT_BYTES),
    });
    core.tick(60);
    assert!(segments_freed(&core) >= 2, "{:?}", core.core.counters().reclaimed);
}
