//! The whole way: a deployment of three nodes, every command against it, kills and restarts.

mod deployment;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use deployment::{Deployment, Listed, ask, eventually, expect_gone, listed, signal_node};
use rustix::process::Signal;
use serde_json::Value;

const READY: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(20);

/// Starts a deployment and waits until it says that it is ready.
fn ready(data: &Path, flags: &[&str]) -> (Deployment, Vec<Listed>) {
    let mut deployment = Deployment::start(data, flags);
    deployment.expect_line("ready", READY);
    (deployment, listed(data))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The output of a command that must succeed.
#[track_caller]
fn told(nodes: &[Listed], words: &[&str]) -> String {
    let output = ask(nodes, words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {stderr}");
    stdout(&output)
}

#[track_caller]
fn assert_ends_with(nodes: &[Listed], words: &[&str], code: i32) {
    let output = ask(nodes, words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
    assert!(stdout(&output).is_empty(), "{words:?} printed {}", stdout(&output));
}

#[track_caller]
fn json(nodes: &[Listed], words: &[&str]) -> Value {
    let words = [words, &["-o", "json"]].concat();
    serde_json::from_str(&told(nodes, &words)).expect("one document")
}

#[test]
fn every_command_answers() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    writes_and_reads(&nodes);
    conditions_hold(&nodes);
    lists_are_ordered(&nodes);
    a_closed_pipe_is_no_failure(&nodes);
    let status = json(&nodes, &["status"]);
    assert_eq!(status["shards_without_leader"], 0);
    assert_eq!(status["shards"].as_array().map(Vec::len), Some(4));
    assert_eq!(status["cores"].as_array().map(Vec::len), Some(3));
    assert!(told(&nodes, &["status"]).contains("leader"));
    deployment.signal(Signal::INT);
    assert!(deployment.expect_end(SOON).success(), "{}", deployment.talk());
}

fn writes_and_reads(nodes: &[Listed]) {
    assert!(told(nodes, &["set", "hello", "world"]).starts_with("version "));
    assert_eq!(told(nodes, &["get", "hello"]), "world\n");
    assert_eq!(told(nodes, &["get", "hello", "--raw"]), "world");
    assert_eq!(told(nodes, &["get", "0x68656c6c6f"]), "world\n");
    assert_eq!(told(nodes, &["size", "hello"]), "5\n");
    let found = json(nodes, &["get", "hello"]);
    assert_eq!(
        (&found["key"], &found["value_encoding"]),
        (&Value::from("hello"), &Value::from("utf8"))
    );
    let version = found["version"].to_string();
    assert_eq!(told(nodes, &["get", "hello", "--version", &version]), "world\n");
    assert_ends_with(nodes, &["get", "missing"], 3);
    assert_ends_with(nodes, &["size", "missing"], 3);
    let written = json(nodes, &["set", "hello", "again", "--return-old-value"]);
    assert_eq!(written["old_value"], "world");
    assert_ends_with(nodes, &["set", &"k".repeat(1_025), "v"], 2);
}

fn conditions_hold(nodes: &[Listed]) {
    told(nodes, &["set", "once", "1", "--create-only"]);
    assert_ends_with(nodes, &["set", "once", "2", "--create-only"], 6);
    assert_ends_with(nodes, &["set", "never", "1", "--modify-only"], 3);
    assert_ends_with(nodes, &["set", "once", "2", "--at-version", "1"], 6);
    assert_ends_with(nodes, &["cas", "once", "other", "2"], 6);
    told(nodes, &["cas", "once", "1", "2"]);
    assert_eq!(told(nodes, &["get", "once"]), "2\n");
    assert_ends_with(nodes, &["delete", "once", "--at-version", "1"], 6);
    told(nodes, &["delete", "once"]);
    assert_ends_with(nodes, &["delete", "once"], 3);
}

fn lists_are_ordered(nodes: &[Listed]) {
    // Keys in all four shards of the even cut.
    for key in ["0x10", "list/a", "list/b", "list/c", "0x90", "0xd0"] {
        told(nodes, &["set", key, "v"]);
    }
    assert_eq!(told(nodes, &["list", "--prefix", "list/"]), "list/a\tv\nlist/b\tv\nlist/c\tv\n");
    assert_eq!(
        told(nodes, &["list", "--prefix", "list/", "--keys-only", "--reverse", "--limit", "2"]),
        "list/c\nlist/b\n"
    );
    assert_eq!(
        told(nodes, &["list", "--prefix", "list/", "--from", "list/b", "--keys-only"]),
        "list/b\nlist/c\n"
    );
    let all: Vec<String> = told(nodes, &["list", "--keys-only"]).lines().map(str::to_owned).collect();
    assert_eq!(all, ["0x10", "hello", "list/a", "list/b", "list/c", "0x90", "0xd0"]);
    let reversed: Vec<String> = told(nodes, &["list", "--keys-only", "--reverse"])
        .lines()
        .rev()
        .map(str::to_owned)
        .collect();
    assert_eq!(all, reversed);
    assert_eq!(json(nodes, &["list"])["rows"].as_array().map(Vec::len), Some(all.len()));
}

fn a_closed_pipe_is_no_failure(nodes: &[Listed]) {
    // Far more than a pipe holds, so that the writer meets the closed end.
    let value = "x".repeat(100_000);
    for key in ["pipe/1", "pipe/2", "pipe/3"] {
        told(nodes, &["set", key, &value]);
    }
    let endpoints: Vec<&str> = nodes.iter().map(|node| node.endpoint.as_str()).collect();
    let mut listing = Command::new(env!("CARGO_BIN_EXE_margate"))
        .args(["list", "--prefix", "pipe/", "--endpoints", &endpoints.join(",")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(listing.stdout.take());
    let output = listing.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn acknowledged_writes_survive_stops_and_kills() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    told(&nodes, &["set", "first", "1"]);
    deployment.signal(Signal::TERM);
    assert!(deployment.expect_end(SOON).success(), "{}", deployment.talk());

    let (mut deployment, nodes) = ready(data.path(), &[]);
    assert_eq!(told(&nodes, &["get", "first"]), "1\n");
    told(&nodes, &["set", "second", "2"]);
    deployment.signal(Signal::KILL);
    deployment.expect_end(SOON);
    for node in &nodes {
        expect_gone(node, SOON);
    }

    let (_deployment, nodes) = ready(data.path(), &[]);
    assert_eq!(told(&nodes, &["get", "first"]), "1\n");
    assert_eq!(told(&nodes, &["get", "second"]), "2\n");
}

#[test]
fn two_of_three_nodes_go_on() {
    let data = tempfile::tempdir().expect("a directory");
    let (_deployment, mut nodes) = ready(data.path(), &["--port-base", "auto"]);
    told(&nodes, &["set", "before", "1"]);
    let dead = nodes.remove(0);
    assert!(!dead.command.iter().any(|word| word == "--bootstrap"));
    signal_node(&dead, Signal::KILL);
    expect_gone(&dead, SOON);
    // Every shard gets a leader among the other two; commands wait for it no longer than their timeout.
    eventually("the others lead", SOON, || ask(&nodes, &["status"]).status.success().then_some(()));
    assert_eq!(told(&nodes, &["get", "before"]), "1\n");
    for key in ["0x10", "after", "0x90", "0xd0"] {
        told(&nodes, &["set", key, "2"]);
        assert_eq!(told(&nodes, &["get", key]), "2\n");
    }
    let mut again = Command::new(&dead.command[0])
        .args(&dead.command[1..])
        .spawn()
        .expect("the recorded command starts it");
    eventually("the node is back", SOON, || {
        let status = ask(&nodes, &["status", "-o", "json"]);
        let document: Value = serde_json::from_slice(&status.stdout).ok()?;
        let cores = document["cores"].as_array()?;
        (cores.len() == 3 && cores.iter().all(|core| core.get("error").is_none())).then_some(())
    });
    again.kill().expect("it runs");
    again.wait().expect("it ends");
}

#[test]
fn one_node_is_a_deployment_too() {
    let data = tempfile::tempdir().expect("a directory");
    let (_deployment, nodes) = ready(
        data.path(),
        &["--nodes", "1", "--cores", "2", "--bounds", "g,n,t", "--port-base", "auto"],
    );
    for key in ["a", "h", "o", "z"] {
        told(&nodes, &["set", key, "v"]);
    }
    assert_eq!(told(&nodes, &["list", "--keys-only"]), "a\nh\no\nz\n");
}
