//! Rules of the texts: their links lead somewhere, the README's example is the one that compiles, its limits are
//! those of the code.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use margate_engine::limits as engine;
use margate_engine::log::limits as log;
use margate_net::limits as net;

use crate::assert_none;
use crate::tree::{TrackedFile, Tree};

/// Ends of names that make a word in backticks a path.
const PATH_ENDS: [&str; 6] = [".rs", ".md", ".toml", ".fbs", ".sh", "/"];

/// Words like `engine/src/log/scan/mod.rs` in a text.
fn paths_named(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.contains('/') && PATH_ENDS.iter().any(|end| word.ends_with(end)) && word.chars().all(is_of_path))
}

fn is_of_path(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-./".contains(character)
}

/// Where `[text](target)` leads, but for the web and places in the same text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let inside = targets.map(|target| target.split('#').next().unwrap_or_default());
    inside.filter(|target| !target.is_empty() && !target.contains("://"))
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path as written in a text of some folder, from the top.
fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn texts(tree: &Tree) -> impl Iterator<Item = &TrackedFile> {
    tree.files().filter(|file| file.path.ends_with(".md"))
}

/// Tests beside their module, in a file or a folder of their own.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

#[test]
fn links_lead_somewhere() {
    let tree = Tree::load();
    let mut findings = Vec::new();
    for file in texts(&tree) {
        let text = file.text().expect("texts are UTF-8");
        let broken = links(text).filter(|target| !tree.has(&resolve(folder_of(&file.path), target)));
        findings.extend(broken.map(|target| format!("{}: {target}", file.path)));
    }
    assert_none("links name tracked files", &findings);
}

#[test]
fn the_map_of_the_code_is_true() {
    let tree = Tree::load();
    let mut findings = Vec::new();
    for file in ["ARCHITECTURE.md", "README.md"] {
        let ours = |path: &&str| path.split('/').next().is_some_and(|top| tree.has(top));
        let unknown = paths_named(tree.text(file)).filter(ours).filter(|path| !tree.has(path));
        findings.extend(unknown.map(|path| format!("{file}: {path}")));
    }
    assert_none("paths named in the map exist", &findings);
    let map = tree.text("ARCHITECTURE.md");
    let code = tree.rust().filter(|file| file.path.contains("/src/") && !is_test(&file.path));
    let folders: BTreeSet<_> = code.map(|file| folder_of(&file.path)).collect();
    let absent = folders.into_iter().filter(|folder| !map.contains(&format!("`{folder}/`")));
    let findings: Vec<_> = absent.map(str::to_owned).collect();
    assert_none(
        "every folder of code is on the map of ARCHITECTURE.md, as `crate/src/folder/`",
        &findings,
    );
}

#[test]
fn the_example_of_the_readme_is_the_one_that_compiles() {
    let tree = Tree::load();
    let example = tree.text("client/examples/hello.rs");
    let body = example.split_once("async fn hello()").expect("the example has its function").1;
    let quoted = tree
        .text("README.md")
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let quoted = quoted.expect("the README quotes the example as Rust");
    let quoted = quoted.split_once("async fn hello()").expect("the README quotes its function").1;
    assert_eq!(quoted.trim(), body.trim(), "README.md and client/examples/hello.rs differ");
}

#[test]
fn the_limits_of_the_readme_are_those_of_the_code() {
    let tree = Tree::load();
    let readme = tree.text("README.md");
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let limits = [
        ("key", format!("{} bytes", thousands(net::KEY_BYTES_MAX))),
        ("value", mib(net::VALUE_BYTES_MAX)),
        ("operations in one frame", thousands(net::OPERATIONS_PER_FRAME_MAX)),
        (
            "page of a list",
            format!("{} rows, {}", thousands(net::LIST_ROWS_MAX as usize), mib(net::LIST_BYTES_MAX)),
        ),
        (
            "frame",
            format!(
                "{} of headers, {} of keys and values",
                mib(net::BODY_BYTES_MAX),
                mib(net::PAYLOAD_BYTES_MAX)
            ),
        ),
        ("nodes", thousands(net::NODES_MAX)),
        ("cores of a node", thousands(net::CORES_MAX)),
        ("shards", thousands(net::SHARDS_MAX)),
        (
            "operations waiting in a shard",
            format!("{}, {}", thousands(engine::QUEUED_OPERATIONS_MAX), mib(engine::QUEUED_BYTES_MAX)),
        ),
        ("reads waiting in a shard", thousands(engine::READS_WAITING_MAX)),
        (
            "entries of a shard under way",
            format!(
                "{}, {}",
                thousands(engine::UNCOMMITTED_ENTRIES_MAX),
                mib(engine::UNCOMMITTED_BYTES_MAX)
            ),
        ),
        (
            "connections of a core",
            thousands(margate_engine::runtime::server::CONNECTIONS_MAX as usize),
        ),
        ("one flush", mib(log::BATCH_BYTES_MAX)),
        ("rows applied and not yet in the index", mib(engine::OVERLAY_BYTES_MAX)),
        (
            "cache of values of a core",
            mib(usize::try_from(engine::VALUE_CACHE_BYTES).expect("it fits memory")),
        ),
    ];
    let rows = limits.iter().map(|(name, limit)| format!("| {name} | {limit} |"));
    let missing: Vec<_> = rows.filter(|row| !readme.contains(row.as_str())).collect();
    assert_none("the README's table of limits lacks these rows", &missing);
}

/// A number with its thousands set apart.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

#[test]
fn decisions_are_numbered_without_gaps_and_listed() {
    let tree = Tree::load();
    let prefix = "docs/decisions/";
    let mut notes: Vec<&str> = tree.files().filter_map(|file| file.path.strip_prefix(prefix)).collect();
    notes.retain(|name| *name != "README.md");
    notes.sort_unstable();
    let index = tree.text("docs/decisions/README.md");
    let mut findings = Vec::new();
    for (name, number) in notes.iter().zip(1..) {
        if !name.starts_with(&format!("{number:02}-")) {
            findings.push(format!("{prefix}{name}: number {number:02} is missing or taken twice"));
        }
        if !index.contains(&format!("({name})")) {
            findings.push(format!("{prefix}README.md does not list {name}"));
        }
        let text = tree.text(&format!("{prefix}{name}"));
        let parts = ["## Context", "## Decision", "## Consequence"];
        let lacking = parts.iter().filter(|part| !text.contains(**part));
        findings.extend(lacking.map(|part| format!("{prefix}{name}: no {part}")));
    }
    assert!(notes.len() >= 10, "only {} notes were found", notes.len());
    assert_none("decision notes", &findings);
}

#[test]
fn ports_and_commands_of_the_readme_are_true() {
    let tree = Tree::load();
    let readme = tree.text("README.md");
    let rule = format!("port = {} + {} × (node − 1) + core", net::PORT_BASE, net::PORTS_PER_NODE);
    for needed in ["cargo run --release -- dev\n", "cargo test --workspace\n", rule.as_str()] {
        assert!(readme.contains(needed), "the README does not say {needed:?}");
    }
    assert!(tree.root().join("Cargo.lock").is_file(), "builds are the same everywhere");
}

/// What the README tells people to type after `cargo run --release --`.
fn commands(readme: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = readme.lines().filter_map(|line| line.strip_prefix("cargo run --release -- "));
    lines.map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect())
}

fn margate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_margate"));
    let ran = command.args(arguments).stdin(Stdio::null()).output();
    ran.expect("the binary was built for this test")
}

#[test]
fn the_commands_of_the_readme_exist() {
    let tree = Tree::load();
    let commands: Vec<_> = commands(tree.text("README.md")).collect();
    assert!(commands.len() >= 5, "only {} commands were found", commands.len());
    let unknown = |command: &Vec<&str>| {
        // Help is printed only if everything before it could be understood so far.
        let asked = margate(&[command.as_slice(), &["--help"]].concat());
        (!asked.status.success()).then(|| format!("{}: {}", command.join(" "), String::from_utf8_lossy(&asked.stderr).trim()))
    };
    let findings: Vec<_> = commands.iter().filter_map(unknown).collect();
    assert_none("commands of the README are taken", &findings);
}

#[test]
fn the_configuration_of_the_readme_is_read() {
    let tree = Tree::load();
    let text = tree
        .text("README.md")
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
    std::fs::write(file.path(), text.expect("the README shows a configuration")).expect("it is written");
    // A node that is not listed is refused only after every key of the file was understood.
    let ran = margate(&["node", "--config", &file.path().display().to_string(), "--id", "99"]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("node.id is 99, but cluster.nodes lists 1, 2, 3"), "{said}");
}

#[test]
fn paths_and_links_are_found_in_texts() {
    let text = "see `a/b.rs`, `c/`, `x = 1/2`, `./configure me`, [one](a/b.md#top), [two](https://x.y), [three](#here)";
    assert_eq!(paths_named(text).collect::<Vec<_>>(), ["a/b.rs", "c/"]);
    assert_eq!(links(text).collect::<Vec<_>>(), ["a/b.md"]);
    assert_eq!(resolve("docs/decisions", "../format.md"), "docs/format.md");
    assert_eq!(thousands(65_536), "65,536");
}
