//! The slots of one space: a sorted row of small unsorted blocks.
//!
//! ```text
//!  lows    │ (none) │ "f" │ "m" │        a key belongs to the last block whose low is not above it
//!  blocks  │ c a b  │ k f │ z m r │    found by fingerprint, in any order
//! ```
//! Writes come one by one and in no order, walks are rare: so a write costs a binary search over few, warm lows, one look at a
//! block's fingerprints and one comparison with a key, while a walk sorts each block it comes to. Keys lie one behind the
//! other in one buffer, so nothing is allocated per key and dropping everything is a matter of some thousand blocks.
//!
//! Invariants: keys are distinct; every key of block `i` is at or above `lows[i]` and below `lows[i + 1]`; no block is empty.
//!
//! Not here, on purpose: removal. A deleted key is a slot too, and everything goes at once.

use std::ops::Range;

use super::block::{BLOCK_SLOTS, Block, Entry, Fingerprint, InOrder, KeyPlace};
use crate::index::row::Slot;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Slots {
    keys: Vec<u8>,
    lows: Vec<KeyPlace>,
    blocks: Vec<Box<Block>>,
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
        let block = self.blocks.get(self.block_of(key))?;
        let at = block.find(key, Fingerprint::of(key), &self.keys)?;
        Some(block.slot(at))
    }

    /// Writes a slot where there is none, or where the one that is there is to be replaced.
    pub(super) fn put(&mut self, key: &[u8], slot: Slot, replaces: impl FnOnce(&Slot) -> bool) -> Put {
        let (at, fingerprint) = (self.block_of(key), Fingerprint::of(key));
        let Some(block) = self.blocks.get_mut(at) else {
            self.add_block(0, Block::new(), KeyPlace::default());
            return self.add(0, key, fingerprint, slot);
        };
        match block.find(key, fingerprint, &self.keys) {
            Some(found) => {
                let old = block.slot_mut(found);
                if !replaces(old) {
                    return Put::Kept;
                }
                *old = slot;
                Put::Replaced
            }
            None => {
                let at = if block.len() < BLOCK_SLOTS { at } else { self.split(at, key) };
                self.add(at, key, fingerprint, slot)
            }
        }
    }

    /// The slots of `[low, high)`; an empty `high` is the end.
    pub(super) fn range<'a>(&'a self, low: &'a [u8], high: &'a [u8]) -> SlotRange<'a> {
        let first = self.block_of(low);
        let end = if high.is_empty() {
            self.blocks.len()
        } else {
            (self.block_of(high) + 1).min(self.blocks.len())
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

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() + self.blocks.len() * (size_of::<Block>() + size_of::<KeyPlace>())
    }

    /// The block a key belongs to; that block is missing only where there is none at all.
    fn block_of(&self, key: &[u8]) -> usize {
        // The first low stands for the beginning of the space, whatever it holds.
        let above = self.lows.get(1..).unwrap_or_default();
        above.partition_point(|low| low.key(&self.keys) <= key)
    }

    fn add(&mut self, at: usize, key: &[u8], fingerprint: Fingerprint, slot: Slot) -> Put {
        let key = KeyPlace::append(key, &mut self.keys);
        self.blocks[at].push(Entry { key, slot }, fingerprint);
        Put::Added
    }

    /// Makes room in a full block for a key that is not in it: says in which block the key belongs then.
    fn split(&mut self, at: usize, key: &[u8]) -> usize {
        let order = self.blocks[at].order(&self.keys);
        let last = self.blocks[at].key(order[BLOCK_SLOTS - 1]);
        if at + 1 == self.blocks.len() && last.key(&self.keys) < key {
            // Keys that only rise fill their blocks to the brim.
            let low = KeyPlace::append(key, &mut self.keys);
            self.add_block(at + 1, Block::new(), low);
            return at + 1;
        }
        let (block, low) = self.blocks[at].take_upper_half(&order);
        self.add_block(at + 1, block, low);
        at + usize::from(low.key(&self.keys) <= key)
    }

    fn add_block(&mut self, at: usize, block: Block, low: KeyPlace) {
        self.blocks.insert(at, Box::new(block));
        self.lows.insert(at, low);
    }
}

impl<'a> SlotRange<'a> {
    fn visit(&self, block: usize) -> InOrder<'a> {
        self.slots.blocks[block].in_order(&self.slots.keys, self.low, self.high)
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
                Some(block) => self.front = Some(self.visit(block)),
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
                Some(block) => self.back = Some(self.visit(block)),
                None => return self.front.as_mut()?.next_back(),
            }
        }
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
