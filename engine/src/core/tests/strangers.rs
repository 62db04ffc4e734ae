//! A replica that has not heard of a new member follows it all the same: its admission is among the entries it lacks.

use margate_net::ids::{LogIndex, NodeId, ReplicaId, ShardId};
use margate_net::message::PeerMessageKind;

use super::driven::Driven;
use super::peers::Peer;

/// Where the new member lives.
const LEADER: Peer = Peer {
    shard: 1,
    node: 3,
    term: 6,
};
/// The new member's id: the three first ones are those of the creation.
const NEW: ReplicaId = ReplicaId(4);

/// What was said to the new member since the last call: kind, where it was sent, whether it is a refusal.
fn said(core: &mut Driven) -> Vec<(PeerMessageKind, NodeId, bool)> {
    let sent = std::mem::take(&mut core.sent).into_iter();
    sent.filter(|(_, message)| message.to == NEW)
        .map(|(to, message)| (message.kind, to.node, message.reject))
        .collect()
}

#[test]
fn a_leader_that_is_not_known_here_is_followed_and_answered() {
    let mut core = Driven::created(3, &[]);
    let entries = vec![LEADER.put("a", 1)];
    core.appended_by(LEADER, NEW, entries, 1);
    assert_eq!(said(&mut core), [(PeerMessageKind::AppendResponse, NodeId(3), false)]);
    let replica = core.core.replicas().next().expect("it runs");
    assert_eq!((replica.applied(), replica.group().leader()), (LogIndex(1), Some(NEW)));
    assert_eq!(replica.name().shard, ShardId(1));
}

#[test]
fn a_candidate_that_is_not_known_here_gets_its_vote() {
    let mut core = Driven::created(3, &[]);
    core.asked_for_vote(LEADER, NEW);
    assert_eq!(said(&mut core), [(PeerMessageKind::PreVoteResponse, NodeId(3), false)]);
}

#[test]
fn one_that_speaks_from_a_core_without_a_replica_of_the_shard_is_not_heard() {
    let mut core = Driven::created(3, &[]);
    let elsewhere = Peer { node: 9, ..LEADER };
    core.asked_for_vote(elsewhere, NEW);
    assert_eq!(said(&mut core), []);
}

#[test]
fn answers_of_one_that_is_not_known_here_are_dropped() {
    let mut core = Driven::created(3, &[]);
    let term = core.elected();
    let stranger = Peer { term, ..LEADER };
    core.answered_by(stranger, NEW, PeerMessageKind::AppendResponse);
    core.answered_by(stranger, NEW, PeerMessageKind::HeartbeatResponse);
    let replica = core.core.replicas().next().expect("it runs");
    assert_eq!(replica.group().matched(NEW), LogIndex(0));
    assert!(replica.leads());
}
