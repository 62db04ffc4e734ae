//! The first batch of a new core: a checkpoint for each of its replicas, before anything else is in the log.
//!
//! A replica exists once its checkpoint is durable. A core whose node has been created but whose log holds no
//! checkpoint has lost its log, and must not vote: replay refuses it.

use margate_net::ids::{CoreId, LogIndex, NodeId, Space, Term, Version};
use margate_net::map::Map;

use crate::log::flush::Flush;
use crate::log::record::Record;
use crate::log::segment::{LogConfig, ReadySegment};
use crate::log::writer::{FlushStep, LogWriter, Resume};
use crate::shard::members::Members;
use crate::shard::state::ShardState;
use crate::types::{Nanos, ReplicaName};

/// The checkpoints of all replicas the map puts on this core; spaces are given in the map's order, from 1.
#[must_use]
pub fn checkpoints(map: &Map, node: NodeId, core: CoreId, wall: Nanos) -> Vec<Record> {
    let here = map.shards().iter().filter_map(|shard| {
        let replica = shard.replicas.iter().find(|replica| (replica.node, replica.core) == (node, core))?;
        Some((shard, replica))
    });
    here.zip(1..)
        .map(|((shard, replica), space)| {
            let state = ShardState {
                low: shard.low.clone(),
                high: shard.high.clone(),
                range_epoch: shard.range_epoch,
                member_epoch: shard.member_epoch,
                members: Members::of(shard.replicas.iter().map(|replica| replica.id).collect()),
                version_high: Version(0),
                clock: Nanos(0),
            };
            let name = ReplicaName {
                shard: shard.id,
                replica: replica.id,
            };
            Record::Checkpoint {
                name,
                space: Space(space),
                applied: LogIndex(0),
                applied_term: Term(0),
                kept_from: 1,
                state: state.encode(),
                timestamp: wall,
            }
        })
        .collect()
}

/// The flushes that create a core's replicas in an empty log; none if the map puts none here.
#[must_use]
pub fn creation_flushes(config: LogConfig, first: ReadySegment, records: Vec<Record>, wall: Nanos) -> Vec<Flush> {
    let mut log = LogWriter::new(config, Resume::fresh());
    log.segments_wanted(usize::MAX);
    log.segment_ready(first);
    records.into_iter().for_each(|record| log.push(record));
    let mut flushes = Vec::new();
    while let FlushStep::Write(flush) = log.flush(Nanos(0), wall) {
        log.flushed(flush.sequence, Nanos(0));
        flushes.push(flush);
    }
    flushes
}
