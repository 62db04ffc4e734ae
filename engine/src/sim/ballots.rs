//! Ballots that come late: a member that has come back to its leader is told of a vote it was asked about before.
//!
//! ```text
//!   Answers ────────► Candidate ─────────► Tenure ───────────► Election ──────► over
//!   both followers    nobody hears the     one hears it again  nobody hears it;
//!   are to answer     leader; votes and    and is to give it   what was held back
//!                     refusals are held    tenure              arrives
//! ```
//! A refusal of a higher term makes raft forget its leader, though it has promised that leader to elect nobody for a while; the vote
//! that comes next finds it free. Links do no more here than lose, double, hold back and reorder, only at the worst moments, and
//! messages of one shard alone.
//!
//! Not here, on purpose: links as such (`network`), when this begins (`nemesis`), who may have tenure (`check::single_leader`).

use std::collections::BTreeMap;

use margate_net::ids::{Incarnation, ReplicaId, ShardId, Term};
use margate_net::message::{PeerBatch, PeerMessage, PeerMessageKind};

use super::faults::Fault;
use super::node::Place;
use super::world::{Happening, World};
use crate::consensus::group::Role;
use crate::core::event::PeerName;
use crate::shard::replica::Replica;
use crate::types::Nanos;

/// Members of the shards this is for.
const MEMBERS: usize = 3;
/// How often is looked, in parts of a tick.
const LOOKS_PER_TICK: u64 = 4;
/// Ticks after which it is given up.
const TICKS_MAX: u64 = 50;
/// Ticks for which the old leader hears nothing in the end: longer than tenure lasts.
const TICKS_LAST: u64 = 12;

/// See the module's text.
pub(crate) struct LateBallots {
    shard: ShardId,
    leader: ReplicaId,
    term: Term,
    until: Nanos,
    looks: u64,
    stage: Stage,
    /// The newest answer to a heartbeat of each follower, which keeps the leader from stepping down when it comes again.
    answers: BTreeMap<ReplicaId, Held>,
    held: Vec<Held>,
}

/// What is awaited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Answers,
    Candidate,
    Tenure { follower: ReplicaId },
    Election,
}

/// A message on its way.
#[derive(Clone)]
struct Held {
    from: (PeerName, Incarnation),
    to: PeerName,
    /// With one message.
    batch: PeerBatch,
}

/// What becomes of a message.
enum Fate {
    Passes,
    IsLost,
    IsHeld,
}

impl World {
    /// Ballots of a shard will come late, if one can be found that is led with tenure.
    pub(crate) fn delay_ballots(&mut self) {
        let led = |node: usize| {
            let now = self.nodes[node].clock.monotonic(self.now());
            let replicas = self.nodes[node].replicas();
            replicas.filter(move |replica| replica.has_tenure(now) && is_plain(replica))
        };
        let found: Vec<_> = (0..self.nodes.len())
            .flat_map(led)
            .map(|replica| (replica.name(), replica.group().term()))
            .collect();
        if self.ballots.is_some() || found.is_empty() {
            return;
        }
        let (name, term) = *self.dice.pick(&found);
        self.ballots = Some(LateBallots {
            shard: name.shard,
            leader: name.replica,
            term,
            until: self.in_ticks(TICKS_MAX),
            looks: 0,
            stage: Stage::Answers,
            answers: BTreeMap::new(),
            held: Vec::new(),
        });
        self.schedule.after(Nanos(0), Happening::Ballots);
    }

    /// Goes on as far as what is awaited has come.
    pub(crate) fn ballots_step(&mut self) {
        let Some(mut ballots) = self.ballots.take() else { return };
        if self.settle.has_begun() || self.now() >= ballots.until {
            return;
        }
        match ballots.stage {
            Stage::Answers if ballots.answers.len() == MEMBERS - 1 => ballots.stage = Stage::Candidate,
            Stage::Candidate => {
                if ballots.looks.is_multiple_of(LOOKS_PER_TICK) {
                    self.deliver(ballots.answers.values().cloned().collect(), Nanos(0));
                }
                if let Some(follower) = ballots.refused() {
                    ballots.stage = Stage::Tenure { follower };
                }
            }
            Stage::Tenure { .. } if self.has_tenure(&ballots) => {
                self.faults.count(Fault::LateBallots);
                let (votes, refusals) = std::mem::take(&mut ballots.held).into_iter().partition(Held::is_vote);
                self.deliver(refusals, Nanos(0));
                // After all of them, each with the turn it leads to.
                self.deliver(votes, Nanos(self.options.network.latency.1.0 * 2));
                (ballots.stage, ballots.until) = (Stage::Election, self.in_ticks(TICKS_LAST));
            }
            Stage::Answers | Stage::Tenure { .. } | Stage::Election => {}
        }
        ballots.looks += 1;
        self.ballots = Some(ballots);
        self.schedule.after(Nanos(self.options.tick.0 / LOOKS_PER_TICK), Happening::Ballots);
    }

    /// What is left of a batch that somebody sends.
    pub(crate) fn overhear(&mut self, from: (PeerName, Incarnation), to: PeerName, mut batch: PeerBatch) -> PeerBatch {
        let Some(ballots) = &mut self.ballots else { return batch };
        let messages = std::mem::take(&mut batch.messages);
        for message in messages {
            let alone = |message: &PeerMessage| Held {
                from,
                to,
                batch: PeerBatch {
                    messages: vec![message.clone()],
                    ..batch.clone()
                },
            };
            if ballots.is_answer(&message) {
                ballots.answers.insert(message.from, alone(&message));
            }
            match ballots.fate(&message) {
                Fate::Passes => batch.messages.push(message),
                Fate::IsLost => {}
                Fate::IsHeld => ballots.held.push(alone(&message)),
            }
        }
        batch
    }

    fn deliver(&mut self, held: Vec<Held>, later: Nanos) {
        for Held { from, to, batch } in held {
            for batch in self.wire.peer(batch) {
                let span = self.network.latency(&mut self.dice).plus(later);
                let what = Happening::Peer {
                    place: Place::of(to),
                    from: from.0,
                    incarnation: from.1,
                    batch,
                };
                self.schedule.after(span, what);
            }
        }
    }

    fn has_tenure(&self, ballots: &LateBallots) -> bool {
        let has = |node: usize| {
            let now = self.nodes[node].clock.monotonic(self.now());
            let mut replicas = self.nodes[node].replicas();
            replicas.any(|replica| ballots.is_leader(replica) && replica.has_tenure(now))
        };
        (0..self.nodes.len()).any(has)
    }

    fn in_ticks(&self, ticks: u64) -> Nanos {
        self.now().plus(Nanos(self.options.tick.0 * ticks))
    }
}

impl LateBallots {
    fn fate(&self, message: &PeerMessage) -> Fate {
        if message.shard != self.shard {
            return Fate::Passes;
        }
        let other = match (message.from == self.leader, message.to == self.leader) {
            (true, _) => Some(message.to),
            (_, true) => Some(message.from),
            (false, false) => None,
        };
        let beat = matches!(message.kind, PeerMessageKind::Heartbeat | PeerMessageKind::HeartbeatResponse);
        match (self.stage, other) {
            (Stage::Answers, _) | (Stage::Election, None) => Fate::Passes,
            (Stage::Tenure { follower }, Some(other)) if beat && other == follower => Fate::Passes,
            (Stage::Candidate | Stage::Tenure { .. } | Stage::Election, Some(_)) => Fate::IsLost,
            (Stage::Candidate | Stage::Tenure { .. }, None) if is_vote(message) || is_refusal(message) => Fate::IsHeld,
            (Stage::Candidate | Stage::Tenure { .. }, None) => Fate::Passes,
        }
    }

    fn is_answer(&self, message: &PeerMessage) -> bool {
        let of_leader = message.shard == self.shard && message.to == self.leader && message.term == self.term;
        of_leader && self.stage == Stage::Answers && message.kind == PeerMessageKind::HeartbeatResponse
    }

    /// Who is asked for its vote and was refused one, if it is one alone.
    fn refused(&self) -> Option<ReplicaId> {
        let votes = || self.held.iter().filter(|held| held.is_vote()).flat_map(|held| &held.batch.messages);
        let asked = votes().next()?.to;
        let refused = self
            .held
            .iter()
            .flat_map(|held| &held.batch.messages)
            .any(|held| is_refusal(held) && held.to == asked);
        (refused && votes().all(|vote| vote.to == asked)).then_some(asked)
    }

    fn is_leader(&self, replica: &Replica) -> bool {
        let group = replica.group();
        (replica.name().shard, replica.name().replica, group.term()) == (self.shard, self.leader, self.term)
    }
}

impl Held {
    fn is_vote(&self) -> bool {
        self.batch.messages.iter().any(is_vote)
    }
}

/// Whether three members vote and no change is under way.
fn is_plain(replica: &Replica) -> bool {
    let members = &replica.state().members;
    members.voters.len() == MEMBERS && !members.is_joint() && replica.group().role() == Role::Leader
}

fn is_vote(message: &PeerMessage) -> bool {
    message.kind == PeerMessageKind::Vote
}

fn is_refusal(message: &PeerMessage) -> bool {
    message.kind == PeerMessageKind::PreVoteResponse && message.reject
}
