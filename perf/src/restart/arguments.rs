//! The command line of `restart`.

use std::time::Duration;

use clap::Args;

use crate::args::positive_seconds;
use crate::args::shared::{LinesArguments, StartArguments, ValuesArguments};

/// `restart`
#[derive(Debug, Args)]
pub(crate) struct RestartArguments {
    /// MiB of log on each node that live.
    #[arg(long, default_value_t = 2_048, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) log_mib: u32,
    /// Times to restart a node in each of both ways.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: u16,
    /// Seconds of load before each kill; longer than indexes take from one commit to the next.
    #[arg(long, default_value = "30", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs_before: Duration,
    /// Writes under way at any instant.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(crate) in_flight: u16,
    #[command(flatten)]
    pub(crate) values: ValuesArguments,
    /// Exit with 1 if a node takes longer than this to serve after a graceful stop.
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) graceful_max_ms: Option<u32>,
    /// Exit with 1 if a node takes longer than this to serve after it was killed.
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) killed_max_ms: Option<u32>,
    #[command(flatten)]
    pub(crate) printed: LinesArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}
