//! The nodes under test: who leads, killing them, starting them again, holding them up.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use margate_client::Client;
use margate_net::ids::{NodeId, ShardId};
use rustix::process::Signal;

use super::behind::Behind;
use super::cores::{answers, has_applied, highest_commits, shards_led};
use super::dev::{Dev, DevOptions, every_shard_led, talk_of, wait_for_leaders, wait_until, wait_until_polling};
use super::power::Power;
use super::process::NodeProcess;
use super::target::config;
use crate::child::signal;
use crate::error::PerfError;

/// Time for a process to be gone: one that stops in good order may be in a commit of a large index.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// How often we look whether it is: outages are counted from then.
const GONE_POLL: Duration = Duration::from_millis(1);
/// Time for nodes that were started again to replay and have leaders, and again to catch up.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// A deployment whose nodes can be killed.
pub(crate) struct Nodes {
    nodes: Vec<NodeProcess>,
    power: Option<Power>,
    /// Their parent, where `margate dev` has started them, until it is killed with them.
    dev: Option<Dev>,
    talk: PathBuf,
}

/// A node to do something to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    position: usize,
    /// Which one.
    pub(crate) node: NodeId,
    /// What it said it leads, in order; nothing where it was not asked.
    pub(crate) leads: Vec<ShardId>,
}

/// Nodes that were killed.
#[derive(Clone, Debug)]
pub(crate) struct Killed {
    positions: Vec<usize>,
    /// When the first signal was sent.
    pub(crate) at: Instant,
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

    /// Starts a new deployment whose nodes are reached elsewhere than they listen, and waits until every shard has a
    /// leader.
    ///
    /// # Errors
    /// The program is not there, ends, or is not ready in time.
    pub(crate) async fn start_behind(behind: &Behind<'_>) -> Result<Self, PerfError> {
        let mut nodes = Self {
            nodes: Vec::new(),
            power: None,
            dev: None,
            talk: talk_of(behind.data),
        };
        for ((listens, reached), id) in behind.listens.iter().zip(behind.reached).zip(1..) {
            let process = NodeProcess::start_behind(behind, id, *listens, *reached, &nodes.talk)?;
            nodes.nodes.push(process);
        }
        wait_for_leaders(&nodes.endpoints(), &nodes.talk, || nodes.check_all()).await?;
        Ok(nodes)
    }

    async fn move_to_disks(&mut self) -> Result<(), PerfError> {
        let client = Client::connect(config(&self.endpoints())).await?;
        self.dev = None;
        let everyone = Killed {
            positions: (0..self.nodes.len()).collect(),
            at: Instant::now(),
        };
        self.start_again(everyone, &client).await?;
        client.close().await;
        Ok(())
    }

    /// Where clients connect.
    pub(crate) fn endpoints(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|process| process.endpoint).collect()
    }

    /// Their processes.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().map(|process| process.pid)
    }

    /// The folders of all their cores' logs.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        let data = self
            .nodes
            .iter()
            .filter_map(|process| fs::read_dir(process.folder.join("data")).ok());
        let logs = data.flatten().flatten().map(|entry| entry.path().join("log"));
        logs.filter(|log| log.is_dir()).collect()
    }

    /// The file of what they say.
    pub(crate) fn talk(&self) -> &Path {
        &self.talk
    }

    /// The node that leads most shards.
    ///
    /// # Errors
    /// Nobody leads.
    pub(crate) async fn leader(&self, client: &Client) -> Result<Chosen, PerfError> {
        let cores = answers(client).await;
        let all = self.nodes.iter().enumerate().map(|(position, process)| Chosen {
            position,
            node: process.node,
            leads: shards_led(&cores, process.node),
        });
        let most = all.max_by_key(|chosen| chosen.leads.len());
        most.filter(|chosen| !chosen.leads.is_empty()).ok_or(PerfError::NoLeader)
    }

    /// One of the nodes, counted round, whatever it leads.
    pub(crate) fn choose(&self, position: usize) -> Chosen {
        let position = position % self.nodes.len();
        Chosen {
            position,
            node: self.nodes[position].node,
            leads: Vec::new(),
        }
    }

    /// Kills a node, its power first where that can be cut; returns when its process is gone.
    ///
    /// # Errors
    /// It has ended by itself, or the power was not cut.
    pub(crate) async fn kill(&self, chosen: &Chosen) -> Result<Killed, PerfError> {
        self.end(vec![chosen.position]).await
    }

    /// Stops a node's process until what this returns is dropped.
    ///
    /// # Errors
    /// It has ended by itself.
    pub(crate) fn pause(&self, chosen: &Chosen) -> Result<Paused, PerfError> {
        let process = &self.nodes[chosen.position];
        self.check(process)?;
        signal(process.pid, Signal::STOP);
        Ok(Paused { pid: process.pid })
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

    /// Asks a node to stop in good order; returns when its process is gone.
    ///
    /// # Errors
    /// It has ended by itself, or takes too long.
    pub(crate) async fn stop(&self, chosen: &Chosen) -> Result<Killed, PerfError> {
        self.send(vec![chosen.position], Signal::TERM).await
    }

    async fn end(&self, positions: Vec<usize>) -> Result<Killed, PerfError> {
        let doomed = || positions.iter().map(|position| &self.nodes[*position]);
        doomed().try_for_each(|process| self.check(process))?;
        if let Some(power) = &self.power {
            power.cut(self.folders(&positions)).await?;
        }
        self.send(positions, Signal::KILL).await
    }

    /// Sends nodes a signal that ends them, and waits until they are gone.
    async fn send(&self, positions: Vec<usize>, end: Signal) -> Result<Killed, PerfError> {
        let doomed = || positions.iter().map(|position| &self.nodes[*position]);
        doomed().try_for_each(|process| self.check(process))?;
        let at = Instant::now();
        doomed().for_each(|process| signal(process.pid, end));
        let gone = || async { !doomed().any(NodeProcess::runs) };
        wait_until_polling(GONE_POLL, GONE_WITHIN, "a node that was ended to be gone", &self.talk, gone).await?;
        Ok(Killed { positions, at })
    }

    /// Starts killed nodes as they were started first, and waits until every shard has a leader and each of them has
    /// applied what was committed then.
    ///
    /// # Errors
    /// A program cannot be started, a node does not come so far, or the deployment does not work.
    pub(crate) async fn start_again(&mut self, killed: Killed, client: &Client) -> Result<(), PerfError> {
        let missing = self.try_start_again(killed, client).await?;
        missing.first().map_or(Ok(()), |node| Err(self.gone(*node)))
    }

    /// The same for those who count nodes that do not come so far: these are what is returned.
    ///
    /// # Errors
    /// A program cannot be started, or the deployment does not work although each of these nodes does.
    pub(crate) async fn try_start_again(&mut self, killed: Killed, client: &Client) -> Result<Vec<NodeId>, PerfError> {
        self.begin_again(&killed).await?;
        self.wait_until_back(&killed.positions, client).await
    }

    /// The same for those who wait themselves.
    ///
    /// # Errors
    /// A program cannot be started.
    pub(crate) async fn begin_again(&mut self, killed: &Killed) -> Result<(), PerfError> {
        if let Some(power) = &self.power {
            power.mount(self.folders(&killed.positions)).await?;
        }
        for position in &killed.positions {
            self.nodes[*position].start_again(&self.talk)?;
        }
        Ok(())
    }

    async fn wait_until_back(&self, positions: &[usize], client: &Client) -> Result<Vec<NodeId>, PerfError> {
        let started = || positions.iter().map(|position| &self.nodes[*position]);
        let ended = || !started().all(NodeProcess::runs);
        let led = || async { ended() || every_shard_led(client).await };
        let led = wait_until(BACK_WITHIN, "a leader of every shard", &self.talk, led).await;
        let committed = highest_commits(&answers(client).await);
        // Asked once more, a node may not answer although it has: links may be at fault meanwhile.
        let behind = RefCell::new(Vec::new());
        let caught_up = || async {
            let cores = answers(client).await;
            let late = started().filter(|process| !process.runs() || !has_applied(&cores, process.node, &committed));
            *behind.borrow_mut() = late.map(|process| process.node).collect();
            ended() || behind.borrow().is_empty()
        };
        let caught_up = wait_until(BACK_WITHIN, "restarted nodes to catch up", &self.talk, caught_up).await;
        match behind.into_inner() {
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
        if process.runs() { Ok(()) } else { Err(self.gone(process.node)) }
    }

    /// The error of a node that is not there, or not with all it should have.
    fn gone(&self, node: NodeId) -> PerfError {
        let process = self.nodes.iter().find(|process| process.node == node);
        PerfError::NodeGone {
            node: node.0,
            pid: process.map_or(0, |process| process.pid),
            talk: self.talk.clone(),
        }
    }

    fn folders(&self, positions: &[usize]) -> Vec<PathBuf> {
        positions.iter().map(|position| self.nodes[*position].folder.clone()).collect()
    }
}

impl Drop for Nodes {
    /// All are asked to stop at once: the last one left would wait in vain for somebody to hand its shards to.
    fn drop(&mut self) {
        self.nodes.iter().for_each(NodeProcess::ask_to_stop);
    }
}
