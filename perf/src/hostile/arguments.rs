//! The command line of `hostile`.

use clap::Args;

use crate::args::shared::{LineArguments, StartArguments};

/// `hostile`
#[derive(Debug, Args)]
pub(crate) struct HostileArguments {
    /// Bad frames to send, each on a connection of its own.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=100_000_000))]
    pub(crate) frames: u64,
    /// Connections open at any instant.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) connections: u16,
    /// Exit with 1 if a node's anonymous memory grows by more than this over the last nine tenths of the frames.
    #[arg(long, default_value_t = 8, value_name = "MIB")]
    pub(crate) growth_max_mib: u32,
    /// Seed of the frames.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) printed: LineArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}
