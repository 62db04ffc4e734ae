//! A leader by hand: when may an answer that reveals state leave?

use bytes::Bytes;
use margate_net::codec::OperationKind;
use margate_net::error::Refusal;
use margate_net::ids::{ClusterId, LogIndex, MemberEpoch, RangeEpoch, ReplicaId, ShardId, Space, Term, Version};
use margate_net::message::{Operation, PeerMessage, PeerMessageKind, Precondition, Request, Returning, Success};

use crate::consensus::group::{Group, GroupConfig, RaftTicks, entry_parts};
use crate::consensus::tenure::Tenure;
use crate::consensus::window::{BatchPlace, Place, RestoredLog};
use crate::index::memory::{MemoryReader, MemoryStore};
use crate::index::view::Index;
use crate::planted::Planted;
use crate::shard::answer::{Answer, Asked, ConnectionId, Ticket};
use crate::shard::apply::AppliedValues;
use crate::shard::members::Members;
use crate::shard::replica::{Replica, ReplicaParts};
use crate::shard::state::ShardState;
use crate::shard::tally::Tally;
use crate::types::{Nanos, Position, ReplicaName};

const SHARD: ShardId = ShardId(1);
const LATER: Nanos = Nanos(1_000);

struct NoCache;

impl AppliedValues for NoCache {
    fn applied(&mut self, _: Position, _: &Bytes) {}
}

/// Replica 1 of three; the test speaks for replica 2.
struct Leader {
    replica: Replica,
    index: Index<MemoryReader>,
    answers: Vec<Answer>,
    sent: Vec<PeerMessage>,
    tally: Tally,
}

impl Leader {
    /// Elected in term 1, its first entry applied.
    fn elected() -> Self {
        let mut leader = Self::started();
        while leader.sent.is_empty() {
            leader.replica.tick(LATER, &mut leader.answers);
            leader.turn();
        }
        leader.hear(PeerMessageKind::PreVoteResponse, LogIndex(0));
        leader.hear(PeerMessageKind::VoteResponse, LogIndex(0));
        leader.hear(PeerMessageKind::AppendResponse, LogIndex(1));
        assert!(leader.replica.is_ready(), "the leader's first entry is applied");
        leader
    }

    fn started() -> Self {
        let voters: Vec<_> = (1..=3).map(ReplicaId).collect();
        let name = ReplicaName {
            shard: SHARD,
            replica: ReplicaId(1),
        };
        let config = GroupConfig {
            name,
            members: Members::of(voters.clone()),
            ticks: RaftTicks::of_election(10),
            keeps_promises: true,
            steps_lost: false,
            quiet_start: false,
            preferred: true,
            seed: 1,
        };
        let state = ShardState {
            low: Bytes::new(),
            high: Bytes::new(),
            range_epoch: RangeEpoch(1),
            member_epoch: MemberEpoch(1),
            members: Members::of(voters),
            version_high: Version(0),
            clock: Nanos(0),
        };
        let parts = ReplicaParts {
            cluster: ClusterId(1),
            space: Space(1),
            group: Group::new(&config, RestoredLog::default()),
            tenure: Tenure::new(10, Nanos(0), Planted::NONE),
            state,
            applied: (LogIndex(0), Term(0)),
            homes: Vec::new(),
            planted: Planted::NONE,
        };
        Self {
            replica: Replica::new(parts),
            index: Index::new(MemoryStore::new().reader()),
            answers: Vec::new(),
            sent: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// A turn whose flush is durable at once.
    fn turn(&mut self) {
        let (replica, index, answers) = (&mut self.replica, &mut self.index, &mut self.answers);
        let tally = &mut self.tally;
        replica
            .propose_queued(LATER, LATER, index, tally, answers)
            .expect("the index is in memory");
        replica.confirm_reads(Nanos(0));
        while let Some(progress) = replica.progress(Nanos(0), answers) {
            for entry in &progress.entries {
                let (term, at, _, _) = entry_parts(entry);
                let place = Place {
                    data: Position::default(),
                    batch: BatchPlace::default(),
                };
                replica.group.place(at, term, place);
            }
            self.sent.extend(progress.now);
            self.sent.extend(progress.once_durable);
            replica.group.persisted(progress.number);
            let applied = replica.apply(Nanos(0), index, &mut NoCache, tally, answers);
            applied.expect("sound entries");
            let answered = replica.answer_reads(LATER, index, tally, answers);
            answered.expect("the index is in memory");
        }
    }

    /// Replica 2 answers.
    fn hear(&mut self, kind: PeerMessageKind, index: LogIndex) {
        let context = self.last_context();
        let term = self.sent.last().map_or(Term(1), |message| message.term);
        let message = PeerMessage {
            index,
            context,
            ..PeerMessage::bare(SHARD, (ReplicaId(2), ReplicaId(1)), kind, term)
        };
        self.replica.group.step(message).expect("the answer makes sense");
        self.turn();
    }

    /// The context of the last heartbeat sent, which its answer carries.
    fn last_context(&self) -> Bytes {
        let beats = self.sent.iter().rev().filter(|message| message.kind == PeerMessageKind::Heartbeat);
        beats.map(|message| message.context.clone()).next().unwrap_or_default()
    }

    fn set(&mut self, id: u64, precondition: Precondition) {
        self.ask(id, precondition);
        self.turn();
    }

    fn ask(&mut self, id: u64, precondition: Precondition) {
        let ticket = Ticket {
            connection: ConnectionId(1),
            id,
            asked: Asked {
                kind: OperationKind::Set,
                received: LATER,
            },
        };
        let operation = Operation::Set {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            precondition,
            returning: Returning::default(),
        };
        let request = Request {
            id,
            shard: SHARD,
            range_epoch: RangeEpoch(1),
            timeout_ms: 1_000,
            operation,
        };
        self.replica
            .admit(LATER, ticket, request, &self.index, &mut self.answers)
            .expect("the index is in memory");
    }

    fn answered(&self) -> Vec<(u64, Result<Success, Refusal>)> {
        let answers = self.answers.iter();
        answers.map(|answer| (answer.ticket.id, answer.outcome.clone())).collect()
    }
}

fn written(version: u64) -> Result<Success, Refusal> {
    Ok(Success::Written {
        version: Version(version),
        key: None,
        old_value: None,
    })
}

const EXISTS: Result<Success, Refusal> = Err(Refusal::AlreadyExists { version: Version(1) });

#[test]
fn a_refusal_is_not_proven_by_an_entry_proposed_before_it() {
    let mut leader = Leader::elected();
    leader.set(1, Precondition::Always);
    leader.set(2, Precondition::Absent);
    // This may have been on its way for long, and another leader may have been elected since.
    leader.hear(PeerMessageKind::AppendResponse, LogIndex(2));
    assert_eq!(leader.answered(), [(1, written(1))]);
    leader.hear(PeerMessageKind::HeartbeatResponse, LogIndex(0));
    assert_eq!(leader.answered(), [(1, written(1)), (2, EXISTS)]);
}

#[test]
fn a_refusal_waits_for_what_it_rests_on() {
    let mut leader = Leader::elected();
    leader.set(1, Precondition::Always);
    leader.set(2, Precondition::Absent);
    leader.hear(PeerMessageKind::HeartbeatResponse, LogIndex(0));
    assert_eq!(leader.answered(), [], "the set is not committed, so nobody may learn of it");
    leader.hear(PeerMessageKind::AppendResponse, LogIndex(2));
    assert_eq!(leader.answered(), [(1, written(1)), (2, EXISTS)]);
}

#[test]
fn a_refusal_beside_an_effect_is_proven_by_its_entry() {
    let mut leader = Leader::elected();
    leader.ask(1, Precondition::Always);
    leader.ask(2, Precondition::Absent);
    leader.turn();
    leader.hear(PeerMessageKind::AppendResponse, LogIndex(2));
    assert_eq!(leader.answered(), [(1, written(1)), (2, EXISTS)]);
}
