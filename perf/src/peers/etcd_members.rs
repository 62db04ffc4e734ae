//! Three etcd members as child processes, with every flag at its default but the addresses and the folder.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::addresses::free_addresses;
use crate::child::Child;
use crate::error::PerfError;

/// Members of the cluster, as many as margate has nodes.
const MEMBERS: usize = 3;

/// The running members; dropping them ends them.
pub(crate) struct Members {
    children: Vec<Child>,
    clients: Vec<SocketAddr>,
    talk: PathBuf,
}

impl Members {
    /// Starts them with their data below `dir`, on ports given by the kernel.
    ///
    /// # Errors
    /// etcd is not in the PATH, or the folder cannot be used.
    pub(crate) fn start(dir: &Path) -> Result<Self, PerfError> {
        let ports = free_addresses(2 * MEMBERS).map_err(PerfError::file(dir))?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let names = (1..=MEMBERS).map(|number| format!("member-{number}"));
        let cluster: Vec<String> = names.zip(peers).map(|(name, peer)| format!("{name}=http://{peer}")).collect();
        let cluster = cluster.join(",");
        let talk = dir.join("etcd.log");
        let mut children = Vec::with_capacity(MEMBERS);
        for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let mut command = member(&format!("member-{}", number + 1), dir, *client, *peer, &cluster);
            let child = Child::spawn(&mut command, &talk).map_err(|source| PerfError::Start {
                program: "etcd".to_owned(),
                source,
                advice: "install it (Debian: etcd-server) so that it is in the PATH",
            })?;
            children.push(child);
        }
        Ok(Self {
            children,
            clients: clients.to_vec(),
            talk,
        })
    }

    /// Where clients connect, by member.
    pub(crate) fn clients(&self) -> &[SocketAddr] {
        &self.clients
    }

    /// The members' processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::pid).collect()
    }

    /// The file of what they say.
    pub(crate) fn talk(&self) -> &Path {
        &self.talk
    }

    /// An error if a member has ended.
    ///
    /// # Errors
    /// [`PerfError::Ended`].
    pub(crate) fn check(&mut self) -> Result<(), PerfError> {
        self.children.iter_mut().try_for_each(|child| child.check("etcd", &self.talk))
    }
}

fn member(name: &str, dir: &Path, client: SocketAddr, peer: SocketAddr, cluster: &str) -> Command {
    let mut command = Command::new("etcd");
    for (variable, _) in env::vars_os().filter(|(variable, _)| variable.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(variable);
    }
    command
        .args(["--name", name, "--initial-cluster-state", "new", "--initial-cluster", cluster])
        .arg("--data-dir")
        .arg(dir.join(name))
        .args(["--listen-client-urls", &format!("http://{client}")])
        .args(["--advertise-client-urls", &format!("http://{client}")])
        .args(["--listen-peer-urls", &format!("http://{peer}")])
        .args(["--initial-advertise-peer-urls", &format!("http://{peer}")]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_runs_with_default_flags_but_for_names_places_and_addresses() {
        let address = "127.0.0.1:1".parse().expect("an address");
        let command = member("member-1", Path::new("/d"), address, address, "member-1=http://127.0.0.1:1");
        let flags: Vec<String> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).filter(|arg| arg.starts_with("--")).collect();
        assert_eq!(
            flags,
            [
                "--name",
                "--initial-cluster-state",
                "--initial-cluster",
                "--data-dir",
                "--listen-client-urls",
                "--advertise-client-urls",
                "--listen-peer-urls",
                "--initial-advertise-peer-urls"
            ]
        );
    }
}
