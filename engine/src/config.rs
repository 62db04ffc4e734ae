//! What a node is told at start.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use margate_net::ids::{ClusterId, MapEpoch, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId};
use margate_net::map::{Map, MapError, MapNode, MapReplica, MapShard};

/// A node's configuration, parsed and merged by its caller.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// This node.
    pub node: NodeId,
    /// Its data directory.
    pub data: PathBuf,
    /// All nodes and where their cores are reached, the same list on every node.
    pub nodes: Vec<MapNode>,
    /// Where this node's cores listen, one address for each, if that is not where they are reached; else empty.
    pub listen: Vec<SocketAddr>,
    /// Bounds between shards, rising; one more shard than bounds.
    pub bounds: Vec<Bytes>,
    /// Replicas of each shard.
    pub replication: usize,
    /// Whether this node bootstraps an empty deployment; only the first of the list may.
    pub bootstrap: bool,
    /// Whether each core's thread is pinned to a CPU of its own.
    pub pin: bool,
    /// Whether addresses other than loopback are allowed although nothing is encrypted yet.
    pub insecure: bool,
    /// Whether the data directory may lie on a file system that lives in memory.
    pub volatile: bool,
    /// Milliseconds of a tick; the same on every node.
    pub tick_ms: u32,
    /// Ticks without a leader before an election; the same on every node.
    pub election_ticks: u32,
    /// Milliseconds for which a core may hear nobody before that is counted and told; 0 for ever.
    pub stall_ms: u32,
    /// Bytes of each log segment.
    pub segment_bytes: u32,
    /// Free bytes of the data directory's file system that the logs leave to the indexes; by default what all cores need together.
    pub reserve_bytes: Option<u64>,
    /// Bytes each core's index may grow to.
    pub index_map_bytes: usize,
}

/// The map of a static topology: shards cut by `bounds`, replicas on consecutive nodes so that leaders and load
/// spread, shard `n` on core `n` of those nodes, counted round.
///
/// # Errors
/// [`MapError`]: what is wrong with the nodes or bounds.
pub fn static_map(cluster: ClusterId, nodes: &[MapNode], bounds: &[Bytes], replication: usize) -> Result<Map, MapError> {
    let lows = std::iter::once(Bytes::new()).chain(bounds.iter().cloned());
    let highs = bounds.iter().cloned().chain(std::iter::once(Bytes::new()));
    let shards = lows.zip(highs).zip(0usize..).map(|((low, high), at)| MapShard {
        id: ShardId(at as u64 + 1),
        low,
        high,
        range_epoch: RangeEpoch(1),
        member_epoch: MemberEpoch(1),
        replicas: replicas(nodes, at, replication),
    });
    Map::new(cluster, MapEpoch(1), nodes.to_vec(), shards.collect())
}

fn replicas(nodes: &[MapNode], shard: usize, replication: usize) -> Vec<MapReplica> {
    let homes = nodes
        .iter()
        .cycle()
        .skip(shard % nodes.len().max(1))
        .take(replication.min(nodes.len()));
    homes
        .zip(1..)
        .map(|(home, id)| MapReplica {
            id: ReplicaId(id),
            node: home.id,
            // Which of the node's cores: round after round over the nodes moves on to the next core.
            core: margate_net::ids::CoreId(u16::try_from((shard / nodes.len().max(1)) % home.cores.len().max(1)).unwrap_or(0)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn leaders_and_cores_are_spread() {
        let nodes: Vec<_> = (1..=3u16)
            .map(|id| MapNode {
                id: NodeId(u64::from(id)),
                cores: (0..2).map(|core| ([127, 0, 0, 1], 7300 + 100 * id + core).into()).collect(),
            })
            .collect();
        let bounds: Vec<_> = (1..6u8).map(|at| Bytes::copy_from_slice(&[at * 40])).collect();
        let map = static_map(ClusterId(1), &nodes, &bounds, 3).expect("a sound topology");
        let mut first = BTreeMap::new();
        for shard in map.shards() {
            *first.entry((shard.replicas[0].node, shard.replicas[0].core)).or_insert(0) += 1;
        }
        assert_eq!(first.len(), 6, "six shards lead on six cores: {first:?}");
    }
}
