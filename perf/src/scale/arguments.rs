//! The command line of `scale`.

use std::time::Duration;

use clap::Args;

use super::points::Order;
use crate::args::positive_seconds;
use crate::args::shared::{LinesArguments, OutcomesArguments, StartArguments, ValuesArguments};

/// `scale`
#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    /// Numbers of keys, each measured in each order; ratios are to the first.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000,5000000,20000000",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) keys: Vec<u64>,
    /// In which orders they are overwritten.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "uniform,sequential")]
    pub(crate) order: Vec<Order>,
    /// Cores of each node; more numbers than one are measured with the first number of keys, in the first order.
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) cores: Vec<u16>,
    /// Further numbers of shards beside --shards, measured with the first number of keys, in the first order.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) also_shards: Vec<u16>,
    #[command(flatten)]
    pub(crate) values: ValuesArguments,
    /// Writes under way at any instant.
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(crate) in_flight: u16,
    /// Seconds that count; twice as many, again and again, until every index has committed often enough.
    #[arg(long, default_value = "20", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs: Duration,
    /// Commits of each index in the seconds that count, at least.
    #[arg(long, default_value_t = 3)]
    pub(crate) commits: u32,
    #[command(flatten)]
    pub(crate) outcomes: OutcomesArguments,
    #[command(flatten)]
    pub(crate) printed: LinesArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}
