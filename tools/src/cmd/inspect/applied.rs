//! Whether the index holds what its marks claim: every committed entry up to a replica's applied mark is held against the rows.
//!
//! Entries are taken in log order. One that is replaced later never counted; one counts when a later batch proves its commit. A
//! key whose row is missing or older is kept in mind, for it may be deleted further on; what is left at the end is wrong.
//!
//! Only entries that are still in the log are held against the rows: those before it were reclaimed, and all that the log has of
//! them are copies of the values that lived, which say nothing about deletes. An image that came into force makes what the index
//! knows of its replica history.
//!
//! Not here, on purpose: whether a row's pointer leads anywhere (`rows`).

use std::collections::{BTreeMap, VecDeque};

use margate_engine::index::{IndexError, IndexReader, ReplicaMarks};
use margate_engine::log::batch::ScannedBatch;
use margate_engine::log::effects::{EffectKind, EntryData};
use margate_engine::log::record::RecordBody;
use margate_engine::types::{Position, ReplicaName};
use margate_net::ids::{LogIndex, Space, Term, Version};
use margate_net::message::EntryKind;

use super::problem::{Problem, Problems};

/// Bytes of keys kept in mind, at most.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// Bytes a kept key costs beside itself.
const KEPT_OVERHEAD_BYTES: usize = 96;

/// The comparison under way.
pub(super) struct Applied<'a, R: IndexReader> {
    index: &'a R,
    /// Where replay would begin.
    replay: Position,
    replicas: BTreeMap<ReplicaName, Claim>,
    missing: BTreeMap<(Space, Vec<u8>), Written>,
    kept_bytes: usize,
    /// Beyond this the comparison is given up.
    kept_bytes_max: usize,
    given_up: bool,
    failure: Option<IndexError>,
}

/// What the index claims of one replica, and its entries that are not known to be committed yet.
struct Claim {
    space: Space,
    applied: LogIndex,
    applied_term: Term,
    tail: VecDeque<Pending>,
    /// The lowest entry before the replay mark that the index does not hold.
    left_behind: Option<LogIndex>,
    /// Lost records make any comparison meaningless; so does an end, or an image in force that the index does not know.
    hurt: bool,
}

struct Pending {
    index: LogIndex,
    term: Term,
    effects: Vec<(EffectKind, Vec<u8>, Version)>,
    bytes: usize,
}

struct Written {
    name: ReplicaName,
    index: LogIndex,
    version: Version,
}

impl<'a, R: IndexReader> Applied<'a, R> {
    /// Compares with this index and its marks.
    pub(super) fn new(index: &'a R, replay: Position, marks: &[ReplicaMarks]) -> Self {
        let claim = |marks: &ReplicaMarks| Claim {
            space: marks.space,
            applied: marks.applied,
            applied_term: marks.applied_term,
            tail: VecDeque::new(),
            left_behind: None,
            hurt: marks.damaged,
        };
        Self {
            index,
            replay,
            replicas: marks.iter().map(|marks| (marks.name, claim(marks))).collect(),
            missing: BTreeMap::new(),
            kept_bytes: 0,
            kept_bytes_max: KEPT_BYTES_MAX,
            given_up: false,
            failure: None,
        }
    }

    /// The next batch of the log.
    pub(super) fn batch(&mut self, batch: &ScannedBatch<'_>, problems: &mut Problems) {
        for damage in batch.damage() {
            for (name, claim) in &mut self.replicas {
                claim.hurt |= damage.replicas.include(*name);
            }
        }
        for record in batch.records() {
            match record.body {
                RecordBody::Entry {
                    term, index, kind, data, ..
                } if self.counts(record.name, record.space) => self.entry(record.name, (term, index), kind, data, batch.position),
                RecordBody::Entry { .. } => {}
                RecordBody::ReplicaEnd => self.forget(record.name),
                RecordBody::Checkpoint { part, parts, .. }
                    if part.checked_add(1) == Some(parts) && self.is_overtaken(record.name, record.space) =>
                {
                    self.forget(record.name);
                }
                RecordBody::HardState(_) | RecordBody::Checkpoint { .. } | RecordBody::Relocation { .. } | RecordBody::Unknown { .. } => {}
            }
        }
        for (name, commit) in batch.commits() {
            self.commit(name, commit, problems);
        }
    }

    /// The log has ended.
    pub(super) fn end(self, problems: &mut Problems) {
        if let Some(failure) = self.failure {
            problems.add(Problem::Index(failure));
        }
        if self.given_up {
            problems.add(Problem::NotCompared {
                bytes: self.kept_bytes_max,
            });
            return;
        }
        for (name, claim) in self.replicas.iter().filter(|(_, claim)| !claim.hurt) {
            if let Some(index) = claim.left_behind {
                problems.add(Problem::MarkPassed { name: *name, index });
            }
        }
        // What was lost may have deleted the key.
        let whole = |name: ReplicaName| self.replicas.get(&name).is_some_and(|claim| !claim.hurt);
        for ((_, key), Written { name, index, version }) in self.missing {
            if whole(name) {
                problems.add(Problem::RowMissing { name, index, key, version });
            }
        }
    }

    fn entry(&mut self, name: ReplicaName, (term, index): (Term, LogIndex), kind: EntryKind, data: &[u8], batch: Position) {
        let Some(claim) = self.replicas.get_mut(&name).filter(|claim| !claim.hurt) else {
            return;
        };
        while let Some(cut) = claim.tail.pop_back_if(|last| last.index >= index) {
            self.kept_bytes -= cut.bytes;
        }
        claim.left_behind = match claim.left_behind.filter(|behind| *behind < index) {
            Some(behind) => Some(behind),
            None => (batch < self.replay && index > claim.applied).then_some(index),
        };
        if index > claim.applied || self.given_up {
            return;
        }
        let effects = match kind {
            EntryKind::Normal => effects_of(data),
            EntryKind::Membership => Vec::new(),
        };
        let bytes = effects.iter().map(|(_, key, _)| key.len() + KEPT_OVERHEAD_BYTES).sum();
        claim.tail.push_back(Pending {
            index,
            term,
            effects,
            bytes,
        });
        self.keep(bytes);
    }

    /// Whether a record is of the space that the index claims to hold: before an image came into force the log was another.
    fn counts(&self, name: ReplicaName, space: Space) -> bool {
        self.replicas.get(&name).is_some_and(|claim| claim.space == space)
    }

    /// Whether a checkpoint of this space means that an image came into force that the index does not know.
    fn is_overtaken(&self, name: ReplicaName, space: Space) -> bool {
        self.replicas.get(&name).is_some_and(|claim| space > claim.space)
    }

    /// A replica has ended, or lives on in an image: what the index claims of it counts no more.
    fn forget(&mut self, name: ReplicaName) {
        if let Some(claim) = self.replicas.get_mut(&name) {
            claim.hurt = true;
        }
    }

    fn commit(&mut self, name: ReplicaName, commit: LogIndex, problems: &mut Problems) {
        while let Some((pending, claim)) = self.next_committed(name, commit) {
            let (space, applied, marked) = claim;
            self.kept_bytes -= pending.bytes;
            if pending.index == applied && pending.term != marked {
                let (index, found) = (pending.index, pending.term);
                problems.add(Problem::MarkTerm {
                    name,
                    index,
                    marked,
                    found,
                });
            }
            for (kind, key, version) in pending.effects {
                let written = Written {
                    name,
                    index: pending.index,
                    version,
                };
                if let Err(error) = self.compare(kind, (space, key), written, problems) {
                    self.failure.get_or_insert(error);
                }
            }
        }
    }

    fn next_committed(&mut self, name: ReplicaName, commit: LogIndex) -> Option<(Pending, (Space, LogIndex, Term))> {
        let claim = self.replicas.get_mut(&name).filter(|claim| !claim.hurt)?;
        let pending = claim.tail.pop_front_if(|first| first.index <= commit)?;
        Some((pending, (claim.space, claim.applied, claim.applied_term)))
    }

    fn compare(&mut self, kind: EffectKind, at: (Space, Vec<u8>), written: Written, problems: &mut Problems) -> Result<(), IndexError> {
        let found = self.index.get(at.0, &at.1)?.map(|row| row.version);
        let bytes = at.1.len() + KEPT_OVERHEAD_BYTES;
        if self.missing.remove(&at).is_some() {
            self.kept_bytes -= bytes;
        }
        match kind {
            EffectKind::Put if found.is_some_and(|found| found >= written.version) => {}
            EffectKind::Put if self.given_up => {}
            EffectKind::Put => {
                self.missing.insert(at, written);
                self.keep(bytes);
            }
            EffectKind::Delete => {
                if let Some(version) = found.filter(|found| *found < written.version) {
                    let Written { name, index, .. } = written;
                    problems.add(Problem::RowOfDeleted {
                        name,
                        index,
                        key: at.1,
                        version,
                    });
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, bytes: usize) {
        self.kept_bytes += bytes;
        if self.kept_bytes > self.kept_bytes_max {
            self.given_up = true;
            self.kept_bytes = 0;
            self.missing.clear();
            self.replicas.values_mut().for_each(|claim| claim.tail.clear());
        }
    }
}

/// The effects of an entry, without their values; none where it makes no sense, which is told elsewhere.
fn effects_of(data: &[u8]) -> Vec<(EffectKind, Vec<u8>, Version)> {
    let Ok(parsed) = EntryData::parse(data) else { return Vec::new() };
    let effects = parsed.effects();
    effects
        .map(|(_, effect)| (effect.kind, effect.key.to_vec(), effect.version))
        .collect()
}

#[cfg(test)]
#[path = "applied_tests.rs"]
mod tests;
