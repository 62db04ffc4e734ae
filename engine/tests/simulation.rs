//! The simulation, briefly: a few seeds hold, a seed is always the same run, and planted bugs are found.

use margate_engine::planted::Bug;
use margate_engine::sim::{Fault, FaultCounts, Violation, run_caught};

/// Seeds of the first test.
const SEEDS: u64 = 32;
/// Seeds within which each bug of [`SHOWS_SOON`] must be found here.
const PLANTED_WITHIN: u64 = 30;
/// Bugs that show in most seeds. `sim --planted all`, a part of `.ci/run`, looks for every one, in a thousand seeds.
const SHOWS_SOON: [Bug; 10] = [
    Bug::AckBeforeFlush,
    Bug::VoteNotPersisted,
    Bug::ReadUnconfirmed,
    Bug::ResolveIgnoresPending,
    Bug::IndexAheadOfCommit,
    Bug::TenureTooLong,
    Bug::TenureSurvivesTransfer,
    Bug::CheckpointForgotten,
    Bug::TornTakenForDamage,
    Bug::DamageTakenForTorn,
];
/// Bugs that show only where disks lose something, which every third seed's do.
const OF_DISKS: [Bug; 3] = [Bug::DamageTakenForTorn, Bug::HeartbeatStepped, Bug::ProvenTakenForTorn];
/// Bugs that nothing but one kind of fault shows, and the first seed that is made for it; so is every twelfth from there on.
const AIMED: [(Bug, u64); 5] = [
    (Bug::PromiseForgotten, 1),
    (Bug::ProvenTakenForTorn, 3),
    (Bug::DeleteForgotten, 5),
    (Bug::ClocksBeyondBound, 7),
    (Bug::VotesRightAfterStart, 11),
];
/// Seeds that broke a promise once, and what was learnt.
const REGRESSIONS: [(u64, &str); 11] = [
    (4, "a follower's fetch goes on behind a batch that ends with its segment"),
    (13, "a replica replayed from its creation knows the term before its first entry"),
    (151, "replaced entries that a scan meets early are no damage"),
    (222, "a replay meets rows that are newer than the entry it applies"),
    (338, "a value that rots twice may be as it was, which is no loss"),
    (2_085, "no index holds a replica whose creation is not durable in the log"),
    (2_108, "a replica follows a leader whose admission is among the entries it lacks"),
    (3_215, "an entry at the index's mark cuts what follows it"),
    (4_401, "a replica whose creation is lost may have lost rows of its image"),
    (
        12_099,
        "a replica that ended and whose creation is lost is not admitted under its id again",
    ),
    (
        16_077,
        "a replica of which damage has left nothing is not admitted under its id again",
    ),
];

#[test]
fn seeds_hold_and_faults_happen() {
    let mut faults = FaultCounts::default();
    for seed in 0..SEEDS {
        let report = run_caught(seed, None);
        assert_eq!(report.violation, None, "seed={seed}");
        assert_eq!(report.too_hard, 0, "seed={seed}");
        assert!(report.operations >= 1_000, "seed={seed} asked only {}", report.operations);
        faults.absorb(&report.faults);
    }
    for fault in [
        Fault::Kill,
        Fault::Partition,
        Fault::Drop,
        Fault::WriteTorn,
        Fault::LeaderChanged,
        Fault::IndexCommitted,
        Fault::IndexReverted,
        Fault::WriteError,
        Fault::CommitError,
        Fault::ReadError,
        Fault::DamageFound,
        Fault::DiskFull,
        Fault::WriteRefusedFull,
        Fault::TailLost,
    ] {
        assert!(faults.of(fault) > 0, "{} never happened", fault.name());
    }
}

#[test]
fn seeds_that_found_something_hold() {
    for (seed, lesson) in REGRESSIONS {
        assert_eq!(run_caught(seed, None).violation, None, "seed={seed}: {lesson}");
    }
}

#[test]
fn a_seed_is_always_the_same_run() {
    let hashes: Vec<u64> = (100..104).map(|seed| run_caught(seed, None).event_hash).collect();
    let again: Vec<u64> = (100..104).map(|seed| run_caught(seed, None).event_hash).collect();
    assert_eq!(hashes, again);
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "seeds differ");
}

#[test]
fn planted_bugs_are_found() {
    for bug in SHOWS_SOON {
        let step = if OF_DISKS.contains(&bug) { 3 } else { 1 };
        let found = (0..PLANTED_WITHIN)
            .step_by(step)
            .find_map(|seed| run_caught(seed, Some(bug)).violation);
        assert!(found.is_some(), "{} is not found in {PLANTED_WITHIN} seeds", bug.name());
    }
}

#[test]
fn bugs_that_hide_are_found_by_seeds_made_for_them() {
    for (bug, first) in AIMED {
        let mut seeds = (first..100).step_by(12);
        let found = seeds.find_map(|seed| run_caught(seed, Some(bug)).violation);
        assert!(
            found.as_ref().is_some_and(|violation| violation.checker() != "liveness"),
            "{}: {found:?}",
            bug.name()
        );
    }
}

#[test]
fn the_canary_fails_every_time() {
    for seed in 0..6 {
        let violation = run_caught(seed, Some(Bug::Canary)).violation;
        assert!(
            matches!(violation, Some(Violation::NotLinearizable { .. })),
            "seed={seed}: {violation:?}"
        );
    }
}
