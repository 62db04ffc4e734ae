//! Who belongs to each shard, as the newest applied state of any replica says: nobody is stopped as removed who is not, and
//! tenure rests on a round that began after the last change of members.
//!
//! Not here, on purpose: what members may do to each other (`log_agreement`, `single_leader`).

use std::collections::BTreeMap;

use margate_net::ids::{MemberEpoch, ShardId};

use crate::shard::members::Members;
use crate::shard::replica::Replica;
use crate::sim::violation::Violation;
use crate::types::{Nanos, ReplicaName};

/// The newest members of each shard that any replica has applied.
#[derive(Default)]
pub(crate) struct Membership {
    newest: BTreeMap<ShardId, (MemberEpoch, Members)>,
}

/// Since when, on their own clocks, a process's replicas have had their members.
#[derive(Default)]
pub(crate) struct Changes(BTreeMap<ReplicaName, (MemberEpoch, Nanos)>);

impl Membership {
    /// Looks at a replica.
    pub(crate) fn see(&mut self, replica: &Replica) {
        let (shard, state) = (replica.name().shard, replica.state());
        if self.newest.get(&shard).is_none_or(|(epoch, _)| *epoch < state.member_epoch) {
            self.newest.insert(shard, (state.member_epoch, state.members.clone()));
        }
    }

    /// Whether a replica has been a member and is one no more.
    pub(crate) fn has_removed(&self, name: ReplicaName) -> bool {
        self.newest
            .get(&name.shard)
            .is_some_and(|(_, members)| members.has_removed(name.replica))
    }

    /// Whether a replica votes, and no change is under way.
    pub(crate) fn votes(&self, name: ReplicaName) -> bool {
        let votes = |members: &Members| members.voters.contains(&name.replica) && !members.is_joint();
        self.newest.get(&name.shard).is_none_or(|(_, members)| votes(members))
    }
}

impl Changes {
    /// Looks at a replica after a turn at `now` on its clock.
    pub(crate) fn see(&mut self, replica: &Replica, now: Nanos) -> Result<(), Violation> {
        let (name, epoch) = (replica.name(), replica.state().member_epoch);
        // A process begins without tenure.
        let (known, changed) = self.0.entry(name).or_insert((epoch, Nanos(0)));
        if *known != epoch {
            (*known, *changed) = (epoch, now);
        }
        match replica.tenure_rests_on(now) {
            Some(began) if began < *changed => Err(Violation::TenureOfFormerMembers { name }),
            Some(_) | None => Ok(()),
        }
    }
}
