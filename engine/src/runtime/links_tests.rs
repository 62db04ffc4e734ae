//! Both lanes against a listener on loopback, in one executor.

use std::future::Future;

use bytes::Bytes;
use margate_net::codec::{decode_member, decode_peer};
use margate_net::frame::FrameKind;
use margate_net::handshake::{Identity, Role};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, Incarnation, MapEpoch, NodeId, ReplicaId, ShardId};
use margate_net::message::MemberBody;
use margate_net::runtime::connection::greet;
use margate_net::runtime::executor::{Executor, spawn_local};
use margate_net::runtime::listener::Listener;

use super::*;

const PEER: PeerName = PeerName {
    node: NodeId(2),
    core: CoreId(0),
};
/// Longer than the first dials and redials together.
const A_WHILE: Duration = Duration::from_millis(150);
/// Looks, a millisecond apart, for what takes far less time.
const LOOKS_MAX: usize = 10_000;
const IDENTITY: Identity = Identity {
    cluster: ClusterId(7),
    node: PEER.node,
    core: PEER.core,
    incarnation: Incarnation(9),
    map_epoch: MapEpoch(1),
    tick_ms: 100,
    election_ticks: 10,
};

fn hello() -> Hello {
    Hello {
        role: Role::Peer,
        cluster: ClusterId(7),
        node: NodeId(1),
        core: CoreId(0),
        to_node: PEER.node,
        to_core: PEER.core,
        directory: DirectoryId(3),
        incarnation: Incarnation(4),
        tick_ms: 100,
        election_ticks: 10,
    }
}

fn rows(number: u64, bytes: usize) -> MemberMessage {
    MemberMessage {
        shard: ShardId(1),
        from: ReplicaId(1),
        to: ReplicaId(2),
        attempt: 5,
        body: MemberBody::Rows {
            number,
            data: Bytes::from(vec![1; bytes]),
        },
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    // In it, for what starts tasks before it waits.
    Executor::new().expect("this machine has io_uring").run(async { test().await });
}

/// A peer that listens: the connections it has greeted.
#[derive(Clone, Default)]
struct Peer(Rc<RefCell<Vec<Connection>>>);

impl Peer {
    /// A peer, and a link to it on some lane.
    fn linked(lane: Lane) -> (Self, Rc<Link>, Rc<Shared>) {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), 8).expect("loopback has a free port");
        let (peer, link, shared) = (Self::default(), Link::new(PEER, lane), Shared::new());
        spawn_local(keep(Rc::clone(&link), listener.address(), hello(), Rc::clone(&shared))).detach();
        let greeted = peer.clone();
        spawn_local(async move {
            loop {
                let (connection, _) = greet(listener.accept().await, &IDENTITY).await.expect("the hello is right");
                greeted.0.borrow_mut().push(connection);
            }
        })
        .detach();
        (peer, link, shared)
    }

    /// The next connection, once the link is up.
    async fn connection(&self, link: &Link) -> Connection {
        for _ in 0..LOOKS_MAX {
            if link.up.get() {
                return self.0.borrow_mut().pop().expect("it was greeted");
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("the link is not up")
    }
}

/// Until the link has noticed that it is broken.
async fn broken(link: &Link) {
    for _ in 0..LOOKS_MAX {
        if !link.up.get() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("the link is still up")
}

#[test]
fn rounds_are_dialled_at_once_and_their_loss_is_told() {
    run(|| async {
        let (peer, link, shared) = Peer::linked(Lane::Rounds);
        let mut connection = peer.connection(&link).await;
        let batch = PeerBatch {
            round: 3,
            ..PeerBatch::default()
        };
        link.send(&batch);
        let frame = connection.reader.read_frame().await.expect("a frame");
        assert_eq!(decode_peer(&frame), Ok(batch));
        assert!(shared.take().is_empty(), "nothing was lost");
        drop(connection);
        broken(&link).await;
        let events = shared.take();
        assert!(
            matches!(events.first(), Some(Event::PeerLost { peer: PEER })),
            "{} events",
            events.len()
        );
    });
}

#[test]
fn members_are_dialled_when_there_is_something_to_send_then_kept_and_their_loss_is_silent() {
    run(|| async {
        let (peer, link, shared) = Peer::linked(Lane::Members);
        sleep(A_WHILE).await;
        assert!(peer.0.borrow().is_empty(), "there was no reason to dial");
        link.send_member(&rows(1, 10));
        let mut connection = peer.connection(&link).await;
        let arrives = async { connection.reader.read_frame().await.ok() };
        let never = async {
            sleep(Duration::from_millis(LOOKS_MAX as u64)).await;
            None
        };
        let frame = future::or(arrives, never).await.expect("what was the reason to dial arrives");
        assert_eq!((frame.kind, decode_member(&frame)), (FrameKind::Member, Ok(rows(1, 10))));
        link.send_member(&rows(2, 10));
        let frame = connection.reader.read_frame().await.expect("a frame");
        assert_eq!((frame.kind, decode_member(&frame)), (FrameKind::Member, Ok(rows(2, 10))));
        drop(connection);
        broken(&link).await;
        let again = peer.connection(&link).await;
        assert!(shared.take().is_empty(), "the rounds' lane alone speaks of the peer");
        drop(again);
    });
}

#[test]
fn what_waits_about_members_has_a_cap_of_its_own() {
    run(|| async {
        let (peer, link, _shared) = Peer::linked(Lane::Members);
        link.send_member(&rows(1, 0));
        let _connection = peer.connection(&link).await;
        // Nothing is written before this task yields.
        let piece = 1 << 20;
        (0..10).for_each(|number| link.send_member(&rows(number, piece)));
        let waiting = link.waiting.borrow().len();
        assert!(
            (MEMBERS_WAITING_BYTES_MAX..MEMBERS_WAITING_BYTES_MAX + 2 * piece).contains(&waiting),
            "{waiting} bytes wait"
        );
    });
}

#[test]
fn what_waits_for_a_peer_that_is_not_reached_is_dropped() {
    run(|| async {
        let nobody = Listener::bind(([127, 0, 0, 1], 0).into(), 8).expect("loopback has a free port");
        let (address, link) = (nobody.address(), Link::new(PEER, Lane::Members));
        drop(nobody);
        spawn_local(keep(Rc::clone(&link), address, hello(), Shared::new())).detach();
        link.send_member(&rows(1, 10));
        assert!(!link.waiting.borrow().is_empty(), "it waits for the dial");
        for _ in 0..LOOKS_MAX {
            if link.waiting.borrow().is_empty() {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("it waits though nobody is reached");
    });
}
