//! What the tests of several modules need.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use margate_net::ids::{ClusterId, CoreId, MapEpoch, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId};
use margate_net::map::{Map, MapNode, MapReplica, MapShard};
use margate_net::message::{Consistency, Direction, Operation, Precondition, Projection, ReadVersion, Returning};

/// Three nodes of two cores, and as many shards as there are bounds plus one; shard `s` prefers node `s`
/// of three and lives on core `s` of two.
pub(crate) fn map(epoch: u64, bounds: &[&[u8]]) -> Arc<Map> {
    let core = |node: u64, core: u16| address(u16::try_from(node).expect("few nodes") * 100 + core);
    let nodes = (1..=3)
        .map(|node| MapNode {
            id: NodeId(node),
            cores: vec![core(node, 0), core(node, 1)],
        })
        .collect();
    let lows = [b"".as_slice()].into_iter().chain(bounds.iter().copied());
    let highs = bounds.iter().copied().chain([b"".as_slice()]);
    let shards = (1u64..).zip(lows.zip(highs)).map(|(id, (low, high))| MapShard {
        id: ShardId(id),
        low: Bytes::copy_from_slice(low),
        high: Bytes::copy_from_slice(high),
        range_epoch: RangeEpoch(epoch),
        member_epoch: MemberEpoch(1),
        replicas: replicas(id),
    });
    Arc::new(Map::new(ClusterId(9), MapEpoch(epoch), nodes, shards.collect()).expect("the parts make a map"))
}

fn replicas(shard: u64) -> Vec<MapReplica> {
    let core = CoreId(u16::try_from(shard % 2).expect("two cores"));
    let node = |turn: u64| NodeId((shard + turn) % 3 + 1);
    (0..3)
        .map(|turn| MapReplica {
            id: ReplicaId(turn + 1),
            node: node(turn),
            core,
        })
        .collect()
}

/// A plain set.
pub(crate) fn set(key: &[u8], value_bytes: usize) -> Operation {
    Operation::Set {
        key: Bytes::copy_from_slice(key),
        value: Bytes::from(vec![7; value_bytes]),
        precondition: Precondition::Always,
        returning: Returning::default(),
    }
}

/// Some core's address.
pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A plain get.
pub(crate) fn get(key: &[u8], consistency: Consistency) -> Operation {
    Operation::Get {
        key: Bytes::copy_from_slice(key),
        version: ReadVersion::Latest,
        consistency,
        returning: Returning::default(),
    }
}

/// A list with values.
pub(crate) fn list(low: &[u8], high: &[u8], direction: Direction) -> Operation {
    Operation::List {
        low: Bytes::copy_from_slice(low),
        high: Bytes::copy_from_slice(high),
        limit: 10,
        direction,
        projection: Projection::KeysAndValues,
        consistency: Consistency::Linearizable,
    }
}
