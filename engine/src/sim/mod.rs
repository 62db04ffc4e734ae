//! The deterministic simulation: many nodes of the real engine, clients, links, disks and clocks in one thread, all
//! from one seed.
//!
//! What runs is what production runs: [`crate::core::machine::Core`] started by [`crate::core::creation`] and
//! [`crate::core::replay`]; only its driver is another one. A run has two halves: faults, then none, when everything
//! must finish. A seed always leads to the same run, so a failure is found again by its seed and commit.
//!
//! Reading order: `world` holds everything and steps it, `turn` drives cores, `client` and `workload` ask,
//! `nemesis`, `ballots`, `lives`, `network`, `disk`, `disk_faults`, `full`, `rot` and `renewal` break things, as `options` were drawn for the
//! seed, some of them for one aim (`aims`); `faults` counts what happened; `settle` ends the run, `check` judges, `violation` is what it may
//! find. Small parts: `node`, `schedule`, `clock`, `dice`, `wire`, `history`, `hurt`.
//!
//! Not here, on purpose: real clocks, dice, files and threads (`bin/sim.rs` runs seeds on threads and prints).

mod aims;
mod ballots;
mod check;
mod client;
mod clock;
mod dice;
pub(crate) mod disk;
mod disk_faults;
mod faults;
mod full;
mod history;
mod hurt;
mod lives;
mod nemesis;
mod network;
mod node;
mod options;
mod renewal;
mod rot;
mod schedule;
mod settle;
mod turn;
mod violation;
mod wire;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use faults::{Fault, FaultCounts};
pub use violation::Violation;

use crate::planted::{Bug, Planted};
use world::World;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Operations clients asked.
    pub operations: u64,
    /// What went wrong on purpose, and the rare branches that were reached.
    pub faults: FaultCounts,
    /// Keys whose history was too hard to judge.
    pub too_hard: u64,
    /// Hash of all that happened, in order.
    pub event_hash: u64,
    /// What was found, if anything.
    pub violation: Option<Violation>,
}

/// Runs a seed, with a bug planted if one is given.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>) -> Report {
    let planted = bug.map_or(Planted::NONE, Planted::bug);
    let mut world = World::new(seed, planted);
    let found = world.run();
    let judged = found.and_then(|()| world.judge());
    world.mix_measures();
    Report {
        seed,
        operations: world.history.records().len() as u64,
        faults: world.faults.clone(),
        too_hard: judged.as_ref().copied().unwrap_or_default(),
        event_hash: world.hash.0,
        violation: judged.err(),
    }
}

/// Runs a seed; an assertion that fails in it is a violation. Where panics abort it is only [`run`].
#[must_use]
pub fn run_caught(seed: u64, bug: Option<Bug>) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(seed, bug))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let message = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            seed,
            operations: 0,
            faults: FaultCounts::default(),
            too_hard: 0,
            event_hash: 0,
            violation: Some(Violation::Assertion {
                message: message.unwrap_or_default(),
            }),
        }
    })
}
