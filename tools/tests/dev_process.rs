//! `margate dev` as a parent of processes: signals, locks, ports, the data directory. None of these tests
//! waits for a leader.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use support::cli::assert_failed;
use support::{Process, SOON, eventually, listed, prepared, scratch};

const AUTO: [&str; 4] = ["--nodes", "2", "--port-base", "auto"];

fn start(data: &Path, flags: &[&str]) -> Process {
    Process::start(support::dev(data, flags))
}

fn dev(data: &Path, flags: &[&str]) -> Output {
    support::dev(data, flags).output().expect("the binary runs")
}

/// From a shell that ignores the signals dev is stopped with.
fn start_with_signals_ignored(data: &Path, flags: &[&str]) -> Process {
    let mut command = prepared(Command::new("sh"));
    command.args(["-c", r#"trap "" INT TERM; exec "$0" "$@""#, env!("CARGO_BIN_EXE_margate")]);
    command.arg("dev").arg("--data").arg(data).args(flags);
    Process::start(command)
}

#[test]
fn signals_stop_it_even_when_inherited_as_ignored() {
    for (signal, when_ready) in [
        (Signal::INT, true),
        (Signal::TERM, true),
        (Signal::INT, false),
        (Signal::TERM, false),
    ] {
        let data = scratch();
        let mut deployment = start_with_signals_ignored(data.path(), &AUTO);
        let nodes = listed(data.path());
        assert_eq!(nodes.len(), 2);
        if when_ready {
            deployment.expect_ready(&nodes);
        }
        deployment.signal(signal);
        let status = deployment.expect_end(SOON);
        assert!(status.success(), "{status}: {}", deployment.talk());
        for node in &nodes {
            node.expect_gone(Duration::ZERO);
        }
        // Each has stopped by itself, in good order; one that had hardly begun may just end.
        assert!(!when_ready || !deployment.talk().contains("ended: "), "{}", deployment.talk());
        assert!(!data.path().join("dev.json").exists());
    }
}

#[test]
fn a_second_interrupt_kills_at_once() {
    let data = scratch();
    let mut deployment = start(data.path(), &AUTO);
    let nodes = listed(data.path());
    // A node that hangs does not stop when it is asked to.
    nodes[0].signal(Signal::STOP);
    // A signal that comes before it stands still is taken first.
    eventually("the node stands still", SOON, || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", nodes[0].pid().as_raw_nonzero())).ok()?;
        stat.contains(") T ").then_some(())
    });
    deployment.signal(Signal::INT);
    deployment.expect_talk("stopping node 1, node 2");
    // One that comes at once counts as the same ctrl-c. Left alone, it would give the node ten seconds.
    let status = eventually("an interrupt kills", Duration::from_secs(8), || {
        deployment.signal(Signal::INT);
        deployment.ended()
    });
    assert_eq!(status.code(), Some(130), "{}", deployment.talk());
    nodes[0].expect_gone(SOON);
}

#[test]
fn the_nodes_die_with_it() {
    let data = scratch();
    let mut deployment = start(data.path(), &AUTO);
    let nodes = listed(data.path());
    deployment.kill();
    for node in &nodes {
        node.expect_gone(SOON);
    }
}

#[test]
fn it_names_a_dead_node_and_ends_with_the_last() {
    let data = scratch();
    let mut deployment = start(data.path(), &AUTO);
    let nodes = listed(data.path());
    nodes[1].kill();
    nodes[0].signal(Signal::KILL);
    deployment.expect_failure(1, "node 2 ended: signal: 9");
    deployment.expect_talk("node 1 ended: signal: 9");
    deployment.expect_talk("all nodes have ended");
}

#[test]
fn a_second_dev_on_the_same_data_is_refused() {
    let data = scratch();
    let _deployment = start(data.path(), &AUTO);
    listed(data.path());
    assert_failed(&dev(data.path(), &AUTO), 1, "in use by another 'margate dev' (process ");
    assert_failed(&dev(data.path(), &["--fresh"]), 1, "in use");
}

#[test]
fn a_node_that_outlives_its_dev_keeps_its_data() {
    let data = scratch();
    let mut deployment = start(data.path(), &AUTO);
    let nodes = listed(data.path());
    nodes[1].kill();
    let by_hand = nodes[1].again(&["--log-level", "info"]);
    by_hand.expect_talk("not part of a deployment yet");
    deployment.kill();
    nodes[0].expect_gone(SOON);
    for flags in [&["--fresh", "--port-base", "auto"][..], &["--fresh"], &[]] {
        assert_failed(&dev(data.path(), flags), 1, "node 2 still runs");
    }
    assert!(data.path().join("node-2/data/LOCK").exists());
    drop(by_hand);
    // What is refused has deleted nothing, even when nobody runs.
    assert_failed(&dev(data.path(), &["--fresh", "--nodes", "0"]), 2, "--nodes is 0");
    assert!(data.path().join("node-2/data/LOCK").exists());
}

#[test]
fn the_topology_is_kept_until_fresh() {
    let data = scratch();
    let first = start(data.path(), &AUTO);
    let nodes = listed(data.path());
    drop(first);
    for node in &nodes {
        node.expect_gone(SOON);
    }
    let ports: Vec<String> = nodes.into_iter().map(|node| node.endpoint).collect();
    assert_failed(&dev(data.path(), &["--nodes", "3"]), 2, "--nodes 2, and 3 is asked for");
    assert_failed(&dev(data.path(), &["--shards", "9"]), 2, "--fresh");
    std::fs::remove_file(data.path().join("dev.json")).expect("the kill left it");
    let again = start(data.path(), &[]);
    let same: Vec<String> = listed(data.path()).into_iter().map(|node| node.endpoint).collect();
    assert_eq!(ports, same);
    drop(again);
    let _fresh = start(data.path(), &["--fresh", "--nodes", "1", "--port-base", "auto"]);
    eventually("one node is listed", SOON, || (listed(data.path()).len() == 1).then_some(()));
}

#[test]
fn foreign_directories_and_taken_ports_are_refused() {
    let data = scratch();
    std::fs::write(data.path().join("thesis.txt"), "years of work").expect("written");
    assert_failed(&dev(data.path(), &["--fresh"]), 1, "was not made by 'margate dev'");
    assert!(data.path().join("thesis.txt").exists());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let empty = data.path().join("empty");
    let output = dev(&empty, &["--nodes", "1", "--port-base", &port]);
    assert_failed(&output, 1, &format!("port {port} on 127.0.0.1"));
    assert_failed(&output, 1, "perhaps a node of this deployment that still runs");
    assert!(!empty.exists(), "a refused start left something");
    let file = data.path().join("thesis.txt");
    assert_failed(&dev(&file, &[]), 2, "is no directory");
}

#[test]
fn impossible_deployments_are_usage_errors() {
    let data = scratch();
    for (flags, message) in [
        (&["--nodes", "0"][..], "--nodes is 0"),
        (&["--cores", "65"], "--cores is 65"),
        (&["--shards", "0"], "between 1 and"),
        (&["--bounds", "b,a"], "rising order"),
        (&["--port-base", "65500"], "above 65535"),
    ] {
        assert_failed(&dev(data.path(), flags), 2, message);
        let left = fs::read_dir(data.path()).expect("a directory").count();
        assert_eq!(left, 0, "{flags:?} left something");
    }
}
