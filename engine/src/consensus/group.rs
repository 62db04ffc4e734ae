//! One replica's Raft: the raft crate's `RawNode`, driven by the rules of `docs/invariants.md`.
//!
//! Every message is checked before it is stepped (invariant 11), the dice are ours (invariant 12), a Ready is
//! taken apart into [`Progress`], whose parts say when they may leave: entries and hard state go to the log,
//! `now` messages at once, `once_durable` ones after the flush that carries them. Where raft finds that
//! something cannot be it panics; every call into it therefore says whose it is (`Calling`).
//!
//! Not here, on purpose: batching and flushing (`core`), what entries mean (`shard`).

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use margate_net::ids::{LogIndex, ReplicaId, Term};
use margate_net::message::{EntryKind, PeerEntry, PeerMessage, PeerMessageKind};
use raft::eraftpb::{ConfChangeV2, Entry, Snapshot};
use raft::{GetEntriesContext, RawNode, ReadOnlyOption, StateRole};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::called::Calling;
use super::convert;
use super::sanity::StepFault;
use super::window::{BatchPlace, EntryWindow, Place, RestoredLog, Wanted};
use crate::limits;
use crate::shard::members::{Change, Members};
use crate::types::{HardState, ReplicaName};

/// What time raft counts in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTicks {
    /// Ticks without a leader before an election: the timeout is drawn from `[election, 2 * election)`.
    pub election: u32,
    /// Ticks between heartbeats.
    pub heartbeat: u32,
}

impl RaftTicks {
    /// With as many heartbeats in the shortest election timeout as production has ([`limits::HEARTBEATS_PER_ELECTION`]).
    #[must_use]
    pub fn of_election(election: u32) -> Self {
        let heartbeat = (election / limits::HEARTBEATS_PER_ELECTION).max(1);
        Self { election, heartbeat }
    }
}

/// What a group needs to know at start.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The replica.
    pub name: ReplicaName,
    /// The members of its shard; none for a replica that waits for its first image.
    pub members: Members,
    /// When it beats, and campaigns.
    pub ticks: RaftTicks,
    /// Whether it votes for nobody for a while after a start: it may have promised so to a leader and forgotten.
    pub quiet_start: bool,
    /// Whether a promise to a leader outlives what raft remembers of that leader; only a planted bug says no.
    pub keeps_promises: bool,
    /// Whether a heartbeat is stepped that proves a loss; only a planted bug says so.
    pub steps_lost: bool,
    /// Whether this replica should win the first election when all start together.
    pub preferred: bool,
    /// Seed of its dice.
    pub seed: u64,
}

/// What a replica does in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Waits for a leader or follows one.
    Follower,
    /// Asks for votes or whether it should.
    Candidate,
    /// Leads.
    Leader,
}

/// One Ready of the raft crate, taken apart.
#[derive(Debug, Default)]
pub struct Progress {
    /// To be given to [`Group::persisted`] after the flush that holds `hard_state` and `entries`.
    pub number: u64,
    /// Must be durable before anything of this progress counts.
    pub hard_state: Option<HardState>,
    /// Entries to append to the log, in order.
    pub entries: Vec<Entry>,
    /// An image is in force from here on, once this progress is durable: its last entry.
    pub installed: Option<LogIndex>,
    /// Highest index committed.
    pub commit: LogIndex,
    /// Entries to apply, in order.
    pub committed: Vec<Entry>,
    /// Messages that may leave at once.
    pub now: Vec<PeerMessage>,
    /// Messages that may leave once this progress is durable.
    pub once_durable: Vec<PeerMessage>,
    /// Reads that are confirmed: the number given to [`Group::confirm_read`] and the index to wait for.
    pub reads: Vec<(u64, LogIndex)>,
}

/// A proposal was not taken: nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped;

/// One replica's Raft.
pub struct Group {
    pub(super) name: ReplicaName,
    pub(super) raw: RawNode<EntryWindow>,
    election_ticks: usize,
    heartbeat_ticks: u32,
    preferred: bool,
    /// Whether its leader seems dead, so that the dice do not count.
    hurried: bool,
    /// Ticks for which it gives no vote.
    pub(super) quiet_ticks: usize,
    keeps_promises: bool,
    pub(super) steps_lost: bool,
    dice: StdRng,
    role: (Term, Role),
    unflushed: VecDeque<u64>,
    was_leader: bool,
    written: HardState,
    /// The batch of the first durable entry that others have replaced, and the progress that must be durable first.
    superseded: Option<(u64, BatchPlace)>,
}

impl Group {
    /// Starts a replica from what its log and index hold.
    ///
    /// # Panics
    /// If the configuration is not one raft takes, which is a mistake in this file.
    #[must_use]
    pub fn new(config: &GroupConfig, restored: RestoredLog) -> Self {
        let _calling = Calling::new(config.name);
        let applied = restored.applied;
        assert!(applied <= restored.commit, "mark {applied} is above the commit {}", restored.commit);
        let written = restored.hard_state;
        // In term 0 it has never heard a leader.
        let promised = config.quiet_start && written.term > Term(0);
        let window = EntryWindow::new(config.members.conf_state(), restored, limits::WINDOW_KEEP_BYTES);
        let election_ticks = config.ticks.election as usize;
        let raft_config = raft::Config {
            id: config.name.replica.0,
            election_tick: election_ticks,
            heartbeat_tick: config.ticks.heartbeat as usize,
            applied: applied.0,
            max_size_per_msg: limits::APPEND_MESSAGE_BYTES_MAX,
            max_inflight_msgs: limits::APPEND_MESSAGES_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: election_ticks,
            max_election_tick: 2 * election_ticks,
            read_only_option: ReadOnlyOption::Safe,
            // A commit travels with the next append or heartbeat: decision 30.
            skip_bcast_commit: true,
            batch_append: false,
            priority: 0,
            // Ours binds first and answers `Busy` before anything is resolved.
            max_uncommitted_size: 2 * limits::UNCOMMITTED_BYTES_MAX as u64,
            max_committed_size_per_ready: limits::COMMITTED_BYTES_PER_READY,
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw =
            RawNode::new(&raft_config, window, &logger).expect("the configuration above is valid and the window never fails to start");
        let mut group = Self {
            name: config.name,
            raw,
            election_ticks,
            heartbeat_ticks: config.ticks.heartbeat,
            preferred: config.preferred,
            hurried: false,
            quiet_ticks: if promised { 2 * election_ticks } else { 0 },
            keeps_promises: config.keeps_promises,
            steps_lost: config.steps_lost,
            dice: StdRng::seed_from_u64(config.seed),
            role: (Term(0), Role::Follower),
            unflushed: VecDeque::new(),
            was_leader: false,
            written,
            superseded: None,
        };
        group.throw_dice();
        group.role = group.stands();
        group
    }

    /// The replica.
    #[must_use]
    pub fn name(&self) -> ReplicaName {
        self.name
    }

    /// Its term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    /// What it does.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.raw.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        }
    }

    /// Its term, and what it does in it.
    #[must_use]
    pub fn stands(&self) -> (Term, Role) {
        (self.term(), self.role())
    }

    /// Who leads, as far as it knows.
    #[must_use]
    pub fn leader(&self) -> Option<ReplicaId> {
        (self.raw.raft.leader_id != 0).then_some(ReplicaId(self.raw.raft.leader_id))
    }

    /// Term and vote, as in memory.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        HardState {
            term: Term(self.raw.raft.term),
            vote: ReplicaId(self.raw.raft.vote),
        }
    }

    /// Highest index committed.
    #[must_use]
    pub fn commit(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
    }

    /// Highest index that is committed and durable in this log: what a batch may claim and the index may hold.
    #[must_use]
    pub fn durable_commit(&self) -> LogIndex {
        let log = &self.raw.raft.raft_log;
        LogIndex(log.committed.min(log.persisted))
    }

    /// Whether [`Group::progress`] has something.
    #[must_use]
    pub fn has_progress(&self) -> bool {
        self.raw.has_ready()
    }

    /// Highest index in the log.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.last_index())
    }

    /// Where an entry stands in the log, if it is held and written.
    #[must_use]
    pub fn place_of(&self, index: LogIndex) -> Option<Place> {
        self.raw.store().place_of(index)
    }

    /// The first batch a restart needs to find again what the log holds above an entry; `None` if nothing is written.
    #[must_use]
    pub fn replay_from(&self, applied: LogIndex) -> Option<BatchPlace> {
        let next = self.place_of(applied.next()).map(|place| place.batch);
        // Until what replaces it is durable, a replaced entry is still the one this replica has.
        let superseded = self.superseded.map(|(_, batch)| batch);
        next.into_iter().chain(superseded).min()
    }

    /// The term of an entry.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.raw.store().term_at(index)
    }

    /// Runs of terms up to an index, for the index's marks.
    #[must_use]
    pub fn term_runs(&self, up_to: LogIndex) -> Vec<(LogIndex, Term)> {
        self.raw.store().runs_up_to(up_to)
    }

    /// Notes where an entry is being written.
    pub fn place(&mut self, index: LogIndex, term: Term, place: Place) {
        let _calling = Calling::new(self.name);
        // The entry may have been replaced by a newer leader's since it was queued for the log.
        if self.term_at(index) == Some(term) {
            self.raw.mut_store().place(index, place);
        }
    }

    /// One tick of the deployment's length. Ticks that were missed are dropped, never replayed.
    pub fn tick(&mut self) {
        let _calling = Calling::new(self.name);
        self.quiet_ticks = self.quiet_ticks.saturating_sub(1);
        // A slow disk must not make a follower campaign on a vote it has not yet stored.
        if self.role() != Role::Leader && !self.unflushed.is_empty() {
            return;
        }
        self.raw.tick();
        self.settle();
    }

    /// Whether it follows and has heard from no leader for two election timeouts: one that votes would have campaigned by then.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.role() == Role::Follower && self.raw.raft.election_elapsed >= 2 * self.election_ticks
    }

    /// Ticks between heartbeats.
    #[must_use]
    pub const fn heartbeat_ticks(&self) -> u32 {
        self.heartbeat_ticks
    }

    /// Hands leadership to another member, if this replica leads.
    pub fn hand_over(&mut self, to: ReplicaId) {
        let _calling = Calling::new(self.name);
        self.raw.transfer_leader(to.0);
        self.settle();
    }

    /// Whether leadership is being handed over: proposals are refused meanwhile.
    #[must_use]
    pub fn handing_over(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    /// The member whose log reaches furthest and that was heard of lately, beside this one.
    #[must_use]
    pub fn best_successor(&self) -> Option<ReplicaId> {
        // Lowest id wins a tie, so that the choice is the same in every run.
        let best = self
            .voters_heard_of()
            .max_by_key(|(member, matched)| (*matched, std::cmp::Reverse(*member)));
        best.map(|(member, _)| member)
    }

    /// The member that has the whole log durable, so that it can lead at once; of several the one of the lowest id.
    #[must_use]
    pub fn ready_successor(&self, fit: impl Fn(ReplicaId) -> bool) -> Option<ReplicaId> {
        let ready = self.voters_heard_of().filter(|(_, matched)| *matched == self.last());
        ready.map(|(member, _)| member).filter(|member| fit(*member)).min()
    }

    /// Other voters that were heard of lately, and the last entry that each is known to have.
    fn voters_heard_of(&self) -> impl Iterator<Item = (ReplicaId, LogIndex)> {
        let (here, tracker) = (self.name.replica.0, self.raw.raft.prs());
        let voters = tracker.conf().voters();
        let others = tracker
            .iter()
            .filter(move |(id, progress)| **id != here && progress.recent_active && voters.contains(**id));
        others.map(|(id, progress)| (ReplicaId(*id), LogIndex(progress.matched)))
    }

    /// The last entry that a member is known to have.
    #[must_use]
    pub fn matched(&self, member: ReplicaId) -> LogIndex {
        let progress = self.raw.raft.prs().get(member.0);
        LogIndex(progress.map_or(0, |progress| progress.matched))
    }

    /// Proposes data as the leader's next entry.
    ///
    /// # Errors
    /// [`Dropped`]: not leader, handing over, or the window of uncommitted entries is full.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<LogIndex, Dropped> {
        let _calling = Calling::new(self.name);
        let before = self.last();
        if self.role() != Role::Leader || self.raw.propose(Vec::new(), data).is_err() {
            return Err(Dropped);
        }
        let index = self.last();
        assert_eq!(index, before.next(), "a proposal appends one entry");
        Ok(index)
    }

    /// Proposes a change of members, unless one is under way. Whether it is in the log now.
    pub fn propose_change(&mut self, change: Change) -> bool {
        let _calling = Calling::new(self.name);
        let before = self.last();
        if self.role() != Role::Leader || self.raw.raft.has_pending_conf() || self.handing_over() {
            return false;
        }
        let proposed = self.raw.propose_conf_change(Vec::new(), change.to_raft());
        proposed.is_ok() && self.last() == before.next()
    }

    /// A change of members is applied, these are now who they are.
    ///
    /// # Panics
    /// If raft does not agree, which is a mistake in `shard::members`.
    pub fn apply_change(&mut self, change: &ConfChangeV2, members: &Members) {
        let _calling = Calling::new(self.name);
        let conf = self
            .raw
            .apply_conf_change(change)
            .expect("a change that fits the members fits raft's");
        let sorted = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let ours = members.conf_state();
        assert_eq!(sorted(&ours.voters), sorted(&conf.voters), "voters after {change:?}");
        assert_eq!(
            sorted(&ours.voters_outgoing),
            sorted(&conf.voters_outgoing),
            "outgoing voters after {change:?}"
        );
        assert_eq!(sorted(&ours.learners), sorted(&conf.learners), "learners after {change:?}");
        self.settle();
    }

    /// Members that need an image, as raft found since the last call.
    #[must_use]
    pub fn take_behind(&self) -> BTreeSet<ReplicaId> {
        self.raw.store().take_behind()
    }

    /// A leader is about to send an image of what is applied here: raft tells it so, by the answer to a snapshot that comes too late.
    pub fn refuse_image(&mut self, leader: ReplicaId, image: (LogIndex, Term), members: &Members) {
        // One that names another term for an entry than the log here does is senseless.
        if self.leader() == Some(leader) && (image.0 < self.commit() || self.term_at(image.0) == Some(image.1)) {
            let taken = self.step_image(leader, self.term(), image, members);
            assert!(!taken, "{}: raft takes an image older than what it has committed", self.name);
        }
    }

    /// A whole image is durable here, rows and all: raft takes it, or goes on with the log it has. Which of the two; if
    /// it takes it, the next progress says so.
    pub fn step_image(&mut self, leader: ReplicaId, term: Term, (applied, applied_term): (LogIndex, Term), members: &Members) -> bool {
        let _calling = Calling::new(self.name);
        if term < self.term() {
            return false;
        }
        let mut message = raft::eraftpb::Message::default();
        message.set_msg_type(raft::eraftpb::MessageType::MsgSnapshot);
        (message.from, message.to, message.term) = (leader.0, self.name.replica.0, term.0);
        let metadata = message.mut_snapshot().mut_metadata();
        (metadata.index, metadata.term) = (applied.0, applied_term.0);
        metadata.set_conf_state(members.conf_state());
        // Raft's own errors here say that it came from nobody it knows.
        let _ = self.raw.step(message);
        self.settle();
        self.raw.raft.snap().is_some()
    }

    /// Starts one confirmation that this replica still leads; `number` must be new in every attempt.
    pub fn confirm_read(&mut self, number: u64) {
        let _calling = Calling::new(self.name);
        self.raw
            .read_index([self.raw.raft.term.to_le_bytes(), number.to_le_bytes()].concat());
    }

    /// Takes a message of a peer.
    ///
    /// # Errors
    /// [`StepFault`]: it was not stepped, and why.
    pub fn step(&mut self, message: PeerMessage) -> Result<(), StepFault> {
        let _calling = Calling::new(self.name);
        self.check(&message)?;
        let leads = matches!(message.kind, PeerMessageKind::Append | PeerMessageKind::Heartbeat);
        let (from, term) = (message.from, message.term);
        // Raft's own errors here say that a response came from an unknown member or a dropped proposal: nothing to do.
        let _ = self.raw.step(convert::from_peer(message));
        self.settle();
        if leads && self.term() == term && self.leader() == Some(from) {
            if self.hurried {
                self.throw_dice();
            }
            // Raft forgets its leader, and with it the promise, when a higher term shows; the leader's tenure does not know of that.
            if self.keeps_promises {
                self.quiet_ticks = self.quiet_ticks.max(self.election_ticks);
            }
        }
        Ok(())
    }

    /// A peer cannot be reached: raft sends it probes instead of streams. If it leads, this replica campaigns as soon as it may,
    /// unless it hears that leader again before.
    pub fn unreachable(&mut self, peer: ReplicaId) {
        let _calling = Calling::new(self.name);
        self.raw.report_unreachable(peer.0);
        if self.role() == Role::Follower && self.leader() == Some(peer) {
            self.hurry(peer);
        }
    }

    /// What changed since the last call, if anything.
    pub fn progress(&mut self) -> Option<Progress> {
        let _calling = Calling::new(self.name);
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let leads = self.role() == Role::Leader;
        let new_leader = leads && !self.was_leader;
        self.was_leader = leads;
        let mut progress = Progress {
            number: ready.number(),
            hard_state: self.changed_hard_state(),
            entries: ready.take_entries(),
            installed: None,
            commit: self.commit(),
            committed: ready.take_committed_entries(),
            now: self.outgoing(ready.take_messages()),
            once_durable: self.outgoing(ready.take_persisted_messages()),
            reads: self.confirmed(ready.take_read_states()),
        };
        if new_leader {
            // A new leader speaks only after its first flush.
            progress.once_durable.append(&mut progress.now);
        }
        if *ready.snapshot() != Snapshot::default() {
            let metadata = ready.snapshot().get_metadata();
            let applied = LogIndex(metadata.index);
            self.raw.mut_store().install(applied, Term(metadata.term));
            (progress.installed, self.superseded) = (Some(applied), None);
        }
        for entry in &progress.entries {
            if let Some(batch) = self.raw.mut_store().append(entry.clone()) {
                let oldest = self.superseded.map_or(batch, |(_, oldest)| oldest.min(batch));
                self.superseded = Some((progress.number, oldest));
            }
        }
        self.raw.advance_append_async(ready);
        self.unflushed.push_back(progress.number);
        Some(progress)
    }

    /// The progress of this number, and all before it, are durable.
    pub fn persisted(&mut self, number: u64) {
        let _calling = Calling::new(self.name);
        while self.unflushed.front().is_some_and(|first| *first <= number) {
            self.unflushed.pop_front();
        }
        self.superseded = self.superseded.filter(|(until, _)| *until > number);
        self.raw.on_persist_ready(number);
    }

    /// Entries up to this index are applied.
    pub fn applied(&mut self, index: LogIndex) {
        let _calling = Calling::new(self.name);
        self.raw.advance_apply_to(index.0);
        self.raw.mut_store().trim(index);
    }

    /// Entries up to this one, all of them applied, are leaving the log.
    pub fn truncate(&mut self, to: LogIndex) {
        let _calling = Calling::new(self.name);
        self.raw.mut_store().truncate(to);
    }

    /// Applied entries up to this one that memory has let go cannot be read: members that need them need an image.
    pub fn give_up(&mut self, to: LogIndex) {
        let _calling = Calling::new(self.name);
        self.raw.mut_store().give_up(to);
    }

    /// Entries up to here are no longer in the log, or cannot be read.
    #[must_use]
    pub fn truncated(&self) -> LogIndex {
        self.raw.store().truncated()
    }

    /// Old entries that raft wants for members that lag.
    #[must_use]
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        self.raw.store().take_wanted()
    }

    /// First index that need not be fetched.
    #[must_use]
    pub fn first_held(&self) -> LogIndex {
        self.raw.store().first_held()
    }

    /// Gives raft the entries it wanted, as (term, index, kind, data); it sends them on.
    pub fn provide(&mut self, entries: Vec<PeerEntry>, context: GetEntriesContext) {
        let _calling = Calling::new(self.name);
        let entries = entries
            .into_iter()
            .map(|peer| convert::entry(peer.term, peer.index, peer.kind, peer.data))
            .collect();
        self.raw.mut_store().provide(entries);
        self.raw.on_entries_fetched(context);
        self.raw.mut_store().forget_fetched();
    }

    /// Bytes of entries that are not applied yet.
    #[must_use]
    pub fn bytes_above(&self, applied: LogIndex) -> usize {
        self.raw.store().bytes_above(applied)
    }

    /// As they travel. A heartbeat names the term of the entry up to which it commits: the crate's own leave that to the index.
    fn outgoing(&self, messages: Vec<raft::eraftpb::Message>) -> Vec<PeerMessage> {
        let named = |message: PeerMessage| match message.kind {
            PeerMessageKind::Heartbeat => PeerMessage {
                commit_term: self.term_at(message.commit).unwrap_or(Term(0)),
                ..message
            },
            PeerMessageKind::Append
            | PeerMessageKind::AppendResponse
            | PeerMessageKind::HeartbeatResponse
            | PeerMessageKind::PreVote
            | PeerMessageKind::PreVoteResponse
            | PeerMessageKind::Vote
            | PeerMessageKind::VoteResponse
            | PeerMessageKind::TimeoutNow => message,
        };
        let messages = messages.into_iter();
        messages
            .filter_map(|message| convert::to_peer(self.name.shard, message))
            .map(named)
            .collect()
    }

    /// Term and vote, if they differ from what was last handed to the log.
    fn changed_hard_state(&mut self) -> Option<HardState> {
        let now = self.hard_state();
        let changed = now != self.written;
        self.written = now;
        changed.then_some(now)
    }

    fn confirmed(&self, states: Vec<raft::ReadState>) -> Vec<(u64, LogIndex)> {
        let term = self.raw.raft.term.to_le_bytes();
        // A confirmation of another term says nothing about this one.
        states
            .into_iter()
            .filter_map(|state| {
                let (of_term, number) = state.request_ctx.split_first_chunk::<8>()?;
                let number = u64::from_le_bytes(number.try_into().ok()?);
                (*of_term == term).then_some((number, LogIndex(state.index)))
            })
            .collect()
    }

    /// Whenever raft may have thrown its own dice, ours decide.
    fn settle(&mut self) {
        let now = self.stands();
        if now != self.role {
            self.role = now;
            self.throw_dice();
        }
    }

    /// The shortest timeout others' promises allow, one tick more than a minimum since ticks are not in step, and two apart by
    /// rank, so that those who lost the same leader do not split the vote.
    fn hurry(&mut self, leader: ReplicaId) {
        let voters = self.raw.raft.prs().conf().voters().ids();
        let rank = voters.iter().filter(|id| *id != leader.0 && *id < self.name.replica.0).count();
        let soon = (self.election_ticks + 1 + 2 * rank).min(2 * self.election_ticks - 1);
        self.hurried = true;
        self.raw.raft.set_randomized_election_timeout(soon);
    }

    fn throw_dice(&mut self) {
        self.hurried = false;
        let (low, high) = (self.election_ticks, 2 * self.election_ticks);
        // The preferred member's range lies below the others', so that leaders spread when nodes start together.
        let border = low + low.div_ceil(4);
        let range = if self.preferred { low..border } else { border..high };
        self.raw.raft.set_randomized_election_timeout(self.dice.random_range(range));
    }
}

/// An entry of the raft crate as the log and the shard want it.
#[must_use]
pub fn entry_parts(entry: &Entry) -> (Term, LogIndex, EntryKind, Bytes) {
    let kind = convert::entry_kind(entry).unwrap_or(EntryKind::Membership);
    (Term(entry.term), LogIndex(entry.index), kind, entry.data.clone())
}

#[cfg(test)]
mod tests {
    use super::RaftTicks;

    #[test]
    fn five_heartbeats_fit_an_election_timeout_that_has_as_many_ticks() {
        let beats = [3, 9, 10, 14, 1_000].map(|election| RaftTicks::of_election(election).heartbeat);
        assert_eq!(beats, [1, 1, 2, 2, 200]);
    }
}
