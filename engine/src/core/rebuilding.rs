//! What replay needs where the index is lost: each replica's newest checkpoint, and the rows of the entries before it.
//!
//! The state is the checkpoint's, so of older entries only the rows count, those of them that were committed: a log may hold
//! entries that others replaced. Copies stand in the log before the commit of anything newer (`reclaim`), so applying
//! all of it in log order ends with each key's newest version.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::ids::{LogIndex, Space, Term};
use margate_net::limits::KEY_BYTES_MAX;
use margate_net::message::EntryKind;
use raft::eraftpb::Entry;

use crate::consensus::convert;
use crate::consensus::window::Place;
use crate::index::store::IndexReader;
use crate::index::view::{Index, OwnedRange};
use crate::log::batch::ScannedBatch;
use crate::log::effects::EntryData;
use crate::log::record::{RecordBody, ScannedRecord};
use crate::shard::apply::{ApplyFault, slot_of};
use crate::shard::state::ShardState;
use crate::types::ReplicaName;

/// A whole checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) space: Space,
    pub(super) applied: LogIndex,
    pub(super) applied_term: Term,
    pub(super) state: Bytes,
}

/// Checkpoints as a scan meets them, part by part.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// By whose they are and what they hold: reclaim's and an image's may come part by part at the same time.
    partial: BTreeMap<(ReplicaName, Space, LogIndex), Vec<u8>>,
    whole: BTreeMap<ReplicaName, Checkpoint>,
    created: BTreeMap<ReplicaName, u64>,
}

/// Rows of the entries up to a checkpoint.
#[derive(Debug)]
pub(super) struct Rows {
    up_to: LogIndex,
    /// Entries not known to be committed, as the log held them at this point of the scan.
    tail: VecDeque<(Entry, Place)>,
    /// First index of each run of equal terms among those that were applied, and the term.
    runs: Vec<(LogIndex, Term)>,
}

impl Checkpoints {
    /// The checkpoints in a batch.
    pub(super) fn batch(&mut self, batch: &ScannedBatch<'_>) {
        for record in batch.records() {
            if let Some(whole) = self.part(&record) {
                if is_creation(&record.body) {
                    self.created.insert(record.name, batch.sequence);
                }
                let known = self.whole.get(&record.name);
                if known.is_none_or(|known| (known.space, known.applied) <= (whole.space, whole.applied)) {
                    self.whole.insert(record.name, whole);
                }
            }
        }
    }

    /// One part; the whole when this was its last.
    pub(super) fn part(&mut self, record: &ScannedRecord<'_>) -> Option<Checkpoint> {
        let RecordBody::Checkpoint {
            applied,
            applied_term,
            part,
            parts,
            state,
            ..
        } = record.body
        else {
            return None;
        };
        let partial = self.partial.entry((record.name, record.space, applied)).or_default();
        if part == 0 {
            partial.clear();
        }
        partial.extend_from_slice(state);
        (part + 1 == parts).then(|| Checkpoint {
            space: record.space,
            applied,
            applied_term,
            state: std::mem::take(partial).into(),
        })
    }

    /// The batches in which replicas began, of those that the log holds from their beginning on.
    pub(super) fn created(&self) -> BTreeMap<ReplicaName, u64> {
        self.created.clone()
    }

    /// The newest of each replica.
    pub(super) fn into_whole(self) -> BTreeMap<ReplicaName, Checkpoint> {
        self.whole
    }
}

/// Whether a replica begins with this checkpoint. One that reclaim writes before anything is applied names an older segment that is not
/// needed any more: what came before it may be needed all the same, rows of an image that is on its way say.
pub(crate) fn is_creation(body: &RecordBody<'_>) -> bool {
    matches!(
        body,
        RecordBody::Checkpoint {
            applied: LogIndex(0),
            kept_from: 0..=1,
            ..
        }
    )
}

impl Rows {
    pub(super) fn up_to(up_to: LogIndex) -> Self {
        Self {
            up_to,
            tail: VecDeque::new(),
            runs: Vec::new(),
        }
    }

    /// An entry met by the scan: it cuts what stood at its index and after it.
    pub(super) fn append(&mut self, entry: &Entry, place: Place) {
        while self.tail.back().is_some_and(|(last, _)| last.index >= entry.index) {
            self.tail.pop_back();
        }
        if entry.index <= self.up_to.0 {
            // What came before a gap was replaced, or is committed and applied.
            if self.tail.back().is_some_and(|(last, _)| last.index + 1 != entry.index) {
                self.tail.clear();
            }
            self.tail.push_back((entry.clone(), place));
        }
    }

    /// Applies the rows of entries that are committed; how many entries.
    ///
    /// # Errors
    /// [`ApplyFault`]: one of them makes no sense.
    pub(super) fn apply<R: IndexReader>(
        &mut self,
        commit: LogIndex,
        state: &ShardState,
        owned: &OwnedRange,
        index: &mut Index<R>,
    ) -> Result<u64, ApplyFault> {
        let mut count = 0;
        while let Some((entry, place)) = self.tail.pop_front_if(|(entry, _)| entry.index <= commit.0) {
            count += 1;
            if self.runs.last().is_none_or(|(_, term)| *term < Term(entry.term)) {
                self.runs.push((LogIndex(entry.index), Term(entry.term)));
            }
            if convert::entry_kind(&entry) == Some(EntryKind::Membership) {
                continue;
            }
            let data = EntryData::parse(&entry.data)?;
            if !keys_are_owned(&data, state) {
                return Err(ApplyFault::ForeignKey { length: entry.data.len() });
            }
            for (offset, effect) in data.effects() {
                index.apply(owned, effect.key, slot_of(&effect, place.data, offset));
            }
        }
        Ok(count)
    }

    /// Puts the terms of what was applied before those of what follows: reclaim tells by its term whether an entry ever happened,
    /// also of entries before the checkpoint whose values still live in the log.
    pub(super) fn lead_in(&mut self, term_runs: &mut Vec<(LogIndex, Term)>) {
        let mut runs = std::mem::take(&mut self.runs);
        let last = runs.last().map_or(Term(0), |(_, term)| *term);
        runs.extend(term_runs.drain(..).filter(|(_, term)| *term > last));
        *term_runs = runs;
    }
}

/// Whether all keys lie in the shard's range and are no longer than keys are.
pub(super) fn keys_are_owned(data: &EntryData<'_>, state: &ShardState) -> bool {
    data.effects()
        .all(|(_, effect)| state.contains(effect.key) && effect.key.len() <= KEY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use margate_net::ids::{ReplicaId, ShardId};

    use super::*;
    use crate::types::{Nanos, Position};

    /// What reclaim writes about a replica that has applied nothing came later than the rows of its image, and these were lost
    /// without anybody being told.
    #[test]
    fn a_replica_does_not_begin_with_a_checkpoint_of_reclaim() {
        let checkpoint = |applied, kept_from| RecordBody::Checkpoint {
            applied: LogIndex(applied),
            applied_term: Term(0),
            part: 0,
            parts: 1,
            kept_from,
            state: &[],
        };
        assert!(is_creation(&checkpoint(0, 1)));
        for (applied, kept_from) in [(0, 2), (1, 1), (7, 3)] {
            assert!(!is_creation(&checkpoint(applied, kept_from)), "{applied} {kept_from}");
        }
        assert!(!is_creation(&RecordBody::ReplicaEnd));
    }

    const NAME: ReplicaName = ReplicaName {
        shard: ShardId(1),
        replica: ReplicaId(1),
    };

    /// An image's checkpoint waits in the queue while reclaim's goes ahead of it.
    #[test]
    fn parts_of_two_checkpoints_that_come_in_turn_make_two() {
        let mut checkpoints = Checkpoints::default();
        let mut part = |space: u32, (part, parts): (u32, u32), state: &[u8]| {
            let body = RecordBody::Checkpoint {
                applied: LogIndex(u64::from(space)),
                applied_term: Term(1),
                part,
                parts,
                kept_from: 1,
                state,
            };
            let record = ScannedRecord {
                name: NAME,
                space: Space(space),
                timestamp: Nanos(0),
                position: Position::default(),
                body,
            };
            checkpoints.part(&record).map(|whole| (whole.space.0, whole.state))
        };
        assert_eq!(part(2, (0, 2), b"new"), None);
        assert_eq!(part(1, (0, 2), b"old"), None);
        assert_eq!(part(1, (1, 2), b"er"), Some((1, Bytes::from_static(b"older"))));
        assert_eq!(part(2, (1, 2), b"er"), Some((2, Bytes::from_static(b"newer"))));
    }
}
