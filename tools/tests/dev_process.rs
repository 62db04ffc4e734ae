//! `margate dev` as a parent of processes: signals, locks, ports, the data directory. None of these tests
//! waits for a leader.

mod deployment;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use deployment::{Deployment, expect_gone, listed, signal_node};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(15);
const AUTO: [&str; 4] = ["--nodes", "2", "--port-base", "auto"];

fn dev(data: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_margate"));
    command
        .arg("dev")
        .arg("--data")
        .arg(data)
        .args(flags)
        .output()
        .expect("the binary runs")
}

#[track_caller]
fn assert_refused(output: &Output, code: i32, message: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(message), "{stderr:?} must contain {message:?}");
}

#[test]
fn signals_stop_it_even_when_inherited_as_ignored() {
    for signal in [Signal::INT, Signal::TERM] {
        let data = tempfile::tempdir().expect("a directory");
        let mut deployment = Deployment::start_with_signals_ignored(data.path(), &AUTO);
        let nodes = listed(data.path());
        assert_eq!(nodes.len(), 2);
        deployment.signal(signal);
        let status = deployment.expect_end(SOON);
        assert!(status.success(), "{status}: {}", deployment.talk());
        for node in &nodes {
            expect_gone(node, Duration::ZERO);
        }
        assert!(!data.path().join("dev.json").exists());
    }
}

#[test]
fn a_second_interrupt_kills_at_once() {
    let data = tempfile::tempdir().expect("a directory");
    let mut deployment = Deployment::start(data.path(), &AUTO);
    let nodes = listed(data.path());
    // A node that hangs does not stop when it is asked to.
    signal_node(&nodes[0], Signal::STOP);
    deployment.signal(Signal::INT);
    std::thread::sleep(Duration::from_secs(1));
    deployment.signal(Signal::INT);
    assert_eq!(deployment.expect_end(Duration::from_secs(5)).code(), Some(130));
    expect_gone(&nodes[0], SOON);
}

#[test]
fn the_nodes_die_with_it() {
    let data = tempfile::tempdir().expect("a directory");
    let mut deployment = Deployment::start(data.path(), &AUTO);
    let nodes = listed(data.path());
    deployment.signal(Signal::KILL);
    deployment.expect_end(SOON);
    for node in &nodes {
        expect_gone(node, SOON);
    }
}

#[test]
fn it_names_a_dead_node_and_ends_with_the_last() {
    let data = tempfile::tempdir().expect("a directory");
    let mut deployment = Deployment::start(data.path(), &AUTO);
    let nodes = listed(data.path());
    signal_node(&nodes[1], Signal::KILL);
    expect_gone(&nodes[1], SOON);
    signal_node(&nodes[0], Signal::KILL);
    let status = deployment.expect_end(SOON);
    assert_eq!(status.code(), Some(1));
    let talk = deployment.talk();
    assert!(talk.contains("node 2 ended: signal: 9"), "{talk}");
    assert!(talk.contains("node 1 ended: signal: 9"), "{talk}");
    assert!(talk.contains("all nodes have ended"), "{talk}");
}

#[test]
fn a_second_dev_on_the_same_data_is_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let _deployment = Deployment::start(data.path(), &AUTO);
    listed(data.path());
    assert_refused(&dev(data.path(), &AUTO), 1, "in use by another 'margate dev' (process ");
    assert_refused(&dev(data.path(), &["--fresh"]), 1, "in use");
}

#[test]
fn the_topology_is_kept_until_fresh() {
    let data = tempfile::tempdir().expect("a directory");
    let first = Deployment::start(data.path(), &AUTO);
    let ports: Vec<String> = listed(data.path()).into_iter().map(|node| node.endpoint).collect();
    drop(first);
    assert_refused(&dev(data.path(), &["--nodes", "3"]), 2, "--nodes 2, and 3 is asked for");
    assert_refused(&dev(data.path(), &["--shards", "9"]), 2, "--fresh");
    std::fs::remove_file(data.path().join("dev.json")).expect("the kill left it");
    let again = Deployment::start(data.path(), &[]);
    let same: Vec<String> = listed(data.path()).into_iter().map(|node| node.endpoint).collect();
    assert_eq!(ports, same);
    drop(again);
    let _fresh = Deployment::start(data.path(), &["--fresh", "--nodes", "1", "--port-base", "auto"]);
    deployment::eventually("one node is listed", SOON, || (listed(data.path()).len() == 1).then_some(()));
}

#[test]
fn foreign_directories_and_taken_ports_are_refused() {
    let data = tempfile::tempdir().expect("a directory");
    std::fs::write(data.path().join("thesis.txt"), "years of work").expect("written");
    assert_refused(&dev(data.path(), &["--fresh"]), 1, "was not made by 'margate dev'");
    assert!(data.path().join("thesis.txt").exists());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let empty = data.path().join("empty");
    let output = dev(&empty, &["--nodes", "1", "--port-base", &port]);
    assert_refused(&output, 1, &format!("port {port} on 127.0.0.1"));
}

#[test]
fn impossible_deployments_are_usage_errors() {
    let data = tempfile::tempdir().expect("a directory");
    for (flags, message) in [
        (&["--nodes", "0"][..], "--nodes is 0"),
        (&["--cores", "65"], "--cores is 65"),
        (&["--shards", "0"], "between 1 and"),
        (&["--bounds", "b,a"], "rising order"),
        (&["--port-base", "65500"], "above 65535"),
    ] {
        assert_refused(&dev(data.path(), flags), 2, message);
    }
}
