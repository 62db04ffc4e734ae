//! Every place where the power may go, on real files: after each effect of a core on its disk, before it, and at each sector
//! inside it. What a crash leaves there is opened as a node opens it, with its index and without, and judged.
//!
//! ```text
//!   script ─► deployment ─effect─► files ──snapshots before, after──► crash states ─► opened, judged, run on
//! ```
//! A deployment is driven by hand, with the files production has: segments prewritten and written by the runtime, the index in
//! LMDB. An effect is whatever lies between two [`snapshot`]s of a node's folder, so new kinds of effects are enumerated
//! without a word about them here; only a file with an order of its own among its sectors, or that gets its name
//! once it is whole, needs one in [`states`].
//!
//! Not here, on purpose: crashes under load (the simulator, `margate-perf kill`), disks that lie about a sync.

mod contents;
mod creation;
mod deployment;
#[path = "../files/mod.rs"]
mod files;
mod judge;
mod performing;
mod place;
mod report;
mod scripts;
mod snapshot;
mod states;

use deployment::Deployment;
use files::deployment::Lag;
use report::Enumerator;
use states::Stride;

/// The keys of the shortest script.
const KEYS: [&str; 4] = ["alpha", "beta", "omega", "zeta"];

/// Prints what was found and asserts that it is nothing, and that it covers these kinds of effects.
fn conclude<const N: usize>(name: &str, found: &Enumerator, kinds: [&'static str; N]) {
    println!("{name}: {found}");
    found.assert_covers(kinds);
    assert_eq!(found.violations(), [] as [String; 0], "{name}");
}

/// Runs the shortest script on so many nodes and judges every crash.
fn overwrite(name: &str, nodes: u16, (rounds, lag, stride): (usize, Lag, Stride)) {
    let mut deployment = Deployment::create(nodes, lag);
    deployment.watch(Enumerator::new(stride));
    scripts::overwrite(&mut deployment, KEYS, rounds);
    conclude(name, &deployment.unwatch(), ["write", "commit", "prepare", "rotate"]);
}

/// Runs a script in which segments are reclaimed.
fn reclaim(name: &str, nodes: u16, (rounds, lag, stride): (usize, Lag, Stride)) {
    let mut deployment = Deployment::create(nodes, lag);
    scripts::reclaim(&mut deployment, stride, rounds);
    conclude(
        name,
        &deployment.unwatch(),
        ["write", "copies", "close", "commit", "recycle", "delete"],
    );
}

#[test]
fn one_replica_crashes_anywhere() {
    overwrite("one replica", 1, (4, Lag(0), Stride::NONE));
}

#[test]
fn one_replica_crashes_anywhere_with_slow_commits_and_segments() {
    overwrite("one replica, slow index and segments", 1, (3, Lag(3), Stride::NONE));
}

#[test]
fn three_replicas_crash_anywhere() {
    overwrite("three replicas", 3, (2, Lag(0), Stride(2)));
}

#[test]
fn a_core_crashes_anywhere_while_its_log_is_reclaimed() {
    reclaim("reclaim", 1, (3, Lag(0), Stride(4)));
}

#[test]
fn a_core_crashes_anywhere_while_its_log_is_reclaimed_with_slow_commits_and_segments() {
    reclaim("reclaim, slow index and segments", 1, (2, Lag(2), Stride(8)));
}

#[test]
fn three_cores_crash_anywhere_while_their_logs_are_reclaimed() {
    reclaim("reclaim on three nodes", 3, (0, Lag(0), Stride(32)));
}

#[test]
fn nodes_crash_anywhere_while_a_wiped_one_is_replaced() {
    let found = scripts::replace(Stride::NONE);
    conclude(
        "a wiped node",
        &found,
        ["write", "admit", "copies", "install", "commit", "prepare", "rotate"],
    );
}

#[test]
fn one_node_crashes_anywhere_while_a_wiped_one_is_replaced_and_the_others_go_on() {
    conclude(
        "a wiped node, one crash",
        &scripts::replace_alone(),
        ["write", "copies", "install", "commit"],
    );
}

#[test]
fn a_node_crashes_anywhere_while_it_is_created() {
    for (name, joined) in [("creation", false), ("creation of a node that joins", true)] {
        conclude(name, &creation::enumerate(joined), ["identity", "folders", "log", "member"]);
    }
}

/// The enumeration can fail: a core that is told a write is durable before it is loses what it acknowledged.
#[test]
fn an_early_acknowledgement_is_found() {
    let mut deployment = Deployment::create(1, Lag(0));
    deployment.watch(Enumerator::new(Stride::NONE));
    deployment.acknowledge_early();
    deployment.elect();
    deployment.set("alpha", 700);
    assert!(!deployment.unwatch().violations().is_empty());
}
