//! Nodes of three fail. One whose disk refuses a write says so and keeps out of the way; one whose data are gone rejoins; the
//! others go on, and nothing that was acknowledged is lost. Two whose data are gone form nothing.

mod support;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use margate_client::{Client, ClientConfig, Error};
use margate_net::error::Refusal;
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use support::cli::{Cli, stderr, stdout};
use support::{Listed, Process, SOON, eventually, margate, ready, scratch};

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

/// Waits until a node prewrites no more segments: one is open, three are ready (`READY_SEGMENTS` of the engine).
fn expect_segments_ready(data: &Path) {
    let header = |path: PathBuf| {
        let mut magic = [0; 4];
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut magic, 0));
        read.is_ok_and(|()| magic == *b"MgtS")
    };
    eventually("four segments are whole", SOON, || {
        let files = std::fs::read_dir(data.join("core-0/log")).ok()?;
        let whole = files.filter(|entry| entry.as_ref().is_ok_and(|entry| header(entry.path())));
        (whole.count() >= 4).then_some(())
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
    expect_segments_ready(&data.path().join("node-2/data"));
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
fn a_wiped_node_rejoins() {
    let data = scratch();
    let (mut deployment, nodes) = ready(data.path(), &["--port-base", "auto", "--log-level", "info"]);
    let cli = Cli::of(&nodes);
    let written: Vec<usize> = (0..500).collect();
    write_all(&nodes, &written);
    // The one that once created the deployment: nothing it could do again must do harm.
    nodes[0].kill();
    wipe(data.path(), 1);
    let wiped = nodes[0].again(&["--bootstrap", "--log-level", "info"]);
    expect_replaced(&cli, &deployment, &wiped, nodes[0].node);
    assert_all_there(&nodes, &written);

    // With node 3 gone it is half of the majority, so what it was sent must be all there is.
    nodes[2].kill();
    cli.expect_status(0);
    assert_all_there(&nodes, &written);
    let more: Vec<usize> = (500..600).collect();
    write_all(&nodes, &more);
    drop(wiped);
    assert_inspected(&data.path().join("node-1/data"));

    // Its directory is as good as any.
    let (again, third) = (nodes[0].again(&[]), nodes[2].again(&[]));
    cli.expect_whole(3);
    assert_all_there(&nodes, &[written, more].concat());
    deployment.signal(Signal::INT);
    assert!(deployment.expect_end(SOON).success(), "{}", deployment.talk());
    drop((again, third));
}

#[test]
fn two_wiped_of_three_do_not_form() {
    let data = scratch();
    let (deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    let cli = Cli::of(&nodes);
    let written: Vec<usize> = (0..100).collect();
    write_all(&nodes, &written);
    nodes[0].kill();
    nodes[1].kill();
    let aside = data.path().join("aside");
    std::fs::rename(data.path().join("node-2/data"), &aside).expect("its data");
    wipe(data.path(), 1);
    let first = nodes[0].again(&["--bootstrap", "--log-level", "info"]);
    let mut second = nodes[1].again(&["--log-level", "info"]);
    for wiped in [&first, &second] {
        wiped.expect_talk("these nodes are members of a deployment, and this directory is empty");
        wiped.expect_talk("members=\"3\"");
    }
    eventually("the third leads nothing alone", SOON, || {
        (cli.status()?["shards_without_leader"] == 4).then_some(())
    });
    // If the wiped ones voted they would be a majority, for ever without what was acknowledged.
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(3) {
        let status = cli.status().expect("a document");
        assert_eq!(status["shards_without_leader"], 4, "{status}");
        let holders = replicas(&status).filter(|replica| replica["node"] != 3);
        assert_eq!(holders.count(), 0, "{status}");
        assert!(replicas(&status).all(|replica| replica["role"] != "leader"), "{status}");
    }
    cli.expect_status(4);
    cli.within("1s").assert_unserved(&["set", "any", "x"]);
    cli.within("1s").assert_unserved(&["get", "any"]);

    // One of them gets its data back: a majority has them again, and the other rejoins.
    second.kill();
    wipe(data.path(), 2);
    std::fs::rename(&aside, data.path().join("node-2/data")).expect("the place is free");
    let second = nodes[1].again(&[]);
    cli.expect_status(0);
    assert_all_there(&nodes, &written);
    expect_members(&cli, nodes[0].node);
    drop((deployment, first, second));
}

#[test]
fn a_replica_whose_log_is_damaged_is_replaced_alone() {
    let data = scratch();
    let (deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    let cli = Cli::of(&nodes);
    let written: Vec<usize> = (0..100).collect();
    write_all(&nodes, &written);
    nodes[1].signal(Signal::INT);
    nodes[1].expect_gone(SOON);
    let directory = data.path().join("node-2/data");
    let shard = spoil_an_entry(&directory);
    let damaged = nodes[1].again(&["--log-level", "info"]);
    damaged.expect_talk("the log is damaged");
    eventually("its replica of that shard, and no other, is a new one", SOON, || {
        let status = cli.status()?;
        let ids = |shard: &Value| {
            let replicas = shard["replicas"].as_array().into_iter().flatten();
            let own = replicas.filter(|replica| replica["node"] == 2 && replica["role"] != "damaged");
            own.filter_map(|replica| replica["replica"].as_u64()).next()
        };
        let shards = status["shards"].as_array()?.iter();
        let mut right = shards.map(|one| ids(one).is_some_and(|id| (id > 3) == (one["shard"] == shard)));
        right.all(|right| right).then_some(())
    });
    expect_equal(&cli);
    assert_all_there(&nodes, &written);
    drop((deployment, damaged));
}

/// Changes a byte of an entry in the midst of a stopped node's log; the shard it is of.
#[track_caller]
fn spoil_an_entry(directory: &Path) -> u64 {
    let output = margate().arg("inspect").arg(directory).args(["--records", "-o", "json"]).output();
    let found: Value = serde_json::from_slice(&output.expect("the binary runs").stdout).expect("one document");
    let records = found["records"].as_array().expect("a list").iter();
    let entries: Vec<&Value> = records.filter(|record| record["kind"] == "entry").collect();
    let entry = entries[entries.len() / 2];
    let at = entry["offset"].as_u64().expect("a number");
    let log = OpenOptions::new()
        .read(true)
        .write(true)
        .open(directory.join("core-0/log/00000001.seg"));
    let (log, mut byte) = (log.expect("its log"), [0]);
    log.read_exact_at(&mut byte, at + 50).expect("inside");
    log.write_all_at(&[byte[0] ^ 1], at + 50).expect("written");
    entry["shard"].as_u64().expect("a number")
}

/// What a node that joined has on disk is sound, and says so.
#[track_caller]
fn assert_inspected(directory: &Path) {
    let inspect = || margate().arg("inspect").arg(directory).args(["--verify", "-o", "json"]).output();
    let output = inspect().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(
        (&found["joined"], &found["sound"]),
        (&Value::from(true), &Value::from(true)),
        "{found}"
    );
    assert!(found["cores"][0]["effects"].as_u64() >= Some(500), "{found}");
}

/// A node's data are gone.
fn wipe(data: &Path, node: u64) {
    std::fs::remove_dir_all(data.join(format!("node-{node}/data"))).expect("its data");
}

/// Sets these keys; every one is acknowledged.
#[track_caller]
fn write_all(nodes: &[Listed], numbers: &[usize]) {
    in_runtime(async {
        let client = Client::connect(config(nodes)).await.expect("nodes answer");
        for number in numbers {
            create(&client, *number).await;
        }
        client.close().await;
    });
}

/// Sets a new key until that is acknowledged. A leader that loses its leadership cannot tell what became of the write: under
/// the condition it is safe to write again, and "exists already" then proves that the first one happened.
async fn create(client: &Client, number: usize) {
    let mut unknown = false;
    let deadline = Instant::now() + SOON;
    loop {
        match client.set(key(number), value(number)).create_only().await {
            Ok(_) => return,
            Err(Error::Refused(Refusal::AlreadyExists { .. })) if unknown => return,
            Err(Error::OutcomeUnknown { .. }) if Instant::now() < deadline => unknown = true,
            Err(error) => panic!("key {number} was not acknowledged: {error}"),
        }
    }
}

fn replicas(status: &Value) -> impl Iterator<Item = &Value> {
    let shards = status["shards"].as_array().into_iter().flatten();
    shards.flat_map(|shard| shard["replicas"].as_array().into_iter().flatten())
}

/// Waits until the wiped node votes in every shard: the change of its members has been left behind by all of them.
#[track_caller]
fn expect_replaced(cli: &Cli, deployment: &Process, wiped: &Process, node: u64) {
    eventually("the members have changed", SOON, || {
        // Whoever leads says it; one that was started again by hand does not speak through the deployment.
        let talks = [deployment.talk(), wiped.talk()];
        let left = |shard: u64| {
            let mut lines = talks.iter().flat_map(|talk| talk.lines());
            lines.any(|line| line.contains("members change") && line.contains(&format!("shard {shard} ")) && line.contains("Leave"))
        };
        (1..=4).all(left).then_some(())
    });
    wiped.expect_talk("this core was admitted as a member");
    expect_members(cli, node);
}

/// Waits until `node` has a new replica of every shard, and all replicas have applied all there is.
#[track_caller]
fn expect_members(cli: &Cli, node: u64) {
    eventually("the node has new replicas", SOON, || {
        let status = cli.status()?;
        let new = |replica: &&Value| replica["node"] == node && replica["replica"].as_u64() > Some(3);
        (replicas(&status).filter(new).count() == 4).then_some(())
    });
    expect_equal(cli);
}

/// Waits until all three replicas of every shard have applied all there is.
#[track_caller]
fn expect_equal(cli: &Cli) {
    eventually("all replicas have come equally far", SOON, || {
        let status = cli.status()?;
        let equal = status["shards"].as_array()?.iter().all(|shard| {
            let replicas = shard["replicas"].as_array().map_or(&[][..], Vec::as_slice);
            let whole = |replica: &Value| replica["applied"] == replicas[0]["last"] && replica["last"] == replicas[0]["last"];
            replicas.len() == 3 && replicas.iter().all(whole)
        });
        (equal && status["shards_without_leader"] == 0).then_some(())
    });
}
