//! The benches: which kinds of operations, in which shares, over keys drawn how.
//!
//! Those of YCSB are its core workloads (`workloads/workload[a-f]` of brianfrankcooper/YCSB), but for the records: one
//! value instead of ten fields. Scans list 1 to 100 rows, drawn uniformly.

use clap::ValueEnum;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::Serialize;

use super::drawn::KeysDrawn;

/// Which operations a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bench {
    /// Overwrites of keys that exist.
    Put,
    /// Linearizable reads of keys that exist.
    Get,
    /// Both: one half of each, or as --read-share says.
    Mixed,
    /// As put, through margate's batch writer.
    Batch,
    /// Updates and reads, one half each; zipfian.
    YcsbA,
    /// 95 % reads, 5 % updates; zipfian.
    YcsbB,
    /// Reads; zipfian.
    YcsbC,
    /// 95 % reads of the latest keys, 5 % inserts.
    YcsbD,
    /// 95 % scans, 5 % inserts; zipfian.
    YcsbE,
    /// Reads, and reads followed by a write of the same key, one half each; zipfian.
    YcsbF,
}

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A linearizable read.
    Read,
    /// A write of a key that exists.
    Update,
    /// A write of the next new key.
    Insert,
    /// A list of some rows from a key on.
    Scan,
    /// A read, then a write of the same key.
    ReadModifyWrite,
}

impl Bench {
    /// The word of the flag and of the result line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Mixed => "mixed",
            Self::Batch => "batch",
            Self::YcsbA => "ycsb-a",
            Self::YcsbB => "ycsb-b",
            Self::YcsbC => "ycsb-c",
            Self::YcsbD => "ycsb-d",
            Self::YcsbE => "ycsb-e",
            Self::YcsbF => "ycsb-f",
        }
    }

    /// Whether each kind of operation has a result line of its own.
    pub(crate) fn tells_kinds(self) -> bool {
        match self {
            Self::Put | Self::Get | Self::Mixed | Self::Batch => false,
            Self::YcsbA | Self::YcsbB | Self::YcsbC | Self::YcsbD | Self::YcsbE | Self::YcsbF => true,
        }
    }

    /// How its keys are drawn unless told otherwise.
    fn keys_drawn(self) -> KeysDrawn {
        match self {
            Self::Put | Self::Get | Self::Mixed | Self::Batch => KeysDrawn::Uniform,
            Self::YcsbA | Self::YcsbB | Self::YcsbC | Self::YcsbE | Self::YcsbF => KeysDrawn::Zipfian,
            Self::YcsbD => KeysDrawn::Latest,
        }
    }

    fn mix(self, read_share: f64) -> Mix {
        match self {
            Self::Put | Self::Batch => Mix::only(Kind::Update),
            Self::Get | Self::YcsbC => Mix::only(Kind::Read),
            Self::Mixed => Mix::of(Kind::Read, read_share, Kind::Update),
            Self::YcsbA => Mix::of(Kind::Read, 0.5, Kind::Update),
            Self::YcsbB => Mix::of(Kind::Read, 0.95, Kind::Update),
            Self::YcsbD => Mix::of(Kind::Read, 0.95, Kind::Insert),
            Self::YcsbE => Mix::of(Kind::Scan, 0.95, Kind::Insert),
            Self::YcsbF => Mix::of(Kind::Read, 0.5, Kind::ReadModifyWrite),
        }
    }
}

impl Kind {
    /// The word of the result line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Scan => "scan",
            Self::ReadModifyWrite => "read-modify-write",
        }
    }
}

/// One kind, or two in shares.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mix {
    one: Kind,
    share: f64,
    other: Kind,
}

impl Mix {
    fn only(kind: Kind) -> Self {
        Self::of(kind, 1.0, kind)
    }

    fn of(one: Kind, share: f64, other: Kind) -> Self {
        Self { one, share, other }
    }
}

/// A bench with all that is chosen about its operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Recipe {
    bench: Bench,
    mix: Mix,
    keys_drawn: KeysDrawn,
}

impl Recipe {
    /// The bench, with the share of reads if it is `mixed`, and keys drawn its own way or another.
    pub(crate) fn new(bench: Bench, read_share: f64, keys_drawn: Option<KeysDrawn>) -> Self {
        Self {
            bench,
            mix: bench.mix(read_share),
            keys_drawn: keys_drawn.unwrap_or_else(|| bench.keys_drawn()),
        }
    }

    /// The bench as it is: keys drawn its own way, one half reads where that can be chosen.
    pub(crate) fn plain(bench: Bench) -> Self {
        Self::new(bench, 0.5, None)
    }

    /// The bench.
    pub(crate) fn bench(&self) -> Bench {
        self.bench
    }

    /// How keys are drawn.
    pub(crate) fn keys_drawn(&self) -> KeysDrawn {
        self.keys_drawn
    }

    /// The share of reads, where it can be chosen.
    pub(crate) fn read_share(&self) -> Option<f64> {
        (self.bench == Bench::Mixed).then_some(self.mix.share)
    }

    /// Whether anything is read.
    pub(crate) fn reads(&self) -> bool {
        self.mix != Mix::only(Kind::Update)
    }

    /// Whether rows are wanted in the order of their keys.
    #[cfg(feature = "peers")]
    pub(crate) fn scans(&self) -> bool {
        [self.mix.one, self.mix.other].contains(&Kind::Scan)
    }

    /// What the next operation is.
    pub(crate) fn draw(&self, dice: &mut StdRng) -> Kind {
        let Mix { one, share, other } = self.mix;
        if one == other || dice.random_bool(share) { one } else { other }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// How many of 10,000 operations are of that kind.
    fn of_ten_thousand(recipe: &Recipe, kind: Kind) -> usize {
        let mut dice = StdRng::seed_from_u64(1);
        (0..10_000).filter(|_| recipe.draw(&mut dice) == kind).count()
    }

    #[test]
    fn each_bench_has_the_mix_and_the_keys_it_promises() {
        use KeysDrawn::{Latest, Uniform, Zipfian};
        use Kind::{Insert, Read, ReadModifyWrite, Scan, Update};
        for (bench, drawn, kinds) in [
            (Bench::Put, Uniform, [(Update, 10_000), (Read, 0)]),
            (Bench::Batch, Uniform, [(Update, 10_000), (Read, 0)]),
            (Bench::Get, Uniform, [(Read, 10_000), (Update, 0)]),
            (Bench::Mixed, Uniform, [(Read, 2_000), (Update, 8_000)]),
            (Bench::YcsbA, Zipfian, [(Read, 5_000), (Update, 5_000)]),
            (Bench::YcsbB, Zipfian, [(Read, 9_500), (Update, 500)]),
            (Bench::YcsbC, Zipfian, [(Read, 10_000), (Update, 0)]),
            (Bench::YcsbD, Latest, [(Read, 9_500), (Insert, 500)]),
            (Bench::YcsbE, Zipfian, [(Scan, 9_500), (Insert, 500)]),
            (Bench::YcsbF, Zipfian, [(Read, 5_000), (ReadModifyWrite, 5_000)]),
        ] {
            let recipe = Recipe::new(bench, 0.2, None);
            assert_eq!(recipe.keys_drawn(), drawn, "{}", bench.word());
            for (kind, expected) in kinds {
                let found = of_ten_thousand(&recipe, kind);
                assert!(found.abs_diff(expected) < 200, "{}: {found} are {}", bench.word(), kind.word());
            }
        }
    }

    #[test]
    fn another_distribution_takes_the_place_of_the_benchs_own() {
        let recipe = Recipe::new(Bench::YcsbA, 0.5, Some(KeysDrawn::Uniform));
        assert_eq!(recipe.keys_drawn(), KeysDrawn::Uniform);
    }

    #[test]
    fn words_are_those_of_flags_and_of_json() {
        for bench in Bench::value_variants() {
            let flag = bench.to_possible_value().expect("none is hidden");
            assert_eq!(flag.get_name(), bench.word());
            assert_eq!(serde_json::to_value(bench).expect("plain data"), bench.word());
        }
        for kind in [Kind::Read, Kind::Update, Kind::Insert, Kind::Scan, Kind::ReadModifyWrite] {
            assert_eq!(serde_json::to_value(kind).expect("plain data"), kind.word());
        }
        for drawn in KeysDrawn::value_variants() {
            let flag = drawn.to_possible_value().expect("none is hidden");
            assert_eq!(serde_json::to_value(drawn).expect("plain data"), flag.get_name());
        }
    }
}
