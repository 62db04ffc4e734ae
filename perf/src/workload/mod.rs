//! What is asked of a system, drawn from a seed: keys, incompressible values, a mix of operations.
//!
//! `bench` says which operations over which keys, `drawn` and `zipfian` draw the numbers of keys, `records` knows which
//! are there, `keys` and `values` make the bytes.
//!
//! Not here, on purpose: who is asked (`target.rs`) and how often (`driver/`).

pub(crate) mod bench;
pub(crate) mod drawn;
pub(crate) mod keys;
pub(crate) mod records;
pub(crate) mod values;
pub(crate) mod zipfian;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use bench::{Kind, Recipe};
use drawn::Numbers;
use records::Records;
use values::{Chunk, Values};

/// Rows of a scan, at most.
const SCAN_ROWS_MAX: usize = 100;

/// One operation of a worker, on the key of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read the key and check that the value is one of its own.
    Read { number: u64 },
    /// Write this value to a key that exists.
    Update { number: u64, value: Bytes },
    /// Write this value to a new key.
    Insert { number: u64, value: Bytes },
    /// List at most so many rows from the key on, and check them.
    Scan { number: u64, rows: usize },
    /// Read the key as above, then write this value to it.
    ReadModifyWrite { number: u64, value: Bytes },
}

impl Step {
    /// What it is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Read,
            Self::Update { .. } => Kind::Update,
            Self::Insert { .. } => Kind::Insert,
            Self::Scan { .. } => Kind::Scan,
            Self::ReadModifyWrite { .. } => Kind::ReadModifyWrite,
        }
    }
}

/// The space that operations on one system are drawn from, shared by all workers.
pub(crate) struct Workload {
    pub(crate) keys: u64,
    pub(crate) records: Records,
    pub(crate) values: Values,
    pub(crate) seed: u64,
}

impl Workload {
    /// `keys` keys with values of `value_bytes` bytes.
    pub(crate) fn new(keys: u64, value_bytes: usize, seed: u64) -> Self {
        Self {
            keys,
            records: Records::loaded(keys),
            values: Values::new(value_bytes),
            seed,
        }
    }

    /// The dice of one worker in one phase; equal arguments give equal operations.
    pub(crate) fn drawer(&self, recipe: Recipe, phase: u64, worker: u64) -> Drawer<'_> {
        Drawer {
            recipe,
            numbers: Numbers::new(recipe.keys_drawn(), self.keys),
            written: self.written(phase, worker),
        }
    }

    /// Values of one worker in one phase, none of which was written before.
    pub(crate) fn written(&self, phase: u64, worker: u64) -> Written<'_> {
        let seed = keys::mix(self.seed ^ keys::mix((phase << 32) | worker));
        Written {
            workload: self,
            dice: StdRng::seed_from_u64(seed),
            stamp: seed,
            chunk: None,
        }
    }
}

/// Makes one worker's values.
pub(crate) struct Written<'a> {
    workload: &'a Workload,
    dice: StdRng,
    stamp: u64,
    /// Where values are made, if not each by itself.
    chunk: Option<Chunk>,
}

impl Written<'_> {
    /// Values share memory from now on: for one producer of many, since a value that is kept keeps the others of its chunk.
    pub(crate) fn share_memory(&mut self) {
        self.chunk = Some(Chunk::default());
    }

    /// A value for that key.
    pub(crate) fn value(&mut self, number: u64) -> Bytes {
        self.stamp = self.stamp.wrapping_add(1);
        let values = &self.workload.values;
        match &mut self.chunk {
            Some(chunk) => values.make_in(chunk, number, self.stamp),
            None => values.make(number, self.stamp),
        }
    }
}

/// Draws one worker's operations.
pub(crate) struct Drawer<'a> {
    recipe: Recipe,
    numbers: Numbers,
    written: Written<'a>,
}

impl Drawer<'_> {
    /// See [`Written::share_memory`].
    pub(crate) fn share_memory(&mut self) {
        self.written.share_memory();
    }

    /// The next operation. An insert that is drawn must be carried out: its number is taken.
    pub(crate) fn draw(&mut self) -> Step {
        let kind = self.recipe.draw(&mut self.written.dice);
        let records = &self.written.workload.records;
        let number = match kind {
            Kind::Insert => records.begin_insert(),
            Kind::Read | Kind::Update | Kind::Scan | Kind::ReadModifyWrite => self.numbers.draw(records, &mut self.written.dice),
        };
        let mut value = || self.written.value(number);
        match kind {
            Kind::Read => Step::Read { number },
            Kind::Update => Step::Update { number, value: value() },
            Kind::Insert => Step::Insert { number, value: value() },
            Kind::Scan => Step::Scan {
                number,
                rows: self.written.dice.random_range(1..=SCAN_ROWS_MAX),
            },
            Kind::ReadModifyWrite => Step::ReadModifyWrite { number, value: value() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bench::Bench;
    use super::*;

    fn steps(workload: &Workload, bench: Bench, worker: u64, count: usize) -> Vec<Step> {
        let mut drawer = workload.drawer(Recipe::new(bench, 0.5, None), 0, worker);
        (0..count).map(|_| drawer.draw()).collect()
    }

    #[test]
    fn workers_draw_different_operations_and_the_same_ones_again_from_the_same_seed() {
        for bench in [Bench::Put, Bench::YcsbA, Bench::YcsbE, Bench::YcsbF] {
            let drawn = |worker| steps(&Workload::new(1_000_000, 64, 7), bench, worker, 10);
            assert_eq!(drawn(1), drawn(1));
            assert_ne!(drawn(1), drawn(2));
        }
    }

    #[test]
    fn inserts_take_new_numbers_one_by_one() {
        let workload = Workload::new(100, 64, 7);
        let inserts = steps(&workload, Bench::YcsbD, 0, 500).into_iter().filter_map(|step| match step {
            Step::Insert { number, .. } => Some(number),
            Step::Read { number } => {
                assert!(number < 100, "nothing new was acknowledged");
                None
            }
            Step::Update { .. } | Step::Scan { .. } | Step::ReadModifyWrite { .. } => panic!("D reads and inserts"),
        });
        let inserts: Vec<u64> = inserts.collect();
        assert!(inserts.len() > 5, "{inserts:?}");
        assert!(inserts.iter().copied().eq((100..).take(inserts.len())), "{inserts:?}");
    }

    #[test]
    fn scans_list_one_to_a_hundred_rows() {
        let scanned = steps(&Workload::new(100, 64, 7), Bench::YcsbE, 0, 5000)
            .into_iter()
            .filter_map(|step| match step {
                Step::Scan { rows, .. } => Some(rows),
                Step::Read { .. } | Step::Update { .. } | Step::Insert { .. } | Step::ReadModifyWrite { .. } => None,
            });
        let scanned: Vec<usize> = scanned.collect();
        assert_eq!((scanned.iter().min(), scanned.iter().max()), (Some(&1), Some(&SCAN_ROWS_MAX)));
    }

    #[test]
    fn a_value_belongs_to_its_key_and_is_never_written_twice() {
        let workload = Workload::new(10, 64, 7);
        let (mut one, mut two) = (workload.written(0, 0), workload.written(0, 1));
        let values = [one.value(3), one.value(3), two.value(3)];
        assert!(values.iter().all(|value| workload.values.belongs_to(3, value)));
        assert!(values[0] != values[1] && values[0] != values[2]);
    }
}
