//! The command line of `history` and `check`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::file::OPERATIONS_MAX;
use crate::args::shared::{LineArguments, StartArguments};
use crate::args::{positive_seconds, unique_value_bytes};

/// What one file can hold, but for the reads at its end.
const HISTORY_OPERATIONS_MAX: u64 = OPERATIONS_MAX - 200_000;

/// `history`
#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// The file to write, one JSON line per operation; emptied if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// A deployment that runs already, instead of one started here; it cannot be disturbed.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["margate", "port_base", "shards", "kill_every", "pause_every"])]
    pub(crate) endpoints: Vec<SocketAddr>,
    /// Seconds to record.
    #[arg(long, default_value = "10", value_parser = positive_seconds, value_name = "SECS", conflicts_with = "operations")]
    pub(crate) secs: Duration,
    /// Operations to record, instead of seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=HISTORY_OPERATIONS_MAX))]
    pub(crate) operations: Option<u64>,
    /// Clients, each with one operation under way and connections of its own.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) clients: u16,
    /// Keys that all clients fight for.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) keys: u64,
    /// Bytes in each value, at least the 24 that tell values apart.
    #[arg(long, default_value_t = 64, value_parser = unique_value_bytes)]
    pub(crate) value_bytes: usize,
    /// Seconds from one `kill -9` of a node that leads to the next, about; it is started again.
    #[arg(long, value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) kill_every: Option<Duration>,
    /// Seconds from one pause of a node that leads to the next, about; each lasts 0.1 to 10 seconds.
    #[arg(long, value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) pause_every: Option<Duration>,
    /// Put a proxy before every node that closes, delays, cuts and corrupts what nodes and clients say to each other.
    #[arg(long, conflicts_with_all = ["endpoints", "port_base"])]
    pub(crate) proxy: bool,
    /// Seed of operations and disturbances.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) printed: LineArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Histories that `history` wrote, each judged by itself.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// A key that is too hard to judge is no failure.
    #[arg(long)]
    pub(crate) allow_undecided: bool,
    /// Print one JSON line per file; stdout holds nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}
