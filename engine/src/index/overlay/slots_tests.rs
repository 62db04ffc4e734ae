//! The slots of one space beside an ordered map.

use std::collections::BTreeMap;

use margate_net::ids::Version;
use proptest::prelude::*;

use super::super::WARMED_KEYS;
use super::*;

fn slot(version: u64) -> Slot {
    Slot::Deleted(Version(version))
}

fn filled(keys: impl IntoIterator<Item = u32>) -> Slots {
    let mut slots = Slots::default();
    for key in keys {
        assert_eq!(
            slots.put((&key.to_be_bytes(), Hint::NONE), slot(u64::from(key)), |_| false),
            Put::Added
        );
    }
    slots
}

#[test]
fn keys_that_only_rise_fill_their_blocks() {
    let slots = filled(0..1_000);
    assert_eq!(slots.blocks.len(), 1_000_usize.div_ceil(BLOCK_SLOTS));
    assert!(
        slots
            .range(&[], &[])
            .map(|(key, _)| key.to_vec())
            .eq((0_u32..1_000).map(|key| key.to_be_bytes().to_vec()))
    );
}

#[test]
fn keys_that_rise_in_several_stretches_fill_their_blocks() {
    let stretches = 8;
    let slots = filled((0..8_000).map(|write| write % stretches * 1_000 + write / stretches));
    let (full, begun) = (8_000 / BLOCK_SLOTS, 2 * stretches as usize);
    assert!(slots.blocks.len() <= full + begun, "{} blocks", slots.blocks.len());
    assert!((0_u32..8_000).all(|key| slots.get(&key.to_be_bytes()) == Some(&slot(u64::from(key)))));
}

#[test]
fn keys_that_fall_above_a_full_block_begin_no_block_each() {
    let full = u32::try_from(BLOCK_SLOTS).expect("few");
    let slots = filled((0..full).chain((1_000..2_000).rev()));
    let halves = (BLOCK_SLOTS + 1_000) / (BLOCK_SLOTS / 2);
    assert!(slots.blocks.len() <= halves + 2, "{} blocks", slots.blocks.len());
}

/// Whether of any two neighbours one is at least half full.
fn are_filled(slots: &Slots) -> bool {
    let blocks: Vec<_> = (0..).map_while(|position| slots.row.block(position)).collect();
    let is_half = |block: &usize| slots.blocks[*block].len() >= BLOCK_SLOTS / 2;
    blocks.windows(2).all(|neighbours| neighbours.iter().any(is_half))
}

#[test]
fn keys_that_only_fall_are_found_and_walked() {
    let slots = filled((0..1_000).rev());
    assert!((0_u32..1_000).all(|key| slots.get(&key.to_be_bytes()) == Some(&slot(u64::from(key)))));
    assert!(slots.range(&[], &[]).rev().map(|(_, slot)| slot.version().0).eq((0..1_000).rev()));
}

#[test]
fn the_beginning_of_the_space_belongs_to_the_first_block() {
    let mut slots = filled(1..200);
    assert_eq!(slots.put((&[], Hint::NONE), slot(7), |_| false), Put::Added);
    assert_eq!(slots.get(&[]), Some(&slot(7)));
    assert_eq!(slots.range(&[], &[]).next(), Some((&[][..], &slot(7))));
}

#[test]
fn a_hint_for_another_key_is_seen_through() {
    let mut slots = filled(0..200);
    let (three, four) = (3_u32.to_be_bytes(), 4_u32.to_be_bytes());
    let mut keys: WarmedKeys<'_> = Default::default();
    keys[0] = &three;
    let hint = slots.warm(&keys)[0];
    assert!(slots.is_at(&three, hint) && !slots.is_at(&four, hint), "{hint:?}");
    assert_eq!(slots.put((&four, hint), slot(9), |_| true), Put::Replaced);
    assert_eq!((slots.get(&three), slots.get(&four)), (Some(&slot(3)), Some(&slot(9))));
}

/// The key with each of its bytes so many times.
fn stretched(key: &[u8], times: usize) -> Vec<u8> {
    key.iter().flat_map(|byte| std::iter::repeat_n(*byte, times)).collect()
}

proptest! {
    /// Few distinct bytes make long common beginnings, prefixes of one another and writes to the same key; a thousand keys many blocks.
    /// Stretched, they differ behind what heads hold, too. Hints are as old as sixteen writes.
    #[test]
    fn it_is_an_ordered_map(
        stretch in 1usize..6,
        writes in proptest::collection::vec((proptest::collection::vec(0u8..4, 0..7), 0u64..100), 0..1_000),
        bounds in proptest::collection::vec((proptest::collection::vec(0u8..4, 0..4), proptest::collection::vec(0u8..4, 0..4)), 1..8),
    ) {
        let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
        let writes: Vec<_> = writes.into_iter().map(|(key, version)| (stretched(&key, stretch), version)).collect();
        let mut hints = [Hint::NONE; WARMED_KEYS];
        for (number, (key, version)) in writes.iter().cloned().enumerate() {
            if number % WARMED_KEYS == 0 {
                let mut next: WarmedKeys<'_> = Default::default();
                next.iter_mut().zip(&writes[number..]).for_each(|(next, (key, _))| *next = key);
                hints = slots.warm(&next);
            }
            let put = slots.put((&key, hints[number % WARMED_KEYS]), slot(version), |old| old.version().0 < version);
            let held: Option<u64> = model.get(&key).copied();
            let expected = match held {
                None => Put::Added,
                Some(held) if held < version => Put::Replaced,
                Some(_) => Put::Kept,
            };
            prop_assert_eq!(put, expected);
            if put != Put::Kept {
                model.insert(key, version);
            }
        }
        prop_assert!(are_filled(&slots));
        for (key, version) in &model {
            prop_assert_eq!(slots.get(key), Some(&slot(*version)));
        }
        for (low, high) in &bounds {
            let (low, high) = (&stretched(low, stretch), &stretched(high, stretch));
            prop_assert_eq!(slots.get(low).is_some(), model.contains_key(low));
            if !high.is_empty() && low >= high {
                continue;
            }
            let mut expected: Vec<(Vec<u8>, Slot)> = model.iter().filter(|(key, _)| *key >= low && (high.is_empty() || *key < high)).map(|(key, version)| (key.clone(), slot(*version))).collect();
            let owned = |(key, slot): (&[u8], &Slot)| (key.to_vec(), *slot);
            prop_assert_eq!(slots.range(low, high).map(owned).collect::<Vec<_>>(), expected.clone());
            // From both ends in turn.
            let (mut walk, mut met) = (slots.range(low, high), Vec::new());
            while let Some(front) = walk.next() {
                met.push(owned(front));
                met.extend(walk.next_back().map(owned));
            }
            let sort = |slots: &mut Vec<(Vec<u8>, Slot)>| slots.sort_by(|left, right| left.0.cmp(&right.0));
            sort(&mut met);
            prop_assert_eq!(met, expected.clone());
            expected.reverse();
            prop_assert_eq!(slots.range(low, high).rev().map(owned).collect::<Vec<_>>(), expected);
        }
    }
}
