//! A deployment that is started to be measured: its nodes, clients, processes.
//!
//! Not here, on purpose: the load. A deployment at rest is what both looks at counters need.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use margate_net::message::CoreStatus;

use super::behind::Behind;
use super::cores::answers;
use super::deployment::Processes;
use super::dev::{self, DevOptions, NODES, wait_until_polling};
use super::nodes::Nodes;
use super::target::Margate;
use crate::addresses::free_addresses;
use crate::args::shared::StartArguments;
use crate::error::PerfError;
use crate::proc::written::{ByThread, bytes_by_thread};

/// Time for all that is under way to end once nobody asks for anything: a generation of the index is due after 5 s, reclaim takes
/// several, and a commit of a large index some seconds.
const AT_REST_WITHIN: Duration = Duration::from_secs(300);
/// Nodes that have written nothing for so long, and have nothing to write, are at rest.
const AT_REST_AFTER: Duration = Duration::from_secs(1);

/// A deployment of three nodes; dropping it stops it.
pub(crate) struct Started {
    /// Its nodes.
    pub(crate) nodes: Nodes,
    /// Its clients.
    pub(crate) target: Arc<Margate>,
    /// What runs it.
    pub(crate) processes: Processes,
}

/// What is to be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Cores of each node.
    pub(crate) cores: u16,
    /// Clients that workers share.
    pub(crate) clients: usize,
    /// MiB in each segment of the logs, unless as usual; with one core only.
    pub(crate) segment_mib: Option<u32>,
}

impl Shape {
    /// One core, one client, usual segments.
    pub(crate) const USUAL: Self = Self {
        cores: 1,
        clients: 1,
        segment_mib: None,
    };
}

impl Started {
    /// Starts it in this folder and waits until every shard has a leader.
    ///
    /// # Errors
    /// It does not start, or cannot be reached.
    pub(crate) async fn start(start: &StartArguments, folder: &Path, shape: Shape) -> Result<Self, PerfError> {
        let program = dev::program(start.margate.clone());
        let data = folder.join("margate");
        let nodes = match shape.segment_mib {
            None => Nodes::start(DevOptions::shaped(program, data, start, shape.cores), None).await?,
            Some(_) => {
                std::fs::create_dir_all(&data).map_err(PerfError::file(&data))?;
                let addresses = free_addresses(NODES).map_err(PerfError::Proxy)?;
                let behind = Behind {
                    program,
                    data: &data,
                    shards: start.shards,
                    listens: &addresses,
                    reached: &addresses,
                    segment_mib: shape.segment_mib,
                };
                Nodes::start_behind(&behind).await?
            }
        };
        let target = Arc::new(Margate::connect(&nodes.endpoints(), shape.clients).await?);
        let processes = Processes::of(target.client(0)).await;
        Ok(Self { nodes, target, processes })
    }

    /// What every core says of itself.
    pub(crate) async fn cores(&self) -> Vec<CoreStatus> {
        answers(self.target.client(0)).await
    }

    /// Waits until nothing is under way any more: every row is in an index, and nothing is being written.
    ///
    /// # Errors
    /// A node has ended, or something is under way all the time.
    pub(crate) async fn rest(&self) -> Result<(), PerfError> {
        let before = RefCell::new(ByThread::new());
        let at_rest = || async {
            let cores = self.cores().await;
            let written = bytes_by_thread(self.processes.pids());
            let unchanged = before.replace(written.clone()) == written;
            unchanged && !cores.is_empty() && cores.iter().all(|core| core.overlay_rows == 0)
        };
        wait_until_polling(AT_REST_AFTER, AT_REST_WITHIN, "nodes at rest", self.nodes.talk(), at_rest).await?;
        self.nodes.check_all()
    }
}
