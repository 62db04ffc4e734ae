//! The nodes under test: who leads, killing them, starting them again.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use margate_client::Client;
use margate_net::ids::{NodeId, ShardId};
use rustix::process::Signal;

use super::cores::{answers, has_applied, highest_commits, shards_led};
use super::power::Power;
use crate::child::{Child, signal};
use crate::error::PerfError;
use crate::margate::dev::{Dev, DevNode, DevOptions, every_shard_led, wait_until, wait_until_polling};
use crate::margate::target::config;

/// Time for a killed process to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How often we look whether it is: outages are counted from then.
const GONE_POLL: Duration = Duration::from_millis(1);
/// Time for nodes that were started again to replay and have leaders, and again to catch up.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// A deployment whose nodes can be killed.
pub(crate) struct Nodes {
    nodes: Vec<NodeProcess>,
    power: Option<Power>,
    /// Their parent, until it is killed with them.
    dev: Option<Dev>,
    talk: PathBuf,
}

struct NodeProcess {
    node: NodeId,
    pid: u32,
    endpoint: SocketAddr,
    folder: PathBuf,
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

/// Nodes that were killed.
#[derive(Clone, Debug)]
pub(crate) struct Killed {
    positions: Vec<usize>,
    /// When the first signal was sent.
    pub(crate) at: Instant,
}

impl Nodes {
    /// Starts a new deployment. Where power can be cut, it is made, stopped, put on its disks and started again.
    ///
    /// # Errors
    /// See [`Dev::start`], [`Power::mount`]; the deployment does not come back.
    pub(crate) async fn start(options: DevOptions, cut_with: Option<PathBuf>) -> Result<Self, PerfError> {
        let data = options.data.clone();
        let dev = Dev::start(options).await?;
        let talk = dev.talk();
        let nodes = dev.nodes().iter().map(|node| NodeProcess::of(node, &data)).collect();
        let power = cut_with.map(|program| Power::new(program, &talk));
        let mut nodes = Self {
            nodes,
            power,
            dev: Some(dev),
            talk,
        };
        if nodes.power.is_some() {
            nodes.move_to_disks().await?;
        }
        Ok(nodes)
    }

    async fn move_to_disks(&mut self) -> Result<(), PerfError> {
        let client = Client::connect(config(&self.endpoints())).await?;
        self.dev = None;
        let everyone = Killed {
            positions: (0..self.nodes.len()).collect(),
            at: Instant::now(),
        };
        let missing = self.start_again(everyone, &client).await?;
        client.close().await;
        missing.first().map_or(Ok(()), |node| Err(self.gone(node.0)))
    }

    /// Where clients connect.
    pub(crate) fn endpoints(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|process| process.endpoint).collect()
    }

    /// The file of what they say.
    pub(crate) fn talk(&self) -> &Path {
        &self.talk
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

    /// Kills a node, its power first where that can be cut; returns when its process is gone.
    ///
    /// # Errors
    /// It has ended by itself, or the power was not cut.
    pub(crate) async fn kill(&self, leader: &Leader) -> Result<Killed, PerfError> {
        self.end(vec![leader.position]).await
    }

    /// Kills all nodes at once, and `margate dev` if it still runs; their power first where that can be cut.
    ///
    /// # Errors
    /// A node has ended by itself, or the power was not cut.
    pub(crate) async fn kill_all(&mut self) -> Result<Killed, PerfError> {
        let killed = self.end((0..self.nodes.len()).collect()).await?;
        if let Some(dev) = self.dev.take() {
            signal(dev.pid(), Signal::KILL);
        }
        Ok(killed)
    }

    async fn end(&self, positions: Vec<usize>) -> Result<Killed, PerfError> {
        let doomed = || positions.iter().map(|position| &self.nodes[*position]);
        doomed().try_for_each(|process| self.check(process))?;
        if let Some(power) = &self.power {
            power.cut(self.folders(&positions)).await?;
        }
        let at = Instant::now();
        doomed().for_each(|process| signal(process.pid, Signal::KILL));
        let gone = || async { !doomed().any(runs) };
        wait_until_polling(GONE_POLL, GONE_WITHIN, "a killed node to be gone", &self.talk, gone).await?;
        Ok(Killed { positions, at })
    }

    /// Starts killed nodes as they were started first, and waits until every shard has a leader and each of them has
    /// applied what was committed then. The nodes that did not come so far are what is returned.
    ///
    /// # Errors
    /// A program cannot be started, or the deployment does not work although each of these nodes does.
    pub(crate) async fn start_again(&mut self, killed: Killed, client: &Client) -> Result<Vec<NodeId>, PerfError> {
        if let Some(power) = &self.power {
            power.mount(self.folders(&killed.positions)).await?;
        }
        for position in &killed.positions {
            self.nodes[*position].spawn(&self.talk)?;
        }
        self.wait_until_back(&killed.positions, client).await
    }

    async fn wait_until_back(&self, positions: &[usize], client: &Client) -> Result<Vec<NodeId>, PerfError> {
        let started = || positions.iter().map(|position| &self.nodes[*position]);
        let ended = || !started().all(runs);
        let led = || async { ended() || every_shard_led(client).await };
        let led = wait_until(BACK_WITHIN, "a leader of every shard", &self.talk, led).await;
        let committed = highest_commits(&answers(client).await);
        let behind = || async {
            let cores = answers(client).await;
            let behind = started().filter(|process| !runs(process) || !has_applied(&cores, process.node, &committed));
            behind.map(|process| process.node).collect::<Vec<_>>()
        };
        let caught_up = || async { ended() || behind().await.is_empty() };
        let caught_up = wait_until(BACK_WITHIN, "restarted nodes to catch up", &self.talk, caught_up).await;
        match behind().await {
            behind if behind.is_empty() => led.and(caught_up).map(|()| behind),
            behind => Ok(behind),
        }
    }

    /// An error if a node has ended that nobody killed.
    ///
    /// # Errors
    /// [`PerfError::NodeGone`].
    pub(crate) fn check_all(&self) -> Result<(), PerfError> {
        self.nodes.iter().try_for_each(|process| self.check(process))
    }

    fn check(&self, process: &NodeProcess) -> Result<(), PerfError> {
        if runs(process) { Ok(()) } else { Err(self.gone(process.node.0)) }
    }

    /// The error of a node that is not there, or not with all it should have.
    pub(crate) fn gone(&self, node: u64) -> PerfError {
        let process = self.nodes.iter().find(|process| process.node.0 == node);
        PerfError::NodeGone {
            node,
            pid: process.map_or(0, |process| process.pid),
            talk: self.talk.clone(),
        }
    }

    fn folders(&self, positions: &[usize]) -> Vec<PathBuf> {
        positions.iter().map(|position| self.nodes[*position].folder.clone()).collect()
    }
}

impl NodeProcess {
    fn of(node: &DevNode, data: &Path) -> Self {
        Self {
            node: NodeId(node.node),
            pid: node.pid,
            endpoint: node.endpoint,
            folder: data.join(format!("node-{}", node.node)),
            command: node.command.clone(),
            ours: None,
        }
    }

    fn spawn(&mut self, talk: &Path) -> Result<(), PerfError> {
        let mut words = self.command.iter().map(String::as_str);
        let program = words.next().unwrap_or_default();
        let child = Child::spawn(Command::new(program).args(words), talk).map_err(|source| PerfError::Start {
            program: program.to_owned(),
            source,
            advice: "dev.json names it; is the build still there?",
        })?;
        self.pid = child.pid();
        self.ours = Some(child);
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_command_line() {
        let process = |command: Vec<String>| NodeProcess {
            node: NodeId(1),
            pid: std::process::id(),
            endpoint: SocketAddr::from(([127, 0, 0, 1], 1)),
            folder: PathBuf::new(),
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
