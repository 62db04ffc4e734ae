//! From committed entries to the index's overlay: write-if-newer, no look-up, no I/O, the same on every replica.

use bytes::Bytes;
use margate_net::ids::LogIndex;

use super::answer::Answer;
use super::replica::Replica;
use super::state::ShardState;
use crate::consensus::group::entry_parts;
use crate::index::row::{Row, RowFlags, Slot};
use crate::index::store::IndexReader;
use crate::index::view::{Index, OwnedRange};
use crate::limits;
use crate::log::effects::{EffectKind, EntryData};
use crate::types::Position;

/// A value that was just applied, for the cache of a leader that is likely to be asked for it.
pub trait AppliedValues {
    /// The value of the record at this place.
    fn applied(&mut self, position: Position, value: &[u8]);
}

impl Replica {
    /// Applies what is committed, while the overlay has room; answers whoever waits for it.
    pub fn apply<R: IndexReader>(&mut self, index: &mut Index<R>, values: &mut impl AppliedValues, out: &mut Vec<Answer>) {
        let before = self.applied;
        while index.active_bytes() < limits::OVERLAY_BYTES_MAX
            && let Some(entry) = self.backlog.pop_front()
        {
            let (term, at, _, data) = entry_parts(&entry);
            assert_eq!(at, self.applied.next(), "{}: gap before entry {at}", self.name);
            let place = self.group.place_of(at).expect("raft commits here only what this log holds").data;
            let values = self.leads().then_some(&mut *values);
            let owned = self.owned();
            apply_entry(&mut self.state, &owned, (&data, place), index, values);
            self.applied = at;
            self.applied_term = term;
            self.pending.applied(at);
            self.answer_applied(at, out);
        }
        if self.applied > before {
            self.group.applied(self.applied);
            self.version_next = self.version_next.max(self.state.version_high.next());
        }
    }

    fn answer_applied(&mut self, at: LogIndex, out: &mut Vec<Answer>) {
        while self.in_flight.front().is_some_and(|first| first.index <= at) {
            if let Some(done) = self.in_flight.pop_front() {
                self.in_flight_bytes -= done.bytes;
                out.extend(done.answers);
            }
        }
    }
}

/// Applies one entry's effects to a shard's state and rows. `place` is where the entry's data stand in this log.
///
/// # Panics
/// If the entry does not hold effects (every replica checked that before it took the entry) or a version does not
/// grow (invariant: inside a shard version order is log order).
pub fn apply_entry<R: IndexReader>(
    state: &mut ShardState,
    owned: &OwnedRange,
    (data, place): (&Bytes, Position),
    index: &mut Index<R>,
    mut values: Option<&mut impl AppliedValues>,
) {
    if data.is_empty() {
        return;
    }
    let entry = EntryData::parse(data).expect("entries are checked before they are appended");
    for (offset, effect) in entry.effects() {
        assert!(
            effect.version > state.version_high,
            "version {} after {}",
            effect.version,
            state.version_high
        );
        state.version_high = effect.version;
        let position = Position {
            segment: place.segment,
            offset: place.offset + offset,
        };
        let slot = match effect.kind {
            EffectKind::Put => {
                if let Some(values) = &mut values {
                    values.applied(position, effect.value);
                }
                let size = effect.value.len() as u64;
                Slot::Put(Row {
                    version: effect.version,
                    position,
                    size,
                    flags: RowFlags::default(),
                    hash: effect.hash,
                })
            }
            EffectKind::Delete => Slot::Deleted(effect.version),
        };
        index.apply(owned, effect.key, slot);
    }
    state.clock = state.clock.max(entry.timestamp());
}
