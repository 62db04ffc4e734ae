//! What the cores of a deployment say: who leads what, and how far each replica has come.

use std::collections::{BTreeMap, BTreeSet};

use margate_client::Client;
use margate_net::ids::{LogIndex, NodeId, ShardId};
use margate_net::message::{CoreStatus, ReplicaRole};

/// What every core that answers says.
pub(crate) async fn answers(client: &Client) -> Vec<CoreStatus> {
    client.status().await.into_iter().filter_map(|core| core.status.ok()).collect()
}

/// The shards a node leads, in order.
pub(crate) fn shards_led(cores: &[CoreStatus], node: NodeId) -> Vec<ShardId> {
    let replicas = cores.iter().filter(|core| core.node == node).flat_map(|core| &core.replicas);
    let leads = replicas.filter(|replica| replica.role == ReplicaRole::Leader);
    leads.map(|replica| replica.shard).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The highest commit any replica knows of each shard.
pub(crate) fn highest_commits(cores: &[CoreStatus]) -> BTreeMap<ShardId, LogIndex> {
    let mut commits = BTreeMap::new();
    for replica in cores.iter().flat_map(|core| &core.replicas) {
        let highest = commits.entry(replica.shard).or_insert(replica.commit);
        *highest = replica.commit.max(*highest);
    }
    commits
}

/// Whether the node answers and its replica of every shard has applied that much.
pub(crate) fn has_applied(cores: &[CoreStatus], node: NodeId, committed: &BTreeMap<ShardId, LogIndex>) -> bool {
    let own = || cores.iter().filter(|core| core.node == node);
    let replicas = || own().flat_map(|core| &core.replicas);
    let applied = |(shard, commit): (&ShardId, &LogIndex)| replicas().any(|replica| replica.shard == *shard && replica.applied >= *commit);
    own().next().is_some() && committed.iter().all(applied)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use margate_net::ids::{CoreId, ReplicaId, Term};
    use margate_net::message::ReplicaStatus;

    fn replica(shard: u64, role: ReplicaRole, commit: u64, applied: u64) -> ReplicaStatus {
        ReplicaStatus {
            term: Term(1),
            commit: LogIndex(commit),
            applied: LogIndex(applied),
            last: LogIndex(commit),
            ..ReplicaStatus::new(ShardId(shard), ReplicaId(1), role)
        }
    }

    /// A core that says nothing but of its replicas.
    pub(crate) fn core(node: u64, replicas: Vec<ReplicaStatus>) -> CoreStatus {
        CoreStatus {
            replicas,
            ..CoreStatus::new(NodeId(node), CoreId(0))
        }
    }

    #[test]
    fn what_a_node_leads_is_gathered_over_its_cores() {
        let (leads, follows) = (ReplicaRole::Leader, ReplicaRole::Follower);
        let cores = [
            core(1, vec![replica(1, leads, 1, 1), replica(2, follows, 1, 1)]),
            core(1, vec![replica(3, leads, 1, 1)]),
            core(2, vec![replica(2, leads, 1, 1)]),
        ];
        let led = |node| shards_led(&cores, NodeId(node));
        assert_eq!((led(1), led(2), led(3)), (vec![ShardId(1), ShardId(3)], vec![ShardId(2)], vec![]));
    }

    #[test]
    fn a_node_has_caught_up_when_it_has_applied_what_any_replica_knew_to_be_committed() {
        let follows = ReplicaRole::Follower;
        let committed = highest_commits(&[
            core(1, vec![replica(1, follows, 5, 5), replica(2, follows, 9, 9)]),
            core(2, vec![replica(1, follows, 7, 2)]),
        ]);
        assert_eq!(committed, BTreeMap::from([(ShardId(1), LogIndex(7)), (ShardId(2), LogIndex(9))]));
        let caught_up = |one, two| {
            let cores = [core(3, vec![replica(1, follows, 9, one), replica(2, follows, 9, two)])];
            has_applied(&cores, NodeId(3), &committed)
        };
        assert!(caught_up(7, 9) && caught_up(8, 10));
        assert!(!caught_up(6, 9) && !caught_up(7, 8));
        assert!(!has_applied(&[], NodeId(3), &committed));
        assert!(!has_applied(&[], NodeId(3), &BTreeMap::new()), "it does not answer");
    }
}
