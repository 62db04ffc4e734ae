//! A running etcd cluster and the ways to connect to it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use tokio::time::sleep;

use super::etcd::{Etcd, MemberStatus, member_status};
use super::etcd_members::Members;
use super::{POLL, PeerSystem, READY_WITHIN, connections_tried};
use crate::error::PerfError;
use crate::margate::dev::late_after;
use crate::report::line::SystemFacts;

/// Three members that have a leader.
pub(crate) struct Cluster {
    members: Members,
    leader: SocketAddr,
    version: String,
}

/// How many connections to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    connections: usize,
    to: To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Leader,
    AllMembers,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = match self.to {
            To::Leader => "the leader",
            To::AllMembers => "all members",
        };
        write!(f, "{} connections to {to}", self.connections)
    }
}

impl PeerSystem for Cluster {
    type Client = Etcd;
    type Layout = Layout;

    const NAME: &'static str = "etcd";
    const ORDERED: bool = true;

    async fn start(dir: &Path) -> Result<Self, PerfError> {
        let mut members = Members::start(dir)?;
        let began = Instant::now();
        loop {
            members.check()?;
            if let Some((leader, status)) = leader_known_to_all(members.clients()).await {
                return Ok(Self {
                    members,
                    leader,
                    version: status.version,
                });
            }
            late_after(began, READY_WITHIN, "etcd's leader", members.talk())?;
            sleep(POLL).await;
        }
    }

    /// To the leader alone and to all members.
    fn layouts(in_flight: usize) -> Vec<Layout> {
        connections_tried(in_flight)
            .flat_map(|connections| [To::Leader, To::AllMembers].map(|to| Layout { connections, to }))
            .collect()
    }

    fn layout_for_loading() -> Layout {
        Layout {
            connections: 8,
            to: To::Leader,
        }
    }

    async fn connect(&self, layout: Layout) -> Result<Etcd, PerfError> {
        let members = match layout.to {
            To::Leader => &[self.leader],
            To::AllMembers => self.members.clients(),
        };
        Ok(Etcd::connect(members, layout.connections).await?)
    }

    fn facts(&self, client: &Etcd) -> SystemFacts {
        SystemFacts {
            system: Self::NAME,
            clients: client.connections(),
            durability: "quorum, fdatasync of the log (etcd's defaults)".to_owned(),
            version: self.version.clone(),
        }
    }

    fn pids(&self) -> Vec<u32> {
        self.members.pids()
    }

    fn check(&mut self) -> Result<(), PerfError> {
        self.members.check()
    }
}

/// The leader and what it says, once every member answers and knows of one.
async fn leader_known_to_all(members: &[SocketAddr]) -> Option<(SocketAddr, MemberStatus)> {
    let mut leader = None;
    for member in members {
        // A member that does not answer yet is what the caller waits for.
        let status = member_status(*member).await.ok().filter(|status| status.has_leader)?;
        if status.leads {
            leader = Some((*member, status));
        }
    }
    leader
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use bytes::Bytes;

    #[test]
    fn a_probe_tries_one_eight_and_sixty_four_connections_as_far_as_they_can_be_busy() {
        let counts = |in_flight| {
            let layouts = Cluster::layouts(in_flight);
            layouts.iter().map(|layout| layout.connections).collect::<Vec<_>>()
        };
        assert_eq!(counts(1), [1, 1]);
        assert_eq!(counts(8), [1, 1, 8, 8]);
        assert_eq!(counts(768), [1, 1, 8, 8, 64, 64]);
    }

    /// Needs etcd in the PATH; where it is not, there is nothing to test.
    #[tokio::test]
    async fn a_cluster_starts_and_gives_back_what_was_put() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cluster = match Cluster::start(folder.path()).await {
            Err(PerfError::Start { .. }) => return,
            other => other.expect("etcd starts"),
        };
        assert!(cluster.version.starts_with("3."), "{}", cluster.version);
        let layout = Layout {
            connections: 3,
            to: To::AllMembers,
        };
        let etcd = cluster.connect(layout).await.expect("the members answer");
        let key = Bytes::from_static(b"\xff key");
        for worker in 0..3 {
            let value = Bytes::from(vec![7; 100 + worker]);
            etcd.put(worker, key.clone(), value.clone()).await.expect("a quorum is there");
            assert_eq!(etcd.get(worker + 1, key.clone()).await.expect("a quorum is there"), Some(value));
        }
        let missing = etcd.get(0, Bytes::from_static(b"missing")).await.expect("a quorum is there");
        assert_eq!(missing, None);
    }

    /// Needs etcd in the PATH, as above.
    #[tokio::test]
    async fn a_scan_lists_so_many_rows_from_its_key_on_in_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cluster = match Cluster::start(folder.path()).await {
            Err(PerfError::Start { .. }) => return,
            other => other.expect("etcd starts"),
        };
        let etcd = cluster.connect(Cluster::layout_for_loading()).await.expect("the leader answers");
        let row = |name: &'static [u8]| (Bytes::from_static(name), Bytes::from_static(name));
        for name in [b"d".as_slice(), b"a", b"c", b"b", b"\xff\xff"] {
            etcd.put(0, row(name).0, row(name).1).await.expect("a quorum is there");
        }
        let scan = |low: &'static [u8], rows| etcd.scan(0, Bytes::from_static(low), rows);
        assert_eq!(scan(b"b", 2).await.expect("a quorum is there"), [row(b"b"), row(b"c")]);
        assert_eq!(
            scan(b"bb", 9).await.expect("a quorum is there"),
            [row(b"c"), row(b"d"), row(b"\xff\xff")]
        );
    }
}
