//! What a core's disk has lost of what was durable, as only the simulation knows it: whom a start may take for
//! damaged, whom it must, and how often a client may hear of damage that is none.
//!
//! Not here, on purpose: losing it (`rot`), judging a start (`check::damage`), and what follows for clients (`client`).

use std::collections::{BTreeMap, BTreeSet};

use crate::types::ReplicaName;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hurt {
    /// Batches that were durable and can be read no more: whose records they held, by sequence.
    lost: BTreeMap<u64, BTreeSet<ReplicaName>>,
    /// Reads that failed and that no client has heard of yet.
    failed_reads: u64,
}

impl Hurt {
    /// A batch is lost.
    pub(crate) fn lose(&mut self, sequence: u64, held: BTreeSet<ReplicaName>) {
        self.lost.insert(sequence, held);
    }

    /// Whether anything is lost.
    pub(crate) fn is_hurt(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether a replica may have lost something.
    pub(crate) fn may_hurt(&self, name: ReplicaName) -> bool {
        self.hurts_from(0, name)
    }

    /// Whether a scan that would begin with a batch finds that a replica has lost something. Nothing for a scan from the log's
    /// beginning, which also follows where the batch itself is lost.
    pub(crate) fn shows(&self, begin: Option<u64>, name: ReplicaName) -> bool {
        let begin = begin.filter(|begin| !self.lost.contains_key(begin));
        self.hurts_from(begin.unwrap_or(0), name)
    }

    /// A read from the log failed, though nothing is lost.
    pub(crate) fn read_failed(&mut self) {
        self.failed_reads += 1;
    }

    /// A client hears of damage. Whether a read that failed explains it; one explains one answer.
    pub(crate) fn explain_by_read(&mut self) -> bool {
        let explained = self.failed_reads > 0;
        self.failed_reads = self.failed_reads.saturating_sub(1);
        explained
    }

    /// What a batch held is known from its successor's list alone: where that is lost too, every replica is hurt.
    fn hurts_from(&self, begin: u64, name: ReplicaName) -> bool {
        let alone = |sequence: &u64| !self.lost.contains_key(&(sequence + 1)) && !self.lost.contains_key(&(sequence - 1));
        let mut lost = self.lost.range(begin..);
        lost.any(|(sequence, held)| held.contains(&name) || !alone(sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_net::ids::{ReplicaId, ShardId};

    fn name(shard: u64) -> ReplicaName {
        ReplicaName {
            shard: ShardId(shard),
            replica: ReplicaId(1),
        }
    }

    #[test]
    fn one_batch_hurts_whom_it_held_and_two_in_a_row_all() {
        let mut hurt = Hurt::default();
        assert!(!hurt.is_hurt() && !hurt.may_hurt(name(1)));
        hurt.lose(5, BTreeSet::from([name(1)]));
        hurt.lose(8, BTreeSet::new());
        assert_eq!([1, 2].map(|shard| hurt.may_hurt(name(shard))), [true, false]);
        hurt.lose(9, BTreeSet::from([name(1)]));
        assert!(hurt.may_hurt(name(2)));
    }

    #[test]
    fn a_scan_shows_what_lies_behind_its_beginning() {
        let mut hurt = Hurt::default();
        hurt.lose(5, BTreeSet::from([name(1)]));
        hurt.lose(9, BTreeSet::from([name(2)]));
        assert_eq!([4, 6].map(|begin| hurt.shows(Some(begin), name(1))), [true, false]);
        assert!(hurt.shows(None, name(1)));
        assert!(hurt.shows(Some(9), name(1)), "where its first batch is lost a scan begins anew");
    }

    #[test]
    fn a_failed_read_explains_one_answer() {
        let mut hurt = Hurt::default();
        hurt.read_failed();
        assert_eq!([hurt.explain_by_read(), hurt.explain_by_read()], [true, false]);
    }
}
