//! Effects that this leader has proposed and not yet applied: what the next operation must see.
//!
//! One layer per entry. Effects stand in the order in which they were proposed; those of an applied entry leave at the front, for they are in the
//! overlay then, those of a dropped proposal at the back. A blind write asks for no key, so effects are put into the map of keys only when the
//! next look-up comes: where all writes are blind, none ever is.
//!
//! ```text
//!  effects  │ a b │ c │ a d e │ f      one layer per entry, `open` is the last
//!           └─ in `keys` ─┘└ not yet ┘
//! ```
//! Invariants: `keys` names for each key the last of the effects before `mapped` that are still here, and nothing else; the layers' counts
//! and `open` add up to the effects.
//!
//! Not here, on purpose: entries of earlier terms. A leader resolves nothing until an entry of its own term is
//! applied, and then all earlier ones are.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};

use bytes::Bytes;
use margate_net::ids::{LogIndex, Version};

use crate::head::head_of;

/// What a key will hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingSlot {
    /// Nothing.
    Deleted {
        /// The deletion's version.
        version: Version,
    },
    /// A value.
    Put {
        /// Its version.
        version: Version,
        /// It.
        value: Bytes,
    },
}

/// A key in its order, which its head mostly tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Headed {
    head: u64,
    key: Bytes,
}

/// See the module's text. Effects are counted from the first that ever was.
#[derive(Debug, Default)]
pub struct PendingOverlay {
    effects: VecDeque<(Headed, PendingSlot)>,
    /// The number of the effect at the front.
    first: u64,
    layers: VecDeque<Layer>,
    /// Effects of the layer being built.
    open: usize,
    /// The newest effect on each key, among those before `mapped`.
    keys: BTreeMap<Headed, u64>,
    mapped: u64,
}

/// A proposed entry and how many effects it has.
#[derive(Debug)]
struct Layer {
    entry: LogIndex,
    effects: usize,
}

impl PendingOverlay {
    /// What a key will hold once all that is proposed, and the layer being built, are applied.
    #[must_use]
    pub fn get(&mut self, key: &Bytes) -> Option<&PendingSlot> {
        let unmapped = (self.mapped..).zip(self.effects.iter().skip(place(self.first, self.mapped)));
        for (number, (key, _)) in unmapped {
            self.keys.insert(key.clone(), number);
        }
        self.mapped = self.first + self.effects.len() as u64;
        let number = self.keys.get(&Headed::of(key.clone()))?;
        self.effects.get(place(self.first, *number)).map(|(_, slot)| slot)
    }

    /// Adds an effect to the layer being built.
    pub fn add(&mut self, key: Bytes, slot: PendingSlot) {
        self.effects.push_back((Headed::of(key), slot));
        self.open += 1;
    }

    /// The layer being built was proposed as this entry.
    pub fn proposed(&mut self, entry: LogIndex) {
        assert!(self.layers.back().is_none_or(|last| last.entry < entry), "layers rise with the log");
        let effects = std::mem::take(&mut self.open);
        self.layers.push_back(Layer { entry, effects });
    }

    /// The layer being built was not proposed.
    pub fn dropped(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.effects.truncate(self.effects.len() - open);
        // Some keys may name effects that are gone. It is rare: all are mapped anew, if they are ever asked for.
        self.keys.clear();
        self.mapped = self.first;
    }

    /// An entry was applied: its effects are in the overlay now.
    pub fn applied(&mut self, entry: LogIndex) {
        while self.layers.front().is_some_and(|layer| layer.entry <= entry) {
            let Some(layer) = self.layers.pop_front() else { break };
            for (number, (key, _)) in (self.first..).zip(self.effects.drain(..layer.effects)) {
                // A later effect may have taken the key over.
                if number < self.mapped
                    && let Entry::Occupied(held) = self.keys.entry(key)
                    && *held.get() == number
                {
                    held.remove();
                }
            }
            self.first += layer.effects as u64;
            self.mapped = self.mapped.max(self.first);
        }
    }

    /// Leadership is lost: nothing proposed here may be relied on.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing is proposed and unapplied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open == 0 && self.layers.is_empty()
    }
}

/// Where an effect stands among those that are still here.
fn place(first: u64, number: u64) -> usize {
    usize::try_from(number - first).expect("effects are in memory")
}

impl Headed {
    fn of(key: Bytes) -> Self {
        Self { head: head_of(&key), key }
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
