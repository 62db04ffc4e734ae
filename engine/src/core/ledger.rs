//! What the core knows of each segment it has written itself: the rows that point into it, the last entries in it, whether it holds
//! deletes. A segment to which no row points and that holds no delete need not be read for reclaim.
//!
//! Invariants: a segment is known only if all of it was written since the start, so nothing in it was missed; rows count as committed
//! to the index, and reclaim asks only for segments before the replay mark, whose rows are all in the committed generation.
//!
//! Not here, on purpose: segments from before the start (they are read), bytes that live (`index::live_bytes`).

use std::collections::BTreeMap;
use std::ops::Bound;

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
    entries: BTreeMap<ReplicaName, Span>,
    /// Whether a delete was applied from it.
    deletes: bool,
}

/// Entries of one replica in a segment.
#[derive(Clone, Copy, Debug)]
struct Span {
    lowest: LogIndex,
    /// The one that was written last. It and others may have been replaced since, by what later segments hold.
    last: LogIndex,
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
            let first = Span {
                lowest: index,
                last: index,
            };
            let span = known.entries.entry(name).or_insert(first);
            (span.lowest, span.last) = (span.lowest.min(index), index);
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

    /// Whether nothing lives in a segment any more, and nothing stands there that a rebuild of the index would need.
    pub(super) fn is_dead(&self, segment: u32, rows_forgotten: u64) -> bool {
        let known = self.segments.get(&segment).filter(|known| !known.deletes);
        known.is_some_and(|known| known.rows.is_some_and(|rows| rows <= rows_forgotten))
    }

    /// The last entries in a segment.
    pub(super) fn last_entries(&self, segment: u32) -> LastEntries {
        let spans = self.segments.get(&segment).into_iter().flat_map(|known| &known.entries);
        spans.map(|(name, span)| (*name, span.last)).collect()
    }

    /// The entry itself, or the one before those with which later segments have replaced it, perhaps by itself.
    pub(super) fn before_later(&self, segment: u32, name: ReplicaName, last: LogIndex) -> LogIndex {
        let later = self.segments.range((Bound::Excluded(segment), Bound::Unbounded));
        let lowest = later.filter_map(|(_, known)| Some(known.entries.get(&name)?.lowest)).min();
        lowest.map_or(last, |lowest| last.min(LogIndex(lowest.0.saturating_sub(1))))
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
            entries: BTreeMap::new(),
            deletes: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::churn::Count;
    use crate::index::live_bytes::LiveBytes;
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
        for (segment, index) in [(3, 10), (4, 11), (4, 12), (5, 13)] {
            ledger.wrote(segment, NAME, LogIndex(index));
        }
        ledger
    }

    fn last(ledger: &Ledger, segment: u32) -> Option<u64> {
        let last = ledger.last_entries(segment);
        last.get(&NAME).map(|index| ledger.before_later(segment, NAME, *index).0)
    }

    fn churn(gains: &[u32], losses: &[u32]) -> Churn {
        let row = |segment| Row {
            position: Position { segment, offset: 0 },
            ..crate::index::conformance::row(1)
        };
        let mut count = Count::new(LiveBytes::default());
        losses.iter().for_each(|segment| count.lose(1, &row(*segment)));
        gains.iter().for_each(|segment| count.gain(1, &row(*segment)));
        count.churn
    }

    #[test]
    fn what_was_not_written_whole_since_the_start_is_never_dead() {
        let mut ledger = ledger();
        ledger.committed(&churn(&[], &[2, 3]));
        assert!([0, 2, 3, 6].into_iter().all(|segment| !ledger.is_dead(segment, 0)));
        assert!(ledger.is_dead(4, 0));
        assert_eq!((last(&ledger, 3), last(&ledger, 4)), (None, Some(12)));
    }

    #[test]
    fn replaced_entries_are_not_the_last_of_their_segment() {
        let mut ledger = ledger();
        let mut write = |entries: &[(u32, u64)]| {
            entries
                .iter()
                .for_each(|(segment, index)| ledger.wrote(*segment, NAME, LogIndex(*index)));
            [4, 5, 6].map(|segment| last(&ledger, segment))
        };
        assert_eq!(write(&[(5, 14), (5, 15), (5, 14)]), [Some(12), Some(14), None]);
        assert_eq!(write(&[(6, 12), (6, 13)]), [Some(11), Some(11), Some(13)]);
        assert_eq!(write(&[(7, 1)]), [Some(0), Some(0), Some(0)]);
    }

    #[test]
    fn a_segment_is_dead_while_no_committed_row_points_into_it() {
        let mut ledger = ledger();
        ledger.committed(&churn(&[4, 4, 5], &[2]));
        ledger.committed(&churn(&[5], &[4]));
        assert!(!ledger.is_dead(4, 0) && !ledger.is_dead(5, 0));
        assert!(ledger.is_dead(4, 1), "a planted bug sees one row fewer");
        ledger.committed(&churn(&[5], &[4]));
        assert!(ledger.is_dead(4, 0) && !ledger.is_dead(5, 0));
    }

    #[test]
    fn a_segment_with_a_delete_is_read_whatever_points_into_it() {
        let mut ledger = ledger();
        ledger.deleted(4);
        assert!(!ledger.is_dead(4, 0) && ledger.is_dead(5, 0));
    }

    #[test]
    fn a_count_that_cannot_be_right_is_not_believed_any_more() {
        let mut ledger = ledger();
        ledger.committed(&churn(&[], &[4]));
        ledger.committed(&churn(&[4], &[]));
        ledger.committed(&churn(&[], &[4]));
        assert!(!ledger.is_dead(4, 0));
    }

    #[test]
    fn released_segments_are_forgotten() {
        let mut ledger = ledger();
        ledger.released(4);
        assert_eq!(ledger.segments.keys().copied().collect::<Vec<_>>(), [5]);
    }
}
