//! What a replica says of itself: to `margate status`, and to who asks whether it could stand in for another.
//!
//! Not here, on purpose: what its core says (`core::status`).

use margate_net::ids::{LogIndex, Term};
use margate_net::message::{Readiness, ReplicaRole, ReplicaStatus};

use super::replica::Replica;
use crate::consensus::group::Role;

impl Replica {
    /// What it tells `margate status`.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        ReplicaStatus {
            shard: self.name.shard,
            replica: self.name.replica,
            role: match self.group.role() {
                Role::Follower => ReplicaRole::Follower,
                Role::Candidate => ReplicaRole::Candidate,
                Role::Leader => ReplicaRole::Leader,
            },
            leader: self.leader(),
            term: self.group.term(),
            commit: self.group.commit(),
            applied: self.applied,
            last: self.group.last(),
            writes: self.writes.0,
            readiness: self.readiness(),
        }
    }

    fn readiness(&self) -> Readiness {
        if !self.votes() {
            Readiness::Voteless
        } else if self.group.leader().is_none() {
            Readiness::Leaderless
        } else if self.caught_up.is_done() {
            Readiness::Ready
        } else {
            Readiness::Behind
        }
    }

    /// A message of this term's leader names a commit.
    pub(crate) fn heard_commit(&mut self, term: Term, commit: LogIndex) {
        if term == self.group.term() {
            self.caught_up.heard(commit, self.group.heartbeat_ticks());
        }
    }

    /// Writes and reads that wait here, and entries that are under way.
    pub(crate) fn waiting(&self) -> (usize, usize, usize) {
        (self.queue.len(), self.reads.len(), self.in_flight.len())
    }
}
