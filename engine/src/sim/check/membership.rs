//! Who belongs to each shard, as the newest applied state of any replica says: nobody is stopped as removed who is not, and
//! tenure rests on a round that began after the last change of members.
//!
//! Not here, on purpose: what members may do to each other (`log_agreement`, `single_leader`).

use std::collections::BTreeMap;

use margate_net::ids::{LogIndex, MemberEpoch, ReplicaId, ShardId};

use crate::shard::members::Members;
use crate::shard::replica::Replica;
use crate::sim::violation::Violation;
use crate::types::{Nanos, ReplicaName};

/// The newest members of each shard that any replica has applied.
#[derive(Default)]
pub(crate) struct Membership {
    newest: BTreeMap<ShardId, Newest>,
}

/// Members as a replica had them first.
struct Newest {
    epoch: MemberEpoch,
    members: Members,
    /// What that replica had applied by then.
    applied: LogIndex,
}

/// Since when, on their own clocks, a process's replicas have had their members.
#[derive(Default)]
pub(crate) struct Changes(BTreeMap<ReplicaName, (MemberEpoch, Nanos)>);

impl Membership {
    /// Looks at a replica.
    pub(crate) fn see(&mut self, replica: &Replica) {
        let (shard, state) = (replica.name().shard, replica.state());
        if self.newest.get(&shard).is_none_or(|newest| newest.epoch < state.member_epoch) {
            let newest = Newest {
                epoch: state.member_epoch,
                members: state.members.clone(),
                applied: replica.applied(),
            };
            self.newest.insert(shard, newest);
        }
    }

    /// Whether a replica's id has been given out.
    pub(crate) fn has_issued(&self, name: ReplicaName) -> bool {
        self.newest
            .get(&name.shard)
            .is_some_and(|newest| name.replica <= newest.members.highest)
    }

    /// Whether a replica has been a member and is one no more.
    pub(crate) fn has_removed(&self, name: ReplicaName) -> bool {
        self.newest
            .get(&name.shard)
            .is_some_and(|newest| newest.members.has_removed(name.replica))
    }

    /// Whether most voters of each shard know its members by what is on their disks. Until then a crash takes all of them back to the
    /// members before, whose quorum may then be needed once more.
    pub(crate) fn are_settled(&self, commit: impl Fn(ReplicaName) -> LogIndex) -> bool {
        self.newest.iter().all(|(shard, newest)| {
            let voters = &newest.members.voters;
            let know = |replica: &&ReplicaId| {
                let (shard, replica) = (*shard, **replica);
                commit(ReplicaName { shard, replica }) >= newest.applied
            };
            2 * voters.iter().filter(know).count() > voters.len()
        })
    }

    /// Whether a replica votes, and no change is under way.
    pub(crate) fn votes(&self, name: ReplicaName) -> bool {
        let votes = |members: &Members| members.voters.contains(&name.replica) && !members.is_joint();
        self.newest.get(&name.shard).is_none_or(|newest| votes(&newest.members))
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
