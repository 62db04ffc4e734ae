//! What the core knows of each segment it has written itself: the rows that point into it, the last entries in it, whether it holds
//! deletes. A segment to which no row points and that holds no delete need not be read for reclaim.
//!
//! Invariants: a segment is known only if all of it was written since the start, so nothing in it was missed; rows count as committed
//! to the index, and reclaim asks only for segments before the replay mark, whose rows are all in the committed generation.
//!
//! Not here, on purpose: segments from before the start (they are read), bytes that live (`index::live_bytes`).

use std::collections::BTreeMap;

use margate_net::ids::LogIndex;

use crate::index::churn::Churn;
use crate::types::ReplicaName;

/// The last entry of each replica in a segment.
pub(super) type LastEntries = BTreeMap<ReplicaName, LogIndex>;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The first segment that was begun since the start.
    from: u32,
    segments: BTreeMap<u32, Known>,
}

#[derive(Debug)]
struct Known {
    /// Rows that point into it; nothing once that cannot be right, because a row of a damaged index said where it had pointed.
    rows: Option<u64>,
    last: LastEntries,
    /// Whether a delete was applied from it.
    deletes: bool,
}

impl Ledger {
    /// Of a core whose log goes on in this segment.
    pub(super) const fn new(goes_on_in: u32) -> Self {
        Self {
            from: goes_on_in.saturating_add(1),
            segments: BTreeMap::new(),
        }
    }

    /// An entry is being written to a segment.
    pub(super) fn wrote(&mut self, segment: u32, name: ReplicaName, index: LogIndex) {
        if let Some(known) = self.known(segment) {
            // The greatest may have been replaced since: who truncates by it stops at what is applied.
            let last = known.last.entry(name).or_default();
            *last = index.max(*last);
        }
    }

    /// Deletes that stand in a segment were applied.
    pub(super) fn deleted(&mut self, segment: u32) {
        if let Some(known) = self.known(segment) {
            known.deletes = true;
        }
    }

    /// A generation is durable that moved rows so.
    pub(super) fn committed(&mut self, churn: &Churn) {
        for (segment, rows) in churn.iter() {
            if let Some(known) = self.known(segment) {
                known.rows = known.rows.and_then(|before| before.checked_add_signed(rows));
            }
        }
    }

    /// The last entries in a segment in which nothing lives any more, and nothing that a rebuild of the index would need.
    pub(super) fn dead(&self, segment: u32, rows_forgotten: u64) -> Option<&LastEntries> {
        let known = self.segments.get(&segment).filter(|known| !known.deletes)?;
        known.rows.is_some_and(|rows| rows <= rows_forgotten).then_some(&known.last)
    }

    /// A segment is gone, with all before it.
    pub(super) fn released(&mut self, segment: u32) {
        self.segments = self.segments.split_off(&segment.saturating_add(1));
    }

    fn known(&mut self, segment: u32) -> Option<&mut Known> {
        (segment >= self.from).then(|| self.segments.entry(segment).or_default())
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            rows: Some(0),
            last: BTreeMap::new(),
            deletes: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::row::Row;
    use crate::types::Position;
    use margate_net::ids::{ReplicaId, ShardId};

    const NAME: ReplicaName = ReplicaName {
        shard: ShardId(1),
        replica: ReplicaId(1),
    };

    /// A ledger of a core whose log goes on in segment 3, with entries in that one and the next two.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(3);
        for (segment, index) in [(3, 10), (4, 11), (4, 13), (4, 12), (5, 13)] {
            ledger.wrote(segment, NAME, LogIndex(index));
        }
        ledger
    }

    fn churn(gains: &[u32], losses: &[u32]) -> Churn {
        let row = |segment| Row {
            position: Position { segment, offset: 0 },
            ..crate::index::conformance::row(1)
        };
        let mut churn = Churn::default();
        losses.iter().for_each(|segment| churn.lose(&row(*segment)));
        gains.iter().for_each(|segment| churn.gain(&row(*segment)));
        churn
    }

    #[test]
    fn what_was_not_written_whole_since_the_start_is_never_dead() {
        let mut ledger = ledger();
        ledger.committed(&churn(&[], &[2, 3]));
        assert!([0, 2, 3, 6].into_iter().all(|segment| ledger.dead(segment, 0).is_none()));
        assert_eq!(ledger.dead(4, 0), Some(&LastEntries::from([(NAME, LogIndex(13))])));
    }

    #[test]
    fn a_segment_is_dead_while_no_committed_row_points_into_it() {
        let mut ledger = ledger();
        ledger.committed(&churn(&[4, 4, 5], &[2]));
        ledger.committed(&churn(&[5], &[4]));
        assert_eq!((ledger.dead(4, 0), ledger.dead(5, 0)), (None, None));
        assert!(ledger.dead(4, 1).is_some(), "a planted bug sees one row fewer");
        ledger.committed(&churn(&[5], &[4]));
        assert!(ledger.dead(4, 0).is_some() && ledger.dead(5, 0).is_none());
    }

    #[test]
    fn a_segment_with_a_delete_is_read_whatever_points_into_it() {
        let mut ledger = ledger();
        ledger.deleted(4);
        assert_eq!((ledger.dead(4, 0), ledger.dead(5, 0).is_some()), (None, true));
    }

    #[test]
    fn a_count_that_cannot_be_right_is_not_believed_any_more() {
        let mut ledger = ledger();
        ledger.committed(&churn(&[], &[4]));
        ledger.committed(&churn(&[4], &[]));
        ledger.committed(&churn(&[], &[4]));
        assert_eq!(ledger.dead(4, 0), None);
    }

    #[test]
    fn released_segments_are_forgotten() {
        let mut ledger = ledger();
        ledger.released(4);
        assert_eq!(ledger.segments.keys().copied().collect::<Vec<_>>(), [5]);
    }
}
