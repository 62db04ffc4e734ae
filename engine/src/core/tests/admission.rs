//! Who asks to be a member, and what a leader makes of it.

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
