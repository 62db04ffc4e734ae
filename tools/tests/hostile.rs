//! Bytes that are no protocol, against three running nodes: each is told what is wrong, its connection is closed, and
//! nobody else notices.

mod support;

use std::io::Write as _;
use std::net::TcpStream;

use margate_net::codec::{FrameWriter, decode_map_reply};
use margate_net::frame::{FrameError, FrameKind, MAGIC, PROTOCOL_VERSION};
use margate_net::handshake::{Goodbye, HandshakeRefusal, Hello, Role};
use margate_net::ids::{ClusterId, CoreId, Incarnation, NodeId, ReplicaId, ShardId};
use margate_net::limits::{BODY_BYTES_MAX, HELLO_BYTES_MAX, MEMBER_BODY_BYTES_MAX, PAYLOAD_BYTES_MAX};
use margate_net::message::{MemberBody, MemberMessage};
use support::cli::Cli;
use support::wire::{Case, Wire, client_hello, frame_of, hello_frame, malformed, spoilt, unexpected, with_header};
use support::{ready, scratch};

/// A client that behaves, connected all the time.
struct Bystander(Wire);

impl Bystander {
    fn at(address: &str) -> Self {
        Self(Wire::greeted(address, &client_hello()).0)
    }

    /// Its connection still answers.
    fn is_served(&mut self) {
        let mut out = Vec::new();
        FrameWriter::new().map_request(&mut out, 7);
        self.0.send(&out);
        let reply = self.0.frame().expect("the bystander's connection stays");
        assert_eq!(reply.request_id, 7);
        decode_map_reply(&reply).expect("the map");
    }
}

#[test]
fn hostile_bytes_end_their_own_connection_only() {
    let data = scratch();
    let (mut deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    let (cli, address) = (Cli::of(&nodes), nodes[0].endpoint.as_str());
    cli.told(&["set", "stands", "1"]);
    let mut bystander = Bystander::at(address);
    let slow = start_slow_hello(address);

    strangers_are_told(address);
    bystander.is_served();
    hellos_are_judged(address);
    bystander.is_served();
    clients_are_told(address);
    bystander.is_served();
    peers_are_told(address);
    bystander.is_served();
    half_frames_are_forgotten(address);
    bystander.is_served();
    slow_hello_is_cut_off(slow);
    bystander.is_served();

    assert_eq!(cli.told(&["get", "stands"]), "1\n");
    for key in ["0x10", "middle", "0x90", "0xd0"] {
        cli.told(&["set", key, "2"]);
    }
    cli.expect_whole(3);
    assert_eq!(cli.told(&["list", "--keys-only"]), "0x10\nmiddle\nstands\n0x90\n0xd0\n");
    deployment.stop();
    assert!(!deployment.talk().contains("panicked"), "{}", deployment.talk());
}

#[track_caller]
fn assert_all_told(cases: Vec<Case>, open: impl Fn() -> Wire) {
    for (what, bytes, expected) in cases {
        let mut wire = open();
        wire.send(&bytes);
        assert_eq!(wire.expect_goodbye(), Goodbye::Frame(expected), "{what}");
    }
}

/// Before the handshake.
fn strangers_are_told(address: &str) {
    let hello = hello_frame(&client_hello());
    let mut cases = spoilt(FrameKind::Hello, &hello, HELLO_BYTES_MAX, 0);
    for kind in [FrameKind::Request, FrameKind::Peer, FrameKind::Create, FrameKind::StatusRequest] {
        cases.push(("no hello", frame_of(kind, &[], &[]), unexpected(kind, FrameKind::Hello)));
    }
    cases.push((
        "another protocol",
        b"GET / HTTP/1.1\r\nHost: margate\r\n\r\n".to_vec(),
        FrameError::BadMagic {
            found: u32::from_le_bytes(*b"GET "),
        },
    ));
    // Four bytes are enough to see that it is nothing, and six that it is another version.
    cases.push((
        "four bytes",
        b"PING".to_vec(),
        FrameError::BadMagic {
            found: u32::from_le_bytes(*b"PING"),
        },
    ));
    let version = [&MAGIC.to_le_bytes()[..], &[1, 0]].concat();
    cases.push((
        "six bytes",
        version,
        FrameError::UnsupportedVersion {
            found: 1,
            supported: PROTOCOL_VERSION,
        },
    ));
    assert_all_told(cases, || Wire::open(address));
}

/// Sound hellos of those who have come to the wrong place.
fn hellos_are_judged(address: &str) {
    let (_, welcome) = Wire::greeted(address, &client_hello());
    let (ours, foreign) = (welcome.cluster, ClusterId(0xfeed));
    let peer = peer_hello(ours);
    let refused = [
        (
            Hello {
                cluster: foreign,
                ..client_hello()
            },
            HandshakeRefusal::ForeignCluster { theirs: foreign, ours },
        ),
        (
            Hello {
                role: Role::Admin,
                cluster: foreign,
                ..client_hello()
            },
            HandshakeRefusal::ForeignCluster { theirs: foreign, ours },
        ),
        (
            Hello { cluster: foreign, ..peer },
            HandshakeRefusal::ForeignCluster { theirs: foreign, ours },
        ),
        (
            Hello {
                cluster: ClusterId::UNKNOWN,
                ..peer
            },
            HandshakeRefusal::ForeignCluster {
                theirs: ClusterId::UNKNOWN,
                ours,
            },
        ),
        (
            Hello {
                to_node: NodeId(2),
                ..peer
            },
            HandshakeRefusal::WrongNode {
                asked_node: NodeId(2),
                asked_core: CoreId(0),
                ours_node: NodeId(1),
                ours_core: CoreId(0),
            },
        ),
        (Hello { node: NodeId(0), ..peer }, HandshakeRefusal::NamelessPeer),
        (Hello { node: NodeId(1), ..peer }, HandshakeRefusal::SameNode { node: NodeId(1) }),
        (
            Hello { election_ticks: 9, ..peer },
            HandshakeRefusal::TimingDiffers {
                theirs_tick_ms: 40,
                theirs_election_ticks: 9,
                ours_tick_ms: 40,
                ours_election_ticks: 10,
            },
        ),
    ];
    for (hello, refusal) in refused {
        let mut wire = Wire::open(address);
        wire.send(&hello_frame(&hello));
        assert_eq!(wire.expect_goodbye(), Goodbye::Handshake(refusal), "{hello:?}");
    }
}

/// Node 2 as node 1 expects it, with the timing that is the default.
fn peer_hello(cluster: ClusterId) -> Hello {
    Hello {
        role: Role::Peer,
        cluster,
        node: NodeId(2),
        to_node: NodeId(1),
        incarnation: Incarnation(1),
        tick_ms: 40,
        election_ticks: 10,
        ..client_hello()
    }
}

/// After the handshake, as a client and as an admin.
fn clients_are_told(address: &str) {
    let mut sound = Vec::new();
    FrameWriter::new().requests(&mut sound, &[]);
    let mut cases = spoilt(FrameKind::Request, &sound, BODY_BYTES_MAX, PAYLOAD_BYTES_MAX);
    cases.push((
        "more payload than lengths",
        frame_of(FrameKind::Request, &sound[32..], b"x"),
        malformed(FrameKind::Request),
    ));
    for kind in [
        FrameKind::Hello,
        FrameKind::Reply,
        FrameKind::Peer,
        FrameKind::Probe,
        FrameKind::Create,
    ] {
        cases.push(("not a client's", frame_of(kind, &[], &[]), unexpected(kind, FrameKind::Request)));
    }
    assert_all_told(cases, || Wire::greeted(address, &client_hello()).0);
    let admin = Hello {
        role: Role::Admin,
        ..client_hello()
    };
    let case = ("not an admin's", sound, unexpected(FrameKind::Request, FrameKind::StatusRequest));
    assert_all_told(vec![case], || Wire::greeted(address, &admin).0);
}

/// After the handshake, as a node of this deployment.
fn peers_are_told(address: &str) {
    let (_, welcome) = Wire::greeted(address, &client_hello());
    let peer = peer_hello(welcome.cluster);
    let mut sound = Vec::new();
    FrameWriter::new().peer(&mut sound, &margate_net::message::PeerBatch::default());
    let mut cases = spoilt(FrameKind::Peer, &sound, BODY_BYTES_MAX, PAYLOAD_BYTES_MAX);
    let mut sound = Vec::new();
    FrameWriter::new().member(&mut sound, &given_up());
    cases.extend(spoilt(FrameKind::Member, &sound, MEMBER_BODY_BYTES_MAX, PAYLOAD_BYTES_MAX));
    cases.push((
        "no such message",
        frame_of(FrameKind::Member, &sound[32..], b"x"),
        malformed(FrameKind::Member),
    ));
    for kind in [FrameKind::Request, FrameKind::MapRequest, FrameKind::Create] {
        cases.push(("not a peer's", frame_of(kind, &[], &[]), unexpected(kind, FrameKind::Peer)));
    }
    assert_all_told(cases, || Wire::greeted(address, &peer).0);
}

/// A message about members without a payload.
fn given_up() -> MemberMessage {
    MemberMessage {
        shard: ShardId(1),
        from: ReplicaId(1),
        to: ReplicaId(2),
        attempt: 1,
        body: MemberBody::GiveUp,
    }
}

/// A connection that ends inside a frame is no fault of anybody's.
fn half_frames_are_forgotten(address: &str) {
    let hello = hello_frame(&client_hello());
    for length in [0, 1, 16, 32, hello.len() - 1] {
        let mut stream = TcpStream::connect(address).expect("the core listens");
        stream.write_all(&hello[..length]).expect("sent");
    }
    let (mut wire, _) = Wire::greeted(address, &client_hello());
    let claim = frame_of(FrameKind::Request, &[], &[]);
    // Claims the largest payload and brings none of it.
    let largest = u32::try_from(PAYLOAD_BYTES_MAX).expect("a small cap").to_le_bytes();
    wire.send(&with_header(&claim, 20, &largest));
}

/// Half a hello, and then nothing.
fn start_slow_hello(address: &str) -> Wire {
    let mut wire = Wire::open(address);
    wire.send(&hello_frame(&client_hello())[..40]);
    wire
}

fn slow_hello_is_cut_off(wire: Wire) {
    assert_eq!(
        wire.expect_goodbye(),
        Goodbye::Handshake(HandshakeRefusal::TooSlow { after_ms: 5_000 })
    );
}
