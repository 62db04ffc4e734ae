//! What the kill test says at its end.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::book::Pages;

/// The counts of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KillReport {
    /// Whether the nodes' power was cut too.
    pub(crate) power_cuts: bool,
    /// Kills, of both kinds.
    pub(crate) kills: u32,
    /// Times the node that led most shards was killed.
    pub(crate) kills_leader: u32,
    /// Times all nodes were killed.
    pub(crate) kills_all: u32,
    /// Writes acknowledged.
    pub(crate) acknowledged: u64,
    /// Writes whose outcome nobody knows.
    pub(crate) unknown: u64,
    /// Writes that were not executed, by the client's word.
    pub(crate) refused: u64,
    /// Reads answered under load.
    pub(crate) reads: u64,
    /// Keys read and compared while nothing was written.
    pub(crate) verified: u64,
    /// Acknowledged writes that do not stand.
    pub(crate) lost: u64,
    /// Writes that show twice.
    pub(crate) duplicated: u64,
    /// Values nobody wrote, refused writes that show, versions out of order.
    pub(crate) wrong: u64,
    /// Failures that no kill explains.
    pub(crate) errors: u64,
    /// Nodes that did not come back with all their replicas; the run ends with the first.
    pub(crate) unopened: usize,
    /// The longest time in which a shard acknowledged nothing, in milliseconds.
    pub(crate) longest_outage_ms: u64,
    /// What acknowledged writes rest on, as read from the processes under load.
    pub(crate) durability: String,
    /// The seed.
    pub(crate) seed: u64,
    /// What the system says it is.
    pub(crate) version: String,
}

/// What a report says apart from the book's counts.
pub(crate) struct RunFacts {
    /// Whether the nodes' power was cut too.
    pub(crate) power_cuts: bool,
    /// Times the node that led most shards was killed.
    pub(crate) kills_leader: u32,
    /// Times all nodes were killed.
    pub(crate) kills_all: u32,
    /// Nodes that did not come back with all their replicas.
    pub(crate) unopened: usize,
    /// From the log descriptors.
    pub(crate) durability: String,
    /// The seed.
    pub(crate) seed: u64,
    /// What the system says it is.
    pub(crate) version: String,
}

impl KillReport {
    /// From the book as it is now.
    pub(crate) fn new(facts: RunFacts, pages: &Pages) -> Self {
        let counts = pages.ledger.counts();
        Self {
            power_cuts: facts.power_cuts,
            kills: facts.kills_leader + facts.kills_all,
            kills_leader: facts.kills_leader,
            kills_all: facts.kills_all,
            acknowledged: counts.acknowledged,
            unknown: counts.unknown,
            refused: counts.refused,
            reads: pages.reads,
            verified: counts.verified,
            lost: counts.lost,
            duplicated: counts.duplicated,
            wrong: counts.wrong,
            errors: pages.errors,
            unopened: facts.unopened,
            longest_outage_ms: millis(pages.outages.longest()),
            durability: facts.durability,
            seed: facts.seed,
            version: facts.version,
        }
    }

    /// Whether every acknowledged write stands, nothing shows that must not, and something was tested.
    pub(crate) fn is_clean(&self) -> bool {
        let bad = [self.lost, self.duplicated, self.wrong, self.errors];
        bad.iter().all(|count| *count == 0) && self.unopened == 0 && self.acknowledged > 0 && self.verified > 0
    }
}

impl fmt::Display for KillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({} of the leader, {} of all)  acknowledged {}  unknown {}  refused {}  verified {}  lost {}  duplicated {}  \
             wrong {}  errors {}  directories that did not open {}  longest outage {} ms",
            if self.power_cuts { "power cuts" } else { "kills" },
            self.kills,
            self.kills_leader,
            self.kills_all,
            self.acknowledged,
            self.unknown,
            self.refused,
            self.verified,
            self.lost,
            self.duplicated,
            self.wrong,
            self.errors,
            self.unopened,
            self.longest_outage_ms,
        )
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
