//! Flags that several commands take: each has one text and one default. A flag that means something else to a command, or is
//! something else unless told otherwise, stands with that command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{DEV_ENDPOINTS, positive_seconds, seconds, unique_value_bytes};
use crate::driver::measured::Counted;
use crate::report::Output;
use crate::workload::Workload;

/// How commands that start margate do it.
#[derive(Clone, Debug, Args)]
pub(crate) struct StartArguments {
    /// The `margate` program; default: the one beside this one, then the PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) margate: Option<PathBuf>,
    /// First port of node 1, or `auto` for ports given by the kernel.
    #[arg(long, default_value = "auto", value_name = "PORT")]
    pub(crate) port_base: String,
    /// Shards of the deployment.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) shards: u16,
    #[command(flatten)]
    pub(crate) scratch: ScratchArguments,
}

/// Where commands put their files.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScratchArguments {
    /// Folder in which all data are put, in a new folder that is deleted at the end; not on tmpfs.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) data_root: PathBuf,
    /// Do not delete the data at the end.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Where a deployment is that runs already.
#[derive(Debug, Args)]
pub(crate) struct EndpointsArguments {
    /// Cores of the deployment, any of them.
    #[arg(long, value_delimiter = ',', env = "MARGATE_ENDPOINTS", default_value = DEV_ENDPOINTS)]
    pub(crate) endpoints: Vec<SocketAddr>,
}

/// What is written.
#[derive(Debug, Args)]
pub(crate) struct ValuesArguments {
    /// Bytes in each value; they do not compress.
    #[arg(long, default_value_t = 256, value_parser = unique_value_bytes)]
    pub(crate) value_bytes: usize,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl ValuesArguments {
    /// So many keys, with values as they are asked for.
    pub(crate) fn workload(&self, keys: u64) -> Arc<Workload> {
        Arc::new(Workload::new(keys, self.value_bytes, self.seed))
    }
}

/// How writes may end.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutcomesArguments {
    /// A write whose outcome is unknown, as a leader that changes leaves some behind, is no failure; one that failed is.
    #[arg(long)]
    allow_unknown: bool,
}

impl OutcomesArguments {
    /// Whether those that were counted ended as they may.
    pub(crate) fn allow(self, counted: &Counted) -> bool {
        counted.errors == 0 && (self.allow_unknown || counted.unknown == 0)
    }
}

/// How often systems are measured in turn, and how long.
#[derive(Debug, Args)]
pub(crate) struct TurnsArguments {
    /// Turns of each system; medians are taken over them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: u16,
    /// Seconds that count.
    #[arg(long, default_value = "5", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs: Duration,
    /// Seconds of load before those that count.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECS")]
    pub(crate) warmup: Duration,
}

/// How a command prints its one result.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LineArguments {
    /// Print the result as one JSON line; stdout holds nothing else.
    #[arg(long)]
    json: bool,
}

impl LineArguments {
    /// Where it goes.
    pub(crate) fn output(self) -> Output {
        Output::of(self.json)
    }
}

/// How a command prints its results.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LinesArguments {
    /// Print result lines as JSON; stdout holds nothing else.
    #[arg(long)]
    json: bool,
}

impl LinesArguments {
    /// Where they go.
    pub(crate) fn output(self) -> Output {
        Output::of(self.json)
    }
}
