//! When a deployment is ready, and what to type then.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use margate_client::{Client, ClientConfig};
use margate_net::limits::PORT_BASE;

use super::topology::Topology;
use crate::args::OutputFormat;
use crate::cmd::status::Overview;
use crate::error::Failure;
use crate::output::{Object, Output};

/// What the one who asks finds out.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Every shard has a leader.
    Ready,
    /// Not yet, although it should be; said once.
    Late(String),
}

/// Asks until every shard has a leader. `tell` returns whether anyone still listens.
pub(crate) async fn watch(endpoints: Vec<SocketAddr>, tell: impl Fn(Progress) -> bool) {
    let start = Instant::now();
    let mut late = false;
    loop {
        let obstacle = match ask(&endpoints).await {
            Ok(0) => {
                tell(Progress::Ready);
                return;
            }
            Ok(without) => format!("{without} shards have no leader"),
            Err(error) => error.to_string(),
        };
        if !late && start.elapsed() >= LATE_AFTER {
            late = true;
            if !tell(Progress::Late(obstacle)) {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Shards without a leader.
async fn ask(endpoints: &[SocketAddr]) -> Result<usize, Failure> {
    let client = Client::connect(ClientConfig {
        endpoints: endpoints.to_vec(),
        timeout: PATIENCE,
        connect_timeout: PATIENCE,
        ..ClientConfig::default()
    })
    .await?;
    let (map, replies) = (client.map().await, client.status().await);
    client.close().await;
    Ok(Overview::new(&map, &replies).without_leader())
}

/// Says that the deployment is ready, and what to type next.
pub(crate) fn announce(format: OutputFormat, topology: &Topology) -> Result<(), Failure> {
    let mut output = Output::new(format);
    match format {
        OutputFormat::Text => {
            let (nodes, shards) = (topology.nodes(), topology.shards());
            output.line(&format!("ready (nodes: {nodes}, shards: {shards}). Try, in another terminal:"))?;
            let (program, endpoints) = (program(), endpoints_flag(topology));
            for words in ["set hello world", "get hello", "list", "status", "top"] {
                output.line(&format!("  {program} {words}{endpoints}"))?;
            }
            let admins: Vec<String> = topology.admins().iter().map(|address| format!("http://{address}")).collect();
            output.line(&format!("Each node answers /metrics, /livez, /readyz at {}.", admins.join(", ")))?;
            output.line("Ctrl-c stops all nodes; the data stay.")?;
        }
        OutputFormat::Json | OutputFormat::Jsonl => {
            let endpoints: Vec<String> = topology.endpoints().iter().map(ToString::to_string).collect();
            let admins: Vec<String> = topology.admins().iter().map(ToString::to_string).collect();
            let object = Object::default()
                .field("event", "ready")
                .field("nodes", topology.nodes())
                .field("shards", topology.shards())
                .field("endpoints", endpoints)
                .field("admin", admins);
            output.object(object)?;
        }
    }
    output.finish()
}

/// How this program was started, so that the hints can be typed as they are.
fn program() -> String {
    if std::env::var_os("CARGO_MANIFEST_DIR").is_none() {
        return std::env::args().next().unwrap_or_else(|| "margate".to_owned());
    }
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    format!("cargo run{profile} --")
}

/// The commands find the usual ports without being told.
fn endpoints_flag(topology: &Topology) -> String {
    let endpoints = topology.endpoints();
    if endpoints.first().is_some_and(|first| first.port() == PORT_BASE) {
        return String::new();
    }
    let shown: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    format!(" --endpoints {}", shown.join(","))
}

/// A start on a machine like a laptop takes less.
const LATE_AFTER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1);
