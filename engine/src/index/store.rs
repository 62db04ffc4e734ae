//! What a durable index must do, for LMDB and for the simulator's memory twin alike.
//!
//! A store moves from generation to generation: a commit is atomic, durable when it returns, and its marks are
//! part of it. A reader stays at the generation it saw last until [`IndexReader::refresh`].
//!
//! Not here, on purpose: merging with what is not committed yet (`view`).

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use margate_net::ids::{LogIndex, Space, Term};
use margate_net::message::Direction;

use super::churn::Churn;
use super::error::IndexError;
use super::overlay::Overlay;
use super::row::Row;
use crate::types::{HardState, Position, ReplicaName};

/// Gets each row of a scan, its key without the space; breaks to stop.
pub type Visit<'a> = dyn FnMut(&[u8], Row) -> ControlFlow<()> + 'a;

/// The last committed generation, as the core reads it. Every method fails as the store does, or on damaged bytes.
pub trait IndexReader {
    /// A key's row.
    ///
    /// # Errors
    /// When the store fails or the row is damaged.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Row>, IndexError>;

    /// Visits the rows of `[low, high)` in the given direction until told to stop; an empty `high` is the end of the space.
    ///
    /// # Errors
    /// When the store fails or a row is damaged.
    fn scan(&self, space: Space, low: &[u8], high: &[u8], direction: Direction, visit: &mut Visit<'_>) -> Result<(), IndexError>;

    /// Where replay begins; `None` if nothing was ever committed.
    ///
    /// # Errors
    /// When the store fails or the mark is damaged.
    fn core_marks(&self) -> Result<Option<CoreMarks>, IndexError>;

    /// What the index holds of each replica, in order of their names.
    ///
    /// # Errors
    /// When the store fails or a mark is damaged.
    fn replica_marks(&self) -> Result<Vec<ReplicaMarks>, IndexError>;

    /// The batch that holds the greatest noted entry at or below an index: where to begin looking for that index.
    ///
    /// # Errors
    /// When the store fails or the position is damaged.
    fn entry_position(&self, name: ReplicaName, at_or_below: LogIndex) -> Result<Option<(LogIndex, Position)>, IndexError>;

    /// Bytes in use, of the store's capacity.
    ///
    /// # Errors
    /// When the store fails.
    fn bytes_used(&self) -> Result<u64, IndexError>;

    /// The spaces that have rows, in order. One seek for each of them.
    ///
    /// # Errors
    /// When the store fails or a key is damaged.
    fn spaces(&self) -> Result<Vec<Space>, IndexError>;

    /// Bytes the records of all rows take in the log when written densely; each as
    /// [`effect_bytes`](crate::log::effects::effect_bytes) says. 0 if nothing was ever committed.
    ///
    /// # Errors
    /// When the store fails or the number is damaged.
    fn live_bytes(&self) -> Result<u64, IndexError>;

    /// A second reader, at the newest committed generation (perhaps not yet seen by this one). It stays there however
    /// many commits follow; meanwhile the store cannot use again what they free.
    ///
    /// # Errors
    /// When the store fails or has too many readers.
    fn fork(&self) -> Result<Self, IndexError>
    where
        Self: Sized;

    /// Moves on to the newest committed generation.
    ///
    /// # Errors
    /// When the store fails; the reader then stays where it is.
    fn refresh(&mut self) -> Result<(), IndexError>;
}

/// Makes generations durable.
pub trait IndexWriter {
    /// Commits rows, marks, positions and deletions in one transaction, durable on return; on an error nothing of it is
    /// visible. Returns how it moved rows in the log.
    ///
    /// # Errors
    /// When the store is full, fails, or a mark is over its limit.
    ///
    /// # Panics
    /// When the marks lie about the contents: see [`Generation::assert_follows`].
    fn commit(&mut self, generation: &Generation) -> Result<Churn, IndexError>;
}

/// What a whole core knows of its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreMarks {
    /// The generation committed; the first is 1.
    pub generation: u64,
    /// The batch from which open scans the log: every entry above any applied mark lies in it or after it.
    pub replay: Position,
    /// That batch's sequence number.
    pub replay_sequence: u64,
    /// The first space this core never used; never goes back.
    pub next_space: Space,
}

/// What the index holds of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaMarks {
    /// Which replica.
    pub name: ReplicaName,
    /// Whether it has lost acknowledged entries: the replay mark may have passed the proof, so this stays.
    pub damaged: bool,
    /// The space of its keys.
    pub space: Space,
    /// Lowest key of its range.
    pub low: Bytes,
    /// End of its range; empty is the end of the key space.
    pub high: Bytes,
    /// The last entry the index holds in full.
    pub applied: LogIndex,
    /// That entry's term.
    pub applied_term: Term,
    /// The hard state as of the replay mark.
    pub hard_state: HardState,
    /// The commit known durable; never below `applied`.
    pub commit: LogIndex,
    /// Entries up to here are no longer in the log; never above `applied`. Committing deletes their positions.
    pub truncated: LogIndex,
    /// Where each term began in the replica's log: (first index, term), growing.
    pub term_runs: Vec<(LogIndex, Term)>,
    /// The shard's state that is not a key, opaque here.
    pub state: Bytes,
}

/// One commit: everything applied up to its marks.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Its number, one more than the one before.
    pub number: u64,
    /// The rows written and deleted since the one before.
    pub rows: Arc<Overlay>,
    /// The core's marks; their generation is `number`.
    pub core: CoreMarks,
    /// The marks of every replica touched since the one before.
    pub replicas: Vec<ReplicaMarks>,
    /// Where the batches of some entries lie: (replica, index, batch). Only applied entries, which are never cut.
    pub positions: Vec<(ReplicaName, LogIndex, Position)>,
    /// Spaces nobody owns any more. A commit deletes at most [`CLEARED_ROWS_MAX`](crate::limits::CLEARED_ROWS_MAX) of
    /// their rows, in this order; a space with more is named again by later generations until it has none.
    pub cleared: Vec<Space>,
}

impl Generation {
    /// Asserts that this generation moves the marks forward from the committed ones.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_follows(&self, committed: Option<&CoreMarks>) {
        assert_eq!(self.core.generation, self.number, "the core's marks belong to another generation");
        for replica in &self.replicas {
            assert!(
                replica.commit >= replica.applied,
                "{}: applied {} is ahead of the durable commit {}",
                replica.name,
                replica.applied,
                replica.commit
            );
            assert!(
                replica.truncated <= replica.applied,
                "{}: truncated {} is ahead of applied {}",
                replica.name,
                replica.truncated,
                replica.applied
            );
            assert!(
                replica.space < self.core.next_space,
                "{}: space {} was never drawn, the next one is {}",
                replica.name,
                replica.space,
                self.core.next_space
            );
        }
        let Some(committed) = committed else { return };
        assert!(
            self.number > committed.generation,
            "generation {} after {}",
            self.number,
            committed.generation
        );
        assert!(
            self.core.replay >= committed.replay,
            "replay mark {} after {}",
            self.core.replay,
            committed.replay
        );
        assert!(
            self.core.next_space >= committed.next_space,
            "next space {} after {}",
            self.core.next_space,
            committed.next_space
        );
    }
}
