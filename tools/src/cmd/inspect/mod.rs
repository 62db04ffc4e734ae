//! `margate inspect`: a stopped node's data directory, shown and verified. Nothing in it changes.
//!
//! The engine's own scan and index reader read it; there is no second parser. What is wrong with it is listed, and makes the
//! command end with code 7.
//!
//! - [`mod@look`]: one core. [`survey`] gathers what its log holds; with `--verify`, [`applied`] and [`rows`] hold the index against it.
//! - [`segments`]: log files through memory maps. [`problem`]: all that can be wrong.
//! - [`show`], [`mod@records`]: what is printed.
//!
//! Not here, on purpose: repair.

mod applied;
mod look;
mod problem;
mod records;
mod rows;
mod segments;
mod show;
mod survey;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::{fs, io};

use margate_engine::bootstrap::identity::{Creation, Identity, Membership};
use margate_engine::log::segment::LogConfig;
use margate_engine::runtime::directory::DirectoryError;
use margate_engine::runtime::stopped::StoppedDirectory;
use margate_engine::types::ReplicaName;
use margate_net::ids::{CoreId, NodeId, ShardId};
use margate_net::map::MapReplica;

use self::look::{CoreFolder, CoreReport, Depth, look};
use self::records::Records;
use super::{is_text, prepare};
use crate::args::{Global, InspectArgs, InspectWhat};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output::Output;

/// Why a data directory was not shown, or is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// There is nothing of that name.
    #[error("{} does not exist; {NAME_ONE}", .path.display())]
    Missing {
        /// As given.
        path: PathBuf,
    },
    /// It is no directory.
    #[error("{} is no directory; {NAME_ONE}", .path.display())]
    NoDirectory {
        /// As given.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// `--core` names none of its cores.
    #[error("node {node} has {cores} cores, numbered from 0, and no core {asked}")]
    NoSuchCore {
        /// The node.
        node: NodeId,
        /// How many it has.
        cores: usize,
        /// The one asked for.
        asked: u16,
    },
    /// Something is wrong with it.
    #[error("problems found: {problems}; nothing was changed")]
    Problems {
        /// How many.
        problems: u64,
    },
}

const NAME_ONE: &str = "name a node's data directory (node.data; below the folder of `margate dev`: node-N/data)";

impl InspectError {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Directory(_) => Exit::Failure,
            Self::Missing { .. } | Self::NoDirectory { .. } | Self::NoSuchCore { .. } => Exit::Usage,
            Self::Problems { .. } => Exit::Problems,
        }
    }
}

pub(crate) fn run(global: &Global, args: &InspectArgs) -> Result<(), Failure> {
    prepare(global)?;
    check_named(&args.directory)?;
    let (directory, identity) = StoppedDirectory::open(&args.directory).map_err(InspectError::from)?;
    let folders = folders(&directory, &identity, args.core)?;
    let mut output = Output::new(global.output);
    let done = match args.what() {
        InspectWhat::Summary => summary(&mut output, &identity, &folders),
        InspectWhat::Records => records(&mut output, &folders),
        InspectWhat::Verify => verify(&mut output, &identity, &folders),
    };
    let problems = output.finish().and(done)?;
    match problems {
        0 => Ok(()),
        problems => Err(InspectError::Problems { problems }.into()),
    }
}

/// The engine says what a directory lacks; that there is none at all is said here.
fn check_named(path: &Path) -> Result<(), InspectError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(InspectError::Missing { path: path.to_owned() }),
        Ok(found) if !found.is_dir() => Err(InspectError::NoDirectory { path: path.to_owned() }),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn summary(output: &mut Output, identity: &Identity, folders: &[CoreFolder]) -> Result<u64, Failure> {
    let reports: Vec<CoreReport> = folders
        .iter()
        .map(|folder| look(folder, Depth::Survey, &mut |_| ControlFlow::Continue(())))
        .collect();
    if is_text(output) {
        output.line(&show::identity_line(identity))?;
        reports.iter().try_for_each(|report| show::core_text(output, report))?;
    } else {
        let cores: Vec<_> = reports
            .iter()
            .map(|report| serde_json::Value::from(show::core_object(report)))
            .collect();
        output.object(show::identity_object(identity).field("cores", cores))?;
    }
    Ok(problems_of(&reports))
}

fn records(output: &mut Output, folders: &[CoreFolder]) -> Result<u64, Failure> {
    let mut records = Records::new(output);
    let looked = folders
        .iter()
        .map(|folder| look(folder, Depth::Survey, &mut |batch| records.batch(folder.config.core, batch)));
    let reports: Vec<CoreReport> = looked.collect();
    records.finish()?;
    // Standard output is the records'; what is wrong with them is talk.
    for report in &reports {
        let core = report.core.0;
        report.problems.lines().for_each(|line| tracing::error!(core, "{line}"));
    }
    Ok(problems_of(&reports))
}

fn verify(output: &mut Output, identity: &Identity, folders: &[CoreFolder]) -> Result<u64, Failure> {
    let reports: Vec<CoreReport> = folders
        .iter()
        .map(|folder| look(folder, Depth::Verify, &mut |_| ControlFlow::Continue(())))
        .collect();
    let problems = problems_of(&reports);
    if is_text(output) {
        output.line(&show::identity_line(identity))?;
        for report in &reports {
            show::problems_text(output, report)?;
            show::checked_text(output, report)?;
        }
    } else {
        let cores: Vec<_> = reports
            .iter()
            .map(|report| serde_json::Value::from(show::checked_object(report)))
            .collect();
        let document = show::identity_object(identity).field("sound", problems == 0);
        output.object(document.field("problems_found", problems).field("cores", cores))?;
    }
    Ok(problems)
}

fn problems_of(reports: &[CoreReport]) -> u64 {
    reports.iter().map(|report| report.problems.count()).sum()
}

/// The cores asked for; none if the node is no member yet.
fn folders(directory: &StoppedDirectory, identity: &Identity, asked: Option<u16>) -> Result<Vec<CoreFolder>, InspectError> {
    let creation = match &identity.membership {
        Membership::Member {
            creation,
            cores_created: true,
            ..
        } => Some(creation),
        // Until all cores are made the next start makes them again.
        Membership::Empty | Membership::Creating(_) | Membership::Member { cores_created: false, .. } => None,
    };
    let own = creation.and_then(|creation| creation.map.nodes().iter().find(|node| node.id == identity.node));
    let cores = own.map_or(0, |own| own.cores.len());
    let all = (0..u16::try_from(cores).unwrap_or(u16::MAX)).map(CoreId);
    if let Some(asked) = asked.filter(|asked| usize::from(*asked) >= cores) {
        let node = identity.node;
        return Err(InspectError::NoSuchCore { node, cores, asked });
    }
    let chosen = all.filter(|core| asked.is_none_or(|asked| core.0 == asked));
    let folder = |core| creation.map(|creation| folder(directory, identity, creation, core));
    Ok(chosen.filter_map(folder).collect())
}

fn folder(directory: &StoppedDirectory, identity: &Identity, creation: &Creation, core: CoreId) -> CoreFolder {
    let replicas = creation.map.shards().iter().filter_map(|shard| {
        let here = |replica: &&MapReplica| (replica.node, replica.core) == (identity.node, core);
        let replica = shard.replicas.iter().find(here)?.id;
        Some(ReplicaName { shard: shard.id, replica })
    });
    let map: BTreeSet<ReplicaName> = replicas.collect();
    let shards: BTreeSet<ShardId> = map.iter().map(|name| name.shard).collect();
    // A directory that joined was made with no replica.
    let joined = matches!(identity.membership, Membership::Member { joined: true, .. });
    CoreFolder {
        log: directory.log(core),
        index: directory.index(core),
        suspects: directory.suspects(core),
        config: LogConfig {
            cluster: creation.cluster(),
            directory: identity.directory,
            node: identity.node,
            core,
            // The segments tell.
            segment_bytes: 0,
            ready_min: 0,
        },
        expected: if joined { BTreeSet::new() } else { map },
        shards,
    }
}
