//! Which block a key belongs to: the lowest key of each, in order.
//!
//! Keys of one shard mostly begin alike, and what follows tells them apart within a few bytes. So a search compares what all lows
//! have in common once, and then numbers that lie side by side: the eight bytes that follow in each low. Whole keys are compared only where
//! those are equal.
//!
//! Invariants: lows rise; `heads` and `places` have the same length; all lows but the first begin with the same `common` bytes, and their heads
//! are what follows.

use std::cmp::Ordering;

use super::block::KeyPlace;
use crate::head::head_of;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Row {
    places: Vec<Place>,
    heads: Vec<u64>,
    common: usize,
}

/// A block in the row.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its lowest key; the first block's means nothing: it begins with the space.
    low: KeyPlace,
    /// Which block.
    block: usize,
}

impl Row {
    /// Bytes of memory for each block.
    pub(super) const BYTES: usize = size_of::<Place>() + size_of::<u64>();

    /// Blocks in it.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The block at a position.
    pub(super) fn block(&self, at: usize) -> Option<usize> {
        self.places.get(at).map(|place| place.block)
    }

    /// The position of the block a key belongs to; nothing stands there only where there is no block at all.
    pub(super) fn position(&self, key: &[u8], keys: &[u8]) -> usize {
        let (Some(lows), Some(heads)) = (self.places.get(1..), self.heads.get(1..)) else {
            return 0;
        };
        let Some(first) = lows.first() else { return 0 };
        let (begin, rest) = key.split_at(self.common.min(key.len()));
        // Where they have nothing in common, there is nothing to fetch and to compare.
        if self.common > 0 {
            match begin.cmp(&first.low.key(keys)[..self.common]) {
                Ordering::Less => return 0,
                Ordering::Greater => return lows.len(),
                Ordering::Equal => {}
            }
        }
        let head = head_of(rest);
        let below = heads.partition_point(|low| *low < head);
        if heads.get(below) != Some(&head) {
            return below;
        }
        let alike = heads[below..].partition_point(|low| *low == head);
        below + lows[below..below + alike].partition_point(|place| place.low.key(keys) <= key)
    }

    /// Puts a block at a position: the first one, or behind another.
    pub(super) fn insert(&mut self, at: usize, low: KeyPlace, block: usize, keys: &[u8]) {
        if at > 0 {
            let bytes = low.key(keys);
            let shared = self.places.get(1).map_or(bytes.len(), |first| {
                let pairs = bytes.iter().zip(&first.low.key(keys)[..self.common]);
                pairs.take_while(|(new, old)| new == old).count()
            });
            if self.places.len() == 1 || shared < self.common {
                self.common = shared;
                self.heads.truncate(1);
                let lows = self.places.iter().skip(1).map(|place| place.low.key(keys));
                self.heads.extend(lows.map(|low| head_of(&low[shared..])));
            }
        }
        let head = low.key(keys).get(self.common..).map_or(0, head_of);
        self.places.insert(at, Place { low, block });
        self.heads.insert(at, head);
    }
}
