//! From committed entries to the index's overlay: write-if-newer, no look-up, no I/O, the same on every replica.

use bytes::Bytes;
use margate_net::ids::{LogIndex, MemberEpoch, Version};
use margate_net::limits::{COUNTER_MAX, KEY_BYTES_MAX};
use margate_net::message::{EntryKind, PeerEntry};
use raft::eraftpb::ConfChangeV2;

use super::answer::Answer;
use super::members::Change;
use super::replica::Replica;
use super::state::ShardState;
use super::tally::Tally;
use crate::consensus::group::entry_parts;
use crate::index::overlay::{Hint, Hints, WARMED_KEYS, WarmedKeys};
use crate::index::row::{Row, RowFlags, Slot};
use crate::index::store::IndexReader;
use crate::index::view::{Index, OwnedRange};
use crate::limits;
use crate::log::effects::{Effect, EffectKind, EntryData, EntryFault};
use crate::types::{Nanos, Position};

/// Where a leader puts values that were just applied: it is likely to be asked for them.
pub trait AppliedValues {
    /// Those of an entry whose data begin at this place.
    fn applied(&mut self, place: Position, data: &Bytes);
}

/// A committed entry that may not be applied: its leader was faulty, or this log is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyFault {
    /// It does not hold effects.
    #[error(transparent)]
    Entry(#[from] EntryFault),
    /// It does not hold a change of members.
    #[error("{bytes} bytes are not a change of members")]
    Change {
        /// Its bytes.
        bytes: usize,
    },
    /// A key is not of this shard's range, or longer than keys are.
    #[error("a key of {length} bytes is not one of this shard's range")]
    ForeignKey {
        /// Bytes in the key.
        length: usize,
    },
    /// A version does not grow, or further than anything can.
    #[error("version {found} may not follow version {after}")]
    Version {
        /// The version.
        found: Version,
        /// The one before.
        after: Version,
    },
}

impl Replica {
    /// Whether the entries of an append may be taken: what can be told before they are committed.
    ///
    /// # Errors
    /// [`ApplyFault`]: they may not.
    pub fn check_entries(&self, entries: &[PeerEntry]) -> Result<(), ApplyFault> {
        let normal = |entry: &&PeerEntry| entry.kind == EntryKind::Normal && !entry.data.is_empty();
        for entry in entries.iter().filter(|entry| entry.index > self.applied).filter(normal) {
            check_effects(&EntryData::parse(&entry.data)?, &self.state)?;
        }
        Ok(())
    }

    /// Applies what is committed, while the overlay has room; answers whoever waits for it. Returns the segments of this log in which
    /// the deletes among it stand, in order.
    ///
    /// # Errors
    /// [`ApplyFault`]: a committed entry makes no sense; this replica must not go on.
    pub fn apply<R: IndexReader>(
        &mut self,
        now: Nanos,
        index: &mut Index<R>,
        values: &mut impl AppliedValues,
        tally: &mut Tally,
        out: &mut Vec<Answer>,
    ) -> Result<Vec<u32>, ApplyFault> {
        let (before, mut deleted_in) = (self.applied, Vec::new());
        while index.active_bytes() < limits::OVERLAY_BYTES_MAX
            && let Some(entry) = self.backlog.pop_front()
        {
            let (term, at, kind, data) = entry_parts(&entry);
            assert_eq!(at, self.applied.next(), "{}: gap before entry {at}", self.name);
            let place = self.group.place_of(at).expect("raft commits here only what this log holds").data;
            match kind {
                EntryKind::Normal => {
                    let values = self.leads().then_some(&mut *values);
                    let owned = self.owned();
                    let deletes = apply_entry(&mut self.state, &owned, (&data, place), index, values)?;
                    if deletes && deleted_in.last() != Some(&place.segment) {
                        deleted_in.push(place.segment);
                    }
                }
                EntryKind::Membership => {
                    if let Some(raft) = apply_change(&mut self.state, &data)? {
                        self.group.apply_change(&raft, &self.state.members);
                        self.tenure.members_changed(now);
                    }
                }
            }
            self.applied = at;
            self.applied_term = term;
            self.pending.applied(at);
            tally.entries_applied += 1;
            self.answer_applied(now, at, tally, out);
        }
        if self.applied > before {
            self.group.applied(self.applied);
            self.version_next = self.version_next.max(self.state.version_high.next());
        }
        Ok(deleted_in)
    }

    fn answer_applied(&mut self, now: Nanos, at: LogIndex, tally: &mut Tally, out: &mut Vec<Answer>) {
        while self.in_flight.front().is_some_and(|first| first.index <= at) {
            if let Some(done) = self.in_flight.pop_front() {
                self.in_flight_bytes -= done.bytes;
                done.life.end(now, done.answers.len() as u64, tally);
                out.extend(done.answers);
            }
        }
    }
}

/// Applies one entry's effects to a shard's state and rows. `place` is where the entry's data stand in this log. Whether there are
/// deletes among them.
///
/// # Errors
/// [`ApplyFault`]: the entry may not follow this state; nothing of it was applied.
pub fn apply_entry<R: IndexReader>(
    state: &mut ShardState,
    owned: &OwnedRange,
    (data, place): (&Bytes, Position),
    index: &mut Index<R>,
    values: Option<&mut impl AppliedValues>,
) -> Result<bool, ApplyFault> {
    if data.is_empty() {
        return Ok(false);
    }
    let entry = EntryData::parse(data)?;
    check_effects(&entry, state)?;
    let mut deletes = false;
    let (mut next, mut hints): (WarmedKeys<'_>, Hints) = (Default::default(), [Hint::NONE; WARMED_KEYS]);
    let mut ahead = entry.effects().map(|(_, effect)| effect.key);
    for (number, (offset, effect)) in entry.effects().enumerate() {
        let at = number % WARMED_KEYS;
        if at == 0 {
            // At the end of an entry some keys of before are among them: that costs nothing.
            next.iter_mut().zip(&mut ahead).for_each(|(next, key)| *next = key);
            hints = index.warm(owned, &next);
        }
        state.version_high = effect.version;
        deletes |= effect.kind == EffectKind::Delete;
        let slot = slot_of(&effect, place, offset);
        // A replay may have met a newer row of the key already.
        index.apply_at(owned, (effect.key, hints[at]), slot);
    }
    state.clock = state.clock.max(entry.timestamp());
    if let Some(values) = values {
        values.applied(place, data);
    }
    Ok(deletes)
}

/// Applies a change of members to a shard's state. Raft's form of it, if it changed anything.
///
/// # Errors
/// [`ApplyFault`]: the entry does not hold a change; nothing was applied.
pub(crate) fn apply_change(state: &mut ShardState, data: &[u8]) -> Result<Option<ConfChangeV2>, ApplyFault> {
    let (change, raft) = Change::parse(data).ok_or(ApplyFault::Change { bytes: data.len() })?;
    if !state.members.change(&change) {
        return Ok(None);
    }
    state.member_epoch = MemberEpoch(state.member_epoch.0 + 1);
    Ok(Some(raft))
}

/// What the index is to hold of an effect whose entry's data begin at a place.
pub(crate) fn slot_of(effect: &Effect<'_>, place: Position, offset: u32) -> Slot {
    match effect.kind {
        EffectKind::Put => Slot::Put(Row {
            version: effect.version,
            position: Position {
                segment: place.segment,
                offset: place.offset + offset,
            },
            size: effect.value.len() as u64,
            flags: RowFlags::default(),
            hash: effect.hash,
        }),
        EffectKind::Delete => Slot::Deleted(effect.version),
    }
}

/// Whether an entry's effects may follow this state: keys in the range, versions that only grow (inside a shard
/// version order is log order).
///
/// # Errors
/// [`ApplyFault`] names the first effect that may not.
pub fn check_effects(entry: &EntryData<'_>, state: &ShardState) -> Result<(), ApplyFault> {
    let mut last = state.version_high;
    for (_, effect) in entry.effects() {
        if !state.contains(effect.key) || effect.key.len() > KEY_BYTES_MAX {
            return Err(ApplyFault::ForeignKey { length: effect.key.len() });
        }
        if effect.version <= last || effect.version.0 > COUNTER_MAX {
            return Err(ApplyFault::Version {
                found: effect.version,
                after: last,
            });
        }
        last = effect.version;
    }
    Ok(())
}
