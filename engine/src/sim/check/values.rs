//! Invariant 5 on disk: every row of every replica that runs leads to a record that is whole. Once faults have ended, what is not is
//! mended from other members as soon as somebody reads it.
//!
//! Not here, on purpose: reading it (`settle`).

use std::ops::ControlFlow;

use bytes::Bytes;
use margate_net::ids::ClusterId;
use margate_net::message::Direction;

use crate::index::row::Row;
use crate::log::effects::{ExpectedEffect, effect_length, read_effect};
use crate::shard::replica::Replica;
use crate::sim::node::{Host, Node};

/// Live values that some replica does not have whole: on which node, and their keys.
pub(crate) fn damaged(nodes: &[Node], cluster: ClusterId) -> Vec<(usize, Bytes)> {
    let mut damaged = Vec::new();
    let hosts = nodes.iter().enumerate();
    for (node, host) in hosts.flat_map(|(at, node)| node.hosts.iter().map(move |host| (at, host))) {
        let Some(process) = host.process.as_ref() else { continue };
        for replica in process.core.replicas() {
            let owned = replica.owned();
            let visit = &mut |key: &[u8], row: Row| {
                if !is_whole((host, cluster), replica, key, row) {
                    damaged.push((node, Bytes::copy_from_slice(key)));
                }
                ControlFlow::Continue(())
            };
            let index = process.core.index();
            let scanned = index.scan(owned.space, &owned.low, &owned.high, Direction::Forward, visit);
            scanned.expect("memory never fails");
        }
    }
    damaged
}

fn is_whole((host, cluster): (&Host, ClusterId), replica: &Replica, key: &[u8], row: Row) -> bool {
    let expected = ExpectedEffect {
        cluster,
        shard: replica.name().shard,
        key,
        version: row.version,
    };
    let length = effect_length(key.len(), row.size);
    // No byte of an empty value is ever read.
    let read = host.disk.read_at(row.position, length).ok();
    row.size == 0 || read.is_some_and(|bytes| read_effect(&bytes, &expected).is_ok())
}
