//! One node's process, whoever has started it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use margate_net::ids::NodeId;
use rustix::process::Signal;

use super::behind::{Behind, spawn};
use super::dev::{DevNode, folder_of};
use crate::child::{Child, signal};
use crate::error::PerfError;

/// A node, and what starts it again.
pub(super) struct NodeProcess {
    pub(super) node: NodeId,
    pub(super) pid: u32,
    /// Where its first core is reached.
    pub(super) endpoint: SocketAddr,
    pub(super) folder: PathBuf,
    command: Vec<String>,
    /// Held where we have started it ourselves: dropping it stops it.
    ours: Option<Child>,
}

impl NodeProcess {
    /// One that `margate dev` has started in this folder of a deployment.
    pub(super) fn of(node: &DevNode, data: &Path) -> Self {
        Self {
            node: NodeId(node.node),
            pid: node.pid,
            endpoint: node.endpoint,
            folder: folder_of(data, node.node),
            command: node.command.clone(),
            ours: None,
        }
    }

    /// Starts a node for the first time; node 1 begins the deployment.
    ///
    /// # Errors
    /// Its folder cannot be made, or the program is not there.
    pub(super) fn start_behind(
        behind: &Behind<'_>,
        id: u64,
        listens: SocketAddr,
        reached: SocketAddr,
        talk: &Path,
    ) -> Result<Self, PerfError> {
        let command = behind.prepare(id, listens)?;
        let first: &[&str] = if id == 1 { &["--bootstrap"] } else { &[] };
        let child = spawn(&command, first, talk)?;
        Ok(Self {
            node: NodeId(id),
            pid: child.pid(),
            endpoint: reached,
            folder: folder_of(behind.data, id),
            command,
            ours: Some(child),
        })
    }

    /// Starts it as it can always be started.
    ///
    /// # Errors
    /// The program is not there.
    pub(super) fn start_again(&mut self, talk: &Path) -> Result<(), PerfError> {
        let child = spawn(&self.command, &[], talk)?;
        self.pid = child.pid();
        self.ours = Some(child);
        Ok(())
    }

    /// Asks it to stop, if it would be stopped by being dropped.
    pub(super) fn ask_to_stop(&self) {
        if let Some(child) = &self.ours {
            signal(child.pid(), Signal::TERM);
        }
    }

    /// Whether the process still runs the command we know, perhaps with more flags: the first start of all may have
    /// some. Ids are used again, and a zombie runs nothing.
    pub(super) fn runs(&self) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let known = self.command.iter().map(String::as_bytes);
        !line.is_empty()
            && known
                .enumerate()
                .all(|(position, word)| words.next() == Some(word) || position == 0)
    }
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
        assert!(process(own.clone()).runs());
        assert!(process(own[..1].to_vec()).runs());
        assert!(!process([own, vec!["more".to_owned()]].concat()).runs());
    }
}
