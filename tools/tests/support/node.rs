//! A deployment of one node without `dev`: small segments and quick elections, so that a test can start many.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::cli::Cli;
use super::{Process, READY, eventually, free_address, margate, scratch};

/// The one node of a deployment, and where it lives.
pub(crate) struct Single {
    pub(crate) scratch: TempDir,
    pub(crate) address: String,
    pub(crate) process: Process,
}

impl Single {
    /// Makes a new deployment of one node and waits until it serves.
    #[track_caller]
    pub(crate) fn create() -> Self {
        Self::create_at(scratch(), free_address())
    }

    /// Makes one that keeps its data in `scratch` and listens on `address`.
    #[track_caller]
    pub(crate) fn create_at(scratch: TempDir, address: String) -> Self {
        let mut command = node(&scratch.path().join("data"), 1, &[(1, &address)]);
        command.arg("--bootstrap");
        let single = Self {
            scratch,
            address,
            process: Process::start(command),
        };
        single.expect_serving();
        single
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.scratch.path().join("data")
    }

    /// Commands that ask it.
    pub(crate) fn cli(&self) -> Cli {
        Cli::at(&self.address)
    }

    /// What starts it again.
    pub(crate) fn command(&self) -> Command {
        node(&self.data(), 1, &[(1, &self.address)])
    }

    /// Starts it again and waits until it serves. It must not run.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.process = Process::start(self.command());
        self.expect_serving();
    }

    /// Starting it must fail at once, with this message.
    #[track_caller]
    pub(crate) fn assert_refuses(&self, message: &str) {
        Process::start(self.command()).expect_failure(1, message);
    }

    #[track_caller]
    pub(crate) fn expect_serving(&self) {
        let cli = self.cli().within("1s");
        eventually("the node serves", READY, || cli.run(&["status"]).status.success().then_some(()));
    }
}

/// `margate node` with this id on `data`, in a deployment of these nodes.
pub(crate) fn node(data: &Path, id: u64, nodes: &[(u64, &str)]) -> Command {
    // Any free port, which nobody has to know.
    node_answering_at("127.0.0.1:0", data, id, nodes)
}

/// The same, which answers over HTTP there.
pub(crate) fn node_answering_at(admin: &str, data: &Path, id: u64, nodes: &[(u64, &str)]) -> Command {
    let nodes: Vec<String> = nodes.iter().map(|(id, address)| format!("{id}={address}")).collect();
    let mut command = margate();
    command.args(["node", "--id", &id.to_string(), "--nodes", &nodes.join(","), "--data"]);
    command.arg(data);
    command.args(["--pin=false", "--shards", "2", "--segment-size", "8MiB"]);
    command.args(["--tick", "20ms", "--election", "200ms"]);
    command.args(["--admin", admin]);
    command
}
