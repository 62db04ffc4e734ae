//! Every place where the power may go, on real files: after each effect of a core on its disk, before it, and at each sector
//! inside it. What a crash leaves there is opened as a node opens it, and judged.
//!
//! ```text
//!   script ─► deployment ─effect─► files ──snapshots before, after──► crash states ─► opened, judged, run on
//! ```
//! A deployment is driven by hand, with the files production has: segments prewritten and written by the runtime, the index in
//! LMDB. An effect is whatever lies between two [`snapshot`]s of a node's folder, so new kinds of effects are enumerated
//! without a word about them here; only a file with an order of its own among its sectors needs one in [`states`].
//!
//! Not here, on purpose: crashes under load (the simulator, `margate-perf kill`), disks that lie about a sync.

mod creation;
mod deployment;
mod judge;
mod node;
mod snapshot;
mod states;

use deployment::{Deployment, Lag};
use judge::Enumerator;

/// Values of the script: short ones, and one that fills most of a segment.
const VALUE_BYTES: [usize; 5] = [20, 700, 3_000, 90, 14_000];

/// Sets, deletes and sets again, until segments have changed and the index has taken several generations.
fn script(deployment: &mut Deployment, keys: [&'static str; 4], rounds: usize) {
    deployment.elect();
    for round in 0..rounds {
        for (key, at) in keys.iter().zip(round..) {
            deployment.set(key, VALUE_BYTES[at % VALUE_BYTES.len()]);
        }
        deployment.delete(keys[round % keys.len()]);
        // Long enough for the overlay to go to the index.
        deployment.pass(6_000);
    }
    deployment.pass(6_000);
}

/// Runs the script on so many nodes and judges every crash.
fn enumerate(name: &str, nodes: u16, rounds: usize, lag: Lag) {
    let mut deployment = Deployment::create(nodes, lag);
    deployment.watch(Enumerator::default());
    script(&mut deployment, ["alpha", "beta", "omega", "zeta"], rounds);
    let found = deployment.unwatch();
    println!("{name}: {found}");
    found.assert_covers(["write", "commit", "prepare", "rotate"]);
    assert_eq!(found.violations(), [] as [String; 0], "{name}");
}

#[test]
fn one_replica_crashes_anywhere() {
    enumerate("one replica", 1, 4, Lag(0));
}

#[test]
fn one_replica_crashes_anywhere_with_slow_commits_and_segments() {
    enumerate("one replica, slow index and segments", 1, 3, Lag(3));
}

#[test]
fn three_replicas_crash_anywhere() {
    enumerate("three replicas", 3, 2, Lag(0));
}

#[test]
fn a_node_crashes_anywhere_while_it_is_created() {
    let found = creation::enumerate();
    println!("creation: {found}");
    found.assert_covers(["identity", "folders", "log", "member"]);
    assert_eq!(found.violations(), [] as [String; 0]);
}

/// The enumeration can fail: a core that is told a write is durable before it is loses what it acknowledged.
#[test]
fn an_early_acknowledgement_is_found() {
    let mut deployment = Deployment::create(1, Lag(0));
    deployment.watch(Enumerator::default());
    deployment.acknowledge_early();
    deployment.elect();
    deployment.set("alpha", 700);
    assert!(!deployment.unwatch().violations().is_empty());
}
