//! What is measured: keys, order, cores, shards.

use clap::ValueEnum;
use serde::Serialize;

use super::arguments::ScaleArguments;

/// In which order keys are overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// In none: each time any of them.
    Uniform,
    /// In theirs, within each of a few stretches of the key space, one write in each stretch after the other.
    Sequential,
}

impl Order {
    /// The word of the flag and of the result line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Sequential => "sequential",
        }
    }
}

/// One deployment to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Keys that are loaded.
    pub(crate) keys: u64,
    /// How they are overwritten.
    pub(crate) order: Order,
    /// Cores of each node.
    pub(crate) cores: u16,
    /// Shards.
    pub(crate) shards: u16,
}

/// All points, in the order they are measured; each after the one that its ratio is to. The first of an order is measured again after
/// its last, so that it shows whether the machine has changed meanwhile.
pub(crate) fn points(arguments: &ScaleArguments) -> Vec<Point> {
    let (shards, cores) = (arguments.start.shards, arguments.cores[0]);
    let (first_keys, first_order) = (arguments.keys[0], arguments.order[0]);
    let point = |keys, order| Point {
        keys,
        order,
        cores,
        shards,
    };
    let first = point(first_keys, first_order);
    let again = arguments.keys.first().filter(|_| arguments.keys.len() > 1);
    let of_order = |order: &Order| {
        arguments
            .keys
            .iter()
            .chain(again)
            .map(move |keys| point(*keys, *order))
            .collect::<Vec<_>>()
    };
    let of_keys = arguments.order.iter().flat_map(of_order);
    let of_cores = arguments.cores.iter().skip(1).map(|cores| Point { cores: *cores, ..first });
    let of_shards = arguments.also_shards.iter().map(|shards| Point { shards: *shards, ..first });
    of_keys.chain(of_cores).chain(of_shards).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    #[test]
    fn keys_are_measured_in_each_order_and_the_rest_once() {
        let line = "margate-perf scale --keys 10,20 --cores 1,2 --shards 4 --also-shards 1,16";
        let Command::Scale(arguments) = Arguments::parse_from(line.split(' ')).command else {
            panic!("it is scale")
        };
        let told: Vec<_> = points(&arguments)
            .iter()
            .map(|point| format!("{} {} {} {}", point.order.word(), point.keys, point.cores, point.shards))
            .collect();
        assert_eq!(
            told,
            [
                "uniform 10 1 4",
                "uniform 20 1 4",
                "uniform 10 1 4",
                "sequential 10 1 4",
                "sequential 20 1 4",
                "sequential 10 1 4",
                "uniform 10 2 4",
                "uniform 10 1 1",
                "uniform 10 1 16"
            ]
        );
    }
}
