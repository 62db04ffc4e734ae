//! Why a command of this binary could not do its work. What it measured or found is a report, not an error.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use margate_client::ConnectError;
use margate_engine::index::IndexError;
use margate_engine::runtime::log_alone::LogAloneError;

use crate::history::file::HistoryError;
#[cfg(feature = "peers")]
use crate::peers::redis_connection::RedisError;
use crate::target::Failure;
use crate::units::in_words;

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PerfError {
    /// A file or folder.
    #[error("{}: {source}; check the path and its permissions", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The data would lie in memory, which makes durability free.
    #[error("{} is in memory (tmpfs); pass --data-root with a folder on a disk", path.display())]
    InMemory {
        /// The folder.
        path: PathBuf,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}; {advice}")]
    Start {
        /// Its name or path.
        program: String,
        /// What the kernel said.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// A program ended that should have run on.
    #[error("{program} ended too early ({status}); its output is in {}", talk.display())]
    Ended {
        /// Its name or path.
        program: String,
        /// How.
        status: ExitStatus,
        /// Where its output is.
        talk: PathBuf,
    },
    /// Something did not come to pass in time.
    #[error("waited {after:?} in vain for {what}; look at the output in {}", talk.display())]
    Late {
        /// For what.
        what: &'static str,
        /// How long.
        after: Duration,
        /// Where the programs' output is.
        talk: PathBuf,
    },
    /// The description of a running deployment is not what `margate dev` writes.
    #[error("{}: {source}; is `margate` of the same build?", path.display())]
    DevFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A history cannot be written or read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// There is no port or no thread for an echo, or its connection broke.
    #[error("an echo over the loopback failed: {0}; stop programs that hold ports or threads")]
    Echo(io::Error),
    /// A sweep was begun with another size or build.
    #[error("{} holds parts of a sweep of another {what}; go on as it was begun, pass another --out, or --fresh", path.display())]
    OtherSweep {
        /// Its state.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// The state of a sweep is not what a sweep writes.
    #[error("{}: {source}; pass --fresh to begin again", path.display())]
    SweepState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no part of that name.
    #[error("a sweep has no part {name}; it has {known}")]
    NoPart {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// There is no port or no thread for a proxy.
    #[error("cannot start the proxies: {0}; stop programs that hold ports or threads")]
    Proxy(io::Error),
    /// A node takes no connections, or does not welcome a client.
    #[error("a node could not be told bad frames: {0}; it has ended, or connections or ports are used up")]
    Victim(io::Error),
    /// Margate cannot be reached.
    #[error("cannot reach margate: {0}")]
    Connect(#[from] ConnectError),
    /// A key could not be loaded.
    #[error("loading the keys failed: {0}")]
    Load(Failure),
    /// A node that should run is not the process we know.
    #[error("process {pid} is not node {node} any more; it ended by itself, see the output in {}", talk.display())]
    NodeGone {
        /// The node.
        node: u64,
        /// The process id it had.
        pid: u32,
        /// Where the programs' output is.
        talk: PathBuf,
    },
    /// A key cannot be read although the nodes run.
    #[error("key number {number} could not be read for {after:?} after the nodes were back: {cause}")]
    Unreadable {
        /// Which key.
        number: usize,
        /// How long it was tried.
        after: Duration,
        /// The last failure.
        cause: margate_client::Error,
    },
    /// A key of a history cannot be read at its end.
    #[error("key {number} of the history could not be read for {after:?} at the end; run `margate status`")]
    Unanswered {
        /// Which key.
        number: u64,
        /// How long it was tried.
        after: Duration,
    },
    /// No node leads anything, so there is no leader to kill.
    #[error("no node leads a shard; run `margate status`")]
    NoLeader,
    /// A batch writer takes what it has room for.
    #[error("the bench batch is held back by its writer alone; leave --rate out, and bound it with --in-flight")]
    BatchByTheClock,
    /// The kernel gives no timer.
    #[error("cannot make a timer for an open loop: {0}; raise the limit of open files (ulimit -n)")]
    Timer(io::Error),
    /// The peer's client is not in this build.
    #[cfg(not(feature = "peers"))]
    #[error("this build has no peers' clients; build with `cargo build --release -p margate-perf --features peers`")]
    PeersNotBuilt,
    /// The peer cannot be reached.
    #[cfg(feature = "peers")]
    #[error("cannot reach etcd: {0}")]
    Etcd(#[from] tonic::transport::Error),
    /// The peer cannot be reached.
    #[cfg(feature = "peers")]
    #[error("cannot reach redis: {0}")]
    Redis(#[from] RedisError),
    /// A peer's settings are not those it was started with.
    #[cfg(feature = "peers")]
    #[error("redis says {name} is {found:?} instead of {wanted:?}; its output is in {}", talk.display())]
    OtherSetting {
        /// Of which setting.
        name: &'static str,
        /// What was asked for.
        wanted: &'static str,
        /// What it is.
        found: Option<String>,
        /// Where its output is.
        talk: PathBuf,
    },
    /// A bench needs keys in order, and the peer has none.
    #[cfg(feature = "peers")]
    #[error("{bench} scans keys in their order and {peer} keeps none; choose other benches")]
    Unordered {
        /// The bench.
        bench: &'static str,
        /// The peer.
        peer: &'static str,
    },
    /// Our log alone could not go on.
    #[error("the log could not be measured: {0}")]
    Log(Box<LogAloneError>),
    /// A log does not hold what it said was durable.
    #[error("the log has lost durable appends: {writers} writers miss their last one, {gaps} are missing in between")]
    LogLost {
        /// Writers whose last append is not there.
        writers: usize,
        /// Appends that are missing before one that is there.
        gaps: u64,
    },
    /// The peer's log could not go on.
    #[cfg(feature = "peers")]
    #[error("raft-engine failed: {0}")]
    RaftEngine(#[from] raft_engine::Error),
    /// The kernel counts no bytes for what the data lie on.
    #[error("{} lies on no disk that /proc/diskstats counts; pass --data-root with a folder on a local disk", path.display())]
    NoDisk {
        /// The folder.
        path: PathBuf,
    },
    /// There is too little disk to begin.
    #[error(
        "{keys} keys need {}, which is 1.5 times what they will take, and {} has {} free; free some, ask for fewer keys, or pass --data-root",
        in_words(*asked_bytes), path.display(), in_words(*free_bytes)
    )]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// Keys that were to be written.
        keys: u64,
        /// Bytes that must be free.
        asked_bytes: u64,
        /// Bytes that are.
        free_bytes: u64,
    },
    /// The logs only grow.
    #[error("after {puts} overwrites the logs still hold segments of the first fill; run `margate status` and look for damaged replicas")]
    NotReclaimed {
        /// Writes acknowledged meanwhile.
        puts: u64,
    },
    /// fio has failed.
    #[error("fio failed ({status}); what it said is above")]
    Fio {
        /// How it ended.
        status: ExitStatus,
    },
    /// fio says something else than we know.
    #[error("fio's report is not what fio 3.33 writes: {0}")]
    FioReport(serde_json::Error),
    /// The index of a part could not go on.
    #[error("the index of a part failed: {0}")]
    Part(#[from] IndexError),
    /// callgrind has failed, or has not found what to count.
    #[error("{part} could not be counted: valgrind ended with {status}; what it said is above")]
    NotCounted {
        /// Which part.
        part: &'static str,
        /// How valgrind ended.
        status: ExitStatus,
    },
    /// The record of counts is not what this program writes.
    #[error("{}: {source}; write it anew with `margate-perf parts --record`", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// There is no thread left.
    #[error("a thread could not be started: {0}")]
    Thread(io::Error),
    /// The result could not be written.
    #[error("writing to stdout failed: {0}")]
    Stdout(io::Error),
    /// The user or the system wants this process to end.
    #[error("interrupted")]
    Interrupted,
}

impl PerfError {
    /// For `map_err`: names the path.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::File { path, source }
    }

    /// For `map_err`: boxes what is larger than all others.
    pub(crate) fn log(error: LogAloneError) -> Self {
        Self::Log(Box::new(error))
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Connect(_) | Self::NoLeader => 4,
            Self::BatchByTheClock | Self::NoPart { .. } | Self::OtherSweep { .. } => 2,
            Self::File { .. }
            | Self::InMemory { .. }
            | Self::Start { .. }
            | Self::Ended { .. }
            | Self::Late { .. }
            | Self::DevFile { .. }
            | Self::Echo(_)
            | Self::SweepState { .. }
            | Self::History(_)
            | Self::Load(_)
            | Self::NodeGone { .. }
            | Self::Proxy(_)
            | Self::Victim(_)
            | Self::Unreadable { .. }
            | Self::Unanswered { .. }
            | Self::Timer(_)
            | Self::Log(_)
            | Self::LogLost { .. }
            | Self::NoDisk { .. }
            | Self::NoRoom { .. }
            | Self::NotReclaimed { .. }
            | Self::Fio { .. }
            | Self::FioReport(_)
            | Self::Part(_)
            | Self::NotCounted { .. }
            | Self::Record { .. }
            | Self::Thread(_)
            | Self::Stdout(_) => 1,
            #[cfg(not(feature = "peers"))]
            Self::PeersNotBuilt => 1,
            #[cfg(feature = "peers")]
            Self::OtherSetting { .. } => 1,
            #[cfg(feature = "peers")]
            Self::Unordered { .. } => 2,
            #[cfg(feature = "peers")]
            Self::Etcd(_) | Self::Redis(_) => 4,
            #[cfg(feature = "peers")]
            Self::RaftEngine(_) => 1,
        }
    }
}
