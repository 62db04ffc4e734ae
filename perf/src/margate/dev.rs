//! Deployments this binary starts: `margate dev` as a child, and what it writes about itself.

use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use margate_client::Client;
use margate_net::message::ReplicaRole;
use serde::Deserialize;
use tokio::time::sleep;

use super::target::config;
use crate::args::shared::StartArguments;
use crate::child::Child;
use crate::error::PerfError;

/// Nodes of a deployment, and replicas of each shard.
pub(crate) const NODES: usize = 3;
/// Time for a deployment to start, replay included, and elect its leaders.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often we look whether something has come to pass.
const POLL: Duration = Duration::from_millis(50);

/// How to start a deployment.
#[derive(Clone, Debug)]
pub(crate) struct DevOptions {
    /// The `margate` program.
    pub(crate) program: PathBuf,
    /// The deployment's folder.
    pub(crate) data: PathBuf,
    /// What else to say to `margate dev`.
    pub(crate) arguments: Vec<String>,
}

impl DevOptions {
    /// Three nodes of one core each.
    pub(crate) fn new(program: PathBuf, data: PathBuf, start: &StartArguments) -> Self {
        Self::shaped(program, data, start, 1)
    }

    /// Three nodes of so many cores each.
    pub(crate) fn shaped(program: PathBuf, data: PathBuf, start: &StartArguments, cores: u16) -> Self {
        let flags = [
            "--nodes",
            &NODES.to_string(),
            "--cores",
            &cores.to_string(),
            "--shards",
            &start.shards.to_string(),
            "--port-base",
            &start.port_base,
        ];
        Self {
            program,
            data,
            arguments: flags.map(str::to_owned).into(),
        }
    }
}

/// `dev.json`: what `margate dev` says about the processes it has started.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct DevFile {
    /// The process of `margate dev` itself.
    pub(crate) pid: u32,
    /// Its nodes.
    pub(crate) nodes: Vec<DevNode>,
}

/// One node of [`DevFile`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct DevNode {
    /// The node's id.
    pub(crate) node: u64,
    /// Its process.
    pub(crate) pid: u32,
    /// The address of its first core.
    pub(crate) endpoint: SocketAddr,
    /// The command line that started it and can start it again.
    pub(crate) command: Vec<String>,
}

/// A deployment that is a child of this process; dropping it stops it gracefully.
pub(crate) struct Dev {
    child: Child,
    options: DevOptions,
    file: DevFile,
}

impl Dev {
    /// Starts the deployment and waits until every shard has a leader.
    ///
    /// # Errors
    /// The program is not there, ends, or is not ready in time.
    pub(crate) async fn start(options: DevOptions) -> Result<Self, PerfError> {
        let talk = talk_of(&options.data);
        let mut command = Command::new(&options.program);
        command.arg("dev").arg("--data").arg(&options.data).args(&options.arguments);
        let mut child = Child::spawn(&mut command, &talk).map_err(|source| PerfError::Start {
            program: options.program.display().to_string(),
            source,
            advice: "build it with `cargo build --release`, or pass --margate",
        })?;
        let file = wait_for_file(&mut child, &options).await?;
        let mut dev = Self { child, options, file };
        let (endpoints, talk) = (dev.endpoints(), dev.talk());
        wait_for_leaders(&endpoints, &talk, || check_runs(&mut dev.child, &dev.options)).await?;
        Ok(dev)
    }

    /// Its nodes, as they were at its start.
    pub(crate) fn nodes(&self) -> &[DevNode] {
        &self.file.nodes
    }

    /// An error if it has ended.
    ///
    /// # Errors
    /// [`PerfError::Ended`].
    #[cfg(feature = "peers")]
    pub(crate) fn check(&mut self) -> Result<(), PerfError> {
        check_runs(&mut self.child, &self.options)
    }

    /// Where clients connect.
    pub(crate) fn endpoints(&self) -> Vec<SocketAddr> {
        self.file.nodes.iter().map(|node| node.endpoint).collect()
    }

    /// The process of `margate dev` itself.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The file of what it and its nodes say.
    pub(crate) fn talk(&self) -> PathBuf {
        talk_of(&self.options.data)
    }
}

/// Waits until every shard has a leader, as long as `check` finds nothing wrong.
///
/// # Errors
/// What `check` finds, or [`PerfError::Late`].
pub(crate) async fn wait_for_leaders(
    endpoints: &[SocketAddr],
    talk: &Path,
    mut check: impl FnMut() -> Result<(), PerfError>,
) -> Result<(), PerfError> {
    let began = Instant::now();
    loop {
        check()?;
        // A refused connection is what we are waiting to get past; the deadline names it if it stays.
        if let Ok(client) = Client::connect(config(endpoints)).await {
            wait_until(READY_WITHIN, "a leader of every shard", talk, || every_shard_led(&client)).await?;
            client.close().await;
            return Ok(());
        }
        late_after(began, READY_WITHIN, "a node that answers", talk)?;
        sleep(POLL).await;
    }
}

/// Waits until `done` says so, asking it again and again.
///
/// # Errors
/// [`PerfError::Late`] after `limit`.
pub(crate) async fn wait_until<F>(limit: Duration, what: &'static str, talk: &Path, done: impl FnMut() -> F) -> Result<(), PerfError>
where
    F: Future<Output = bool>,
{
    wait_until_polling(POLL, limit, what, talk, done).await
}

/// The same for those who cannot be kept waiting as long as that: asks once in every `poll`.
///
/// # Errors
/// [`PerfError::Late`] after `limit`.
pub(crate) async fn wait_until_polling<F>(
    poll: Duration,
    limit: Duration,
    what: &'static str,
    talk: &Path,
    mut done: impl FnMut() -> F,
) -> Result<(), PerfError>
where
    F: Future<Output = bool>,
{
    let began = Instant::now();
    while !done().await {
        late_after(began, limit, what, talk)?;
        sleep(poll).await;
    }
    Ok(())
}

/// An error if `limit` has passed since something began.
///
/// # Errors
/// [`PerfError::Late`].
pub(crate) fn late_after(began: Instant, limit: Duration, what: &'static str, talk: &Path) -> Result<(), PerfError> {
    if began.elapsed() < limit {
        return Ok(());
    }
    Err(PerfError::Late {
        what,
        after: limit,
        talk: talk.to_owned(),
    })
}

/// Whether each shard of the map has a replica that leads it.
pub(crate) async fn every_shard_led(client: &Client) -> bool {
    let map = client.map().await;
    let statuses = client.status().await;
    let led = |shard| {
        let replicas = statuses
            .iter()
            .filter_map(|core| core.status.as_ref().ok())
            .flat_map(|core| &core.replicas);
        replicas
            .into_iter()
            .any(|replica| replica.shard == shard && replica.role == ReplicaRole::Leader)
    };
    map.shards().iter().all(|shard| led(shard.id))
}

/// Waits for the `dev.json` of this very child; an older one may lie there.
async fn wait_for_file(child: &mut Child, options: &DevOptions) -> Result<DevFile, PerfError> {
    let path = options.data.join("dev.json");
    let began = Instant::now();
    loop {
        check_runs(child, options)?;
        match fs::read(&path) {
            Ok(bytes) => {
                let file: DevFile = serde_json::from_slice(&bytes).map_err(|source| PerfError::DevFile {
                    path: path.clone(),
                    source,
                })?;
                if file.pid == child.pid() {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(PerfError::File { path, source }),
        }
        late_after(began, READY_WITHIN, "dev.json", &talk_of(&options.data))?;
        sleep(POLL).await;
    }
}

fn check_runs(child: &mut Child, options: &DevOptions) -> Result<(), PerfError> {
    child.check(&options.program.display().to_string(), &talk_of(&options.data))
}

/// Beside the deployment's folder, which must hold nothing that is not its own.
pub(crate) fn talk_of(data: &Path) -> PathBuf {
    data.with_extension("log")
}

/// A node's folder in the deployment's.
pub(crate) fn folder_of(data: &Path, node: u64) -> PathBuf {
    data.join(format!("node-{node}"))
}

/// The `margate` program: the one named, or the one beside this one.
pub(crate) fn program(named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(|| {
        let beside = env::current_exe().ok().map(|own| own.with_file_name("margate"));
        beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("margate"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"{"pid": 10, "nodes": [{"node": 1, "pid": 11, "endpoint": "127.0.0.1:7400",
        "command": ["/bin/margate", "node", "--config", "x"], "more": true}], "also": 1}"#;

    #[test]
    fn what_dev_writes_is_read_and_what_it_adds_is_left_alone() {
        let file: DevFile = serde_json::from_str(FILE).expect("it is what dev writes");
        assert_eq!((file.pid, file.nodes.len()), (10, 1));
        assert_eq!(file.nodes[0].endpoint.port(), 7400);
        assert_eq!(file.nodes[0].command[1], "node");
    }

    #[test]
    fn a_program_that_is_named_is_taken() {
        assert_eq!(program(Some(PathBuf::from("/x/margate"))), Path::new("/x/margate"));
    }

    #[tokio::test]
    async fn a_program_that_ends_is_reported_with_the_place_of_its_output() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = DevOptions {
            program: PathBuf::from("false"),
            data: folder.path().join("margate"),
            arguments: Vec::new(),
        };
        let Err(error) = Dev::start(options).await else {
            panic!("false starts nothing")
        };
        assert!(matches!(error, PerfError::Ended { .. }), "{error}");
        assert!(error.to_string().contains("margate.log"), "{error}");
    }

    #[tokio::test]
    async fn what_never_comes_to_pass_is_late() {
        let error = wait_until(Duration::from_millis(1), "nothing", Path::new("talk"), || async { false }).await;
        assert!(matches!(error, Err(PerfError::Late { what: "nothing", .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_a_description_or_not_but_never_panics(text in "\\PC*", cut in 0usize..200) {
            let _ = serde_json::from_str::<DevFile>(&text);
            let _ = serde_json::from_str::<DevFile>(FILE.get(..cut).unwrap_or(FILE));
        }
    }
}
