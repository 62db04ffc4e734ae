//! Every operation through the whole client, against fake nodes that keep a store in memory.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use margate_client::{Client, ClientConfig, CoreStatusReply, Error, Written};
use margate_net::error::{ArgumentFault, Refusal};
use margate_net::ids::{NodeId, Version};

use crate::fake::{self, Act, Deployment, Store, lock};

/// Each node leads the shards that prefer it and knows who leads the others.
async fn store(nodes: usize, bounds: &[&str]) -> Deployment {
    let store = Arc::new(Mutex::new(Store::default()));
    let count = nodes as u64;
    Deployment::start(nodes, bounds, move |node, request| {
        let leader = NodeId((request.shard.0 - 1) % count + 1);
        if node != leader {
            return Act::Answer(Err(Refusal::NotLeader { leader: Some(leader) }));
        }
        Act::Answer(lock(&store).execute(&request.operation))
    })
    .await
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result.expect_err("it must be refused") {
        Error::Refused(refusal) => refusal,
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

async fn keys(client: &Client) -> Vec<String> {
    let page = client.list("", "").await.expect("the nodes answer");
    assert_eq!(page.resume, None);
    page.rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect()
}

#[tokio::test]
async fn a_value_is_written_read_measured_exchanged_and_deleted() {
    let deployment = store(1, &[]).await;
    let client = deployment.client().await;
    let first = client.set("k", "one").await.expect("a plain set");
    assert_eq!(
        first,
        Written {
            version: Version(1),
            key: None,
            old_value: None
        }
    );
    let second = client.set("k", "two").return_key().return_old_value().await.expect("a plain set");
    assert_eq!(
        (second.key.as_deref(), second.old_value.as_deref()),
        (Some(b"k".as_ref()), Some(b"one".as_ref()))
    );
    let found = client.get("k").return_key().await.expect("a get").expect("it is there");
    assert_eq!(
        (found.version, found.value.as_ref(), found.key.as_deref()),
        (second.version, b"two".as_ref(), Some(b"k".as_ref()))
    );
    assert_eq!(client.size("k").await.expect("a size").expect("it is there").size, 3);
    let other = client
        .compare_exchange("k", "one", "three")
        .return_old_value()
        .await
        .expect("an answer");
    assert_eq!((other.version, other.old_value.as_deref()), (None, Some(b"two".as_ref())));
    let done = client.compare_exchange("k", "two", "three").await.expect("an answer");
    assert_eq!(done.version, Some(Version(3)));
    assert_eq!(client.delete("k").at_version(first.version).await.expect("an answer").version, None);
    let deleted = client.delete("k").return_old_value().await.expect("an answer");
    assert_eq!(
        (deleted.version, deleted.old_value.as_deref()),
        (Some(Version(4)), Some(b"three".as_ref()))
    );
    assert_eq!(client.get("k").await.expect("an answer"), None);
    assert_eq!(client.size("k").await.expect("an answer"), None);
    client.close().await;
}

#[tokio::test]
async fn conditions_reach_the_server_and_its_refusals_the_caller() {
    let deployment = store(1, &[]).await;
    let client = deployment.client().await;
    assert_eq!(refused(client.set("k", "v").modify_only().await), Refusal::NotFound);
    let version = client.set("k", "v").create_only().await.expect("it was absent").version;
    assert_eq!(
        refused(client.set("k", "v").create_only().await),
        Refusal::AlreadyExists { version }
    );
    let elsewhere = client.set("k", "v").at_version(Version(77)).await;
    assert_eq!(refused(elsewhere), Refusal::VersionMismatch { actual: Some(version) });
    client.set("k", "w").at_version(version).await.expect("that version stands");
}

#[tokio::test]
async fn what_no_server_takes_is_not_sent() {
    let deployment = store(1, &[]).await;
    let client = deployment.client().await;
    let both = client.set("k", "v").create_only().modify_only().await;
    assert_eq!(refused(both), Refusal::InvalidArgument(ArgumentFault::CreateAndModify));
    assert_eq!(
        refused(client.get(vec![1; 1_025]).await),
        Refusal::InvalidKey { length: 1_025, max: 1_024 }
    );
    let large = client.set("k", vec![1; (1 << 20) + 1]).await;
    assert_eq!(
        refused(large),
        Refusal::ValueTooLarge {
            length: (1 << 20) + 1,
            max: 1 << 20
        }
    );
    assert_eq!(
        refused(client.list("", "").limit(0).await),
        Refusal::InvalidArgument(ArgumentFault::ZeroLimit)
    );
    assert_eq!(deployment.heard(), []);
}

#[tokio::test]
async fn the_largest_values_pass_many_at_a_time() {
    let deployment = store(1, &[]).await;
    let client = deployment.client().await;
    let value = |seed: usize| {
        Bytes::from(
            (0..1 << 20)
                .map(|at: usize| u8::try_from((at * 31 + seed) % 251).expect("below 251"))
                .collect::<Vec<_>>(),
        )
    };
    let sets = (0..12).map(|seed| tokio::spawn(client.set(format!("k{seed}"), value(seed)).into_future()));
    for set in sets.collect::<Vec<_>>() {
        set.await.expect("no panic").expect("a plain set");
    }
    for seed in 0..12 {
        let found = client.get(format!("k{seed}")).await.expect("a get").expect("it is there");
        assert!(found.value == value(seed), "value {seed} came back changed");
    }
}

#[tokio::test]
async fn a_list_walks_all_shards_in_order_both_ways_and_page_by_page() {
    let deployment = store(3, &["f", "m", "t"]).await;
    let client = deployment.client().await;
    let all: Vec<String> = ('a'..='z').map(String::from).collect();
    for key in &all {
        client.set(key.clone(), format!("value of {key}")).await.expect("a plain set");
    }
    assert_eq!(keys(&client).await, all);
    let (mut high, mut reversed) = (Bytes::new(), Vec::new());
    loop {
        let page = client.list("", high).limit(5).reverse().await.expect("the nodes answer");
        assert!(page.rows.len() <= 5);
        reversed.extend(page.rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()));
        match page.resume {
            Some(resume) => high = resume,
            None => break,
        }
    }
    assert_eq!(reversed, all.iter().rev().cloned().collect::<Vec<_>>());
    let page = client.list("e", "n").limit(100).await.expect("the nodes answer");
    assert_eq!(page.rows.len(), 9, "bounds inside shards: e to m");
    assert_eq!(page.rows[0].value.as_deref(), Some(b"value of e".as_ref()));
    assert_eq!(client.list_prefix("g").await.expect("the nodes answer").rows.len(), 1);
}

#[tokio::test]
async fn operations_queued_together_share_frames_and_all_are_answered() {
    let deployment = store(1, &[]).await;
    let client = deployment.client().await;
    let tasks: Vec<_> = (0..500)
        .map(|key| tokio::spawn(client.set(format!("k{key:03}"), "v").into_future()))
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.push(task.await.expect("no panic").expect("a plain set").version.0);
    }
    versions.sort_unstable();
    assert_eq!(
        versions,
        (1..=500).collect::<Vec<_>>(),
        "each was executed once and answered with its own version"
    );
    let frames = deployment.state.frames.load(Ordering::Relaxed);
    assert!(frames <= 20, "{frames} frames for 500 operations that were ready together");
}

#[tokio::test]
async fn each_core_gets_one_connection_when_it_is_needed() {
    let deployment = store(3, &["f", "m"]).await;
    let client = deployment.client().await;
    let at_first = deployment.state.connections.load(Ordering::Relaxed);
    client.set("a", "v").await.expect("a plain set");
    client.set("b", "v").await.expect("a plain set");
    assert_eq!(deployment.state.connections.load(Ordering::Relaxed), at_first + 1);
    let clone = client.clone();
    clone.set("z", "v").await.expect("a plain set");
    client.set("z", "v").await.expect("a plain set");
    assert_eq!(deployment.state.connections.load(Ordering::Relaxed), at_first + 2);
}

#[tokio::test]
async fn the_server_hears_shard_epoch_and_time_left() {
    let deployment = store(1, &["m"]).await;
    let client = deployment.client().await;
    client.set("z", "v").timeout(Duration::from_millis(800)).await.expect("a plain set");
    let (_, request) = deployment.heard().pop().expect("the set was heard");
    assert_eq!((request.shard.0, request.range_epoch.0), (2, 1));
    assert!((500..800).contains(&request.timeout_ms), "{} ms", request.timeout_ms);
}

#[tokio::test]
async fn status_asks_every_core_and_says_which_are_down() {
    let deployment = store(3, &[]).await;
    let client = deployment.client().await;
    deployment.kill(2);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let replies = client.status().await;
    let nodes: Vec<(u64, bool)> = replies.iter().map(|reply| (reply.node.0, reply.status.is_ok())).collect();
    assert_eq!(nodes, [(1, true), (2, false), (3, true)]);
    assert_eq!(replies[2].status.as_ref().expect("node 3 is up").node, NodeId(3));
    assert!(matches!(replies[1].status, Err(Error::Unavailable { .. })), "{:?}", replies[1]);
    let measured = |replies: &[CoreStatusReply]| replies[0].status.as_ref().is_ok_and(|status| status.measures.is_some());
    assert!(!measured(&replies) && measured(&client.measures().await));
}

#[tokio::test]
async fn close_waits_for_what_is_under_way_and_refuses_what_comes_after() {
    let deployment = Deployment::start(1, &[], |_, _| Act::Later(Duration::from_millis(100), fake::written(1))).await;
    let client = deployment.client().await;
    let clone = client.clone();
    let under_way = tokio::spawn(client.set("k", "v").into_future());
    deployment.hear(1).await;
    client.close().await;
    assert!(under_way.is_finished(), "close came back before the answer did");
    assert_eq!(under_way.await.expect("no panic").expect("a plain set").version, Version(1));
    assert_eq!(clone.set("k", "v").await, Err(Error::Closed));
    assert_eq!(deployment.heard().len(), 1);
}

#[tokio::test]
async fn a_client_works_from_several_threads_and_runtimes() {
    let deployment = store(1, &[]).await;
    let client = deployment.client().await;
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let client = client.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    for turn in 0..50 {
                        client.set(format!("{thread}-{turn}"), "v").await.expect("a plain set");
                    }
                });
            })
        })
        .collect();
    let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
    assert!(joined.await.expect("no panic"));
    assert_eq!(keys(&client).await.len(), 200);
}

async fn closed_loop(client: &Client, workers: usize, turns: usize) {
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let client = client.clone();
            tokio::spawn(async move {
                for turn in 0..turns {
                    client.set(format!("{worker}-{turn}"), "v").await.expect("a plain set");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

/// On a multi-threaded runtime a task that is woken runs before those that were ready: without care
/// each operation would get its own frame.
#[test]
fn operations_of_many_threads_share_frames_too() {
    let server = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let deployment = server.block_on(store(1, &[]));
    let (addresses, state) = (deployment.addresses.clone(), Arc::clone(&deployment.state));
    std::thread::spawn(move || server.block_on(std::future::pending::<()>()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let config = ClientConfig {
            endpoints: addresses,
            ..ClientConfig::default()
        };
        let client = Client::connect(config).await.expect("the node is up");
        closed_loop(&client, 256, 20).await;
    });
    let frames = state.frames.load(Ordering::Relaxed);
    assert!(frames <= 256 * 20 / 4, "{frames} frames for {} operations", 256 * 20);
}
