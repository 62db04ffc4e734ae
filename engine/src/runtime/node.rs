//! A node's life: checks, data directory, bootstrap, cores, stop.
//!
//! ```text
//!   preflight ─► directory ─► bootstrap ─► first batches (once) ─► a thread per core ─► stop or failure
//! ```
//! A core that fails takes the node with it: what it holds in memory may no longer be believed, and its peers
//! go on without it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use margate_net::handshake::{Hello, Identity as Greeting, Role};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, Incarnation, MapEpoch, NodeId};
use margate_net::map::{Map, MapNode};
use margate_net::message::StatusDetail;
use margate_net::runtime::error::BindError;
use margate_net::runtime::executor::{Executor, spawn_local};
use rand::{Rng, RngExt};

use super::bootstrap::become_member;
use super::clock;
use super::core_loop::{self, CoreFailure, Hands, Shared};
use super::directory::{DataDirectory, DirectoryError};
use super::disk::LogDisk;
use super::index_reader::HeedReader;
use super::index_store::HeedIndex;
use super::index_thread::IndexThread;
use super::index_trials::IndexTrial;
use super::index_verdict::judge;
use super::links::{self, Lane, Link};
use super::panics;
use super::planted_writes;
use super::preflight::{self, PreflightError};
use super::probation::{OnTrial, Probation, Witness};
use super::pulse::Pulse;
use super::segments::{self, Pace, Prewriter, SegmentFiles};
use super::server::{self, Clients, Server};
use super::suspects::{SuspectTrial, Suspects};
use super::until_stop::{UntilStop, is_stopped_replay};
use super::vigil::Vigil;
use super::watch::NodeWatch;
use crate::bootstrap::identity::{Creation, Identity, Membership};
use crate::bootstrap::machine::BootstrapError;
use crate::config::NodeConfig;
use crate::consensus::group::RaftTicks;
use crate::core::creation::{checkpoints, creation_flushes};
use crate::core::event::{Event, PeerName};
use crate::core::generations::CommitPace;
use crate::core::machine::Core;
use crate::core::replay::{CoreConfig, ReplayError, replay};
use crate::core::room::DiskLimits;
use crate::index::error::IndexError;
use crate::index::marks;
use crate::limits::RECLAIM_SPARE_BYTES;
use crate::log::limits::READY_SEGMENTS;
use crate::log::scan::ReadSegments;
use crate::log::segment::LogConfig;
use crate::planted::Planted;
use crate::types::{Nanos, ReplicaName};

/// How long a graceful stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why a node did not start, or stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// This machine cannot run it.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// The configuration does not name this node.
    #[error("node {0} is not in the list of nodes; add it there")]
    NotListed(NodeId),
    /// Its data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot become a member of a deployment.
    #[error(transparent)]
    Bootstrap(BootstrapError),
    /// Its address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An executor could not be made.
    #[error("the executor of core {core} could not be made: {source}; `margate check` says what this machine lacks")]
    Executor {
        /// The core.
        core: CoreId,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A core's log could not be prepared.
    #[error("the log of core {core} cannot be prepared: {source}; the data directory must be on a local file system that takes direct I/O")]
    Log {
        /// The core.
        core: CoreId,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The data directory's segments have another size than configured.
    #[error("the log of core {core} has segments of {found} bytes and {configured} are configured; start with segment_size = {found}")]
    SegmentSize {
        /// The core.
        core: CoreId,
        /// Bytes its segments were made with.
        found: u32,
        /// Bytes configured.
        configured: u32,
    },
    /// A core's index could not be opened.
    #[error("the index of core {core} cannot be used: {source}")]
    Index {
        /// The core.
        core: CoreId,
        /// Why.
        #[source]
        source: IndexError,
    },
    /// The count of starts that an index has failed could not be read or written.
    #[error("the failed starts of core {core}'s index cannot be counted: {source}; check the data directory's disk and permissions")]
    IndexTrials {
        /// The core.
        core: CoreId,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be read which of a core's replicas raft panicked over.
    #[error("the file SUSPECT of core {core} cannot be used: {source}; check the data directory's disk and permissions")]
    Suspects {
        /// The core.
        core: CoreId,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A core could not be started from its data.
    #[error("core {core} cannot start: {source}")]
    Replay {
        /// The core.
        core: CoreId,
        /// Why.
        #[source]
        source: ReplayError,
    },
    /// A core could not go on.
    #[error("core {core}: {source}")]
    Core {
        /// The core.
        core: CoreId,
        /// Why.
        #[source]
        source: CoreFailure,
    },
    /// The system has no thread left.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] io::Error),
    /// A thread of the node panicked; its message is on stderr.
    #[error("a thread of the node panicked")]
    Panicked,
}

/// Tells a node to stop; may be cloned and sent.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<StopState>);

#[derive(Debug, Default)]
struct StopState {
    requested: AtomicBool,
    cores: Mutex<Vec<flume::Sender<()>>>,
}

impl StopHandle {
    /// Stops gracefully: takes no more operations, hands leadership over. Again does nothing.
    pub fn stop(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        // A sender whose core is gone already has nobody to tell.
        let cores = self.0.cores.lock().unwrap_or_else(PoisonError::into_inner);
        for core in cores.iter() {
            let _ = core.try_send(());
        }
    }

    /// Whether a stop was asked for.
    pub(super) fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    fn listen(&self) -> flume::Receiver<()> {
        let (sender, receiver) = flume::bounded(1);
        self.0.cores.lock().unwrap_or_else(PoisonError::into_inner).push(sender.clone());
        if self.is_requested() {
            let _ = sender.try_send(());
        }
        receiver
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    stop: StopHandle,
    watch: NodeWatch,
    life: JoinHandle<Result<(), NodeError>>,
}

/// What every part of a start needs.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) config: NodeConfig,
    pub(super) stop: StopHandle,
    watch: NodeWatch,
    incarnation: Incarnation,
    started: Nanos,
}

impl Node {
    /// Checks the machine and the data directory, then starts the node's threads.
    ///
    /// # Errors
    /// [`NodeError`]: nothing was started. What fails later comes from [`Node::wait`].
    pub fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let own = config
            .nodes
            .iter()
            .find(|node| node.id == config.node)
            .ok_or(NodeError::NotListed(config.node))?;
        preflight::check(own.cores.len())?;
        preflight::check_storage(&config.data, config.volatile)?;
        preflight::check_addresses(listens(&config, own), config.insecure)?;
        if planted_writes::PLANTED {
            tracing::error!("{}", planted_writes::WARNING);
        }
        let (directory, identity) = DataDirectory::open(&config.data, config.node, DirectoryId(rand::rng().random()))?;
        panics::install();
        let stop = StopHandle::default();
        let watch = NodeWatch::new(config.node, own.cores.len(), stop.clone());
        let incarnation = Incarnation(rand::rng().next_u64());
        let start = Start {
            config,
            stop: stop.clone(),
            watch: watch.clone(),
            incarnation,
            started: clock::monotonic(),
        };
        let life = thread::Builder::new()
            .name("mgt-node".to_owned())
            .spawn(move || live(&start, &directory, identity));
        Ok(Self {
            stop,
            watch,
            life: life.map_err(NodeError::Thread)?,
        })
    }

    /// For whoever shall stop it.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// For whoever wants to know how it is.
    #[must_use]
    pub fn watch(&self) -> NodeWatch {
        self.watch.clone()
    }

    /// Waits until it has stopped.
    ///
    /// # Errors
    /// [`NodeError`]: it could not start or could not go on.
    pub fn wait(self) -> Result<(), NodeError> {
        self.life.join().unwrap_or(Err(NodeError::Panicked))
    }
}

impl Start {
    /// How long a core may hear nobody before that is told; zero for ever.
    pub(super) fn stall(&self) -> Duration {
        Duration::from_millis(u64::from(self.config.stall_ms))
    }

    /// Where a core listens.
    pub(super) fn address(&self, core: CoreId) -> Result<SocketAddr, NodeError> {
        let listens = listens(&self.config, self.own()?);
        let own = listens.get(usize::from(core.0)).copied();
        own.ok_or(NodeError::NotListed(self.config.node))
    }

    pub(super) fn greeting(&self, core: CoreId, cluster: ClusterId, map_epoch: MapEpoch) -> Greeting {
        let (tick_ms, election_ticks) = (self.config.tick_ms, self.config.election_ticks);
        Greeting {
            cluster,
            node: self.config.node,
            core,
            incarnation: self.incarnation,
            map_epoch,
            tick_ms,
            election_ticks,
        }
    }

    pub(super) fn hello(&self, role: Role, of: (ClusterId, DirectoryId), core: CoreId, to: (NodeId, CoreId)) -> Hello {
        Hello {
            role,
            cluster: of.0,
            node: self.config.node,
            core,
            to_node: to.0,
            to_core: to.1,
            directory: of.1,
            incarnation: self.incarnation,
            tick_ms: self.config.tick_ms,
            election_ticks: self.config.election_ticks,
        }
    }

    fn own(&self) -> Result<&MapNode, NodeError> {
        self.config
            .nodes
            .iter()
            .find(|node| node.id == self.config.node)
            .ok_or(NodeError::NotListed(self.config.node))
    }

    fn cores(&self) -> Result<impl Iterator<Item = CoreId> + use<>, NodeError> {
        let count = u16::try_from(self.own()?.cores.len()).unwrap_or(u16::MAX);
        Ok((0..count).map(CoreId))
    }

    fn disk_limits(&self) -> Result<DiskLimits, NodeError> {
        let (segment_bytes, cores) = (self.config.segment_bytes, self.own()?.cores.len());
        let usual = DiskLimits::usual_reserve(segment_bytes, cores);
        let limits = DiskLimits::new(self.config.reserve_bytes.unwrap_or(usual), segment_bytes, cores);
        Ok(limits.sparing(RECLAIM_SPARE_BYTES))
    }

    fn log_config(&self, identity: &Identity, cluster: ClusterId, core: CoreId) -> LogConfig {
        LogConfig {
            cluster,
            directory: identity.directory,
            node: self.config.node,
            core,
            segment_bytes: self.config.segment_bytes,
            ready_min: READY_SEGMENTS,
        }
    }
}

/// Where a node's cores listen: where they are reached, unless it is told otherwise.
fn listens<'a>(config: &'a NodeConfig, own: &'a MapNode) -> &'a [SocketAddr] {
    if config.listen.is_empty() { &own.cores } else { &config.listen }
}

fn live(start: &Start, directory: &DataDirectory, identity: Identity) -> Result<(), NodeError> {
    let Some(identity) = become_member(start, directory, identity, ClusterId(rand::rng().random()))? else {
        return Ok(());
    };
    let Some((identity, creation)) = create_cores(start, directory, identity)? else {
        return Ok(());
    };
    tracing::info!(cluster = %creation.cluster(), directory = %identity.directory, "member of a deployment");
    start.watch.joined();
    let mut threads = Vec::new();
    for core in start.cores()? {
        let parts = CoreStart {
            start: start.clone(),
            core,
            log: directory.log(core),
            index: directory.index(core),
            suspects: directory.suspects(core),
            log_config: start.log_config(&identity, creation.cluster(), core),
            identity: identity.clone(),
            map: creation.map.clone(),
        };
        let thread = thread::Builder::new()
            .name(format!("mgt-core-{core}"))
            .spawn(move || parts.run_and_stop_others());
        threads.push(thread.map_err(NodeError::Thread)?);
    }
    let results = threads.into_iter().map(|thread| thread.join().unwrap_or(Err(NodeError::Panicked)));
    // Every thread is waited for; the first failure is the one that stopped the others.
    results.collect::<Vec<_>>().into_iter().collect()
}

/// Writes the first batch of every core, once in the life of a data directory, before anything votes.
fn create_cores(start: &Start, directory: &DataDirectory, mut identity: Identity) -> Result<Option<(Identity, Creation)>, NodeError> {
    let creation = match &identity.membership {
        Membership::Member {
            creation,
            cores_created: true,
            ..
        } => return Ok(Some((identity.clone(), creation.clone()))),
        Membership::Member {
            creation,
            cores_created: false,
            joined,
        } => (creation.clone(), *joined),
        Membership::Empty | Membership::Creating(_) => return Ok(None),
    };
    let (creation, joined) = creation;
    for core in start.cores()? {
        directory.make_core(core)?;
        let config = start.log_config(&identity, creation.cluster(), core);
        // Who joins gets its replicas from the leaders that admit it.
        let map = (!joined).then_some(&creation.map);
        create_log(&directory.log(core), config, map).map_err(|source| NodeError::Log { core, source })?;
    }
    identity.membership = Membership::Member {
        creation: creation.clone(),
        cores_created: true,
        joined,
    };
    directory.store(&identity)?;
    Ok(Some((identity, creation)))
}

/// Makes a core's log in its folder: the first segment, and in it the checkpoints of the replicas a map puts there, if this node makes the deployment. Begins anew where
/// an earlier try was cut short.
///
/// # Errors
/// What the system says.
pub fn create_log(log: &std::path::Path, config: LogConfig, map: Option<&Map>) -> io::Result<()> {
    // An earlier try may have been cut short; nothing has voted on it.
    let mut files = SegmentFiles::list(log)?;
    let old = files.segments();
    files.discard(&old)?;
    let wall = clock::wall();
    let first = segments::prewrite(log, &config, 1, Pace::Full)?;
    let records = map.map_or_else(Vec::new, |map| checkpoints(map, config.node, config.core, wall));
    creation_flushes(config, first, records, wall)
        .iter()
        .try_for_each(|flush| segments::write_first(log, flush))
}

/// What one core's thread starts with.
struct CoreStart {
    start: Start,
    core: CoreId,
    log: std::path::PathBuf,
    index: std::path::PathBuf,
    suspects: std::path::PathBuf,
    log_config: LogConfig,
    identity: Identity,
    map: Map,
}

/// A core that is ready to serve, and its helper threads.
struct Opened {
    core: Core<HeedReader>,
    index: IndexThread,
    prewriter: Prewriter,
    suspects: SuspectTrial,
}

impl CoreStart {
    fn run_and_stop_others(self) -> Result<(), NodeError> {
        let stop = self.start.stop.clone();
        let result = self.run();
        if let Err(error) = &result {
            tracing::error!(%error, "the node stops");
            stop.stop();
        }
        result
    }

    fn run(self) -> Result<(), NodeError> {
        let core = self.core;
        let counting = |source| NodeError::IndexTrials { core, source };
        let mut trial = IndexTrial::begin(&self.index).map_err(counting)?;
        let ended = self.run_on(&mut trial);
        let counted = trial.end(judge(&ended));
        // Why it ended is what counts for the user: an uncounted end is a failed start at worst.
        match ended {
            Err(error) if is_stopped_replay(&error) => counted.map_err(counting),
            ended => ended.and(counted.map_err(counting)),
        }
    }

    fn run_on(self, trial: &mut IndexTrial) -> Result<(), NodeError> {
        let core = self.core;
        panics::watch(self.suspects.clone(), Some(trial.clone()));
        let opened = self.open(trial)?;
        panics::watch(self.suspects.clone(), None);
        let mut suspects = opened.suspects.clone();
        let suspected = suspects.begin(&format!("mgt-susp-{core}"));
        let suspected = suspected.map_err(|source| NodeError::Suspects { core, source })?;
        trial.served().map_err(|source| NodeError::IndexTrials { core, source })?;
        let probation = Probation::begin(trial, &format!("mgt-trial-{core}")).map_err(NodeError::Thread)?;
        let ended = self.execute(opened, probation.witness());
        probation.end(trial);
        if let Some(suspected) = suspected {
            suspected.end(&mut suspects);
            if ended.is_ok() {
                suspects.acquit().map_err(|source| NodeError::Suspects { core, source })?;
            }
        }
        ended
    }

    fn execute(self, opened: Opened, witness: Witness) -> Result<(), NodeError> {
        let core_id = self.core;
        let vigil = Arc::<Vigil>::default();
        let name = format!("mgt-pulse-{core_id}");
        let pulse = Pulse::start(&name, Arc::clone(&vigil), self.start.stall()).map_err(NodeError::Thread)?;
        // The threads above are started before this one is pinned: they would inherit its CPU.
        self.pin();
        let executor = Executor::new().map_err(|source| NodeError::Executor { core: core_id, source })?;
        pulse.run(&executor, self.serve(opened, witness, vigil))
    }

    /// Opens log and index, replays, starts the core's helper threads.
    fn open(&self, trial: &mut IndexTrial) -> Result<Opened, NodeError> {
        let core = self.core;
        let in_log = |source| NodeError::Log { core, source };
        let identity = marks::Identity {
            cluster: self.log_config.cluster,
            directory: self.log_config.directory,
        };
        let mut files = SegmentFiles::list(&self.log).map_err(|source| match source.kind() {
            // The folder was made with the core.
            io::ErrorKind::NotFound => NodeError::Replay {
                core,
                source: ReplayError::LogGone,
            },
            _ => in_log(source),
        })?;
        self.check_segment_size(&files)?;
        let suspects = Suspects::load(&self.suspects).map_err(|source| NodeError::Suspects { core, source })?;
        let index = HeedIndex::open(&self.index, self.start.config.index_map_bytes, identity).map_err(ReplayError::Index);
        let config = CoreConfig {
            joined: matches!(self.identity.membership, Membership::Member { joined: true, .. }),
            log: self.log_config,
            map: self.map.clone(),
            ticks: RaftTicks::of_election(self.start.config.election_ticks),
            tick: Nanos::from_millis(u64::from(self.start.config.tick_ms)),
            commits: CommitPace::USUAL,
            disk: self.start.disk_limits()?,
            suspects: suspects.condemned().into_keys().collect(),
            seed: rand::rng().next_u64(),
            planted: Planted::NONE,
        };
        let replayed = index.and_then(|(reader, mut writer)| {
            let mut watched = trial.watch(&reader, &mut writer)?;
            let mut log = UntilStop::new(&mut files, &self.start.stop);
            Ok((replay(&config, &mut log, reader, &mut watched)?, writer))
        });
        let (replayed, writer) = replayed.map_err(|source| match source {
            ReplayError::Index(source) => NodeError::Index { core, source },
            source @ (ReplayError::Scan(_)
            | ReplayError::Sync(_)
            | ReplayError::IndexStale { .. }
            | ReplayError::LogGone
            | ReplayError::LogLost { .. }
            | ReplayError::EndLost { .. }
            | ReplayError::State { .. }) => NodeError::Replay { core, source },
        })?;
        files.discard(&replayed.found.discard).map_err(in_log)?;
        let found = &replayed.found;
        tracing::info!(
            core = core.0,
            torn_bytes = found.torn_bytes,
            entries_applied = found.entries_applied,
            "log replayed"
        );
        let left_out: BTreeSet<ReplicaName> = replayed.core.suspects().collect();
        self.tell_suspects(&suspects, &left_out);
        let index = IndexThread::start(writer, &format!("mgt-index-{core}")).map_err(NodeError::Thread)?;
        let prewriter = Prewriter::start(self.log.clone(), self.log_config, &format!("mgt-segm-{core}")).map_err(NodeError::Thread)?;
        Ok(Opened {
            core: replayed.core,
            index,
            prewriter,
            suspects: SuspectTrial::new(self.suspects.clone(), left_out),
        })
    }

    fn tell_suspects(&self, suspects: &Suspects, left_out: &BTreeSet<ReplicaName>) {
        let condemned = suspects.condemned();
        for (name, panic) in condemned.iter().filter(|(name, _)| left_out.contains(name)) {
            tracing::error!(
                %name,
                panic,
                file = %self.suspects.display(),
                "raft panicked again and again over this replica: it is suspect and not started, the core's others are. Its log is kept \
                 for another try, so this core's log only grows. Delete the file and start the node again to try; or delete the node's \
                 data directory, and the node joins anew"
            );
        }
    }

    fn check_segment_size(&self, files: &SegmentFiles) -> Result<(), NodeError> {
        let configured = self.log_config.segment_bytes;
        // A log without a header is the scan's to judge.
        match files.made_with().filter(|found| *found != configured) {
            Some(found) => Err(NodeError::SegmentSize {
                core: self.core,
                found,
                configured,
            }),
            None => Ok(()),
        }
    }

    /// Keeps this thread on the CPU of its core's number, if that is wanted and there is one.
    fn pin(&self) {
        let cpus = core_affinity::get_core_ids().unwrap_or_default();
        let cpu = cpus.get(usize::from(self.core.0)).filter(|_| self.start.config.pin);
        if cpu.is_some_and(|cpu| !core_affinity::set_for_current(*cpu)) {
            tracing::warn!(core = self.core.0, "the core's thread could not be pinned; it runs on any CPU");
        }
    }

    async fn serve(self, opened: Opened, witness: Witness, vigil: Arc<Vigil>) -> Result<(), NodeError> {
        let listener = server::listen(self.start.address(self.core)?).await?;
        let shared = Shared::new();
        // Before anything is written: later measurements come from the thread that makes segments.
        let bytes = segments::free_bytes(&self.log).map_err(|source| NodeError::Log { core: self.core, source })?;
        shared.push(Event::DiskFree { bytes });
        let core = Rc::new(RefCell::new(opened.core));
        let clients = Rc::new(Clients::default());
        let links = self.links(&shared);
        let server = Server {
            shared: Rc::clone(&shared),
            core: Rc::clone(&core),
            clients: Rc::clone(&clients),
            links: links.clone(),
            greeting: self.start.greeting(self.core, self.map.cluster(), self.map.epoch()),
            map: self.map.clone(),
            identity: self.identity.clone(),
            started: self.start.started,
        };
        let server = Rc::new(server);
        spawn_local(server::accept(listener, Rc::clone(&server))).detach();
        let asked = self.start.watch.attach(self.core, Arc::clone(&vigil));
        spawn_local(async move {
            while let Ok(ask) = asked.recv_async().await {
                ask.answer(server.status(StatusDetail::Measures));
            }
        })
        .detach();
        let (stop, stopping) = (self.start.stop.listen(), Rc::clone(&shared));
        spawn_local(async move {
            if stop.recv_async().await.is_ok() {
                stopping.stop();
            }
        })
        .detach();
        tracing::info!(core = self.core.0, address = %self.start.address(self.core)?, "serving");
        let hands = Hands {
            shared,
            disk: Rc::new(LogDisk::new(self.log.clone())),
            index: opened.index,
            witness,
            prewriter: opened.prewriter,
            clients,
            links,
            vigil,
            stall: Nanos::from_millis(u64::from(self.start.config.stall_ms)),
        };
        let tick = Duration::from_millis(u64::from(self.start.config.tick_ms));
        let run = core_loop::run(core, hands, tick, STOP_WITHIN).await;
        run.map_err(|source| NodeError::Core { core: self.core, source })
    }

    fn links(&self, shared: &Rc<Shared>) -> std::collections::BTreeMap<(PeerName, Lane), Rc<Link>> {
        let here = (self.start.config.node, self.core);
        let of = (self.map.cluster(), self.identity.directory);
        peers_of(&self.map, here)
            .into_iter()
            .flat_map(|peer| [(peer, Lane::Rounds), (peer, Lane::Members)])
            .filter_map(|(peer, lane)| {
                let address = self.map.address(peer.node, peer.core)?;
                let link = Link::new(peer, lane);
                let hello = self.start.hello(Role::Peer, of, self.core, (peer.node, peer.core));
                spawn_local(links::keep(Rc::clone(&link), address, hello, Rc::clone(shared))).detach();
                Some(((peer, lane), link))
            })
            .collect()
    }
}

/// The cores that hold other replicas of this core's shards.
fn peers_of(map: &Map, here: (NodeId, CoreId)) -> BTreeSet<PeerName> {
    let ours = map
        .shards()
        .iter()
        .filter(|shard| shard.replicas.iter().any(|replica| (replica.node, replica.core) == here));
    let others = ours.flat_map(|shard| &shard.replicas).filter(|replica| replica.node != here.0);
    others
        .map(|replica| PeerName {
            node: replica.node,
            core: replica.core,
        })
        .collect()
}
