//! A committed (shard, index) never changes, is the same on all replicas, and is durable where it is applied.
//!
//! Not here, on purpose: what the entries do to keys (`acknowledged`).

use std::collections::BTreeMap;

use margate_net::ids::{LogIndex, ShardId};

use super::witness::{Logged, Witness};
use crate::sim::violation::Violation;
use crate::types::ReplicaName;

/// Every entry any replica has applied.
#[derive(Default)]
pub(crate) struct CommittedLog {
    entries: BTreeMap<(ShardId, LogIndex), Logged>,
}

impl CommittedLog {
    /// A replica has applied the entries above `from` up to `to`.
    pub(crate) fn applied(&mut self, name: ReplicaName, (from, to): (LogIndex, LogIndex), witness: &Witness) -> Result<(), Violation> {
        for index in (from.0 + 1..=to.0).map(LogIndex) {
            let Some(logged) = witness.entry(name, index) else {
                return Err(Violation::AppliedNotDurable { name, index });
            };
            let known = self.entries.entry((name.shard, index)).or_insert_with(|| logged.clone());
            if known != logged {
                return Err(Violation::LogsDisagree {
                    shard: name.shard,
                    index,
                    name,
                    term: logged.term,
                    other: known.term,
                });
            }
        }
        Ok(())
    }

    /// Every entry, in order of shards and indexes.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (ShardId, LogIndex, &Logged)> {
        self.entries.iter().map(|((shard, index), logged)| (*shard, *index, logged))
    }
}
