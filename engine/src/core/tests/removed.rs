//! A replica whose place another has taken while its disk was away: it hears so, stops, and keeps what it holds until it
//! is admitted anew.

use margate_net::ids::{CoreId, DirectoryId, NodeId, ReplicaId, ShardId};
use margate_net::message::{MemberBody, MemberMessage};

use super::driven::Driven;
use super::peers::{Append, Peer};
use crate::core::event::{Event, PeerName};
use crate::index::store::IndexReader;
use crate::shard::members::{Change, Home};

const LEADER: Peer = Peer {
    shard: 1,
    node: 2,
    term: 5,
};
/// Campaigns with the disk it had before another replica took its place.
const OLD: Peer = Peer { node: 3, ..LEADER };
/// Takes the place of the replica on node 3.
const NEW: ReplicaId = ReplicaId(4);

fn peer(node: u64) -> PeerName {
    PeerName {
        node: NodeId(node),
        core: CoreId(0),
    }
}

/// The changes that put a new replica in for the one on node 3.
fn replaced(core: &Driven) -> [Change; 3] {
    let (new, old) = (NEW, core.replica_on(1, 3));
    let home = Home {
        replica: new,
        node: NodeId(3),
        core: CoreId(0),
        directory: DirectoryId(77),
    };
    [Change::Admit(home), Change::Replace { new, old }, Change::Leave]
}

/// Whom the core told since the last call that they are no members.
fn told(core: &mut Driven) -> Vec<(PeerName, ReplicaId)> {
    let members = std::mem::take(&mut core.members);
    let removed = members.into_iter().filter(|(_, message)| message.body == MemberBody::Removed);
    removed.map(|(to, message)| (to, message.to)).collect()
}

#[test]
fn a_replaced_replica_is_told_so_once_a_second() {
    let mut core = Driven::created(3, &[]);
    let (changes, old) = (replaced(&core), core.replica_on(1, 3));
    core.change_members(LEADER, &changes);
    for (waited, expected) in [(0, 1), (900, 0), (200, 1)] {
        core.wait(waited);
        core.asked_for_vote(OLD, old);
        assert_eq!(told(&mut core), vec![(peer(3), old); expected], "after {waited} ms");
    }
    // Whoever has not been heard of here may have been admitted since.
    core.wait(2_000);
    for replica in [NEW, ReplicaId(5), ReplicaId(6)] {
        core.asked_for_vote(OLD, replica);
        assert_eq!(told(&mut core), [], "{replica}");
    }
}

#[test]
fn before_its_removal_is_applied_nobody_is_told() {
    let mut core = Driven::created(3, &[]);
    let (changes, old) = (replaced(&core), core.replica_on(1, 3));
    core.asked_for_vote(OLD, old);
    core.change_members(LEADER, &changes[..2]);
    core.asked_for_vote(OLD, old);
    assert_eq!(told(&mut core), [], "it votes until the change is done");
}

/// Tells a replica that it is no member.
fn tell(core: &mut Driven, to: ReplicaId) {
    say(core, to, MemberBody::Removed);
}

fn say(core: &mut Driven, to: ReplicaId, body: MemberBody) {
    let message = MemberMessage {
        shard: ShardId(1),
        from: core.replica_on(1, 2),
        to,
        attempt: 0,
        body,
    };
    core.hear(Event::Member { from: peer(2), message });
}

#[test]
fn who_is_told_stops_and_keeps_its_rows_until_it_is_admitted() {
    let mut core = Driven::created(3, &[]);
    let entries = vec![LEADER.put("a", 1)];
    core.append(
        LEADER,
        Append {
            after: (0, 0),
            entries,
            commit: 1,
        },
    );
    core.fill_index();
    let here = core.replica_on(1, 1);
    tell(&mut core, ReplicaId(here.0 + 1));
    assert_eq!((core.running(), core.damaged()), (vec![1], vec![]), "another was meant");
    tell(&mut core, here);
    assert_eq!((core.running(), core.damaged()), (vec![], vec![1]));
    core.fill_index();
    core.members.clear();
    core.sent.clear();
    core.tick(40);
    assert!(core.sent.is_empty(), "it goes on campaigning");
    let joins = |(_, message): &(PeerName, MemberMessage)| message.from == here && matches!(message.body, MemberBody::Join { .. });
    assert!(
        core.members.iter().any(joins),
        "it does not ask to join as one that has lost {here}"
    );
    let rows = |core: &Driven| core.index.reader().spaces().expect("memory never fails").len();
    assert_eq!(rows(&core), 1, "nobody has admitted it, and its rows are gone");
    let directory = core.config.log.directory;
    say(&mut core, here, MemberBody::Admit { directory });
    assert_eq!(core.damaged(), [1], "it was admitted under the id it has lost");
    say(&mut core, NEW, MemberBody::Admit { directory });
    core.fill_index();
    core.fill_index();
    assert_eq!((core.running(), core.damaged(), rows(&core)), (vec![1], vec![], 0));
}

#[test]
fn who_was_told_stays_stopped_over_restarts_without_an_index() {
    let mut core = Driven::created(3, &[]);
    let here = core.replica_on(1, 1);
    tell(&mut core, here);
    core.fill_index();
    core.lose_index();
    let core = core.restarted();
    assert_eq!((core.running(), core.damaged()), (vec![], vec![1]));
}
