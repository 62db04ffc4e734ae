//! The first core of node 1, its replicas just created.
//!
//! Not here, on purpose: what becomes of it.

use std::collections::BTreeSet;

use bytes::Bytes;
use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId};
use margate_net::map::MapNode;

use crate::config::static_map;
use crate::consensus::group::RaftTicks;
use crate::core::creation::{checkpoints, creation_flushes};
use crate::core::generations::CommitPace;
use crate::core::replay::CoreConfig;
use crate::core::room::DiskLimits;
use crate::log::segment::{LogConfig, ReadySegment};
use crate::planted::Planted;
use crate::sim::disk::Disk;
use crate::types::Nanos;

/// The deployment.
pub(in crate::core) const CLUSTER: ClusterId = ClusterId(7);
/// Wall time of the creation.
pub(in crate::core) const CREATED: Nanos = Nanos(1);

/// The core in a deployment of so many nodes; each has a replica of every shard, and shards are cut at these keys.
pub(in crate::core) fn config(nodes: u16, bounds: &[&'static str], segment_bytes: u32) -> CoreConfig {
    let homes: Vec<_> = (1..=nodes)
        .map(|id| MapNode {
            id: NodeId(id.into()),
            cores: vec![([127, 0, 0, 1], 7_000 + id).into()],
        })
        .collect();
    let bounds: Vec<_> = bounds.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
    let log = LogConfig {
        cluster: CLUSTER,
        directory: DirectoryId(1),
        node: NodeId(1),
        core: CoreId(0),
        segment_bytes,
        ready_min: 2,
    };
    CoreConfig {
        joined: false,
        log,
        map: static_map(CLUSTER, &homes, &bounds, homes.len()).expect("a sound topology"),
        ticks: RaftTicks {
            election: 10,
            heartbeat: 1,
        },
        tick: Nanos(0),
        commits: CommitPace::USUAL,
        disk: DiskLimits::new(2 * u64::from(segment_bytes), segment_bytes, 1),
        suspects: BTreeSet::new(),
        seed: 1,
        planted: Planted::NONE,
    }
}

/// Its disk: one segment, in which the creation of its replicas is durable.
pub(in crate::core) fn created(config: &CoreConfig) -> Disk {
    let first = ReadySegment {
        number: 1,
        salt: 11,
        life: 1,
    };
    let mut disk = Disk::new(config.log);
    disk.begin_segment(first);
    disk.finish_segment(first.number);
    let records = checkpoints(&config.map, config.log.node, config.log.core, CREATED);
    for flush in creation_flushes(config.log, first, records, CREATED) {
        disk.begin_write(&flush);
        disk.finish_write();
    }
    disk
}
