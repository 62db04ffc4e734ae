//! The command line of `overload`.

use std::time::Duration;

use clap::Args;

use crate::args::positive_seconds;
use crate::args::shared::{LineArguments, StartArguments, ValuesArguments};

/// `overload`
#[derive(Debug, Args)]
pub(crate) struct OverloadArguments {
    /// Writes under way that give most; found by a short search unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=4_096))]
    pub(crate) peak_in_flight: Option<u32>,
    /// Times as many writes under way in the overload.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) times: u32,
    /// Connections to each core, an even number: half of them patient clients', half of them not.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=160))]
    pub(crate) connections: u16,
    /// Seconds of overload.
    #[arg(long, default_value = "60", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs: Duration,
    /// Seconds of ordinary load before it and, to see latency come back, after it.
    #[arg(long, default_value = "10", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) ordinary: Duration,
    /// Seconds of each step of the search, and of each measurement of the peak.
    #[arg(long, default_value = "3", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) step: Duration,
    #[command(flatten)]
    pub(crate) values: ValuesArguments,
    /// Keys, overwritten in no order.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) keys: u64,
    /// Threads of the load generator itself.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) client_threads: u16,
    #[command(flatten)]
    pub(crate) printed: LineArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}
