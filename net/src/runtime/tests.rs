//! Real sockets on loopback, in one executor.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_lite::future;

use super::connection::{Connection, dial, greet};
use super::error::{BindError, DialError, GreetError, ReadError};
use super::executor::Executor;
use super::executor::sockets::Stream;
use super::listener::Listener;
use crate::codec::{FrameWriter, decode_goodbye, decode_requests};
use crate::frame::{FrameError, FrameKind, Stage, take_frame};
use crate::handshake::{Goodbye, HandshakeRefusal, Hello, Identity, Role};
use crate::ids::{ClusterId, CoreId, Incarnation, MapEpoch, NodeId, RangeEpoch, ShardId};
use crate::limits::VALUE_BYTES_MAX;
use crate::message::{Operation, Precondition, Request, Returning};

const IDENTITY: Identity = Identity {
    cluster: ClusterId(7),
    node: NodeId(2),
    core: CoreId(1),
    incarnation: Incarnation(9),
    map_epoch: MapEpoch(3),
    tick_ms: 100,
    election_ticks: 10,
};

const HELLO: Hello = Hello {
    to_node: NodeId(2),
    to_core: CoreId(1),
    ..Hello::of_guest(Role::Client, ClusterId(7))
};

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    Executor::new().expect("this machine has io_uring").run(async { test().await });
}

/// Writes few bytes, which a fresh connection takes at once.
async fn write(stream: &Stream, bytes: &[u8]) {
    let written = poll_fn(|cx| stream.poll_write(cx, bytes)).await;
    assert_eq!(written.expect("it is read"), bytes.len());
}

async fn read_to_end(stream: &Stream) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), [0; 64]);
    loop {
        match poll_fn(|cx| stream.poll_read(cx, &mut some)).await.expect("no reset") {
            0 => return all,
            read => all.extend_from_slice(&some[..read]),
        }
    }
}

fn listen(max: u32) -> Listener {
    Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), max).expect("loopback has a free port")
}

/// Both ends of a greeted connection: the dialler's and the listener's.
async fn pair(listener: &Listener) -> (Connection, Connection) {
    let accept = async { greet(listener.accept().await, &IDENTITY).await };
    let (dialled, greeted) = future::zip(dial(listener.address(), &HELLO), accept).await;
    let (greeted, hello) = greeted.expect("the hello is right");
    assert_eq!(hello, HELLO);
    let (dialled, welcome) = dialled.expect("the hello is right");
    assert_eq!((welcome.node, welcome.map_epoch), (IDENTITY.node, IDENTITY.map_epoch));
    (dialled, greeted)
}

fn set(id: u64, value: Bytes) -> Request {
    Request {
        id,
        shard: ShardId(1),
        range_epoch: RangeEpoch(1),
        timeout_ms: 1_000,
        operation: Operation::Set {
            key: Bytes::from_static(b"key"),
            value,
            precondition: Precondition::Always,
            returning: Returning::default(),
        },
    }
}

#[test]
fn frames_written_together_and_a_large_one_arrive_in_order() {
    run(|| async {
        let (mut client, mut server) = pair(&listen(4)).await;
        let sent: Vec<_> = (0..300).map(|id| set(id, Bytes::from(vec![1; 100]))).collect();
        let large: Vec<_> = (0..7).map(|id| set(id, Bytes::from(vec![2; VALUE_BYTES_MAX]))).collect();
        let mut out = Vec::new();
        let mut writer = FrameWriter::new();
        for request in &sent {
            writer.requests(&mut out, std::slice::from_ref(request));
        }
        writer.requests(&mut out, &large);
        let write = async { client.sender.write_all(&out).await.expect("the server reads") };
        let read = async {
            let (mut frames, mut received) = (Vec::new(), Vec::new());
            while received.len() < sent.len() + large.len() {
                server.reader.read_frames(&mut frames).await.expect("frames are whole");
                for frame in frames.drain(..) {
                    received.extend(decode_requests(&frame).expect("they are requests"));
                }
            }
            received
        };
        let ((), received) = future::zip(write, read).await;
        let received: Vec<_> = received.into_iter().map(|one| one.request.expect("each is valid")).collect();
        assert!(received.iter().eq(sent.iter().chain(&large)));
    });
}

#[test]
fn a_foreign_cluster_is_told_so() {
    run(|| async {
        let listener = listen(4);
        let hello = Hello {
            cluster: ClusterId(8),
            ..HELLO
        };
        let expected = HandshakeRefusal::ForeignCluster {
            theirs: ClusterId(8),
            ours: ClusterId(7),
        };
        let accept = async { greet(listener.accept().await, &IDENTITY).await };
        let (dialled, greeted) = future::zip(dial(listener.address(), &hello), accept).await;
        assert!(matches!(greeted, Err(GreetError::Refused(refusal)) if refusal == expected));
        assert_eq!(refusal_of(dialled.map(|_| ())), expected);
        assert_eq!(listener.open(), 0);
    });
}

fn refusal_of(dialled: Result<(), DialError>) -> HandshakeRefusal {
    match dialled {
        Err(DialError::Handshake {
            source: ReadError::Goodbye(Goodbye::Handshake(refusal)),
            ..
        }) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_full_core_says_so_and_a_place_comes_back() {
    run(|| async {
        let listener = listen(1);
        let first = pair(&listener).await;
        let accept = async { greet(listener.accept().await, &IDENTITY).await.err() };
        let (dialled, greeted) = future::zip(dial(listener.address(), &HELLO), accept).await;
        assert!(matches!(greeted, Some(GreetError::Refused(_))));
        assert_eq!(refusal_of(dialled.map(|_| ())), HandshakeRefusal::TooManyConnections { max: 1 });
        drop(first);
        pair(&listener).await;
    });
}

#[test]
fn a_stranger_gets_a_goodbye_it_can_read() {
    run(|| async {
        let listener = listen(4);
        let accept = async { greet(listener.accept().await, &IDENTITY).await.err() };
        let stranger = async {
            let stream = Stream::connect(listener.address()).await.expect("the listener listens");
            write(&stream, b"GET / HTTP/1.1\r\nHost: margate\r\n\r\n").await;
            read_to_end(&stream).await
        };
        let (greeted, answer) = future::zip(accept, stranger).await;
        assert!(matches!(
            greeted,
            Some(GreetError::Read(ReadError::Frame(FrameError::BadMagic { .. })))
        ));
        let mut answer = bytes::BytesMut::from(answer.as_slice());
        let frame = take_frame(&mut answer, Stage::Handshake).expect("a frame").expect("a whole one");
        let goodbye = decode_goodbye(&frame).expect("a goodbye");
        let found = u32::from_le_bytes(*b"GET ");
        assert_eq!(goodbye, Goodbye::Frame(FrameError::BadMagic { found }));
    });
}

/// Its goodbye is drained for a bounded time, however much it sends meanwhile.
#[test]
fn a_stranger_that_sends_without_end_is_got_rid_of() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let flooding = std::thread::spawn(move || {
        let address: SocketAddr = receiver.recv().expect("somebody listens");
        let mut stream = std::net::TcpStream::connect(address).expect("the listener listens");
        let junk = vec![0; 4 << 20];
        while std::io::Write::write_all(&mut stream, &junk).is_ok() {}
    });
    run(|| async move {
        let listener = listen(4);
        sender.send(listener.address()).expect("it waits");
        let greeted = greet(listener.accept().await, &IDENTITY).await.err();
        assert!(matches!(greeted, Some(GreetError::Read(ReadError::Frame(_)))));
    });
    flooding.join().expect("it is closed");
}

#[test]
fn an_operation_before_hello_is_refused() {
    run(|| async {
        let listener = listen(4);
        let accept = async { greet(listener.accept().await, &IDENTITY).await.err() };
        let stranger = async {
            let stream = Stream::connect(listener.address()).await.expect("the listener listens");
            let mut out = Vec::new();
            FrameWriter::new().requests(&mut out, &[set(1, Bytes::new())]);
            write(&stream, &out).await;
            // Closed at once: the goodbye has nobody to arrive at, and that is all right.
        };
        let (greeted, ()) = future::zip(accept, stranger).await;
        let expected = FrameError::UnexpectedKind {
            found: FrameKind::Request,
            expected: FrameKind::Hello,
        };
        assert!(matches!(greeted, Some(GreetError::Read(ReadError::Frame(error))) if error == expected));
    });
}

#[test]
fn a_connection_cut_in_a_frame_is_truncated_and_between_frames_closed() {
    run(|| async {
        let listener = listen(4);
        for (cut, truncated) in [(0, false), (1, true), (40, true)] {
            let (mut client, mut server) = pair(&listener).await;
            let mut out = Vec::new();
            FrameWriter::new().requests(&mut out, &[set(1, Bytes::from_static(b"value"))]);
            let whole = out.len();
            out.extend_from_within(..cut);
            client.sender.write_all(&out).await.expect("there is room");
            drop(client);
            let mut frames = Vec::new();
            server.reader.read_frames(&mut frames).await.expect("the first is whole");
            let end = server.reader.read_frames(&mut frames).await;
            assert_eq!(frames.len(), 1, "of {whole} + {cut} bytes");
            match end {
                Err(ReadError::Truncated { received }) => assert!(truncated && received == cut),
                Err(ReadError::Closed) => assert!(!truncated),
                other => panic!("expected an end, got {other:?}"),
            }
        }
    });
}

#[test]
fn closing_the_sender_wakes_the_own_reader_and_goodbye_reaches_the_other() {
    run(|| async {
        let listener = listen(4);
        let (mut client, mut server) = pair(&listener).await;
        let mut frames = Vec::new();
        let reading = client.reader.read_frames(&mut frames);
        let goodbye = async { server.sender.goodbye(&Goodbye::ShuttingDown).await.expect("the client reads") };
        let (read, ()) = future::zip(reading, goodbye).await;
        assert!(matches!(read, Err(ReadError::Goodbye(Goodbye::ShuttingDown))));
        let (mut client, _server) = pair(&listener).await;
        let mut frames = Vec::new();
        let reading = client.reader.read_frames(&mut frames);
        let closing = async { client.sender.closer().close() };
        let (read, ()) = future::zip(reading, closing).await;
        assert!(matches!(read, Err(ReadError::Closed)));
    });
}

#[test]
fn a_port_in_use_and_a_port_without_listener_say_what_to_do() {
    run(|| async {
        let listener = listen(1);
        let again = Listener::bind(listener.address(), 1).err().expect("the port is taken");
        assert!(matches!(again, BindError::InUse { address } if address == listener.address()));
        assert!(again.to_string().contains("choose another port"));
        let foreign = Listener::bind(SocketAddr::from(([192, 0, 2, 1], 0)), 1)
            .err()
            .expect("a test address");
        assert!(matches!(foreign, BindError::NotOurs { .. }), "{foreign}");
        let address = listener.address();
        drop(listener);
        let refused = dial(address, &HELLO).await.err().expect("nobody listens");
        assert!(matches!(&refused, DialError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused));
    });
}
