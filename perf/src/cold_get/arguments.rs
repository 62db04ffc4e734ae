//! The command line of `cold-get`.

use std::time::Duration;

use clap::Args;

use crate::args::shared::StartArguments;
use crate::args::{positive_seconds, seconds, unique_value_bytes};

/// `cold-get`
#[derive(Debug, Args)]
pub(crate) struct ColdGetArguments {
    /// Times its cache of values that each core leads, at least.
    #[arg(long, default_value_t = 4, conflicts_with = "keys", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) times: u64,
    /// Keys, instead of as many as that takes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) keys: Option<u64>,
    /// Bytes in each value; they do not compress.
    #[arg(long, default_value_t = 256, value_parser = unique_value_bytes)]
    pub(crate) value_bytes: usize,
    /// Reads under way at any instant, with fio too.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) in_flight: u16,
    /// Bytes of the blocks that fio reads.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(512..=1_048_576))]
    pub(crate) block_bytes: u32,
    /// Turns of each; medians are taken over them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: u16,
    /// Seconds that count.
    #[arg(long, default_value = "5", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs: Duration,
    /// Seconds of load before those that count.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECS")]
    pub(crate) warmup: Duration,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print result lines as JSON; stdout holds nothing else.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}
