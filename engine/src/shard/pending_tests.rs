//! Layers one by one, and beside plain maps of which each layer has its own.

use proptest::prelude::*;

use super::*;

fn put(version: u64) -> PendingSlot {
    PendingSlot::Put {
        version: Version(version),
        value: Bytes::new(),
    }
}

#[test]
fn a_dropped_layer_uncovers_the_one_before() {
    let mut pending = PendingOverlay::default();
    pending.add("k".into(), put(1));
    pending.proposed(LogIndex(5));
    pending.add("k".into(), put(2));
    assert_eq!(pending.get(&"k".into()), Some(&put(2)));
    pending.dropped();
    assert_eq!(pending.get(&"k".into()), Some(&put(1)));
}

#[test]
fn a_dropped_layer_that_wrote_a_key_twice_leaves_no_trace() {
    let mut pending = PendingOverlay::default();
    pending.add("k".into(), put(1));
    pending.proposed(LogIndex(5));
    (2..4).for_each(|version| pending.add("k".into(), put(version)));
    pending.add("new".into(), put(4));
    pending.dropped();
    assert_eq!(pending.get(&"k".into()), Some(&put(1)));
    assert_eq!(pending.get(&"new".into()), None);
    pending.applied(LogIndex(5));
    assert!(pending.is_empty() && pending.get(&"k".into()).is_none());
}

#[test]
fn applying_a_layer_leaves_what_a_later_one_took_over() {
    let mut pending = PendingOverlay::default();
    for (index, version) in [(5, 1), (6, 2)] {
        pending.add("k".into(), put(version));
        pending.add(format!("only {index}").into(), put(version));
        pending.proposed(LogIndex(index));
    }
    pending.applied(LogIndex(5));
    assert_eq!(pending.get(&"k".into()), Some(&put(2)));
    assert_eq!(pending.get(&"only 5".into()), None);
    pending.applied(LogIndex(6));
    assert!(pending.is_empty() && pending.get(&"k".into()).is_none());
}

#[test]
fn nothing_is_mapped_that_nobody_asks_for_and_no_key_outlives_its_effects() {
    let mut pending = PendingOverlay::default();
    for entry in 0..3 {
        pending.add("k".into(), put(entry));
        pending.proposed(LogIndex(entry));
    }
    assert_eq!(pending.keys.len(), 0);
    pending.applied(LogIndex(0));
    assert_eq!(pending.get(&"k".into()), Some(&put(2)));
    assert_eq!(pending.keys.len(), 1);
    pending.applied(LogIndex(2));
    assert_eq!((pending.keys.len(), pending.effects.len()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Applied(usize),
    Ask(u8),
    Dropped,
    Proposed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..4).prop_map(Step::Add),
        2 => (0usize..3).prop_map(Step::Applied),
        2 => (0u8..4).prop_map(Step::Ask),
        1 => Just(Step::Dropped),
        3 => Just(Step::Proposed),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn it_answers_as_a_map_for_each_layer_does(steps in steps()) {
        let (mut pending, mut version, mut entry) = (PendingOverlay::default(), 0, 0);
        let mut layers: VecDeque<(u64, BTreeMap<u8, u64>)> = VecDeque::new();
        let mut open = BTreeMap::new();
        let bytes = |key: u8| Bytes::copy_from_slice(&[key]);
        for step in steps {
            match step {
                Step::Add(key) => {
                    version += 1;
                    pending.add(bytes(key), put(version));
                    open.insert(key, version);
                }
                Step::Applied(how_many) => {
                    let newest = layers.iter().take(how_many).next_back().map_or(0, |(entry, _)| *entry);
                    pending.applied(LogIndex(newest));
                    layers.retain(|(entry, _)| *entry > newest);
                }
                Step::Ask(key) => {
                    let newest = std::iter::once(&open).chain(layers.iter().rev().map(|(_, layer)| layer));
                    let expected = newest.filter_map(|layer| layer.get(&key)).next().map(|version| put(*version));
                    prop_assert_eq!(pending.get(&bytes(key)), expected.as_ref());
                }
                Step::Dropped => {
                    pending.dropped();
                    open.clear();
                }
                Step::Proposed => {
                    entry += 1;
                    pending.proposed(LogIndex(entry));
                    layers.push_back((entry, std::mem::take(&mut open)));
                }
            }
        }
        prop_assert_eq!(pending.is_empty(), open.is_empty() && layers.is_empty());
    }
}
