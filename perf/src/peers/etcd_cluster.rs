//! A running etcd cluster and the ways to connect to it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::etcd::{Etcd, MemberStatus, member_status};
use super::etcd_members::Members;
use crate::error::PerfError;

/// Time for three members to elect a leader.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often they are asked meanwhile.
const POLL: Duration = Duration::from_millis(100);

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

impl Layout {
    /// 1, 8 and 64 connections, to the leader alone and to all members; never more than operations in flight.
    pub(crate) fn candidates(in_flight: usize) -> Vec<Self> {
        let counts = [1, 8, 64].into_iter().filter(|connections| *connections <= in_flight);
        counts
            .flat_map(|connections| [To::Leader, To::AllMembers].map(|to| Self { connections, to }))
            .collect()
    }

    /// A middling one.
    pub(crate) fn for_loading() -> Self {
        Self {
            connections: 8,
            to: To::Leader,
        }
    }
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

impl Cluster {
    /// Starts three members with their data below `dir` and waits for their leader.
    ///
    /// # Errors
    /// A member does not start, or none leads in time.
    pub(crate) async fn start(dir: &Path) -> Result<Self, PerfError> {
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
            if began.elapsed() > READY_WITHIN {
                return Err(PerfError::Late {
                    what: "etcd's leader",
                    after: READY_WITHIN,
                    talk: members.talk().to_owned(),
                });
            }
            sleep(POLL).await;
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// A member does not answer.
    pub(crate) async fn connect(&self, layout: Layout) -> Result<Etcd, PerfError> {
        let members = match layout.to {
            To::Leader => &[self.leader],
            To::AllMembers => self.members.clients(),
        };
        Ok(Etcd::connect(members, layout.connections).await?)
    }

    /// The leader's version, as it says.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The members' processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.members.pids()
    }

    /// An error if a member has ended.
    ///
    /// # Errors
    /// [`PerfError::Ended`].
    pub(crate) fn check(&mut self) -> Result<(), PerfError> {
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
            let layouts = Layout::candidates(in_flight);
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
        assert!(cluster.version().starts_with("3."), "{}", cluster.version());
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
}
