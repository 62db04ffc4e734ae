//! The command line of `limits`.

use std::time::Duration;

use clap::Args;

use crate::args::positive_seconds;
use crate::args::shared::{LinesArguments, ScratchArguments};

/// `limits`
#[derive(Debug, Args)]
pub(crate) struct LimitsArguments {
    /// Seconds that count, of each measurement.
    #[arg(long, default_value = "3", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs: Duration,
    /// Bytes of each message of the echo, in each direction: about what an operation on a small value takes.
    #[arg(long, default_value_t = 320, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) message_bytes: u32,
    /// MiB of the file that fio works on.
    #[arg(long, default_value_t = 512, value_name = "MIB", value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub(crate) file_mib: u32,
    #[command(flatten)]
    pub(crate) scratch: ScratchArguments,
    #[command(flatten)]
    pub(crate) printed: LinesArguments,
}
