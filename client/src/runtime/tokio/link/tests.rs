//! What callers cannot see from outside: that nothing of a dropped operation stays.

use std::net::{Ipv4Addr, SocketAddr};

use margate_net::ids::{ClusterId, CoreId, NodeId, RangeEpoch, ShardId, Version};
use margate_net::message::Success;

use super::*;
use crate::testing::set;

const ROOM: usize = 3;

/// A link whose driver never gets a turn: the tests below do not wait for anything.
fn link() -> Arc<Link> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let place = Place {
        node: NodeId(1),
        core: CoreId(0),
        address,
    };
    Arc::new(Link::new(
        place,
        Arc::new(Dialer::new(Duration::from_secs(1), ClusterId::UNKNOWN)),
        ROOM,
    ))
}

fn submission() -> Submission {
    let (deadline, expires) = (Moment::NEVER, Moment::NEVER);
    Submission {
        shard: ShardId(1),
        range_epoch: RangeEpoch(1),
        operation: set(b"key", 10),
        deadline,
        expires,
    }
}

/// An attempt that has been polled once.
fn started(link: &Arc<Link>) -> Exchange {
    assert!(link.try_take_room());
    let mut exchange = Exchange::new(Arc::clone(link), submission());
    assert!(Pin::new(&mut exchange).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    exchange
}

fn send(link: &Link) -> Vec<u64> {
    let mut requests = Vec::new();
    link.take_frame(&mut requests);
    let ids = requests.iter().map(|request| request.id).collect();
    link.give_back(&mut requests);
    ids
}

fn answer(link: &Link, id: u64) {
    let outcome = Ok(Success::Written {
        version: Version(1),
        key: None,
        old_value: None,
    });
    link.complete(vec![Reply { id, outcome }], &mut Vec::new()).expect("it was asked");
}

fn assert_empty(link: &Link) {
    assert_eq!((link.desk().window.occupied(), link.room.available_permits()), (0, ROOM));
}

#[tokio::test]
async fn dropped_before_it_is_polled_it_gives_its_room_back() {
    let link = link();
    assert!(link.try_take_room());
    drop(Exchange::new(Arc::clone(&link), submission()));
    assert_empty(&link);
}

#[tokio::test]
async fn dropped_while_queued_it_is_not_sent() {
    let link = link();
    drop(started(&link));
    assert_empty(&link);
    assert_eq!(send(&link), []);
}

#[tokio::test]
async fn dropped_while_sent_it_keeps_its_room_until_the_answer() {
    let link = link();
    let exchange = started(&link);
    let ids = send(&link);
    drop(exchange);
    assert_eq!((link.desk().window.occupied(), link.room.available_permits()), (1, ROOM - 1));
    answer(&link, ids[0]);
    assert_empty(&link);
}

#[tokio::test]
async fn dropped_while_sent_the_end_of_the_connection_frees_it() {
    let link = link();
    let exchange = started(&link);
    send(&link);
    drop(exchange);
    link.disconnected(LinkFault::Hangup);
    assert_empty(&link);
}

#[tokio::test]
async fn dropped_with_its_answer_waiting_it_leaves_nothing() {
    let link = link();
    let exchange = started(&link);
    answer(&link, send(&link)[0]);
    drop(exchange);
    assert_empty(&link);
}

#[tokio::test]
async fn a_retired_link_sends_operations_back_and_drains() {
    let link = link();
    let exchange = started(&link);
    let ids = send(&link);
    link.retire();
    assert!(link.try_take_room());
    let ended = Exchange::new(Arc::clone(&link), submission()).await;
    let stopped = Obstacle::Link {
        address: link.place.address,
        fault: LinkFault::Stopped,
    };
    assert_eq!(ended.outcome, Err(Failure::NotSent(stopped)));
    answer(&link, ids[0]);
    assert!(exchange.await.outcome.is_ok(), "what was open goes on to its end");
    link.drained().await;
    assert_empty(&link);
}
