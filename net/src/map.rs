//! The map: ranges → shards → replicas and their cores' addresses.
//!
//! A value of [`Map`] tiles the key space: the first shard starts at the empty key, each next one
//! where the one before ends, the last one has no end (invariant 7). [`Map::new`] is the only way to
//! make one, so nobody checks again.
//!
//! Not here, on purpose: who leads. Leaders change without a change of the map; refusals tell.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::ids::{ClusterId, CoreId, MapEpoch, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId};
use crate::limits::{CORES_MAX, DOCUMENT_BYTES_MAX, KEY_BYTES_MAX, NODES_MAX, SHARDS_MAX};

/// Ranges, shards, replicas, addresses. See the module's text for what always holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    cluster: ClusterId,
    epoch: MapEpoch,
    nodes: Vec<MapNode>,
    shards: Vec<MapShard>,
}

/// A node and where its cores listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapNode {
    /// The node.
    pub id: NodeId,
    /// Address of each core, by [`CoreId`].
    pub cores: Vec<SocketAddr>,
}

/// A shard, its range `[low, high)` (empty `high`: to the end) and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapShard {
    /// The shard.
    pub id: ShardId,
    /// First key of its range.
    pub low: Bytes,
    /// First key after its range, empty for none.
    pub high: Bytes,
    /// Counts changes of the range.
    pub range_epoch: RangeEpoch,
    /// Counts changes of the members.
    pub member_epoch: MemberEpoch,
    /// Its members; the first is the one that should lead when all are well.
    pub replicas: Vec<MapReplica>,
}

/// A replica and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapReplica {
    /// Its id in the shard.
    pub id: ReplicaId,
    /// Its node.
    pub node: NodeId,
    /// Its core on that node.
    pub core: CoreId,
}

/// Why parts do not make a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// A count is over its limit, or nothing is there.
    #[error("the map has {count} {what}; between 1 and {max} are allowed")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The encoded map would not fit one frame.
    #[error("the map takes {bytes} bytes encoded and at most {max} are allowed; use fewer shards or shorter bounds")]
    Bytes {
        /// Bytes it would take.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Two nodes have one id, or a node has id 0.
    #[error("node id {0} is used twice or is 0; ids start at 1")]
    Node(NodeId),
    /// Two shards have one id, or a shard has id 0.
    #[error("shard id {0} is used twice or is 0; ids start at 1")]
    Shard(ShardId),
    /// A bound is longer than a key may be.
    #[error("shard {shard} has a bound of {length} bytes; keys have at most {max}")]
    Bound {
        /// The shard.
        shard: ShardId,
        /// Bytes in the bound.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The shard's range does not start where the one before ends, or is empty.
    #[error("the range of shard {0} leaves a gap, overlaps another or is empty; give bounds in rising order")]
    Tiling(ShardId),
    /// A replica has id 0 or another's id, shares its node, or names a node or core that is not there.
    #[error("replica {replica} of shard {shard} is not on a core of its own node, or its id is not unique")]
    Replica {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
}

impl Map {
    /// Checks that the parts make a map. Shards must come in the order of their ranges.
    ///
    /// # Errors
    /// [`MapError`] names the first thing that is wrong.
    pub fn new(cluster: ClusterId, epoch: MapEpoch, nodes: Vec<MapNode>, shards: Vec<MapShard>) -> Result<Self, MapError> {
        check_nodes(&nodes)?;
        count("shards", shards.len(), SHARDS_MAX)?;
        let mut ids = BTreeSet::new();
        let mut expected_low = Some(&Bytes::new()).cloned();
        for shard in &shards {
            if shard.id.0 == 0 || !ids.insert(shard.id) {
                return Err(MapError::Shard(shard.id));
            }
            check_range(shard, expected_low.as_ref())?;
            expected_low = (!shard.high.is_empty()).then(|| shard.high.clone());
            check_replicas(shard, &nodes)?;
        }
        check_bytes(&nodes, &shards)?;
        match (expected_low, shards.last()) {
            (Some(_), Some(last)) => Err(MapError::Tiling(last.id)),
            _ => Ok(Self {
                cluster,
                epoch,
                nodes,
                shards,
            }),
        }
    }

    /// The deployment this map is of.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Grows with every change.
    #[must_use]
    pub fn epoch(&self) -> MapEpoch {
        self.epoch
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[MapNode] {
        &self.nodes
    }

    /// All shards, in the order of their ranges.
    #[must_use]
    pub fn shards(&self) -> &[MapShard] {
        &self.shards
    }

    /// The shard whose range holds the key. Total: ranges tile the key space.
    #[must_use]
    pub fn shard_of(&self, key: &[u8]) -> &MapShard {
        // The first shard starts at the empty key, so at least one low bound is <= key.
        let after = self.shards.partition_point(|shard| shard.low.as_ref() <= key);
        &self.shards[after - 1]
    }

    /// The shard that owns the largest keys below `key`; the last one for an empty `key`, which means "the end".
    #[must_use]
    pub fn shard_below(&self, key: &[u8]) -> &MapShard {
        if key.is_empty() {
            return &self.shards[self.shards.len() - 1];
        }
        let after = self.shards.partition_point(|shard| shard.low.as_ref() < key);
        &self.shards[after - 1]
    }

    /// A node by its id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&MapNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Where a core listens.
    #[must_use]
    pub fn address(&self, node: NodeId, core: CoreId) -> Option<SocketAddr> {
        self.node(node)?.cores.get(usize::from(core.0)).copied()
    }
}

impl MapShard {
    /// Whether the range holds the key.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.low.as_ref() <= key && (self.high.is_empty() || key < self.high.as_ref())
    }

    /// The replica on this node, if there is one.
    #[must_use]
    pub fn replica_on(&self, node: NodeId) -> Option<&MapReplica> {
        self.replicas.iter().find(|replica| replica.node == node)
    }
}

fn count(what: &'static str, count: usize, max: usize) -> Result<(), MapError> {
    if (1..=max).contains(&count) {
        Ok(())
    } else {
        Err(MapError::Count { what, count, max })
    }
}

/// A map always fits one frame, whoever sends it. The sizes are those of `schema/wire.fbs`.
fn check_bytes(nodes: &[MapNode], shards: &[MapShard]) -> Result<(), MapError> {
    let of_nodes: usize = nodes.iter().map(|node| 16 + 32 * node.cores.len()).sum();
    let of_shards: usize = shards.iter().map(|shard| 32 + shard.low.len() + 24 * shard.replicas.len()).sum();
    let (bytes, max) = (256 + of_nodes + of_shards, DOCUMENT_BYTES_MAX);
    if bytes <= max {
        Ok(())
    } else {
        Err(MapError::Bytes { bytes, max })
    }
}

fn check_nodes(nodes: &[MapNode]) -> Result<(), MapError> {
    count("nodes", nodes.len(), NODES_MAX)?;
    let mut ids = BTreeSet::new();
    for node in nodes {
        if node.id.0 == 0 || !ids.insert(node.id) {
            return Err(MapError::Node(node.id));
        }
        count("cores", node.cores.len(), CORES_MAX)?;
    }
    Ok(())
}

fn check_range(shard: &MapShard, expected_low: Option<&Bytes>) -> Result<(), MapError> {
    let length = shard.low.len().max(shard.high.len());
    if length > KEY_BYTES_MAX {
        return Err(MapError::Bound {
            shard: shard.id,
            length,
            max: KEY_BYTES_MAX,
        });
    }
    let empty = !shard.high.is_empty() && shard.high <= shard.low;
    if expected_low != Some(&shard.low) || empty {
        Err(MapError::Tiling(shard.id))
    } else {
        Ok(())
    }
}

fn check_replicas(shard: &MapShard, nodes: &[MapNode]) -> Result<(), MapError> {
    count("replicas", shard.replicas.len(), NODES_MAX)?;
    let (mut ids, mut homes) = (BTreeSet::new(), BTreeSet::new());
    for replica in &shard.replicas {
        let home = nodes.iter().find(|node| node.id == replica.node);
        let core_exists = home.is_some_and(|node| usize::from(replica.core.0) < node.cores.len());
        if replica.id.0 == 0 || !core_exists || !ids.insert(replica.id) || !homes.insert(replica.node) {
            return Err(MapError::Replica {
                shard: shard.id,
                replica: replica.id,
            });
        }
    }
    Ok(())
}
