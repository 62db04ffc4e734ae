//! What every store must do to be kept small and to be copied: spaces found and cleared, log bytes counted, positions
//! forgotten, forks held still.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use margate_net::ids::{LogIndex, Space, Version};
use margate_net::message::Direction::Forward;

use super::conformance::{SPACE, TestStore, core_marks, generation, name, put, replica_marks, scan, version};
use super::overlay::Overlay;
use super::row::Slot;
use super::store::{CoreMarks, Generation, IndexReader, IndexWriter, ReplicaMarks};
use crate::limits::CLEARED_ROWS_MAX;
use crate::log::effects::effect_bytes;
use crate::types::Position;

/// Every rule, each on a new store.
pub(super) fn run<S: TestStore>(new: impl Fn() -> S) {
    spaces_are_found(&mut new());
    a_cleared_space_loses_its_rows_and_no_other_does(&mut new());
    a_commit_clears_no_more_than_its_limit(&mut new());
    live_bytes_follow_every_row(&mut new());
    positions_of_truncated_entries_go(&mut new());
    a_fork_stays_where_it_is(&mut new());
    forks_are_many(&mut new());
    marks_that_lie_are_not_committed(&mut new());
}

/// Rows of several spaces, as one generation.
fn spread(number: u64, slots: &[(u32, &[u8], Slot)]) -> Generation {
    let mut rows = Overlay::new();
    for (space, key, slot) in slots {
        rows.insert_newer(Space(*space), key, *slot);
    }
    Generation {
        rows: Arc::new(rows),
        ..generation(number, &[])
    }
}

fn clearing(number: u64, spaces: &[u32]) -> Generation {
    Generation {
        cleared: spaces.iter().copied().map(Space).collect(),
        ..generation(number, &[])
    }
}

fn spaces(reader: &impl IndexReader) -> Vec<u32> {
    let spaces = reader.spaces().expect("a healthy store");
    spaces.into_iter().map(|space| space.0).collect()
}

fn live_bytes(reader: &impl IndexReader) -> u64 {
    reader.live_bytes().expect("a healthy store")
}

fn spaces_are_found(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    assert_eq!(spaces(&reader), []);
    let slots = [0, 1, 255, 256, u32::MAX - 1, u32::MAX].map(|space| [(space, &b""[..], put(1)), (space, b"\xff\xff\xff\xff\xff", put(1))]);
    writer.commit(&spread(1, slots.as_flattened())).expect("room");
    reader.refresh().expect("a healthy store");
    assert_eq!(spaces(&reader), [0, 1, 255, 256, u32::MAX - 1, u32::MAX]);
    let gone = Slot::Deleted(Version(2));
    let deletes = [(1, &b""[..], gone), (1, b"\xff\xff\xff\xff\xff", gone), (256, b"", gone)];
    writer.commit(&spread(2, &deletes)).expect("room");
    reader.refresh().expect("a healthy store");
    assert_eq!(spaces(&reader), [0, 255, 256, u32::MAX - 1, u32::MAX]);
}

fn a_cleared_space_loses_its_rows_and_no_other_does(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    let slots = [6, 7, 8, u32::MAX].map(|space| [(space, &b""[..], put(1)), (space, b"\xff\xff\xff\xff\xff", put(1))]);
    writer.commit(&spread(1, slots.as_flattened())).expect("room");
    // A row that comes with the clearing goes with it.
    let late = Generation {
        cleared: vec![Space(u32::MAX), Space(7), Space(7), Space(99)],
        ..spread(2, &[(7, b"late", put(2)), (8, b"late", put(2))])
    };
    writer.commit(&late).expect("room");
    assert_eq!(spaces(&reader), [] as [u32; 0], "not seen yet");
    reader.refresh().expect("a healthy store");
    assert_eq!(spaces(&reader), [6, 8]);
    assert_eq!(
        live_bytes(&reader),
        3 * effect_bytes(5, 1) + 2 * effect_bytes(0, 1) - effect_bytes(5, 1) + effect_bytes(4, 2)
    );
    drop((reader, writer));
    let (reader, _writer) = store.open();
    assert_eq!(spaces(&reader), [6, 8]);
}

fn a_commit_clears_no_more_than_its_limit(store: &mut impl TestStore) {
    const EXTRA: usize = 100;
    let (mut reader, mut writer) = store.open();
    let keys: Vec<[u8; 8]> = (0..CLEARED_ROWS_MAX + EXTRA).map(|key| (key as u64).to_be_bytes()).collect();
    let mut slots: Vec<_> = keys.iter().map(|key| (SPACE.0, &key[..], put(1))).collect();
    slots.extend([(3, &b"k"[..], put(1)), (9, b"k", put(1))]);
    writer.commit(&spread(1, &slots)).expect("room");
    let left = |reader: &_| {
        (
            spaces(reader),
            scan(reader, b"", b"", Forward, usize::MAX).len(),
            live_bytes(reader),
        )
    };
    let each = effect_bytes(8, 1);
    // Space 9 comes first, so one row less of the other goes; space 3 must wait.
    writer.commit(&clearing(2, &[9, SPACE.0, 3])).expect("room");
    reader.refresh().expect("a healthy store");
    let rest = EXTRA + 1;
    assert_eq!(left(&reader), (vec![3, SPACE.0], rest, rest as u64 * each + effect_bytes(1, 1)));
    assert_eq!(version(&reader, &keys[CLEARED_ROWS_MAX - 2]), None);
    assert_eq!(version(&reader, &keys[CLEARED_ROWS_MAX - 1]), Some(1), "the lowest keys go first");
    writer.commit(&generation(3, &[])).expect("room");
    reader.refresh().expect("a healthy store");
    assert_eq!(left(&reader).1, rest, "nothing goes unasked");
    writer.commit(&clearing(4, &[SPACE.0, 3])).expect("room");
    reader.refresh().expect("a healthy store");
    assert_eq!(left(&reader), (vec![], 0, 0));
}

fn live_bytes_follow_every_row(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    assert_eq!(live_bytes(&reader), 0);
    writer.commit(&generation(1, &[(b"a", put(10)), (b"bb", put(20))])).expect("room");
    assert_eq!(live_bytes(&reader), 0, "a reader stays where it is");
    reader.refresh().expect("a healthy store");
    assert_eq!(live_bytes(&reader), effect_bytes(1, 10) + effect_bytes(2, 20));
    let deletes = [(&b"bb"[..], Slot::Deleted(Version(21))), (b"never", Slot::Deleted(Version(21)))];
    let changes = [(&b"a"[..], put(1_000)), (b"new", put(1_001))];
    writer.commit(&generation(2, &[deletes, changes].concat())).expect("room");
    reader.refresh().expect("a healthy store");
    let expected = effect_bytes(1, 1_000) + effect_bytes(3, 1_001);
    assert_eq!(live_bytes(&reader), expected);
    drop((reader, writer));
    let (mut reader, mut writer) = store.open();
    assert_eq!(live_bytes(&reader), expected);
    writer.commit(&generation(3, &[(b"a", put(1_002))])).expect("room");
    reader.refresh().expect("a healthy store");
    assert_eq!(live_bytes(&reader), expected + 2, "the count goes on after a restart");
}

fn positions_of_truncated_entries_go(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    let at = |offset| Position { segment: 2, offset };
    let first = Generation {
        positions: [(1, 10), (1, 300), (1, 400), (3, 7)]
            .map(|(of, index)| (name(of), LogIndex(index), at(1)))
            .into(),
        ..generation(1, &[])
    };
    writer.commit(&first).expect("room");
    let truncated = |shard, applied, truncated| ReplicaMarks {
        truncated: LogIndex(truncated),
        ..replica_marks(shard, applied)
    };
    let second = Generation {
        replicas: vec![truncated(1, 500, 300), truncated(2, 9, 9), truncated(3, 9, 0)],
        // One that is gone by the time it is noted.
        positions: vec![(name(1), LogIndex(299), at(2)), (name(1), LogIndex(500), at(2))],
        ..generation(2, &[])
    };
    writer.commit(&second).expect("room");
    reader.refresh().expect("a healthy store");
    let find = |shard, index| reader.entry_position(name(shard), LogIndex(index)).expect("a healthy store");
    assert_eq!((find(1, 299), find(1, 399)), (None, None));
    assert_eq!(find(1, 400), Some((LogIndex(400), at(1))));
    assert_eq!(find(1, 999), Some((LogIndex(500), at(2))));
    assert_eq!(find(3, 9), Some((LogIndex(7), at(1))));
    let marks = reader.replica_marks().expect("a healthy store");
    assert_eq!(marks, second.replicas);
}

fn a_fork_stays_where_it_is(store: &mut impl TestStore) {
    let (reader, mut writer) = store.open();
    writer.commit(&generation(1, &[(b"a", put(1)), (b"b", put(1))])).expect("room");
    let mut fork = reader.fork().expect("a reader is free");
    assert_eq!(version(&reader, b"a"), None, "the first one did not move");
    for number in 2..=20_u32 {
        let slots = [(&b"a"[..], put(number)), (b"b", Slot::Deleted(Version(number.into())))];
        writer.commit(&generation(number.into(), &slots)).expect("room");
    }
    assert_eq!((version(&fork, b"a"), version(&fork, b"b")), (Some(1), Some(1)));
    assert_eq!(fork.core_marks().expect("a healthy store"), Some(core_marks(1)));
    assert_eq!(live_bytes(&fork), 2 * effect_bytes(1, 1));
    let second = fork.fork().expect("a reader is free");
    assert_eq!((version(&second, b"a"), version(&second, b"b")), (Some(20), None));
    drop(reader);
    assert_eq!(version(&fork, b"b"), Some(1), "it stands alone");
    fork.refresh().expect("a healthy store");
    assert_eq!((version(&fork, b"a"), version(&fork, b"b")), (Some(20), None));
}

fn forks_are_many(store: &mut impl TestStore) {
    let (reader, mut writer) = store.open();
    let forks: Vec<_> = (1..=100)
        .map(|number| {
            writer.commit(&generation(number.into(), &[(b"k", put(number))])).expect("room");
            (u64::from(number), reader.fork().expect("a reader is free"))
        })
        .collect();
    for (number, fork) in &forks {
        assert_eq!(version(fork, b"k"), Some(*number));
    }
    drop(forks);
    // A place comes free with the fork that held it.
    let again: Vec<_> = (0..100).map(|_| reader.fork().expect("a reader is free")).collect();
    assert_eq!(version(&again[99], b"k"), Some(100));
}

fn marks_that_lie_are_not_committed(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    writer.commit(&generation(1, &[(b"a", put(1))])).expect("room");
    let of = |marks| Generation {
        replicas: vec![marks],
        ..generation(2, &[(b"a", put(2))])
    };
    let next_space = Space(core_marks(2).next_space.0 - 1);
    let bad = [
        of(ReplicaMarks {
            truncated: LogIndex(10),
            ..replica_marks(1, 9)
        }),
        of(ReplicaMarks {
            space: core_marks(2).next_space,
            ..replica_marks(1, 9)
        }),
        Generation {
            core: CoreMarks {
                next_space,
                ..core_marks(2)
            },
            ..generation(2, &[(b"a", put(2))])
        },
    ];
    for generation in &bad {
        let commit = AssertUnwindSafe(|| writer.commit(generation));
        assert!(catch_unwind(commit).is_err(), "{generation:?}");
    }
    reader.refresh().expect("a healthy store");
    assert_eq!(version(&reader, b"a"), Some(1));
}
