//! The nodes under test: who leads, killing them, starting them again.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use margate_client::Client;
use margate_net::ids::{LogIndex, NodeId, ShardId};
use margate_net::message::{ReplicaRole, ReplicaStatus};
use rustix::process::Signal;

use crate::child::{Child, signal};
use crate::error::PerfError;
use crate::margate::dev::{Dev, DevNode, DevOptions, wait_until};

/// Time for a killed process to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// Time for a node that was started again to replay and to catch up.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(60);

/// A deployment whose nodes can be killed.
pub(crate) struct Nodes {
    options: DevOptions,
    nodes: Vec<NodeProcess>,
    dev: Option<Dev>,
    talk: PathBuf,
}

struct NodeProcess {
    node: NodeId,
    pid: u32,
    command: Vec<String>,
    /// Held where we have started it again ourselves: dropping it stops it.
    ours: Option<Child>,
}

impl Nodes {
    /// Starts a new deployment.
    ///
    /// # Errors
    /// See [`Dev::start`].
    pub(crate) async fn start(options: DevOptions) -> Result<Self, PerfError> {
        let dev = Dev::start(options.clone()).await?;
        let talk = dev.talk();
        Ok(Self {
            options,
            nodes: processes(&dev),
            dev: Some(dev),
            talk,
        })
    }

    /// Where clients connect.
    pub(crate) fn endpoints(&self) -> Vec<std::net::SocketAddr> {
        self.dev.as_ref().map_or_else(Vec::new, Dev::endpoints)
    }

    /// Kills the node that leads most shards, and says which.
    ///
    /// # Errors
    /// Nobody leads, or the node has ended by itself.
    pub(crate) async fn kill_leader(&mut self, client: &Client) -> Result<NodeId, PerfError> {
        let led = led_by_node(client).await;
        let most = self
            .nodes
            .iter()
            .max_by_key(|process| led.iter().filter(|node| **node == process.node).count());
        let process = most.filter(|process| led.contains(&process.node)).ok_or(PerfError::NoLeader)?;
        self.kill(process).await?;
        Ok(process.node)
    }

    /// Starts a killed node as it was started first, and waits until it has applied what was committed when
    /// it came back.
    ///
    /// # Errors
    /// It does not start or does not catch up.
    pub(crate) async fn start_again(&mut self, node: NodeId, client: &Client) -> Result<(), PerfError> {
        let talk = self.talk.clone();
        let process = self
            .nodes
            .iter_mut()
            .find(|process| process.node == node)
            .ok_or(PerfError::NoLeader)?;
        let (program, arguments) = process.command.split_first().ok_or(PerfError::NoLeader)?;
        let child = Child::spawn(Command::new(program).args(arguments), &talk).map_err(|source| PerfError::Start {
            program: program.clone(),
            source,
            advice: "dev.json names it; is the build still there?",
        })?;
        process.pid = child.pid();
        process.ours = Some(child);
        let committed = highest_commits(client).await;
        wait_until(CAUGHT_UP_WITHIN, "a restarted node to catch up", &talk, || {
            has_applied(client, node, &committed)
        })
        .await
    }

    /// Kills all nodes and `margate dev` at once, then starts the deployment on the same data.
    ///
    /// # Errors
    /// A node has ended by itself, or the deployment does not start.
    pub(crate) async fn kill_all_and_start(&mut self) -> Result<(), PerfError> {
        for process in &self.nodes {
            self.check(process)?;
        }
        self.nodes.iter().for_each(|process| signal(process.pid, Signal::KILL));
        if let Some(dev) = &self.dev {
            signal(dev.pid(), Signal::KILL);
        }
        for process in &self.nodes {
            wait_until(GONE_WITHIN, "a killed node to be gone", &self.talk, || async { !runs(process) }).await?;
        }
        self.nodes.clear();
        self.dev = None;
        let dev = Dev::start(self.options.again()).await?;
        self.nodes = processes(&dev);
        self.dev = Some(dev);
        Ok(())
    }

    /// An error if a node has ended that nobody killed.
    ///
    /// # Errors
    /// [`PerfError::NodeGone`].
    pub(crate) fn check_all(&self) -> Result<(), PerfError> {
        self.nodes.iter().try_for_each(|process| self.check(process))
    }

    async fn kill(&self, process: &NodeProcess) -> Result<(), PerfError> {
        self.check(process)?;
        signal(process.pid, Signal::KILL);
        wait_until(GONE_WITHIN, "a killed node to be gone", &self.talk, || async { !runs(process) }).await
    }

    fn check(&self, process: &NodeProcess) -> Result<(), PerfError> {
        if runs(process) {
            return Ok(());
        }
        Err(PerfError::NodeGone {
            node: process.node.0,
            pid: process.pid,
            talk: self.talk.clone(),
        })
    }
}

fn processes(dev: &Dev) -> Vec<NodeProcess> {
    let process = |node: &DevNode| NodeProcess {
        node: NodeId(node.node),
        pid: node.pid,
        command: node.command.clone(),
        ours: None,
    };
    dev.nodes().iter().map(process).collect()
}

/// Whether the process still runs the command we know: ids are used again, and a zombie runs nothing.
fn runs(process: &NodeProcess) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).skip(1);
    let known = process.command.iter().skip(1).map(String::as_bytes);
    !line.is_empty() && words.filter(|word| !word.is_empty()).eq(known.filter(|word| !word.is_empty()))
}

/// The node of every replica that leads; a node once for each shard it leads.
async fn led_by_node(client: &Client) -> Vec<NodeId> {
    let leads = |replica: &&ReplicaStatus| replica.role == ReplicaRole::Leader;
    let cores = client.status().await;
    let answers = cores.iter().filter_map(|core| core.status.as_ref().ok());
    answers
        .flat_map(|core| core.replicas.iter().filter(leads).map(|_| core.node))
        .collect()
}

/// The highest commit any replica knows of each shard.
async fn highest_commits(client: &Client) -> Vec<(ShardId, LogIndex)> {
    let cores = client.status().await;
    let replicas = cores
        .iter()
        .filter_map(|core| core.status.as_ref().ok())
        .flat_map(|core| &core.replicas);
    let mut commits = std::collections::BTreeMap::new();
    for replica in replicas {
        let highest = commits.entry(replica.shard).or_insert(LogIndex(0));
        *highest = replica.commit.max(*highest);
    }
    commits.into_iter().collect()
}

/// Whether the node's replica of every shard has applied that much.
async fn has_applied(client: &Client, node: NodeId, committed: &[(ShardId, LogIndex)]) -> bool {
    let cores = client.status().await;
    let own = cores
        .iter()
        .filter_map(|core| core.status.as_ref().ok())
        .filter(|core| core.node == node);
    let replicas: Vec<&ReplicaStatus> = own.flat_map(|core| &core.replicas).collect();
    let applied = |(shard, commit): &(ShardId, LogIndex)| {
        let replica = replicas.iter().find(|replica| replica.shard == *shard);
        replica.is_some_and(|replica| replica.applied >= *commit)
    };
    !committed.is_empty() && committed.iter().all(applied)
}
