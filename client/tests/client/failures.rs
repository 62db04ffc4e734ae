//! What goes wrong, and what the caller is told.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use margate_client::{Client, ClientConfig, ConnectError, Error, LinkFault, Obstacle, UnknownCause};
use margate_net::error::{Queue, Refusal};
use margate_net::handshake::{Goodbye, HandshakeRefusal};
use margate_net::ids::{ClusterId, NodeId, RangeEpoch};
use margate_net::message::Operation;
use tokio::net::TcpListener;

use crate::fake::{Act, CLUSTER, Deployment, Store, found, lock, not_leader, plausible, written};

fn unknown(cause: UnknownCause) -> Error {
    Error::OutcomeUnknown { cause }
}

#[tokio::test]
async fn a_hint_is_followed_and_remembered() {
    let script = |node: NodeId, _: &_| {
        if node.0 == 3 {
            Act::Answer(written(1))
        } else {
            not_leader(Some(3))
        }
    };
    let deployment = Deployment::start(3, &[], script).await;
    let client = deployment.client().await;
    for _ in 0..5 {
        client.set("k", "v").await.expect("node 3 leads");
    }
    assert_eq!(
        (
            deployment.heard_by(1, "k"),
            deployment.heard_by(2, "k"),
            deployment.heard_by(3, "k")
        ),
        (1, 0, 5)
    );
}

#[tokio::test]
async fn without_a_hint_every_replica_is_tried() {
    let script = |node: NodeId, _: &_| if node.0 == 3 { Act::Answer(written(1)) } else { not_leader(None) };
    let deployment = Deployment::start(3, &[], script).await;
    let client = deployment.client().await;
    client.set("k", "v").await.expect("node 3 leads");
    assert_eq!(
        (
            deployment.heard_by(1, "k"),
            deployment.heard_by(2, "k"),
            deployment.heard_by(3, "k")
        ),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn a_write_on_a_connection_that_breaks_is_unknown_and_not_sent_again() {
    let deployment = Deployment::start(3, &[], |_, _| Act::Hangup).await;
    let client = deployment.client().await;
    assert_eq!(client.set("k", "v").await, Err(unknown(UnknownCause::ConnectionLost)));
    assert_eq!(client.delete("k").await, Err(unknown(UnknownCause::ConnectionLost)));
    assert_eq!(
        client.compare_exchange("k", "v", "w").await,
        Err(unknown(UnknownCause::ConnectionLost))
    );
    assert_eq!(deployment.heard().len(), 3, "one attempt each");
}

#[tokio::test]
async fn a_read_on_a_connection_that_breaks_is_asked_again() {
    let deployment = Deployment::start(3, &[], |node, _| if node.0 == 1 { Act::Hangup } else { Act::Answer(found("v")) }).await;
    let client = deployment.client().await;
    assert_eq!(client.get("k").await.expect("node 2 answers").expect("it is there").value, "v");
}

#[tokio::test]
async fn a_leader_that_lost_its_leadership_leaves_writes_unknown_and_reads_go_on() {
    let refusal = Act::Answer(Err(Refusal::OutcomeUnknown));
    let deployment = Deployment::start(
        3,
        &[],
        move |node, _| if node.0 == 1 { refusal.clone() } else { Act::Answer(found("v")) },
    )
    .await;
    let client = deployment.client().await;
    assert_eq!(client.set("k", "v").await, Err(unknown(UnknownCause::LeadershipLost)));
    assert_eq!(deployment.heard().len(), 1);
    client.get("k").await.expect("node 2 answers");
}

#[tokio::test]
async fn silence_is_unknown_for_writes_and_a_timeout_for_reads_in_time() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Silence).await;
    let client = deployment.client().await;
    for _ in 0..2 {
        let began = Instant::now();
        let set = client.set("k", "v").timeout(Duration::from_millis(150)).await;
        assert_eq!(set, Err(unknown(UnknownCause::DeadlineExceeded)));
        let get = client.get("k").timeout(Duration::from_millis(150)).await;
        assert!(
            matches!(get, Err(Error::Timeout { after }) if after >= Duration::from_millis(140)),
            "{get:?}"
        );
        let spent = began.elapsed();
        assert!(
            (Duration::from_millis(290)..Duration::from_secs(3)).contains(&spent),
            "each waits for its own deadline, not for the client's: {spent:?}"
        );
    }
    deployment.follow(|_, request| Act::Answer(plausible(request)));
    client.set("k", "v").await.expect("the connection still works");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_nobody_elses() {
    let late = Duration::from_millis(500);
    let deployment = Deployment::start(1, &[], move |_, _| Act::Later(late, written(666))).await;
    let client = deployment.client().await;
    let set = client.set("k", "v").timeout(Duration::from_millis(50)).await;
    assert_eq!(set, Err(unknown(UnknownCause::DeadlineExceeded)));
    deployment.follow(|_, _| Act::Later(Duration::from_secs(1), written(7)));
    let next = client.set("k", "v").await.expect("its own answer comes");
    assert_eq!(next.version.0, 7);
}

#[tokio::test]
async fn a_read_leaves_a_node_that_hangs_and_so_does_the_next_write() {
    let deployment = Deployment::start(2, &[], |node, request| {
        if node.0 == 1 {
            Act::Silence
        } else {
            Act::Answer(plausible(request))
        }
    })
    .await;
    let client = deployment.client().await;
    let began = Instant::now();
    client.get("k").await.expect("node 2 answers");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "an attempt ends before its operation: {:?}",
        began.elapsed()
    );
    client.set("k", "v").await.expect("node 2 answers");
    assert_eq!(deployment.heard_by(1, "k"), 1);
}

#[tokio::test]
async fn refusals_for_now_are_waited_out() {
    let busy = Refusal::Busy {
        queue: Queue::Operations,
        retry_after_ms: 20,
    };
    let refusals = Mutex::new(vec![busy, Refusal::NotReady { retry_after_ms: 20 }, busy]);
    let script = move |_, _: &_| {
        lock(&refusals)
            .pop()
            .map_or(Act::Answer(written(1)), |refusal| Act::Answer(Err(refusal)))
    };
    let deployment = Deployment::start(1, &[], script).await;
    let client = deployment.client().await;
    let began = Instant::now();
    client.set("k", "v").await.expect("the fourth attempt is served");
    assert!(began.elapsed() >= Duration::from_millis(60), "{:?}", began.elapsed());
    assert_eq!(deployment.heard().len(), 4);
}

#[tokio::test]
async fn only_obstacles_until_the_deadline_is_unavailable_and_names_the_last() {
    let timeout = Duration::from_secs(1);
    // The last of them asks for more time than is left, so no attempt is under way when the deadline comes.
    let last_refusal = Refusal::Busy {
        queue: Queue::Operations,
        retry_after_ms: 60_000,
    };
    let left = Mutex::new(vec![last_refusal, Refusal::NotLeader { leader: None }]);
    let script = move |_, _: &_| Act::Answer(Err(lock(&left).pop().unwrap_or(last_refusal)));
    let deployment = Deployment::start(1, &[], script).await;
    let client = deployment.client().await;
    let address = deployment.addresses[0];
    match client.set("k", "v").timeout(timeout).await {
        Err(Error::Unavailable { after, last }) => {
            let refusal = last_refusal;
            assert_eq!(last, Obstacle::Refused { address, refusal });
            assert!(after < timeout, "nothing is waited for that comes too late: {after:?}");
        }
        other => panic!("everybody refuses, so {other:?} is wrong"),
    }
    assert_eq!(deployment.heard().len(), 2);
}

#[tokio::test]
async fn a_node_that_is_gone_until_the_deadline_is_unavailable_and_names_the_link() {
    let deployment = Deployment::start(1, &[], |_, request| Act::Answer(plausible(request))).await;
    let client = deployment.client().await;
    let address = deployment.addresses[0];
    deployment.kill(1);
    let fault = LinkFault::Connect(ErrorKind::ConnectionRefused);
    let gone = |outcome: &Error| matches!(outcome, Error::Unavailable { last, .. } if *last == Obstacle::Link { address, fault });
    // A read may be lost with the old connection; once one is refused by the machine, that connection is known to be gone.
    let read = client
        .get("k")
        .timeout(Duration::from_millis(500))
        .await
        .expect_err("nobody is there");
    assert!(gone(&read), "{read:?}");
    let write = client
        .set("k", "v")
        .timeout(Duration::from_millis(200))
        .await
        .expect_err("nobody is there");
    assert!(gone(&write), "{write:?}");
}

#[tokio::test]
async fn a_server_that_drops_an_operation_unexecuted_is_a_timeout() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Answer(Err(Refusal::DeadlineExceeded))).await;
    let client = deployment.client().await;
    assert!(matches!(client.set("k", "v").await, Err(Error::Timeout { .. })));
    assert_eq!(deployment.heard().len(), 1);
}

#[tokio::test]
async fn an_old_range_epoch_brings_the_new_map() {
    let deployment = Deployment::start(1, &[], |_, request| {
        let current = RangeEpoch(2);
        if request.range_epoch == current {
            Act::Answer(plausible(request))
        } else {
            Act::Answer(Err(Refusal::WrongRange { current }))
        }
    })
    .await;
    let client = deployment.client().await;
    deployment.remap(2, &["m"]);
    let tasks: Vec<_> = (0..50).map(|_| tokio::spawn(client.set("z", "v").into_future())).collect();
    for task in tasks {
        task.await.expect("no panic").expect("served by the new map");
    }
    assert_eq!(client.map().await.shards().len(), 2);
    let fetches = deployment.state.map_requests.load(Ordering::Relaxed);
    assert!(fetches <= 4, "{fetches} fetches for one change");
}

#[tokio::test]
async fn operations_beyond_the_window_wait_for_room() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Silence).await;
    let client = deployment.client_with(|config| config.in_flight_max = 4).await;
    let first: Vec<_> = (0..4)
        .map(|_| tokio::spawn(client.set("k", "v").timeout(Duration::from_secs(1)).into_future()))
        .collect();
    deployment.hear(4).await;
    let second: Vec<_> = (0..6).map(|_| tokio::spawn(client.set("k", "v").into_future())).collect();
    let hurried = client.set("k", "v").timeout(Duration::from_millis(50)).await;
    let address = deployment.addresses[0];
    assert!(
        matches!(hurried, Err(Error::Unavailable { last, .. }) if last == Obstacle::WindowFull { address }),
        "{hurried:?}"
    );
    assert_eq!(deployment.heard().len(), 4, "the window holds four");
    deployment.follow(|_, _| Act::Answer(written(1)));
    for task in first {
        assert_eq!(task.await.expect("no panic"), Err(unknown(UnknownCause::DeadlineExceeded)));
    }
    for task in second {
        task.await.expect("no panic").expect("there was room in time");
    }
    assert_eq!(deployment.heard().len(), 10);
}

#[tokio::test]
async fn futures_that_are_dropped_give_their_room_back() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Later(Duration::from_millis(200), written(1))).await;
    let client = deployment.client_with(|config| config.in_flight_max = 2).await;
    for round in 1..=3 {
        for _ in 0..2 {
            let dropped = tokio::time::timeout(Duration::from_millis(5), client.set("dropped", "v").into_future()).await;
            assert!(dropped.is_err(), "the answer takes 200 ms");
        }
        client.set("kept", "v").await.expect("the answers to the dropped ones make room");
        assert_eq!(deployment.heard_by(1, "kept"), round);
    }
}

#[tokio::test]
async fn a_connection_that_dies_frees_dropped_futures_too() {
    let deployment = Deployment::start(1, &[], |_, request| {
        if request.operation.routing_key() == "bang" {
            Act::Hangup
        } else {
            Act::Silence
        }
    })
    .await;
    let client = deployment.client_with(|config| config.in_flight_max = 3).await;
    for _ in 0..2 {
        let dropped = tokio::time::timeout(Duration::from_millis(20), client.set("dropped", "v").into_future()).await;
        assert!(dropped.is_err());
    }
    assert_eq!(client.set("bang", "v").await, Err(unknown(UnknownCause::ConnectionLost)));
    deployment.follow(|_, _| Act::Later(Duration::from_millis(10), written(1)));
    let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(client.set("k", "v").into_future())).collect();
    for task in tasks {
        task.await.expect("no panic").expect("all three have room");
    }
}

#[tokio::test]
async fn a_future_that_was_never_polled_sends_nothing() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Answer(written(1))).await;
    let client = deployment.client_with(|config| config.in_flight_max = 1).await;
    drop(client.set("never", "v").into_future());
    client.set("k", "v").await.expect("there is room");
    assert_eq!(deployment.heard_by(1, "never"), 0);
}

#[tokio::test]
async fn rubbish_and_answers_to_nothing_end_the_connection() {
    let answer = Act::Misaddress(0x5_0000_0000);
    for act in [Act::Rubbish, answer, Act::Misaddress(77)] {
        let first = AtomicBool::new(true);
        let deployment = Deployment::start(1, &[], move |_, _| {
            if first.swap(false, Ordering::Relaxed) {
                act.clone()
            } else {
                Act::Answer(written(1))
            }
        })
        .await;
        let client = deployment.client().await;
        let connections = deployment.state.connections.load(Ordering::Relaxed);
        assert_eq!(client.set("k", "v").await, Err(unknown(UnknownCause::ConnectionLost)));
        client.set("k", "v").await.expect("a new connection is made");
        assert_eq!(deployment.state.connections.load(Ordering::Relaxed), connections + 2);
    }
}

#[tokio::test]
async fn a_node_that_comes_back_is_found_again() {
    let mut deployment = Deployment::start(1, &[], |_, request| Act::Answer(plausible(request))).await;
    let client = deployment.client().await;
    client.set("k", "v").await.expect("it is up");
    deployment.kill(1);
    let waiting = tokio::spawn(client.set("k", "v").into_future());
    tokio::time::sleep(Duration::from_millis(150)).await;
    deployment.restart(1).await;
    match waiting.await.expect("no panic") {
        // Whether the client knew of the end before it wrote is the network's to decide.
        Ok(_)
        | Err(Error::OutcomeUnknown {
            cause: UnknownCause::ConnectionLost,
        }) => {}
        Err(other) => panic!("{other}"),
    }
    client.set("k", "v").await.expect("it is up again");
}

#[tokio::test]
async fn deadlines_hold_while_a_connection_is_being_made() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Answer(written(1))).await;
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let addresses = [mute.local_addr().expect("it is bound")];
    deployment.remap_to(2, &addresses);
    let client = deployment
        .client_with(|config| config.connect_timeout = Duration::from_secs(30))
        .await;
    let began = Instant::now();
    let set = client.set("k", "v").timeout(Duration::from_millis(100)).await;
    assert!(
        matches!(
            set,
            Err(Error::Unavailable {
                last: Obstacle::Unsent { .. },
                ..
            })
        ),
        "{set:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn no_deployment_is_said_with_each_endpoint_and_its_fault() {
    let config = |endpoints, cluster| ClientConfig {
        endpoints,
        cluster,
        timeout: Duration::from_secs(3),
        ..ClientConfig::default()
    };
    assert_eq!(
        Client::connect(config(Vec::new(), ClusterId::UNKNOWN)).await.err(),
        Some(ConnectError::NoEndpoints)
    );
    let deployment = Deployment::start(1, &[], |_, _| Act::Silence).await;
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has free ports")
        .local_addr()
        .expect("it is bound");
    let theirs = ClusterId(0xBAD);
    let error = Client::connect(config(vec![nobody, deployment.addresses[0]], theirs))
        .await
        .err()
        .expect("neither has that deployment");
    let foreign = HandshakeRefusal::ForeignCluster { theirs, ours: CLUSTER };
    let ConnectError::Unreachable { failures, .. } = &error else {
        panic!("{error}")
    };
    let refused = (nobody, LinkFault::Connect(ErrorKind::ConnectionRefused));
    assert_eq!(
        failures[..],
        [refused, (deployment.addresses[0], LinkFault::Goodbye(Goodbye::Handshake(foreign)))]
    );
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");
}

#[tokio::test]
async fn the_first_endpoint_that_answers_is_enough() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Answer(written(1))).await;
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has free ports")
        .local_addr()
        .expect("it is bound");
    let endpoints = vec![nobody, mute.local_addr().expect("it is bound"), deployment.addresses[0]];
    let client = deployment.client_with(|config| config.endpoints = endpoints).await;
    client.set("k", "v").await.expect("the map names the node");
}

/// Nodes that do everything to operations that nodes can do, by seed; each key is written once, by one
/// operation, and executions are counted.
async fn storm(seed: u64) {
    let executed = Arc::new(Mutex::new(std::collections::HashMap::<Vec<u8>, u32>::new()));
    let dice = AtomicUsize::new(usize::try_from(seed).expect("a small seed"));
    let (counted, store) = (Arc::clone(&executed), Mutex::new(Store::default()));
    let script = move |node: NodeId, request: &margate_net::message::Request| {
        let roll = dice.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let execute = |operation: &Operation| {
            *lock(&counted).entry(operation.routing_key().to_vec()).or_default() += 1;
            lock(&store).execute(operation)
        };
        match roll % 23 {
            0 => Act::Hangup,
            1 => {
                let _unanswered = execute(&request.operation);
                Act::Hangup
            }
            2 => Act::Silence,
            3 => Act::Later(Duration::from_millis(30), execute(&request.operation)),
            4..=6 => not_leader(Some(node.0 % 3 + 1)),
            7..=8 => not_leader(None),
            9 => Act::Answer(Err(Refusal::NotReady { retry_after_ms: 3 })),
            10 => Act::Answer(Err(Refusal::ShuttingDown)),
            11 => {
                let _unknown = execute(&request.operation);
                Act::Answer(Err(Refusal::OutcomeUnknown))
            }
            _ => Act::Answer(execute(&request.operation)),
        }
    };
    let deployment = Deployment::start(3, &["m"], script).await;
    let client = deployment
        .client_with(|config| (config.timeout, config.in_flight_max) = (Duration::from_millis(900), 4))
        .await;
    let tasks: Vec<_> = (0..400)
        .map(|key| {
            tokio::spawn(
                client
                    .set(format!("{}{key}", if key % 2 == 0 { 'a' } else { 'z' }), "v")
                    .into_future(),
            )
        })
        .collect();
    let mut ends = [0; 3];
    for (key, task) in tasks.into_iter().enumerate() {
        let name = format!("{}{key}", if key % 2 == 0 { 'a' } else { 'z' });
        let outcome = task.await.expect("no panic");
        let count = lock(&executed).get(name.as_bytes()).copied().unwrap_or(0);
        match outcome {
            Ok(_) => assert_eq!(count, 1, "seed {seed}: {name} was acknowledged"),
            Err(Error::OutcomeUnknown { .. }) => assert!(count <= 1, "seed {seed}: {name} is unknown and was executed {count} times"),
            Err(Error::Unavailable { .. }) => assert_eq!(count, 0, "seed {seed}: {name} was said not to be executed"),
            Err(other) => panic!("seed {seed}: {name}: {other}"),
        }
        ends[match outcome {
            Ok(_) => 0,
            Err(Error::OutcomeUnknown { .. }) => 1,
            Err(_) => 2,
        }] += 1;
    }
    assert!(ends[0] > 0 && ends[1] > 0, "seed {seed}: {ends:?} is no storm");
}

#[tokio::test]
async fn in_a_storm_no_write_is_executed_twice_and_no_answer_lies() {
    for seed in 1..=6 {
        storm(seed).await;
    }
}
