//! What a core's log holds, gathered batch by batch from the engine's scan.
//!
//! A log whose oldest segments were reclaimed begins in the midst of things: what stood before its oldest segment is neither
//! missing nor proven.
//!
//! Not here, on purpose: reading bytes (the engine), what the index says (`verify`), printing (`show`).

use std::collections::{BTreeMap, BTreeSet};

use margate_engine::log::batch::ScannedBatch;
use margate_engine::log::record::{RecordBody, ScannedRecord};
use margate_engine::log::scan::{Damage, ScanEnd, TornTail};
use margate_engine::types::{HardState, Position, ReplicaName};
use margate_net::ids::{LogIndex, ShardId, Space, Term};

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
    /// The oldest segment that the checkpoints rest on; 0 without a checkpoint.
    pub(super) kept_from: u32,
}

/// One segment file.
#[derive(Debug, Default)]
pub(super) struct SegmentView {
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Which life of the file this is: above 1 it was recycled.
    pub(super) life: u32,
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
    /// The space in force.
    pub(super) space: Space,
    pub(super) records: u64,
    /// Records of copies, by the space they belong to: reclaim's, and rows of images.
    pub(super) copies: BTreeMap<Space, u64>,
    /// Its lowest and its last entry, as the log stands at its end.
    pub(super) entries: Option<(LogIndex, LogIndex)>,
    pub(super) last_term: Term,
    pub(super) hard_state: HardState,
    /// The highest commit the log proves.
    pub(super) commit: LogIndex,
    /// The entry its newest checkpoint holds everything up to.
    pub(super) checkpoint: LogIndex,
    /// Whether it is known what comes next: from the beginning, from a checkpoint of nothing, or by a first entry.
    begun: bool,
    /// What is missing before its first entry, unless that is reclaimed.
    unproven: Option<Gap>,
    /// A damage may have taken records of it.
    pub(super) hurt: bool,
    /// Where it ended, if it did; nothing after that counts.
    pub(super) ended: Option<Position>,
    /// A later replica of its shard lives on this core: it is history.
    pub(super) replaced: bool,
}

/// Entries that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    from: LogIndex,
    to: LogIndex,
    /// Of the entry that follows.
    position: Position,
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
    /// Of these segments, by number, bytes and life.
    pub(super) fn of(segments: impl Iterator<Item = (u32, u64, u32)>) -> Self {
        let view = |bytes, life| SegmentView {
            bytes,
            life,
            ..SegmentView::default()
        };
        Self {
            segments: segments.map(|(number, bytes, life)| (number, view(bytes, life))).collect(),
            ..Self::default()
        }
    }

    /// The oldest segment there is; 1 for none.
    pub(super) fn oldest(&self) -> u32 {
        self.segments.keys().next().copied().unwrap_or(1)
    }

    /// The shards of which no replica is in the log.
    pub(super) fn without_replica(&self, shards: &BTreeSet<ShardId>) -> Vec<ShardId> {
        let known: BTreeSet<ShardId> = self.replicas.keys().map(|name| name.shard).collect();
        shards.difference(&known).copied().collect()
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
        self.note_replaced();
        if self.segments.is_empty() {
            problems.add(Problem::LogGone);
        }
        // What a damage took may have been the very creation of a replica.
        let lost = |name: &ReplicaName| end.damage.iter().any(|damage| damage.replicas.include(*name));
        let known = |name: &ReplicaName| self.replicas.contains_key(name) || self.successor(*name).is_some();
        for name in expected.iter().filter(|name| !known(name) && !lost(name)) {
            problems.add(Problem::LogLost { name: *name });
        }
        for (name, replica) in self.replicas.iter().filter(|(_, replica)| !replica.replaced) {
            if let Some(position) = replica.ended {
                problems.add(Problem::Ended { name: *name, position });
            }
        }
        if let Some(position) = end.cut {
            problems.add(Problem::SegmentCut { position });
        }
        let oldest = self.oldest();
        if oldest > self.kept_from.max(1) && self.replicas.values().any(ReplicaView::is_whole) {
            let (from, to) = (self.kept_from.max(1), oldest - 1);
            problems.add(Problem::SegmentsLost { from, to });
        }
        for (name, replica) in self.replicas.iter().filter(|(_, replica)| replica.is_whole()) {
            let (name, commit, last) = (*name, replica.commit, replica.last());
            if let Some(Gap { from, to, position }) = replica.unproven.filter(|gap| gap.to > replica.checkpoint) {
                problems.add(Problem::EntriesMissing { name, from, to, position });
            }
            if commit > last {
                problems.add(Problem::CommittedMissing { name, commit, last });
            }
        }
        (self.torn, self.damage) = (end.torn, end.damage);
    }

    /// A later replica of the same shard, if this core has one.
    fn successor(&self, name: ReplicaName) -> Option<ReplicaName> {
        let later = self
            .replicas
            .keys()
            .find(|later| later.shard == name.shard && later.replica > name.replica);
        later.copied()
    }

    fn note_replaced(&mut self) {
        let replaced: Vec<_> = self
            .replicas
            .keys()
            .copied()
            .filter(|name| self.successor(*name).is_some())
            .collect();
        for name in replaced {
            if let Some(replica) = self.replicas.get_mut(&name) {
                replica.replaced = true;
            }
        }
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
        let whole_log = self.segments.keys().next().is_none_or(|oldest| *oldest <= 1);
        let replica = self.replicas.entry(name).or_insert_with(|| ReplicaView::new(whole_log));
        replica.records += 1;
        if replica.ended.is_some() {
            return;
        }
        match record.body {
            RecordBody::Entry { term, index, .. } => {
                if let Some(Gap { from, to, position }) = replica.append((record.space, term, index), position) {
                    problems.add(Problem::EntriesMissing { name, from, to, position });
                }
            }
            RecordBody::HardState(state) => {
                replica.enter(record.space);
                if state.is_newer_than(replica.hard_state) {
                    replica.hard_state = state;
                }
            }
            RecordBody::Checkpoint {
                applied,
                applied_term,
                part,
                parts,
                kept_from,
                ..
            } => {
                // In parts it counts only whole.
                if part.checked_add(1) == Some(parts) {
                    self.kept_from = self.kept_from.max(kept_from);
                    replica.meet_checkpoint(record.space, applied, applied_term);
                }
            }
            RecordBody::Relocation { .. } => *replica.copies.entry(record.space).or_default() += 1,
            RecordBody::ReplicaEnd => replica.ended = Some(position),
            RecordBody::Unknown { kind } => problems.add(Problem::UnknownKind { name, position, kind }),
        }
    }
}

impl ReplicaView {
    /// One met for the first time, in a log that was read from its very beginning or not.
    fn new(begun: bool) -> Self {
        Self {
            space: Space(0),
            records: 0,
            copies: BTreeMap::new(),
            entries: None,
            last_term: Term(0),
            hard_state: HardState::default(),
            commit: LogIndex(0),
            checkpoint: LogIndex(0),
            begun,
            unproven: None,
            hurt: false,
            ended: None,
            replaced: false,
        }
    }

    /// Spaces of images that never came into force, as far as their rows are in the log.
    pub(super) fn unfinished(&self) -> Vec<Space> {
        let newer = self.copies.keys().filter(|space| **space > self.space);
        newer.copied().collect()
    }

    /// Whether all its records were read, and it lives.
    pub(super) fn is_whole(&self) -> bool {
        !self.hurt && self.ended.is_none() && !self.replaced
    }

    /// The last entry it has, or the one its checkpoint has.
    pub(super) fn last(&self) -> LogIndex {
        self.entries.map_or(self.checkpoint, |(_, last)| last.max(self.checkpoint))
    }

    /// A record of a space that is in force. The first of a later one says that an image came into force: the log begins anew.
    fn enter(&mut self, space: Space) {
        if space > self.space {
            (self.space, self.entries, self.unproven) = (space, None, None);
            self.checkpoint = LogIndex(0);
        }
    }

    fn meet_checkpoint(&mut self, space: Space, applied: LogIndex, term: Term) {
        let image = self.space > Space(0) && space > self.space;
        self.enter(space);
        if space == self.space {
            self.checkpoint = self.checkpoint.max(applied);
            self.begun |= image || applied == LogIndex(0);
            if self.entries.is_none() {
                self.last_term = self.last_term.max(term);
            }
        }
    }

    /// An entry, which cuts those from its index on. Which ones are missing before it, if any; of a hurt replica nothing is said.
    fn append(&mut self, (space, term, index): (Space, Term, LogIndex), position: Position) -> Option<Gap> {
        self.enter(space);
        if space < self.space {
            return None;
        }
        let expected = self.last().next();
        let first = self.entries.map_or(index, |(first, _)| first.min(index));
        self.entries = Some((first, index));
        self.last_term = term;
        let gap = (index > expected && !self.hurt).then(|| Gap {
            from: expected,
            to: LogIndex(index.0 - 1),
            position,
        });
        if self.begun {
            return gap;
        }
        self.begun = true;
        // Perhaps a newer checkpoint follows, which says that these were reclaimed.
        self.unproven = gap;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space = Space(1);

    fn at(index: u64) -> Position {
        let offset = u32::try_from(index).expect("small") * 4_096;
        Position { segment: 1, offset }
    }

    /// From so many to so many are missing.
    fn append(replica: &mut ReplicaView, term: u64, index: u64) -> Option<(u64, u64)> {
        let gap = replica.append((replica.space.max(SPACE), Term(term), LogIndex(index)), at(index));
        gap.map(|gap| (gap.from.0, gap.to.0))
    }

    #[test]
    fn an_entry_cuts_what_stood_from_its_index_on_and_a_gap_is_told() {
        let mut replica = ReplicaView::new(true);
        assert_eq!(append(&mut replica, 1, 1), None);
        assert_eq!(append(&mut replica, 1, 2), None);
        assert_eq!(append(&mut replica, 2, 2), None);
        assert_eq!((replica.entries, replica.last_term), (Some((LogIndex(1), LogIndex(2))), Term(2)));
        assert_eq!(append(&mut replica, 2, 5), Some((3, 4)));
        replica.hurt = true;
        assert_eq!(append(&mut replica, 2, 9), None);
        let mut checkpointed = ReplicaView::new(true);
        checkpointed.meet_checkpoint(SPACE, LogIndex(7), Term(1));
        assert_eq!(append(&mut checkpointed, 2, 8), None);
    }

    #[test]
    fn where_the_log_was_reclaimed_the_first_entry_may_be_any_and_the_next_follows_it() {
        for checkpoint in [None, Some(40)] {
            let mut replica = ReplicaView::new(false);
            if let Some(applied) = checkpoint {
                replica.meet_checkpoint(SPACE, LogIndex(applied), Term(1));
            }
            assert_eq!(append(&mut replica, 1, 51), None);
            assert_eq!(append(&mut replica, 1, 52), None);
            let from = LogIndex(checkpoint.map_or(1, |applied| applied + 1));
            let gap = replica.unproven.expect("it is kept in mind");
            assert_eq!((gap.from, gap.to), (from, LogIndex(50)));
            assert_eq!(append(&mut replica, 1, 54), Some((53, 53)));
        }
    }

    #[test]
    fn an_image_in_force_begins_the_log_anew_and_an_unfinished_one_does_not() {
        let mut replica = ReplicaView::new(true);
        replica.meet_checkpoint(SPACE, LogIndex(0), Term(0));
        assert_eq!(append(&mut replica, 1, 1), None);
        replica.copies.extend([(Space(2), 3), (Space(3), 1)]);
        assert_eq!(replica.unfinished(), [Space(2), Space(3)]);
        replica.meet_checkpoint(Space(3), LogIndex(90), Term(4));
        assert_eq!((replica.last(), replica.last_term, replica.entries), (LogIndex(90), Term(4), None));
        // Of an attempt before it nothing is expected any more; an entry of its former life does not count.
        assert_eq!(replica.unfinished(), [Space(0); 0]);
        assert_eq!(replica.append((SPACE, Term(1), LogIndex(2)), at(2)), None);
        assert_eq!(replica.last(), LogIndex(90));
        assert_eq!(append(&mut replica, 4, 91), None);
        assert_eq!(append(&mut replica, 4, 93), Some((92, 92)));
    }
}
