//! The machine that holds a replica's parts together: admission, roles, ticks, reads.
//!
//! Invariants: `in_flight`, `pending` and the queues hold something only while this replica leads in
//! `led_term`; losing leadership empties them with the right answers (proposed: outcome unknown; queued or
//! waiting: not leader); nothing is resolved before an entry of the own term is applied.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;
use margate_net::error::{Queue, Refusal};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, LogIndex, NodeId, ReplicaId, Space, Term, Version};
use margate_net::limits::{LIST_BYTES_MAX, LIST_ROWS_MAX};
use margate_net::measure::{ReadStage, Span};
use margate_net::message::{Consistency, Direction, Operation, Projection, ReadVersion, Request, Row as ListedRow, Success, WritesTaken};
use raft::eraftpb::Entry;

use super::answer::{Answer, Fill, Place, Ticket};
use super::caught_up::CaughtUp;
use super::members::{Change, Home};
use super::pending::PendingOverlay;
use super::queue::{OperationQueue, Queued};
use super::reads::{ReadQueue, Waiting};
use super::resolve::returned_key;
use super::state::ShardState;
use super::tally::{Life, Runs, Tally};
use crate::consensus::group::{Group, Progress, Role};
use crate::consensus::tenure::Tenure;
use crate::index::error::IndexError;
use crate::index::row::{Row, Slot};
use crate::index::store::IndexReader;
use crate::index::view::{Index, OwnedRange};
use crate::limits;
use crate::planted::Planted;
use crate::types::{Nanos, ReplicaName};

/// A learner that is no more entries behind than this may vote: it has them long before anyone waits for its vote.
const CAUGHT_UP_ENTRIES: u64 = 1_000;
/// Heartbeats in the time for which a stopping leader looks for a successor: raft forgets who is there once in an election timeout, and the
/// answer to the next heartbeat tells it again.
const LONELY_BEATS_MAX: u32 = 3;

/// What a replica is made of at start.
pub struct ReplicaParts {
    /// The deployment.
    pub cluster: ClusterId,
    /// Where its rows are.
    pub space: Space,
    /// Its Raft.
    pub group: Group,
    /// When it may answer reads alone.
    pub tenure: Tenure,
    /// Its state as of `applied`.
    pub state: ShardState,
    /// Highest entry applied, and its term.
    pub applied: (LogIndex, Term),
    /// Where each member lives, for hints.
    pub homes: Vec<(ReplicaId, NodeId)>,
    /// The bug to show, [`Planted::NONE`] in production.
    pub planted: Planted,
}

/// An entry this leader proposed, and who waits for it.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) index: LogIndex,
    pub(crate) bytes: usize,
    pub(crate) answers: Vec<Answer>,
    pub(crate) life: Life,
}

/// One replica of a shard.
pub struct Replica {
    pub(crate) cluster: ClusterId,
    pub(crate) name: ReplicaName,
    pub(crate) space: Space,
    pub(crate) group: Group,
    pub(crate) state: ShardState,
    pub(crate) applied: LogIndex,
    pub(crate) applied_term: Term,
    pub(crate) homes: Vec<(ReplicaId, NodeId)>,
    pub(crate) queue: OperationQueue,
    pub(crate) pending: PendingOverlay,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) in_flight_bytes: usize,
    pub(crate) backlog: VecDeque<Entry>,
    pub(crate) version_next: Version,
    pub(crate) clock_next: Nanos,
    pub(crate) planted: Planted,
    pub(super) reads: ReadQueue,
    pub(crate) tenure: Tenure,
    led_term: Option<Term>,
    stopping: bool,
    /// Tries to hand over that found nobody: raft forgets who is active once per election timeout, for a moment.
    lonely_stops: u32,
    /// Which writes it takes, by the disks of its members, and the free bytes of the one that has least.
    pub(super) writes: (WritesTaken, u64),
    /// Writes refused because disks are full.
    pub(crate) disk_refused: u64,
    pub(super) caught_up: CaughtUp,
}

impl Replica {
    /// A replica as a restart found it.
    #[must_use]
    pub fn new(parts: ReplicaParts) -> Self {
        let (applied, applied_term) = parts.applied;
        Self {
            cluster: parts.cluster,
            name: parts.group.name(),
            space: parts.space,
            version_next: parts.state.version_high.next(),
            clock_next: parts.state.clock,
            group: parts.group,
            state: parts.state,
            applied,
            applied_term,
            homes: parts.homes,
            queue: OperationQueue::default(),
            pending: PendingOverlay::default(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            backlog: VecDeque::new(),
            planted: parts.planted,
            reads: ReadQueue::default(),
            tenure: parts.tenure,
            led_term: None,
            stopping: false,
            lonely_stops: 0,
            writes: (WritesTaken::All, 0),
            disk_refused: 0,
            caught_up: CaughtUp::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> ReplicaName {
        self.name
    }

    /// Highest entry applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Its Raft.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Its state that is not a key.
    #[must_use]
    pub fn state(&self) -> &ShardState {
        &self.state
    }

    /// Takes a request: queues it, answers it or refuses it.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    pub fn admit<R: IndexReader>(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        request: Request,
        index: &Index<R>,
        out: &mut Vec<Answer>,
    ) -> Result<(), IndexError> {
        let full = index.active_bytes() >= limits::OVERLAY_BYTES_MAX;
        if let Some(refusal) = self.refuse_route(&request).or_else(|| self.refuse_write(&request, full)) {
            self.disk_refused += u64::from(matches!(refusal, Refusal::DiskFull { .. }));
            out.push(Answer::refused(ticket, refusal));
            return Ok(());
        }
        let deadline = now.plus(Nanos::from_millis(u64::from(request.timeout_ms)));
        let operation = request.operation;
        let refused = if operation.is_write() {
            self.queue
                .push(Queued {
                    ticket,
                    operation,
                    deadline,
                    routed: now,
                })
                .err()
        } else if self.state.members.is_empty() {
            // It has yet to be sent the shard's state.
            Some(Refusal::NotLeader { leader: None })
        } else if consistency(&operation) == Consistency::Stale || self.planted.read_unconfirmed() {
            out.push(self.read(ticket, operation, index)?);
            None
        } else {
            self.reads
                .push(Waiting::Read {
                    ticket,
                    operation,
                    deadline,
                    routed: now,
                })
                .err()
        };
        out.extend(refused.map(|refusal| Answer::refused(ticket, refusal)));
        Ok(())
    }

    /// One tick: raft's, and the end of waiting for operations past their deadline.
    pub fn tick(&mut self, now: Nanos, out: &mut Vec<Answer>) {
        self.group.tick();
        let expired = self.queue.expire(now).into_iter().chain(self.reads.expire(now));
        out.extend(expired.map(|ticket| Answer::refused(ticket, Refusal::DeadlineExceeded)));
        self.settle(out);
        self.caught_up.tick(self.is_ready(), self.applied);
    }

    /// What consensus did since the last call. Committed entries wait in the backlog for [`Replica::apply`].
    pub fn progress(&mut self, now: Nanos, out: &mut Vec<Answer>) -> Option<Progress> {
        let mut progress = self.group.progress();
        if let Some(progress) = &mut progress {
            let committed = std::mem::take(&mut progress.committed);
            if let Some(newest) = committed.last() {
                self.passed(LogIndex(newest.index), |life| life.commits(now));
            }
            self.backlog.extend(committed);
        }
        self.settle(out);
        for (round, index) in progress.iter_mut().flat_map(|progress| progress.reads.drain(..)) {
            if let Some(began) = self.reads.confirmed(round, index) {
                let began = if self.planted.tenure_from_confirmation() { now } else { began };
                self.tenure.extend(self.group.term(), began);
            }
        }
        progress
    }

    /// Lets the reads that wait go on under tenure, or starts a confirmation for them; starts one too when tenure
    /// wants to be prolonged. `now` is monotonic and no earlier than the arrival of anything that waits.
    pub fn confirm_reads(&mut self, now: Nanos) {
        let term = self.group.term();
        if self.planted.tenure_before_own_entry() && self.leads() {
            self.tenure.begin(term, now);
        }
        if !self.is_ready() {
            return;
        }
        self.serve_under_tenure(now);
        if (self.reads.wants_round() || self.tenure.wants_round(term, now))
            && let Some(round) = self.reads.start_round(now)
        {
            self.group.confirm_read(round);
            if self.planted.tenure_unconfirmed() {
                self.tenure.extend(term, now);
            }
        }
    }

    /// Lets the reads that wait go on, if it may answer alone.
    pub fn serve_under_tenure(&mut self, now: Nanos) {
        if self.has_tenure(now) {
            self.reads.serve_alone();
        }
    }

    /// Whether it may answer reads alone at this moment.
    #[must_use]
    pub fn has_tenure(&self, now: Nanos) -> bool {
        let ready = self.is_ready() || self.planted.tenure_before_own_entry() && self.leads_in() == self.led_term && self.leads();
        ready && self.tenure.holds(self.group.term(), now)
    }

    /// When the round began, on its clock, that its tenure rests on, if it has any: for checkers.
    pub(crate) fn tenure_rests_on(&self, now: Nanos) -> Option<Nanos> {
        self.tenure.rests_on(self.group.term(), now).filter(|_| self.has_tenure(now))
    }

    /// Answers the reads that are confirmed and whose index is applied.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    pub fn answer_reads<R: IndexReader>(
        &mut self,
        now: Nanos,
        index: &Index<R>,
        tally: &mut Tally,
        out: &mut Vec<Answer>,
    ) -> Result<(), IndexError> {
        tally.reads.add(self.reads.take_counts());
        let mut confirmed = Runs::ending(Span::Read(ReadStage::Confirmed), now);
        for waiting in self.reads.take_answerable(self.applied) {
            out.push(match waiting {
                Waiting::Observed { answer, .. } => answer,
                Waiting::Read {
                    ticket, operation, routed, ..
                } => {
                    confirmed.add(routed, tally);
                    self.read(ticket, operation, index)?
                }
            });
        }
        confirmed.end(tally);
        Ok(())
    }

    /// An answer waits for its proof, and for the entry it rests on to be applied.
    pub(crate) fn observe(&mut self, answer: Answer, rests_on: LogIndex, out: &mut Vec<Answer>) {
        if self.planted.read_unconfirmed() || self.planted.refusal_unproven() {
            out.push(answer);
            return;
        }
        let ticket = answer.ticket;
        if let Err(refusal) = self.reads.push(Waiting::Observed { answer, rests_on }) {
            out.push(Answer::refused(ticket, refusal));
        }
    }

    /// Whether it leads and has applied an entry of its own term, so that it may resolve and confirm.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        // A message of this turn may have ended the leadership that `settle` has yet to see.
        self.led_term.is_some_and(|term| self.applied_term == term) && self.leads_in() == self.led_term
    }

    /// Whether it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.led_term.is_some()
    }

    /// Takes no more operations, and hands leadership to the member best prepared for it.
    pub fn stop(&mut self) {
        self.stopping = true;
        if !self.leads() || self.group.handing_over() {
            return;
        }
        match self.group.best_successor() {
            Some(successor) => self.hand_over(successor),
            None => self.lonely_stops += 1,
        }
    }

    /// This node's disk has not answered for too long, or is nearly full: if it leads, leadership goes to a member
    /// that has everything durable and whose disk works. Whether that was begun.
    pub fn flee_disk(&mut self, works: impl Fn(ReplicaId) -> bool) -> bool {
        if !self.leads() || self.group.handing_over() {
            return false;
        }
        let successor = self.group.ready_successor(works);
        if let Some(successor) = successor {
            self.hand_over(successor);
        }
        successor.is_some()
    }

    /// Which writes it takes from now on, and the free bytes of the member that has least of them. Those that wait and are no more
    /// among them are refused.
    pub(crate) fn take_writes(&mut self, writes: WritesTaken, free_bytes: u64, out: &mut Vec<Answer>) {
        let narrower = writes > self.writes.0;
        self.writes = (writes, free_bytes);
        if narrower {
            let refused = self.queue.take_where(|operation| !writes.include(operation));
            self.disk_refused += refused.len() as u64;
            let refusal = self.disk_full();
            out.extend(refused.into_iter().map(|ticket| Answer::refused(ticket, refusal)));
        }
    }

    fn disk_full(&self) -> Refusal {
        Refusal::DiskFull {
            free_bytes: self.writes.1,
            retry_after_ms: limits::DISK_FULL_RETRY_MS,
        }
    }

    fn hand_over(&mut self, successor: ReplicaId) {
        self.tenure.forfeit(self.group.term());
        self.group.hand_over(successor);
    }

    /// Whether a stop need not wait for it: it does not lead, or nobody has been there to hand over to for some ticks.
    #[must_use]
    pub fn may_end(&self) -> bool {
        !self.leads() || self.state.members.voters.len() == 1 || self.lonely_stops > LONELY_BEATS_MAX * self.group.heartbeat_ticks()
    }

    /// The range its rows must lie in.
    #[must_use]
    pub fn owned(&self) -> OwnedRange {
        OwnedRange {
            space: self.space,
            low: self.state.low.clone(),
            high: self.state.high.clone(),
        }
    }

    /// Compares role and term with what they were: answers what a lost leadership leaves behind.
    pub(crate) fn settle(&mut self, out: &mut Vec<Answer>) {
        let leads_in = self.leads_in();
        if leads_in == self.led_term {
            if leads_in.is_none() {
                self.refuse_waiting(out);
            }
            return;
        }
        match leads_in {
            Some(term) => tracing::info!(name = %self.name, %term, "leads"),
            None => tracing::info!(name = %self.name, leader = ?self.leader(), "leads no more"),
        }
        self.give_up_proposed(out);
        self.refuse_waiting(out);
        self.led_term = leads_in;
        self.writes = (WritesTaken::All, 0);
    }

    /// The replica is stopped for good: nobody is left waiting.
    pub(crate) fn abandon(&mut self, out: &mut Vec<Answer>) {
        self.give_up_proposed(out);
        self.refuse_waiting(out);
    }

    /// Nobody here can tell any more whether what was proposed commits. What only waited for proof was never to write.
    fn give_up_proposed(&mut self, out: &mut Vec<Answer>) {
        let not_leader = Refusal::NotLeader { leader: self.leader() };
        for answer in self.in_flight.drain(..).flat_map(|in_flight| in_flight.answers) {
            let refusal = if answer.writes() { Refusal::OutcomeUnknown } else { not_leader };
            out.push(Answer::refused(answer.ticket, refusal));
        }
        self.in_flight_bytes = 0;
        self.pending.clear();
    }

    fn refuse_waiting(&mut self, out: &mut Vec<Answer>) {
        let refusal = Refusal::NotLeader { leader: self.leader() };
        out.extend(self.queue.drain().map(|queued| Answer::refused(queued.ticket, refusal)));
        out.extend(self.reads.drain().into_iter().map(|ticket| Answer::refused(ticket, refusal)));
    }

    /// The term it leads in, as its Raft says.
    fn leads_in(&self) -> Option<Term> {
        (self.group.role() == Role::Leader).then(|| self.group.term())
    }

    /// A change of members this leader should propose next: to finish one that is under way, or to let a learner that has
    /// caught up take the place of the member it was admitted for, which is the one on the same core.
    pub fn advance_members(&mut self, home_of: impl Fn(ReplicaId) -> Option<(NodeId, CoreId)>) {
        if !self.is_ready() {
            return;
        }
        let members = &self.state.members;
        let outdated = |learner: &&ReplicaId| {
            members
                .homes
                .iter()
                .any(|newer| newer.replica > **learner && home_of(**learner) == Some((newer.node, newer.core)))
        };
        let change = if members.is_joint() {
            Some(Change::Leave)
        } else if let Some(outdated) = members.learners.iter().find(outdated) {
            Some(Change::Dismiss(*outdated))
        } else {
            members.learners.iter().find_map(|new| {
                let matched = self.group.matched(*new);
                let caught_up = matched > LogIndex(0) && matched.0 + CAUGHT_UP_ENTRIES >= self.applied.0;
                let home = home_of(*new).filter(|_| caught_up)?;
                let old = members.voters.iter().find(|voter| home_of(**voter) == Some(home))?;
                Some(Change::Replace { new: *new, old: *old })
            })
        };
        if let Some(change) = change
            && self.group.propose_change(change)
        {
            tracing::info!(name = %self.name, ?change, "members change");
        }
    }

    /// Whether it votes, as far as it knows.
    #[must_use]
    pub fn votes(&self) -> bool {
        let members = &self.state.members;
        members.voters.contains(&self.name.replica) || members.outgoing.contains(&self.name.replica)
    }

    /// Whether it only follows, and nobody leads it any more: it may have been dismissed, which nobody tells who never speaks.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        !self.votes() && self.group.is_left_alone()
    }

    /// A core wants to be a member, with a replica newer than the one it has lost, if it has. Its replica's id, once it is a learner.
    ///
    /// One that votes is never named again: it may have voted in this term, and whoever does not know that any more must come with a new
    /// directory.
    pub fn admit_member(&mut self, (node, core, directory): (NodeId, CoreId, DirectoryId), lost: ReplicaId) -> Option<ReplicaId> {
        if !self.is_ready() {
            return None;
        }
        let admitted = self.state.members.of_directory(directory).filter(|admitted| *admitted > lost);
        if admitted.is_none() && !self.state.members.is_joint() {
            let replica = ReplicaId(self.state.members.highest.0 + 1);
            let home = Home {
                replica,
                node,
                core,
                directory,
            };
            if self.group.propose_change(Change::Admit(home)) {
                tracing::info!(name = %self.name, %node, %replica, "a new member is admitted");
            }
        }
        admitted.filter(|admitted| self.state.members.learners.contains(admitted))
    }

    /// Whether an answer under way needs a value from a segment.
    #[must_use]
    pub fn needs_segment(&self, segment: u32) -> bool {
        let mut proposed = self.in_flight.iter().flat_map(|entry| &entry.answers);
        proposed.any(|answer| answer.needs_segment(segment)) || self.reads.needs_segment(segment)
    }

    /// An image is durable and in force.
    pub(crate) fn install(&mut self, space: Space, state: ShardState, applied: (LogIndex, Term)) {
        assert!(
            self.backlog.is_empty(),
            "{}: entries were committed before the image was in force",
            self.name
        );
        (self.space, self.state) = (space, state);
        (self.applied, self.applied_term) = applied;
        self.version_next = self.state.version_high.next();
        self.clock_next = self.state.clock;
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        let leader = self.group.leader()?;
        let home = self.state.members.homes.iter().find(|home| home.replica == leader);
        if let Some(home) = home {
            return Some(home.node);
        }
        self.homes.iter().find(|(id, _)| *id == leader).map(|(_, node)| *node)
    }

    fn refuse_route(&self, request: &Request) -> Option<Refusal> {
        if request.range_epoch < self.state.range_epoch || !self.covers(&request.operation) {
            return Some(Refusal::WrongRange {
                current: self.state.range_epoch,
            });
        }
        if self.stopping {
            // While it still leads nobody else will take a write.
            let waits = request.operation.is_write() && self.group.handing_over();
            let retry_after_ms = limits::NOT_READY_RETRY_MS;
            return Some(if waits {
                Refusal::NotReady { retry_after_ms }
            } else {
                Refusal::ShuttingDown
            });
        }
        let stale = !request.operation.is_write() && consistency(&request.operation) == Consistency::Stale;
        (!self.leads() && !stale).then(|| Refusal::NotLeader { leader: self.leader() })
    }

    /// Writes that would only wait in the queue are told so at once.
    fn refuse_write(&self, request: &Request, overlay_full: bool) -> Option<Refusal> {
        if !self.writes.0.include(&request.operation) {
            return Some(self.disk_full());
        }
        (request.operation.is_write() && overlay_full).then_some(Refusal::Busy {
            queue: Queue::Overlay,
            retry_after_ms: limits::OVERLAY_RETRY_MS,
        })
    }

    fn covers(&self, operation: &Operation) -> bool {
        match operation {
            // A list is cut to the range; the client walks the shards.
            Operation::List { .. } => true,
            Operation::CompareExchange { key, .. }
            | Operation::Delete { key, .. }
            | Operation::Get { key, .. }
            | Operation::Set { key, .. }
            | Operation::Size { key, .. } => self.state.contains(key),
        }
    }

    fn read<R: IndexReader>(&self, ticket: Ticket, operation: Operation, index: &Index<R>) -> Result<Answer, IndexError> {
        match operation {
            Operation::Get {
                key, version, returning, ..
            } => Ok(match self.find(&key, version, index)? {
                Err(refusal) => Answer::refused(ticket, refusal),
                Ok(row) => {
                    let returned = returned_key(returning, &key);
                    let success = Success::Found {
                        version: row.version,
                        value: Bytes::new(),
                        key: returned,
                        applied: self.applied,
                    };
                    Answer {
                        ticket,
                        outcome: Ok(success),
                        fills: vec![Fill {
                            place: Place::Value,
                            key,
                            row,
                        }],
                    }
                }
            }),
            Operation::Size {
                key, version, returning, ..
            } => Ok(match self.find(&key, version, index)? {
                Err(refusal) => Answer::refused(ticket, refusal),
                Ok(row) => {
                    let returned = returned_key(returning, &key);
                    let success = Success::Sized {
                        version: row.version,
                        size: row.size,
                        key: returned,
                        applied: self.applied,
                    };
                    Answer::ready(ticket, Ok(success))
                }
            }),
            Operation::List {
                low,
                high,
                limit,
                direction,
                projection,
                ..
            } => {
                let (success, fills) = self.list((&low, &high), limit, direction, projection, index)?;
                Ok(Answer {
                    ticket,
                    outcome: Ok(success),
                    fills,
                })
            }
            Operation::CompareExchange { .. } | Operation::Delete { .. } | Operation::Set { .. } => {
                unreachable!("writes are resolved, not read")
            }
        }
    }

    fn find<R: IndexReader>(&self, key: &[u8], version: ReadVersion, index: &Index<R>) -> Result<Result<Row, Refusal>, IndexError> {
        let slot = index.get(self.space, key)?;
        Ok(match (slot, version) {
            (Some(Slot::Put(row)), ReadVersion::Latest) => Ok(row),
            (Some(Slot::Put(row)), ReadVersion::Exact(wanted)) if row.version == wanted => Ok(row),
            (Some(Slot::Put(_)), ReadVersion::Exact(_)) => Err(Refusal::NoSuchVersion),
            (Some(Slot::Deleted(_)) | None, ReadVersion::Exact(_)) => Err(Refusal::NoSuchVersion),
            (Some(Slot::Deleted(_)) | None, ReadVersion::Latest) => Err(Refusal::NotFound),
        })
    }

    fn list<R: IndexReader>(
        &self,
        (low, high): (&Bytes, &Bytes),
        limit: u32,
        direction: Direction,
        projection: Projection,
        index: &Index<R>,
    ) -> Result<(Success, Vec<Fill>), IndexError> {
        let low = low.max(&self.state.low);
        let high = if high.is_empty() || (!self.state.high.is_empty() && self.state.high < *high) {
            &self.state.high
        } else {
            high
        };
        let mut page = Page {
            rows: Vec::new(),
            fills: Vec::new(),
            bytes: 0,
            resume: None,
        };
        let limit = limit.min(LIST_ROWS_MAX) as usize;
        if high.is_empty() || low < high {
            index.scan(self.space, low, high, direction, &mut |key, row| {
                page.take(key, row, limit, direction, projection)
            })?;
        }
        Ok((
            Success::Listed {
                rows: page.rows,
                resume: page.resume,
                applied: self.applied,
            },
            page.fills,
        ))
    }
}

/// A page of a list while it grows.
struct Page {
    rows: Vec<ListedRow>,
    fills: Vec<Fill>,
    bytes: usize,
    resume: Option<Bytes>,
}

impl Page {
    fn take(&mut self, key: &[u8], row: Row, limit: usize, direction: Direction, projection: Projection) -> ControlFlow<()> {
        let value_bytes = match projection {
            Projection::KeysAndValues => usize::try_from(row.size).unwrap_or(usize::MAX),
            Projection::KeysOnly => 0,
        };
        let full = self.rows.len() >= limit || self.bytes.saturating_add(value_bytes + key.len()) > LIST_BYTES_MAX;
        if let (true, Some(last)) = (full, self.rows.last()) {
            self.resume = Some(match direction {
                Direction::Forward => Bytes::copy_from_slice(key),
                Direction::Reverse => last.key.clone(),
            });
            return ControlFlow::Break(());
        }
        let key = Bytes::copy_from_slice(key);
        self.bytes = self.bytes.saturating_add(value_bytes + key.len());
        if projection == Projection::KeysAndValues {
            self.fills.push(Fill {
                place: Place::Listed(self.rows.len()),
                key: key.clone(),
                row,
            });
        }
        self.rows.push(ListedRow {
            key,
            version: row.version,
            value: None,
        });
        ControlFlow::Continue(())
    }
}

fn consistency(operation: &Operation) -> Consistency {
    match operation {
        Operation::Get { consistency, .. } | Operation::List { consistency, .. } | Operation::Size { consistency, .. } => *consistency,
        Operation::CompareExchange { .. } | Operation::Delete { .. } | Operation::Set { .. } => Consistency::Linearizable,
    }
}
