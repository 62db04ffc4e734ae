//! Replicas at equal applied index hold equal rows and equal state (invariant 8).
//!
//! Not here, on purpose: where rows point to, which is each core's own.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::ControlFlow;

use margate_net::ids::{LogIndex, ShardId};
use margate_net::message::Direction;
use rustc_hash::FxHasher;

use crate::index::store::IndexReader;
use crate::index::view::Index;
use crate::shard::replica::Replica;
use crate::sim::violation::Violation;

/// The hash of every state any replica was in.
#[derive(Default)]
pub(crate) struct States {
    hashes: BTreeMap<(ShardId, LogIndex), u64>,
}

impl States {
    /// Looks at a replica. Returns its state's hash.
    pub(crate) fn see<R: IndexReader>(&mut self, replica: &Replica, index: &Index<R>) -> Result<u64, Violation> {
        let (name, applied) = (replica.name(), replica.applied());
        let hash = hash(replica, index);
        if *self.hashes.entry((name.shard, applied)).or_insert(hash) == hash {
            Ok(hash)
        } else {
            Err(Violation::StatesDisagree { name, index: applied })
        }
    }
}

fn hash<R: IndexReader>(replica: &Replica, index: &Index<R>) -> u64 {
    let state = replica.state();
    let mut hasher = FxHasher::default();
    hasher.write(&state.encode());
    let mut row = |key: &[u8], row: crate::index::row::Row| {
        hasher.write_usize(key.len());
        hasher.write(key);
        hasher.write_u64(row.version.0);
        hasher.write_u64(row.size);
        hasher.write(&row.hash.0);
        ControlFlow::Continue(())
    };
    index
        .scan(replica.space, &state.low, &state.high, Direction::Forward, &mut row)
        .expect("the index in memory is always readable");
    hasher.finish()
}
