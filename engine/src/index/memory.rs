//! The store the simulator uses: the same promises as LMDB, in memory and deterministic.
//!
//! A commit has two halves, so that virtual time may pass in it: [`MemoryStore::begin`] stages it where nobody sees
//! it, [`MemoryStore::finish`] makes it the newest generation at once. [`MemoryStore::crash`] in between loses it.
//!
//! Pages that are lost take the newest generations with them: [`MemoryStore::revert`] goes back to an older one.
//!
//! Not here, on purpose: a capacity, which comes with the fault that needs it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::rc::Rc;

use margate_net::ids::{LogIndex, Space};
use margate_net::message::Direction;

use super::churn::{Churn, Count};
use super::error::IndexError;
use super::live_bytes::LiveBytes;
use super::row::{ROW_BYTES, Row, SPACE_BYTES, Slot, index_key, space_bounds, split_index_key, user_key};
use super::store::{CoreMarks, Generation, IndexReader, IndexWriter, ReplicaMarks, Visit};
use crate::limits::CLEARED_ROWS_MAX;
use crate::types::{Position, ReplicaName};

/// Former generations a store can go back to.
const FORMER_MAX: usize = 8;

/// A store that outlives the readers and writers made from it, as a disk outlives a process.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Rc<RefCell<Shared>>);

/// Reads the generation it saw last.
#[derive(Debug)]
pub struct MemoryReader {
    store: MemoryStore,
    seen: Rc<Tables>,
}

/// Commits to the store.
#[derive(Debug)]
pub struct MemoryWriter(MemoryStore);

#[derive(Debug, Default)]
struct Shared {
    committed: Rc<Tables>,
    /// The generations before it, oldest first.
    former: VecDeque<Rc<Tables>>,
    begun: Option<Generation>,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    rows: BTreeMap<Vec<u8>, Row>,
    core: Option<CoreMarks>,
    replicas: BTreeMap<ReplicaName, ReplicaMarks>,
    positions: BTreeMap<(ReplicaName, LogIndex), Position>,
    live: LiveBytes,
}

impl MemoryStore {
    /// A new, empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader at the last committed generation.
    #[must_use]
    pub fn reader(&self) -> MemoryReader {
        MemoryReader {
            store: self.clone(),
            seen: Rc::clone(&self.0.borrow().committed),
        }
    }

    /// A writer.
    #[must_use]
    pub fn writer(&self) -> MemoryWriter {
        MemoryWriter(self.clone())
    }

    /// Begins a commit that nobody sees yet.
    ///
    /// # Panics
    /// When another is under way, or the generation's marks go back.
    pub fn begin(&self, generation: &Generation) {
        let mut shared = self.0.borrow_mut();
        generation.assert_follows(shared.committed.core.as_ref());
        assert!(
            shared.begun.is_none(),
            "generation {} begun before the last was finished",
            generation.number
        );
        shared.begun = Some(generation.clone());
    }

    /// Makes the commit that was begun durable and visible. Returns its generation and how it moved rows; `None` if a crash came first.
    pub fn finish(&self) -> Option<(u64, Churn)> {
        let mut shared = self.0.borrow_mut();
        let generation = shared.begun.take()?;
        if shared.former.len() == FORMER_MAX {
            shared.former.pop_front();
        }
        let former = Rc::clone(&shared.committed);
        shared.former.push_back(former);
        let churn = Rc::make_mut(&mut shared.committed).absorb(&generation);
        Some((generation.number, churn))
    }

    /// The process died: a commit that was begun and not finished is lost. Make new readers and writers afterwards.
    pub fn crash(&self) {
        self.0.borrow_mut().begun = None;
    }

    /// So many of the newest generations are lost, as far as they are remembered. Returns how many. Make new readers afterwards.
    ///
    /// # Panics
    /// When a commit is under way.
    pub fn revert(&self, generations: usize) -> usize {
        let mut shared = self.0.borrow_mut();
        assert!(shared.begun.is_none(), "nothing is lost under a commit that goes on");
        let lost = generations.min(shared.former.len());
        for _ in 0..lost {
            shared.committed = shared.former.pop_back().unwrap_or_default();
        }
        lost
    }
}

impl Tables {
    fn absorb(&mut self, generation: &Generation) -> Churn {
        let mut count = Count::new(self.live);
        for (space, key, slot) in generation.rows.iter() {
            let old = match slot {
                Slot::Put(row) => self.rows.insert(index_key(space, key), *row),
                Slot::Deleted(_) => self.rows.remove(&index_key(space, key)),
            };
            old.iter().for_each(|old| count.lose(key.len(), old));
            slot.row().iter().for_each(|row| count.gain(key.len(), row));
        }
        self.clear(&generation.cleared, &mut count);
        self.live = count.live;
        self.core = Some(generation.core);
        self.replicas
            .extend(generation.replicas.iter().map(|marks| (marks.name, marks.clone())));
        let keyed = |(name, index, position): &(ReplicaName, LogIndex, Position)| ((*name, *index), *position);
        self.positions.extend(generation.positions.iter().map(keyed));
        for marks in &generation.replicas {
            let gone = (marks.name, LogIndex(0))..=(marks.name, marks.truncated);
            self.positions.extract_if(gone, |_, _| true).for_each(drop);
        }
        count.churn
    }

    /// Deletes rows of spaces, up to the limit of one commit.
    fn clear(&mut self, spaces: &[Space], count: &mut Count) {
        let mut left = CLEARED_ROWS_MAX;
        for space in spaces {
            for (key, row) in self.rows.extract_if(space_bounds(*space, b"", b""), |_, _| true).take(left) {
                count.lose(key.len() - SPACE_BYTES, &row);
                left -= 1;
            }
        }
    }
}

impl IndexReader for MemoryReader {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Row>, IndexError> {
        Ok(self.seen.rows.get(&index_key(space, key)).copied())
    }

    fn scan(&self, space: Space, low: &[u8], high: &[u8], direction: Direction, visit: &mut Visit<'_>) -> Result<(), IndexError> {
        if !high.is_empty() && low >= high {
            return Ok(());
        }
        let mut rows = self.seen.rows.range(space_bounds(space, low, high));
        loop {
            let next = match direction {
                Direction::Forward => rows.next(),
                Direction::Reverse => rows.next_back(),
            };
            let Some((key, row)) = next else { return Ok(()) };
            let key = user_key(key).expect("keys are stored with their space");
            if let ControlFlow::Break(()) = visit(key, *row) {
                return Ok(());
            }
        }
    }

    fn core_marks(&self) -> Result<Option<CoreMarks>, IndexError> {
        Ok(self.seen.core)
    }

    fn replica_marks(&self) -> Result<Vec<ReplicaMarks>, IndexError> {
        Ok(self.seen.replicas.values().cloned().collect())
    }

    fn entry_position(&self, name: ReplicaName, at_or_below: LogIndex) -> Result<Option<(LogIndex, Position)>, IndexError> {
        let mut positions = self.seen.positions.range((name, LogIndex(0))..=(name, at_or_below));
        Ok(positions.next_back().map(|((_, index), position)| (*index, *position)))
    }

    fn bytes_used(&self) -> Result<u64, IndexError> {
        let bytes: usize = self.seen.rows.keys().map(|key| key.len() + ROW_BYTES).sum();
        Ok(bytes as u64)
    }

    fn spaces(&self) -> Result<Vec<Space>, IndexError> {
        let mut spaces = Vec::new();
        let mut next = Some(Space(0));
        while let Some(from) = next {
            let Some((key, _)) = self.seen.rows.range(index_key(from, b"")..).next() else {
                break;
            };
            let (space, _) = split_index_key(key).expect("keys are stored with their space");
            spaces.push(space);
            next = space.0.checked_add(1).map(Space);
        }
        Ok(spaces)
    }

    fn live_bytes(&self) -> Result<u64, IndexError> {
        Ok(self.seen.live.0)
    }

    fn fork(&self) -> Result<Self, IndexError> {
        Ok(self.store.reader())
    }

    fn refresh(&mut self) -> Result<(), IndexError> {
        self.seen = Rc::clone(&self.store.0.borrow().committed);
        Ok(())
    }
}

impl IndexWriter for MemoryWriter {
    fn commit(&mut self, generation: &Generation) -> Result<Churn, IndexError> {
        self.0.begin(generation);
        let finished = self.0.finish();
        Ok(finished.expect("nothing comes between").1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, TestStore, generation, put};
    use super::super::differential;
    use super::*;

    impl TestStore for MemoryStore {
        type Reader = MemoryReader;
        type Writer = MemoryWriter;

        fn open(&mut self) -> (MemoryReader, MemoryWriter) {
            self.crash();
            (self.reader(), self.writer())
        }
    }

    #[test]
    fn keeps_every_promise() {
        conformance::run(MemoryStore::new);
    }

    #[test]
    fn matches_a_plain_map() {
        differential::run(256, MemoryStore::new);
    }

    #[test]
    fn a_commit_under_way_is_seen_by_nobody_and_lost_by_a_crash() {
        let store = MemoryStore::new();
        store.begin(&generation(1, &[(b"k", put(1))]));
        assert_eq!(store.reader().get(conformance::SPACE, b"k").expect("memory"), None);
        store.crash();
        assert_eq!(store.finish(), None);
        store.begin(&generation(1, &[(b"k", put(2))]));
        assert_eq!(store.finish().map(|(generation, _)| generation), Some(1));
        let row = store.reader().get(conformance::SPACE, b"k").expect("memory");
        assert_eq!(row.map(Slot::Put), Some(put(2)));
    }

    #[test]
    fn lost_generations_are_as_if_they_had_never_been() {
        let store = MemoryStore::new();
        for number in 1..=3u32 {
            store
                .writer()
                .commit(&generation(number.into(), &[(b"k", put(number))]))
                .expect("memory");
        }
        assert_eq!(store.revert(2), 2);
        let reader = store.reader();
        let row = reader.get(conformance::SPACE, b"k").expect("memory");
        assert_eq!(row.map(Slot::Put), Some(put(1)));
        assert_eq!(reader.core_marks().expect("memory").map(|marks| marks.generation), Some(1));
        store.writer().commit(&generation(2, &[(b"k", put(4))])).expect("memory");
        assert_eq!(store.revert(9), 2, "back to the empty store");
        assert_eq!(store.reader().core_marks().expect("memory"), None);
    }

    #[test]
    #[should_panic(expected = "generation 1 begun before the last was finished")]
    fn only_one_commit_is_under_way() {
        let store = MemoryStore::new();
        store.begin(&generation(1, &[]));
        store.begin(&generation(1, &[]));
    }
}
