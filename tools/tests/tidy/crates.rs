//! Rules between crates: which way dependencies point, which libraries stay in which room, what lies at the top.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::source::{code_only, has_word};
use crate::tree::Tree;

/// Each crate of ours and which of ours it may use: `client → net`, `directory → engine → net`, and nobody uses the programs.
const DIRECTIONS: [(&str, &[&str]); 6] = [
    ("net", &[]),
    ("engine", &["margate-net"]),
    ("directory", &["margate-engine", "margate-net"]),
    ("client", &["margate-net"]),
    ("tools", &["margate-client", "margate-directory", "margate-engine", "margate-net"]),
    ("perf", &["margate-client", "margate-directory", "margate-engine", "margate-net"]),
];

/// A library whose types must not spread, and the paths that may name it.
const ROOMS: [(&str, &[&str]); 14] = [
    ("async_task::", &["net/src/runtime/executor/"]),
    ("crate::generated", &["net/src/codec/"]),
    ("flatbuffers::", &["net/src/codec/"]),
    ("heed::", &["engine/src/index/error.rs", "engine/src/runtime/"]),
    ("indicatif::", &["perf/src/report/"]),
    ("hyper::", &["tools/src/admin/"]),
    ("io_uring::", &["net/src/runtime/executor/"]),
    ("memmap2::", &["tools/src/cmd/"]),
    ("prometheus_client::", &["tools/src/admin/"]),
    ("ratatui::", &["tools/src/cmd/top/"]),
    (
        "raft::",
        &[
            "engine/src/consensus/",
            "engine/src/core/",
            "engine/src/shard/",
            "perf/src/peers/raft_engine.rs",
        ],
    ),
    ("raft_engine::", &["perf/src/error.rs", "perf/src/peers/"]),
    ("runtime::executor", &["engine/src/runtime/", "net/src/runtime/"]),
    ("tonic::", &["perf/src/error.rs", "perf/src/peers/"]),
];

/// What lies at the top of the repository, beside dotfiles.
const TOP: [&str; 13] = [
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "client",
    "deny.toml",
    "directory",
    "docs",
    "engine",
    "net",
    "perf",
    "tools",
];
/// Configuration that its tool finds only there and without a dot.
const TOP_TOOLS: [&str; 2] = ["clippy.toml", "rustfmt.toml"];

#[test]
fn dependencies_point_one_way() {
    let tree = Tree::load();
    let mut findings = Vec::new();
    for (name, allowed) in DIRECTIONS {
        let manifest = format!("{name}/Cargo.toml");
        let mut section = "";
        for line in tree.text(&manifest).lines() {
            if line.starts_with('[') {
                section = line;
            }
            let used = line.split(['=', '.', ' ']).next().unwrap_or_default();
            let ours = section.contains("dependencies") && used.starts_with("margate-");
            if ours && !allowed.contains(&used) {
                findings.push(format!("{manifest}: {section} {used}"));
            }
        }
    }
    assert_none("client → net, directory → engine → net, nobody uses tools or perf", &findings);
}

#[test]
fn libraries_stay_in_their_rooms() {
    let tree = Tree::load();
    let mut findings = Vec::new();
    for (library, rooms) in ROOMS {
        let mut used = false;
        for file in tree.rust() {
            let names_it = file.text().is_some_and(|text| has_word(&code_only(text), library));
            let at_home = rooms.iter().any(|room| file.path.starts_with(room));
            used |= names_it && at_home;
            if names_it && !at_home {
                findings.push(format!("{}: {library}", file.path));
            }
        }
        assert!(used, "{library} is used nowhere: take it off the list");
    }
    assert_none("types of a library do not spread", &findings);
}

#[test]
fn the_top_holds_what_it_should() {
    let tree = Tree::load();
    let found: BTreeSet<&str> = tree.files().filter_map(|file| file.path.split('/').next()).collect();
    let missing = TOP
        .iter()
        .filter(|name| !found.contains(**name))
        .map(|name| format!("{name} is missing"));
    let known = |name: &str| name.starts_with('.') || TOP.contains(&name) || TOP_TOOLS.contains(&name);
    let strange = found
        .iter()
        .filter(|name| !known(name))
        .map(|name| format!("{name} does not belong there"));
    let findings: Vec<_> = missing.chain(strange).collect();
    assert_none("the top level is fixed", &findings);
}

#[test]
fn margate_is_the_only_default_binary() {
    let tree = Tree::load();
    let workspace = tree.text("Cargo.toml");
    assert!(
        workspace.contains("default-members = [\"tools\"]"),
        "the README's first command needs it"
    );
    let binaries = tree.text("tools/Cargo.toml").matches("[[bin]]").count();
    assert_eq!(binaries, 1, "with two binaries `cargo run` would ask which");
}
