//! Members and images, as a core deals with them: it asks to be admitted where it has no replica that can serve, admits others as
//! a leader, lets them take the places of those they replace, and sends and takes images.
//!
//! Not here, on purpose: what a change of members is (`shard::members`), what an image is (`image`), which images begin
//! (`offers`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use margate_net::ids::{CoreId, DirectoryId, LogIndex, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId, Term, Version};
use margate_net::map::Map;
use margate_net::message::{MemberBody, MemberMessage, PeerMessage};

use super::copies::{Copied, Purpose, rows_of};
use super::event::{Effect, Effects, Halt, LogReadFault, Moment, PeerName, ReadTicket};
use super::generations::Urgency;
use super::machine::{Core, Running};
use crate::consensus::group::{Group, GroupConfig, RaftTicks};
use crate::consensus::tenure::Tenure;
use crate::consensus::window::RestoredLog;
use crate::image::offer::Offer;
use crate::image::receive::{Receiving, Step};
use crate::image::send::{Progress, Sending, Wants};
use crate::index::row::{Row, Slot};
use crate::index::store::{IndexReader, ReplicaMarks};
use crate::index::view::OwnedRange;
use crate::limits;
use crate::log::effects::EntryData;
use crate::log::record::Record;
use crate::shard::members::Members;
use crate::shard::replica::{Replica, ReplicaParts};
use crate::shard::state::ShardState;
use crate::types::{HardState, Nanos, ReplicaName};

/// How a core makes a replica.
#[derive(Clone, Debug)]
pub struct Nursery {
    /// When a replica beats, and campaigns.
    pub ticks: RaftTicks,
    /// Time between ticks; zero for no tenure.
    pub tick: Nanos,
    /// Seed of its dice.
    pub seed: u64,
    /// This core's data directory.
    pub directory: DirectoryId,
    /// The shards the map puts on this core, with where their other replicas live.
    pub shards: BTreeMap<ShardId, Ward>,
    /// Shards of which a start cannot tell whether the replica that they have lost here was the last one: damage may have taken a newer
    /// one from its creation to its end, what this start read or what one before it did, since which nobody has been admitted.
    pub doubted: BTreeSet<ShardId>,
}

/// A shard that should have a replica on this core.
#[derive(Clone, Debug)]
pub struct Ward {
    low: Bytes,
    high: Bytes,
    range_epoch: RangeEpoch,
    homes: Vec<(ReplicaId, NodeId)>,
}

/// Images under way, and what was asked lately.
pub(super) struct Transfers<R: IndexReader> {
    /// What members were told of and have yet to answer.
    pub(super) offers: BTreeMap<(ShardId, ReplicaId), Offer>,
    pub(super) sending: BTreeMap<(ShardId, ReplicaId), Sending<R>>,
    receiving: BTreeMap<ShardId, Receiving>,
    /// Until when no new image is offered to a member.
    pub(super) resting: BTreeMap<(ShardId, ReplicaId), Nanos>,
    last_attempt: u64,
    asked_at: Option<Nanos>,
    /// When it was last said that nobody admits this core; before that, since when it asks.
    told_at: Option<Nanos>,
    pub(super) counters: Transferred,
}

/// What was transferred since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Images that a member has taken whole from here.
    pub images_sent: u64,
    /// Images that came into force here.
    pub images_installed: u64,
    /// Images given up here, on either side.
    pub images_given_up: u64,
    /// Replicas made here because a leader admitted this core.
    pub admitted: u64,
}

/// Shards named in one complaint; of more it says that there are more.
const UNADMITTED_NAMED_MAX: usize = 16;

impl Nursery {
    /// For a core of a node.
    #[must_use]
    pub fn new(map: &Map, (node, core, directory): (NodeId, CoreId, DirectoryId), ticks: RaftTicks, tick: Nanos, seed: u64) -> Self {
        let here = map
            .shards()
            .iter()
            .filter(|shard| shard.replicas.iter().any(|replica| (replica.node, replica.core) == (node, core)));
        let ward = |shard: &margate_net::map::MapShard| Ward {
            low: shard.low.clone(),
            high: shard.high.clone(),
            range_epoch: shard.range_epoch,
            homes: shard.replicas.iter().map(|replica| (replica.id, replica.node)).collect(),
        };
        Self {
            ticks,
            tick,
            seed,
            directory,
            shards: here.map(|shard| (shard.id, ward(shard))).collect(),
            doubted: BTreeSet::new(),
        }
    }
}

impl<R: IndexReader> Default for Transfers<R> {
    fn default() -> Self {
        Self {
            offers: BTreeMap::new(),
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            resting: BTreeMap::new(),
            last_attempt: 0,
            asked_at: None,
            told_at: None,
            counters: Transferred::default(),
        }
    }
}

impl<R: IndexReader> Transfers<R> {
    /// Whether an image is under way, so that old segments must stay. One that is offered is not: its member may be dead.
    pub(super) fn are_under_way(&self) -> bool {
        !self.sending.is_empty() || !self.receiving.is_empty()
    }

    /// A number for an image that none before it had.
    pub(super) fn next_attempt(&mut self, wall: Nanos) -> u64 {
        self.last_attempt = wall.0.max(self.last_attempt + 1);
        self.last_attempt
    }

    /// Says from time to time that no leader admits this core to these shards.
    fn complain(&mut self, now: Nanos, missing: &[ShardId]) {
        if missing.is_empty() {
            self.told_at = None;
            return;
        }
        let told = *self.told_at.get_or_insert(now);
        if now.since(told) < limits::UNADMITTED_COMPLAINT {
            return;
        }
        self.told_at = Some(now);
        let mut shards: Vec<String> = missing.iter().take(UNADMITTED_NAMED_MAX).map(ToString::to_string).collect();
        shards.extend((missing.len() > UNADMITTED_NAMED_MAX).then(|| "…".to_owned()));
        tracing::warn!(
            shards = shards.join(" "),
            "this core has no replica of these shards, and no leader of them has admitted it: it neither serves them nor votes. If most \
             of their nodes have lost their data, they stay without a leader until those are given them back"
        );
    }

    /// The image that has just come into force.
    pub(super) fn take_installed(&mut self, shard: ShardId) -> Receiving {
        self.counters.images_installed += 1;
        self.receiving
            .remove(&shard)
            .expect("only an image that is being taken comes into force")
    }

    /// The image that raft has taken and the log has not.
    pub(super) fn installing(&self, shard: ShardId) -> &Receiving {
        self.receiving.get(&shard).expect("raft takes only an image that is being taken")
    }
}

impl<R: IndexReader> Core<R> {
    /// A peer's core said something about members or images.
    pub(super) fn member(&mut self, moment: Moment, from: PeerName, message: MemberMessage, out: &mut Effects) -> Result<(), Halt> {
        if !self.peers.may_speak_for(message.shard, message.from, from) {
            let (shard, replica, node) = (message.shard.0, message.from.0, from.node.0);
            if self.peers.may_complain(from, moment.now) {
                tracing::warn!(
                    shard,
                    replica,
                    node,
                    "a message about members came from another node than its sender's"
                );
            }
            return Ok(());
        }
        match &message.body {
            MemberBody::Admit { directory } => self.admitted(moment, (message.shard, message.to), *directory, out),
            MemberBody::Begin { .. } => self.image_begins(moment, from, &message, out),
            MemberBody::Removed => self.told_removed(moment, &message, out),
            MemberBody::Rows { .. } | MemberBody::End { .. } => self.image_goes_on(moment, from, &message, out),
            MemberBody::GiveUp => self.image_given_up(moment.now, from, &message),
            MemberBody::Have { .. } | MemberBody::HaveNot => self.value_answered(moment.now, from, &message, out),
            MemberBody::Want { .. } => return self.value_wanted(from, message, out),
            MemberBody::Join { directory } => self.join_asked(from, (message.shard, message.from), *directory, out),
            MemberBody::Taken { number } => return self.image_taken(moment, from, &message, *number, out),
        }
        Ok(())
    }

    /// What time brings: questions to be admitted, changes of members, images to begin, to repeat and to give up.
    pub(super) fn tick_members(&mut self, moment: Moment, out: &mut Effects) -> Result<(), Halt> {
        self.ask_to_join(moment.now, out);
        let here = (self.log_config.node, self.log_config.core);
        for (shard, running) in &mut self.running {
            let name = running.replica.name();
            let home_of = |replica| {
                if replica == name.replica {
                    return Some(here);
                }
                self.peers.home(*shard, replica).map(|peer| (peer.node, peer.core))
            };
            running.replica.advance_members(home_of);
        }
        self.offer_images(moment)?;
        self.repeat_offers(moment.now, out);
        self.repeat_images(moment.now, out);
        Ok(())
    }

    /// Copies are durable: pointers move, rows of images are in.
    pub(super) fn copies_durable(&mut self, copies: Vec<Copied>, out: &mut Effects) -> Result<(), Halt> {
        for copied in copies {
            match copied.purpose {
                Purpose::Image { shard, number } => self.rows_durable(shard, number, &copied, out),
                Purpose::Reclaim | Purpose::Repair => {
                    let replica = self.running.get(&copied.name.shard).map(|running| &running.replica);
                    if let Some(replica) = replica.filter(|replica| replica.name() == copied.name && replica.space == copied.space) {
                        let owned = replica.owned();
                        for copy in copied.rows {
                            let moved = self.index.relocate(&owned, &copy.key, copy.row, copy.from)?;
                            if copied.purpose == Purpose::Repair {
                                self.mended_durable(copied.name, &copy, moved);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Images whose rows the index holds durably go to raft.
    pub(super) fn settle_images(&mut self, out: &mut Effects) {
        let durable = self.generations.durable();
        let mut ended = Vec::new();
        for (shard, receiving) in &mut self.transfers.receiving {
            let running = self.running.get_mut(shard);
            // What was committed before is applied first, to the rows that the image replaces.
            let applied = running.as_ref().is_none_or(|running| running.replica.backlog.is_empty());
            let Some((number, term)) = Some(&mut *receiving)
                .filter(|_| applied)
                .and_then(|receiving| receiving.settled(durable))
            else {
                continue;
            };
            let group = running.map(|running| &mut running.replica.group);
            let members = &receiving.state.members;
            let taken = group.is_some_and(|group| group.step_image(receiving.leader, term, receiving.applied, members));
            let body = if taken { MemberBody::Taken { number } } else { MemberBody::GiveUp };
            out.push(Effect::SendMember {
                to: receiving.peer,
                message: receiving.say(body),
            });
            if !taken {
                ended.push(*shard);
            }
        }
        ended.into_iter().for_each(|shard| self.end_receiving(shard));
    }

    /// Whether a read is one of an image.
    pub(super) fn image_awaits(&self, ticket: ReadTicket) -> Option<(ShardId, ReplicaId)> {
        let sending = self.transfers.sending.iter().find(|(_, sending)| sending.reads_with(ticket));
        sending.map(|(of, _)| *of)
    }

    /// A value of an image was read.
    pub(super) fn image_read_done(
        &mut self,
        now: Nanos,
        of: (ShardId, ReplicaId),
        (ticket, result): (ReadTicket, Result<Bytes, LogReadFault>),
        out: &mut Effects,
    ) -> Result<(), Halt> {
        if let Some(sending) = self.transfers.sending.get_mut(&of) {
            let (progress, wants) = sending.read_done(now, ticket, result);
            self.image_step(now, of, progress, wants, out)?;
        }
        Ok(())
    }

    /// No image of this replica goes on.
    pub(super) fn end_receiving(&mut self, shard: ShardId) {
        if let Some(ended) = self.transfers.receiving.remove(&shard) {
            self.transfers.counters.images_given_up += 1;
            self.generations.clear(ended.space);
        }
    }

    fn ask_to_join(&mut self, now: Nanos, out: &mut Effects) {
        let every = Nanos(self.nursery.tick.0.max(1) * u64::from(self.nursery.ticks.election));
        if self.stopping || self.transfers.asked_at.is_some_and(|asked| now.since(asked) < every) {
            return;
        }
        let missing = self.nursery.shards.keys();
        // Who is suspect has all it ever had: nobody is to take its place.
        let missing = missing.filter(|shard| !self.running.contains_key(shard) && !self.suspects.contains_key(shard));
        let missing: Vec<ShardId> = missing.copied().collect();
        self.transfers.complain(now, &missing);
        // A leader that still knows this one says what it is already, and nothing changes.
        let alone = self.running.iter().filter(|(_, running)| running.replica.is_left_alone());
        let alone = alone.map(|(shard, _)| *shard);
        let alone: Vec<ShardId> = alone.filter(|shard| !self.transfers.receiving.contains_key(shard)).collect();
        for shard in missing.into_iter().chain(alone) {
            self.transfers.asked_at = Some(now);
            let message = MemberMessage {
                shard,
                from: self.damaged.get(&shard).map_or(ReplicaId(0), |damaged| damaged.name.replica),
                to: ReplicaId(0),
                attempt: 0,
                body: MemberBody::Join {
                    directory: self.nursery.directory,
                },
            };
            for to in self.peers.cores_of(shard) {
                let message = message.clone();
                out.push(Effect::SendMember { to, message });
            }
        }
    }

    fn join_asked(&mut self, from: PeerName, (shard, lost): (ShardId, ReplicaId), directory: DirectoryId, out: &mut Effects) {
        let Some(running) = self.running.get_mut(&shard) else { return };
        if let Some(replica) = running.replica.admit_member((from.node, from.core, directory), lost) {
            let message = MemberMessage {
                shard,
                from: running.replica.name().replica,
                to: replica,
                attempt: 0,
                body: MemberBody::Admit { directory },
            };
            out.push(Effect::SendMember { to: from, message });
        }
    }

    /// A replica that is a member no more has spoken: its disk was away while another took its place. It hears so, lest it campaign for ever.
    pub(super) fn tell_removed(&mut self, now: Nanos, from: PeerName, message: &PeerMessage, out: &mut Effects) {
        if self.peers.may_tell_removed(from, message.shard, now) {
            let here = self.running.get(&message.shard).map(|running| running.replica.name().replica);
            let message = MemberMessage {
                shard: message.shard,
                from: here.unwrap_or_default(),
                to: message.from,
                attempt: 0,
                body: MemberBody::Removed,
            };
            out.push(Effect::SendMember { to: from, message });
        }
    }

    /// A member says that the replica here is one no more. It stops; what it holds stays until a leader admits this core anew.
    fn told_removed(&mut self, moment: Moment, message: &MemberMessage, out: &mut Effects) {
        let here = self.running.get(&message.shard).map(|running| running.replica.name());
        if let Some(name) = here.filter(|name| name.replica == message.to) {
            tracing::warn!(%name, by = message.from.0, "this replica was replaced while it was away: it is stopped, and this core asks to join anew");
            self.retire(message.shard, moment.wall, out);
        }
    }

    /// A leader has admitted this core: the replica begins, with nothing, in the place of a learner that was dismissed meanwhile.
    fn admitted(&mut self, moment: Moment, (shard, replica): (ShardId, ReplicaId), directory: DirectoryId, out: &mut Effects) {
        let running = self.running.get(&shard).map(|running| &running.replica);
        let dismissed = running.is_some_and(|older| older.name().replica < replica && !older.votes());
        let known = (running.is_some() && !dismissed)
            || self.suspects.contains_key(&shard)
            || self.damaged.get(&shard).is_some_and(|damaged| damaged.name.replica >= replica);
        let ward = self.nursery.shards.get(&shard).cloned();
        let Some(ward) = ward.filter(|_| !known && directory == self.nursery.directory) else {
            return;
        };
        if self.nursery.doubted.remove(&shard) {
            return self.doubt(ReplicaName { shard, replica }, moment.wall);
        }
        if dismissed {
            self.retire(shard, moment.wall, out);
        }
        let (name, space) = (ReplicaName { shard, replica }, self.generations.draw_space());
        let state = ShardState {
            low: ward.low,
            high: ward.high,
            range_epoch: ward.range_epoch,
            member_epoch: MemberEpoch(0),
            members: Members::default(),
            version_high: Version(0),
            clock: Nanos(0),
        };
        self.log.push(Record::Checkpoint {
            name,
            space,
            applied: LogIndex(0),
            applied_term: Term(0),
            kept_from: 1,
            state: state.encode(),
            timestamp: moment.wall,
        });
        // An index that knew of it alone would run it after a crash, and a rebuild would miss its beginning.
        self.last_turnover = self.log.pushed();
        let config = GroupConfig {
            name,
            members: Members::default(),
            ticks: self.nursery.ticks,
            quiet_start: false,
            keeps_promises: !self.planted.promise_forgotten(),
            steps_lost: self.planted.heartbeat_stepped(),
            preferred: false,
            seed: self.nursery.seed ^ replica.0.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        };
        let replica = Replica::new(ReplicaParts {
            cluster: self.cluster,
            space,
            group: Group::new(&config, RestoredLog::default()),
            tenure: Tenure::new(self.nursery.ticks.election, self.nursery.tick, self.planted),
            state,
            applied: (LogIndex(0), Term(0)),
            homes: ward.homes,
            planted: self.planted,
        });
        tracing::info!(%name, "this core was admitted as a member");
        if let Some(old) = self.damaged.remove(&shard) {
            self.generations.clear(old.space);
        }
        self.running.insert(shard, Running::new(replica, HardState::default()));
        self.transfers.counters.admitted += 1;
    }

    /// This core may have been this replica already, and have lost that: it counts as lost too, and a newer one is asked for.
    fn doubt(&mut self, name: ReplicaName, wall: Nanos) {
        let Some(damaged) = self.damaged.get(&name.shard) else { return };
        tracing::warn!(%name, "this core may have lost this replica, of which nothing is left: it asks for a newer one");
        // What it keeps are the rows of the one before: of this one nothing is known.
        let marks = ReplicaMarks {
            name,
            applied: LogIndex(0),
            applied_term: Term(0),
            hard_state: HardState::default(),
            commit: LogIndex(0),
            truncated: LogIndex(0),
            term_runs: Vec::new(),
            ..damaged.clone()
        };
        self.give_up(marks, wall);
        self.transfers.asked_at = None;
    }

    fn image_begins(&mut self, moment: Moment, from: PeerName, message: &MemberMessage, out: &mut Effects) {
        let MemberBody::Begin { applied, applied_term, .. } = &message.body else {
            return;
        };
        let shard = message.shard;
        let known = self.transfers.receiving.get(&shard);
        if known.is_some_and(|known| (known.peer, known.attempt) == (from, message.attempt)) {
            return self.image_goes_on(moment, from, message, out);
        }
        let replica = self.running.get(&shard).map(|running| &running.replica);
        // One that raft has already taken is not replaced by another.
        let settled = known.is_some_and(Receiving::is_settled);
        let full = known.is_none() && self.transfers.receiving.len() >= limits::IMAGES_MAX;
        let useful = |replica: &&Replica| replica.name().replica == message.to && replica.applied() < *applied && !replica.leads();
        let Some(replica) = replica.filter(useful).filter(|_| !settled && !full && !self.room.is_low()) else {
            let running = self.running.get_mut(&shard).map(|running| &mut running.replica);
            if let Some(replica) = running.filter(|replica| replica.name().replica == message.to && replica.applied() >= *applied) {
                let members = replica.state().members.clone();
                replica.group.refuse_image(message.from, (*applied, *applied_term), &members);
            }
            let (from_replica, to) = (message.to, message.from);
            let message = MemberMessage {
                from: from_replica,
                to,
                body: MemberBody::GiveUp,
                ..message.clone()
            };
            return out.push(Effect::SendMember { to: from, message });
        };
        let name = replica.name();
        self.end_receiving(shard);
        let space = self.generations.draw_space();
        if let Some(receiving) = Receiving::new(from, message, name, space, moment.now) {
            let message = receiving.say(MemberBody::Taken { number: 0 });
            self.transfers.receiving.insert(shard, receiving);
            out.push(Effect::SendMember { to: from, message });
        }
    }

    fn image_goes_on(&mut self, moment: Moment, from: PeerName, message: &MemberMessage, out: &mut Effects) {
        if self.room.is_full() && self.transfers.receiving.get(&message.shard).is_some_and(|one| !one.is_settled()) {
            // Reclaim must go on, and it does not while an image is under way.
            return self.end_receiving(message.shard);
        }
        // What is not taken now is sent again.
        let busy = !self.log.has_room() || self.index.is_busy();
        let shard = message.shard;
        let Some(receiving) = self.transfers.receiving.get_mut(&shard) else {
            return;
        };
        if busy || (receiving.peer, receiving.attempt) != (from, message.attempt) {
            return;
        }
        match receiving.hear(moment.now, &message.body) {
            Step::Log { number, data } => {
                let rows = EntryData::parse(&data).map(|data| rows_of(&data)).unwrap_or_default();
                if data.len() > self.log.data_bytes_max() {
                    return self.end_receiving(shard);
                }
                let copied = Copied {
                    purpose: Purpose::Image { shard, number },
                    name: receiving.name,
                    space: receiving.space,
                    rows,
                };
                self.copies.push(&mut self.log, copied, data, moment.wall);
            }
            Step::Nothing => {}
            Step::Said(number) => {
                let message = receiving.say(MemberBody::Taken { number });
                out.push(Effect::SendMember { to: from, message });
            }
            Step::Settle => {
                self.generations.hurry(Urgency::Now);
                receiving.settle(self.generations.next_frozen());
            }
            Step::Senseless => {
                if self.peers.may_complain(from, moment.now) {
                    tracing::warn!(name = %receiving.name, node = from.node.0, "an image makes no sense and is dropped");
                }
                self.end_receiving(shard);
            }
        }
    }

    fn rows_durable(&mut self, shard: ShardId, number: u64, copied: &Copied, out: &mut Effects) {
        let Some(receiving) = self.transfers.receiving.get_mut(&shard) else {
            return;
        };
        if (receiving.name, receiving.space) != (copied.name, copied.space) {
            return;
        }
        let Some(number) = receiving.logged(number) else { return };
        let owned = OwnedRange {
            space: receiving.space,
            low: receiving.state.low.clone(),
            high: receiving.state.high.clone(),
        };
        for copy in &copied.rows {
            let row: Row = copy.row;
            self.index.apply(&owned, &copy.key, Slot::Put(row));
        }
        out.push(Effect::SendMember {
            to: receiving.peer,
            message: receiving.say(MemberBody::Taken { number }),
        });
    }

    fn image_given_up(&mut self, now: Nanos, from: PeerName, message: &MemberMessage) {
        let of = (message.shard, message.from);
        let offer = self.transfers.offers.get(&of).map(Offer::to);
        if offer.is_some_and(|to| (to.peer, to.attempt) == (from, message.attempt)) {
            self.transfers.counters.images_given_up += 1;
            self.end_offer(now, of);
        }
        let sending = self.transfers.sending.get(&of).map(Sending::to);
        if sending.is_some_and(|to| (to.peer, to.attempt) == (from, message.attempt)) {
            self.end_sending(now, of, limits::IMAGE_REPEAT);
        }
        let receiving = self.transfers.receiving.get(&message.shard);
        if receiving.is_some_and(|known| (known.peer, known.attempt) == (from, message.attempt) && !known.is_settled()) {
            self.end_receiving(message.shard);
        }
    }

    fn image_taken(&mut self, moment: Moment, from: PeerName, message: &MemberMessage, number: u64, out: &mut Effects) -> Result<(), Halt> {
        let of = (message.shard, message.from);
        let bytes_max = limits::IMAGE_BYTES_MAX.min(self.log.data_bytes_max() / 2);
        let offer = self.transfers.offers.get(&of).map(Offer::to);
        if offer.is_some_and(|to| (to.peer, to.attempt) == (from, message.attempt)) {
            self.offer_answered(moment, of, out)?;
        }
        let Some(sending) = self.transfers.sending.get_mut(&of) else {
            return Ok(());
        };
        let Some(running) = self.running.get(&message.shard).filter(|running| running.replica.leads()) else {
            return Ok(());
        };
        if (sending.to().peer, sending.to().attempt) == (from, message.attempt) {
            let term = running.replica.group().term();
            let (progress, wants) = sending.taken(moment.now, number, term, bytes_max)?;
            self.image_step(moment.now, of, progress, wants, out)?;
        }
        Ok(())
    }

    fn image_step(
        &mut self,
        now: Nanos,
        of: (ShardId, ReplicaId),
        progress: Progress,
        wants: Wants,
        out: &mut Effects,
    ) -> Result<(), Halt> {
        let Some(sending) = self.transfers.sending.get_mut(&of) else {
            return Ok(());
        };
        let peer = sending.to().peer;
        for (at, position, length) in wants.reads {
            let (effect, ticket) = self.tickets.read(position, length);
            sending.reading(ticket, at);
            out.push(effect);
        }
        if let Some(message) = wants.message {
            out.push(Effect::SendMember { to: peer, message });
        }
        match progress {
            Progress::Under => {}
            Progress::Done => {
                self.transfers.counters.images_sent += 1;
                self.transfers.sending.remove(&of);
                self.transfers.resting.insert(of, now.plus(limits::IMAGE_PATIENCE));
            }
            Progress::Failed => {
                let (message, space) = (sending.give_up(), sending.space());
                out.push(Effect::SendMember { to: peer, message });
                // By then what can be mended is.
                self.end_sending(now, of, limits::REPAIR_REST);
                self.mend_all(of.0, space, wants.damaged, out)?;
            }
        }
        Ok(())
    }

    fn end_sending(&mut self, now: Nanos, of: (ShardId, ReplicaId), rest: Nanos) {
        self.transfers.sending.remove(&of);
        self.transfers.resting.insert(of, now.plus(rest));
        self.transfers.counters.images_given_up += 1;
    }

    fn repeat_images(&mut self, now: Nanos, out: &mut Effects) {
        let mut stale = Vec::new();
        for (of, sending) in &mut self.transfers.sending {
            let leads = self.running.get(&of.0).is_some_and(|running| running.replica.leads());
            if sending.is_stale(now) || !leads {
                stale.push(*of);
            } else if let Some(message) = sending.repeat(now) {
                let to = sending.to().peer;
                out.push(Effect::SendMember { to, message });
            }
        }
        stale.into_iter().for_each(|of| self.end_sending(now, of, limits::IMAGE_REPEAT));
        let receiving = self.transfers.receiving.iter();
        let stale: Vec<ShardId> = receiving.filter(|(_, one)| one.is_stale(now)).map(|(shard, _)| *shard).collect();
        stale.into_iter().for_each(|shard| self.end_receiving(shard));
    }
}
