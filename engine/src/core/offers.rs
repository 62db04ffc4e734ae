//! Images offered: a leader tells members that are new or too far behind what it could send them. An image begins, and holds a
//! reader and all segments, only once its member has answered.
//!
//! While the disk is low reclaim goes first: no image is offered, nor begun, until it has nothing left to free.
//!
//! Not here, on purpose: the image once it has begun (`members`).

use margate_net::ids::{LogIndex, ReplicaId, ShardId};
use margate_net::message::MemberBody;

use super::event::{Effect, Effects, Halt, Moment, PeerName};
use super::generations::Urgency;
use super::machine::Core;
use crate::image::offer::Offer;
use crate::image::send::{Addressee, Sending};
use crate::index::error::IndexError;
use crate::index::store::{IndexReader, ReplicaMarks};
use crate::limits;
use crate::shard::state::ShardState;
use crate::types::{Nanos, ReplicaName};

impl<R: IndexReader> Core<R> {
    /// Offers images to members that raft found too far behind, and to new ones.
    ///
    /// # Errors
    /// [`Halt`]: the index cannot be read.
    pub(super) fn offer_images(&mut self, moment: Moment) -> Result<(), Halt> {
        self.transfers.resting.retain(|_, until| moment.now < *until);
        for (name, to) in self.behind() {
            let of = (name.shard, to);
            let transfers = &self.transfers;
            let busy = transfers.sending.contains_key(&of) || transfers.offers.contains_key(&of) || transfers.resting.contains_key(&of);
            let Some(peer) = self.peers.home(name.shard, to).filter(|_| !busy) else {
                continue;
            };
            if self.may_begin_image() && self.transfers.offers.len() < limits::IMAGE_OFFERS_MAX {
                self.offer_image(moment, name, to, peer)?;
            }
        }
        Ok(())
    }

    /// Says again what was not answered, and lets go what was not for too long.
    pub(super) fn repeat_offers(&mut self, now: Nanos, out: &mut Effects) {
        let mut stale = Vec::new();
        for (of, offer) in &mut self.transfers.offers {
            let leads = self.running.get(&of.0).is_some_and(|running| running.replica.leads());
            if offer.is_stale(now) || !leads {
                stale.push(*of);
            } else if let Some(message) = offer.repeat(now) {
                let to = offer.to().peer;
                out.push(Effect::SendMember { to, message });
            }
        }
        stale.into_iter().for_each(|of| self.end_offer(now, of));
    }

    /// No more is heard of an offer.
    pub(super) fn end_offer(&mut self, now: Nanos, of: (ShardId, ReplicaId)) {
        self.transfers.offers.remove(&of);
        self.transfers.resting.insert(of, now.plus(limits::IMAGE_REPEAT));
    }

    /// The member has answered an offer: the image begins where the index is now. If that is not what was offered, it is said anew, as
    /// another attempt.
    ///
    /// # Errors
    /// [`Halt`]: the index cannot be read.
    pub(super) fn offer_answered(&mut self, moment: Moment, of: (ShardId, ReplicaId), out: &mut Effects) -> Result<(), Halt> {
        let leader = self.running.get(&of.0).map(|running| &running.replica);
        let leader = leader.filter(|replica| replica.leads()).map(|replica| replica.name());
        let (Some(offer), Some(name)) = (self.transfers.offers.remove(&of), leader) else {
            return Ok(());
        };
        let reader = self.index.reader().fork()?;
        let marks = marks_that_know(&reader, name, of.1)?;
        let Some(marks) = marks.filter(|_| self.may_begin_image()) else {
            let message = offer.to().say(MemberBody::GiveUp);
            out.push(Effect::SendMember {
                to: offer.to().peer,
                message,
            });
            self.transfers.counters.images_given_up += 1;
            self.end_offer(moment.now, of);
            return Ok(());
        };
        let mut to = offer.to();
        let as_offered = offer.is_of(&marks);
        if !as_offered {
            to.attempt = self.transfers.next_attempt(moment.wall);
        }
        tracing::info!(%name, member = to.to.0, node = to.peer.node.0, applied = %marks.applied, "an image is sent");
        let mut sending = Sending::new(to, self.cluster, reader, marks, moment.now);
        if !as_offered && let Some(message) = sending.repeat(moment.now) {
            out.push(Effect::SendMember { to: to.peer, message });
        }
        self.transfers.sending.insert(of, sending);
        Ok(())
    }

    /// Members that only an image helps, of all shards led here.
    fn behind(&self) -> Vec<(ReplicaName, ReplicaId)> {
        let mut wanted = Vec::new();
        for running in self.running.values() {
            let (group, replica) = (running.replica.group(), &running.replica);
            let mut behind = group.take_behind();
            // An image holds what is committed; a new leader may need a member to have one before it can commit anything itself.
            if !replica.leads() {
                continue;
            }
            // Those who are behind may be the very ones whose acknowledgement makes this leader ready.
            if replica.is_ready() {
                let learners = &replica.state().members.learners;
                behind.extend(learners.iter().filter(|learner| group.matched(**learner) == LogIndex(0)));
            }
            wanted.extend(behind.into_iter().map(|to| (replica.name(), to)));
        }
        wanted
    }

    fn may_begin_image(&self) -> bool {
        let reclaim_goes_first = self.room.is_low() && self.reclaims() && !self.reclaim.has_nothing_to_free();
        self.transfers.sending.len() < limits::IMAGES_MAX && !reclaim_goes_first
    }

    fn offer_image(&mut self, moment: Moment, name: ReplicaName, to: ReplicaId, peer: PeerName) -> Result<(), Halt> {
        let Some(marks) = marks_that_know(self.index.reader(), name, to)? else {
            // The index has yet to hold the entry that admitted it.
            self.generations.hurry(Urgency::Now);
            return Ok(());
        };
        let to = Addressee {
            shard: name.shard,
            from: name.replica,
            to,
            peer,
            attempt: self.transfers.next_attempt(moment.wall),
        };
        let offer = Offer::new(to, &marks, moment.now);
        self.transfers.offers.insert((name.shard, to.to), offer);
        Ok(())
    }
}

/// A replica's marks as a reader shows them, if they know that member.
fn marks_that_know<R: IndexReader>(reader: &R, name: ReplicaName, member: ReplicaId) -> Result<Option<ReplicaMarks>, IndexError> {
    let marks = reader.replica_marks()?.into_iter().find(|marks| marks.name == name);
    let knows = |marks: &ReplicaMarks| ShardState::decode(&marks.state).is_ok_and(|state| state.members.contains(member));
    Ok(marks.filter(knows))
}
