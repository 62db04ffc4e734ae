//! A running deployment, looked at from outside: its processes on this machine, its version, its open logs.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use margate_client::Client;
use margate_net::map::Map;

use crate::proc::descriptors::{self, LogDescriptor};
use crate::proc::listeners;

/// The node processes of a deployment that run on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    pids: Vec<u32>,
    version: String,
}

impl Processes {
    /// Finds who listens on the addresses that the client's map names.
    pub(crate) async fn of(client: &Client) -> Self {
        Self::listening(&addresses(client.map().await.as_ref()))
    }

    /// Finds who listens on these addresses; a `/proc` that cannot be read shows nobody.
    fn listening(addresses: &[SocketAddr]) -> Self {
        let pids: Vec<u32> = listeners::pids(addresses).unwrap_or_default().into_iter().collect();
        let said = pids.first().and_then(|pid| said_by(&format!("/proc/{pid}/exe")));
        Self {
            pids,
            version: said.unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    /// Their ids.
    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// What the program they run calls itself; `unknown` when none runs here.
    pub(crate) fn version(&self) -> &str {
        &self.version
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

/// What a program answers to `--version`, without its name.
fn said_by(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.trim();
    let version = said.strip_prefix("margate ").unwrap_or(said);
    (output.status.success() && !version.is_empty()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_program_says_its_version_or_nothing() {
        assert_eq!(
            said_by("echo").as_deref().map(|text| text.contains("echo") || text == "--version"),
            Some(true)
        );
        assert_eq!(said_by("false"), None);
        assert_eq!(said_by("/no/such/program"), None);
    }

    #[test]
    fn the_process_behind_an_address_is_found_and_others_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        assert_eq!(Processes::listening(&[address]).pids(), [std::process::id()]);
        let nobody = Processes::listening(&[]);
        assert_eq!((nobody.pids().len(), nobody.version()), (0, "unknown"));
        assert!(nobody.log_descriptors().is_empty());
    }
}
