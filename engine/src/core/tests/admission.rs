//! Who asks to be a member, and what a leader makes of it.

use margate_net::error::Refusal;
use margate_net::ids::{CoreId, DirectoryId, NodeId, ReplicaId, ShardId};
use margate_net::message::{MemberBody, MemberMessage};

use super::driven::Driven;
use super::peers::Peer;
use crate::core::event::{Event, PeerName};
use crate::shard::members::{Change, Home};

const LEADER: Peer = Peer {
    shard: 1,
    node: 2,
    term: 5,
};
/// The directory of node 3.
const DIRECTORY: DirectoryId = DirectoryId(77);
/// Its replica, which has taken the place of the one the map puts there.
const NEW: ReplicaId = ReplicaId(4);

fn peer(node: u64) -> PeerName {
    PeerName {
        node: NodeId(node),
        core: CoreId(0),
    }
}

/// A leader of three whose log begins with these changes of members.
fn leader_after(changes: &[Change]) -> Driven {
    let mut core = Driven::created(3, &[]);
    core.change_members(LEADER, changes);
    let term = core.elected();
    core.acknowledged(Peer { term, ..LEADER }, changes.len() as u64 + 1);
    core.members.clear();
    core
}

fn admission() -> Change {
    Change::Admit(Home {
        replica: NEW,
        node: NodeId(3),
        core: CoreId(0),
        directory: DIRECTORY,
    })
}

/// Node 3 asks to join, having lost this replica.
fn asks(core: &mut Driven, lost: ReplicaId) {
    let message = MemberMessage {
        shard: ShardId(1),
        from: lost,
        to: ReplicaId(0),
        attempt: 0,
        body: MemberBody::Join { directory: DIRECTORY },
    };
    core.hear(Event::Member { from: peer(3), message });
}

/// Whom the core admitted since the last call.
fn admitted(core: &mut Driven) -> Vec<ReplicaId> {
    let members = std::mem::take(&mut core.members).into_iter();
    let admitted = members.filter(|(_, message)| matches!(message.body, MemberBody::Admit { .. }));
    admitted.map(|(_, message)| message.to).collect()
}

#[test]
fn a_learner_is_told_again_who_it_is() {
    let mut core = leader_after(&[admission()]);
    let last = core.standings()[0].last;
    asks(&mut core, ReplicaId(0));
    assert_eq!((admitted(&mut core), core.standings()[0].last), (vec![NEW], last));
}

/// It may have voted; begun anew under the same id, with nothing, it would vote again.
#[test]
fn one_that_votes_is_never_admitted_again_under_its_id() {
    let mut core = Driven::created(3, &[]);
    let old = core.replica_on(1, 3);
    let changes = [admission(), Change::Replace { new: NEW, old }, Change::Leave];
    for count in [2, 3] {
        core = leader_after(&changes[..count]);
        let last = core.standings()[0].last;
        asks(&mut core, ReplicaId(0));
        assert_eq!((admitted(&mut core), core.standings()[0].last), (vec![], last), "{count} changes");
    }
    // Who knows what it has lost gets another.
    let last = core.standings()[0].last;
    asks(&mut core, NEW);
    assert_eq!(core.standings()[0].last, last.next(), "its admission is proposed");
}

/// What node 2 says as the leader.
fn said(core: &mut Driven, from: (PeerName, ReplicaId), to: ReplicaId, body: MemberBody) {
    let message = MemberMessage {
        shard: ShardId(1),
        from: from.1,
        to,
        attempt: 0,
        body,
    };
    core.hear(Event::Member { from: from.0, message });
}

/// Requests to join since the last call, by the replica that is said to be lost.
fn joins(core: &mut Driven) -> Vec<ReplicaId> {
    let members = std::mem::take(&mut core.members).into_iter();
    let joins = members.filter(|(to, message)| to.node == NodeId(2) && matches!(message.body, MemberBody::Join { .. }));
    joins.map(|(_, message)| message.from).collect()
}

/// A leader that admits another directory for its core dismisses it, and whoever only follows never speaks, so that nobody tells it.
#[test]
fn a_dismissed_learner_asks_again_without_a_restart() {
    let mut core = Driven::created(3, &[]);
    let (here, leader) = (core.replica_on(1, 1), (peer(2), core.replica_on(1, 2)));
    let admit = MemberBody::Admit {
        directory: core.config.log.directory,
    };
    said(&mut core, leader, here, MemberBody::Removed);
    said(&mut core, leader, NEW, admit.clone());
    assert_eq!((core.running(), core.damaged()), (vec![1], vec![]));
    joins(&mut core);
    core.tick(5);
    assert_eq!(joins(&mut core), [], "its leader may be about to speak");
    core.wait(10_000);
    core.tick(30);
    let joins = joins(&mut core);
    assert!(!joins.is_empty() && joins.iter().all(|lost| *lost == ReplicaId(0)), "{joins:?}");
    said(&mut core, leader, NEW, admit.clone());
    let running = |core: &Driven| core.core.replicas().map(|replica| replica.name().replica).collect::<Vec<_>>();
    assert_eq!(running(&core), [NEW], "it is a member still");
    let next = ReplicaId(NEW.0 + 2);
    said(&mut core, leader, next, admit.clone());
    assert_eq!((running(&core), core.damaged()), (vec![next], vec![]));
    said(&mut core, leader, NEW, admit);
    assert_eq!(running(&core), [next], "an old message");
    core.fill_index();
    core.lose_index();
    let core = core.restarted();
    assert_eq!((running(&core), core.damaged()), (vec![next], vec![]));
}

#[test]
fn who_votes_neither_asks_nor_is_replaced_by_a_word() {
    let mut core = Driven::created(3, &[]);
    let (here, leader) = (core.replica_on(1, 1), (peer(2), core.replica_on(1, 2)));
    core.tick(60);
    assert_eq!(joins(&mut core), []);
    let directory = core.config.log.directory;
    said(&mut core, leader, NEW, MemberBody::Admit { directory });
    assert_eq!(
        core.core.replicas().map(|replica| replica.name().replica).collect::<Vec<_>>(),
        [here]
    );
}

/// A replica's messages come from where it lives; of one that is not known yet, from where its shard does.
#[test]
fn nobody_speaks_for_a_replica_that_lives_elsewhere() {
    let mut core = Driven::created(3, &[]);
    let (here, other) = (core.replica_on(1, 1), core.replica_on(1, 2));
    for (node, from) in [(3, other), (7, other), (7, NEW), (1, other)] {
        said(&mut core, (peer(node), from), here, MemberBody::Removed);
        assert_eq!(core.running(), [1], "node {node} spoke for {from}");
    }
    said(&mut core, (peer(3), NEW), here, MemberBody::Removed);
    assert_eq!(core.running(), [0; 0], "perhaps it has been admitted there since");
    let mut core = leader_after(&[]);
    let last = core.standings()[0].last;
    for node in [2, 7] {
        let lost = core.replica_on(1, 3);
        said(
            &mut core,
            (peer(node), lost),
            ReplicaId(0),
            MemberBody::Join { directory: DIRECTORY },
        );
        assert_eq!(core.standings()[0].last, last, "node {node} was admitted for another");
    }
}

/// It has yet to be sent the shard's state: "not found" would be a lie, from whatever point in time.
#[test]
fn a_new_replica_answers_nothing_before_it_has_a_state() {
    let mut core = Driven::created(3, &[]);
    let (here, leader) = (core.replica_on(1, 1), (peer(2), core.replica_on(1, 2)));
    assert_eq!(core.stale(1, "key"), Err(Refusal::NotFound), "as created it is empty");
    said(&mut core, leader, here, MemberBody::Removed);
    assert_eq!(core.stale(1, "key"), Err(Refusal::Damaged));
    let directory = core.config.log.directory;
    said(&mut core, leader, NEW, MemberBody::Admit { directory });
    assert_eq!(core.stale(1, "key"), Err(Refusal::NotLeader { leader: None }));
}
