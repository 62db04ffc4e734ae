//! The command line of `sweep`.

use std::path::PathBuf;

use clap::Args;

/// `sweep`
#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    /// Few keys, one round, short windows: in a few minutes, to see that all of it works. Numbers that count take the long way.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Folder of the page, and of what is finished; a sweep that was interrupted goes on if it is called again.
    #[arg(long, default_value = "perf-report", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Parts to run now, instead of all; the page shows those that were finished before, too.
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    pub(crate) only: Vec<String>,
    /// Forget what is finished and begin again.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// The `margate` program; default: the one beside this one.
    #[arg(long, value_name = "PATH")]
    pub(crate) margate: Option<PathBuf>,
    /// Folder in which all data are put, each part's in a new folder that is deleted at its end; not on tmpfs.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) data_root: PathBuf,
}
