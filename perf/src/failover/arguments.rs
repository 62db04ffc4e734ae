//! The command line of `failover` and `probe`.

use std::time::Duration;

use clap::Args;

use crate::args::shared::{EndpointsArguments, LineArguments, StartArguments};
use crate::args::{positive_seconds, seconds};

/// `failover`
#[derive(Debug, Args)]
pub(crate) struct FailoverArguments {
    /// Times to kill the node that leads most shards.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) kills: u32,
    /// Seconds of probes before each kill.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECS")]
    pub(crate) secs_before: Duration,
    /// Exit with 1 if half of the outages are longer than this.
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) p50_max_ms: Option<u32>,
    /// Exit with 1 if any outage is longer than this.
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) max_ms: Option<u32>,
    #[command(flatten)]
    pub(crate) probe: RateArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}

/// `probe`
#[derive(Debug, Args)]
pub(crate) struct ProbeArguments {
    #[command(flatten)]
    pub(crate) deployment: EndpointsArguments,
    /// Seconds to probe.
    #[arg(long, default_value = "10", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs: Duration,
    /// Exit with 1 if a shard acknowledged nothing for longer than this.
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) max_ms: Option<u32>,
    #[command(flatten)]
    pub(crate) probe: RateArguments,
}

/// What both share.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RateArguments {
    /// Puts per second, spread over the shards that are probed.
    #[arg(long, default_value_t = 600, value_name = "PUTS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    #[command(flatten)]
    pub(crate) printed: LineArguments,
}
