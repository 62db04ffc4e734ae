//! Who is let in.

use margate_net::frame::{FrameError, FrameKind};
use margate_net::handshake::{Goodbye, HandshakeRefusal, Hello, Identity, Role};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, Incarnation, MapEpoch, NodeId};

const OURS: ClusterId = ClusterId(7);
const IDENTITY: Identity = Identity {
    cluster: OURS,
    node: NodeId(2),
    core: CoreId(1),
    incarnation: Incarnation(9),
    map_epoch: MapEpoch(3),
    tick_ms: 100,
    election_ticks: 10,
};

fn hello(role: Role) -> Hello {
    Hello::of_guest(role, OURS)
}

fn peer() -> Hello {
    Hello {
        node: NodeId(1),
        to_node: NodeId(2),
        to_core: CoreId(1),
        directory: DirectoryId(5),
        incarnation: Incarnation(6),
        tick_ms: 100,
        election_ticks: 10,
        ..hello(Role::Peer)
    }
}

fn refused(identity: &Identity, hello: &Hello) -> HandshakeRefusal {
    identity.admit(hello).expect_err("it must be refused")
}

#[test]
fn the_right_ones_are_welcome() {
    for hello in [hello(Role::Client), hello(Role::Admin), peer()] {
        let welcome = IDENTITY.admit(&hello).expect("all is right");
        assert_eq!(
            (welcome.cluster, welcome.node, welcome.core, welcome.map_epoch),
            (OURS, NodeId(2), CoreId(1), MapEpoch(3))
        );
    }
}

#[test]
fn clusters_must_agree_and_only_peers_must_know_theirs() {
    let of = |role, cluster| Hello {
        cluster,
        ..if role == Role::Peer { peer() } else { hello(role) }
    };
    for role in [Role::Client, Role::Peer, Role::Admin] {
        let theirs = ClusterId(8);
        let foreign = HandshakeRefusal::ForeignCluster { theirs, ours: OURS };
        assert_eq!(refused(&IDENTITY, &of(role, theirs)), foreign);
        let unknown = IDENTITY.admit(&of(role, ClusterId::UNKNOWN));
        assert_eq!(unknown.is_ok(), role != Role::Peer);
    }
}

#[test]
fn an_empty_node_talks_to_admins_only() {
    let empty = Identity {
        cluster: ClusterId::UNKNOWN,
        ..IDENTITY
    };
    assert_eq!(refused(&empty, &hello(Role::Client)), HandshakeRefusal::NotBootstrapped);
    assert_eq!(refused(&empty, &peer()), HandshakeRefusal::NotBootstrapped);
    let welcome = empty.admit(&hello(Role::Admin)).expect("admins bootstrap");
    assert_eq!(welcome.cluster, ClusterId::UNKNOWN);
}

#[test]
fn another_node_or_core_than_asked_for_says_so() {
    for (asked_node, asked_core) in [(NodeId(1), CoreId(1)), (NodeId(2), CoreId(0))] {
        let hello = Hello {
            to_node: asked_node,
            to_core: asked_core,
            ..hello(Role::Client)
        };
        let wrong = HandshakeRefusal::WrongNode {
            asked_node,
            asked_core,
            ours_node: NodeId(2),
            ours_core: CoreId(1),
        };
        assert_eq!(refused(&IDENTITY, &hello), wrong);
    }
}

#[test]
fn peers_must_have_a_name_of_their_own_and_the_same_timing() {
    let nameless = Hello { node: NodeId(0), ..peer() };
    assert_eq!(refused(&IDENTITY, &nameless), HandshakeRefusal::NamelessPeer);
    let twin = Hello { node: NodeId(2), ..peer() };
    assert_eq!(refused(&IDENTITY, &twin), HandshakeRefusal::SameNode { node: NodeId(2) });
    for (tick_ms, election_ticks) in [(50, 10), (100, 20)] {
        let other = Hello {
            tick_ms,
            election_ticks,
            ..peer()
        };
        let differs = HandshakeRefusal::TimingDiffers {
            theirs_tick_ms: tick_ms,
            theirs_election_ticks: election_ticks,
            ours_tick_ms: 100,
            ours_election_ticks: 10,
        };
        assert_eq!(refused(&IDENTITY, &other), differs);
    }
}

#[test]
fn roles_keep_to_their_frames() {
    let allowed = |role: Role| -> Vec<_> {
        let all = FrameKind::ALL.into_iter();
        all.filter(|kind| role.check_frame(*kind).is_ok()).collect()
    };
    use FrameKind::{Create, Goodbye, MapRequest, Member, Peer, Probe, Request, StatusRequest};
    assert_eq!(allowed(Role::Client), [Goodbye, Request, MapRequest, StatusRequest]);
    assert_eq!(allowed(Role::Peer), [Goodbye, Peer, Member]);
    assert_eq!(allowed(Role::Admin), [Goodbye, MapRequest, StatusRequest, Probe, Create]);
    let error = Role::Client.check_frame(Peer);
    assert_eq!(
        error,
        Err(FrameError::UnexpectedKind {
            found: Peer,
            expected: Request
        })
    );
}

#[test]
fn every_goodbye_says_what_to_do() {
    let foreign = HandshakeRefusal::ForeignCluster {
        theirs: ClusterId(8),
        ours: OURS,
    };
    for (goodbye, hint) in [
        (Goodbye::Handshake(foreign), "check the address and the data directory"),
        (Goodbye::Handshake(HandshakeRefusal::NotBootstrapped), "--bootstrap"),
        (
            Goodbye::Handshake(HandshakeRefusal::TooManyConnections { max: 1 }),
            "try again later",
        ),
        (Goodbye::ShuttingDown, "use another node"),
        (Goodbye::Unknown { code: 99 }, "run one version"),
    ] {
        assert!(goodbye.to_string().contains(hint), "{goodbye}");
    }
}
