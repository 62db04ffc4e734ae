//! The nodes under test: who leads, killing them, starting them again, holding them up.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use margate_client::Client;
use margate_net::ids::{LogIndex, NodeId, ShardId};
use margate_net::message::{CoreStatus, ReplicaRole};
use rustix::process::Signal;

use super::behind::{Behind, spawn};
use super::dev::{Dev, DevNode, DevOptions, talk_of, wait_for_leaders, wait_until};
use crate::child::{Child, signal};
use crate::error::PerfError;

/// Time for a killed process to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// Time for a node that was started again to replay and to catch up.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(60);

/// A deployment whose nodes can be killed.
pub(crate) struct Nodes {
    nodes: Vec<NodeProcess>,
    /// Held where `margate dev` has started them.
    dev: Option<(Dev, DevOptions)>,
    endpoints: Vec<SocketAddr>,
    talk: PathBuf,
}

struct NodeProcess {
    node: NodeId,
    pid: u32,
    command: Vec<String>,
    /// Held where we have started it again ourselves: dropping it stops it.
    ours: Option<Child>,
}

/// A node to do something to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    position: usize,
    /// Which one.
    pub(crate) node: NodeId,
}

/// A process that stands still; dropping this lets it go on.
#[derive(Debug)]
pub(crate) struct Paused {
    pid: u32,
}

impl Drop for Paused {
    fn drop(&mut self) {
        signal(self.pid, Signal::CONT);
    }
}

impl Nodes {
    /// Starts a new deployment.
    ///
    /// # Errors
    /// See [`Dev::start`].
    pub(crate) async fn start(options: DevOptions) -> Result<Self, PerfError> {
        let dev = Dev::start(options.clone()).await?;
        Ok(Self {
            nodes: processes(&dev),
            endpoints: dev.endpoints(),
            talk: dev.talk(),
            dev: Some((dev, options)),
        })
    }

    /// Starts a new deployment whose nodes are reached elsewhere than they listen, and waits until every shard has a
    /// leader.
    ///
    /// # Errors
    /// The program is not there, ends, or is not ready in time.
    pub(crate) async fn start_behind(behind: &Behind<'_>) -> Result<Self, PerfError> {
        let mut nodes = Self {
            nodes: Vec::new(),
            dev: None,
            endpoints: behind.reached.to_vec(),
            talk: talk_of(behind.data),
        };
        for (listens, id) in behind.listens.iter().zip(1..) {
            let command = behind.prepare(id, *listens)?;
            let first: &[&str] = if id == 1 { &["--bootstrap"] } else { &[] };
            let child = spawn(&command, first, &nodes.talk)?;
            nodes.nodes.push(NodeProcess {
                node: NodeId(id),
                pid: child.pid(),
                command,
                ours: Some(child),
            });
        }
        wait_for_leaders(&nodes.endpoints, &nodes.talk, || nodes.check_all()).await?;
        Ok(nodes)
    }

    /// Where clients connect.
    pub(crate) fn endpoints(&self) -> &[SocketAddr] {
        &self.endpoints
    }

    /// The node that leads most shards.
    ///
    /// # Errors
    /// Nobody leads.
    pub(crate) async fn leader(&self, client: &Client) -> Result<Chosen, PerfError> {
        let cores = answers(client).await;
        let by_shards_led = self
            .nodes
            .iter()
            .enumerate()
            .map(|(position, process)| (shards_led(&cores, process.node), position));
        let (_, position) = by_shards_led.filter(|(led, _)| *led > 0).max().ok_or(PerfError::NoLeader)?;
        Ok(self.choose(position))
    }

    /// One of the nodes, counted round.
    pub(crate) fn choose(&self, position: usize) -> Chosen {
        let position = position % self.nodes.len();
        let node = self.nodes[position].node;
        Chosen { position, node }
    }

    /// Kills a node.
    ///
    /// # Errors
    /// It has ended by itself, or does not end.
    pub(crate) async fn kill(&self, chosen: Chosen) -> Result<(), PerfError> {
        let process = &self.nodes[chosen.position];
        self.check(process)?;
        signal(process.pid, Signal::KILL);
        self.wait_until_gone(process).await
    }

    /// Stops a node's process until what this returns is dropped.
    ///
    /// # Errors
    /// It has ended by itself.
    pub(crate) fn pause(&self, chosen: Chosen) -> Result<Paused, PerfError> {
        let process = &self.nodes[chosen.position];
        self.check(process)?;
        signal(process.pid, Signal::STOP);
        Ok(Paused { pid: process.pid })
    }

    /// Starts a killed node as it was started first, and waits until it has applied what was committed when
    /// it came back.
    ///
    /// # Errors
    /// It does not start or does not catch up.
    pub(crate) async fn start_again(&mut self, killed: Chosen, client: &Client) -> Result<(), PerfError> {
        self.nodes[killed.position].spawn_again(&self.talk)?;
        let committed = highest_commits(&answers(client).await);
        wait_until(CAUGHT_UP_WITHIN, "a restarted node to catch up", &self.talk, || async {
            has_applied(&answers(client).await, killed.node, &committed)
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
        if let Some((dev, _)) = &self.dev {
            signal(dev.pid(), Signal::KILL);
        }
        for process in &self.nodes {
            self.wait_until_gone(process).await?;
        }
        if let Some((_, options)) = self.dev.take() {
            let dev = Dev::start(options.again()).await?;
            self.nodes = processes(&dev);
            self.dev = Some((dev, options));
            return Ok(());
        }
        for process in &mut self.nodes {
            process.spawn_again(&self.talk)?;
        }
        wait_for_leaders(&self.endpoints, &self.talk, || self.check_all()).await
    }

    /// An error if a node has ended that nobody killed.
    ///
    /// # Errors
    /// [`PerfError::NodeGone`].
    pub(crate) fn check_all(&self) -> Result<(), PerfError> {
        self.nodes.iter().try_for_each(|process| self.check(process))
    }

    async fn wait_until_gone(&self, process: &NodeProcess) -> Result<(), PerfError> {
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

impl NodeProcess {
    /// Starts it as it can always be started.
    fn spawn_again(&mut self, talk: &Path) -> Result<(), PerfError> {
        let child = spawn(&self.command, &[], talk)?;
        self.pid = child.pid();
        self.ours = Some(child);
        Ok(())
    }
}

impl Drop for Nodes {
    /// All are asked to stop at once: the last one left would wait in vain for somebody to hand its shards to.
    fn drop(&mut self) {
        let ours = self.nodes.iter().filter_map(|process| process.ours.as_ref());
        ours.for_each(|child| signal(child.pid(), Signal::TERM));
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

/// Whether the process still runs the command we know, perhaps with more flags: the first start of all may have
/// some. Ids are used again, and a zombie runs nothing.
fn runs(process: &NodeProcess) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let known = process.command.iter().map(String::as_bytes);
    !line.is_empty()
        && known
            .enumerate()
            .all(|(position, word)| words.next() == Some(word) || position == 0)
}

/// What every core that answers says.
async fn answers(client: &Client) -> Vec<CoreStatus> {
    client.status().await.into_iter().filter_map(|core| core.status.ok()).collect()
}

/// How many shards a node leads.
fn shards_led(cores: &[CoreStatus], node: NodeId) -> usize {
    let replicas = cores.iter().filter(|core| core.node == node).flat_map(|core| &core.replicas);
    replicas.filter(|replica| replica.role == ReplicaRole::Leader).count()
}

/// The highest commit any replica knows of each shard.
fn highest_commits(cores: &[CoreStatus]) -> BTreeMap<ShardId, LogIndex> {
    let mut commits = BTreeMap::new();
    for replica in cores.iter().flat_map(|core| &core.replicas) {
        let highest = commits.entry(replica.shard).or_insert(replica.commit);
        *highest = replica.commit.max(*highest);
    }
    commits
}

/// Whether the node's replica of every shard has applied that much.
fn has_applied(cores: &[CoreStatus], node: NodeId, committed: &BTreeMap<ShardId, LogIndex>) -> bool {
    let own = || cores.iter().filter(|core| core.node == node).flat_map(|core| &core.replicas);
    let applied = |(shard, commit): (&ShardId, &LogIndex)| own().any(|replica| replica.shard == *shard && replica.applied >= *commit);
    committed.iter().all(applied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_net::ids::{CoreId, ReplicaId, Term};
    use margate_net::message::ReplicaStatus;

    fn replica(shard: u64, role: ReplicaRole, commit: u64, applied: u64) -> ReplicaStatus {
        ReplicaStatus {
            shard: ShardId(shard),
            replica: ReplicaId(1),
            role,
            leader: None,
            term: Term(1),
            commit: LogIndex(commit),
            applied: LogIndex(applied),
            last: LogIndex(commit),
        }
    }

    fn core(node: u64, replicas: Vec<ReplicaStatus>) -> CoreStatus {
        CoreStatus {
            node: NodeId(node),
            core: CoreId(0),
            uptime_secs: 0,
            log_bytes: 0,
            log_ready_bytes: 0,
            index_bytes: 0,
            overlay_rows: 0,
            segment_waits: 0,
            replicas,
        }
    }

    #[test]
    fn leaders_are_counted_by_node_over_its_cores() {
        let (leads, follows) = (ReplicaRole::Leader, ReplicaRole::Follower);
        let cores = [
            core(1, vec![replica(1, leads, 1, 1), replica(2, follows, 1, 1)]),
            core(1, vec![replica(3, leads, 1, 1)]),
            core(2, vec![replica(2, leads, 1, 1)]),
        ];
        assert_eq!([1, 2, 3].map(|node| shards_led(&cores, NodeId(node))), [2, 1, 0]);
    }

    #[test]
    fn a_node_has_caught_up_when_it_has_applied_what_any_replica_knew_to_be_committed() {
        let follows = ReplicaRole::Follower;
        let committed = highest_commits(&[
            core(1, vec![replica(1, follows, 5, 5), replica(2, follows, 9, 9)]),
            core(2, vec![replica(1, follows, 7, 2)]),
        ]);
        assert_eq!(committed, BTreeMap::from([(ShardId(1), LogIndex(7)), (ShardId(2), LogIndex(9))]));
        let caught_up = |one, two| {
            let cores = [core(3, vec![replica(1, follows, 9, one), replica(2, follows, 9, two)])];
            has_applied(&cores, NodeId(3), &committed)
        };
        assert!(caught_up(7, 9) && caught_up(8, 10));
        assert!(!caught_up(6, 9) && !caught_up(7, 8));
        assert!(!has_applied(&[], NodeId(3), &committed));
    }

    #[test]
    fn a_process_is_known_by_its_command_line() {
        let process = |command: Vec<String>| NodeProcess {
            node: NodeId(1),
            pid: std::process::id(),
            command,
            ours: None,
        };
        // Some runners pass the test's name, some pass nothing.
        let own: Vec<String> = std::env::args().collect();
        assert!(runs(&process(own.clone())));
        assert!(runs(&process(own[..1].to_vec())));
        assert!(!runs(&process([own, vec!["more".to_owned()]].concat())));
    }
}
