//! One Redis node as a child process: not replicated, and durable as far as one disk is.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tokio::time::sleep;

use super::redis::Redis;
use super::{POLL, PeerSystem, READY_WITHIN, connections_tried};
use crate::addresses::free_addresses;
use crate::child::Child;
use crate::error::PerfError;
use crate::margate::dev::late_after;
use crate::report::line::SystemFacts;

/// What is started.
const PROGRAM: &str = "redis-server";
/// Every write is in the append-only file, and the file is synced before the write is answered. The second two are
/// read back from the running node.
const DURABLE: [(&str, &str); 2] = [("appendonly", "yes"), ("appendfsync", "always")];
/// What an acknowledged write rests on: called by its name wherever a result stands.
const DURABILITY: &str = "one node, not replicated; appendonly yes, appendfsync always";

/// The running node; dropping it ends it.
pub(crate) struct Node {
    child: Child,
    address: SocketAddr,
    talk: PathBuf,
    version: String,
}

/// How many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    connections: usize,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", self.connections)
    }
}

impl PeerSystem for Node {
    type Client = Redis;
    type Layout = Layout;

    const NAME: &'static str = "redis";
    const ORDERED: bool = false;

    async fn start(dir: &Path) -> Result<Self, PerfError> {
        let data = dir.join("redis");
        std::fs::create_dir_all(&data).map_err(PerfError::file(&data))?;
        let address = free_addresses(1).map_err(PerfError::file(dir))?[0];
        let talk = dir.join("redis.log");
        let mut child = Child::spawn(&mut command(&data, address), &talk).map_err(|source| PerfError::Start {
            program: PROGRAM.to_owned(),
            source,
            advice: "install it (Debian: redis-server) so that it is in the PATH",
        })?;
        let version = serves(&mut child, address, &talk).await?;
        eprintln!("redis {version}: {DURABILITY}");
        Ok(Self {
            child,
            address,
            talk,
            version,
        })
    }

    fn layouts(in_flight: usize) -> Vec<Layout> {
        connections_tried(in_flight).map(|connections| Layout { connections }).collect()
    }

    fn layout_for_loading() -> Layout {
        Layout { connections: 8 }
    }

    async fn connect(&self, layout: Layout) -> Result<Redis, PerfError> {
        Ok(Redis::connect(self.address, layout.connections).await?)
    }

    fn facts(&self, client: &Redis) -> SystemFacts {
        SystemFacts {
            system: Self::NAME,
            clients: client.connections(),
            durability: DURABILITY.to_owned(),
            version: self.version.clone(),
        }
    }

    fn pids(&self) -> Vec<u32> {
        vec![self.child.pid()]
    }

    fn check(&mut self) -> Result<(), PerfError> {
        self.child.check(PROGRAM, &self.talk)
    }
}

/// Waits until it answers, is durable as asked for, and says its version.
async fn serves(child: &mut Child, address: SocketAddr, talk: &Path) -> Result<String, PerfError> {
    let began = Instant::now();
    let client = loop {
        child.check(PROGRAM, talk)?;
        match Redis::connect(address, 1).await {
            Ok(client) => break client,
            // It does not listen yet.
            Err(_) => {
                late_after(began, READY_WITHIN, "redis", talk)?;
                sleep(POLL).await;
            }
        }
    };
    for (name, wanted) in DURABLE {
        let found = client.setting(name).await?;
        if found.as_deref() != Some(wanted) {
            let talk = talk.to_owned();
            return Err(PerfError::OtherSetting { name, wanted, found, talk });
        }
    }
    Ok(client
        .info("server", "redis_version")
        .await?
        .unwrap_or_else(|| "unknown".to_owned()))
}

/// Default settings but for the address, the folder and the append-only file. Snapshots, a second and weaker way to
/// keep data, are off: with the file they would only slow it.
fn command(data: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()])
        .arg("--dir")
        .arg(data)
        .args(["--save", ""]);
    for (name, value) in DURABLE {
        command.args([&format!("--{name}"), value]);
    }
    command
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::target::Target;

    #[test]
    fn the_node_runs_with_default_settings_but_for_its_place_and_its_file() {
        let address = "127.0.0.1:7".parse().expect("an address");
        let command = command(Path::new("/d"), address);
        let words: Vec<String> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let expected = "--bind 127.0.0.1 --port 7 --dir /d --save  --appendonly yes --appendfsync always";
        assert_eq!(words.join(" "), expected);
    }

    /// Needs redis-server in the PATH; where it is not, there is nothing to test.
    #[tokio::test]
    async fn a_node_starts_durable_and_gives_back_what_was_put() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut node = match Node::start(folder.path()).await {
            Err(PerfError::Start { .. }) => return,
            other => other.expect("redis starts"),
        };
        let redis = node.connect(Layout { connections: 3 }).await.expect("the node answers");
        let key = Bytes::from_static(b"\xff key\r\n");
        for worker in 0..3 {
            let value = Bytes::from(vec![b'\n'; 100 + worker]);
            redis.put(worker, key.clone(), value.clone()).await.expect("the node is there");
            assert_eq!(redis.get(worker + 1, key.clone()).await.expect("the node is there"), Some(value));
        }
        let missing = redis.get(0, Bytes::from_static(b"missing")).await.expect("the node is there");
        assert_eq!(missing, None);
        assert!(redis.scan(0, key, 1).await.is_err(), "there is no order");
        let facts = node.facts(&redis);
        assert!(facts.durability.starts_with("one node, not replicated"), "{facts:?}");
        assert!(facts.version.starts_with(char::is_numeric), "{facts:?}");
        node.check().expect("it runs");
    }

    #[tokio::test]
    async fn a_node_that_ends_is_an_error_that_says_where_its_output_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let talk = folder.path().join("talk");
        let mut child = Child::spawn(&mut Command::new("false"), &talk).expect("false is everywhere");
        let nobody = free_addresses(1).expect("the kernel has ports")[0];
        let error = serves(&mut child, nobody, &talk).await.expect_err("nobody serves there");
        assert!(error.to_string().contains("ended too early"), "{error}");
    }
}
