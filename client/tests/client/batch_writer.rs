//! The batch writer as its users see it.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use margate_client::{BatchWriter, BatchWriterConfig, Client, Error, NotTaken, OrderFault, UnknownCause, WriteSummary};
use margate_net::error::{Queue, Refusal};
use margate_net::ids::{NodeId, RangeEpoch};
use margate_net::message::{Operation, Request};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::fake::{Act, Deployment, Store, lock, not_leader, plausible};

fn unknown(cause: UnknownCause) -> Error {
    Error::OutcomeUnknown { cause }
}

fn answer(request: &Request) -> Act {
    Act::Answer(match &request.operation {
        Operation::Delete { .. } => Store::default().execute(&request.operation),
        _ => plausible(request),
    })
}

async fn writer(deployment: &Deployment) -> (Client, BatchWriter) {
    let client = deployment.client().await;
    let writer = client.batch_writer(BatchWriterConfig::default());
    (client, writer)
}

fn clean(acknowledged: u64) -> WriteSummary {
    WriteSummary {
        acknowledged,
        ..WriteSummary::default()
    }
}

/// Every set heard, as its key and the number in its value.
fn sets_heard(deployment: &Deployment) -> Vec<(Bytes, u64)> {
    let number = |value: &Bytes| String::from_utf8_lossy(value).parse().expect("values are numbers");
    let set = |(_, request): (NodeId, Request)| match request.operation {
        Operation::Set { key, value, .. } => Some((key, number(&value))),
        _ => None,
    };
    deployment.heard().into_iter().filter_map(set).collect()
}

#[tokio::test]
async fn many_writes_go_out_in_few_frames_and_each_has_its_result() {
    let store = Arc::new(Mutex::new(Store::default()));
    let deployment = Deployment::start(3, &["h", "p"], move |_, request| {
        Act::Answer(lock(&store).execute(&request.operation))
    })
    .await;
    let (client, writer) = writer(&deployment).await;
    let mut receipts = Vec::new();
    for number in 0..3_000 {
        let initial = ["a", "k", "z"][number % 3];
        receipts.push(writer.set(format!("{initial}{number}"), "value").await.expect("it is handed over"));
    }
    let deleted = writer.delete("a0").await.expect("it is handed over");
    let missing = writer.delete("nothing").await.expect("it is handed over");
    assert_eq!(writer.flush().await, clean(3_002));
    let mut versions = Vec::new();
    for receipt in receipts {
        versions.push(receipt.await.expect("it was acknowledged").version);
    }
    let deleted = deleted.await.expect("it was acknowledged").version.expect("it was there");
    assert!(deleted > versions[0]);
    assert_eq!(missing.await.expect("it was acknowledged").version, None);
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 3_000, "each has a version of its own");
    let frames = deployment.state.frames.load(Ordering::Relaxed);
    assert!(frames < 300, "3,002 writes took {frames} frames");
    let before = deployment.state.connections.load(Ordering::Relaxed);
    client.set("a", "single").await.expect("it is acknowledged");
    assert_eq!(
        deployment.state.connections.load(Ordering::Relaxed),
        before,
        "the connections are the client's"
    );
}

#[tokio::test]
async fn order_holds_across_refusals_of_every_kind() {
    let count = AtomicU64::new(0);
    let script = move |node: NodeId, request: &Request| match count.fetch_add(1, Ordering::Relaxed) % 7 {
        1 => Act::Answer(Err(Refusal::Busy {
            queue: Queue::Operations,
            retry_after_ms: 1,
        })),
        2 => not_leader(None),
        3 => not_leader(Some(node.0 % 3 + 1)),
        4 => Act::Later(Duration::from_millis(3), Err(Refusal::NotReady { retry_after_ms: 1 })),
        5 => Act::Later(Duration::from_millis(2), plausible(request)),
        _ => Act::Answer(plausible(request)),
    };
    let deployment = Deployment::start(3, &["h"], script).await;
    let (_client, writer) = writer(&deployment).await;
    let mut receipts = Vec::new();
    for number in 0..200u64 {
        let key = ["a", "b", "z"][usize::try_from(number % 3).expect("it is small")];
        receipts.push((number, key, writer.set(key, number.to_string()).await.expect("it is handed over")));
    }
    let summary = writer.flush().await;
    assert_eq!((summary.writes(), summary.unknown), (200, 0));
    assert!(summary.acknowledged > 0);
    // A write is executed when it is heard last, if it is; those that were overtaken are not.
    let heard = sets_heard(&deployment);
    let mut executed = Vec::new();
    for (number, key, receipt) in receipts {
        match receipt.await {
            Ok(_) => executed.push((heard.iter().rposition(|(_, heard)| *heard == number), key, number)),
            Err(Error::OutOfOrder(OrderFault::LaterExecuted)) => {}
            Err(error) => panic!("{key} {number}: {error}"),
        }
    }
    executed.sort_unstable();
    for key in ["a", "b", "z"] {
        let of_key: Vec<u64> = executed
            .iter()
            .filter(|(_, of, _)| *of == key)
            .map(|(.., number)| *number)
            .collect();
        assert!(of_key.is_sorted(), "{key} was written in the order {of_key:?}");
    }
}

#[tokio::test]
async fn a_call_that_gives_others_their_turn_is_not_overtaken() {
    let deployment = Deployment::start(1, &[], |_, request| answer(request)).await;
    let (_client, writer) = writer(&deployment).await;
    // Each 1,024th call gives others their turn, and that is one of the first of each two.
    for number in 0..1_500 {
        let (first, second) = (
            writer.set("k", (2 * number).to_string()),
            writer.set("k", (2 * number + 1).to_string()),
        );
        let (first, second) = tokio::join!(biased; first, second);
        drop((first.expect("it is handed over"), second.expect("it is handed over")));
    }
    assert_eq!(writer.flush().await, clean(3_000));
    let heard = sets_heard(&deployment).into_iter().filter(|(key, _)| key == "k");
    assert!(heard.map(|(_, number)| number).is_sorted(), "in the order of the calls");
}

#[tokio::test]
async fn a_hot_key_is_written_in_trains() {
    let deployment = Deployment::start(1, &[], |_, request| answer(request)).await;
    let (_client, writer) = writer(&deployment).await;
    for number in 0..5_000u64 {
        let _receipt = writer.set("hot", number.to_string()).await.expect("it is handed over");
    }
    assert_eq!(writer.flush().await, clean(5_000));
    let numbers: Vec<u64> = sets_heard(&deployment).into_iter().map(|(_, number)| number).collect();
    assert!(numbers.is_sorted() && numbers.len() == 5_000);
    let frames = deployment.state.frames.load(Ordering::Relaxed);
    assert!(frames < 500, "5,000 writes of a key took {frames} frames");
}

#[tokio::test]
async fn what_a_broken_connection_leaves_unknown_is_not_sent_again_nor_overtaken() {
    let breaks = AtomicUsize::new(0);
    let deployment = Deployment::start(1, &[], move |_, request| {
        if request.operation.routing_key() == "lost" && breaks.fetch_add(1, Ordering::Relaxed) == 0 {
            return Act::Hangup;
        }
        answer(request)
    })
    .await;
    let (_client, writer) = writer(&deployment).await;
    let lost = writer.set("lost", "1").await.expect("it is handed over");
    deployment.hear(1).await;
    let cause = UnknownCause::ConnectionLost;
    assert_eq!(lost.await, Err(unknown(cause)));
    let summary = writer.flush().await;
    assert_eq!((summary.unknown, summary.writes()), (1, 1));
    assert_eq!(
        (summary.failures[0].key.as_ref(), &summary.failures[0].error),
        (b"lost".as_ref(), &unknown(cause))
    );
    let next = writer.set("lost", "2").await.expect("it is handed over");
    next.await.expect("its caller knew what it did");
    assert_eq!(deployment.heard_by(1, "lost"), 2);
}

#[tokio::test]
async fn writes_that_wait_behind_one_of_unknown_outcome_are_not_sent() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Silence).await;
    let (_client, writer) = writer(&deployment).await;
    let first = writer.set("k", "1").await.expect("it is handed over");
    deployment.hear(1).await;
    let behind = writer.set("k", "2").await.expect("it is handed over");
    deployment.follow(|_, request| {
        if request.operation.routing_key() == "break" {
            Act::Hangup
        } else {
            answer(request)
        }
    });
    let breaking = writer.set("break", "1").await.expect("it is handed over");
    let cause = UnknownCause::ConnectionLost;
    assert_eq!(first.await, Err(unknown(cause)));
    assert_eq!(breaking.await, Err(unknown(cause)));
    assert_eq!(behind.await, Err(Error::OutOfOrder(OrderFault::EarlierUnknown(cause))));
    assert_eq!(deployment.heard_by(1, "k"), 1);
}

#[tokio::test]
async fn silence_ends_with_the_time_of_the_write() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Silence).await;
    let client = deployment.client().await;
    let writer = client.batch_writer(BatchWriterConfig {
        timeout: Duration::from_millis(100),
        ..BatchWriterConfig::default()
    });
    let receipt = writer.set("k", "v").await.expect("it is handed over");
    assert_eq!(receipt.await, Err(unknown(UnknownCause::DeadlineExceeded)));
}

#[tokio::test]
async fn a_new_map_is_fetched_and_followed() {
    let deployment = Deployment::start(2, &[], |_, request| {
        if request.range_epoch == RangeEpoch(1) {
            return Act::Answer(Err(Refusal::WrongRange { current: RangeEpoch(2) }));
        }
        answer(request)
    })
    .await;
    let (_client, writer) = writer(&deployment).await;
    deployment.remap(2, &["m"]);
    let asked = deployment.state.map_requests.load(Ordering::Relaxed);
    for key in ["a", "z"] {
        let _receipt = writer.set(key, "1").await.expect("it is handed over");
    }
    assert_eq!(writer.flush().await, clean(2));
    assert_eq!((deployment.heard_by(1, "a"), deployment.heard_by(2, "z")), (2, 1));
    assert_eq!(deployment.state.map_requests.load(Ordering::Relaxed), asked + 1, "once for both");
}

#[tokio::test]
async fn dropped_it_waits_for_nothing_and_receipts_say_what_is_unknown() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Silence).await;
    let (client, writer) = writer(&deployment).await;
    let sent = writer.set("k", "1").await.expect("it is handed over");
    deployment.hear(1).await;
    let parked = writer.set("k", "2").await.expect("it is handed over");
    drop(writer);
    assert_eq!(sent.await, Err(unknown(UnknownCause::Abandoned)));
    assert_eq!(parked.await, Err(Error::Abandoned));
    deployment.follow(|_, request| answer(request));
    client.set("k", "3").await.expect("the connection still works");
    assert_eq!(deployment.heard_by(1, "k"), 2, "what waited was never sent");
}

#[tokio::test]
async fn abandoned_before_there_is_a_connection_nothing_was_sent() {
    let deployment = Deployment::start(1, &[], |_, request| answer(request)).await;
    let (client, writer) = writer(&deployment).await;
    // Connections to this address are made by the kernel, and nobody ever says a word on them.
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    deployment.remap_to(2, &[nobody.local_addr().expect("it is bound")]);
    deployment.follow(|_, _| Act::Answer(Err(Refusal::NoSuchShard)));
    assert!(
        client.set("k", "v").timeout(Duration::from_millis(100)).await.is_err(),
        "that fetches the map"
    );
    let heard = deployment.heard().len();
    let receipt = writer.set("a", "1").await.expect("it is handed over");
    let _other = writer.set("b", "1").await.expect("it is handed over");
    let (_stream, _) = nobody.accept().await.expect("the client dials");
    let left = writer.abandon();
    assert_eq!((left.failed, left.unknown, left.acknowledged), (2, 0, 0));
    assert!(
        left.failures.iter().all(|failure| failure.error == Error::Abandoned),
        "{:?}",
        left.failures
    );
    assert_eq!(receipt.await, Err(Error::Abandoned));
    assert_eq!(deployment.heard().len(), heard);
}

#[tokio::test]
async fn abandoning_counts_what_no_flush_has_told() {
    let deployment = Deployment::start(1, &[], |_, request| {
        if request.operation.routing_key() == "silent" {
            return Act::Silence;
        }
        answer(request)
    })
    .await;
    let (_client, writer) = writer(&deployment).await;
    writer
        .set("told", "1")
        .await
        .expect("it is handed over")
        .await
        .expect("it is written");
    assert_eq!(writer.flush().await, clean(1));
    let _sent = writer.set("silent", "1").await.expect("it is handed over");
    deployment.hear(2).await;
    let _parked = writer.delete("silent").await.expect("it is handed over");
    writer
        .set("untold", "1")
        .await
        .expect("it is handed over")
        .await
        .expect("it is written");
    let left = writer.abandon();
    assert_eq!((left.acknowledged, left.failed, left.unknown), (1, 1, 1));
}

#[tokio::test]
async fn room_is_waited_for_in_turn_or_refused() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Silence).await;
    let client = deployment.client().await;
    let writer = client.batch_writer(BatchWriterConfig {
        in_flight_max: 2,
        ..BatchWriterConfig::default()
    });
    let first = writer.set("a", "1").await.expect("there is room");
    let _second = writer.try_set("b", "22").expect("there is room");
    let refused = writer.try_delete("c").err();
    assert_eq!(refused, Some(NotTaken::NoRoom { writes: 2, bytes: 5 }));
    {
        let mut waiting = pin!(writer.set("c", "1"));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert!(writer.try_set("c", "1").is_err(), "who has left the line took nothing");
    deployment.hear(2).await;
    deployment.follow(|_, request| {
        if request.operation.routing_key() == "break" {
            Act::Hangup
        } else {
            answer(request)
        }
    });
    let breaking = client.set("break", "1").await;
    assert_eq!(breaking, Err(unknown(UnknownCause::ConnectionLost)));
    assert_eq!(first.await, Err(unknown(UnknownCause::ConnectionLost)));
    writer
        .set("c", "1")
        .await
        .expect("there is room again")
        .await
        .expect("it is written");
}

#[tokio::test]
async fn what_no_server_takes_is_refused_at_once_and_counted_nowhere() {
    let deployment = Deployment::start(1, &[], |_, request| answer(request)).await;
    let (client, writer) = writer(&deployment).await;
    let long = "k".repeat(2_000);
    let refusal = Refusal::InvalidKey { length: 2_000, max: 1_024 };
    assert_eq!(writer.set(long.clone(), "v").await.err(), Some(Error::Refused(refusal)));
    assert_eq!(writer.try_delete(long).err(), Some(NotTaken::Refused(Error::Refused(refusal))));
    client.clone().close().await;
    assert_eq!(writer.set("k", "v").await.err(), Some(Error::Closed));
    assert_eq!(writer.try_set("k", "v").err(), Some(NotTaken::Refused(Error::Closed)));
    assert_eq!(writer.flush().await, clean(0));
    assert_eq!(deployment.heard().len(), 0);
}

#[tokio::test]
async fn closing_the_client_waits_for_what_was_sent_and_fails_what_waits() {
    let deployment = Deployment::start(1, &[], |_, request| Act::Later(Duration::from_millis(50), plausible(request))).await;
    let (client, writer) = writer(&deployment).await;
    let sent = writer.set("k", "1").await.expect("it is handed over");
    deployment.hear(1).await;
    let parked = writer.set("k", "2").await.expect("it is handed over");
    client.close().await;
    sent.await.expect("it was waited for");
    assert_eq!(parked.await, Err(Error::Closed));
}

#[tokio::test]
async fn an_answer_to_another_kind_of_operation_leaves_a_write_unknown() {
    let deployment = Deployment::start(1, &[], |_, _| {
        Act::Answer(Ok(margate_net::message::Success::Deleted {
            version: None,
            key: None,
            old_value: None,
        }))
    })
    .await;
    let (_client, writer) = writer(&deployment).await;
    let receipt = writer.set("k", "1").await.expect("it is handed over");
    assert!(matches!(
        receipt.await,
        Err(Error::OutcomeUnknown {
            cause: UnknownCause::Protocol(_)
        })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn tasks_on_several_threads_share_a_writer() {
    let deployment = Deployment::start(2, &["m"], |_, request| answer(request)).await;
    let client = deployment.client().await;
    let writer = Arc::new(client.batch_writer(BatchWriterConfig {
        in_flight_max: 50,
        ..BatchWriterConfig::default()
    }));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8u64 {
        let writer = Arc::clone(&writer);
        tasks.spawn(async move {
            let key = format!("{}key", if task % 2 == 0 { "a" } else { "z" }) + &task.to_string();
            for number in 0..200u64 {
                let receipt = writer.set(key.clone(), number.to_string()).await.expect("it is handed over");
                if number % 20 == 0 {
                    receipt.await.expect("it is written");
                }
            }
        });
    }
    tasks.join_all().await;
    let mut summary = writer.flush().await;
    assert_eq!(summary.writes(), 1_600, "{summary:?}");
    summary.acknowledged = 0;
    assert_eq!(summary, clean(0));
    let heard = sets_heard(&deployment);
    for task in 0..8 {
        let of_task = heard.iter().filter(|(key, _)| key.ends_with(format!("key{task}").as_bytes()));
        assert!(
            of_task.map(|(_, number)| *number).is_sorted(),
            "the writes of task {task} came in another order"
        );
    }
}

#[test]
fn when_its_runtime_ends_receipts_do_too() {
    let servers = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let clients = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let deployment = servers.block_on(Deployment::start(1, &[], |_, _| Act::Silence));
    let (writer, sent, parked) = clients.block_on(async {
        let (_client, writer) = writer(&deployment).await;
        let sent = writer.set("k", "1").await.expect("it is handed over");
        deployment.hear(1).await;
        let parked = writer.set("k", "2").await.expect("it is handed over");
        (writer, sent, parked)
    });
    drop(clients);
    servers.block_on(async {
        let (sent, parked) = (sent.await, parked.await);
        assert!(matches!(sent, Err(Error::OutcomeUnknown { .. })), "{sent:?}");
        assert!(matches!(parked, Err(Error::Abandoned | Error::OutOfOrder(_))), "{parked:?}");
        assert_eq!(writer.set("k", "3").await.err(), Some(Error::Closed));
        let summary = writer.flush().await;
        assert_eq!((summary.acknowledged, summary.failed, summary.unknown), (0, 1, 1), "{summary:?}");
    });
}
