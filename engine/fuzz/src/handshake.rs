//! Handshakes: hellos judged by a core, and last words.
//!
//! Input: one byte of choices, what the core is (28 bytes), the stream of the dialler.

use bytes::BytesMut;
use margate_net::codec::{FrameWriter, decode_goodbye, decode_hello, decode_welcome};
use margate_net::frame::{Frame, FrameError, Stage, take_frame};
use margate_net::handshake::{Goodbye, HandshakeRefusal, Hello, Identity, Role, Welcome};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, Incarnation, MapEpoch, NodeId};

use crate::budget;
use crate::input::{Input, seal_frames};

/// Makes the checksums of all frames right.
const SEAL: u8 = 1;

/// Lets a core judge whatever a dialler says first.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choices = input.byte();
    let core = core(&mut input);
    let mut stream = input.0.to_vec();
    if choices & SEAL != 0 {
        seal_frames(&mut stream);
    }
    budget::within(stream.len(), 64 << 10, 8, || read(&core, &stream));
}

fn core(input: &mut Input<'_>) -> Identity {
    Identity {
        cluster: ClusterId(input.long().into()),
        node: NodeId(input.byte().into()),
        core: CoreId(input.byte().into()),
        incarnation: Incarnation(input.long()),
        map_epoch: MapEpoch(input.long()),
        tick_ms: input.byte().into(),
        election_ticks: input.byte().into(),
    }
}

fn read(core: &Identity, stream: &[u8]) {
    let mut buffer = BytesMut::from(stream);
    loop {
        match take_frame(&mut buffer, Stage::Handshake) {
            Ok(Some(frame)) => judge(core, &frame),
            Ok(None) => return,
            Err(error) => return part(Goodbye::Frame(error)),
        }
    }
}

fn judge(core: &Identity, frame: &Frame) {
    match decode_hello(frame) {
        Ok(hello) => {
            let hello_again = written(|writer, out| writer.hello(out, &hello));
            assert_eq!(decode_hello(&hello_again), Ok(hello));
            match core.admit(&hello) {
                Ok(welcome) => welcome_is(core, &hello, &welcome),
                Err(refusal) => part(Goodbye::Handshake(refusal)),
            }
        }
        Err(error) => part(Goodbye::Frame(error)),
    }
    if let Ok(welcome) = decode_welcome(frame) {
        assert_eq!(decode_welcome(&written(|writer, out| writer.welcome(out, &welcome))), Ok(welcome));
    }
    if let Ok(goodbye) = decode_goodbye(frame) {
        part(goodbye);
    }
    for role in [Role::Client, Role::Peer, Role::Admin] {
        let _ = role.check_frame(frame.kind);
    }
}

/// Nobody of another deployment is let in, nor a peer that is nobody, or this very node, or runs at another speed.
fn welcome_is(core: &Identity, hello: &Hello, welcome: &Welcome) {
    assert_eq!((welcome.cluster, welcome.node, welcome.core), (core.cluster, core.node, core.core));
    let (stranger, peer) = (hello.cluster != core.cluster, hello.role == Role::Peer);
    assert!(!stranger || hello.cluster == ClusterId::UNKNOWN || core.cluster == ClusterId::UNKNOWN);
    assert!(!peer || (!stranger && hello.node != NodeId(0) && hello.node != core.node));
    let speed = (hello.tick_ms, hello.election_ticks) == (core.tick_ms, core.election_ticks);
    assert!(!peer || speed);
}

/// Last words can be said, and mean the same whenever they are said again.
fn part(goodbye: Goodbye) {
    let said = |goodbye: &Goodbye| {
        let frame = written(|writer, out| writer.goodbye(out, goodbye));
        decode_goodbye(&frame).expect("what we write can be read")
    };
    let heard = said(&goodbye);
    assert_eq!(said(&heard), heard);
    assert!(!heard.to_string().is_empty());
}

fn written(write: impl FnOnce(&mut FrameWriter, &mut Vec<u8>)) -> Frame {
    let mut out = Vec::new();
    write(&mut FrameWriter::new(), &mut out);
    let frame = take_frame(&mut BytesMut::from(out.as_slice()), Stage::Handshake);
    frame.expect("what we write is a frame").expect("and whole")
}

/// A hello of each role, and every kind of last words.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let hellos = [Role::Client, Role::Peer, Role::Admin].map(|role| {
        let hello = Hello { role, ..some_hello() };
        seed(|writer, out| writer.hello(out, &hello))
    });
    let goodbyes = [
        Goodbye::ShuttingDown,
        Goodbye::Handshake(HandshakeRefusal::ForeignCluster {
            theirs: ClusterId(1),
            ours: ClusterId(5),
        }),
        Goodbye::Handshake(HandshakeRefusal::TooManyConnections { max: 192 }),
        Goodbye::Frame(FrameError::BadMagic { found: 7 }),
    ];
    let goodbyes = goodbyes.map(|goodbye| seed(|writer, out| writer.goodbye(out, &goodbye)));
    let welcome = seed(|writer, out| writer.welcome(out, &some_welcome()));
    hellos.into_iter().chain(goodbyes).chain([welcome]).collect()
}

/// Before a core of cluster 5, node 1, with ticks of 40 ms and an election after 10.
fn seed(write: impl FnOnce(&mut FrameWriter, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![SEAL, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    out.extend([0; 16]);
    out.extend([40, 10]);
    write(&mut FrameWriter::new(), &mut out);
    out
}

pub(crate) fn some_hello() -> Hello {
    Hello {
        role: Role::Peer,
        cluster: ClusterId(5),
        node: NodeId(2),
        core: CoreId(0),
        to_node: NodeId(1),
        to_core: CoreId(0),
        directory: DirectoryId(6),
        incarnation: Incarnation(8),
        tick_ms: 40,
        election_ticks: 10,
    }
}

pub(crate) fn some_welcome() -> Welcome {
    Welcome {
        cluster: ClusterId(5),
        node: NodeId(1),
        core: CoreId(0),
        incarnation: Incarnation(8),
        map_epoch: MapEpoch(1),
    }
}
