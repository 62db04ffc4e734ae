//! The simulation's only source of chance: one seed, one stream.
//!
//! Not here, on purpose: what is decided with it.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::types::Nanos;

/// Dice that fall the same way for the same seed.
pub(crate) struct Dice(StdRng);

impl Dice {
    /// Dice of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Any number.
    pub(crate) fn any(&mut self) -> u64 {
        self.0.random()
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }

    /// A place in something of that length, which is not empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.0.random_range(0..length)
    }

    /// True that many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.0.random_range(0..1_000u64) < per_mille
    }

    /// A span in `low..=high`.
    pub(crate) fn span(&mut self, low: Nanos, high: Nanos) -> Nanos {
        Nanos(self.between(low.0, high.0))
    }

    /// One of several things.
    pub(crate) fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.index(things.len())]
    }
}
