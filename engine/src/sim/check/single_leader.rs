//! Election safety: in one term of a shard one replica leads.
//!
//! Not here, on purpose: tenure, which comes later and must be exclusive at every instant.

use std::collections::BTreeMap;

use margate_net::ids::{ReplicaId, ShardId, Term};

use crate::consensus::group::Role;
use crate::shard::replica::Replica;
use crate::sim::violation::Violation;

/// Who led when.
#[derive(Default)]
pub(crate) struct Leaders {
    by_term: BTreeMap<(ShardId, Term), ReplicaId>,
}

impl Leaders {
    /// Looks at a replica. True if it is a leader not seen before.
    pub(crate) fn see(&mut self, replica: &Replica) -> Result<bool, Violation> {
        if replica.group().role() != Role::Leader {
            return Ok(false);
        }
        let (name, term) = (replica.name(), replica.group().term());
        let mut new = false;
        let leader = self.by_term.entry((name.shard, term)).or_insert_with(|| {
            new = true;
            name.replica
        });
        if *leader == name.replica {
            Ok(new)
        } else {
            Err(Violation::TwoLeaders {
                name,
                term,
                other: leader.0,
            })
        }
    }
}
