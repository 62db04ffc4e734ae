//! The nodes under test: who leads, killing them, starting them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use margate_client::Client;
use margate_net::ids::{LogIndex, NodeId, ShardId};
use margate_net::message::{CoreStatus, ReplicaRole};
use rustix::process::Signal;

use crate::child::{Child, signal};
use crate::error::PerfError;
use crate::margate::dev::{Dev, DevNode, DevOptions, wait_until, wait_until_polling};

/// Time for a killed process to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How often we look whether it is: outages are counted from then.
const GONE_POLL: Duration = Duration::from_millis(1);
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

/// A node that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    position: usize,
    /// Which one.
    pub(crate) node: NodeId,
    /// What it leads, in order; at least one.
    pub(crate) shards: Vec<ShardId>,
}

/// A node that was killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Killed {
    position: usize,
    /// Which one.
    pub(crate) node: NodeId,
    /// When the signal was sent.
    pub(crate) at: Instant,
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

    /// The file of what they say.
    pub(crate) fn talk(&self) -> PathBuf {
        self.talk.clone()
    }

    /// The node that leads most shards.
    ///
    /// # Errors
    /// Nobody leads.
    pub(crate) async fn leader(&self, client: &Client) -> Result<Leader, PerfError> {
        let cores = answers(client).await;
        let leads = self.nodes.iter().enumerate().map(|(position, process)| Leader {
            position,
            node: process.node,
            shards: shards_led(&cores, process.node),
        });
        let most = leads.max_by_key(|leader| leader.shards.len());
        most.filter(|leader| !leader.shards.is_empty()).ok_or(PerfError::NoLeader)
    }

    /// Kills a node; returns when its process is gone.
    ///
    /// # Errors
    /// It has ended by itself.
    pub(crate) async fn kill(&self, leader: &Leader) -> Result<Killed, PerfError> {
        let process = &self.nodes[leader.position];
        self.check(process)?;
        let at = Instant::now();
        signal(process.pid, Signal::KILL);
        self.wait_until_gone(process).await?;
        Ok(Killed {
            position: leader.position,
            node: leader.node,
            at,
        })
    }

    /// Starts a killed node as it was started first, and waits until it has applied what was committed when
    /// it came back.
    ///
    /// # Errors
    /// It does not start or does not catch up.
    pub(crate) async fn start_again(&mut self, killed: Killed, client: &Client) -> Result<(), PerfError> {
        let process = &mut self.nodes[killed.position];
        let mut words = process.command.iter().map(String::as_str);
        let program = words.next().unwrap_or_default();
        let child = Child::spawn(Command::new(program).args(words), &self.talk).map_err(|source| PerfError::Start {
            program: program.to_owned(),
            source,
            advice: "dev.json names it; is the build still there?",
        })?;
        process.pid = child.pid();
        process.ours = Some(child);
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
        if let Some(dev) = &self.dev {
            signal(dev.pid(), Signal::KILL);
        }
        for process in &self.nodes {
            self.wait_until_gone(process).await?;
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

    async fn wait_until_gone(&self, process: &NodeProcess) -> Result<(), PerfError> {
        let gone = || async { !runs(process) };
        wait_until_polling(GONE_POLL, GONE_WITHIN, "a killed node to be gone", &self.talk, gone).await
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

/// The shards a node leads, in order.
fn shards_led(cores: &[CoreStatus], node: NodeId) -> Vec<ShardId> {
    let replicas = cores.iter().filter(|core| core.node == node).flat_map(|core| &core.replicas);
    let leads = replicas.filter(|replica| replica.role == ReplicaRole::Leader);
    leads.map(|replica| replica.shard).collect::<BTreeSet<_>>().into_iter().collect()
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
    fn what_a_node_leads_is_gathered_over_its_cores() {
        let (leads, follows) = (ReplicaRole::Leader, ReplicaRole::Follower);
        let cores = [
            core(1, vec![replica(1, leads, 1, 1), replica(2, follows, 1, 1)]),
            core(1, vec![replica(3, leads, 1, 1)]),
            core(2, vec![replica(2, leads, 1, 1)]),
        ];
        let led = |node| shards_led(&cores, NodeId(node));
        assert_eq!((led(1), led(2), led(3)), (vec![ShardId(1), ShardId(3)], vec![ShardId(2)], vec![]));
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
