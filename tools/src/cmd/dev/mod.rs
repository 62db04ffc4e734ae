//! `margate dev`: a whole deployment on this machine, one process per node.
//!
//! The way of a start: [`topology`] says what is wanted, [`place`] takes the data directory and says what
//! was recorded there, [`cpus`] shares the CPUs out, [`nodes`] starts the processes, [`ready`] asks them until
//! every shard has a leader, and [`supervise`] stays until they are all gone.
//!
//! ```text
//!  dev ──spawns──► node 1, node 2, …      same process group; the kernel kills them if dev dies
//!   │◄── SIGCHLD: one has ended           said on standard error, the others go on
//!   │◄── SIGINT, SIGTERM: stop            SIGTERM to all, SIGKILL to those left after ten seconds
//!   └─── status, until every shard has a leader: "ready"
//! ```
//!
//! Not here, on purpose: anything a node does. `dev` writes each node a configuration file, starts `margate
//! node` with it, and could be replaced by a shell script.

mod cpus;
mod nodes;
mod place;
mod ready;
mod supervise;
mod topology;

use std::io;
use std::path::PathBuf;

use signal_hook::consts::SIGCHLD;

use self::nodes::Nodes;
use self::place::Place;
use self::topology::Topology;
use crate::args::{DevArgs, Global, LogFormat, LogLevel};
use crate::error::Failure;
use crate::exit::Exit;
use crate::{log, signals};

/// Why `margate dev` did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    /// All nodes have ended, and nobody told them to.
    #[error("all nodes have ended; the messages above say why")]
    AllEnded,
    /// A count is out of its range.
    #[error("--{flag} is {count}: it must be between 1 and {max}")]
    Count {
        /// The flag.
        flag: &'static str,
        /// As asked for.
        count: u16,
        /// The most.
        max: u16,
    },
    /// A flag asks for something else than the data there were made with.
    #[error("{} was made with {what} {recorded}, and {asked} is asked for; leave the flag out, pass --fresh to delete the data, or name another directory with --data", dir.display())]
    Contradiction {
        /// The data directory.
        dir: PathBuf,
        /// What differs.
        what: &'static str,
        /// As recorded.
        recorded: String,
        /// As asked for.
        asked: String,
    },
    /// The directory holds something that is not ours.
    #[error("{} is not empty and was not made by 'margate dev', so nothing was touched; name another directory with --data", dir.display())]
    Foreign {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another `margate dev` runs there.
    #[error("{} is in use by another 'margate dev'{}; stop it, or name another directory with --data", dir.display(), DisplayPid(*pid))]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The other's process, where it could be read.
        pid: Option<u32>,
    },
    /// A node that was started by hand, or somebody who looks, uses data there.
    #[error("{node} still runs: another process holds {}, so nothing was started or deleted; stop it ('fuser FILE' says which it is), or name another directory with --data", lock.display())]
    NodeRuns {
        /// The node's name.
        node: String,
        /// The lock it holds.
        lock: PathBuf,
    },
    /// What should be the data directory is something else.
    #[error("{} is no directory; name one with --data, which is made if it does not exist", path.display())]
    NoDirectory {
        /// What it is called.
        path: PathBuf,
    },
    /// The record of the data directory was made by a newer program, or is damaged.
    #[error("{} cannot be used: {problem}; use the version that wrote it, or pass --fresh to delete the data", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A port is taken.
    #[error(
        "cannot use port {port} on 127.0.0.1: {source}; stop the program that uses it, perhaps a node of this deployment that still runs, or choose other ports with --port-base (data that exist keep theirs: then name another directory with --data)"
    )]
    Port {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The ports asked for do not exist.
    #[error("with --port-base {base}, {nodes} nodes need ports above 65535, for each has a block of 100; choose a lower one")]
    PortRange {
        /// As asked for.
        base: u16,
        /// Nodes.
        nodes: u16,
    },
    /// Nodes did not stop in time and were killed.
    #[error("{nodes} did not stop within ten seconds and were killed; what they had acknowledged is safe")]
    Slow {
        /// Their names.
        nodes: String,
    },
    /// A node's process could not be started.
    #[error("cannot start node {node}: {source}")]
    Spawn {
        /// The node.
        node: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Storage {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DevError {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Contradiction { .. } | Self::Count { .. } | Self::PortRange { .. } | Self::NoDirectory { .. } => Exit::Usage,
            Self::AllEnded
            | Self::Foreign { .. }
            | Self::InUse { .. }
            | Self::NodeRuns { .. }
            | Self::Record { .. }
            | Self::Port { .. }
            | Self::Slow { .. }
            | Self::Spawn { .. }
            | Self::Storage { .. } => Exit::Failure,
        }
    }
}

/// Starts the deployment and stays until it has ended.
pub(crate) fn run(global: &Global, args: &DevArgs) -> Result<Exit, Failure> {
    log::install(
        global.log_level.unwrap_or(LogLevel::Warn),
        global.log_format.unwrap_or(LogFormat::Text),
        None,
    );
    // First of all, so that a signal that comes during the start is not lost.
    let signals = signals::catch(&[SIGCHLD]).map_err(|source| Failure::System {
        action: "catch signals",
        source,
    })?;
    if !Place::is_made(&args.data)? {
        Topology::asked_for(args)?.check_ports_free()?;
    }
    let mut place = Place::open(&args.data, args.fresh)?;
    let topology = settle(args, &place)?;
    topology.check_ports_free()?;
    // Nothing refuses from here on, so now data may be deleted.
    place.make_way(args.fresh)?;
    place.record(&topology)?;
    let nodes = start(global, args, &place, &topology)?;
    supervise::run(global.output, signals, nodes, place, &topology)
}

/// What was recorded if data exist, else what is asked for.
fn settle(args: &DevArgs, place: &Place) -> Result<Topology, Failure> {
    match place.recorded() {
        Some(recorded) => {
            recorded.check_agrees(args, place.dir())?;
            Ok(recorded.clone())
        }
        None => Topology::asked_for(args),
    }
}

fn start(global: &Global, args: &DevArgs, place: &Place, topology: &Topology) -> Result<Nodes, DevError> {
    let available = cpus::available();
    let shares = cpus::shares(&available, topology.nodes(), topology.cores());
    if shares.is_none() {
        tracing::warn!(
            cores = topology.nodes() * topology.cores(),
            cpus = available.len(),
            "more cores than CPUs: threads are not pinned, and nodes share the CPUs"
        );
    }
    let mut nodes = Nodes::default();
    for (position, mut config) in topology.configs(global, place, shares.as_deref()).into_iter().enumerate() {
        config.node.volatile = args.volatile.then_some(true);
        let bootstrap = position == 0 && !place.is_bootstrapped();
        nodes.spawn(place, &config, bootstrap)?;
    }
    place.write_processes(&nodes, topology)?;
    Ok(nodes)
}

struct DisplayPid(Option<u32>);

impl std::fmt::Display for DisplayPid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}
