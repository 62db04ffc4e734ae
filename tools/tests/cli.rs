//! The command line as users meet it: usage, exit codes, precedence, messages. No deployment is needed.

mod support;

use std::net::TcpListener;
use std::process::Output;

use support::{free_address, margate as command, scratch};

fn margate(arguments: &[&str]) -> Output {
    with_environment(&[], arguments)
}

fn with_environment(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = command();
    command.envs(environment.iter().copied()).args(arguments);
    command.output().expect("the binary runs")
}

/// Exit code, standard output, standard error.
fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, message: &str) {
    let (actual, stdout, stderr) = parts(output);
    assert_eq!(actual, Some(code), "{stdout}{stderr}");
    assert!(stderr.contains(message), "{stderr:?} must contain {message:?}");
    assert!(stdout.is_empty(), "a failure printed {stdout:?}");
}

#[test]
fn help_and_version_are_data() {
    let (code, stdout, stderr) = parts(&margate(&["--version"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("margate "));
    for command in ["dev", "node", "set", "get", "delete", "cas", "size", "list", "status", "top"] {
        let (code, stdout, _) = parts(&margate(&[command, "--help"]));
        assert_eq!(code, Some(0));
        assert!(stdout.contains("Examples:"), "{command} has no examples");
    }
    assert!(parts(&margate(&["--help"])).1.contains("130  interrupted"));
}

#[test]
fn wrong_arguments_end_with_2() {
    for (arguments, message) in [
        (&["sett", "k", "v"][..], "set"),
        (&["set", "k"], "<VALUE>"),
        (&["set", "k", "v", "--create-only", "--modify-only"], "cannot be used with"),
        (&["set", "k", "v", "--create-only", "--at-version", "3"], "cannot be used with"),
        (&["get", "0xabc"], "even number of hexadecimal digits"),
        (&["get", "b64:*"], "base64"),
        (&["get", "k", "--timeout", "5"], "write one of ms, s, m, h"),
        (&["get", "k", "--timeout", "0"], "it must be more than 0, like 5s"),
        (&["list", "--limit", "0"], "0"),
        (&["get", "k", "-o", "xml"], "jsonl"),
        (&["get", "k", "--endpoints", "nonsense"], "HOST:PORT"),
        (&["dev", "--port-base", "0"], "or auto"),
    ] {
        assert_fails(&margate(arguments), 2, message);
    }
}

#[test]
fn a_deployment_that_is_not_there_ends_with_4() {
    let endpoint = free_address();
    for words in [
        &["set", "k", "v"][..],
        &["get", "k"],
        &["delete", "k"],
        &["cas", "k", "a", "-5"],
        &["size", "k"],
        &["list"],
        &["status"],
    ] {
        let mut arguments = vec!["--endpoints", &endpoint, "--timeout", "300ms"];
        arguments.extend(words);
        assert_fails(&margate(&arguments), 4, &endpoint);
    }
}

#[test]
fn json_failures_are_json_on_standard_error() {
    let endpoint = free_address();
    let output = margate(&["get", "k", "--endpoints", &endpoint, "--timeout", "300ms", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one document");
    assert_eq!(document["exit_code"], 4);
    assert!(document["error"].as_str().is_some_and(|error| error.contains(&endpoint)));
}

#[test]
fn flags_win_over_the_environment() {
    let endpoint = free_address();
    let environment = [
        ("MARGATE_ENDPOINTS", "nonsense"),
        ("MARGATE_TIMEOUT", "300ms"),
        ("MARGATE_OUTPUT", "json"),
    ];
    assert_fails(&with_environment(&environment, &["get", "k"]), 2, "nonsense");
    let output = with_environment(&environment, &["get", "k", "--endpoints", &endpoint, "-o", "text"]);
    assert_fails(&output, 4, &endpoint);
    assert!(output.stderr.starts_with(b"error: "));
}

#[test]
fn an_empty_variable_is_not_set() {
    let endpoint = free_address();
    let environment = ["MARGATE_OUTPUT", "MARGATE_TIMEOUT", "MARGATE_LOG_LEVEL", "MARGATE_LOG_FORMAT"].map(|name| (name, ""));
    let output = with_environment(&environment, &["get", "k", "--endpoints", &endpoint]);
    assert_fails(&output, 4, "no endpoint answered within 5s: ");
    let environment = [("MARGATE_ENDPOINTS", ""), ("MARGATE_OUTPUT", "xml")];
    assert_fails(&with_environment(&environment, &["get", "k"]), 2, "jsonl");
    let environment = [("MARGATE_CONFIG", ""), ("MARGATE_NODE__DATA", ""), ("MARGATE_CLUSTER__NODES", "")];
    assert_fails(&with_environment(&environment, &["node"]), 2, "cluster.nodes is not set");
}

#[test]
fn sizes_without_a_unit_are_bytes() {
    let dir = scratch();
    let file = dir.path().join("node.toml");
    let refused = |size: &str| format!("storage.segment_size is \"{size}\": it must be a multiple of 4KiB");
    let node = ["node", "--id", "1", "--data", "d", "--nodes", "1=127.0.0.1:7400"];
    assert_fails(&margate(&[&node[..], &["--segment-size", "4097"]].concat()), 2, &refused("4097"));
    let environment = [("MARGATE_STORAGE__SEGMENT_SIZE", "4098")];
    assert_fails(&with_environment(&environment, &node), 2, &refused("4098"));
    for (written, size) in [("4099", "4099"), ("\"4100\"", "4100")] {
        std::fs::write(&file, format!("[storage]\nsegment_size = {written}\n")).expect("written");
        let config = ["--config", file.to_str().expect("text")];
        assert_fails(&margate(&[&node[..], &config].concat()), 2, &refused(size));
    }
    // As the node that was made with another size advises: it is taken, and the next mistake is named.
    std::fs::write(&file, "[storage]\nsegment_size = 4194304\nreserve = true\n").expect("written");
    let config = ["--config", file.to_str().expect("text")];
    assert_fails(&margate(&[&node[..], &config].concat()), 2, "line 3: ");
}

#[test]
fn what_is_no_directory_is_said() {
    let dir = scratch();
    let file = dir.path().join("notes.txt");
    std::fs::write(&file, "mine").expect("written");
    let file = file.to_str().expect("text");
    assert_fails(&margate(&["check", "--data", file]), 2, "is no directory");
    assert_fails(&margate(&["dev", "--data", file]), 2, "is no directory");
    assert_fails(&margate(&["inspect", file]), 2, "is no directory");
    let nowhere = format!("{file}.not");
    assert_fails(
        &margate(&["inspect", &nowhere]),
        2,
        &format!("{nowhere} does not exist; name a node's data"),
    );
}

#[test]
fn a_nodes_settings_come_from_file_environment_and_flags() {
    let dir = scratch();
    let file = dir.path().join("node.toml");
    let nodes = r#"nodes = [{ id = 1, cores = ["127.0.0.1:7400"] }]"#;
    std::fs::write(&file, format!("[node]\nid = 97\n[cluster]\n{nodes}\n")).expect("written");
    let config = file.to_str().expect("text");
    let node = ["node", "--config", config];
    // No such node is listed, so the message says which id won.
    assert_fails(&margate(&node), 2, "node.id is 97");
    let environment = [("MARGATE_NODE__ID", "98")];
    assert_fails(&with_environment(&environment, &node), 2, "node.id is 98");
    assert_fails(
        &with_environment(&environment, &[&node[..], &["--id", "99"]].concat()),
        2,
        "node.id is 99",
    );
    let by_environment = [("MARGATE_CONFIG", config)];
    assert_fails(&with_environment(&by_environment, &["node"]), 2, "node.id is 97");
}

#[test]
fn a_nodes_misspelt_settings_are_refused() {
    let dir = scratch();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, "[node]\nid = 1\n\n[raft]\nelecton = \"1s\"\n").expect("written");
    let config = file.to_str().expect("text");
    assert_fails(
        &margate(&["node", "--config", config]),
        2,
        "line 5: unknown key \"electon\" in [raft]; did you mean \"election\"?",
    );
    let environment = [("MARGATE_RAFT__TIK", "1s")];
    assert_fails(&with_environment(&environment, &["node"]), 2, "did you mean MARGATE_RAFT__TICK?");
    assert_fails(
        &margate(&["node", "--config", "/nonexistent/node.toml"]),
        2,
        "/nonexistent/node.toml",
    );
    assert_fails(&margate(&["node"]), 2, "cluster.nodes is not set");
}

#[test]
fn a_node_binds_only_what_it_may() {
    let dir = scratch();
    let data = dir.path().join("data");
    let data = data.to_str().expect("text");
    let open = margate(&["node", "--id", "1", "--data", data, "--nodes", "1=0.0.0.0:7400"]);
    assert_fails(&open, 2, "--insecure");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = margate(&["node", "--id", "1", "--data", data, "--nodes", &format!("1={address}")]);
    assert_fails(&output, 1, &format!("cannot listen on {address}"));
}
