//! What the layers hide from each other.

use margate_net::ids::Version;

use super::super::conformance::{SPACE, generation, put};
use super::super::memory::{MemoryReader, MemoryStore};
use super::super::store::{Generation, IndexWriter};
use super::*;

fn owner(low: &'static [u8], high: &'static [u8]) -> OwnedRange {
    OwnedRange {
        space: SPACE,
        low: Bytes::from_static(low),
        high: Bytes::from_static(high),
    }
}

/// Store a1 b1 c1 d1; frozen: b2, c deleted, e2; active: c3, d deleted, e deleted, f3.
fn layered() -> (MemoryStore, Index<MemoryReader>) {
    let store = MemoryStore::new();
    let first = generation(1, &[(b"a", put(1)), (b"b", put(1)), (b"c", put(1)), (b"d", put(1))]);
    store.writer().commit(&first).expect("memory");
    let mut index = Index::new(store.reader());
    let whole = owner(b"", b"");
    let deleted = |version| Slot::Deleted(Version(version));
    for (key, slot) in [(b"b", put(2)), (b"c", deleted(2)), (b"e", put(2))] {
        assert!(index.apply(&whole, key, slot));
    }
    assert!(index.freeze().is_some());
    for (key, slot) in [(b"c", put(3)), (b"d", deleted(3)), (b"e", deleted(3)), (b"f", put(3))] {
        assert!(index.apply(&whole, key, slot));
    }
    (store, index)
}

fn scan(index: &Index<MemoryReader>, low: &[u8], high: &[u8], direction: Direction, most: usize) -> String {
    let mut found = String::new();
    let mut seen = 0;
    let mut visit = |key: &[u8], row: Row| {
        found += &format!("{}{} ", String::from_utf8_lossy(key), row.version);
        seen += 1;
        if seen == most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    index.scan(SPACE, low, high, direction, &mut visit).expect("memory");
    found
}

#[test]
fn newer_layers_hide_older_ones() {
    let (_, index) = layered();
    let of = |key: &[u8]| index.get(SPACE, key).expect("memory");
    assert_eq!(of(b"a"), Some(put(1)));
    assert_eq!(of(b"b"), Some(put(2)));
    assert_eq!(of(b"c"), Some(put(3)), "a put over a delete over a put");
    assert_eq!(of(b"d"), Some(Slot::Deleted(Version(3))), "a delete over a put in the store");
    assert_eq!(of(b"e"), Some(Slot::Deleted(Version(3))), "a delete over a frozen put");
    assert_eq!(of(b"g"), None);
    assert_eq!(scan(&index, b"", b"", Direction::Forward, 9), "a1 b2 c3 f3 ");
    assert_eq!(scan(&index, b"", b"", Direction::Reverse, 9), "f3 c3 b2 a1 ");
    assert_eq!(scan(&index, b"b", b"f", Direction::Forward, 9), "b2 c3 ");
    assert_eq!(scan(&index, b"b", b"f", Direction::Reverse, 1), "c3 ");
    assert_eq!(scan(&index, b"c\0", b"f", Direction::Forward, 9), "", "only deletes inside");
}

#[test]
fn a_scan_stops_where_it_is_told_in_every_layer() {
    let (_, index) = layered();
    for (most, forward, reverse) in [(1, "a1 ", "f3 "), (2, "a1 b2 ", "f3 c3 "), (3, "a1 b2 c3 ", "f3 c3 b2 ")] {
        assert_eq!(scan(&index, b"", b"", Direction::Forward, most), forward);
        assert_eq!(scan(&index, b"", b"", Direction::Reverse, most), reverse);
    }
}

#[test]
fn an_older_slot_hides_nothing_that_is_being_committed() {
    let (_, mut index) = layered();
    let whole = owner(b"", b"");
    assert!(!index.apply(&whole, b"b", put(1)));
    assert!(!index.apply(&whole, b"b", Slot::Deleted(Version(2))));
    assert_eq!(index.get(SPACE, b"b").expect("memory"), Some(put(2)));
}

#[test]
fn the_frozen_overlay_stays_until_its_commit_is_seen() {
    let (store, mut index) = layered();
    assert_eq!(index.overlay_rows(), 7);
    assert!(index.freeze().is_none(), "one commit at a time");
    let rows = Arc::clone(index.frozen().expect("frozen above"));
    store
        .writer()
        .commit(&Generation {
            rows,
            ..generation(2, &[])
        })
        .expect("memory");
    assert_eq!(
        scan(&index, b"", b"", Direction::Forward, 9),
        "a1 b2 c3 f3 ",
        "committed, not yet refreshed"
    );
    index.committed().expect("memory");
    assert_eq!(scan(&index, b"", b"", Direction::Forward, 9), "a1 b2 c3 f3 ");
    assert!(index.frozen().is_none());
    assert_eq!(index.overlay_rows(), 4);
    assert!(index.freeze().is_some());
    assert_eq!(index.active_bytes(), 0);
    assert!(index.freeze().is_none());
}

/// The row of a version where `put` leaves it, and the same one moved.
fn moved(version: u32) -> (Row, Position) {
    let row = put(version).row().expect("a put");
    let position = Position {
        segment: 9,
        offset: version,
    };
    (Row { position, ..row }, row.position)
}

#[test]
fn a_key_is_pointed_to_another_place_in_whatever_layer_it_lies() {
    let (store, mut index) = layered();
    let whole = owner(b"", b"");
    for (key, version) in [(b"a", 1), (b"b", 2), (b"c", 3)] {
        let (row, from) = moved(version);
        assert!(index.relocate(&whole, key, row, from).expect("memory"));
        assert_eq!(index.get(SPACE, key).expect("memory"), Some(Slot::Put(row)));
        assert!(!index.relocate(&whole, key, row, from).expect("memory"), "it has left that place");
    }
    assert_eq!(scan(&index, b"", b"", Direction::Forward, 9), "a1 b2 c3 f3 ");
    assert_eq!(index.overlay_rows(), 3 + 6, "c was there already");
    assert!(!index.apply(&whole, b"b", put(2)), "the same version changes nothing");
    let frozen = Arc::clone(index.frozen().expect("frozen by the fixture"));
    for (number, rows) in [(2, Some(frozen)), (3, None)] {
        let rows = rows.unwrap_or_else(|| index.freeze().expect("the moves"));
        let generation = Generation {
            rows,
            ..generation(number, &[])
        };
        store.writer().commit(&generation).expect("memory");
        index.committed().expect("memory");
    }
    assert_eq!(index.get(SPACE, b"a").expect("memory"), Some(Slot::Put(moved(1).0)));
    assert!(index.apply(&whole, b"a", put(4)), "a newer version is written");
}

#[test]
fn a_key_that_changed_is_not_pointed_back() {
    let (_, mut index) = layered();
    let whole = owner(b"", b"");
    let before = scan(&index, b"", b"", Direction::Forward, 9);
    // Overwritten in the frozen overlay, in the active one, deleted in either, never there.
    for (key, version) in [(b"b", 1), (b"c", 1), (b"d", 1), (b"e", 2), (b"g", 1)] {
        let (row, from) = moved(version);
        assert!(!index.relocate(&whole, key, row, from).expect("memory"), "{key:?}");
    }
    let (row, from) = moved(2);
    let elsewhere = Position { offset: 7, ..from };
    assert!(!index.relocate(&whole, b"b", row, elsewhere).expect("memory"));
    let other = Row {
        version: Version(1),
        ..row
    };
    assert!(!index.relocate(&whole, b"b", other, from).expect("memory"));
    assert_eq!(scan(&index, b"", b"", Direction::Forward, 9), before);
    assert_eq!((index.overlay_rows(), index.get(SPACE, b"b").expect("memory")), (7, Some(put(2))));
}

#[test]
#[should_panic(expected = "outside its owner's range")]
fn a_key_of_another_owner_is_never_moved() {
    let (row, from) = moved(1);
    let _ = layered().1.relocate(&owner(b"b", b"d"), b"a", row, from);
}

#[test]
fn a_range_holds_its_low_and_not_its_high() {
    let range = owner(b"b", b"d");
    let inside = |key: &[u8]| range.contains(key);
    assert!(inside(b"b") && inside(b"c\xff"));
    assert!(!inside(b"a\xff") && !inside(b"d") && !inside(b""));
    assert!(owner(b"b", b"").contains(b"\xff\xff"));
}

#[test]
#[should_panic(expected = "outside its owner's range")]
fn a_key_of_another_owner_never_enters() {
    Index::new(MemoryStore::new().reader()).apply(&owner(b"b", b"d"), b"d", put(1));
}

#[test]
#[should_panic(expected = "a key of 1025 bytes reached the index")]
fn a_key_too_long_never_enters() {
    Index::new(MemoryStore::new().reader()).apply(&owner(b"", b""), &[b'k'; KEY_BYTES_MAX + 1], put(1));
}
