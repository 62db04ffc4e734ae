//! Lists over many shards against a sorted model.

use std::collections::BTreeSet;

use margate_net::ids::Version;
use proptest::prelude::*;

use super::*;
use crate::route::RoutingTable;
use crate::testing::map;

fn row(key: &[u8]) -> Row {
    Row {
        key: Bytes::copy_from_slice(key),
        version: Version(1),
        value: Some(Bytes::from_static(b"value")),
    }
}

fn bounds(low: &[u8], high: &[u8]) -> Bounds {
    Bounds {
        low: Bytes::copy_from_slice(low),
        high: Bytes::copy_from_slice(high),
    }
}

fn walk(bounds: Bounds, limit: usize, direction: Direction) -> Walk {
    Walk::new(bounds, limit, direction, Projection::KeysAndValues, Consistency::Linearizable)
}

fn inside(key: &[u8], bounds: &Bounds) -> bool {
    bounds.low.as_ref() <= key && (bounds.high.is_empty() || key < bounds.high.as_ref())
}

/// A server that sends at most `part_rows` rows at a time, never from outside the shard.
fn serve(store: &BTreeSet<Vec<u8>>, sent: &Bounds, limit: usize, direction: Direction) -> (Vec<Row>, Option<Bytes>) {
    let mut keys: Vec<&Vec<u8>> = store.iter().filter(|key| inside(key, sent)).collect();
    if direction == Direction::Reverse {
        keys.reverse();
    }
    let rows = keys.iter().take(limit).map(|key| row(key)).collect();
    let resume = match direction {
        Direction::Forward => keys.get(limit).map(|key| Bytes::copy_from_slice(key)),
        Direction::Reverse => (keys.len() > limit).then(|| Bytes::copy_from_slice(keys[limit - 1])),
    };
    (rows, resume)
}

/// Walks as the runtime does, routing and all.
fn list_all(store: &BTreeSet<Vec<u8>>, asked: Bounds, limit: usize, part_rows: usize, direction: Direction) -> Page {
    let table = RoutingTable::new(map(1, &[b"f", b"m", b"t"]), None);
    let mut present = walk(asked, limit, direction);
    for _ in 0..1_000 {
        let mut part = present.part();
        table.aim(&mut part, |_| true);
        let Operation::List { limit: wanted, .. } = part else {
            panic!("a walk asks for lists")
        };
        let sent = Bounds::of(part);
        let (rows, resume) = serve(store, &sent, part_rows.min(wanted as usize), direction);
        match present.step(&sent, rows, resume).expect("the server moves on") {
            Step::Ask(next) => present = next,
            Step::Done(page) => return page,
        }
    }
    panic!("the walk does not end");
}

fn direction_of(reverse: bool) -> Direction {
    if reverse { Direction::Reverse } else { Direction::Forward }
}

proptest! {
    #[test]
    fn pages_follow_each_other_without_gap_or_repeat(
        store in proptest::collection::btree_set("[a-z]{1,2}".prop_map(String::into_bytes), 0..60),
        low in "[a-z]{0,1}", high in "[a-z]{0,1}",
        limit in 1usize..20, part_rows in 1usize..8, reverse in any::<bool>(),
    ) {
        let (asked, direction) = (bounds(low.as_bytes(), high.as_bytes()), direction_of(reverse));
        let mut expected: Vec<Vec<u8>> = store.iter().filter(|key| inside(key, &asked)).cloned().collect();
        if reverse {
            expected.reverse();
        }
        let (mut rest, mut listed) = (Some(asked), Vec::new());
        while let Some(part) = rest.take() {
            let page = list_all(&store, part.clone(), limit, part_rows, direction);
            prop_assert!(page.rows.len() <= limit);
            listed.extend(page.rows.into_iter().map(|row| row.key.to_vec()));
            rest = page.resume.map(|resume| match direction {
                Direction::Forward => Bounds { low: resume, ..part },
                Direction::Reverse => Bounds { high: resume, ..part },
            });
            prop_assert!(listed.len() <= expected.len(), "nothing is listed twice");
        }
        prop_assert_eq!(listed, expected);
    }

    #[test]
    fn a_prefix_holds_exactly_the_keys_that_start_with_it(prefix in proptest::collection::vec(250u8..=255, 0..4), key in proptest::collection::vec(250u8..=255, 0..6)) {
        let mut narrowed = Bounds::default();
        narrowed.narrow_to_prefix(&Bytes::from(prefix.clone()));
        prop_assert_eq!(inside(&key, &narrowed), key.starts_with(&prefix));
    }

    #[test]
    fn narrowing_only_takes_away(low in "[a-c]{0,2}", high in "[a-c]{0,2}", prefix in "[a-c]{0,2}", key in "[a-c]{0,3}") {
        let asked = bounds(low.as_bytes(), high.as_bytes());
        let mut narrowed = asked.clone();
        narrowed.narrow_to_prefix(&Bytes::from(prefix.clone()));
        let wanted = inside(key.as_bytes(), &asked) && key.starts_with(&prefix);
        prop_assert_eq!(inside(key.as_bytes(), &narrowed), wanted);
    }
}

#[test]
fn a_part_that_stands_still_is_the_servers_fault() {
    for (direction, sent, resume) in [
        (Direction::Forward, bounds(b"a", b"f"), "a"),
        (Direction::Reverse, bounds(b"m", b"p"), "p"),
    ] {
        let stuck = walk(sent.clone(), 5, direction).step(&sent, Vec::new(), Some(Bytes::from(resume)));
        assert!(matches!(stuck, Err(ProtocolFault::ListStandsStill)), "{direction:?}: {stuck:?}");
    }
}

#[test]
fn a_page_ends_with_a_resume_once_its_bytes_are_enough() {
    let sent = bounds(b"", b"f");
    let large = Row {
        key: Bytes::from_static(b"a"),
        version: Version(1),
        value: Some(Bytes::from(vec![0; PAGE_BYTES_MAX])),
    };
    let step = walk(Bounds::default(), 100, Direction::Forward).step(&sent, vec![large], None);
    match step.expect("the part brought a row") {
        Step::Done(page) => assert_eq!(page.resume, Some(Bytes::from_static(b"f"))),
        Step::Ask(_) => panic!("the page is as large as it may be"),
    }
}

#[test]
fn a_part_asks_for_no_more_rows_than_are_left_and_than_a_server_sends() {
    let limit_of = |walk: &Walk| match walk.part() {
        Operation::List { limit, .. } => limit,
        other => panic!("a walk asks for lists, not {other:?}"),
    };
    assert_eq!(limit_of(&walk(Bounds::default(), 7, Direction::Forward)), 7);
    assert_eq!(limit_of(&walk(Bounds::default(), usize::MAX, Direction::Forward)), LIST_ROWS_MAX);
}
