//! The command line of `amplification`.

use clap::Args;

use crate::args::shared::{LinesArguments, OutcomesArguments, StartArguments};
use crate::args::unique_value_bytes;

/// `amplification`
#[derive(Debug, Args)]
pub(crate) struct AmplificationArguments {
    /// Bytes in each value; several sizes with commas get a deployment each.
    #[arg(long, value_delimiter = ',', default_value = "4096,256", value_parser = unique_value_bytes)]
    pub(crate) value_bytes: Vec<usize>,
    /// Keys, overwritten in no order.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) keys: u64,
    /// Writes under way at any instant.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(crate) in_flight: u16,
    /// MiB in each segment of the logs; by default as margate has them.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(4..=1_024))]
    pub(crate) segment_mib: Option<u32>,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) outcomes: OutcomesArguments,
    #[command(flatten)]
    pub(crate) printed: LinesArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}
