//! What a core's log holds, gathered batch by batch from the engine's scan.
//!
//! Not here, on purpose: reading bytes (the engine), what the index says (`verify`), printing (`show`).

use std::collections::{BTreeMap, BTreeSet};

use margate_engine::log::batch::ScannedBatch;
use margate_engine::log::record::{RecordBody, ScannedRecord};
use margate_engine::log::scan::{Damage, ScanEnd, TornTail};
use margate_engine::types::{HardState, Position, ReplicaName};
use margate_net::ids::{LogIndex, Space, Term};

use super::problem::{Problem, Problems};

/// A log as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) segments: BTreeMap<u32, SegmentView>,
    pub(super) replicas: BTreeMap<ReplicaName, ReplicaView>,
    pub(super) batches: u64,
    pub(super) records: u64,
    /// The first byte after the last batch.
    pub(super) end: Position,
    pub(super) torn: Option<TornTail>,
    pub(super) damage: Vec<Damage>,
}

/// One segment file.
#[derive(Debug, Default)]
pub(super) struct SegmentView {
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// What its batches carry; unknown where neither header nor batch can be read.
    pub(super) salt: Option<u64>,
    /// Bytes of its batches.
    pub(super) used: u64,
    pub(super) batches: u64,
    /// Sequences of its first and last batch.
    pub(super) sequences: Option<(u64, u64)>,
    pub(super) state: SegmentState,
}

/// What a segment is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SegmentState {
    /// It holds batches, or lies before one that does.
    #[default]
    Used,
    /// Prewritten, waiting for its first batch.
    Ready,
    /// Never fully prewritten, or of another size: the next start deletes it.
    Unfinished,
}

/// One replica, as the log has it.
#[derive(Debug)]
pub(super) struct ReplicaView {
    pub(super) space: Space,
    pub(super) records: u64,
    /// Its lowest and its last entry, as the log stands at its end.
    pub(super) entries: Option<(LogIndex, LogIndex)>,
    pub(super) last_term: Term,
    pub(super) hard_state: HardState,
    /// The highest commit the log proves.
    pub(super) commit: LogIndex,
    /// The entry its checkpoint holds everything up to.
    pub(super) checkpoint: LogIndex,
    /// A damage may have taken records of it.
    pub(super) hurt: bool,
    /// Where it ended, if it did; nothing after that counts.
    pub(super) ended: Option<Position>,
}

impl SegmentState {
    /// Its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Ready => "ready",
            Self::Unfinished => "unfinished",
        }
    }
}

impl Survey {
    /// Of these segments, by number and bytes.
    pub(super) fn of(segments: impl Iterator<Item = (u32, u64)>) -> Self {
        let view = |bytes| SegmentView {
            bytes,
            ..SegmentView::default()
        };
        Self {
            segments: segments.map(|(number, bytes)| (number, view(bytes))).collect(),
            ..Self::default()
        }
    }

    /// The next batch.
    pub(super) fn batch(&mut self, batch: &ScannedBatch<'_>, problems: &mut Problems) {
        for damage in batch.damage() {
            self.hurt(damage);
            problems.add(Problem::Damage(damage.clone()));
        }
        self.count(batch);
        for record in batch.records() {
            self.record(&record, problems);
        }
        for (name, commit) in batch.commits() {
            if let Some(replica) = self.replicas.get_mut(&name) {
                replica.commit = replica.commit.max(commit);
            }
        }
    }

    /// The scan has ended.
    pub(super) fn end(&mut self, end: ScanEnd, expected: &BTreeSet<ReplicaName>, problems: &mut Problems) {
        for ready in &end.ready {
            if let Some(segment) = self.segments.get_mut(&ready.number) {
                (segment.salt, segment.state) = (Some(ready.salt), SegmentState::Ready);
            }
        }
        for number in &end.discard {
            if let Some(segment) = self.segments.get_mut(number) {
                segment.state = SegmentState::Unfinished;
            }
        }
        // What a damage took may have been the very creation of a replica.
        let lost = |name: &ReplicaName| end.damage.iter().any(|damage| damage.replicas.include(*name));
        for name in expected.iter().filter(|name| !self.replicas.contains_key(name) && !lost(name)) {
            problems.add(Problem::LogLost { name: *name });
        }
        for (name, replica) in self.replicas.iter().filter(|(name, _)| expected.contains(name)) {
            if let Some(position) = replica.ended {
                problems.add(Problem::Ended { name: *name, position });
            }
        }
        for (name, replica) in self.replicas.iter().filter(|(_, replica)| replica.is_whole()) {
            let (name, commit, last) = (*name, replica.commit, replica.last());
            if commit > last {
                problems.add(Problem::CommittedMissing { name, commit, last });
            }
        }
        (self.torn, self.damage) = (end.torn, end.damage);
    }

    fn hurt(&mut self, damage: &Damage) {
        for (name, replica) in &mut self.replicas {
            replica.hurt |= damage.replicas.include(*name);
        }
    }

    fn count(&mut self, batch: &ScannedBatch<'_>) {
        let Position { segment, offset } = batch.position;
        let padded = u32::try_from(batch.padded).unwrap_or(u32::MAX);
        self.batches += 1;
        self.end = Position {
            segment,
            offset: offset.saturating_add(padded),
        };
        let view = self.segments.entry(segment).or_default();
        view.salt = Some(batch.salt);
        view.batches += 1;
        view.used += u64::from(padded);
        let first = view.sequences.map_or(batch.sequence, |(first, _)| first);
        view.sequences = Some((first, batch.sequence));
    }

    fn record(&mut self, record: &ScannedRecord<'_>, problems: &mut Problems) {
        self.records += 1;
        let (name, position) = (record.name, record.position);
        let replica = self.replicas.entry(name).or_insert_with(|| ReplicaView::new(record.space));
        replica.records += 1;
        if replica.ended.is_some() {
            return;
        }
        match record.body {
            RecordBody::Entry { term, index, .. } => {
                if let Some((from, to)) = replica.append(term, index) {
                    problems.add(Problem::EntriesMissing { name, from, to, position });
                }
            }
            RecordBody::HardState(state) => {
                if (state.term, state.vote) > (replica.hard_state.term, replica.hard_state.vote) {
                    replica.hard_state = state;
                }
            }
            RecordBody::Checkpoint { applied, .. } => replica.checkpoint = replica.checkpoint.max(applied),
            RecordBody::Relocation { .. } => {}
            RecordBody::ReplicaEnd => replica.ended = Some(position),
            RecordBody::Unknown { kind } => problems.add(Problem::UnknownKind { name, position, kind }),
        }
    }
}

impl ReplicaView {
    fn new(space: Space) -> Self {
        Self {
            space,
            records: 0,
            entries: None,
            last_term: Term(0),
            hard_state: HardState::default(),
            commit: LogIndex(0),
            checkpoint: LogIndex(0),
            hurt: false,
            ended: None,
        }
    }

    /// Whether all its records were read, and it lives.
    pub(super) fn is_whole(&self) -> bool {
        !self.hurt && self.ended.is_none()
    }

    /// The last entry it has, or the one its checkpoint has.
    pub(super) fn last(&self) -> LogIndex {
        self.entries.map_or(self.checkpoint, |(_, last)| last.max(self.checkpoint))
    }

    /// An entry, which cuts those from its index on. Which ones are missing before it, if any; of a hurt replica nothing is said.
    fn append(&mut self, term: Term, index: LogIndex) -> Option<(LogIndex, LogIndex)> {
        let expected = self.last().next();
        let first = self.entries.map_or(index, |(first, _)| first.min(index));
        self.entries = Some((first, index));
        self.last_term = term;
        (index > expected && !self.hurt).then(|| (expected, LogIndex(index.0 - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_cuts_what_stood_from_its_index_on_and_a_gap_is_told() {
        let mut replica = ReplicaView::new(Space(1));
        assert_eq!(replica.append(Term(1), LogIndex(1)), None);
        assert_eq!(replica.append(Term(1), LogIndex(2)), None);
        assert_eq!(replica.append(Term(2), LogIndex(2)), None);
        assert_eq!((replica.entries, replica.last_term), (Some((LogIndex(1), LogIndex(2))), Term(2)));
        assert_eq!(replica.append(Term(2), LogIndex(5)), Some((LogIndex(3), LogIndex(4))));
        replica.hurt = true;
        assert_eq!(replica.append(Term(2), LogIndex(9)), None);
        let mut checkpointed = ReplicaView::new(Space(1));
        checkpointed.checkpoint = LogIndex(7);
        assert_eq!(checkpointed.append(Term(2), LogIndex(8)), None);
    }
}
