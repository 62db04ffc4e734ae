//! What a core has measured of operations whose every moment is known.

use bytes::Bytes;
use margate_net::codec::{OperationKind, ReceivedRequest};
use margate_net::error::{ArgumentFault, Refusal};
use margate_net::measure::{Number, ReadStage, Span, Stage};
use margate_net::message::{Operation, Readiness};

use super::driven::Driven;
use super::peers::{Append, Peer};
use crate::core::event::Event;
use crate::shard::answer::ConnectionId;
use crate::types::Nanos;

const MS: u64 = 1_000_000;

/// A core alone, which leads its two shards and has done nothing else.
fn leader() -> Driven {
    let mut core = Driven::created(1, &["m"]);
    core.tick(30);
    core.pass(10);
    core.take_replies();
    core
}

/// How many, and how long all together, in milliseconds.
fn measured(core: &Driven, span: Span) -> (u64, u64) {
    let measures = core.core.measures();
    let times = measures.times.get(span);
    (times.count(), times.sum() / MS)
}

fn writes(core: &Driven) -> [(u64, u64); 7] {
    let stages = [
        Stage::Routed,
        Stage::Resolved,
        Stage::Proposed,
        Stage::Appended,
        Stage::Durable,
        Stage::Committed,
        Stage::Applied,
    ];
    stages.map(|stage| measured(core, Span::Write(stage)))
}

fn number(core: &Driven, number: Number) -> u64 {
    core.core.measures().numbers.get(number)
}

#[test]
fn the_gaps_of_a_write_are_those_it_had() {
    let mut core = leader();
    assert_eq!(writes(&core), [(0, 0); 7], "entries of its own are no operations");
    let flushes = measured(&core, Span::LogFlush).0;
    let first = core.set_event(1, "a", b"1");
    core.wait(3);
    core.turn([first]);
    // These two wait for the flush under way; one batch then holds both.
    let (second, third) = (core.set_event(1, "b", b"2"), core.set_event(1, "c", b"3"));
    core.wait(1);
    core.turn([second, third]);
    core.wait(5);
    core.turn_after_answers([]);
    core.wait(7);
    core.turn_after_answers([]);
    assert_eq!(core.take_replies().len(), 3);
    let (routed, resolved, committed) = ((3, 3 + 2), (3, 2 * 5), (3, (1 + 5) + 2 * 7));
    let at_once = (3, 0);
    assert_eq!(
        writes(&core),
        [routed, resolved, at_once, at_once, at_once, committed, at_once],
        "the disk of this core writes in no time, its answers are heard in turns"
    );
    assert_eq!(measured(&core, Span::LogFlush).0, flushes + 2);
    assert_eq!(number(&core, Number::EntriesProposed), 2);
    assert_eq!(core.core.measures().outcomes.of_kind(OperationKind::Set), 3);
}

#[test]
fn the_times_of_a_write_to_the_log_are_its_drivers() {
    let mut core = leader();
    core.holds_writes = true;
    let set = core.set_event(1, "a", b"1");
    core.turn([set]);
    let sequence = core.core.log.next_sequence();
    core.disk.finish_write().expect("it was begun");
    // The driver saw it begin two milliseconds after the turn and end six after that; the core hears of it four later.
    let began = core.now().plus(Nanos(2 * MS));
    let ended = began.plus(Nanos(6 * MS));
    core.wait(12);
    core.holds_writes = false;
    core.turn([Event::Flushed {
        sequence,
        lasted: (began, ended),
    }]);
    assert_eq!(writes(&core)[3..], [(1, 2), (1, 6), (1, 4), (1, 0)]);
}

#[test]
fn the_gaps_of_reads_are_those_they_had() {
    let mut core = leader();
    core.set(1, "a", b"a value that the cache keeps");
    core.set(1, "large", &[7; 20 << 10]);
    let reads = |core: &Driven| [ReadStage::Routed, ReadStage::Confirmed, ReadStage::Found].map(|stage| measured(core, Span::Read(stage)));
    assert_eq!(reads(&core), [(0, 0); 3]);
    let get = |key: &'static str| Operation::Get {
        key: Bytes::from_static(key.as_bytes()),
        version: margate_net::message::ReadVersion::Latest,
        consistency: margate_net::message::Consistency::Linearizable,
        returning: margate_net::message::Returning::default(),
    };
    let cached = core.request(1, get("a"));
    let missing = core.request(1, get("b"));
    core.wait(2);
    core.take_replies();
    core.turn_after_answers([cached, missing]);
    assert_eq!((reads(&core), core.take_replies().len()), ([(2, 4), (2, 0), (2, 0)], 2));
    let (hits, misses) = (number(&core, Number::CacheHits), number(&core, Number::CacheMisses));
    let large = core.request(1, get("large"));
    core.turn_after_answers([large]);
    // It lies in the log, and is too large for the cache.
    core.wait(9);
    while core.take_replies().is_empty() {
        core.turn_after_answers([]);
    }
    assert_eq!(reads(&core), [(3, 4), (3, 0), (3, 9)]);
    assert_eq!(
        (number(&core, Number::CacheHits), number(&core, Number::CacheMisses)),
        (hits, misses + 1)
    );
    assert!(number(&core, Number::LogReadBytes) >= 20 << 10);
    assert!(number(&core, Number::ReadsByTenure) + number(&core, Number::ReadsByRound) >= 3);
}

#[test]
fn answers_are_counted_by_what_they_say() {
    let mut core = leader();
    let nowhere = core.set_event(9, "a", b"1");
    core.hear(nowhere);
    core.set(1, "a", b"1");
    let senseless = Refusal::InvalidArgument(ArgumentFault::ZeroLimit);
    core.hear(Event::Requests {
        connection: ConnectionId(1),
        received: core.now(),
        requests: vec![ReceivedRequest {
            id: 99,
            request: Err(senseless),
        }],
    });
    let counted: Vec<_> = core.core.measures().outcomes.counted().collect();
    let no_such_shard = Refusal::NoSuchShard.to_wire().code;
    assert_eq!(counted, [(OperationKind::Set, 0, 1), (OperationKind::Set, no_such_shard, 1)]);
    assert_eq!(number(&core, Number::RequestsMalformed), 1);
}

#[test]
fn what_a_core_does_beside_operations_is_counted_too() {
    let mut core = leader();
    assert_eq!(
        (number(&core, Number::LeadershipsWon), number(&core, Number::LeadershipsLost)),
        (2, 0)
    );
    core.set(1, "a", b"1");
    core.fill_index();
    assert!(number(&core, Number::IndexCommits) >= 1 && number(&core, Number::IndexRows) >= 1);
    assert_eq!(number(&core, Number::OverlayBytes), 0);
    let turns = measured(&core, Span::Turn).0;
    core.turn([]);
    assert_eq!(measured(&core, Span::Turn).0, turns + 1);
    assert_eq!(number(&core, Number::LogBatches), core.core.counters().batches);
    assert!(number(&core, Number::LogBytes) >= 4_096 * core.core.counters().batches);
}

fn readiness(core: &Driven) -> Vec<Readiness> {
    core.core.status().replicas.iter().map(|replica| replica.readiness).collect()
}

#[test]
fn who_leads_is_ready_once_an_entry_of_its_own_is_applied() {
    let mut core = Driven::created(1, &[]);
    assert_eq!(readiness(&core), [Readiness::Leaderless]);
    core.tick(30);
    assert_eq!(readiness(&core), [Readiness::Ready]);
    assert_eq!(core.core.status().shards_awaited, 0);
}

/// Its first heartbeat commits no more than the leader knows to be here.
#[test]
fn a_follower_is_ready_once_it_has_what_its_leader_named() {
    const LEADER: Peer = Peer {
        shard: 1,
        node: 2,
        term: 1,
    };
    let mut core = Driven::created(3, &[]);
    let entries = vec![LEADER.put("a", 1), LEADER.put("b", 2)];
    let (after, commit) = ((0, 0), 1);
    core.append(LEADER, Append { after, entries, commit });
    assert_eq!(readiness(&core), [Readiness::Behind]);
    // It names more than it has sent.
    let (after, entries, commit) = ((2, 1), vec![LEADER.put("c", 3)], 4);
    core.append(LEADER, Append { after, entries, commit });
    // Ticks of one who hears nobody would end in an election: heartbeats come between them.
    for _ in 0..20 {
        core.tick(1);
        core.heartbeat(LEADER, 3);
    }
    assert_eq!(readiness(&core), [Readiness::Behind]);
    let (after, entries, commit) = ((3, 1), vec![LEADER.put("d", 4)], 4);
    core.append(LEADER, Append { after, entries, commit });
    core.tick(1);
    assert_eq!(readiness(&core), [Readiness::Ready]);
}
