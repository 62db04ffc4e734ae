//! Which commits the log has been told, has written, and holds durably.
//!
//! A replica's commit is not a record: each batch carries the commits that grew since the last one.

use std::collections::BTreeMap;

use margate_net::ids::LogIndex;
use rustc_hash::FxHashMap;

use crate::types::ReplicaName;

/// The commits of a core's replicas.
#[derive(Debug, Default)]
pub(super) struct CommitBook {
    /// Grew and not yet written; ordered, so that the same run writes the same bytes.
    pending: BTreeMap<ReplicaName, LogIndex>,
    /// Highest written, durable or in flight.
    carried: FxHashMap<ReplicaName, LogIndex>,
    /// Highest durable.
    durable: FxHashMap<ReplicaName, LogIndex>,
}

impl CommitBook {
    /// Starts from what a scan found durable.
    pub(super) fn resume(commits: &BTreeMap<ReplicaName, LogIndex>) -> Self {
        let known: FxHashMap<_, _> = commits.iter().map(|(name, commit)| (*name, *commit)).collect();
        Self {
            pending: BTreeMap::new(),
            carried: known.clone(),
            durable: known,
        }
    }

    pub(super) fn note(&mut self, name: ReplicaName, commit: LogIndex) {
        if commit > self.carried.get(&name).copied().unwrap_or_default() {
            let pending = self.pending.entry(name).or_default();
            *pending = commit.max(*pending);
        }
    }

    pub(super) fn forget(&mut self, name: ReplicaName) {
        self.pending.remove(&name);
        self.carried.remove(&name);
        self.durable.remove(&name);
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes up to so many commits into a batch.
    pub(super) fn carry(&mut self, count: usize) -> Vec<(ReplicaName, LogIndex)> {
        let mut taken = Vec::with_capacity(count.min(self.pending.len()));
        while taken.len() < count {
            let Some((name, commit)) = self.pending.pop_first() else { break };
            self.carried.insert(name, commit);
            taken.push((name, commit));
        }
        taken
    }

    /// The batch that carried these is durable.
    pub(super) fn settle(&mut self, commits: &[(ReplicaName, LogIndex)]) {
        for (name, commit) in commits {
            let durable = self.durable.entry(*name).or_default();
            *durable = (*commit).max(*durable);
        }
    }

    pub(super) fn durable(&self, name: ReplicaName) -> LogIndex {
        self.durable.get(&name).copied().unwrap_or_default()
    }
}
