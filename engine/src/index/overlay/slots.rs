//! The slots of one space: a sorted row of small unsorted blocks.
//!
//! ```text
//!  lows    │ (none) │ "f" │ "m" │        a key belongs to the last block whose low is not above it
//!  blocks  │ c a b  │ k f │ z m r │    found by fingerprint, in any order
//! ```
//! Writes come one by one and in no order, walks are rare: so a write costs a binary search over few, warm lows (`row`), one look at a
//! block's fingerprints and one comparison with a key (`block`), while a walk sorts each block it comes to. Keys lie one behind the
//! other in one buffer, so nothing is allocated per key and dropping everything is a matter of some thousand blocks.
//!
//! Invariants: keys are distinct; every key of a block is at or above its low and below the low of the next one in the row; no block is empty;
//! of two neighbours one is at least half full, so a block holds 16 slots on average at the very least.
//!
//! Not here, on purpose: removal. A deleted key is a slot too, and everything goes at once.

use std::ops::Range;

use margate_net::ids::Version;

use super::block::{BLOCK_SLOTS, Block, Entry, Fingerprint, InOrder, KeyPlace};
use super::row::Row;
use super::{Hint, Hints, WarmedKeys};
use crate::index::row::Slot;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Slots {
    keys: Vec<u8>,
    row: Row,
    /// In the order in which they were made.
    blocks: Vec<Block>,
    /// No slot is newer.
    newest: Version,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The key was not there before.
    Added,
    /// What was there stays.
    Kept,
    /// Another slot stood there.
    Replaced,
}

/// The slots between two bounds, in key order, from both ends.
#[derive(Clone, Debug)]
pub(super) struct SlotRange<'a> {
    slots: &'a Slots,
    low: &'a [u8],
    high: &'a [u8],
    unvisited: Range<usize>,
    front: Option<InOrder<'a>>,
    back: Option<InOrder<'a>>,
}

impl Slots {
    /// The slot of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Slot> {
        let block = self.row.block(self.row.position(key, &self.keys))?;
        let at = self.blocks[block].find(key, Fingerprint::of(key), &self.keys)?;
        Some(self.blocks[block].slot(at))
    }

    /// Writes a slot where there is none, or where the one that is there is to be replaced.
    pub(super) fn put(&mut self, (key, hint): (&[u8], Hint), slot: Slot, replaces: impl FnOnce(&Slot) -> bool) -> Put {
        self.newest = self.newest.max(slot.version());
        if self.is_at(key, hint) {
            return self.blocks[hint.block].replace(hint.at, slot, replaces);
        }
        let (position, fingerprint) = (self.row.position(key, &self.keys), Fingerprint::of(key));
        let Some(block) = self.row.block(position) else {
            let first = self.add_block(0, Block::new(), KeyPlace::default());
            return self.add(first, key, fingerprint, slot);
        };
        match self.blocks[block].find(key, fingerprint, &self.keys) {
            Some(found) => self.blocks[block].replace(found, slot, replaces),
            None if self.blocks[block].len() < BLOCK_SLOTS => self.add(block, key, fingerprint, slot),
            None => {
                let block = self.split(position, block, key);
                self.add(block, key, fingerprint, slot)
            }
        }
    }

    /// Looks at what reads or writes of these keys will look at, one step for all of them after the other: so what no cache holds is waited for
    /// together and not key by key. Where they seem to be; changes nothing.
    pub(super) fn warm(&self, keys: &WarmedKeys<'_>) -> Hints {
        let searched = keys.map(|key| (self.row.position(key, &self.keys), Fingerprint::of(key)));
        let hints = searched.map(|(position, fingerprint)| {
            let block = self.row.block(position);
            block.map_or(Hint::NONE, |block| Hint {
                block,
                at: self.blocks[block].guess(fingerprint),
            })
        });
        let places = hints.map(|hint| self.key_place(hint).unwrap_or_default());
        std::hint::black_box(places.map(|key| key.begin(&self.keys)));
        hints
    }

    /// The slots of `[low, high)`; an empty `high` is the end.
    pub(super) fn range<'a>(&'a self, low: &'a [u8], high: &'a [u8]) -> SlotRange<'a> {
        let first = self.row.position(low, &self.keys);
        let end = if high.is_empty() {
            self.row.len()
        } else {
            (self.row.position(high, &self.keys) + 1).min(self.row.len())
        };
        SlotRange {
            slots: self,
            low,
            high,
            unvisited: first..end,
            front: None,
            back: None,
        }
    }

    /// A version that none here is above.
    pub(super) const fn newest(&self) -> Version {
        self.newest
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() + self.blocks.len() * (Block::BYTES + Row::BYTES)
    }

    /// Whether the key's slot is there. Keys are distinct, so no other place can be its own.
    fn is_at(&self, key: &[u8], hint: Hint) -> bool {
        self.key_place(hint).is_some_and(|place| place.key(&self.keys) == key)
    }

    fn key_place(&self, hint: Hint) -> Option<KeyPlace> {
        self.blocks.get(hint.block)?.key_place(hint.at)
    }

    fn add(&mut self, block: usize, key: &[u8], fingerprint: Fingerprint, slot: Slot) -> Put {
        let key = KeyPlace::append(key, &mut self.keys);
        self.blocks[block].push(Entry { key, slot }, fingerprint);
        Put::Added
    }

    /// Makes room in a full block for a key that is not in it: says in which block the key belongs then.
    fn split(&mut self, position: usize, block: usize, key: &[u8]) -> usize {
        let next = self.row.block(position + 1).map(|next| self.blocks[next].len());
        if next.is_none_or(|slots| slots >= BLOCK_SLOTS / 2) && self.blocks[block].is_below(key, &self.keys) {
            // Keys that only rise, in however many stretches, fill their blocks to the brim.
            let low = KeyPlace::append(key, &mut self.keys);
            return self.add_block(position + 1, Block::new(), low);
        }
        let order = self.blocks[block].order(&self.keys);
        let (half, low) = self.blocks[block].take_upper_half(&order);
        let upper = self.add_block(position + 1, half, low);
        if low.key(&self.keys) <= key { upper } else { block }
    }

    fn add_block(&mut self, position: usize, block: Block, low: KeyPlace) -> usize {
        self.row.insert(position, low, self.blocks.len(), &self.keys);
        self.blocks.push(block);
        self.blocks.len() - 1
    }
}

impl<'a> SlotRange<'a> {
    fn visit(&self, position: usize) -> Option<InOrder<'a>> {
        let block = self.slots.row.block(position)?;
        Some(self.slots.blocks[block].in_order(&self.slots.keys, self.low, self.high))
    }
}

impl<'a> Iterator for SlotRange<'a> {
    type Item = (&'a [u8], &'a Slot);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.front.as_mut().and_then(InOrder::next) {
                return Some(next);
            }
            match self.unvisited.next() {
                Some(position) => self.front = self.visit(position),
                None => return self.back.as_mut()?.next(),
            }
        }
    }
}

impl DoubleEndedIterator for SlotRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.back.as_mut().and_then(InOrder::next_back) {
                return Some(next);
            }
            match self.unvisited.next_back() {
                Some(position) => self.back = self.visit(position),
                None => return self.front.as_mut()?.next_back(),
            }
        }
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
