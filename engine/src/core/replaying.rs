//! One replica while its core's log is replayed.
//!
//! The scan may begin before this replica's mark, for another replica's sake, in the midst of entries that were
//! replaced later. So the tail is kept as the log itself was, record by record: an entry cuts whatever stood at
//! its index and after it, also where the index lies at or below the mark. What follows a gap before the first
//! entry that fits was replaced later and is passed over; the mark promises that all entries above it that count
//! are still to come.
//!
//! While the scan runs only commits that it has met count, for they speak of the log as it was then; the mark's
//! commit counts at the end.

use std::collections::VecDeque;

use bytes::Bytes;
use margate_net::ids::{LogIndex, NodeId, ReplicaId, Space, Term, Version};
use margate_net::message::EntryKind;
use raft::eraftpb::Entry;

use super::generations::Contribution;
use super::rebuilding::{Checkpoint, Rows, keys_are_owned};
use super::replay::{CoreConfig, ReplayError};
use crate::consensus::convert;
use crate::consensus::group::{Group, GroupConfig};
use crate::consensus::tenure::Tenure;
use crate::consensus::window::{Place, RestoredLog};
use crate::index::row::Slot;
use crate::index::store::{IndexReader, ReplicaMarks};
use crate::index::view::{Index, OwnedRange};
use crate::log::effects::EntryData;
use crate::log::record::Record;
use crate::planted::Planted;
use crate::shard::apply::{AppliedValues, apply_change, apply_entry, slot_of};
use crate::shard::members::Members;
use crate::shard::replica::{Replica, ReplicaParts};
use crate::shard::state::ShardState;
use crate::types::{HardState, Nanos, Position, ReplicaName};

/// See the module's text.
pub(super) struct Replaying {
    pub(super) name: ReplicaName,
    space: Space,
    state: ShardState,
    applied: LogIndex,
    applied_term: Term,
    pub(super) hard_state: HardState,
    /// Commits the scan has met.
    commit: LogIndex,
    /// The commit of the mark.
    marked_commit: LogIndex,
    /// Entries up to here are no longer in the log.
    truncated: LogIndex,
    term_runs: Vec<(LogIndex, Term)>,
    /// The rows of entries up to the mark, where the index has lost them.
    rows: Option<Rows>,
    tail: VecDeque<(Entry, Place)>,
    /// Whether the tail is known to be the log as it was at this point of the scan.
    begun: bool,
    /// Whether the log says that it has ended.
    pub(super) ended: bool,
    /// Whether it was given up before this start, as the log says, or the index.
    pub(super) given_up: bool,
    /// Acknowledged records are lost or make no sense: it is not started, now or ever.
    pub(super) broken: bool,
}

/// Nobody reads while a core starts, so nothing is worth caching.
struct NoCache;

impl AppliedValues for NoCache {
    fn applied(&mut self, _: Position, _: &Bytes) {}
}

impl Replaying {
    /// As the index holds it.
    ///
    /// # Errors
    /// [`ReplayError::State`]: its state is damaged.
    pub(super) fn from_marks(marks: ReplicaMarks) -> Result<Self, ReplayError> {
        let name = marks.name;
        assert!(
            marks.applied <= marks.commit,
            "{name}: the index holds entry {} above the durable commit {}",
            marks.applied,
            marks.commit
        );
        Ok(Self {
            name,
            space: marks.space,
            state: ShardState::decode(&marks.state).map_err(|fault| ReplayError::State { name, fault })?,
            applied: marks.applied,
            applied_term: marks.applied_term,
            hard_state: marks.hard_state,
            commit: LogIndex(0),
            marked_commit: marks.commit,
            truncated: marks.truncated,
            term_runs: marks.term_runs,
            rows: None,
            tail: VecDeque::new(),
            begun: false,
            ended: false,
            given_up: marks.damaged,
            broken: marks.damaged,
        })
    }

    /// As a checkpoint makes it, its first one or a later.
    ///
    /// # Errors
    /// [`ReplayError::State`]: its state is damaged.
    pub(super) fn rebuilding(name: ReplicaName, checkpoint: Checkpoint) -> Result<Self, ReplayError> {
        let state = ShardState::decode(&checkpoint.state).map_err(|fault| ReplayError::State { name, fault })?;
        let (applied, applied_term) = (checkpoint.applied, checkpoint.applied_term);
        let replaying = Self::at(name, checkpoint.space, state);
        Ok(Self {
            applied,
            applied_term,
            // What the log may still hold of older entries is not offered to anyone.
            truncated: applied,
            term_runs: if applied > LogIndex(0) {
                vec![(applied, applied_term)]
            } else {
                Vec::new()
            },
            rows: Some(Rows::up_to(applied)),
            begun: applied == LogIndex(0),
            ..replaying
        })
    }

    /// At its beginning.
    fn at(name: ReplicaName, space: Space, state: ShardState) -> Self {
        Self {
            name,
            space,
            state,
            applied: LogIndex(0),
            applied_term: Term(0),
            hard_state: HardState::default(),
            commit: LogIndex(0),
            marked_commit: LogIndex(0),
            truncated: LogIndex(0),
            term_runs: Vec::new(),
            rows: None,
            tail: VecDeque::new(),
            begun: true,
            ended: false,
            given_up: false,
            broken: false,
        }
    }

    /// A replica whose very creation is lost.
    pub(super) fn lost(name: ReplicaName) -> Self {
        let state = ShardState {
            low: Bytes::new(),
            high: Bytes::new(),
            range_epoch: margate_net::ids::RangeEpoch(0),
            member_epoch: margate_net::ids::MemberEpoch(0),
            members: Members::default(),
            version_high: Version(0),
            clock: Nanos(0),
        };
        Self {
            broken: true,
            ..Self::at(name, Space(0), state)
        }
    }

    /// A checkpoint met by the scan. One of a later space says that an image came into force here.
    ///
    /// # Errors
    /// [`ReplayError::State`]: its state is damaged.
    pub(super) fn meet_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), ReplayError> {
        if checkpoint.space <= self.space || self.broken {
            return Ok(());
        }
        let name = self.name;
        self.state = ShardState::decode(&checkpoint.state).map_err(|fault| ReplayError::State { name, fault })?;
        (self.space, self.applied, self.applied_term) = (checkpoint.space, checkpoint.applied, checkpoint.applied_term);
        (self.marked_commit, self.truncated) = (checkpoint.applied, checkpoint.applied);
        self.term_runs = vec![(checkpoint.applied, checkpoint.applied_term)];
        self.tail.clear();
        self.begun = true;
        Ok(())
    }

    /// A hard state met by the scan; copies of older ones may follow it.
    pub(super) fn meet_hard_state(&mut self, state: HardState) {
        if state.is_newer_than(self.hard_state) {
            self.hard_state = state;
        }
    }

    /// A commit met by the scan. How many entries it let be applied.
    pub(super) fn meet_commit<R: IndexReader>(&mut self, commit: LogIndex, index: &mut Index<R>) -> u64 {
        self.commit = self.commit.max(commit);
        self.apply_rows(index) + self.apply(index)
    }

    /// The space of its keys.
    pub(super) fn space(&self) -> Space {
        self.space
    }

    /// Entries up to here are no longer in the log.
    pub(super) fn truncated(&self) -> LogIndex {
        self.truncated
    }

    /// Copies met by the scan. Where the index is there, what it holds at that version is at a new place; where it is being
    /// rebuilt, they are as good as what they were copied from. Those of a space to come are rows of an image: should it have come
    /// into force, an index that went back to before them must have them again.
    ///
    /// # Errors
    /// [`ReplayError::Index`]: the index cannot be read.
    pub(super) fn meet_relocation<R: IndexReader>(
        &mut self,
        space: Space,
        (data, at): (&[u8], Position),
        index: &mut Index<R>,
        planted: Planted,
    ) -> Result<(), ReplayError> {
        let space = if planted.old_records_replayed() {
            space.max(self.space)
        } else {
            space
        };
        if self.broken || space < self.space {
            return Ok(());
        }
        let sound = EntryData::parse(data).ok().filter(|data| keys_are_owned(data, &self.state));
        let Some(data) = sound else {
            tracing::error!(name = %self.name, %at, "a copy makes no sense: the replica is not started");
            self.broken = true;
            return Ok(());
        };
        // Rows of an image that may come into force later in the log; if it does not, they are cleared with their space.
        let of_image = space > self.space;
        let owned = OwnedRange { space, ..self.owned() };
        for (offset, effect) in data.effects() {
            let slot = slot_of(&effect, at, offset);
            if of_image || self.rows.is_some() || planted.relocation_as_newer() {
                index.apply(&owned, effect.key, slot);
            } else if let Slot::Put(row) = slot
                && let Some(Slot::Put(held)) = index.get(space, effect.key)?
                && held.position != row.position
            {
                index.relocate(&owned, effect.key, row, held.position)?;
            }
        }
        Ok(())
    }

    /// No applied entry is offered to anyone.
    pub(super) fn truncate(&mut self) {
        self.truncated = self.applied;
    }

    fn owned(&self) -> OwnedRange {
        OwnedRange {
            space: self.space,
            low: self.state.low.clone(),
            high: self.state.high.clone(),
        }
    }

    /// The highest commit that is known.
    pub(super) fn known_commit(&self) -> LogIndex {
        self.commit.max(self.marked_commit).max(self.applied)
    }

    /// An entry met by the scan.
    pub(super) fn append(&mut self, space: Space, (entry, place): (Entry, Place), planted: Planted) {
        // Before an image came into force the log was another.
        if self.broken || space != self.space && !planted.old_records_replayed() {
            return;
        }
        if let Some(rows) = &mut self.rows {
            rows.append(&entry, place);
        }
        while self.tail.back().is_some_and(|(last, _)| last.index >= entry.index) {
            self.tail.pop_back();
        }
        let index = LogIndex(entry.index);
        let expected = self.tail.back().map_or(self.applied.next(), |(last, _)| LogIndex(last.index + 1));
        if index < expected {
            // At or below the mark: the index holds it, and the log ended with it for a moment.
            self.begun = true;
        } else if index == expected {
            self.begun = true;
            self.tail.push_back((entry, place));
        } else if self.begun {
            tracing::error!(name = %self.name, %index, %expected, "entries are missing before this one: the replica is not started");
            self.broken = true;
        }
    }

    /// The scan has ended: all that is known to be committed must have been found, and is applied.
    pub(super) fn finish<R: IndexReader>(&mut self, index: &mut Index<R>) -> u64 {
        self.commit = self.known_commit();
        let last = self.tail.back().map_or(self.applied, |(last, _)| LogIndex(last.index));
        if last < self.commit && !self.broken {
            tracing::error!(name = %self.name, commit = %self.commit, %last, "committed entries are missing: the replica is not started");
            self.broken = true;
        }
        let count = self.apply_rows(index) + self.apply(index);
        if let Some(rows) = &mut self.rows {
            rows.lead_in(&mut self.term_runs);
        }
        count
    }

    /// Rows of committed entries up to the mark, where the index has lost them.
    fn apply_rows<R: IndexReader>(&mut self, index: &mut Index<R>) -> u64 {
        let owned = self.owned();
        let Some(rows) = self.rows.as_mut().filter(|_| !self.broken) else {
            return 0;
        };
        match rows.apply(self.commit, &self.state, &owned, index) {
            Ok(count) => count,
            Err(fault) => {
                tracing::error!(name = %self.name, %fault, "a committed entry makes no sense: the replica is not started");
                self.broken = true;
                0
            }
        }
    }

    fn apply<R: IndexReader>(&mut self, index: &mut Index<R>) -> u64 {
        let owned = self.owned();
        let mut count = 0;
        while !self.broken
            && self.tail.front().is_some_and(|(entry, _)| entry.index <= self.commit.0)
            && let Some((entry, place)) = self.tail.pop_front()
        {
            let applied = match convert::entry_kind(&entry) {
                Some(EntryKind::Membership) => apply_change(&mut self.state, &entry.data).map(|_| ()),
                Some(EntryKind::Normal) | None => {
                    // What is from before the start is read again by reclaim, so nobody asks for deletes.
                    apply_entry(&mut self.state, &owned, (&entry.data, place.data), index, None::<&mut NoCache>).map(|_| ())
                }
            };
            if let Err(fault) = applied {
                tracing::error!(name = %self.name, index = entry.index, %fault, "a committed entry makes no sense: the replica is not started");
                self.broken = true;
                return count;
            }
            (self.applied, self.applied_term) = (LogIndex(entry.index), Term(entry.term));
            if self.term_runs.last().is_none_or(|(_, term)| *term < self.applied_term) {
                self.term_runs.push((self.applied, self.applied_term));
            }
            count += 1;
        }
        count
    }

    /// What its log is to say once it is known to be broken.
    pub(super) fn end(&self) -> Record {
        Record::ReplicaEnd {
            name: self.name,
            space: self.space,
            timestamp: self.state.clock,
        }
    }

    /// Its marks as of now.
    pub(super) fn contribution(&self) -> Contribution {
        let marks = ReplicaMarks {
            name: self.name,
            damaged: self.broken,
            space: self.space,
            low: self.state.low.clone(),
            high: self.state.high.clone(),
            applied: self.applied,
            applied_term: self.applied_term,
            hard_state: self.hard_state,
            commit: self.known_commit(),
            truncated: self.truncated,
            term_runs: self.term_runs.clone(),
            state: self.state.encode(),
        };
        Contribution {
            marks,
            // What is broken is never replayed again, so it holds no mark back.
            replay: self.tail.front().filter(|_| !self.broken).map(|(_, place)| place.batch),
        }
    }

    /// Its Raft and its machine.
    pub(super) fn start(self, config: &CoreConfig) -> Replica {
        let shard = config.map.shards().iter().find(|shard| shard.id == self.name.shard);
        let homes: Vec<(ReplicaId, NodeId)> = shard.map_or_else(Vec::new, |shard| {
            shard.replicas.iter().map(|replica| (replica.id, replica.node)).collect()
        });
        let group_config = GroupConfig {
            name: self.name,
            members: self.state.members.clone(),
            ticks: config.ticks,
            keeps_promises: !config.planted.promise_forgotten(),
            steps_lost: config.planted.heartbeat_stepped(),
            quiet_start: config.tick > Nanos(0) && !config.planted.votes_right_after_start(),
            preferred: self.state.members.voters.first() == Some(&self.name.replica),
            seed: config.seed ^ self.name.shard.0.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        };
        let restored = RestoredLog {
            hard_state: self.hard_state,
            commit: self.commit,
            truncated: self.truncated,
            term_runs: self.term_runs,
            applied: self.applied,
            entries: self.tail.into(),
        };
        Replica::new(ReplicaParts {
            cluster: config.log.cluster,
            space: self.space,
            group: Group::new(&group_config, restored),
            tenure: Tenure::new(config.ticks.election, config.tick, config.planted),
            state: self.state,
            applied: (self.applied, self.applied_term),
            homes,
            planted: config.planted,
        })
    }
}
