//! A handful of slots in the order in which their keys came, found by fingerprints.

use std::hash::BuildHasher;
use std::ops::Range;

use super::slots::Put;
use crate::index::row::Slot;

/// Slots in one block: few enough to sort in some microseconds, enough that the lows of all blocks stay in the cache.
pub(super) const BLOCK_SLOTS: usize = 64;
/// Fingerprints compared at a time.
const LANES: usize = size_of::<u64>();
/// One in each lane.
const ONES: u64 = u64::from_le_bytes([1; LANES]);
/// Brings the lowest bit of each lane into the highest lane, one beside the other.
const GATHER: u64 = 0x0102_0408_1020_4080;
/// The highest bit of each lane.
const HIGHS: u64 = ONES << 7;

/// Where a key stands in the buffer of keys.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyPlace {
    at: u32,
    length: u32,
}

/// A byte of a key's hash: keys of other fingerprints need not be compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint(u8);

/// A key and its slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: KeyPlace,
    /// Its slot.
    pub(super) slot: Slot,
}

/// See the module's text. A fingerprint means something where there is an entry of the same ordinal.
#[derive(Debug)]
pub(super) struct Block {
    fingerprints: [u64; BLOCK_SLOTS / LANES],
    entries: Vec<Entry>,
}

/// Ordinals of a block's entries.
pub(super) type Order = [u8; BLOCK_SLOTS];

/// Entries of a block in key order, from both ends.
#[derive(Clone, Debug)]
pub(super) struct InOrder<'a> {
    block: &'a Block,
    keys: &'a [u8],
    order: Order,
    left: Range<usize>,
}

impl KeyPlace {
    /// Puts a key behind the others.
    ///
    /// # Panics
    /// At 4 GiB of keys; an overlay is full long before.
    pub(super) fn append(key: &[u8], keys: &mut Vec<u8>) -> Self {
        let at = u32::try_from(keys.len()).expect("an overlay is full long before 4 GiB of keys");
        keys.extend_from_slice(key);
        let length = u32::try_from(key.len()).expect("keys are short");
        Self { at, length }
    }

    /// The key.
    pub(super) fn key(self, keys: &[u8]) -> &[u8] {
        let at = self.at as usize;
        &keys[at..at + self.length as usize]
    }

    /// The first byte of the key, if it has one.
    pub(super) fn begin(self, keys: &[u8]) -> u8 {
        keys.get(self.at as usize).copied().unwrap_or_default()
    }
}

impl Fingerprint {
    /// Of a key.
    pub(super) fn of(key: &[u8]) -> Self {
        Self(rustc_hash::FxBuildHasher.hash_one(key).to_le_bytes()[7])
    }
}

impl Block {
    /// Bytes of memory that each block takes.
    pub(super) const BYTES: usize = size_of::<Self>() + BLOCK_SLOTS * size_of::<Entry>();

    /// Nothing in it.
    pub(super) fn new() -> Self {
        Self {
            fingerprints: [0; BLOCK_SLOTS / LANES],
            entries: Vec::with_capacity(BLOCK_SLOTS),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Which entry is the key's.
    pub(super) fn find(&self, key: &[u8], fingerprint: Fingerprint, keys: &[u8]) -> Option<usize> {
        let mut alike = self.alike(fingerprint);
        while alike != 0 {
            let at = alike.trailing_zeros() as usize;
            if self.entries.get(at).is_some_and(|entry| entry.key.key(keys) == key) {
                return Some(at);
            }
            alike &= alike - 1;
        }
        None
    }

    /// Which entry is the first that may be of the key with this fingerprint.
    pub(super) fn guess(&self, fingerprint: Fingerprint) -> usize {
        self.alike(fingerprint).trailing_zeros() as usize
    }

    /// Where the key of an entry lies, if there is such an entry.
    pub(super) fn key_place(&self, at: usize) -> Option<KeyPlace> {
        self.entries.get(at).map(|entry| entry.key)
    }

    /// A bit for each fingerprint that is equal, and now and then for one that is not, which its key then tells.
    fn alike(&self, fingerprint: Fingerprint) -> u64 {
        let wanted = ONES * u64::from(fingerprint.0);
        let words = self.fingerprints.iter().zip((0..).step_by(LANES));
        let masks = words.map(|(fingerprints, first)| {
            // Lanes that are equal become zero, and zero lanes get their highest bit set; a lane above one may get it too.
            let differing = fingerprints ^ wanted;
            let zero = differing.wrapping_sub(ONES) & !differing & HIGHS;
            ((zero >> 7).wrapping_mul(GATHER) >> (u64::BITS - 8)) << first
        });
        masks.fold(0, |all, mask: u64| all | mask)
    }

    pub(super) fn slot(&self, at: usize) -> &Slot {
        &self.entries[at].slot
    }

    /// Writes a slot where the one that is there is to be replaced.
    pub(super) fn replace(&mut self, at: usize, slot: Slot, replaces: impl FnOnce(&Slot) -> bool) -> Put {
        let old = &mut self.entries[at].slot;
        if !replaces(old) {
            return Put::Kept;
        }
        *old = slot;
        Put::Replaced
    }

    pub(super) fn key(&self, ordinal: u8) -> KeyPlace {
        self.entries[usize::from(ordinal)].key
    }

    /// Adds an entry whose key is not here.
    ///
    /// # Panics
    /// When the block is full.
    pub(super) fn push(&mut self, entry: Entry, fingerprint: Fingerprint) {
        self.set_fingerprint(self.len(), fingerprint);
        self.entries.push(entry);
    }

    /// The ordinals of all entries in key order, then zeros.
    pub(super) fn order(&self, keys: &[u8]) -> Order {
        let mut order = [0; BLOCK_SLOTS];
        for (ordinal, place) in (0..).zip(&mut order[..self.len()]) {
            *place = ordinal;
        }
        order[..self.len()].sort_unstable_by(|left, right| self.key(*left).key(keys).cmp(self.key(*right).key(keys)));
        order
    }

    /// Whether all its keys are below this one.
    pub(super) fn is_below(&self, key: &[u8], keys: &[u8]) -> bool {
        self.entries.iter().all(|entry| entry.key.key(keys) < key)
    }

    /// Gives away the upper half of a full block, and says which is its lowest key.
    pub(super) fn take_upper_half(&mut self, order: &Order) -> (Self, KeyPlace) {
        let all = std::mem::replace(self, Self::new());
        let mut upper = Self::new();
        let (lower_half, upper_half) = order.split_at(BLOCK_SLOTS / 2);
        lower_half.iter().for_each(|ordinal| self.push_from(&all, *ordinal));
        upper_half.iter().for_each(|ordinal| upper.push_from(&all, *ordinal));
        (upper, all.key(upper_half[0]))
    }

    /// The entries of `[low, high)`; an empty `high` is the end.
    pub(super) fn in_order<'a>(&'a self, keys: &'a [u8], low: &[u8], high: &[u8]) -> InOrder<'a> {
        let order = self.order(keys);
        let below = |bound: &[u8]| order[..self.len()].partition_point(|ordinal| self.key(*ordinal).key(keys) < bound);
        let end = if high.is_empty() { self.len() } else { below(high) };
        InOrder {
            block: self,
            keys,
            order,
            left: below(low)..end,
        }
    }

    fn push_from(&mut self, from: &Self, ordinal: u8) {
        let at = usize::from(ordinal);
        let fingerprint = Fingerprint(from.fingerprints[at / LANES].to_le_bytes()[at % LANES]);
        self.push(from.entries[at], fingerprint);
    }

    fn set_fingerprint(&mut self, at: usize, fingerprint: Fingerprint) {
        let mut lanes = self.fingerprints[at / LANES].to_le_bytes();
        lanes[at % LANES] = fingerprint.0;
        self.fingerprints[at / LANES] = u64::from_le_bytes(lanes);
    }
}

impl<'a> InOrder<'a> {
    fn entry(&self, at: usize) -> (&'a [u8], &'a Slot) {
        let ordinal = self.order[at];
        (self.block.key(ordinal).key(self.keys), self.block.slot(usize::from(ordinal)))
    }
}

impl<'a> Iterator for InOrder<'a> {
    type Item = (&'a [u8], &'a Slot);

    fn next(&mut self) -> Option<Self::Item> {
        self.left.next().map(|at| self.entry(at))
    }
}

impl DoubleEndedIterator for InOrder<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left.next_back().map(|at| self.entry(at))
    }
}
