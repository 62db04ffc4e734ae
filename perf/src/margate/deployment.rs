//! A running deployment, looked at from outside: its processes on this machine, its version, its open logs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use margate_client::Client;
use margate_net::map::Map;

use crate::proc::descriptors::{self, LogDescriptor};
use crate::proc::listeners;

/// The node processes of a deployment that run on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    pids: Vec<u32>,
}

impl Processes {
    /// Finds who listens on the addresses that the client's map names.
    pub(crate) async fn of(client: &Client) -> Self {
        Self::listening(&addresses(client.map().await.as_ref()))
    }

    /// Finds who listens on these addresses.
    pub(crate) fn listening(addresses: &[SocketAddr]) -> Self {
        let found: BTreeSet<u32> = listeners::pids(addresses).unwrap_or_default();
        Self {
            pids: found.into_iter().collect(),
        }
    }

    /// Their ids.
    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// What the program they run calls itself; `unknown` when none runs here.
    pub(crate) fn version(&self) -> String {
        let said = self.pids.first().and_then(|pid| {
            let program = PathBuf::from(format!("/proc/{pid}/exe"));
            Command::new(program).arg("--version").output().ok()
        });
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let version = said.as_deref().map(|text| text.strip_prefix("margate ").unwrap_or(text));
        version.filter(|text| !text.is_empty()).unwrap_or("unknown").to_owned()
    }

    /// Every log file they have open now.
    pub(crate) fn log_descriptors(&self) -> Vec<LogDescriptor> {
        let of_process = |pid: &u32| descriptors::of_process(*pid).unwrap_or_default();
        self.pids.iter().flat_map(of_process).collect()
    }
}

/// Every core's address.
fn addresses(map: &Map) -> Vec<SocketAddr> {
    map.nodes().iter().flat_map(|node| node.cores.iter().copied()).collect()
}
