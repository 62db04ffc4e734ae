//! Effects that this leader has proposed and not yet applied: what the next operation must see.
//!
//! One layer per entry. The layer being built is apart (`open`), so that a dropped proposal leaves no trace;
//! applying an entry takes its layer away, for its effects are then in the overlay.
//!
//! Not here, on purpose: entries of earlier terms. A leader resolves nothing until an entry of its own term is
//! applied, and then all earlier ones are.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::ids::{LogIndex, Version};

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

#[derive(Clone, Debug)]
struct Layered {
    layer: LogIndex,
    slot: PendingSlot,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct PendingOverlay {
    open: BTreeMap<Bytes, PendingSlot>,
    keys: BTreeMap<Bytes, Layered>,
    layers: VecDeque<(LogIndex, Vec<Bytes>)>,
}

impl PendingOverlay {
    /// What a key will hold once all that is proposed, and the layer being built, are applied.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&PendingSlot> {
        self.open.get(key).or_else(|| self.keys.get(key).map(|layered| &layered.slot))
    }

    /// Adds an effect to the layer being built.
    pub fn add(&mut self, key: Bytes, slot: PendingSlot) {
        self.open.insert(key, slot);
    }

    /// The layer being built was proposed as this entry.
    pub fn proposed(&mut self, index: LogIndex) {
        assert!(self.layers.back().is_none_or(|(last, _)| *last < index), "layers rise with the log");
        let open = std::mem::take(&mut self.open);
        let mut names = Vec::with_capacity(open.len());
        for (key, slot) in open {
            names.push(key.clone());
            self.keys.insert(key, Layered { layer: index, slot });
        }
        self.layers.push_back((index, names));
    }

    /// The layer being built was not proposed.
    pub fn dropped(&mut self) {
        self.open.clear();
    }

    /// An entry was applied: its effects are in the overlay now.
    pub fn applied(&mut self, index: LogIndex) {
        while self.layers.front().is_some_and(|(layer, _)| *layer <= index) {
            let Some((layer, names)) = self.layers.pop_front() else { break };
            for key in names {
                // A later layer may have taken the key over.
                if self.keys.get(&key).is_some_and(|layered| layered.layer == layer) {
                    self.keys.remove(&key);
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
        assert_eq!(pending.get(b"k"), Some(&put(2)));
        pending.dropped();
        assert_eq!(pending.get(b"k"), Some(&put(1)));
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
        assert_eq!((pending.get(b"k"), pending.get(b"only 5")), (Some(&put(2)), None));
        pending.applied(LogIndex(6));
        assert!(pending.is_empty() && pending.get(b"k").is_none());
    }
}
