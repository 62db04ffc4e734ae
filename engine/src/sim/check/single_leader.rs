//! Election safety: in one term of a shard one replica leads; at one instant one replica has tenure (invariant 7).

use std::collections::BTreeMap;

use margate_net::ids::{ReplicaId, ShardId, Term};

use crate::consensus::group::Role;
use crate::shard::replica::Replica;
use crate::sim::violation::Violation;
use crate::types::Nanos;

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

/// Two replicas may not have tenure of a shard at the same instant. `others` are of other nodes, each with the present as its
/// node's clock shows it.
pub(crate) fn check_tenure<'a>(here: (&Replica, Nanos), mut others: impl Iterator<Item = (&'a Replica, Nanos)>) -> Result<(), Violation> {
    let (replica, now) = here;
    if !replica.has_tenure(now) {
        return Ok(());
    }
    let name = replica.name();
    let rival = others.find(|(other, now)| other.name().shard == name.shard && other.has_tenure(*now));
    match rival {
        Some((rival, _)) => Err(Violation::TwoTenures {
            name,
            other: rival.name().replica.0,
        }),
        None => Ok(()),
    }
}
