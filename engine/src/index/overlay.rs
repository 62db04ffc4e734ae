//! The newest slots of keys, in memory and in order: everything applied since the last commit began.
//!
//! Not here, on purpose: a cap; the core watches [`Overlay::bytes`] and freezes, commits or refuses.

use std::collections::BTreeMap;

use margate_net::ids::{Space, Version};

use super::row::Slot;
use slots::{Put, SlotRange, Slots};

mod block;
mod row;
mod slots;

/// Ordered map of (space, key) to slot. One inner map per space, so that a look-up borrows its key.
///
/// Invariants: a key's version never goes back; no inner map is empty; `len` and `bytes` match the contents.
#[derive(Debug, Default)]
pub struct Overlay {
    spaces: BTreeMap<Space, Slots>,
    len: usize,
    bytes: usize,
}

/// As many keys as a core can wait for at a time, and some more.
pub const WARMED_KEYS: usize = 16;

/// Keys for [`Overlay::warm`].
pub type WarmedKeys<'a> = [&'a [u8]; WARMED_KEYS];

/// Where a key's slot seems to be. Whoever uses it looks whether it is still there, so any hint goes with any key.
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    block: usize,
    at: usize,
}

/// A hint for each of the keys that were warmed.
pub type Hints = [Hint; WARMED_KEYS];

/// The slots of one space between two bounds, from both ends.
#[derive(Clone, Debug)]
pub struct OverlayRange<'a>(Option<SlotRange<'a>>);

impl Hint {
    /// Of a key of which nothing is known.
    pub const NONE: Self = Self {
        block: usize::MAX,
        at: usize::MAX,
    };
}

impl Overlay {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            spaces: BTreeMap::new(),
            len: 0,
            bytes: 0,
        }
    }

    /// Writes the slot if its version is greater than the one here. Says whether it was written.
    pub fn insert_newer(&mut self, space: Space, key: &[u8], slot: Slot) -> bool {
        self.insert_newer_at(space, (key, Hint::NONE), slot)
    }

    /// The same for a key that was warmed.
    pub fn insert_newer_at(&mut self, space: Space, key: (&[u8], Hint), slot: Slot) -> bool {
        self.put(space, key, slot, |old| slot.version() > old.version())
    }

    /// Writes the slot unless another version stands here: an older one must go through [`Overlay::insert_newer`], a
    /// newer one wins. Says whether it was written.
    pub fn replace_equal(&mut self, space: Space, key: &[u8], slot: Slot) -> bool {
        self.put(space, (key, Hint::NONE), slot, |old| slot.version() == old.version())
    }

    /// Prepares for reads or writes of these keys: they will not wait for memory one by one. Where they seem to be.
    pub fn warm(&self, space: Space, keys: &WarmedKeys<'_>) -> Hints {
        match self.spaces.get(&space) {
            Some(slots) => slots.warm(keys),
            None => [Hint::NONE; WARMED_KEYS],
        }
    }

    /// What is known of a key if it may be this version or a newer one: most often a look at no key tells that nothing here is.
    #[must_use]
    pub fn get_from(&self, space: Space, key: &[u8], version: Version) -> Option<&Slot> {
        self.spaces.get(&space).filter(|slots| slots.newest() >= version)?.get(key)
    }

    /// What is known of a key.
    #[must_use]
    pub fn get(&self, space: Space, key: &[u8]) -> Option<&Slot> {
        self.spaces.get(&space)?.get(key)
    }

    /// The slots of `[low, high)` in key order, from either end; an empty `high` is the end of the space.
    #[must_use]
    pub fn range<'a>(&'a self, space: Space, low: &'a [u8], high: &'a [u8]) -> OverlayRange<'a> {
        if !high.is_empty() && low >= high {
            return OverlayRange(None);
        }
        OverlayRange(self.spaces.get(&space).map(|slots| slots.range(low, high)))
    }

    /// Everything, in index key order.
    pub fn iter(&self) -> impl Iterator<Item = (Space, &[u8], &Slot)> {
        let spaces = self.spaces.iter().map(|(space, slots)| (*space, slots.range(&[], &[])));
        spaces.flat_map(|(space, slots)| slots.map(move |(key, slot)| (space, key, slot)))
    }

    /// Number of slots.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no slot.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory in use: keys, and blocks of slots.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn put(&mut self, space: Space, key: (&[u8], Hint), slot: Slot, replaces: impl FnOnce(&Slot) -> bool) -> bool {
        let slots = self.spaces.entry(space).or_default();
        let before = slots.bytes();
        let put = slots.put(key, slot, replaces);
        match put {
            Put::Added => {
                self.len += 1;
                self.bytes += slots.bytes() - before;
                true
            }
            Put::Replaced => true,
            Put::Kept => false,
        }
    }
}

impl<'a> Iterator for OverlayRange<'a> {
    type Item = (&'a [u8], &'a Slot);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next()
    }
}

impl DoubleEndedIterator for OverlayRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next_back()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::conformance::put;
    use super::*;

    const SPACE: Space = Space(7);

    fn keys<'a>(range: impl Iterator<Item = (&'a [u8], &'a Slot)>) -> Vec<&'a [u8]> {
        range.map(|(key, _)| key).collect()
    }

    #[test]
    fn only_a_newer_version_is_written() {
        let mut overlay = Overlay::new();
        assert!(overlay.insert_newer(SPACE, b"k", put(5)));
        let bytes = overlay.bytes();
        assert!(!overlay.insert_newer(SPACE, b"k", put(4)));
        assert!(
            !overlay.insert_newer(SPACE, b"k", Slot::Deleted(Version(5))),
            "an equal version is the same effect again"
        );
        assert_eq!(overlay.get(SPACE, b"k"), Some(&put(5)));
        assert!(overlay.insert_newer(SPACE, b"k", Slot::Deleted(Version(6))));
        assert!(!overlay.insert_newer(SPACE, b"k", put(5)), "a delete keeps its version");
        assert_eq!(overlay.get(SPACE, b"k"), Some(&Slot::Deleted(Version(6))));
        assert_eq!((overlay.len(), overlay.bytes()), (1, bytes));
    }

    #[test]
    fn spaces_are_apart() {
        let mut overlay = Overlay::new();
        assert!(overlay.is_empty());
        overlay.insert_newer(Space(1), b"k", put(1));
        overlay.insert_newer(Space(0), b"z", put(2));
        overlay.insert_newer(Space(u32::MAX), b"", put(3));
        assert_eq!(overlay.get(Space(2), b"k"), None);
        assert_eq!(keys(overlay.range(Space(1), b"", b"")), [b"k"]);
        assert_eq!(keys(overlay.range(Space(2), b"", b"")), [b""; 0]);
        let all: Vec<_> = overlay.iter().map(|(space, key, _)| (space.0, key)).collect();
        assert_eq!(all, [(0, &b"z"[..]), (1, b"k"), (u32::MAX, b"")]);
    }

    #[test]
    fn only_an_equal_version_is_replaced() {
        let elsewhere = |version| match put(version) {
            Slot::Put(row) => Slot::Put(super::super::row::Row {
                position: crate::types::Position { segment: 9, offset: 9 },
                ..row
            }),
            Slot::Deleted(version) => Slot::Deleted(version),
        };
        let mut overlay = Overlay::new();
        assert!(overlay.replace_equal(SPACE, b"k", put(2)), "nothing stood there");
        let size = (overlay.len(), overlay.bytes());
        assert!(overlay.replace_equal(SPACE, b"k", elsewhere(2)));
        assert_eq!(overlay.get(SPACE, b"k"), Some(&elsewhere(2)));
        assert!(!overlay.replace_equal(SPACE, b"k", put(1)) && !overlay.replace_equal(SPACE, b"k", put(3)));
        assert_eq!(overlay.get(SPACE, b"k"), Some(&elsewhere(2)));
        assert_eq!((overlay.len(), overlay.bytes()), size);
        assert!(!overlay.insert_newer(SPACE, b"k", put(2)), "the same version is not newer");
    }

    #[test]
    fn a_version_above_all_of_its_space_is_found_to_be_new() {
        let mut overlay = Overlay::new();
        overlay.insert_newer(SPACE, b"k", put(5));
        overlay.insert_newer(SPACE, b"l", put(7));
        overlay.insert_newer(Space(8), b"k", put(9));
        assert_eq!(overlay.get_from(SPACE, b"k", Version(8)), None);
        assert!(overlay.replace_equal(SPACE, b"m", put(8)));
        assert_eq!(
            overlay.get_from(SPACE, b"k", Version(8)),
            Some(&put(5)),
            "there is something as new now"
        );
        assert_eq!(overlay.get_from(SPACE, b"k", Version(7)), Some(&put(5)), "the caller compares");
        assert_eq!(overlay.get_from(SPACE, b"k", Version(3)), Some(&put(5)));
        assert_eq!(overlay.get_from(Space(9), b"k", Version(1)), None);
    }

    #[test]
    fn bounds_that_hold_nothing_are_empty() {
        let mut overlay = Overlay::new();
        overlay.insert_newer(SPACE, b"b", put(1));
        for (low, high) in [(&b"c"[..], &b"a"[..]), (b"b", b"b"), (b"c", b""), (b"", b"a"), (b"", b"b")] {
            assert_eq!(keys(overlay.range(SPACE, low, high)), [b""; 0], "{low:?} {high:?}");
            assert_eq!(keys(overlay.range(SPACE, low, high).rev()), [b""; 0], "{low:?} {high:?}");
        }
    }

    proptest! {
        #[test]
        fn a_range_is_the_filter_of_all(
            keys_in in proptest::collection::btree_set(proptest::collection::vec(0u8..3, 0..3), 0..20),
            low in proptest::collection::vec(0u8..3, 0..3),
            high in proptest::collection::vec(0u8..3, 0..3),
        ) {
            let mut overlay = Overlay::new();
            for key in &keys_in {
                overlay.insert_newer(SPACE, key, put(1));
            }
            let mut expected: Vec<&[u8]> = keys_in.iter().map(Vec::as_slice).filter(|key| *key >= &low[..] && (high.is_empty() || *key < &high[..])).collect();
            prop_assert_eq!(keys(overlay.range(SPACE, &low, &high)), expected.clone());
            expected.reverse();
            prop_assert_eq!(keys(overlay.range(SPACE, &low, &high).rev()), expected);
            prop_assert_eq!(overlay.len(), keys_in.len());
        }
    }
}
