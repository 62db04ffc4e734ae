//! A member takes an image: rows into its log and its index, in a space of their own, until all of it is durable.

use bytes::Bytes;
use margate_net::ids::{LogIndex, ReplicaId, Space, Term};
use margate_net::message::{MemberBody, MemberMessage};

use crate::core::event::PeerName;
use crate::limits;
use crate::log::effects::{EffectKind, EntryData, verify_checksums};
use crate::shard::state::ShardState;
use crate::types::{Nanos, ReplicaName};

/// An image being taken.
#[derive(Debug)]
pub struct Receiving {
    /// Who sends it.
    pub peer: PeerName,
    /// The leader's replica.
    pub leader: ReplicaId,
    /// This replica.
    pub name: ReplicaName,
    /// Its number.
    pub attempt: u64,
    /// The space its rows go to.
    pub space: Space,
    /// The last entry it holds, and its term.
    pub applied: (LogIndex, Term),
    /// The shard's state there.
    pub state: ShardState,
    stage: Stage,
    heard_at: Nanos,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next rows, or the end: everything before this number is durable in the log.
    ExpectRows(u64),
    /// These rows are on their way to the log.
    Logging(u64),
    /// Until the index holds it durably, from this generation on: number and term of the end.
    Settling { generation: u64, number: u64, term: Term },
    /// Raft has it; the log has yet to say so.
    Installing,
}

/// What to do with something the leader said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These rows go to the log.
    Log {
        /// Their number.
        number: u64,
        /// They, checked.
        data: Bytes,
    },
    /// Nothing.
    Nothing,
    /// Answer that this number is taken.
    Said(u64),
    /// All rows are here: the index has to become durable.
    Settle,
    /// The image makes no sense.
    Senseless,
}

impl Receiving {
    /// An image that has begun.
    #[must_use]
    pub fn new(peer: PeerName, message: &MemberMessage, name: ReplicaName, space: Space, now: Nanos) -> Option<Self> {
        let MemberBody::Begin {
            applied,
            applied_term,
            state,
        } = &message.body
        else {
            return None;
        };
        // Raft panics over members that make no sense.
        let state = ShardState::decode(state).ok().filter(|state| state.members.is_sound())?;
        Some(Self {
            peer,
            leader: message.from,
            name,
            attempt: message.attempt,
            space,
            applied: (*applied, *applied_term),
            state,
            stage: Stage::ExpectRows(1),
            heard_at: now,
        })
    }

    /// Whether its leader has said nothing for too long.
    #[must_use]
    pub fn is_stale(&self, now: Nanos) -> bool {
        let waits = matches!(self.stage, Stage::ExpectRows(_));
        waits && now.since(self.heard_at) >= limits::IMAGE_PATIENCE
    }

    /// Whether all of it is here, so that it comes into force or ends by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Settling { .. } | Stage::Installing)
    }

    /// Takes what the leader said of this attempt.
    pub fn hear(&mut self, now: Nanos, body: &MemberBody) -> Step {
        self.heard_at = now;
        match (self.stage, body) {
            (Stage::ExpectRows(next), MemberBody::Begin { .. }) => Step::Said(next - 1),
            (Stage::ExpectRows(next), MemberBody::Rows { number, data }) => {
                if *number < next {
                    Step::Said(next - 1)
                } else if *number > next {
                    Step::Nothing
                } else if self.is_sound(data) {
                    self.stage = Stage::Logging(next);
                    Step::Log {
                        number: next,
                        data: data.clone(),
                    }
                } else {
                    Step::Senseless
                }
            }
            (Stage::ExpectRows(next), MemberBody::End { number, term }) if *number == next => {
                self.stage = Stage::Settling {
                    generation: u64::MAX,
                    number: next,
                    term: *term,
                };
                Step::Settle
            }
            // Said again while it is being worked on; the answer comes by itself.
            (Stage::ExpectRows(_) | Stage::Logging(_) | Stage::Settling { .. } | Stage::Installing, _) => Step::Nothing,
        }
    }

    /// Rows are durable in the log and applied. The number to answer, if they were the ones awaited.
    pub fn logged(&mut self, number: u64) -> Option<u64> {
        (self.stage == Stage::Logging(number)).then(|| {
            self.stage = Stage::ExpectRows(number + 1);
            number
        })
    }

    /// The generation that will hold all rows.
    pub fn settle(&mut self, settled_by: u64) {
        if let Stage::Settling { generation, .. } = &mut self.stage {
            *generation = settled_by;
        }
    }

    /// Number and term of the end, once the index holds everything durably.
    pub fn settled(&mut self, durable: u64) -> Option<(u64, Term)> {
        match self.stage {
            Stage::Settling { generation, number, term } if generation <= durable => {
                self.stage = Stage::Installing;
                Some((number, term))
            }
            Stage::ExpectRows(_) | Stage::Logging(_) | Stage::Settling { .. } | Stage::Installing => None,
        }
    }

    /// An answer to the leader.
    #[must_use]
    pub fn say(&self, body: MemberBody) -> MemberMessage {
        MemberMessage {
            shard: self.name.shard,
            from: self.name.replica,
            to: self.leader,
            attempt: self.attempt,
            body,
        }
    }

    fn is_sound(&self, data: &[u8]) -> bool {
        let Ok(rows) = EntryData::parse(data) else { return false };
        let fits = |key: &[u8]| self.state.contains(key) && key.len() <= margate_net::limits::KEY_BYTES_MAX;
        let sound = rows
            .effects()
            .all(|(_, effect)| effect.kind == EffectKind::Put && fits(effect.key) && effect.version <= self.state.version_high);
        sound && verify_checksums(data).is_ok()
    }
}
