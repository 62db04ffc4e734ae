//! Mending, as a core deals with it: who wants a repair, whom to ask, and what other members want from here.
//!
//! Not here, on purpose: the repairs themselves (`repair`).

use bytes::Bytes;
use margate_net::ids::{ReplicaId, ShardId, Space, Version};
use margate_net::message::{MemberBody, MemberMessage};

use super::copies::{Copied, CopiedRow, Purpose, rows_of};
use super::event::{Effect, Effects, Halt, LogReadFault, Moment, PeerName, ReadTicket};
use super::generations::Urgency;
use super::machine::Core;
use super::pace::fits_ahead;
use super::repair::{Ended, Giving, Lost, Member, Senseless, value_data};
use super::values::Owner;
use crate::index::row::Row;
use crate::index::store::IndexReader;
use crate::log::effects::{ENTRY_DATA_HEADER_BYTES, EntryData, effect_length};
use crate::shard::members::Members;
use crate::types::{Nanos, ReplicaName};

impl<R: IndexReader> Core<R> {
    /// An answer needs a value that is damaged: it waits for the repair, if one can be begun.
    pub(super) fn mend_for(&mut self, owner: Owner, key: Bytes, row: Row, out: &mut Effects) {
        let of_shard = self.running.get(&owner.shard).map(|running| running.replica.name());
        // Where its replica is gone nobody is asked, and the next turn finds that.
        let name = of_shard.unwrap_or(ReplicaName {
            shard: owner.shard,
            replica: ReplicaId(0),
        });
        let space = owner.space;
        self.mend(Lost { name, space, key, row }, out);
    }

    /// An image cannot be made of these: the next attempt finds those that were mended by then.
    pub(super) fn mend_all(&mut self, shard: ShardId, space: Space, damaged: Vec<(Bytes, Row)>, out: &mut Effects) -> Result<(), Halt> {
        for (key, row) in damaged {
            // An image is of the past: the value may have been mended, or replaced, since.
            if self.index.get(space, &key)?.and_then(|slot| slot.row()) == Some(row) {
                self.mend_for(Owner { shard, space }, key, row, out);
            }
        }
        Ok(())
    }

    /// A value is damaged: it is fetched from another member.
    pub(super) fn mend(&mut self, lost: Lost, out: &mut Effects) {
        match self.repairs.want(lost.clone()) {
            Ok(None) => {}
            Ok(Some(value)) => self.values.mended(&lost, Some(&value), out),
            Err(full) => {
                tracing::warn!(name = %lost.name, %full, "a damaged value is not mended now");
                self.values.mended(&lost, None, out);
            }
        }
    }

    /// What repairs want in a turn: members asked, what was found given to the log, what came to nothing ended.
    pub(super) fn repair(&mut self, moment: Moment, out: &mut Effects) -> Result<(), Halt> {
        if self.repairs.is_idle() {
            return Ok(());
        }
        let mut failed = None;
        let (index, running, stopping) = (&self.index, &self.running, self.stopping);
        let mut ended = self.repairs.keep(|lost| {
            let here = running.get(&lost.name.shard).map(|running| &running.replica);
            let here = here.is_some_and(|replica| (replica.name(), replica.space) == (lost.name, lost.space));
            let row = index.get(lost.space, &lost.key).unwrap_or_else(|error| {
                failed = Some(error);
                None
            });
            !stopping && here && row.and_then(|slot| slot.row()).is_some_and(|row| row == lost.row)
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        let mut said = Vec::new();
        let (peers, running) = (&self.peers, &self.running);
        let members = |name: ReplicaName| -> Vec<Member> {
            let known = running.get(&name.shard).map(|running| &running.replica.state().members);
            let others = known.into_iter().flat_map(Members::all).filter(|id| *id != name.replica);
            others.filter_map(|id| Some((id, peers.home(name.shard, id)?))).collect()
        };
        let hopeless = self.repairs.ask(members, &mut said);
        for one in &hopeless {
            tracing::error!(name = %one.lost.name, place = %one.lost.row.position, "no other member has a value that is damaged here");
        }
        ended.extend(hopeless);
        said.into_iter()
            .for_each(|(to, message)| out.push(Effect::SendMember { to, message }));
        ended
            .into_iter()
            .for_each(|Ended { lost, value }| self.values.mended(&lost, value.as_ref(), out));
        self.log_found(moment.wall);
        Ok(())
    }

    /// A member asks for a value.
    pub(super) fn value_wanted(&mut self, from: PeerName, message: MemberMessage, out: &mut Effects) -> Result<(), Halt> {
        let MemberBody::Want { version, key } = &message.body else {
            return Ok(());
        };
        let Some(name) = self.addressed(from, &message) else {
            return Ok(());
        };
        match self.held_value(name, key, *version)? {
            // Not an answer that would be false: who asks waits its patience out, then asks the next.
            Some(_) if !self.givings.has_room() => {}
            Some(lost) => {
                let length = effect_length(lost.key.len(), lost.row.size);
                let (effect, ticket) = self.tickets.read(lost.row.position, length);
                out.push(effect);
                let giving = Giving {
                    to: from,
                    asked: message,
                    lost,
                };
                self.givings.reading(ticket, giving);
            }
            None => answer(from, &message, MemberBody::HaveNot, out),
        }
        Ok(())
    }

    /// A member has answered.
    pub(super) fn value_answered(&mut self, now: Nanos, from: PeerName, message: &MemberMessage, out: &mut Effects) {
        if self.addressed(from, message).is_none() {
            return;
        }
        match self.repairs.hear(message, self.cluster, self.planted) {
            Ok(Some(found)) => self.values.mended(&found.lost, found.value.as_ref(), out),
            Ok(None) => {}
            Err(Senseless) => {
                if self.peers.may_complain(from, now) {
                    tracing::warn!(
                        shard = message.shard.0,
                        node = from.node.0,
                        "a member sent another value than the one asked for"
                    );
                }
            }
        }
    }

    /// A value that a member wants was read.
    pub(super) fn value_read(&mut self, (ticket, result): (ReadTicket, Result<Bytes, LogReadFault>), out: &mut Effects) {
        let Some(giving) = self.givings.take(ticket) else { return };
        let body = giving.answer(self.cluster, result);
        // Where it is damaged here too, whoever needs it here will find that: two who asked each other for it would never end.
        self.repairs.counters.given += u64::from(matches!(body, MemberBody::Have { .. }));
        answer(giving.to, &giving.asked, body, out);
    }

    /// A copy of a mended value is durable.
    pub(super) fn mended_durable(&mut self, name: ReplicaName, copy: &CopiedRow, moved: bool) {
        self.repairs.logged(name, &copy.key, copy.row.version, moved);
        // Images are made of what the index holds durably.
        self.generations.hurry(Urgency::Now);
    }

    /// The replica here that a member speaks to, if the member lives where it speaks from.
    fn addressed(&self, from: PeerName, message: &MemberMessage) -> Option<ReplicaName> {
        let name = self.running.get(&message.shard)?.replica.name();
        let sound = name.replica == message.to && self.peers.home(message.shard, message.from) == Some(from);
        sound.then_some(name)
    }

    /// Exactly this version of a key, as the index has it.
    fn held_value(&self, name: ReplicaName, key: &Bytes, version: Version) -> Result<Option<Lost>, Halt> {
        let Some(space) = self.running.get(&name.shard).map(|running| running.replica.space) else {
            return Ok(None);
        };
        let row = self.index.get(space, key)?.and_then(|slot| slot.row());
        let held = row.filter(|row| row.version == version || self.planted.repair_unchecked());
        Ok(held.map(|row| Lost {
            name,
            space,
            key: key.clone(),
            row,
        }))
    }

    /// What was found goes into the batch that is about to be written, in the turn in which it was seen to be what the index points to.
    fn log_found(&mut self, wall: Nanos) {
        if self.log.in_flight() || !self.log.has_room() {
            return;
        }
        // Where the disk is full only the oldest segment can make room, once what lives in it has been copied: mended or not.
        let oldest = self.log.oldest_segment();
        if self.room.is_full() {
            self.repairs.drop_found(|lost| lost.row.position.segment != oldest);
        }
        while let Some((lost, value)) = self.repairs.take_found(|lost| {
            let bytes = effect_length(lost.key.len(), lost.row.size);
            fits_ahead(&self.log, bytes.saturating_add(ENTRY_DATA_HEADER_BYTES), true, self.room.is_low())
        }) {
            let data = value_data((self.cluster, lost.name.shard), &lost.key, &lost.row, &value);
            let rows = EntryData::parse(&data).map(|data| rows_of(&data)).unwrap_or_default();
            let from = |row: CopiedRow| CopiedRow {
                from: lost.row.position,
                ..row
            };
            let copied = Copied {
                purpose: Purpose::Repair,
                name: lost.name,
                space: lost.space,
                rows: rows.into_iter().map(from).collect(),
            };
            self.copies.push(&mut self.log, copied, data, wall);
        }
    }
}

fn answer(to: PeerName, asked: &MemberMessage, body: MemberBody, out: &mut Effects) {
    let message = MemberMessage {
        shard: asked.shard,
        from: asked.to,
        to: asked.from,
        attempt: asked.attempt,
        body,
    };
    out.push(Effect::SendMember { to, message });
}
