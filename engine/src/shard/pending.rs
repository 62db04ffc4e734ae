//! Effects that this leader has proposed and not yet applied: what the next operation must see.
//!
//! One layer per entry. All of them share one map, in which the newest stands for each key. The layer being built keeps what it
//! displaced (`open`), so that a dropped proposal leaves no trace; applying an entry takes its layer away, for its
//! effects are then in the overlay.
//!
//! Not here, on purpose: entries of earlier terms. A leader resolves nothing until an entry of its own term is
//! applied, and then all earlier ones are.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};

use bytes::Bytes;
use margate_net::ids::{LogIndex, Version};

use crate::head::head_of;
use crate::types::ValueHash;

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
        /// Its hash.
        hash: ValueHash,
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

/// What a key will hold, and the layer that says so.
#[derive(Clone, Debug)]
struct Layered {
    layer: u64,
    slot: PendingSlot,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct PendingOverlay {
    /// The newest layer's word for each key.
    keys: BTreeMap<Headed, Layered>,
    /// Effects of the layer being built, and what stood there before them.
    open: Vec<(Headed, Option<Layered>)>,
    layers: VecDeque<Layer>,
    /// Which layer is being built; they are counted.
    building: u64,
}

/// A proposed entry and its keys.
#[derive(Debug)]
struct Layer {
    entry: LogIndex,
    number: u64,
    keys: Vec<Headed>,
}

impl PendingOverlay {
    /// What a key will hold once all that is proposed, and the layer being built, are applied.
    #[must_use]
    pub fn get(&self, key: &Bytes) -> Option<&PendingSlot> {
        self.keys.get(&Headed::of(key.clone())).map(|layered| &layered.slot)
    }

    /// Adds an effect to the layer being built.
    pub fn add(&mut self, key: Bytes, slot: PendingSlot) {
        let (key, layer) = (Headed::of(key), self.building);
        let before = self.keys.insert(key.clone(), Layered { layer, slot });
        self.open.push((key, before));
    }

    /// The layer being built was proposed as this entry.
    pub fn proposed(&mut self, entry: LogIndex) {
        assert!(self.layers.back().is_none_or(|last| last.entry < entry), "layers rise with the log");
        let keys = std::mem::take(&mut self.open).into_iter().map(|(key, _)| key).collect();
        let number = self.building;
        self.layers.push_back(Layer { entry, number, keys });
        self.building += 1;
    }

    /// The layer being built was not proposed.
    pub fn dropped(&mut self) {
        for (key, before) in self.open.drain(..).rev() {
            match before {
                Some(before) => self.keys.insert(key, before),
                None => self.keys.remove(&key),
            };
        }
    }

    /// An entry was applied: its effects are in the overlay now.
    pub fn applied(&mut self, entry: LogIndex) {
        while self.layers.front().is_some_and(|layer| layer.entry <= entry) {
            let Some(layer) = self.layers.pop_front() else { break };
            for key in layer.keys {
                // A later layer may have taken the key over.
                if let Entry::Occupied(held) = self.keys.entry(key)
                    && held.get().layer == layer.number
                {
                    held.remove();
                }
            }
        }
    }

    /// Leadership is lost: nothing proposed here may be relied on.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing is proposed and unapplied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.layers.is_empty()
    }
}

impl Headed {
    fn of(key: Bytes) -> Self {
        Self { head: head_of(&key), key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(version: u64) -> PendingSlot {
        PendingSlot::Put {
            version: Version(version),
            hash: ValueHash::default(),
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
        assert_eq!((pending.get(&"k".into()), pending.get(&"new".into())), (Some(&put(1)), None));
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
        assert_eq!((pending.get(&"k".into()), pending.get(&"only 5".into())), (Some(&put(2)), None));
        pending.applied(LogIndex(6));
        assert!(pending.is_empty() && pending.get(&"k".into()).is_none());
    }
}
