//! Repairs: a value whose record is damaged here is fetched from another member of its shard.
//!
//! ```text
//!   wanted ──► ask a member ──(has it)──► found ──(queued for the log)──► logging ──(durable, pointer moved)──► mended
//!                ▲     │ has it not, or is silent for too long
//!                └─────┘ the next member; after some rounds of all of them it is given up
//! ```
//! Invariants: a value is known by key and version, and taken only if its hash is the one in the index row; one member is asked at a
//! time; how many repairs are under way, and how many are carried out for others, is bounded. A repair that is given up may be
//! wanted again by whoever meets the damage again.
//!
//! Not here, on purpose: finding damage (`values`, `reclaim`, `image`), and the way of a copy into log and index (`copies`, `mending`).

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_net::ids::{ClusterId, ReplicaId, ShardId, Space, Version};
use margate_net::message::{MemberBody, MemberMessage};

use super::event::{LogReadFault, PeerName, ReadTicket};
use crate::index::row::Row;
use crate::limits;
use crate::log::effects::{EffectKind, EntryData, EntryDataBuilder, ExpectedEffect, read_effect};
use crate::planted::Planted;
use crate::types::{Nanos, ReplicaName, ValueHash};

/// A value whose record is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) name: ReplicaName,
    pub(super) space: Space,
    pub(super) key: Bytes,
    /// What the index says of it.
    pub(super) row: Row,
}

/// So many repairs are under way that this one must wait; whoever wants it asks again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} repairs are under way already, this one has to wait for one of them", limits::REPAIRS_MAX)]
pub(super) struct RepairsFull;

/// What repairs have done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Questions to members.
    pub asked: u64,
    /// Values given to members.
    pub given: u64,
    /// Values taken from members, durable and pointed to.
    pub taken: u64,
    /// Answers that were not the value asked for.
    pub senseless: u64,
    /// Repairs given up, for nobody had the value.
    pub given_up: u64,
    /// Repairs not begun, for too many were under way.
    pub refused: u64,
}

/// How one repair ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) lost: Lost,
    /// The value, if a member had it.
    pub(super) value: Option<Bytes>,
}

/// A member that is asked for a value, and where it lives.
pub(super) type Member = (ReplicaId, PeerName);

#[derive(Debug)]
enum Stage {
    /// The next member is to be asked.
    Ask,
    /// This member was asked, and has so many ticks left.
    ExpectAnswer { from: ReplicaId, ticks: u32 },
    /// The value is here; the log has yet to take it.
    Found(Bytes),
    /// The log has it; whoever meets the damage before the copy is durable is given it too.
    Logging(Bytes),
}

#[derive(Debug)]
struct Repair {
    lost: Lost,
    stage: Stage,
    /// The member that was asked last in this round.
    asked: Option<ReplicaId>,
    rounds: u32,
}

/// See the module's text. The repairs of one core, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    under_way: BTreeMap<u64, Repair>,
    last_number: u64,
    pub(super) counters: Repaired,
}

/// Values that other members want, on their way from the log.
#[derive(Debug, Default)]
pub(super) struct Givings {
    reading: BTreeMap<ReadTicket, Giving>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Giving {
    pub(super) to: PeerName,
    /// What was asked.
    pub(super) asked: MemberMessage,
    pub(super) lost: Lost,
}

impl Repairs {
    /// Begins a repair, if it is not under way. The value, where one that is has it already.
    ///
    /// # Errors
    /// [`RepairsFull`]: ask again later.
    pub(super) fn want(&mut self, lost: Lost) -> Result<Option<Bytes>, RepairsFull> {
        if let Some(repair) = self.under_way.values().find(|repair| repair.is_of(&lost)) {
            return Ok(match &repair.stage {
                Stage::Found(value) | Stage::Logging(value) => Some(value.clone()),
                Stage::Ask | Stage::ExpectAnswer { .. } => None,
            });
        }
        if self.under_way.len() >= limits::REPAIRS_MAX {
            self.counters.refused += 1;
            return Err(RepairsFull);
        }
        self.last_number += 1;
        let repair = Repair {
            lost,
            stage: Stage::Ask,
            asked: None,
            rounds: 0,
        };
        self.under_way.insert(self.last_number, repair);
        Ok(None)
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// A tick: who was asked has one less to answer in.
    pub(super) fn tick(&mut self) {
        for repair in self.under_way.values_mut() {
            if let Stage::ExpectAnswer { ticks, .. } = &mut repair.stage {
                *ticks -= 1;
                if *ticks == 0 {
                    repair.stage = Stage::Ask;
                }
            }
        }
    }

    /// Ends the repairs that this does not want any more.
    pub(super) fn keep(&mut self, mut wanted: impl FnMut(&Lost) -> bool) -> Vec<Ended> {
        let gone = self.under_way.extract_if(.., |_, repair| !wanted(&repair.lost));
        gone.map(|(_, repair)| repair.end(None)).collect()
    }

    /// Asks the next member wherever one is to be asked; ends what nobody has.
    pub(super) fn ask(&mut self, members: impl Fn(ReplicaName) -> Vec<Member>, said: &mut Vec<(PeerName, MemberMessage)>) -> Vec<Ended> {
        let counters = &mut self.counters;
        let hopeless = self.under_way.extract_if(.., |number, repair| {
            if !matches!(repair.stage, Stage::Ask) {
                return false;
            }
            let Some((member, peer)) = repair.next_member(&members(repair.lost.name)) else {
                counters.given_up += 1;
                return true;
            };
            counters.asked += 1;
            said.push((peer, repair.question(*number, member)));
            false
        });
        hopeless.map(|(_, repair)| repair.end(None)).collect()
    }

    /// A member has answered. The value, and whose it is, if that is what was asked for; `Err` if it makes no sense.
    ///
    /// # Errors
    /// [`Senseless`]: the answer is not the value asked for; the next member is asked.
    pub(super) fn hear(&mut self, message: &MemberMessage, cluster: ClusterId, planted: Planted) -> Result<Option<Ended>, Senseless> {
        let Some(repair) = self.under_way.get_mut(&message.attempt) else {
            return Ok(None);
        };
        let name = ReplicaName {
            shard: message.shard,
            replica: message.to,
        };
        let expected = matches!(repair.stage, Stage::ExpectAnswer { from, .. } if from == message.from);
        if !expected || repair.lost.name != name {
            return Ok(None);
        }
        repair.stage = Stage::Ask;
        let MemberBody::Have { data } = &message.body else {
            return Ok(None);
        };
        let Some(value) = wanted_value(&repair.lost, data, cluster, planted) else {
            self.counters.senseless += 1;
            return Err(Senseless);
        };
        repair.stage = Stage::Found(value.clone());
        Ok(Some(Ended {
            lost: repair.lost.clone(),
            value: Some(value),
        }))
    }

    /// What was found and fits the log, the oldest first; it counts as handed to it.
    pub(super) fn take_found(&mut self, mut fits: impl FnMut(&Lost) -> bool) -> Option<(Lost, Bytes)> {
        let mut found = self.under_way.values_mut().filter(|repair| matches!(repair.stage, Stage::Found(_)));
        let repair = found.find(|repair| fits(&repair.lost))?;
        let value = match &repair.stage {
            Stage::Found(value) => value.clone(),
            Stage::Ask | Stage::ExpectAnswer { .. } | Stage::Logging(_) => return None,
        };
        repair.stage = Stage::Logging(value.clone());
        Some((repair.lost.clone(), value))
    }

    /// Gives up what was found and has not been handed to the log: who waited for it has it, and its place is needed.
    pub(super) fn drop_found(&mut self, drops: impl Fn(&Lost) -> bool) {
        self.under_way
            .retain(|_, repair| !matches!(repair.stage, Stage::Found(_)) || !drops(&repair.lost));
    }

    /// A value's copy is durable, and pointed to if it was still wanted.
    pub(super) fn logged(&mut self, name: ReplicaName, key: &[u8], version: Version, moved: bool) {
        self.counters.taken += u64::from(moved);
        let ended = |repair: &Repair| {
            let lost = &repair.lost;
            matches!(repair.stage, Stage::Logging(_)) && (lost.name, lost.row.version) == (name, version) && lost.key == key
        };
        self.under_way.retain(|_, repair| !ended(repair));
    }
}

/// An answer that is not the value asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Senseless;

impl Repair {
    fn is_of(&self, lost: &Lost) -> bool {
        (self.lost.name, self.lost.space, &self.lost.key) == (lost.name, lost.space, &lost.key) && self.lost.row.version == lost.row.version
    }

    /// The member after the one asked last; in the end there is none.
    fn next_member(&mut self, members: &[Member]) -> Option<Member> {
        while self.rounds < limits::REPAIR_ROUNDS {
            let after = members.iter().filter(|(member, _)| self.asked.is_none_or(|asked| *member > asked));
            if let Some(next) = after.min_by_key(|(member, _)| *member) {
                self.asked = Some(next.0);
                return Some(*next);
            }
            (self.asked, self.rounds) = (None, self.rounds + 1);
        }
        None
    }

    fn question(&mut self, number: u64, member: ReplicaId) -> MemberMessage {
        self.stage = Stage::ExpectAnswer {
            from: member,
            ticks: limits::REPAIR_PATIENCE_TICKS,
        };
        MemberMessage {
            shard: self.lost.name.shard,
            from: self.lost.name.replica,
            to: member,
            attempt: number,
            body: MemberBody::Want {
                version: self.lost.row.version,
                key: self.lost.key.clone(),
            },
        }
    }

    fn end(self, value: Option<Bytes>) -> Ended {
        Ended { lost: self.lost, value }
    }
}

impl Givings {
    /// Whether one more may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.reading.len() < limits::REPAIR_GIVINGS_MAX
    }

    /// A value that a member wants is being read.
    pub(super) fn reading(&mut self, ticket: ReadTicket, giving: Giving) {
        self.reading.insert(ticket, giving);
    }

    /// Whether a read is one of its own.
    pub(super) fn reads_with(&self, ticket: ReadTicket) -> bool {
        self.reading.contains_key(&ticket)
    }

    /// A read is done.
    pub(super) fn take(&mut self, ticket: ReadTicket) -> Option<Giving> {
        self.reading.remove(&ticket)
    }
}

impl Giving {
    /// What to answer; that it is not here if what was read is not it.
    pub(super) fn answer(&self, cluster: ClusterId, result: Result<Bytes, LogReadFault>) -> MemberBody {
        let Lost { name, key, row, .. } = &self.lost;
        let expected = ExpectedEffect {
            cluster,
            shard: name.shard,
            key,
            version: row.version,
        };
        let read = result.ok();
        let effect = read.as_ref().and_then(|bytes| read_effect(bytes, &expected).ok());
        match effect.filter(|effect| effect.kind == EffectKind::Put) {
            Some(effect) => MemberBody::Have {
                data: value_data((cluster, name.shard), key, row, effect.value),
            },
            None => MemberBody::HaveNot,
        }
    }
}

/// A value as one effect, as it goes over the wire and into the log.
pub(super) fn value_data((cluster, shard): (ClusterId, ShardId), key: &[u8], row: &Row, value: &[u8]) -> Bytes {
    let mut data = EntryDataBuilder::new(cluster, shard, Nanos(0));
    data.put(key, value, row.version, row.hash);
    data.finish().into()
}

/// The value in an answer, if it is the one that is lost: the index row has its key, version, size and hash.
fn wanted_value(lost: &Lost, data: &Bytes, cluster: ClusterId, planted: Planted) -> Option<Bytes> {
    let entry = EntryData::parse(data).ok()?;
    let mut effects = entry.effects();
    let (offset, effect) = effects.next()?;
    if planted.repair_unchecked() {
        return Some(data.slice_ref(effect.value));
    }
    let expected = ExpectedEffect {
        cluster,
        shard: lost.name.shard,
        key: &lost.key,
        version: lost.row.version,
    };
    let effect = read_effect(data.get(offset as usize..)?, &expected).ok()?;
    let alone = effects.next().is_none() && effect.kind == EffectKind::Put;
    let same = effect.value.len() as u64 == lost.row.size && ValueHash::of(effect.value) == lost.row.hash;
    (alone && same).then(|| data.slice_ref(effect.value))
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
