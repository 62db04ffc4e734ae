//! Invariant 10: after the faults every shard has one leader, and all its replicas have committed and applied all
//! there is. Replicas that are damaged count for nothing; under a leader whose disk has lost something a quorum is enough.
//!
//! Not here, on purpose: whether what they applied is equal (`state_hash`, `log_agreement`), and waiting (`settle`).

use margate_net::map::{Map, MapShard};
use margate_net::message::{ReplicaRole, ReplicaStatus};

use super::membership::Membership;
use crate::sim::node::{Node, Place};

/// The replicas of the first shard whose replicas do not agree yet.
pub(crate) fn disagreement(nodes: &[Node], map: &Map, members: &Membership) -> Option<Vec<ReplicaStatus>> {
    let whole = nodes.iter().all(|node| node.is_whole(map, members));
    let mut standings = map.shards().iter().map(|shard| Standings::of(nodes, shard));
    let disagreeing = standings.find(|standings| !whole || !standings.agree());
    disagreeing.map(|standings| standings.running)
}

/// How a shard's replicas stand.
struct Standings {
    all: usize,
    running: Vec<ReplicaStatus>,
    /// Replicas that were not started, for they are damaged.
    damaged: usize,
    /// Whether the leader's disk has lost something: it may then lack what another needs to catch up.
    leader_hurt: bool,
}

impl Standings {
    fn of(nodes: &[Node], shard: &MapShard) -> Self {
        let mut standings = Self {
            all: shard.replicas.len(),
            running: Vec::new(),
            damaged: 0,
            leader_hurt: false,
        };
        for Place { node, core } in shard.replicas.iter().map(Place::home) {
            let host = &nodes[node].hosts[core];
            let Some(process) = host.process.as_ref() else { continue };
            standings.damaged += process.core.damaged().filter(|name| name.shard == shard.id).count();
            let running = process.core.replicas().filter(|replica| replica.name().shard == shard.id);
            for status in running.map(|replica| replica.status()) {
                standings.leader_hurt |= leads(&status) && host.hurt.is_hurt();
                standings.running.push(status);
            }
        }
        standings
    }

    fn agree(&self) -> bool {
        let leaders: Vec<_> = self.running.iter().filter(|replica| leads(replica)).collect();
        let [leader] = leaders[..] else { return false };
        let with_leader = |replica: &&ReplicaStatus| is_whole(replica) && (replica.applied, replica.term) == (leader.applied, leader.term);
        let agreeing = self.running.iter().filter(with_leader).count();
        let enough = if self.leader_hurt { self.all / 2 + 1 } else { self.running.len() };
        self.running.len() + self.damaged == self.all && agreeing >= enough
    }
}

fn leads(replica: &ReplicaStatus) -> bool {
    replica.role == ReplicaRole::Leader
}

fn is_whole(replica: &ReplicaStatus) -> bool {
    replica.applied == replica.commit && replica.commit == replica.last
}
