//! What a core's disk has lost of what was durable, as only the simulation knows it: whom a start may take for
//! damaged, whom it must, and how often a client may hear of damage that is none.
//!
//! Not here, on purpose: losing it (`rot`), judging a start (`check::damage`), and what follows for clients (`client`).

use std::collections::{BTreeMap, BTreeSet};

use margate_net::ids::ShardId;

use crate::types::ReplicaName;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hurt {
    /// Batches that were durable and can be read no more, by sequence.
    lost: BTreeMap<u64, Lost>,
    /// Whether a start could not tell whom it hurts: the log it kept began with a lost batch, and there was no index.
    everyone: bool,
    /// Reads that failed and that no client has heard of yet.
    failed_reads: u64,
}

/// A batch that is lost.
#[derive(Clone, Debug)]
struct Lost {
    segment: u32,
    /// Whose records it held.
    held: BTreeSet<ReplicaName>,
    /// Whether its segment has been reclaimed since: no scan can show it any more.
    reclaimed: bool,
}

/// Where a scan sets in, as a start is judged by it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScanView {
    /// The batch it begins with; nothing if that is lost or it begins with the log.
    pub(crate) begin: Option<u64>,
    /// The first batch that the log holds whole.
    pub(crate) first: Option<u64>,
    /// The batches in which replicas were created, of those that the log holds from their beginning on.
    pub(crate) created: BTreeMap<ReplicaName, u64>,
}

impl Hurt {
    /// A batch is lost.
    pub(crate) fn lose(&mut self, sequence: u64, segment: u32, held: BTreeSet<ReplicaName>) {
        let lost = Lost {
            segment,
            held,
            reclaimed: false,
        };
        self.lost.insert(sequence, lost);
    }

    /// A segment's file is gone, or another's.
    pub(crate) fn reclaimed(&mut self, segment: u32) {
        let lost = self.lost.values_mut().filter(|lost| lost.segment == segment);
        lost.for_each(|lost| lost.reclaimed = true);
    }

    /// A crash has left no segment before this one: what was being deleted is gone.
    pub(crate) fn gone_before(&mut self, oldest: u32) {
        let lost = self.lost.values_mut().filter(|lost| lost.segment < oldest);
        lost.for_each(|lost| lost.reclaimed = true);
    }

    /// Whether anything is lost.
    pub(crate) fn is_hurt(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether a replica may have lost something.
    pub(crate) fn may_hurt(&self, name: ReplicaName) -> bool {
        self.everyone || self.lost.keys().any(|sequence| self.hurts(*sequence, name))
    }

    /// Whether any replica of a shard may have lost something.
    pub(crate) fn may_hurt_any(&self, shard: ShardId) -> bool {
        let held = |lost: &Lost| lost.held.iter().any(|name| name.shard == shard);
        let mut lost = self.lost.iter();
        self.everyone || lost.any(|(sequence, lost)| held(lost) || self.has_neighbour(*sequence))
    }

    /// A start scans the log so. Where the batch before the first whole one is lost, and nothing says where to begin, nobody is spared.
    pub(crate) fn scanned(&mut self, view: &ScanView) {
        self.everyone |= self.begins_lost(view);
    }

    /// Whether a scan meets a loss that may hide a replica from its creation to its end.
    pub(crate) fn hides(&self, view: &ScanView) -> bool {
        let begin = view.begin.filter(|begin| !self.lost.contains_key(begin));
        let mut lost = self.lost.range(begin.unwrap_or(0)..);
        self.begins_lost(view) || lost.any(|(sequence, lost)| !lost.reclaimed && self.has_neighbour(*sequence))
    }

    fn begins_lost(&self, view: &ScanView) -> bool {
        let begins = view.begin.is_some_and(|begin| !self.lost.contains_key(&begin));
        let lost_before = |first: u64| self.lost.get(&(first - 1)).is_some_and(|lost| !lost.reclaimed);
        !begins && view.first.is_some_and(lost_before)
    }

    /// Whether a scan finds that a replica has lost something.
    pub(crate) fn shows(&self, view: &ScanView, name: ReplicaName) -> bool {
        let begin = view.begin.filter(|begin| !self.lost.contains_key(begin));
        let created = view.created.get(&name).copied().unwrap_or(0);
        let mut lost = self.lost.range(begin.unwrap_or(0).max(created)..);
        lost.any(|(sequence, lost)| !lost.reclaimed && self.hurts(*sequence, name))
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
    fn hurts(&self, sequence: u64, name: ReplicaName) -> bool {
        self.has_neighbour(sequence) || self.lost.get(&sequence).is_some_and(|lost| lost.held.contains(&name))
    }

    fn has_neighbour(&self, sequence: u64) -> bool {
        [sequence - 1, sequence + 1].iter().any(|other| self.lost.contains_key(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_net::ids::ReplicaId;

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
        hurt.lose(5, 1, BTreeSet::from([name(1)]));
        hurt.lose(8, 1, BTreeSet::new());
        assert_eq!([1, 2].map(|shard| hurt.may_hurt(name(shard))), [true, false]);
        hurt.lose(9, 1, BTreeSet::from([name(1)]));
        assert!(hurt.may_hurt(name(2)));
    }

    #[test]
    fn a_scan_shows_what_lies_behind_its_beginning() {
        let mut hurt = Hurt::default();
        hurt.lose(5, 1, BTreeSet::from([name(1)]));
        hurt.lose(9, 2, BTreeSet::from([name(2)]));
        let from = |begin| ScanView {
            begin,
            ..ScanView::default()
        };
        assert_eq!([4, 6].map(|begin| hurt.shows(&from(Some(begin)), name(1))), [true, false]);
        assert!(hurt.shows(&from(None), name(1)));
        assert!(
            hurt.shows(&from(Some(9)), name(1)),
            "where its first batch is lost a scan begins anew"
        );
        let created = BTreeMap::from([(name(1), 6)]);
        assert!(
            !hurt.shows(
                &ScanView {
                    created,
                    ..ScanView::default()
                },
                name(1)
            ),
            "it came later"
        );
        hurt.reclaimed(1);
        assert!(!hurt.shows(&from(None), name(1)) && hurt.shows(&from(None), name(2)));
    }

    #[test]
    fn two_lost_batches_in_a_row_hide_a_replica_from_who_meets_them() {
        let mut hurt = Hurt::default();
        let from = |begin| ScanView {
            begin,
            ..ScanView::default()
        };
        hurt.lose(5, 1, BTreeSet::from([name(1)]));
        hurt.lose(7, 1, BTreeSet::from([name(1)]));
        assert!(!hurt.hides(&from(None)), "each is listed by its successor");
        hurt.lose(8, 1, BTreeSet::new());
        assert_eq!([None, Some(6), Some(9)].map(|begin| hurt.hides(&from(begin))), [true, true, false]);
        hurt.reclaimed(1);
        assert!(!hurt.hides(&from(None)));
    }

    #[test]
    fn where_the_log_begins_with_a_loss_everyone_may_be_hurt() {
        let mut hurt = Hurt::default();
        hurt.lose(5, 1, BTreeSet::from([name(1)]));
        let from = |begin, first| ScanView {
            begin,
            first: Some(first),
            ..ScanView::default()
        };
        for view in [from(Some(8), 6), from(None, 3), from(Some(5), 7)] {
            hurt.scanned(&view);
            assert!(!hurt.may_hurt(name(2)) && !hurt.may_hurt_any(ShardId(2)), "{view:?}");
            assert!(!hurt.hides(&view), "{view:?}");
        }
        assert!(hurt.hides(&from(None, 6)));
        hurt.scanned(&from(None, 6));
        assert!(hurt.may_hurt(name(2)) && hurt.may_hurt_any(ShardId(2)));
    }

    #[test]
    fn a_failed_read_explains_one_answer() {
        let mut hurt = Hurt::default();
        hurt.read_failed();
        assert_eq!([hurt.explain_by_read(), hurt.explain_by_read()], [true, false]);
    }
}
