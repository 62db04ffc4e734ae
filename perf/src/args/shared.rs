//! Flags that several commands take: each has one text and one default. A flag that means something else to a command, or is
//! something else unless told otherwise, stands with that command.

use std::path::PathBuf;

use clap::Args;

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
    /// Folder in which all data are put, in a new folder that is deleted at the end; not on tmpfs.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) data_root: PathBuf,
    /// Do not delete the data at the end.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Where what starts no nodes puts its files.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScratchArguments {
    /// Folder in which all data are put, in a new folder that is deleted at the end; not on tmpfs.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) data_root: PathBuf,
    /// Do not delete the data at the end.
    #[arg(long)]
    pub(crate) keep: bool,
}
