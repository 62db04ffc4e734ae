//! The whole way: a deployment of three nodes, every command against it, kills and restarts.

mod support;

use std::process::Stdio;

use serde_json::Value;
use support::cli::{Cli, assert_failed, stderr, stdout};
use support::{SOON, ready, scratch};

#[test]
fn every_command_answers() {
    let data = scratch();
    let (mut deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    let cli = Cli::of(&nodes);
    writes_and_reads(&cli);
    limits_hold(&cli);
    conditions_hold(&cli);
    lists_are_ordered(&cli);
    a_closed_pipe_is_no_failure(&cli);
    let status = cli.json(&["status"]);
    assert_eq!(status["shards_without_leader"], 0);
    assert_eq!(status["shards"].as_array().map(Vec::len), Some(4));
    assert_eq!(status["cores"].as_array().map(Vec::len), Some(3));
    assert!(cli.told(&["status"]).contains("leader"));
    deployment.stop();
}

fn writes_and_reads(cli: &Cli) {
    assert!(cli.told(&["set", "hello", "world"]).starts_with("version "));
    assert_eq!(cli.told(&["get", "hello"]), "world\n");
    assert_eq!(cli.told(&["get", "hello", "--raw"]), "world");
    assert_eq!(cli.told(&["get", "0x68656c6c6f"]), "world\n");
    assert_eq!(cli.told(&["size", "hello"]), "5\n");
    let found = cli.json(&["get", "hello"]);
    assert_eq!(
        (&found["key"], &found["value_encoding"]),
        (&Value::from("hello"), &Value::from("utf8"))
    );
    let version = found["version"].to_string();
    assert_eq!(cli.told(&["get", "hello", "--version", &version]), "world\n");
    cli.assert_fails(&["get", "missing"], 3, "");
    cli.assert_fails(&["size", "missing"], 3, "");
    let written = cli.json(&["set", "hello", "again", "--return-old-value"]);
    assert_eq!(written["old_value"], "world");
}

fn limits_hold(cli: &Cli) {
    let (key, value) = ("k".repeat(1_024), vec![b'v'; 1 << 20]);
    let written = cli.run_with_input(&["set", &key, "--stdin"], &value);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    assert_eq!(cli.told(&["size", &key]), "1048576\n");
    assert!(cli.told(&["get", &key, "--raw"]).into_bytes() == value, "another value came back");
    cli.told(&["delete", &key]);
    for words in [
        &["set", "K", "v"][..],
        &["get", "K"],
        &["delete", "K"],
        &["cas", "K", "a", "b"],
        &["size", "K"],
    ] {
        let long = "k".repeat(1_025);
        let words: Vec<&str> = words.iter().map(|word| if *word == "K" { &long } else { *word }).collect();
        cli.assert_fails(&words, 2, "the key has 1025 bytes and at most 1024 are allowed; shorten it");
    }
    let refused = cli.run_with_input(&["set", "large", "--stdin"], &[&value[..], b"v"].concat());
    assert_failed(&refused, 2, "the value has 1048577 bytes and at most 1048576 are allowed; split it");
    let refused = cli.run_with_input(&["set", "large", "--stdin", "-o", "json"], &[&value[..], b"v"].concat());
    let said: Value = serde_json::from_slice(&refused.stderr).expect("one document");
    assert_eq!(said["exit_code"], 2);
    cli.assert_fails(&["get", "large"], 3, "does not exist");
}

fn conditions_hold(cli: &Cli) {
    cli.told(&["set", "once", "1", "--create-only"]);
    cli.assert_fails(&["set", "once", "2", "--create-only"], 6, "");
    cli.assert_fails(&["set", "never", "1", "--modify-only"], 3, "");
    cli.assert_fails(&["set", "once", "2", "--at-version", "1"], 6, "");
    cli.assert_fails(&["cas", "once", "other", "2"], 6, "");
    cli.told(&["cas", "once", "1", "2"]);
    assert_eq!(cli.told(&["get", "once"]), "2\n");
    cli.assert_fails(&["delete", "once", "--at-version", "1"], 6, "");
    cli.told(&["delete", "once"]);
    cli.assert_fails(&["delete", "once"], 3, "");
}

fn lists_are_ordered(cli: &Cli) {
    // Keys in all four shards of the even cut.
    for key in ["0x10", "list/a", "list/b", "list/c", "0x90", "0xd0"] {
        cli.told(&["set", key, "v"]);
    }
    assert_eq!(cli.told(&["list", "--prefix", "list/"]), "list/a\tv\nlist/b\tv\nlist/c\tv\n");
    assert_eq!(
        cli.told(&["list", "--prefix", "list/", "--keys-only", "--reverse", "--limit", "2"]),
        "list/c\nlist/b\n"
    );
    assert_eq!(
        cli.told(&["list", "--prefix", "list/", "--from", "list/b", "--keys-only"]),
        "list/b\nlist/c\n"
    );
    let all: Vec<String> = cli.told(&["list", "--keys-only"]).lines().map(str::to_owned).collect();
    assert_eq!(all, ["0x10", "hello", "list/a", "list/b", "list/c", "0x90", "0xd0"]);
    let reversed: Vec<String> = cli
        .told(&["list", "--keys-only", "--reverse"])
        .lines()
        .rev()
        .map(str::to_owned)
        .collect();
    assert_eq!(all, reversed);
    assert_eq!(cli.json(&["list"])["rows"].as_array().map(Vec::len), Some(all.len()));
}

fn a_closed_pipe_is_no_failure(cli: &Cli) {
    // Far more than a pipe holds, so that the writer meets the closed end.
    let value = "x".repeat(100_000);
    for key in ["pipe/1", "pipe/2", "pipe/3"] {
        cli.told(&["set", key, &value]);
    }
    let mut listing = cli
        .command(&["list", "--prefix", "pipe/"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(listing.stdout.take());
    let output = listing.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn acknowledged_writes_survive_stops_and_kills() {
    for flags in [
        &["--port-base", "auto"][..],
        &["--nodes", "1", "--cores", "2", "--port-base", "auto"],
    ] {
        let data = scratch();
        let (mut deployment, nodes) = ready(data.path(), flags);
        Cli::of(&nodes).told(&["set", "first", "1"]);
        deployment.stop();

        let (mut deployment, nodes) = ready(data.path(), &[]);
        let cli = Cli::of(&nodes);
        assert_eq!(cli.told(&["get", "first"]), "1\n");
        cli.told(&["set", "second", "2"]);
        // The nodes die with it.
        deployment.kill();
        for node in &nodes {
            node.expect_gone(SOON);
        }

        let (_deployment, nodes) = ready(data.path(), &[]);
        let cli = Cli::of(&nodes);
        assert_eq!(cli.told(&["get", "first"]), "1\n");
        assert_eq!(cli.told(&["get", "second"]), "2\n");
        cli.told(&["set", "third", "3"]);
    }
}

/// Keys in all four shards of the even cut.
const EVERYWHERE: [&str; 4] = ["0x10", "middle", "0x90", "0xd0"];

#[test]
fn two_of_three_nodes_go_on_and_one_does_not() {
    let data = scratch();
    let (_deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    let cli = Cli::of(&nodes);
    cli.told(&["set", "before", "1"]);
    assert!(!nodes[0].command.iter().any(|word| word == "--bootstrap"));
    nodes[0].kill();
    // Every shard gets a leader among the other two; commands wait for it no longer than their timeout.
    cli.expect_status(0);
    assert_eq!(cli.told(&["get", "before"]), "1\n");
    for key in EVERYWHERE {
        cli.told(&["set", key, "2"]);
        assert_eq!(cli.told(&["get", key]), "2\n");
    }
    nodes[1].kill();
    one_of_three_serves_nothing_but_stale_reads(&cli, nodes[2].node);
    let _first = nodes[0].again(&[]);
    let _second = nodes[1].again(&[]);
    cli.expect_whole(3);
    for key in EVERYWHERE {
        assert_eq!(cli.told(&["get", key]), "2\n");
        cli.told(&["set", key, "3"]);
    }
}

fn one_of_three_serves_nothing_but_stale_reads(cli: &Cli, node: u64) {
    // Its leaders find out within an election timeout that nobody follows them any more. Until then they take writes,
    // of which they can say no more than that the outcome is unknown.
    cli.expect_leads_nothing(node);
    let cli = cli.within("2s");
    cli.assert_unserved(&["get", "before"]);
    for key in EVERYWHERE {
        // Refused as not executed, not as of unknown outcome by who took it: nobody leads, so nobody did.
        cli.assert_unserved(&["set", key, "lost"]);
    }
    assert_eq!(cli.told(&["get", "before", "--stale"]), "1\n");
    let output = cli.run(&["status"]);
    assert_failed(&output, 4, "4 of 4 shards have no leader that answers; start the missing nodes");
    let shown = stdout(&output);
    for (word, times) in [(" down ", 2), (" unknown ", 8), ("no answer: ", 2)] {
        assert_eq!(
            shown.matches(word).count(),
            times,
            "{word:?} of two dead nodes with four replicas each: {shown}"
        );
    }
}

#[test]
fn one_node_is_a_deployment_too() {
    let data = scratch();
    let flags = ["--nodes", "1", "--cores", "2", "--bounds", "g,n,t", "--port-base", "auto"];
    let (_deployment, nodes) = ready(data.path(), &flags);
    let cli = Cli::of(&nodes);
    for key in ["a", "h", "o", "z"] {
        cli.told(&["set", key, "v"]);
    }
    assert_eq!(cli.told(&["list", "--keys-only"]), "a\nh\no\nz\n");
}
