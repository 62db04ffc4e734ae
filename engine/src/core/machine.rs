//! The dispatcher: it matches and delegates; every duty has its own file.
//!
//! Invariants: events are handled one at a time and their effects performed before the next; one flush and one
//! index commit are in flight at most; a replica is either running or damaged or suspect, never two of them.

use std::collections::BTreeMap;

use margate_net::codec::{OperationKind, ReceivedRequest};
use margate_net::error::Refusal;
use margate_net::ids::{ClusterId, LogIndex, MemberEpoch, ShardId, Term};
use margate_net::map::Map;
use margate_net::measure::{ReadStage, Span, Stage};
use margate_net::message::{DiskRoom, PeerMessage, PeerMessageKind, Reply};

use super::copies::Copies;
use super::counters::Counters;
use super::durability::{Durability, WaitingQueue};
use super::event::{Effect, Effects, Event, Halt, Moment, PeerName};
use super::generations::{CommitPace, Contribution, Generations, Positions, Urgency};
use super::laggards::Laggards;
use super::ledger::Ledger;
use super::members::{Nursery, Transfers};
use super::peers::Peers;
use super::reclaim::{Ground, Reclaim};
use super::repair::{Givings, Repairs};
use super::room::{DiskLimits, Room};
use super::turn::Turn;
use super::values::{Owner, Tickets, Values};
use crate::consensus::group::Role;
use crate::consensus::sanity::StepFault;
use crate::index::store::{IndexReader, ReplicaMarks};
use crate::index::view::Index;
use crate::log::record::Record;
use crate::log::segment::LogConfig;
use crate::log::writer::LogWriter;
use crate::planted::Planted;
use crate::shard::answer::{Answer, Asked, ConnectionId, Ticket};
use crate::shard::replica::Replica;
use crate::shard::tally::Tally;
use crate::types::{HardState, Nanos};

/// Everything a core is made of at start; [`super::replay`] makes it.
pub struct CoreParts<R: IndexReader> {
    /// The deployment.
    pub cluster: ClusterId,
    /// Who serves what.
    pub map: Map,
    /// Whose log it is.
    pub log_config: LogConfig,
    /// The log's appending end.
    pub log: LogWriter,
    /// The index.
    pub index: Index<R>,
    /// When the index gets its next generation.
    pub generations: Generations,
    /// Where entries stand that the index does not know yet.
    pub positions: Positions,
    /// The replicas that run, each with its durable hard state.
    pub replicas: Vec<(Replica, HardState)>,
    /// Those that do not, because their log or index is damaged.
    pub damaged: Vec<ReplicaMarks>,
    /// Those that do not, because raft panicked too often over them: what each keeps telling the index, so that all it has stays.
    pub suspects: Vec<Contribution>,
    /// How it makes replicas.
    pub nursery: Nursery,
    /// For how long a flush may be under way before this core hands over what it leads; zero for ever.
    pub flush_patience: Nanos,
    /// When its index commits.
    pub commits: CommitPace,
    /// When its disk is low.
    pub disk: DiskLimits,
    /// The bug to show, [`Planted::NONE`] in production.
    pub planted: Planted,
}

/// A replica, and what the log holds of its vote.
pub(super) struct Running {
    pub(super) replica: Replica,
    pub(super) waiting: WaitingQueue,
    pub(super) durable_hard_state: HardState,
    /// The progress with which an image comes into force.
    pub(super) installing: Option<u64>,
    /// The member epoch whose homes are known.
    pub(super) homes_of: Option<MemberEpoch>,
    /// Its term and role at the end of the last turn.
    pub(super) stood: (Term, Role),
}

impl Running {
    /// A replica and what the log holds of its vote.
    pub(super) fn new(replica: Replica, durable_hard_state: HardState) -> Self {
        Self {
            stood: replica.group().stands(),
            replica,
            waiting: WaitingQueue::default(),
            durable_hard_state,
            installing: None,
            homes_of: None,
        }
    }
}

/// One core of a node. See the folder's text.
pub struct Core<R: IndexReader> {
    pub(super) cluster: ClusterId,
    pub(super) log_config: LogConfig,
    pub(super) log: LogWriter,
    pub(super) index: Index<R>,
    pub(super) generations: Generations,
    pub(super) positions: Positions,
    pub(super) ledger: Ledger,
    pub(super) running: BTreeMap<ShardId, Running>,
    pub(super) damaged: BTreeMap<ShardId, ReplicaMarks>,
    pub(super) suspects: BTreeMap<ShardId, Contribution>,
    pub(super) durability: Durability,
    pub(super) peers: Peers,
    pub(super) values: Values,
    pub(super) laggards: Laggards,
    pub(super) reclaim: Reclaim,
    pub(super) copies: Copies,
    pub(super) transfers: Transfers<R>,
    pub(super) repairs: Repairs,
    pub(super) givings: Givings,
    pub(super) nursery: Nursery,
    pub(super) tickets: Tickets,
    pub(super) planted: Planted,
    pub(super) stopping: bool,
    pub(super) flush_patience: Nanos,
    pub(super) commits: CommitPace,
    /// Since when a flush has been under way.
    pub(super) flushing_since: Option<Nanos>,
    /// Whether a tick has come in this turn.
    pub(super) ticked: bool,
    /// The last beginning or end of a replica among the records queued: no generation that knows of it goes before it.
    pub(super) last_turnover: u64,
    pub(super) room: Room,
    /// Whether a leader here may take less than all writes.
    pub(super) writes_limited: bool,
    /// What was said of the disk last.
    pub(super) room_told: DiskRoom,
    pub(super) counters: Counters,
    /// What its replicas count and measure.
    pub(super) tally: Tally,
    /// What the turn under way is made of.
    pub(super) turn: Turn,
    /// Replicas with entries in the batch being written, and the newest of each.
    pub(super) writing: Vec<(ShardId, LogIndex)>,
    /// When the last generation left for the index.
    pub(super) committing_since: Nanos,
}

impl<R: IndexReader> Core<R> {
    /// A core as replay left it.
    #[must_use]
    pub fn new(parts: CoreParts<R>) -> Self {
        let (node, last_turnover, goes_on_in) = (parts.log_config.node, parts.log.pushed(), parts.log.position().segment);
        let running = parts
            .replicas
            .into_iter()
            .map(|(replica, durable_hard_state)| (replica.name().shard, Running::new(replica, durable_hard_state)));
        let room = Room::new(parts.disk, parts.log_config.segment_bytes);
        Self {
            cluster: parts.cluster,
            log_config: parts.log_config,
            log: parts.log,
            index: parts.index,
            generations: parts.generations,
            positions: parts.positions,
            ledger: Ledger::new(goes_on_in),
            running: running.collect(),
            damaged: parts.damaged.into_iter().map(|marks| (marks.name.shard, marks)).collect(),
            suspects: parts.suspects.into_iter().map(|one| (one.marks.name.shard, one)).collect(),
            durability: Durability::default(),
            peers: Peers::new(&parts.map, node),
            values: Values::new(parts.cluster),
            laggards: Laggards::default(),
            reclaim: Reclaim::default(),
            copies: Copies::default(),
            transfers: Transfers::default(),
            repairs: Repairs::default(),
            givings: Givings::default(),
            nursery: parts.nursery,
            tickets: Tickets::default(),
            planted: parts.planted,
            stopping: false,
            flush_patience: parts.flush_patience,
            commits: parts.commits,
            flushing_since: None,
            ticked: false,
            // What replay queued before anything else.
            last_turnover,
            room,
            writes_limited: false,
            room_told: DiskRoom::Ample,
            counters: Counters::default(),
            tally: Tally::default(),
            turn: Turn::default(),
            writing: Vec::new(),
            committing_since: Nanos(0),
        }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// [`Halt`]: the core cannot go on, its node must stop.
    pub fn handle(&mut self, moment: Moment, event: Event, out: &mut Effects) -> Result<(), Halt> {
        self.values.answered.turn(moment.now);
        self.turn.saw(&event);
        match event {
            Event::DiskFree { bytes } => self.disk_measured(bytes),
            Event::IndexDone { generation, churn } => {
                self.ledger.committed(&churn);
                self.generations.done(generation, &mut self.index, &mut self.positions)?;
                self.commit_ended(moment);
            }
            Event::Flushed { sequence, lasted } => self.flushed(moment, (sequence, lasted), out)?,
            Event::Member { from, message } => self.member(moment, from, message, out)?,
            Event::Peer { from, incarnation, batch } => {
                if self.peers.received(from, incarnation, (batch.round, batch.disk)) {
                    let messages = batch.messages.into_iter();
                    messages.for_each(|message| self.step(moment, from, message, out));
                }
            }
            Event::PeerLost { peer } => self.peer_lost(peer),
            Event::ReadDone { ticket, result } => self.read_done(moment.now, ticket, result, out)?,
            Event::Requests {
                connection,
                received,
                requests,
            } => self.admit((received, moment.now), connection, requests, out)?,
            Event::SegmentDeleted => self.reclaim.released(None),
            Event::SegmentReady(segment) => {
                self.log.segment_ready(segment);
                // An old one under another number says nothing about the disk.
                if segment.life == 1 {
                    self.room.made();
                }
                self.reclaim.released(Some(segment.number));
            }
            Event::SegmentRefused { number } => self.segment_refused(moment.now, number),
            Event::Stop => self.stop(),
            Event::Tick => {
                self.tick(moment.now, out);
                self.tick_members(moment, out)?;
            }
        }
        Ok(())
    }

    /// Ends a turn: proposes what has gathered, takes what consensus made of it, applies, answers, flushes.
    ///
    /// # Errors
    /// [`Halt`]: the core cannot go on, its node must stop.
    pub fn end_turn(&mut self, moment: Moment, out: &mut Effects) -> Result<(), Halt> {
        self.values.answered.turn(moment.now);
        self.turn.began(moment.now);
        self.settle_images(out);
        self.judge_writes(out);
        self.repair(moment, out)?;
        // While a flush is in flight operations gather: one entry per shard and flush, not one per turn.
        let in_flight = self.log.in_flight();
        self.reclaim(moment, in_flight, out)?;
        if !in_flight && self.log.has_room() && !self.room.is_full() {
            self.propose(moment, out)?;
        }
        self.collect(moment, out)?;
        if std::mem::take(&mut self.ticked) {
            self.flee_slow_disk(moment.now);
            self.flee_full_disk();
        }
        self.commit_index(moment, out);
        self.flush(moment, out);
        self.settle_room();
        self.peers.flush(self.room.state(), out);
        self.want_segments(moment.now, out);
        Ok(())
    }

    /// Monotonic time at which [`Core::end_turn`] has something to do without an event.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        let at_once = (self.reclaims() && self.reclaim.is_hungry(&self.log, &self.index, self.room.is_low()))
            || self.running.values().any(|running| running.replica.group().has_progress());
        if at_once { Some(Nanos(0)) } else { self.log.deadline() }
    }

    /// How soon a commit of the index under way should end.
    #[must_use]
    pub fn index_urgency(&self) -> Urgency {
        if self.stopping || self.room.is_low() {
            return Urgency::Now;
        }
        self.generations.urgency(&self.index, &self.log, self.log_config.segment_bytes)
    }

    /// Whether a stopping core has handed over what it led and has nothing under way.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let handed_over = self.running.values().all(|running| running.replica.may_end());
        self.stopping && handed_over && self.nothing_waits() && self.log.deadline().is_none() && self.generations.is_idle()
    }

    /// The running replicas, for checkers.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.running.values().map(|running| &running.replica)
    }

    /// The index, for checkers.
    #[must_use]
    pub fn index(&self) -> &Index<R> {
        &self.index
    }

    /// What it has counted since its start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            entries_fetched: self.laggards.fetched(),
            reclaimed: self.reclaim.done(),
            transferred: self.transfers.counters,
            repaired: self.repairs.counters,
            writes_refused: self.running.values().map(|running| running.replica.disk_refused).sum(),
            ..self.counters
        }
    }

    fn admit(
        &mut self,
        (received, now): (Nanos, Nanos),
        connection: ConnectionId,
        requests: Vec<ReceivedRequest>,
        out: &mut Effects,
    ) -> Result<(), Halt> {
        let (mut answers, mut reads, mut writes) = (Vec::new(), 0, 0);
        for ReceivedRequest { id, request } in requests {
            let request = match request {
                Ok(request) => request,
                Err(refusal) => {
                    self.counters.malformed += 1;
                    out.push(Effect::Reply {
                        connection,
                        reply: Reply { id, outcome: Err(refusal) },
                        asked: None,
                    });
                    continue;
                }
            };
            let kind = OperationKind::of(&request.operation);
            let asked = Asked { kind, received };
            let ticket = Ticket { connection, id, asked };
            let shard = request.shard;
            match self.running.get_mut(&shard) {
                Some(running) => {
                    *if asked.writes() { &mut writes } else { &mut reads } += 1;
                    running.replica.admit(now, ticket, request, &self.index, &mut answers)?;
                    let owner = owner(&running.replica);
                    answers
                        .drain(..)
                        .for_each(|answer| self.values.deliver(owner, answer, &mut self.tickets, out));
                }
                None => self.values.answered.refuse(ticket, self.without_replica(shard), out),
            }
        }
        self.tally.lasted(Span::Write(Stage::Routed), (received, now), writes);
        self.tally.lasted(Span::Read(ReadStage::Routed), (received, now), reads);
        Ok(())
    }

    /// Why it serves a shard in no way.
    fn without_replica(&self, shard: ShardId) -> Refusal {
        if self.damaged.contains_key(&shard) || self.suspects.contains_key(&shard) {
            Refusal::Damaged
        } else if self.nursery.shards.contains_key(&shard) {
            // It is to have one, once a leader has admitted it; others have theirs.
            Refusal::NotLeader { leader: None }
        } else {
            Refusal::NoSuchShard
        }
    }

    fn step(&mut self, moment: Moment, from: PeerName, message: PeerMessage, out: &mut Effects) {
        let shard = message.shard;
        let Some(running) = self.running.get_mut(&shard) else {
            return;
        };
        let members = &running.replica.state().members;
        let early = self.planted.removed_too_early() && !members.contains(message.from);
        if members.has_removed(message.from) || early {
            return self.tell_removed(moment.now, from, &message, out);
        }
        if !self.peers.hears(shard, message.from, from) {
            let (replica, node) = (message.from.0, from.node.0);
            if self.peers.may_complain(from, moment.now) {
                tracing::warn!(shard = shard.0, replica, node, "a message came from another node than its sender's");
            }
            return;
        }
        if let Err(fault) = running.replica.check_entries(&message.entries) {
            if self.peers.may_complain(from, moment.now) {
                tracing::warn!(shard = shard.0, node = from.node.0, %fault, "a peer's entries make no sense and were dropped");
            }
            return;
        }
        let entry_bytes = message.entries.iter().map(|entry| entry.data.len()).sum();
        if !self.takes_entries(entry_bytes) {
            return;
        }
        let Some(running) = self.running.get_mut(&shard) else {
            return;
        };
        let acknowledged = message.kind == PeerMessageKind::AppendResponse && !message.reject;
        if acknowledged && message.index > running.replica.group.matched(message.from) {
            self.peers.wrote(from, moment.now);
        }
        let leads = matches!(message.kind, PeerMessageKind::Append | PeerMessageKind::Heartbeat);
        let (term, commit) = (message.term, message.commit);
        match running.replica.group.step(message) {
            Ok(()) if leads => running.replica.heard_commit(term, commit),
            Ok(()) => {}
            Err(fault @ StepFault::LostEntries { .. }) => {
                tracing::error!(shard = shard.0, %fault, "this replica must be replaced; it is stopped, the core's others go on");
                self.retire(shard, moment.wall, out);
            }
            Err(
                fault @ (StepFault::OtherReplica { .. }
                | StepFault::NotAMember { .. }
                | StepFault::Insane { .. }
                | StepFault::BadEntry { .. }),
            ) => {
                if self.peers.may_complain(from, moment.now) {
                    tracing::warn!(shard = shard.0, node = from.node.0, %fault, "a peer's message was dropped");
                }
            }
            // Until then its leader's raft speaks to nobody.
            Err(StepFault::AwaitsImage) => {}
            Err(fault @ StepFault::TooEarly { .. }) => tracing::debug!(shard = shard.0, %fault, "a request was not answered"),
            Err(fault @ StepFault::WindowFull { .. }) => {
                tracing::debug!(shard = shard.0, %fault, "an append was dropped, the leader will send it again");
            }
        }
    }

    /// Stops a replica that may no longer vote or serve.
    pub(super) fn retire(&mut self, shard: ShardId, wall: Nanos, out: &mut Effects) {
        self.end_receiving(shard);
        self.laggards.forget(shard);
        if let Some(mut running) = self.running.remove(&shard) {
            let mut answers = Vec::new();
            running.replica.abandon(&mut answers);
            let owner = owner(&running.replica);
            answers
                .into_iter()
                .for_each(|answer| self.values.deliver(owner, answer, &mut self.tickets, out));
            let marks = contribution(&running.replica, running.durable_hard_state).marks;
            self.give_up(ReplicaMarks { damaged: true, ..marks }, wall);
        }
    }

    /// A replica counts as lost from now on: the log says that it has ended, and the index keeps what it had.
    pub(super) fn give_up(&mut self, marks: ReplicaMarks, timestamp: Nanos) {
        let (name, space) = (marks.name, marks.space);
        self.log.push(Record::ReplicaEnd { name, space, timestamp });
        self.last_turnover = self.log.pushed();
        self.damaged.insert(name.shard, marks);
        // Before anything else is forgotten, this must not be.
        self.generations.hurry(Urgency::Now);
    }

    fn peer_lost(&mut self, peer: PeerName) {
        self.forget_disk(peer);
        for (shard, replica) in self.peers.replicas_on(peer) {
            if let Some(running) = self.running.get_mut(&shard) {
                running.replica.group.unreachable(replica);
            }
        }
    }

    fn tick(&mut self, now: Nanos, out: &mut Effects) {
        let mut answers = Vec::new();
        self.ticked = true;
        self.repairs.tick();
        for running in self.running.values_mut() {
            running.replica.tick(now, &mut answers);
            if self.stopping {
                running.replica.stop();
            }
            let owner = owner(&running.replica);
            answers
                .drain(..)
                .for_each(|answer| self.values.deliver(owner, answer, &mut self.tickets, out));
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.running.values_mut().for_each(|running| running.replica.stop());
    }

    fn read_done(
        &mut self,
        now: Nanos,
        ticket: super::event::ReadTicket,
        result: Result<bytes::Bytes, super::event::LogReadFault>,
        out: &mut Effects,
    ) -> Result<(), Halt> {
        self.tickets.ended(ticket);
        if self.reclaim.reads_with(ticket) {
            return self.with_reclaim(|reclaim, ground| {
                reclaim.read_done(result, ground);
                Ok(())
            });
        }
        if let Some(of) = self.image_awaits(ticket) {
            return self.image_read_done(now, of, (ticket, result), out);
        }
        if self.values.reads_with(ticket) {
            let damaged = self.values.read_done(ticket, result, &self.index, &mut self.tickets, out)?;
            if let Some((owner, key, row)) = damaged {
                self.mend_for(owner, key, row, out);
            }
            return Ok(());
        }
        if self.givings.reads_with(ticket) {
            self.value_read((ticket, result), out);
            return Ok(());
        }
        if let Some(shard) = self.laggards.shard_awaiting(ticket)
            && let Some(running) = self.running.get_mut(&shard)
        {
            self.laggards
                .read_done(shard, result, &mut running.replica, (&self.log_config, &mut self.tickets), out);
        }
        Ok(())
    }

    fn reclaim(&mut self, moment: Moment, in_flight: bool, out: &mut Effects) -> Result<(), Halt> {
        if self.reclaims() {
            self.with_reclaim(|reclaim, ground| {
                if in_flight {
                    reclaim.read_on(ground, out);
                    return Ok(());
                }
                reclaim.turn(moment, ground, out)
            })?;
        }
        Ok(())
    }

    /// What a replica that does not run has lost may have to be mended from what is here; one that is suspect is to find all it had.
    pub(super) fn reclaims(&self) -> bool {
        self.damaged.is_empty() && self.suspects.is_empty() && !self.stopping
    }

    fn with_reclaim<T>(&mut self, act: impl FnOnce(&mut Reclaim, &mut Ground<'_, R>) -> T) -> T {
        let mut ground = Ground {
            cluster: self.cluster,
            config: &self.log_config,
            log: &mut self.log,
            index: &mut self.index,
            running: &mut self.running,
            generations: &mut self.generations,
            ledger: &mut self.ledger,
            copies: &mut self.copies,
            repairs: &mut self.repairs,
            tickets: &mut self.tickets,
            values: &self.values,
            durability: &self.durability,
            held: self.transfers.are_under_way(),
            pressed: self.room.is_low(),
            spare: self.room.spare(),
            commits: self.commits,
            planted: self.planted,
        };
        act(&mut self.reclaim, &mut ground)
    }

    fn propose(&mut self, moment: Moment, out: &mut Effects) -> Result<(), Halt> {
        let mut answers: Vec<Answer> = Vec::new();
        for running in self.running.values_mut() {
            let before = self.tally.entries_proposed;
            running
                .replica
                .propose_queued(moment.now, moment.wall, &self.index, &mut self.tally, &mut answers)?;
            if self.tally.entries_proposed > before {
                self.turn.proposed(running.replica.name().shard);
            }
            let owner = owner(&running.replica);
            answers
                .drain(..)
                .for_each(|answer| self.values.deliver(owner, answer, &mut self.tickets, out));
        }
        Ok(())
    }
}

/// A replica's marks as of now.
pub(crate) fn contribution(replica: &Replica, hard_state: HardState) -> Contribution {
    let (state, applied) = (replica.state(), replica.applied());
    let marks = ReplicaMarks {
        name: replica.name(),
        damaged: false,
        space: replica.space,
        low: state.low.clone(),
        high: state.high.clone(),
        applied,
        applied_term: replica.applied_term,
        hard_state,
        commit: LogIndex(0),
        // Raft has forgotten all that an image replaces before the replica has taken it.
        truncated: replica.group().truncated().min(applied),
        term_runs: replica.group().term_runs(applied),
        state: state.encode(),
    };
    Contribution {
        marks,
        replay: replica.group().replay_from(applied),
    }
}

pub(super) fn owner(replica: &Replica) -> Owner {
    Owner {
        shard: replica.name().shard,
        space: replica.space,
    }
}
