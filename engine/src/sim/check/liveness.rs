//! Invariant 10: after the faults every shard has one leader, and all its replicas have committed and applied all
//! there is.
//!
//! Not here, on purpose: whether what they applied is equal (`state_hash`, `log_agreement`), and waiting (`settle`).

use margate_net::map::{Map, MapShard};
use margate_net::message::{ReplicaRole, ReplicaStatus};

use crate::sim::node::{Node, Place};

/// The replicas of the first shard whose replicas do not agree yet.
pub(crate) fn disagreement(nodes: &[Node], map: &Map) -> Option<Vec<ReplicaStatus>> {
    let whole = nodes.iter().all(|node| node.is_whole(map));
    let statuses = map.shards().iter().map(|shard| (shard, replicas(nodes, shard)));
    statuses
        .filter(|(shard, replicas)| !whole || !agree(shard, replicas))
        .map(|(_, replicas)| replicas)
        .next()
}

fn replicas(nodes: &[Node], shard: &MapShard) -> Vec<ReplicaStatus> {
    let homes = shard.replicas.iter().map(|replica| {
        let place = Place::of(crate::core::event::PeerName {
            node: replica.node,
            core: replica.core,
        });
        &nodes[place.node].hosts[place.core]
    });
    let processes = homes.filter_map(|host| host.process.as_ref());
    processes
        .flat_map(|process| process.core.replicas())
        .filter(|replica| replica.name().shard == shard.id)
        .map(|replica| replica.status())
        .collect()
}

fn agree(shard: &MapShard, replicas: &[ReplicaStatus]) -> bool {
    let leaders = replicas.iter().filter(|replica| replica.role == ReplicaRole::Leader).count();
    let whole = |replica: &ReplicaStatus| replica.applied == replica.commit && replica.commit == replica.last;
    let same = |one: &ReplicaStatus, other: &ReplicaStatus| (one.applied, one.term) == (other.applied, other.term);
    replicas.len() == shard.replicas.len()
        && leaders == 1
        && replicas.iter().all(whole)
        && replicas.windows(2).all(|pair| same(&pair[0], &pair[1]))
}
