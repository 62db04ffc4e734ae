//! What every store must do, run against each of them.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use margate_net::ids::{LogIndex, ReplicaId, ShardId, Space, Term, Version};
use margate_net::limits::KEY_BYTES_MAX;
use margate_net::message::Direction::{self, Forward, Reverse};

use super::conformance_upkeep;
use super::overlay::Overlay;
use super::row::{Row, RowFlags, Slot};
use super::store::{CoreMarks, Generation, IndexReader, IndexWriter, ReplicaMarks};
use crate::types::{HardState, Position, ReplicaName, ValueHash};

pub(crate) const SPACE: Space = Space(7);

/// A store under test; opening again stands for a crash and a restart.
pub(crate) trait TestStore {
    type Reader: IndexReader;
    type Writer: IndexWriter;

    fn open(&mut self) -> (Self::Reader, Self::Writer);
}

pub(crate) fn row(version: u32) -> Row {
    Row {
        version: Version(version.into()),
        position: Position {
            segment: 1 + version % 4,
            offset: version,
        },
        // Never more than a value may have.
        size: u64::from(version & 0xF_FFFF),
        flags: RowFlags::NONE,
        hash: ValueHash::of(&version.to_le_bytes()),
    }
}

pub(crate) fn put(version: u32) -> Slot {
    Slot::Put(row(version))
}

pub(crate) fn core_marks(number: u64) -> CoreMarks {
    CoreMarks {
        generation: number,
        replay: Position { segment: 1, offset: 4096 },
        replay_sequence: number,
        next_space: Space(SPACE.0 + 1),
    }
}

pub(crate) fn replica_marks(shard: u64, applied: u64) -> ReplicaMarks {
    ReplicaMarks {
        name: name(shard),
        damaged: false,
        space: SPACE,
        low: Bytes::from_static(b"a"),
        high: Bytes::new(),
        applied: LogIndex(applied),
        applied_term: Term(2),
        hard_state: HardState {
            term: Term(3),
            vote: ReplicaId(1),
        },
        commit: LogIndex(applied + 1),
        truncated: LogIndex(0),
        term_runs: vec![(LogIndex(1), Term(1)), (LogIndex(4), Term(2))],
        state: Bytes::from(vec![7; 10_000]),
    }
}

pub(crate) fn generation(number: u64, slots: &[(&[u8], Slot)]) -> Generation {
    let mut rows = Overlay::new();
    for (key, slot) in slots {
        rows.insert_newer(SPACE, key, *slot);
    }
    Generation {
        number,
        rows: Arc::new(rows),
        core: core_marks(number),
        replicas: Vec::new(),
        positions: Vec::new(),
        cleared: Vec::new(),
    }
}

/// The keys and versions a scan visits, `most` at most.
pub(crate) fn scan(reader: &impl IndexReader, low: &[u8], high: &[u8], direction: Direction, most: usize) -> Vec<(Vec<u8>, u64)> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], row: Row| {
        found.push((key.to_vec(), row.version.0));
        if found.len() == most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    reader.scan(SPACE, low, high, direction, &mut visit).expect("a healthy store");
    found
}

/// Every rule, each on a new store.
pub(crate) fn run<S: TestStore>(new: impl Fn() -> S) {
    a_new_store_is_empty(&mut new());
    commits_are_seen_after_a_refresh_and_after_a_restart(&mut new());
    deletes_remove_rows(&mut new());
    scans_keep_to_their_bounds(&mut new());
    spaces_are_apart(&mut new());
    the_longest_and_the_shortest_key_work(&mut new());
    marks_are_replaced_one_by_one(&mut new());
    positions_are_found_at_or_below(&mut new());
    marks_that_go_back_are_not_committed(&mut new());
    conformance_upkeep::run(new);
}

pub(super) fn version(reader: &impl IndexReader, key: &[u8]) -> Option<u64> {
    reader.get(SPACE, key).expect("a healthy store").map(|row| row.version.0)
}

pub(super) fn name(shard: u64) -> ReplicaName {
    ReplicaName {
        shard: ShardId(shard),
        replica: ReplicaId(shard + 1),
    }
}

fn a_new_store_is_empty(store: &mut impl TestStore) {
    let (reader, _writer) = store.open();
    assert_eq!(version(&reader, b"k"), None);
    assert_eq!(scan(&reader, b"", b"", Forward, 9), []);
    assert_eq!(scan(&reader, b"", b"", Reverse, 9), []);
    assert_eq!(reader.core_marks().expect("a healthy store"), None);
    assert_eq!(reader.replica_marks().expect("a healthy store"), []);
    assert_eq!(reader.entry_position(name(1), LogIndex(u64::MAX)).expect("a healthy store"), None);
}

fn commits_are_seen_after_a_refresh_and_after_a_restart(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    let empty = reader.bytes_used().expect("a healthy store");
    writer.commit(&generation(1, &[(b"a", put(1)), (b"b", put(2))])).expect("room");
    assert_eq!(
        (version(&reader, b"a"), reader.core_marks().expect("a healthy store")),
        (None, None),
        "a reader stays where it is"
    );
    reader.refresh().expect("a healthy store");
    assert_eq!(reader.get(SPACE, b"a").expect("a healthy store"), Some(row(1)));
    writer.commit(&generation(2, &[(b"a", put(3))])).expect("room");
    assert_eq!((version(&reader, b"a"), version(&reader, b"b")), (Some(1), Some(2)));
    reader.refresh().expect("a healthy store");
    assert_eq!((version(&reader, b"a"), version(&reader, b"b")), (Some(3), Some(2)));
    assert!(reader.bytes_used().expect("a healthy store") > empty);
    drop((reader, writer));
    let (reader, _writer) = store.open();
    assert_eq!((version(&reader, b"a"), version(&reader, b"b")), (Some(3), Some(2)));
    assert_eq!(reader.core_marks().expect("a healthy store"), Some(core_marks(2)));
}

fn deletes_remove_rows(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    writer.commit(&generation(1, &[(b"a", put(1)), (b"b", put(1))])).expect("room");
    let deletes = [(&b"a"[..], Slot::Deleted(Version(2))), (b"never", Slot::Deleted(Version(2)))];
    writer.commit(&generation(2, &deletes)).expect("room");
    reader.refresh().expect("a healthy store");
    assert_eq!((version(&reader, b"a"), version(&reader, b"never")), (None, None));
    assert_eq!(scan(&reader, b"", b"", Forward, 9), [(b"b".to_vec(), 1)]);
}

fn scans_keep_to_their_bounds(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    let keys: [&[u8]; 5] = [b"", b"a", b"aa", b"b", b"\xff\xff"];
    writer.commit(&generation(1, &keys.map(|key| (key, put(1))))).expect("room");
    reader.refresh().expect("a healthy store");
    let bounds: [&[u8]; 8] = [b"", b"\0", b"a", b"aa", b"ab", b"b", b"\xff\xff", b"\xff\xff\xff"];
    for low in bounds {
        for high in bounds {
            for most in 1..=6 {
                let inside = |key: &&&[u8]| **key >= low && (high.is_empty() || **key < high);
                let mut expected: Vec<_> = keys.iter().filter(inside).map(|key| (key.to_vec(), 1)).collect();
                let forward = expected.iter().take(most).cloned().collect::<Vec<_>>();
                assert_eq!(scan(&reader, low, high, Forward, most), forward, "{low:?} {high:?}");
                expected.reverse();
                expected.truncate(most);
                assert_eq!(scan(&reader, low, high, Reverse, most), expected, "{low:?} {high:?}");
            }
        }
    }
}

fn spaces_are_apart(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    let mut rows = Overlay::new();
    let spaces = [0, SPACE.0 - 1, SPACE.0, SPACE.0 + 1, 255, 256, u32::MAX - 1, u32::MAX];
    for space in spaces {
        rows.insert_newer(Space(space), b"", put(space));
        rows.insert_newer(Space(space), b"\xff\xff\xff\xff\xff", put(space));
    }
    let rows = Arc::new(rows);
    writer
        .commit(&Generation {
            rows,
            ..generation(1, &[])
        })
        .expect("room");
    reader.refresh().expect("a healthy store");
    for space in spaces {
        for direction in [Forward, Reverse] {
            let mut versions = Vec::new();
            let mut visit = |_: &[u8], row: Row| {
                versions.push(row.version.0);
                ControlFlow::Continue(())
            };
            reader.scan(Space(space), b"", b"", direction, &mut visit).expect("a healthy store");
            assert_eq!(versions, [u64::from(space); 2]);
        }
    }
}

fn the_longest_and_the_shortest_key_work(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    let long: Vec<Vec<u8>> = (0..200).map(|last| [vec![b'k'; KEY_BYTES_MAX - 1], vec![last]].concat()).collect();
    let mut slots: Vec<_> = long.iter().map(|key| (&key[..], put(2))).collect();
    slots.push((b"", put(1)));
    writer.commit(&generation(1, &slots)).expect("room");
    reader.refresh().expect("a healthy store");
    assert_eq!(version(&reader, b""), Some(1));
    assert!(long.iter().all(|key| version(&reader, key) == Some(2)));
    assert_eq!(scan(&reader, b"", b"", Forward, usize::MAX).len(), 201);
    assert_eq!(scan(&reader, &long[100], &long[102], Reverse, 9).len(), 2);
    let too_long = [&long[0][..], &[0; 3000]].concat();
    assert_eq!(
        (version(&reader, &too_long), scan(&reader, &too_long, b"", Forward, 999).len()),
        (None, 199)
    );
}

fn marks_are_replaced_one_by_one(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    let first = Generation {
        replicas: vec![replica_marks(300, 5), replica_marks(2, 5)],
        ..generation(1, &[])
    };
    writer.commit(&first).expect("room");
    let second = Generation {
        replicas: vec![replica_marks(2, 6)],
        ..generation(2, &[])
    };
    writer.commit(&second).expect("room");
    reader.refresh().expect("a healthy store");
    assert_eq!(
        reader.replica_marks().expect("a healthy store"),
        [replica_marks(2, 6), replica_marks(300, 5)]
    );
    assert_eq!(reader.core_marks().expect("a healthy store"), Some(core_marks(2)));
}

fn positions_are_found_at_or_below(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    let at = |offset| Position { segment: 2, offset };
    let first = Generation {
        positions: vec![
            (name(1), LogIndex(10), at(1)),
            (name(1), LogIndex(300), at(2)),
            (name(3), LogIndex(7), at(3)),
        ],
        ..generation(1, &[])
    };
    writer.commit(&first).expect("room");
    let second = Generation {
        positions: vec![(name(1), LogIndex(300), at(4))],
        ..generation(2, &[])
    };
    writer.commit(&second).expect("room");
    reader.refresh().expect("a healthy store");
    let find = |shard, index| reader.entry_position(name(shard), LogIndex(index)).expect("a healthy store");
    assert_eq!(find(1, 9), None);
    assert_eq!(find(1, 10), Some((LogIndex(10), at(1))));
    assert_eq!(find(1, 299), Some((LogIndex(10), at(1))));
    assert_eq!(find(1, u64::MAX), Some((LogIndex(300), at(4))));
    assert_eq!(find(2, u64::MAX), None, "another replica's positions are below");
    assert_eq!(find(3, 6), None);
    assert_eq!(find(3, 8), Some((LogIndex(7), at(3))));
}

fn marks_that_go_back_are_not_committed(store: &mut impl TestStore) {
    let (mut reader, mut writer) = store.open();
    writer.commit(&generation(5, &[(b"a", put(1))])).expect("room");
    let ahead = ReplicaMarks {
        commit: LogIndex(8),
        ..replica_marks(1, 9)
    };
    let bad = [
        generation(5, &[(b"a", put(2))]),
        Generation {
            core: core_marks(7),
            ..generation(6, &[(b"a", put(2))])
        },
        Generation {
            core: CoreMarks {
                replay: Position::default(),
                ..core_marks(6)
            },
            ..generation(6, &[(b"a", put(2))])
        },
        Generation {
            replicas: vec![ahead],
            ..generation(6, &[(b"a", put(2))])
        },
    ];
    for generation in &bad {
        let commit = AssertUnwindSafe(|| writer.commit(generation));
        assert!(catch_unwind(commit).is_err(), "{generation:?}");
    }
    reader.refresh().expect("a healthy store");
    assert_eq!(
        (version(&reader, b"a"), reader.core_marks().expect("a healthy store")),
        (Some(1), Some(core_marks(5)))
    );
}
