//! One of three nodes fails: its disk refuses a write, or its data are gone. It says so and keeps out of the way; the
//! other two go on, and nothing that was acknowledged is lost.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use margate_client::{Client, ClientConfig};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use support::cli::{Cli, stdout};
use support::{Listed, SOON, eventually, ready, scratch};

/// Writes one new key after the other, all over the key space, until it is told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<usize>>,
}

impl Writer {
    fn start(nodes: &[Listed]) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted, config) = (Arc::clone(&stop), Arc::clone(&acknowledged), config(nodes));
        let thread = std::thread::spawn(move || {
            in_runtime(async {
                let client = Client::connect(config).await.expect("nodes answer");
                let mut written = Vec::new();
                for number in (0..).take_while(|_| !stopped.load(Ordering::SeqCst)) {
                    // What is not acknowledged may or may not be there: nothing can be said of it.
                    if client.set(key(number), value(number)).await.is_ok() {
                        written.push(number);
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                }
                client.close().await;
                written
            })
        });
        Self {
            stop,
            acknowledged,
            thread,
        }
    }

    /// Waits until this many more have been acknowledged.
    #[track_caller]
    fn expect_more(&self, count: usize) {
        let enough = self.acknowledged.load(Ordering::SeqCst) + count;
        eventually("writes are acknowledged", SOON, || {
            (self.acknowledged.load(Ordering::SeqCst) >= enough).then_some(())
        });
    }

    /// The numbers of all keys that were acknowledged.
    fn stop(self) -> Vec<usize> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("no panic")
    }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn config(nodes: &[Listed]) -> ClientConfig {
    ClientConfig {
        endpoints: nodes.iter().map(|node| node.endpoint.parse().expect("an address")).collect(),
        timeout: SOON,
        ..ClientConfig::default()
    }
}

/// The first byte goes round the key space, so that every shard gets its share.
fn key(number: usize) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    key.insert(0, u8::try_from(number * 67 % 256).expect("a byte"));
    key
}

fn value(number: usize) -> String {
    format!("value {number}")
}

#[track_caller]
fn assert_all_there(nodes: &[Listed], written: &[usize]) {
    assert!(!written.is_empty(), "nothing was acknowledged");
    in_runtime(async {
        let client = Client::connect(config(nodes)).await.expect("nodes answer");
        for number in written {
            let found = client.get(key(*number)).await.expect("an answer");
            let found = found.unwrap_or_else(|| panic!("acknowledged key {number} is lost"));
            assert_eq!(found.value, value(*number));
        }
        client.close().await;
    });
}

/// A limit far behind the end of its log and far above its index: from now on only writes to the log fail.
fn fill_disk_of(node: &Listed) {
    let limit = Rlimit {
        current: Some(2 << 20),
        maximum: None,
    };
    prlimit(Some(node.pid()), Resource::Fsize, limit).expect("a process of ours");
}

#[test]
fn a_failed_write_stops_its_node_and_no_other() {
    let data = scratch();
    let (mut deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    let cli = Cli::of(&nodes);
    let large = vec![b'v'; 1 << 20];
    for key in ["0x10", "middle", "0x90", "0xd0"] {
        let written = cli.run_with_input(&["set", key, "--stdin"], &large);
        assert_eq!(written.status.code(), Some(0));
    }
    let writer = Writer::start(&nodes);
    writer.expect_more(50);
    fill_disk_of(&nodes[1]);
    nodes[1].expect_gone(SOON);
    deployment.expect_talk("node 2 ended: exit status: 1");
    deployment.expect_talk("writing the log failed: File too large (os error 27)");
    deployment.expect_talk("the node stops, its peers go on. Check the disk, then start it again");
    writer.expect_more(50);
    cli.expect_status(0);
    let written = writer.stop();
    assert_all_there(&nodes, &written);

    // Its limit is gone with its process; it starts again and takes part.
    let again = nodes[1].again(&[]);
    cli.expect_whole(3);
    nodes[2].kill();
    cli.expect_status(0);
    assert_all_there(&nodes, &written);
    assert_eq!(cli.told(&["size", "middle"]), "1048576\n");
    deployment.signal(Signal::INT);
    assert!(deployment.expect_end(SOON).success(), "{}", deployment.talk());
    drop(again);
}

#[test]
fn a_wiped_node_never_votes() {
    let data = scratch();
    let (deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    let cli = Cli::of(&nodes);
    let writer = Writer::start(&nodes);
    writer.expect_more(20);
    // The one that once created the deployment: nothing it could do again must do harm.
    nodes[0].kill();
    std::fs::remove_dir_all(data.path().join("node-1/data")).expect("its data");
    let wiped = nodes[0].again(&["--log-level", "info"]);
    wiped.expect_talk("not part of a deployment yet: waiting for the other nodes");
    writer.expect_more(20);
    cli.expect_status(0);
    let written = writer.stop();
    assert_status_shows_it(&cli);
    assert_all_there(&nodes, &written);

    // If it voted, it and node 2 would be a majority.
    nodes[2].kill();
    cli.expect_leads_nothing(nodes[1].node);
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(3) {
        let status = cli.status().expect("a document");
        assert_eq!(status["shards_without_leader"], 4, "{status}");
    }
    cli.within("1s").assert_fails(&["get", "any"], 4, "not executed");
    let third = nodes[2].again(&[]);
    cli.expect_status(0);
    assert_all_there(&nodes, &written);

    // Told to create the deployment, it finds that there is one.
    drop(wiped);
    let mut bootstraps = nodes[0].again(&["--bootstrap"]);
    bootstraps.expect_failure(1, "is a member of cluster");
    bootstraps.expect_talk("so there is nothing to bootstrap; this node's data directory is empty: give it back its data");
    cli.expect_status(0);
    assert_all_there(&nodes, &written);
    drop((third, deployment));
}

#[track_caller]
fn assert_status_shows_it(cli: &Cli) {
    let status = cli.status().expect("a document");
    let error = status["cores"][0]["error"].as_str().expect("no status of a node without data");
    assert!(error.contains("this node is not bootstrapped yet"), "{error}");
    let replicas = status["shards"].as_array().expect("shards").iter();
    let holders = replicas.flat_map(|shard| shard["replicas"].as_array().expect("replicas"));
    assert!(holders.into_iter().all(|replica| replica["node"] != 1), "{status}");
    let text = stdout(&cli.run(&["status"]));
    assert!(text.contains("no answer:"), "{text}");
}
