//! A running node looked at over HTTP, with `status --stages`, and with `top`.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::cli::{Cli, assert_failed};
use support::node::{Single, node_answering_at};
use support::terminal::Terminal;
use support::{Process, SOON, eventually, free_address, listed, ready, scratch};

/// What a node answers: its status, its head and its body.
struct Page {
    status: u16,
    head: String,
    body: String,
}

/// Sends a request as it is and reads until the other side closes.
fn ask(address: &str, request: &str) -> Option<Page> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Page {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}

#[track_caller]
fn page(address: &str, path: &str) -> Page {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    ask(address, &request).unwrap_or_else(|| panic!("{address} answers {path}"))
}

/// A sample of the metrics.
fn sample(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

/// One node that is looked at, where its operations are few and known.
fn single() -> (Single, String) {
    let (single, admin) = (scratch(), free_address());
    let address = free_address();
    let mut command = node_answering_at(&admin, &single.path().join("data"), 1, &[(1, &address)]);
    command.arg("--bootstrap");
    let single = Single {
        scratch: single,
        address,
        process: Process::start(command),
    };
    single.expect_serving();
    (single, admin)
}

#[test]
fn a_node_says_over_http_how_it_is() {
    let (single, admin) = single();
    let cli = single.cli();
    cli.told(&["set", "a", "1"]);
    cli.told(&["set", "b", "2"]);
    cli.told(&["get", "a"]);
    cli.assert_fails(&["get", "missing"], 3, "");
    let metrics = page(&admin, "/metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.head.contains("content-type: application/openmetrics-text"),
        "{}",
        metrics.head
    );
    for (series, value) in [
        (r#"margate_operations_total{core="0",op="set",result="ok"}"#, 2.0),
        (r#"margate_operations_total{core="0",op="get",result="ok"}"#, 1.0),
        (r#"margate_operations_total{core="0",op="get",result="not_found"}"#, 1.0),
        (r#"margate_operation_seconds_count{core="0",op="set"}"#, 2.0),
        (r#"margate_stage_seconds_count{core="0",op="read",stage="confirmed"}"#, 2.0),
        (r#"margate_core_up{core="0"}"#, 1.0),
        (r#"margate_replicas{core="0",role="leader"}"#, 2.0),
        ("margate_member{}", 1.0),
    ] {
        assert_eq!(sample(&metrics.body, series), Some(value), "{series} in\n{}", metrics.body);
    }
    // Every write went all the way, each stage once.
    for stage in [
        "routed",
        "resolved",
        "proposed",
        "appended",
        "durable",
        "committed",
        "applied",
        "replied",
    ] {
        let series = format!(r#"margate_stage_seconds_count{{core="0",op="write",stage="{stage}"}}"#);
        assert_eq!(sample(&metrics.body, &series), Some(2.0), "{series}");
    }
    let flushes = sample(&metrics.body, r#"margate_log_flush_seconds_count{core="0"}"#);
    assert!(flushes.is_some_and(|flushes| flushes >= 2.0), "{flushes:?}");
    assert_eq!(
        (page(&admin, "/livez").status, page(&admin, "/livez").body.as_str()),
        (200, "live\n")
    );
    eventually("it is ready", SOON, || (page(&admin, "/readyz").status == 200).then_some(()));
    let version: Value = serde_json::from_str(&page(&admin, "/version").body).expect("a document");
    assert_eq!((&version["name"], &version["format"]), (&Value::from("margate"), &Value::from(1)));
    assert_eq!((page(&admin, "/nothing").status, page(&admin, "/").status), (404, 200));
}

#[test]
fn what_is_no_question_is_refused_and_disturbs_nobody() {
    let (_single, admin) = single();
    let post = ask(&admin, "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").expect("an answer");
    assert!(post.status == 405 && post.head.contains("allow: get, head"), "{}", post.head);
    let rubbish = ask(&admin, "\u{1}\u{2}\u{3} rubbish\r\n\r\n").expect("an answer");
    assert_eq!(rubbish.status, 400);
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(100_000));
    // It may close before it has been told everything; then it says nothing.
    assert!(ask(&admin, &long).is_none_or(|page| page.status == 431));
    // Some who connect and say nothing take places, not the last one.
    let _silent: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(&admin).expect("it is accepted")).collect();
    let head = ask(&admin, "HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n").expect("an answer");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn an_address_that_is_taken_is_named_and_off_is_nowhere() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin = taken.local_addr().expect("bound").to_string();
    let data = scratch();
    let address = free_address();
    let mut command = node_answering_at(&admin, &data.path().join("data"), 1, &[(1, &address)]);
    command.arg("--bootstrap");
    let message = format!("cannot listen on {admin} for metrics: ");
    Process::start(command).expect_failure(1, &message);
    assert!(!data.path().join("data").exists(), "nothing was touched");
    let mut command = node_answering_at("off", &data.path().join("data"), 1, &[(1, &address)]);
    command.arg("--bootstrap");
    let _node = Process::start(command);
    let cli = Cli::at(&address).within("1s");
    eventually("the node serves", support::READY, || {
        cli.run(&["status"]).status.success().then_some(())
    });
    let refused = node_answering_at("0.0.0.0:0", data.path(), 1, &[(1, &address)])
        .output()
        .expect("the binary runs");
    assert_failed(&refused, 2, "--insecure");
}

#[test]
fn a_node_that_waits_for_others_lives_and_is_not_ready() {
    let (data, admin) = (scratch(), free_address());
    let (here, there) = (free_address(), free_address());
    let mut command = node_answering_at(&admin, &data.path().join("data"), 1, &[(1, &here), (2, &there)]);
    command.arg("--bootstrap");
    let _node = Process::start(command);
    eventually("it answers", SOON, || TcpStream::connect(&admin).ok());
    assert_eq!(page(&admin, "/livez").status, 200);
    let ready = page(&admin, "/readyz");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body, "not ready\nit is not a member of a deployment yet\n");
    assert_eq!(sample(&page(&admin, "/metrics").body, "margate_member{}"), Some(0.0));
}

#[test]
fn every_node_of_a_deployment_is_looked_at() {
    let data = scratch();
    let (mut deployment, nodes) = ready(data.path(), &["--port-base", "auto"]);
    let admins: Vec<String> = listed_admins(data.path());
    assert_eq!(admins.len(), 3);
    for admin in &admins {
        eventually("it is ready", SOON, || (page(admin, "/readyz").status == 200).then_some(()));
    }
    // The others go on without it, and its answer was the last.
    nodes[0].kill();
    assert!(TcpStream::connect(&admins[0]).is_err());
    let cli = Cli::of(&nodes);
    cli.expect_status(0);
    let _first = nodes[0].again(&[]);
    eventually("it is ready again", SOON, || {
        let ready = ask(&admins[0], "GET /readyz HTTP/1.0\r\n\r\n")?;
        (ready.status == 200).then_some(())
    });
    stages_are_shown(&cli);
    top_shows_rates(&cli);
    assert_eq!(listed(data.path()).len(), 3);
    deployment.stop();
}

fn listed_admins(data: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(data.join("dev.json")).expect("dev has written it");
    let document: Value = serde_json::from_str(&text).expect("a document");
    let nodes = document["nodes"].as_array().expect("a list");
    let admins = nodes.iter().map(|node| node["admin"].as_str().expect("an address").to_owned());
    admins.collect()
}

fn stages_are_shown(cli: &Cli) {
    cli.told(&["set", "hello", "world"]);
    cli.told(&["get", "hello"]);
    let shown = cli.told(&["status", "--stages"]);
    for word in ["until", "p99.9", "write", "durable", "committed", "confirmed", "log flush", "turn"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert!(!shown.contains("overlay rows"), "stages only: {shown}");
    let status = cli.json(&["status", "--stages"]);
    let spans: Vec<&Value> = status["cores"].as_array().expect("cores").iter().flat_map(spans).collect();
    assert!(
        spans.iter().all(|span| span["p50_ns"].as_u64() <= span["p999_ns"].as_u64()),
        "{spans:?}"
    );
    let durable = spans.iter().filter(|span| span["of"] == "write" && span["name"] == "durable");
    assert!(durable.clone().count() >= 1 && durable.clone().all(|span| span["count"].as_u64() >= Some(1)));
    assert!(
        cli.json(&["status"])["cores"][0].get("spans").is_none(),
        "only where that is asked for"
    );
}

fn spans(core: &Value) -> &[Value] {
    core["spans"].as_array().map_or(&[], Vec::as_slice)
}

fn top_shows_rates(cli: &Cli) {
    // Standard output is a pipe here, no terminal.
    let shown = cli.told(&["top", "--interval", "300ms"]);
    for word in ["writes/s", "leads", "disk free", "stalls", "turn"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    let top = cli.json(&["top", "--once", "--interval", "300ms"]);
    assert_eq!(top["cores"].as_array().map(Vec::len), Some(3));
    assert_eq!((&top["shards"], &top["shards_without_leader"]), (&Value::from(4), &Value::from(0)));
    assert!(
        top["cores"][0]["writes_per_sec"].is_u64() && top["interval_ms"].as_u64() >= Some(300),
        "{top}"
    );
    let mut refused = cli.command(&["top", "--interval", "0s"]);
    let refused = refused.stdin(Stdio::null()).output().expect("the binary runs");
    assert_failed(&refused, 2, "more than 0");
}

const ENTERED: &str = "\u{1b}[?1049h";
const LEFT: &str = "\u{1b}[?1049l";

/// The live view of a node, once it has drawn what happened between two looks.
fn live(single: &Single) -> Terminal {
    let mut command = support::margate();
    command.args(["top", "--interval", "200ms", "--endpoints", &single.address]);
    let mut terminal = Terminal::start(command, (170, 40));
    terminal.expect(&[ENTERED, "writes/s", "flushes/s", "ends"]);
    terminal
}

#[test]
fn the_live_view_ends_by_key_and_signal_and_gives_the_terminal_back() {
    let (single, _admin) = single();
    let left_as_entered = |drawn: &str| drawn.rfind(LEFT) > drawn.find(ENTERED);
    for (keys, code) in [(&b"q"[..], 0), (b"\x1b", 0), (b"\x03", 130)] {
        let mut terminal = live(&single);
        terminal.type_in(b"x");
        terminal.type_in(keys);
        let (ended, drawn) = terminal.end();
        assert_eq!(ended.code(), Some(code), "{keys:?}: {drawn}");
        assert!(left_as_entered(&drawn), "the screen is left as it was entered: {drawn}");
    }
    let terminal = live(&single);
    kill_process(Pid::from_child(terminal.child()), Signal::TERM).expect("it runs");
    let (ended, drawn) = terminal.end();
    assert_eq!(ended.code(), Some(130), "{drawn}");
    assert!(left_as_entered(&drawn), "the screen is left as it was entered: {drawn}");
}

#[test]
fn the_live_view_says_why_there_is_nothing_to_see() {
    let nowhere = free_address();
    let mut command = support::margate();
    command.args(["top", "--timeout", "1s", "--endpoints", &nowhere]);
    let (ended, drawn) = Terminal::start(command, (80, 24)).end();
    assert_eq!(ended.code(), Some(4), "{drawn}");
}
