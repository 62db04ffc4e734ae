//! What a node holds of its shards: the same whether its index is as it was or made anew, and the same on every replica.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use margate_engine::index::row::Row;
use margate_engine::log::effects::{ExpectedEffect, effect_bytes, read_effect};
use margate_engine::shard::replica::Replica;
use margate_engine::types::ValueHash;
use margate_net::ids::{LogIndex, ShardId, Version};
use margate_net::message::Direction;

use super::files::node::Node;

/// What a replica holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    applied: LogIndex,
    state: Bytes,
    rows: BTreeMap<Bytes, (Version, u64, ValueHash)>,
}

/// What a node holds of each shard; every value was read.
pub(crate) fn contents(node: &Node) -> Result<BTreeMap<ShardId, Contents>, String> {
    let replicas = node.core.replicas();
    replicas
        .map(|replica| Ok((replica.name().shard, of_replica(node, replica)?)))
        .collect()
}

/// What differs between two, in words.
pub(crate) fn compare(one: &BTreeMap<ShardId, Contents>, other: &BTreeMap<ShardId, Contents>) -> Result<(), String> {
    let versions = |all: &BTreeMap<ShardId, Contents>| {
        let one = |contents: &Contents| {
            (
                contents.applied,
                contents.rows.iter().map(|(key, row)| (key.clone(), row.0)).collect(),
            )
        };
        all.values().map(one).collect::<Vec<(LogIndex, Vec<_>)>>()
    };
    if one == other {
        Ok(())
    } else {
        Err(format!("applied and rows are {:?} and {:?}", versions(one), versions(other)))
    }
}

fn of_replica(node: &Node, replica: &Replica) -> Result<Contents, String> {
    let (owned, mut found) = (replica.owned(), Vec::new());
    let scanned = node
        .core
        .index()
        .scan(owned.space, &owned.low, &owned.high, Direction::Forward, &mut |key, row| {
            found.push((Bytes::copy_from_slice(key), row));
            ControlFlow::Continue(())
        });
    scanned.map_err(|error| error.to_string())?;
    for (key, row) in &found {
        read_value(node, replica.name().shard, key, row)?;
    }
    let rows = found.into_iter().map(|(key, row)| (key, (row.version, row.size, row.hash)));
    Ok(Contents {
        applied: replica.applied(),
        state: replica.state().encode(),
        rows: rows.collect(),
    })
}

/// The place a row names holds the value it is for.
fn read_value(node: &Node, shard: ShardId, key: &[u8], row: &Row) -> Result<(), String> {
    let expected = ExpectedEffect {
        cluster: node.config.log.cluster,
        shard,
        key,
        version: row.version,
    };
    let length = usize::try_from(effect_bytes(key.len(), row.size)).expect("values are small");
    let wrong = |why: String| format!("the row of {} names {}: {why}", key.escape_ascii(), row.position);
    let bytes = node.read(row.position, length).map_err(|fault| wrong(fault.to_string()))?;
    let value = read_effect(&bytes, &expected).map_err(|fault| wrong(fault.to_string()))?.value;
    if ValueHash::of(value) == row.hash {
        Ok(())
    } else {
        Err(wrong("the value is another".to_owned()))
    }
}
