//! The entries raft may ask for: a window in memory over the end of one replica's log.
//!
//! ```text
//!   1 ─────────────── first ───────── applied ───────── last
//!   │ in the log only  │ kept for laggards │ pinned        │
//!   └─ terms of all of it, as runs ─────────────────────────┘
//! ```
//! Invariants: entries are contiguous from `first` to `last`; runs rise in index and in term; nothing above
//! `applied` leaves; `term` is answered from memory for every index, since raft asks anywhere.
//!
//! Not here, on purpose: reading older entries. Raft is told `LogTemporarilyUnavailable`, the core fetches
//! them from the log, `EntryWindow::provide` puts them here and raft asks again.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use margate_net::ids::{LogIndex, ReplicaId, Term};
use raft::eraftpb::{ConfState, Entry, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::types::{HardState, Position};

/// An entry and where it stands in the log, once it is written.
#[derive(Clone, Debug)]
struct Held {
    entry: Entry,
    place: Option<Place>,
}

/// Where an entry stands in its core's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First byte of the entry's data.
    pub data: Position,
    /// The batch it is in.
    pub batch: BatchPlace,
}

/// Where a batch stands in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchPlace {
    /// Its number; batches are counted from 1 over all segments.
    pub sequence: u64,
    /// Its first byte.
    pub position: Position,
}

/// A window over the end of one replica's log. Raft's `Storage`.
pub(crate) struct EntryWindow {
    conf: ConfState,
    restored: (HardState, LogIndex),
    /// First index of each run of equal terms, and the term; run 0 is index 0, term 0.
    runs: Vec<(LogIndex, Term)>,
    held: VecDeque<Held>,
    /// Index of the first entry held, or the one to come.
    first: LogIndex,
    held_bytes: usize,
    keep_bytes: usize,
    /// Entries up to here are no longer in the log.
    truncated: LogIndex,
    fetched: Vec<Entry>,
    wanted: RefCell<Vec<Wanted>>,
    /// Members whom raft can only send an image.
    behind: RefCell<BTreeSet<ReplicaId>>,
}

/// Raft wants entries that are not in memory.
#[derive(Debug)]
pub struct Wanted {
    /// First entry wanted.
    pub low: LogIndex,
    /// First entry not wanted.
    pub high: LogIndex,
    /// To be given back with the answer.
    pub context: GetEntriesContext,
}

/// What a restart found of a replica's log.
#[derive(Clone, Debug, Default)]
pub struct RestoredLog {
    /// Term and vote.
    pub hard_state: HardState,
    /// Highest commit that is durable.
    pub commit: LogIndex,
    /// Entries up to here are no longer in the log.
    pub truncated: LogIndex,
    /// Runs of terms of the entries from `truncated` to `applied`, after those of older ones that the log may still hold.
    pub term_runs: Vec<(LogIndex, Term)>,
    /// Highest entry that the index holds.
    pub applied: LogIndex,
    /// Entries above `applied`, contiguous, each with its place.
    pub entries: Vec<(Entry, Place)>,
}

impl EntryWindow {
    /// A window over what a restart found; `conf` are the shard's members.
    pub(crate) fn new(conf: ConfState, restored: RestoredLog, keep_bytes: usize) -> Self {
        let mut runs = restored.term_runs;
        // Raft asks for the term before the first entry too.
        if restored.truncated == LogIndex(0) && runs.first().is_none_or(|(first, _)| *first > LogIndex(0)) {
            runs.insert(0, (LogIndex(0), Term(0)));
        }
        let mut window = Self {
            conf,
            restored: (restored.hard_state, restored.commit),
            runs,
            held: VecDeque::new(),
            first: restored.applied.next(),
            held_bytes: 0,
            keep_bytes,
            truncated: restored.truncated,
            fetched: Vec::new(),
            wanted: RefCell::new(Vec::new()),
            behind: RefCell::new(BTreeSet::new()),
        };
        for (entry, place) in restored.entries {
            window.append(entry);
            window.place(window.last(), place);
        }
        window
    }

    /// Highest index in the log.
    pub(crate) fn last(&self) -> LogIndex {
        LogIndex(self.first.0 + self.held.len() as u64 - 1)
    }

    /// Bytes of entries above an index.
    pub(crate) fn bytes_above(&self, index: LogIndex) -> usize {
        let from = index.0.saturating_sub(self.first.0.saturating_sub(1));
        self.held
            .iter()
            .skip(usize::try_from(from).unwrap_or(usize::MAX))
            .map(|held| held.entry.data.len())
            .sum()
    }

    /// Appends one entry, after cutting those it replaces; says in which batch the first of these was written, if any was.
    pub(crate) fn append(&mut self, entry: Entry) -> Option<BatchPlace> {
        let index = LogIndex(entry.index);
        assert!(
            index >= self.first && index.0 <= self.last().0 + 1,
            "entry {index} after {} to {}",
            self.first,
            self.last()
        );
        let replaced = self.place_of(index).map(|place| place.batch);
        self.cut_from(index);
        let term = Term(entry.term);
        match self.runs.last() {
            Some((_, last)) if *last == term => {}
            Some((_, last)) => {
                assert!(*last < term, "entry {index} goes from term {last} back to {term}");
                self.runs.push((index, term));
            }
            None => self.runs.push((index, term)),
        }
        self.held_bytes += entry.data.len();
        self.held.push_back(Held { entry, place: None });
        replaced
    }

    /// Notes where an entry is being written.
    pub(crate) fn place(&mut self, index: LogIndex, place: Place) {
        if let Some(at) = self.slot(index)
            && let Some(held) = self.held.get_mut(at)
        {
            held.place = Some(place);
        }
    }

    /// Where an entry was written, while it is held.
    pub(crate) fn place_of(&self, index: LogIndex) -> Option<Place> {
        self.held.get(self.slot(index)?)?.place
    }

    /// The term of a held or forgotten entry, `None` beyond the end.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index > self.last() {
            return None;
        }
        let after = self.runs.partition_point(|(first, _)| *first <= index);
        self.runs.get(after.checked_sub(1)?).map(|(_, term)| *term)
    }

    /// Runs of terms up to an index, for the index's marks.
    pub(crate) fn runs_up_to(&self, index: LogIndex) -> Vec<(LogIndex, Term)> {
        self.runs.iter().copied().take_while(|(first, _)| *first <= index).collect()
    }

    /// Forgets entries up to `applied` beyond what is kept for those who lag.
    pub(crate) fn trim(&mut self, applied: LogIndex) {
        while self.held_bytes > self.keep_bytes && self.first <= applied {
            let Some(held) = self.held.pop_front() else { break };
            self.held_bytes -= held.entry.data.len();
            self.first = self.first.next();
        }
        self.held.shrink_to(self.held.len() * 2 + 64);
    }

    /// Entries up to this one are leaving the log; they must be applied.
    pub(crate) fn truncate(&mut self, to: LogIndex) {
        if to <= self.truncated {
            return;
        }
        let term = self.term_at(to).expect("only what the log holds is truncated");
        let kept = self.runs.partition_point(|(first, _)| *first <= to);
        self.runs.drain(..kept);
        self.runs.insert(0, (to, term));
        while self.first <= to {
            match self.held.pop_front() {
                Some(held) => self.held_bytes -= held.entry.data.len(),
                None => break,
            }
            self.first = self.first.next();
        }
        self.truncated = to;
    }

    /// Applied entries up to this one, none of them held in memory, cannot be read: they are as good as truncated. Their terms stay, for
    /// the log still holds what they replaced.
    pub(crate) fn give_up(&mut self, to: LogIndex) {
        assert!(to < self.first, "entry {to} is in memory");
        self.truncated = self.truncated.max(to);
    }

    /// Entries up to here are no longer in the log.
    pub(crate) fn truncated(&self) -> LogIndex {
        self.truncated
    }

    /// Takes what raft wanted since the last call.
    pub(crate) fn take_wanted(&self) -> Vec<Wanted> {
        std::mem::take(&mut *self.wanted.borrow_mut())
    }

    /// Members that raft found to be behind the truncated index since the last call.
    pub(crate) fn take_behind(&self) -> BTreeSet<ReplicaId> {
        std::mem::take(&mut *self.behind.borrow_mut())
    }

    /// An image is in force: the log begins anew after its last entry.
    pub(crate) fn install(&mut self, applied: LogIndex, term: Term) {
        self.runs = vec![(applied, term)];
        self.held.clear();
        (self.first, self.held_bytes, self.truncated) = (applied.next(), 0, applied);
        self.fetched = Vec::new();
    }

    /// First index held in memory.
    pub(crate) fn first_held(&self) -> LogIndex {
        self.first
    }

    /// Makes fetched entries answerable. Only those whose term is the one this log has are taken.
    pub(crate) fn provide(&mut self, entries: Vec<Entry>) {
        assert!(
            entries
                .iter()
                .all(|entry| self.term_at(LogIndex(entry.index)) == Some(Term(entry.term))),
            "a fetched entry is not of this log"
        );
        self.fetched = entries;
    }

    /// Drops what was fetched, once raft has taken it.
    pub(crate) fn forget_fetched(&mut self) {
        self.fetched = Vec::new();
    }

    fn slot(&self, index: LogIndex) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.first.0)?).ok()
    }

    fn cut_from(&mut self, index: LogIndex) {
        while self.last() >= index && !self.held.is_empty() {
            if let Some(held) = self.held.pop_back() {
                self.held_bytes -= held.entry.data.len();
            }
        }
        while self.runs.len() > 1 && self.runs.last().is_some_and(|(first, _)| *first >= index) {
            self.runs.pop();
        }
        // Fetched entries lie below the committed index and are never cut.
    }

    fn held_between(&self, low: LogIndex, high: LogIndex, max_bytes: u64) -> Vec<Entry> {
        let from = self.slot(low).unwrap_or(0);
        let count = usize::try_from(high.0 - low.0).unwrap_or(usize::MAX);
        limited(self.held.iter().skip(from).take(count).map(|held| &held.entry), max_bytes)
    }

    fn fetched_between(&self, low: LogIndex, high: LogIndex, max_bytes: u64) -> Option<Vec<Entry>> {
        let first = self.fetched.first()?.index;
        let from = usize::try_from(low.0.checked_sub(first)?).ok()?;
        let rest = self.fetched.get(from..)?;
        let taken = limited(rest.iter().take_while(|entry| entry.index < high.0), max_bytes);
        (!taken.is_empty()).then_some(taken)
    }
}

/// At least one entry, then as many as the budget allows.
fn limited<'a>(entries: impl Iterator<Item = &'a Entry>, max_bytes: u64) -> Vec<Entry> {
    let mut bytes = 0u64;
    entries
        .take_while(|entry| {
            let first = bytes == 0;
            // 24 bytes stand for the entry's own fields, so that empty entries count too.
            bytes += entry.data.len() as u64 + 24;
            first || bytes <= max_bytes
        })
        .cloned()
        .collect()
}

impl Storage for EntryWindow {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let (hard, commit) = self.restored;
        let hard_state = raft::eraftpb::HardState {
            term: hard.term.0,
            vote: hard.vote.0,
            commit: commit.0,
            ..Default::default()
        };
        Ok(RaftState::new(hard_state, self.conf.clone()))
    }

    fn entries(&self, low: u64, high: u64, max_size: impl Into<Option<u64>>, context: GetEntriesContext) -> raft::Result<Vec<Entry>> {
        let (low, high, max_bytes) = (LogIndex(low), LogIndex(high), max_size.into().unwrap_or(u64::MAX));
        assert!(high.0 <= self.last().0 + 1, "raft asks for entries up to {high} of {}", self.last());
        if low <= self.truncated {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if low >= self.first {
            return Ok(self.held_between(low, high, max_bytes));
        }
        if let Some(entries) = self.fetched_between(low, high, max_bytes) {
            return Ok(entries);
        }
        if context.can_async() {
            self.wanted.borrow_mut().push(Wanted { low, high, context });
            return Err(raft::Error::Store(StorageError::LogTemporarilyUnavailable));
        }
        Err(raft::Error::Store(StorageError::Unavailable))
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.term_at(LogIndex(index))
            .map(|term| term.0)
            .ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.next().0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().0)
    }

    fn snapshot(&self, _request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // An image travels its own way; raft only says who needs one.
        self.behind.borrow_mut().insert(ReplicaId(to));
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::convert::entry;
    use bytes::Bytes;
    use margate_net::message::EntryKind;

    fn filled(terms: &[u64]) -> EntryWindow {
        let mut window = EntryWindow::new(ConfState::default(), RestoredLog::default(), 0);
        for (at, term) in terms.iter().enumerate() {
            window.append(entry(
                Term(*term),
                LogIndex(at as u64 + 1),
                EntryKind::Normal,
                Bytes::from_static(b"12345678"),
            ));
        }
        window
    }

    #[test]
    fn terms_outlive_the_entries_they_belong_to() {
        let mut window = filled(&[1, 1, 2, 4]);
        window.trim(LogIndex(3));
        assert_eq!(window.first_held(), LogIndex(4));
        let terms: Vec<_> = (0..=5).map(|index| window.term_at(LogIndex(index)).map(|term| term.0)).collect();
        assert_eq!(terms, [Some(0), Some(1), Some(1), Some(2), Some(4), None]);
    }

    #[test]
    fn what_is_not_applied_is_never_forgotten() {
        let mut window = filled(&[1, 1, 1]);
        window.trim(LogIndex(1));
        assert_eq!((window.first_held(), window.last()), (LogIndex(2), LogIndex(3)));
        assert_eq!(window.bytes_above(LogIndex(2)), 8);
    }

    #[test]
    fn a_conflicting_entry_cuts_the_entries_and_runs_it_replaces() {
        let mut window = filled(&[1, 2, 2]);
        window.append(entry(Term(3), LogIndex(2), EntryKind::Normal, Bytes::new()));
        assert_eq!(window.last(), LogIndex(2));
        assert_eq!(
            window.runs_up_to(LogIndex(9)),
            [(LogIndex(0), Term(0)), (LogIndex(1), Term(1)), (LogIndex(2), Term(3))]
        );
        assert_eq!(window.place_of(LogIndex(2)), None);
    }

    #[test]
    fn older_entries_are_wanted_then_provided() {
        let mut window = filled(&[1, 1, 1]);
        window.trim(LogIndex(2));
        let answer = Storage::entries(&window, 1, 3, None, GetEntriesContext::empty(true));
        assert!(matches!(answer, Err(raft::Error::Store(StorageError::LogTemporarilyUnavailable))));
        let wanted = window.take_wanted();
        assert_eq!((wanted[0].low, wanted[0].high), (LogIndex(1), LogIndex(3)));
        window.provide(vec![entry(Term(1), LogIndex(1), EntryKind::Normal, Bytes::new())]);
        let answer = Storage::entries(&window, 1, 3, None, GetEntriesContext::empty(true)).expect("provided");
        assert_eq!(answer.len(), 1);
    }
}
