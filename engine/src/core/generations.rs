//! When the overlay goes to the index, and with which marks.
//!
//! ```text
//!   filling ──(due)──► frozen, marks taken ──(every mark's commit durable in the log)──► committing ──► filling
//! ```
//! Invariant 6: marks never run ahead of the index's contents (they are taken when the overlay is frozen and commit
//! with it) nor contents ahead of the durable commit (the middle state waits for it).

use std::collections::BTreeMap;
use std::sync::Arc;

use margate_net::ids::{LogIndex, Space};

use super::event::{Effect, Effects};
use crate::consensus::window::BatchPlace;
use crate::index::error::IndexError;
use crate::index::store::{CoreMarks, Generation, IndexReader, ReplicaMarks};
use crate::index::view::Index;
use crate::limits;
use crate::log::writer::LogWriter;
use crate::planted::Planted;
use crate::types::{Nanos, Position, ReplicaName};

/// Where the batches of some entries begin, until the index holds that.
#[derive(Debug, Default)]
pub struct Positions {
    recent: Vec<(ReplicaName, LogIndex, Position)>,
    /// Those on their way to the index.
    leaving: Vec<(ReplicaName, LogIndex, Position)>,
}

impl Positions {
    /// An entry is being written. One in [`limits::POSITION_EVERY_ENTRIES`] is noted, and each first one of a segment.
    pub fn note(&mut self, name: ReplicaName, index: LogIndex, batch: Position) {
        let last = self.recent.iter().rev().find(|(of, _, _)| *of == name);
        let due = last.is_none_or(|(_, noted, at)| {
            index < *noted || index.0 >= noted.0 + limits::POSITION_EVERY_ENTRIES || at.segment != batch.segment
        });
        if due {
            // An entry at or above it that was noted is cut by it; its segment may go before the entries that replace it.
            self.recent.retain(|(of, noted, _)| *of != name || *noted < index);
            self.recent.push((name, index, batch));
        }
    }

    /// The nearest noted batch at or below an entry.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    pub fn find<R: IndexReader>(&self, name: ReplicaName, index: LogIndex, rows: &Index<R>) -> Result<Option<Position>, IndexError> {
        let near = self
            .recent
            .iter()
            .chain(&self.leaving)
            .filter(|(of, noted, _)| *of == name && *noted <= index)
            .max_by_key(|(_, noted, _)| *noted);
        match near {
            Some((_, _, at)) => Ok(Some(*at)),
            None => Ok(rows.reader().entry_position(name, index)?.map(|(_, at)| at)),
        }
    }

    /// Takes out those of applied entries, which are never cut.
    fn take_applied(&mut self, applied: impl Fn(ReplicaName) -> LogIndex) -> Vec<(ReplicaName, LogIndex, Position)> {
        let (done, kept): (Vec<_>, _) = std::mem::take(&mut self.recent)
            .into_iter()
            .partition(|(name, index, _)| *index <= applied(*name));
        (self.recent, self.leaving) = (kept, done.clone());
        done
    }

    /// The index shows what was taken out last.
    fn committed(&mut self) {
        self.leaving.clear();
    }
}

/// What a replica contributes to a generation.
#[derive(Clone, Debug)]
pub struct Contribution {
    /// Its marks as of now; the commit is filled in when the generation leaves.
    pub marks: ReplicaMarks,
    /// The first batch that replay needs for what is above its applied entry, if any of that is written.
    pub replay: Option<BatchPlace>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Filling,
    Frozen(Generation),
    Committing(u64),
}

/// How long commits of the index are put off, each of which may write most of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPace {
    /// How old rows may be that the index does not hold.
    pub age_max: Nanos,
    /// Reclaim waits for a commit that is due anyway where the index takes more than one of so many parts of what comes free.
    pub reclaim_parts: u64,
}

impl CommitPace {
    /// That of production; the simulator's lives are shorter, and its indexes smaller.
    pub const USUAL: Self = Self {
        age_max: limits::OVERLAY_AGE_MAX,
        reclaim_parts: limits::RECLAIM_COMMIT_PARTS,
    };
}

/// What decides, beside the overlay and the log, whether the index should commit.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Monotonic time.
    pub now: Nanos,
    /// How long its core puts commits off.
    pub pace: CommitPace,
    /// Whether the disk is low: only the index says what came free.
    pub low: bool,
}

/// Log bytes since the replay mark at which an overlay goes whatever its size, of a log so long.
pub(super) fn replay_bytes_max(log_bytes: u64) -> u64 {
    let part = log_bytes.saturating_sub(limits::REPLAY_LOG_SHORT_BYTES) / limits::REPLAY_LOG_PARTS;
    part.clamp(limits::REPLAY_LOG_BYTES_MIN, limits::REPLAY_LOG_BYTES_MAX)
}

/// How soon marks must become durable even if nothing was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    #[default]
    Never,
    /// As soon as rows of the same age would; at once where the disk is low.
    Usual,
    /// At once, and so urgent is its commit then.
    AtOnce(Urgency),
}

/// How soon a commit of the index should end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing waits: it may take as long as the next one takes to come due.
    #[default]
    None,
    /// Something waits that can do so for half a second.
    Soon,
    /// It should end as soon as it can.
    Now,
}

/// See the module's text.
#[derive(Debug)]
pub struct Generations {
    state: State,
    last: CoreMarks,
    /// The first space never used.
    next_space: Space,
    /// Spaces nobody owns any more, and the first generation that names each.
    clearing: BTreeMap<Space, u64>,
    filling_since: Option<Nanos>,
    /// The last durable batch, and since when it has been that.
    rests: (u64, Nanos),
    /// The end of the log when the overlay was frozen last.
    frozen_at: Position,
    wanted: Wanted,
    /// Of the commit that is under way, or of the one after it.
    urgency: Urgency,
    planted: Planted,
}

impl Generations {
    /// Goes on after the marks that were found.
    #[must_use]
    pub fn new(last: CoreMarks, planted: Planted) -> Self {
        Self {
            state: State::Filling,
            last,
            next_space: last.next_space,
            clearing: BTreeMap::new(),
            filling_since: None,
            rests: (0, Nanos(0)),
            frozen_at: last.replay,
            wanted: Wanted::Never,
            urgency: Urgency::None,
            planted,
        }
    }

    /// Whether the overlay should be frozen now.
    pub fn is_due<R: IndexReader>(&mut self, conditions: Conditions, index: &Index<R>, log: &LogWriter, segment_bytes: u32) -> bool {
        let Conditions { now, pace, low } = conditions;
        let filling = matches!(self.state, State::Filling);
        let wanted = match self.wanted {
            Wanted::Never => false,
            Wanted::Usual => low,
            Wanted::AtOnce(_) => true,
        };
        if filling && wanted {
            return true;
        }
        if !filling || index.active_bytes() == 0 && self.wanted == Wanted::Never {
            self.filling_since = None;
            return false;
        }
        let since = *self.filling_since.get_or_insert(now);
        if self.rests.0 != log.last_sequence() {
            self.rests = (log.last_sequence(), now);
        }
        let rested = now.since(since.max(self.rests.1)) >= limits::OVERLAY_REST;
        let age_max = if low {
            pace.age_max.min(limits::OVERLAY_REST)
        } else {
            pace.age_max
        };
        index.active_bytes() >= limits::OVERLAY_FREEZE_BYTES
            || rested
            || now.since(since) >= age_max
            || self.replay_halves(log, segment_bytes) >= 2
    }

    /// How soon a commit under way should end: for whatever waits for it, and for the next one when that is half due, or due.
    #[must_use]
    pub fn urgency<R: IndexReader>(&self, index: &Index<R>, log: &LogWriter, segment_bytes: u32) -> Urgency {
        let filled = 2 * index.active_bytes() / limits::OVERLAY_FREEZE_BYTES;
        let by_next = match self.replay_halves(log, segment_bytes).max(filled as u64) {
            0 => Urgency::None,
            1 => Urgency::Soon,
            _ => Urgency::Now,
        };
        self.urgency.max(by_next)
    }

    /// What the log has grown by since the overlay was frozen last, in halves of what replay may have to read.
    fn replay_halves(&self, log: &LogWriter, segment_bytes: u32) -> u64 {
        let bytes_from = |segment| u64::from(log.position().segment.saturating_sub(segment)) * u64::from(segment_bytes);
        2 * bytes_from(self.frozen_at.segment) / replay_bytes_max(bytes_from(log.oldest_segment()))
    }

    /// A space nobody ever used.
    ///
    /// # Panics
    /// When four billion were drawn.
    pub fn draw_space(&mut self) -> Space {
        let drawn = self.next_space;
        self.next_space = Space(drawn.0.checked_add(1).expect("fewer replicas and images than spaces"));
        drawn
    }

    /// A space is in use: it is never drawn.
    pub fn saw_space(&mut self, space: Space) {
        self.next_space = self.next_space.max(Space(space.0.saturating_add(1)));
    }

    /// The next generation is due at once, even if nothing was applied: its marks matter.
    pub fn hurry(&mut self, urgency: Urgency) {
        self.wanted = self.wanted.max(Wanted::AtOnce(urgency));
        self.press(urgency);
    }

    /// Something waits for the generation that is under way.
    pub fn press(&mut self, urgency: Urgency) {
        self.urgency = self.urgency.max(urgency);
    }

    /// The next generation is due when it is, but even if nothing was applied.
    pub fn want(&mut self) {
        self.wanted = self.wanted.max(Wanted::Usual);
    }

    /// Freezes the overlay together with every replica's marks.
    pub fn freeze<R: IndexReader>(
        &mut self,
        index: &mut Index<R>,
        contributions: Vec<Contribution>,
        positions: &mut Positions,
        last_batch: BatchPlace,
    ) {
        let rows = match index.freeze() {
            Some(rows) => rows,
            None if self.wanted > Wanted::Never => Arc::default(),
            None => return,
        };
        self.urgency = match std::mem::take(&mut self.wanted) {
            Wanted::Never | Wanted::Usual => Urgency::None,
            Wanted::AtOnce(urgency) => urgency,
        };
        // A scan from the last durable batch finds all that is not written yet; entries above a mark may lie further back, but not
        // before the last replay mark. Replay may be there, where that mark's batch is damaged and it began with the oldest segment.
        let marked = BatchPlace {
            sequence: self.last.replay_sequence,
            position: self.last.replay,
        };
        let replay = contributions
            .iter()
            .filter_map(|one| one.replay)
            .fold(last_batch, BatchPlace::min)
            .max(marked);
        let number = self.last.generation + 1;
        let core = CoreMarks {
            generation: number,
            replay: replay.position,
            replay_sequence: replay.sequence,
            next_space: self.next_space,
        };
        let replicas: Vec<_> = contributions.into_iter().map(|one| one.marks).collect();
        let applied = |name| {
            replicas
                .iter()
                .find(|marks| marks.name == name)
                .map_or(LogIndex(0), |marks| marks.applied)
        };
        let positions = positions.take_applied(applied);
        (self.filling_since, self.frozen_at) = (None, last_batch.position);
        self.state = State::Frozen(Generation {
            number,
            rows,
            core,
            replicas,
            positions,
            cleared: self.clearing.keys().copied().collect(),
        });
    }

    /// Sends the frozen generation to the index once every commit it rests on is durable; asks for that otherwise. The rows of one that
    /// is sent.
    pub fn advance(&mut self, log: &mut LogWriter, out: &mut Effects) -> Option<u64> {
        let State::Frozen(generation) = &mut self.state else { return None };
        let durable = |marks: &ReplicaMarks| marks.damaged || log.durable_commit(marks.name) >= marks.applied;
        if !self.planted.index_ahead_of_commit() && !generation.replicas.iter().all(durable) {
            log.force_commits();
            return None;
        }
        for marks in &mut generation.replicas {
            marks.commit = log.durable_commit(marks.name).max(marks.applied);
            if self.planted.mark_ahead_of_index() {
                marks.applied = marks.commit;
            }
        }
        let rows = generation.rows.len() as u64;
        let generation = self.take_frozen()?;
        out.push(Effect::CommitIndex(generation));
        Some(rows)
    }

    /// The index holds the generation.
    ///
    /// # Errors
    /// [`IndexError`]: the index does not show it, which stops the node.
    pub fn done<R: IndexReader>(&mut self, generation: u64, index: &mut Index<R>, positions: &mut Positions) -> Result<(), IndexError> {
        assert!(
            matches!(self.state, State::Committing(number) if number == generation),
            "generation {generation} was not being committed"
        );
        index.committed()?;
        positions.committed();
        self.state = State::Filling;
        if !self.clearing.is_empty() {
            let left = index.reader().spaces()?;
            self.clearing.retain(|space, named| *named > generation || left.contains(space));
            if !self.clearing.is_empty() {
                self.hurry(Urgency::Soon);
            }
        }
        Ok(())
    }

    /// Nobody owns this space any more: its rows go, a bounded number with each generation.
    pub fn clear(&mut self, space: Space) {
        let named = self.next_frozen();
        self.clearing.entry(space).or_insert(named);
        self.hurry(Urgency::Soon);
    }

    /// The generation the index holds.
    #[must_use]
    pub fn durable(&self) -> u64 {
        match self.state {
            State::Filling | State::Frozen(_) => self.last.generation,
            State::Committing(_) => self.last.generation - 1,
        }
    }

    /// The first generation that will hold all that is applied by now.
    #[must_use]
    pub fn next_frozen(&self) -> u64 {
        match self.state {
            State::Filling | State::Committing(_) => self.last.generation + 1,
            State::Frozen(_) => self.last.generation + 2,
        }
    }

    /// Whether nothing is frozen or being committed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Filling)
    }

    /// The generation that is frozen and waits, given up to a caller that commits by itself (replay at start).
    pub(crate) fn take_frozen(&mut self) -> Option<Generation> {
        let number = match &self.state {
            State::Frozen(generation) => generation.number,
            State::Filling | State::Committing(_) => return None,
        };
        match std::mem::replace(&mut self.state, State::Committing(number)) {
            State::Frozen(generation) => {
                self.last = generation.core;
                Some(generation)
            }
            State::Filling | State::Committing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::core::tests::fixture::config;
    use crate::index::conformance::put;
    use crate::index::memory::MemoryStore;
    use crate::index::view::OwnedRange;
    use crate::log::writer::Resume;
    use margate_net::ids::{ReplicaId, ShardId};

    const SEGMENT_BYTES: u32 = 4 << 20;

    const NAME: ReplicaName = ReplicaName {
        shard: ShardId(1),
        replica: ReplicaId(1),
    };

    fn at(segment: u32) -> Position {
        Position { segment, offset: 4_096 }
    }

    /// Reclaim of a log whose index is large does not ask for a commit at once: it would wait for ever where nothing is applied any more.
    #[test]
    fn where_nothing_is_applied_a_wanted_generation_is_due_all_the_same() {
        let log = LogWriter::new(config(1, &[], SEGMENT_BYTES).log, Resume::fresh());
        let index = Index::new(MemoryStore::default().reader());
        let none = CoreMarks {
            generation: 0,
            replay: log.position(),
            replay_sequence: 0,
            next_space: Space(1),
        };
        let mut generations = Generations::new(none, Planted::NONE);
        let due = |generations: &mut Generations, now_ms, low| {
            let conditions = Conditions {
                now: Nanos::from_millis(now_ms),
                pace: CommitPace::USUAL,
                low,
            };
            generations.is_due(conditions, &index, &log, SEGMENT_BYTES)
        };
        assert!(!due(&mut generations, 1, false) && !due(&mut generations, 100_000, true));
        generations.want();
        assert_eq!(
            [100_001, 105_000, 105_001].map(|now| due(&mut generations, now, false)),
            [false, false, true]
        );
        assert!(due(&mut generations, 100_001, true), "a low disk waits for nothing");
        generations.hurry(Urgency::Now);
        generations.want();
        assert!(due(&mut generations, 105_002, false), "a wish takes nothing from what is urgent");
    }

    /// The level that was asked for goes with the generation it was asked for, the highest wins, and what waits for one under way counts for it alone.
    #[test]
    fn a_commit_is_as_urgent_as_the_most_urgent_of_what_waits_for_it() {
        let log = LogWriter::new(config(1, &[], SEGMENT_BYTES).log, Resume::fresh());
        let mut index = Index::new(MemoryStore::default().reader());
        let last = CoreMarks {
            generation: 0,
            replay: log.position(),
            replay_sequence: 0,
            next_space: Space(1),
        };
        let place = BatchPlace {
            sequence: 0,
            position: log.position(),
        };
        let mut generations = Generations::new(last, Planted::NONE);
        let freeze = |generations: &mut Generations, index: &mut Index<_>| {
            generations.freeze(index, Vec::new(), &mut Positions::default(), place);
            generations.take_frozen().expect("it is wanted")
        };
        let urgency = |generations: &Generations, index: &Index<_>| generations.urgency(index, &log, SEGMENT_BYTES);
        assert_eq!(urgency(&generations, &index), Urgency::None);
        generations.hurry(Urgency::Now);
        generations.hurry(Urgency::Soon);
        generations.want();
        freeze(&mut generations, &mut index);
        assert_eq!(urgency(&generations, &index), Urgency::Now);
        generations.state = State::Filling;
        generations.want();
        freeze(&mut generations, &mut index);
        assert_eq!(urgency(&generations, &index), Urgency::None, "nothing waits for this one");
        generations.press(Urgency::Soon);
        generations.press(Urgency::None);
        assert_eq!(urgency(&generations, &index), Urgency::Soon);
        generations.state = State::Filling;
        generations.hurry(Urgency::Soon);
        freeze(&mut generations, &mut index);
        assert_eq!(urgency(&generations, &index), Urgency::Soon);
        generations.press(Urgency::Now);
        assert_eq!(urgency(&generations, &index), Urgency::Now);
    }

    #[test]
    fn a_commit_gets_urgent_as_the_next_one_comes_due() {
        let log = LogWriter::new(config(1, &[], SEGMENT_BYTES).log, Resume::fresh());
        let mut index = Index::new(MemoryStore::default().reader());
        let last = CoreMarks {
            generation: 0,
            replay: log.position(),
            replay_sequence: 0,
            next_space: Space(2),
        };
        let generations = Generations::new(last, Planted::NONE);
        let range = OwnedRange {
            space: Space(1),
            low: Bytes::new(),
            high: Bytes::new(),
        };
        let mut seen = vec![(Urgency::None, 0)];
        for key in 0u64.. {
            let key = [&key.to_be_bytes()[..], &[b'k'; 1_000]].concat();
            assert!(index.apply(&range, &key, put(1)));
            let urgency = generations.urgency(&index, &log, SEGMENT_BYTES);
            if seen.last().is_some_and(|(last, _)| *last != urgency) {
                seen.push((urgency, index.active_bytes() * 8 / limits::OVERLAY_FREEZE_BYTES));
            }
            if urgency == Urgency::Now {
                break;
            }
        }
        assert_eq!(
            seen,
            [(Urgency::None, 0), (Urgency::Soon, 4), (Urgency::Now, 8)],
            "in eighths of an overlay"
        );
    }

    /// A part of the log, and never less than replays in no time nor more than in a few seconds.
    #[test]
    fn what_replay_has_to_read_grows_with_the_log() {
        let shares = [0, 1 << 30, 2 << 30, 3 << 30, 5 << 30, 7 << 30, 1 << 40].map(replay_bytes_max);
        assert_eq!(shares.map(|bytes| bytes >> 20), [256, 256, 256, 512, 1_024, 1_280, 1_280]);
    }

    #[test]
    fn the_place_of_an_entry_that_was_cut_is_forgotten() {
        let mut positions = Positions::default();
        let name = |shard| ReplicaName {
            shard: ShardId(shard),
            replica: ReplicaId(1),
        };
        for (shard, index, segment) in [(1, 100, 7), (1, 164, 7), (2, 200, 7), (1, 163, 8), (1, 164, 8)] {
            positions.note(name(shard), LogIndex(index), at(segment));
        }
        let noted = positions.take_applied(|_| LogIndex(1_000));
        let noted: Vec<_> = noted.iter().map(|(name, index, at)| (name.shard.0, index.0, at.segment)).collect();
        assert_eq!(noted, [(1, 100, 7), (2, 200, 7), (1, 163, 8)]);
    }

    /// Where the batch at the replay mark is damaged, replay begins with the oldest segment: a generation made there once ended the process.
    #[test]
    fn the_replay_mark_never_goes_back() {
        let last = CoreMarks {
            generation: 4,
            replay: at(9),
            replay_sequence: 700,
            next_space: Space(2),
        };
        let mut generations = Generations::new(last, Planted::NONE);
        generations.hurry(Urgency::Now);
        let old = BatchPlace {
            sequence: 30,
            position: at(2),
        };
        generations.freeze(
            &mut Index::new(MemoryStore::default().reader()),
            Vec::new(),
            &mut Positions::default(),
            old,
        );
        let core = generations.take_frozen().expect("it is wanted").core;
        assert_eq!((core.generation, core.replay, core.replay_sequence), (5, at(9), 700));
    }

    /// For as long as a commit took, nobody could say where entries were, and members that needed them got whole images.
    #[test]
    fn places_are_known_while_they_go_to_the_index() {
        let index = Index::new(MemoryStore::default().reader());
        let mut positions = Positions::default();
        positions.note(NAME, LogIndex(100), at(7));
        assert_eq!(positions.take_applied(|_| LogIndex(1_000)).len(), 1);
        let found = |positions: &Positions| positions.find(NAME, LogIndex(120), &index).expect("memory never fails");
        assert_eq!(found(&positions), Some(at(7)));
        positions.committed();
        assert_eq!(found(&positions), None, "the index would say it");
    }
}
