//! The command line of `cold-get`.

use clap::Args;

use crate::args::shared::{LinesArguments, StartArguments, TurnsArguments, ValuesArguments};

/// `cold-get`
#[derive(Debug, Args)]
pub(crate) struct ColdGetArguments {
    /// Times its cache of values that each core leads, at least.
    #[arg(long, default_value_t = 4, conflicts_with = "keys", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) times: u64,
    /// Keys, instead of as many as that takes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) keys: Option<u64>,
    #[command(flatten)]
    pub(crate) values: ValuesArguments,
    /// Reads under way at any instant, with fio too.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) in_flight: u16,
    /// Bytes of the blocks that fio reads.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(512..=1_048_576))]
    pub(crate) block_bytes: u32,
    #[command(flatten)]
    pub(crate) turns: TurnsArguments,
    #[command(flatten)]
    pub(crate) printed: LinesArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}
