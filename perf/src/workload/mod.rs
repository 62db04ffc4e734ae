//! What is asked of a system, drawn from a seed: uniform keys, incompressible values, a mix of puts and gets.
//!
//! Not here, on purpose: who is asked (`target.rs`) and how often (`driver.rs`).

pub(crate) mod keys;
pub(crate) mod values;

use bytes::Bytes;
use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use values::Values;

/// Which operations a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bench {
    /// Overwrites of keys that exist.
    Put,
    /// Linearizable reads of keys that exist.
    Get,
    /// One half of each.
    Mixed,
    /// As put, through the client's batch writer.
    Batch,
}

impl Bench {
    /// The word of the flag and of the result line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Mixed => "mixed",
            Self::Batch => "batch",
        }
    }
}

/// One operation of a worker.
pub(crate) enum Step {
    /// Write this value.
    Put { key: Bytes, value: Bytes },
    /// Read this key and check that the value is one of its own.
    Get { number: u64, key: Bytes },
}

/// The space that operations are drawn from, shared by all workers of a run.
pub(crate) struct Workload {
    pub(crate) keys: u64,
    pub(crate) values: Values,
    pub(crate) seed: u64,
}

impl Workload {
    /// `keys` keys with values of `value_bytes` bytes.
    pub(crate) fn new(keys: u64, value_bytes: usize, seed: u64) -> Self {
        Self {
            keys,
            values: Values::new(value_bytes, seed),
            seed,
        }
    }

    /// The dice of one worker in one phase; equal arguments give equal operations.
    pub(crate) fn drawer(&self, bench: Bench, phase: u64, worker: u64) -> Drawer<'_> {
        let seed = keys::mix(self.seed ^ keys::mix((phase << 32) | worker));
        Drawer {
            workload: self,
            bench,
            dice: StdRng::seed_from_u64(seed),
            stamp: seed,
        }
    }
}

/// Draws one worker's operations.
pub(crate) struct Drawer<'a> {
    workload: &'a Workload,
    bench: Bench,
    dice: StdRng,
    stamp: u64,
}

impl Drawer<'_> {
    /// The next operation.
    pub(crate) fn draw(&mut self) -> Step {
        let number = self.dice.random_range(0..self.workload.keys);
        let put = match self.bench {
            Bench::Put | Bench::Batch => true,
            Bench::Get => false,
            Bench::Mixed => self.dice.random_bool(0.5),
        };
        if put {
            self.put(number)
        } else {
            Step::Get {
                number,
                key: keys::key(number),
            }
        }
    }

    /// A write of that key, with a value never written before.
    pub(crate) fn put(&mut self, number: u64) -> Step {
        self.stamp = self.stamp.wrapping_add(1);
        let offset = self.dice.random();
        Step::Put {
            key: keys::key(number),
            value: self.workload.values.make(number, self.stamp, offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn puts_of(bench: Bench, draws: usize) -> usize {
        let workload = Workload::new(10, 64, 7);
        let mut drawer = workload.drawer(bench, 0, 0);
        (0..draws).filter(|_| matches!(drawer.draw(), Step::Put { .. })).count()
    }

    #[test]
    fn the_mix_is_what_the_bench_says() {
        assert_eq!(puts_of(Bench::Put, 1000), 1000);
        assert_eq!(puts_of(Bench::Get, 1000), 0);
        let puts = puts_of(Bench::Mixed, 1000);
        assert!((400..=600).contains(&puts), "{puts} of 1000 are puts");
    }

    #[test]
    fn workers_draw_different_operations_and_the_same_ones_again_from_the_same_seed() {
        let workload = Workload::new(1_000_000, 64, 7);
        let first = |worker| match workload.drawer(Bench::Put, 0, worker).draw() {
            Step::Put { key, value } => (key, value),
            Step::Get { .. } => panic!("a put bench draws puts"),
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn every_key_is_drawn() {
        let workload = Workload::new(10, 64, 7);
        let mut drawer = workload.drawer(Bench::Get, 0, 0);
        let mut seen = [false; 10];
        for _ in 0..500 {
            if let Step::Get { number, .. } = drawer.draw() {
                seen[usize::try_from(number).expect("ten keys")] = true;
            }
        }
        assert_eq!(seen, [true; 10]);
    }
}
