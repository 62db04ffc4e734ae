//! Cores' turns, as the production driver takes them: all that gathered, then the end of the turn, with every effect
//! performed before the next event; and what the checkers see after it.
//!
//! Not here, on purpose: faults (`nemesis`), clients (`client`).

use margate_net::ids::LogIndex;
use margate_net::message::{MemberMessage, PeerBatch};

use super::check::{marks, single_leader};
use super::faults::Fault;
use super::network::Spot;
use super::node::{Host, Place, Process};
use super::violation::Violation;
use super::world::{ForCore, Happening, World};
use crate::core::event::{Effect, Effects, Event, Halt, Moment, PeerName};
use crate::index::store::{Generation, ReplicaMarks};
use crate::log::flush::Flush;
use crate::log::segment::ReadySegment;
use crate::types::Nanos;

/// Time from an event to the turn that takes it, at most.
const TURN_WITHIN: Nanos = Nanos(30_000);
/// The longest a disk takes for anything, however slow it is.
const SLOWEST: Nanos = Nanos::from_millis(6_000);

impl World {
    /// Starts a node's process.
    pub(crate) fn start(&mut self, node: usize) -> Result<(), Violation> {
        let tick = self.options.local_tick();
        self.nodes[node].start((&self.map, tick), self.planted, &mut self.dice, &mut self.faults)?;
        for core in 0..self.nodes[node].hosts.len() {
            let place = Place { node, core };
            self.plan_tick(place);
            self.wake(place, Nanos(0));
        }
        self.measure_at_start(node);
        Ok(())
    }

    /// Something for a core arrives.
    pub(crate) fn for_core(&mut self, place: Place, life: u64, what: ForCore) -> Result<(), Violation> {
        if self.nodes[place.node].life != life || self.process(place).is_none() {
            return Ok(());
        }
        match what {
            ForCore::Event(event) => self.heard(place, event),
            ForCore::IndexCommitted { generation, marks } => match self.pauses_commit(place) {
                Some(pause) => self.plan(place, self.now().plus(pause), ForCore::IndexCommitted { generation, marks }),
                None => self.index_committed(place, generation, &marks)?,
            },
            ForCore::Measured => self.measured(place),
            ForCore::Read { ticket, position, length } => {
                let fault = self.read_fails(place, position, length);
                let result = fault.map_or_else(|| self.host(place).disk.read_at(position, length), Err);
                self.faults.count(Fault::ValueRead);
                self.heard(place, Event::ReadDone { ticket, result });
            }
            ForCore::SegmentDeleted => {
                self.host(place).finish_delete();
                self.heard(place, Event::SegmentDeleted);
                self.kill_in_reclaim(place.node);
            }
            ForCore::SegmentRecycled => {
                if let Some(segment) = self.host(place).finish_recycle() {
                    self.faults.count(Fault::SegmentRecycled);
                    self.heard(place, Event::SegmentReady(segment));
                    self.kill_in_reclaim(place.node);
                }
            }
            ForCore::SegmentPrepared { number } => {
                if self.refuses_segment(place) {
                    self.host(place).disk.refuse_segment(number);
                    self.heard(place, Event::SegmentRefused { number });
                } else if !self.segment_fails(place)
                    && let Some(segment) = self.host(place).disk.finish_segment(number)
                {
                    self.heard(place, Event::SegmentReady(segment));
                }
            }
            ForCore::Tick => self.tick(place),
            ForCore::Turn { at } => self.turn(place, at)?,
            ForCore::Written { sequence } => self.written(place, sequence),
        }
        Ok(())
    }

    /// An event for a core; nothing if it does not run.
    pub(crate) fn heard(&mut self, place: Place, event: Event) {
        let within = self.dice.span(Nanos(0), TURN_WITHIN);
        if let Some(process) = self.process(place) {
            process.inbox.push(event);
            self.wake(place, within);
        }
    }

    /// Plans a turn within so much time, unless one is planned for earlier.
    pub(crate) fn wake(&mut self, place: Place, within: Nanos) {
        let at = self.now().plus(within);
        self.wake_at(place, at);
    }

    /// The core at a place, if it runs.
    pub(crate) fn process(&mut self, place: Place) -> Option<&mut Process> {
        self.host(place).process.as_mut()
    }

    fn host(&mut self, place: Place) -> &mut Host {
        &mut self.nodes[place.node].hosts[place.core]
    }

    fn wake_at(&mut self, place: Place, at: Nanos) {
        let at = at.max(self.now());
        let Some(process) = self.process(place) else { return };
        if process.turn_at.is_none_or(|planned| planned > at) {
            process.turn_at = Some(at);
            self.plan(place, at, ForCore::Turn { at });
        }
    }

    fn plan(&mut self, place: Place, at: Nanos, what: ForCore) {
        let life = self.nodes[place.node].life;
        self.schedule.at(at, Happening::Core { place, life, what });
    }

    fn plan_within(&mut self, place: Place, (low, high): (Nanos, Nanos), slower: u64, what: ForCore) {
        let span = Nanos(self.dice.span(low, high).0.saturating_mul(slower)).min(SLOWEST);
        self.plan(place, self.now().plus(span), what);
    }

    fn plan_tick(&mut self, place: Place) {
        let clock = &self.nodes[place.node].clock;
        let due = clock.real(clock.monotonic(self.now()).plus(self.options.local_tick()));
        self.plan(place, due, ForCore::Tick);
    }

    /// A tick; missed ones count once.
    fn tick(&mut self, place: Place) {
        self.plan_tick(place);
        let waits = |process: &Process| process.inbox.iter().any(|event| matches!(event, Event::Tick));
        if self.process(place).is_some_and(|process| !waits(process)) {
            self.heard(place, Event::Tick);
        }
    }

    fn turn(&mut self, place: Place, at: Nanos) -> Result<(), Violation> {
        let paused = self.nodes[place.node].paused;
        let Some(process) = self.process(place).filter(|process| process.turn_at == Some(at)) else {
            return Ok(());
        };
        process.turn_at = None;
        if paused {
            return Ok(());
        }
        self.take_turn(place).map_err(|halt| Violation::Halted {
            node: place.peer_name().node,
            why: halt.to_string(),
        })?;
        self.observe(place)?;
        let deadline = self.process(place).and_then(|process| process.core.deadline());
        if let Some(deadline) = deadline {
            let soon = self.now().plus(Nanos(1_000));
            let due = self.nodes[place.node].clock.real(deadline).max(soon);
            self.wake_at(place, due);
        }
        Ok(())
    }

    fn take_turn(&mut self, place: Place) -> Result<(), Halt> {
        let (now, clock) = (self.now(), &self.nodes[place.node].clock);
        let moment = Moment {
            now: clock.monotonic(now),
            wall: clock.wall(now),
        };
        let mut effects = Effects::default();
        let Some(process) = self.process(place) else { return Ok(()) };
        for event in std::mem::take(&mut process.inbox) {
            if let Some(process) = self.process(place) {
                process.core.handle(moment, event, &mut effects)?;
                self.perform(place, &mut effects);
            }
        }
        if let Some(process) = self.process(place) {
            process.core.end_turn(moment, &mut effects)?;
            self.perform(place, &mut effects);
        }
        if let Some(process) = self.process(place) {
            // In this world a turn takes no time.
            let stall = process.core.turn_ended(moment.now, moment.now, Nanos(0));
            assert_eq!(stall, None, "nothing bounds a turn here");
        }
        Ok(())
    }

    fn perform(&mut self, place: Place, effects: &mut Effects) {
        let effects: Vec<Effect> = effects.drain().collect();
        for effect in effects {
            match effect {
                Effect::CommitIndex(generation) => self.commit_index(place, generation),
                Effect::DeleteSegment { number } => {
                    self.host(place).disk.begin_delete(number);
                    let (span, slower) = (self.options.disk.read, self.nodes[place.node].disk_slower);
                    self.plan_within(place, span, slower, ForCore::SegmentDeleted);
                }
                Effect::RecycleSegment { from, to } => {
                    let salt = self.dice.any();
                    let disk = &mut self.host(place).disk;
                    let life = disk.life(from).saturating_add(1);
                    disk.begin_recycle(from, ReadySegment { number: to, salt, life });
                    let (span, slower) = (self.options.disk.write, self.nodes[place.node].disk_slower);
                    self.plan_within(place, span, slower, ForCore::SegmentRecycled);
                }
                Effect::PrepareSegment { number } => {
                    let salt = self.dice.any();
                    self.host(place).disk.begin_segment(ReadySegment { number, salt, life: 1 });
                    let (span, slower) = (self.options.disk.segment, self.nodes[place.node].disk_slower);
                    self.plan_within(place, span, slower, ForCore::SegmentPrepared { number });
                }
                Effect::Read { ticket, position, length } => {
                    let (span, slower) = (self.options.disk.read, self.nodes[place.node].disk_slower);
                    self.plan_within(place, span, slower, ForCore::Read { ticket, position, length });
                }
                Effect::Reply { connection, reply, .. } => self.reply(place, connection, reply),
                Effect::Send { to, batch } => self.send(place, to, batch),
                Effect::SendMember { to, message } => self.send_member(place, to, message),
                Effect::Write(flush) => self.write(place, &flush),
            }
        }
    }

    fn write(&mut self, place: Place, flush: &Flush) {
        self.hash
            .mix(&[flush.sequence, flush.length as u64, flush.records, u64::from(flush.offset)]);
        let began = self.monotonic(place);
        let host = self.host(place);
        host.disk.begin_write(flush);
        host.write_began = began;
        let (span, slower) = (self.options.disk.write, self.nodes[place.node].disk_slower);
        let sequence = flush.sequence;
        if self.strikes(self.options.nemesis.kill_in_write_per_mille) {
            self.plan_kill(place.node, span.0);
        }
        self.plan_within(place, span, slower, ForCore::Written { sequence });
    }

    /// What a node's clock shows.
    pub(crate) fn monotonic(&self, place: Place) -> Nanos {
        self.nodes[place.node].clock.monotonic(self.now())
    }

    fn written(&mut self, place: Place, sequence: u64) {
        if self.write_fails(place) {
            return;
        }
        let host = self.host(place);
        let (disk, log) = (&mut host.disk, &host.log);
        let written = disk.finish_write().expect("a write ends once");
        host.witness.written(disk, log, written);
        let lasted = (host.write_began, self.monotonic(place));
        self.heard(place, Event::Flushed { sequence, lasted });
    }

    fn commit_index(&mut self, place: Place, generation: Generation) {
        let host = self.host(place);
        host.index.begin(&generation);
        host.committing = true;
        let (span, slower) = (self.options.disk.index, self.nodes[place.node].index_slower);
        if self.strikes(self.options.nemesis.kill_in_commit_per_mille) {
            self.plan_kill(place.node, span.0);
        }
        let what = ForCore::IndexCommitted {
            generation: generation.number,
            marks: generation.replicas,
        };
        self.plan_within(place, span, slower, what);
    }

    fn index_committed(&mut self, place: Place, generation: u64, marks: &[ReplicaMarks]) -> Result<(), Violation> {
        if self.commit_fails(place) {
            return Ok(());
        }
        let host = self.host(place);
        let (finished, churn) = host.index.finish().expect("a generation is committed once");
        assert_eq!(finished, generation, "in order");
        host.committing = false;
        marks::check(marks, &host.witness)?;
        self.faults.count(Fault::IndexCommitted);
        self.heard(place, Event::IndexDone { generation, churn });
        Ok(())
    }

    fn send(&mut self, place: Place, to: PeerName, batch: PeerBatch) {
        let here = &self.nodes[place.node];
        let (from, incarnation, life) = (place.peer_name(), here.incarnation, here.life);
        let there = Place::of(to);
        if !self.nodes[there.node].is_up() {
            // Its link tells a core that its peer is gone.
            let at = self.now().plus(self.network.latency(&mut self.dice));
            let what = ForCore::Event(Event::PeerLost { peer: to });
            return self.schedule.at(at, Happening::Core { place, life, what });
        }
        let batch = self.overhear((from, incarnation), to, batch);
        for batch in self.wire.peer(batch) {
            self.carry(place, there, || Happening::Peer {
                place: there,
                from,
                incarnation,
                batch: batch.clone(),
            });
        }
    }

    fn send_member(&mut self, place: Place, to: PeerName, message: MemberMessage) {
        let (from, there) = (place.peer_name(), Place::of(to));
        if !self.nodes[there.node].is_up() {
            return;
        }
        for message in self.wire.member(message) {
            self.carry(place, there, || Happening::Member {
                place: there,
                from,
                message: message.clone(),
            });
        }
    }

    /// Plans how a message between nodes arrives: never, once or twice.
    fn carry(&mut self, from: Place, to: Place, arrival: impl Fn() -> Happening) {
        let link = (Spot::Node(from.node), Spot::Node(to.node));
        let arrivals = self
            .network
            .between_nodes(self.schedule.now(), link, &mut self.dice, &mut self.faults);
        arrivals.into_iter().for_each(|at| self.schedule.at(at, arrival()));
    }

    /// Nobody else may have tenure where a replica of this core has.
    fn observe_tenure(&self, place: Place) -> Result<(), Violation> {
        let replicas = |node: usize| {
            let shown = self.nodes[node].clock.monotonic(self.now());
            let processes = self.nodes[node].hosts.iter().filter_map(|host| host.process.as_ref());
            processes.flat_map(move |process| process.core.replicas().map(move |replica| (replica, shown)))
        };
        let host = self.nodes[place.node].hosts[place.core].process.as_ref();
        let shown = self.nodes[place.node].clock.monotonic(self.now());
        for replica in host.into_iter().flat_map(|process| process.core.replicas()) {
            let others = (0..self.nodes.len()).filter(|node| *node != place.node).flat_map(replicas);
            single_leader::check_tenure((replica, shown), others)?;
        }
        Ok(())
    }

    /// The checkers look at a core after its turn.
    fn observe(&mut self, place: Place) -> Result<(), Violation> {
        self.observe_tenure(place)?;
        let shown = self.nodes[place.node].clock.monotonic(self.now());
        let host = &mut self.nodes[place.node].hosts[place.core];
        let Some(process) = host.process.as_mut() else { return Ok(()) };
        let fresh = process.core.damaged().filter(|name| !process.damaged.contains(name));
        host.witness.check_begun_once()?;
        for name in fresh.collect::<Vec<_>>() {
            if self.members.has_issued(name) && process.may_doubt(name) {
                self.faults.count(Fault::IdDoubted);
                process.damaged.push(name);
                host.doubted.insert(name);
                continue;
            }
            match (self.members.has_removed(name), host.lost_tail.contains_key(&name)) {
                (true, _) => self.faults.count(Fault::RemovedTold),
                (false, true) => self.faults.count(Fault::LossNoticed),
                (false, false) => return Err(Violation::FalseDamage { name }),
            }
            process.damaged.push(name);
            host.ended.insert(name);
        }
        for replica in process.core.replicas() {
            let (name, group) = (replica.name(), replica.group());
            self.members.see(replica);
            process.changes.see(replica, shown)?;
            self.leaderships += u64::from(self.leaders.see(replica)?);
            let (applied, before) = (replica.applied(), process.applied.entry(name).or_insert(LogIndex(0)));
            if applied > *before {
                // What an image brought was never in this log, what was truncated was looked at before.
                let from = group.truncated().max(*before);
                self.committed.applied(name, (from, applied), &host.witness)?;
                let state = self.states.see(replica, process.core.index())?;
                self.hash.mix(&[state]);
                *before = applied;
            }
            self.hash.mix(&[group.term().0, group.commit().0, applied.0, group.last().0]);
        }
        Ok(())
    }
}
