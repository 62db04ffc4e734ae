//! What must be true of every key, given what was attempted, acknowledged and left unknown.
//!
//! Always:
//! - a key stands at or above its highest acknowledged version (its *floor*), and at that version with that value;
//! - above its floor only a value whose outcome is unknown may stand, and each of those at one version only;
//! - a write acknowledged after another was acknowledged has the higher version;
//! - a refused write never shows.
//!
//! Not here, on purpose: keys as bytes, files, time. Keys are numbers from 0.

use std::collections::HashMap;

use margate_net::ids::Version;

use super::value::Attempt;
use super::violation::{Standing, Violation};

/// Violations kept with their facts; all are counted.
const VIOLATIONS_KEPT_MAX: usize = 100;

/// What is known of one deployment under test.
pub(crate) struct Ledger {
    floors: Vec<Option<Standing>>,
    attempts: Vec<Vec<Entry>>,
    unknown_seen: HashMap<Attempt, Version>,
    violations: Vec<Violation>,
    counts: Counts,
}

/// An attempt that has just begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// Its name.
    pub(crate) attempt: Attempt,
    /// Its key.
    pub(crate) key: usize,
    floor: Option<Standing>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    outcome: Outcome,
    overwritten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    UnderWay,
    Acknowledged,
    Unknown,
    Refused,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No value.
    Missing,
    /// A value that nobody wrote to this key.
    Foreign(Version),
    /// An attempt's value.
    Value(Standing),
}

/// What a write says stood before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// It was not asked.
    NotAsked,
    /// No value.
    Missing,
    /// A value that nobody wrote to this key.
    Foreign,
    /// An attempt's value.
    Value(Attempt),
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Writes acknowledged.
    pub(crate) acknowledged: u64,
    /// Writes whose outcome nobody knows.
    pub(crate) unknown: u64,
    /// Writes that were not executed, by the client's word.
    pub(crate) refused: u64,
    /// Keys read and compared while nothing was written.
    pub(crate) verified: u64,
    /// Acknowledged writes that do not stand.
    pub(crate) lost: u64,
    /// Writes that show at two versions.
    pub(crate) duplicated: u64,
    /// Values nobody wrote, refused writes that show, versions out of order.
    pub(crate) wrong: u64,
}

impl Ledger {
    /// Nothing is written yet.
    pub(crate) fn new(keys: usize, workers: usize) -> Self {
        Self {
            floors: vec![None; keys],
            attempts: vec![Vec::new(); workers],
            unknown_seen: HashMap::new(),
            violations: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// How many of what, up to now.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The first violations.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A worker is about to write a key.
    pub(crate) fn begin(&mut self, worker: usize, key: usize) -> Begun {
        let attempts = &mut self.attempts[worker];
        attempts.push(Entry {
            outcome: Outcome::UnderWay,
            overwritten: false,
        });
        Begun {
            attempt: Attempt::new(worker, attempts.len() - 1),
            key,
            floor: self.floors[key],
        }
    }

    /// The write was acknowledged at this version.
    pub(crate) fn acknowledged(&mut self, begun: Begun, version: Version, before: Before) {
        self.counts.acknowledged += 1;
        self.set_outcome(begun.attempt, Outcome::Acknowledged);
        let after = Standing {
            version,
            attempt: begun.attempt,
        };
        if let Some(floor) = begun.floor
            && floor.version >= version
        {
            self.report(Violation::OutOfOrder {
                key: begun.key,
                before: floor,
                after,
            });
        }
        self.raise_floor(begun.key, after);
        self.overwrote(begun, before);
    }

    /// Nobody knows whether the write happened.
    pub(crate) fn unknown(&mut self, begun: Begun) {
        self.counts.unknown += 1;
        self.set_outcome(begun.attempt, Outcome::Unknown);
    }

    /// The write did not happen, by the client's word.
    pub(crate) fn refused(&mut self, begun: Begun) {
        self.counts.refused += 1;
        self.set_outcome(begun.attempt, Outcome::Refused);
        if self.entry(begun.attempt).is_some_and(|entry| entry.overwritten) {
            self.report(Violation::RefusedShows {
                key: begun.key,
                attempt: begun.attempt,
            });
        }
    }

    /// What a read that begins now must not fall below.
    pub(crate) fn floor(&self, key: usize) -> Option<Standing> {
        self.floors[key]
    }

    /// A read found this while others wrote; `floor` stood when it began.
    pub(crate) fn read_under_load(&mut self, key: usize, floor: Option<Standing>, found: Found) {
        match (floor, found) {
            (None, Found::Missing) => {}
            (Some(acknowledged), Found::Missing) => self.lost(key, acknowledged, None),
            (_, Found::Foreign(version)) => self.report(Violation::Foreign { key, at: Some(version) }),
            (Some(acknowledged), Found::Value(standing)) if !stands(acknowledged, standing) => {
                self.lost(key, acknowledged, Some(standing));
            }
            (_, Found::Value(_)) => {}
        }
    }

    /// A read found this while nothing was written and every attempt had ended. What is wrong is told once:
    /// from then on what was found counts as the key's floor.
    pub(crate) fn verify(&mut self, key: usize, found: Found) {
        self.counts.verified += 1;
        let floor = self.floors[key];
        self.read_under_load(key, floor, found);
        let Found::Value(standing) = found else {
            self.floors[key] = None;
            return;
        };
        self.floors[key] = Some(standing);
        if floor.is_none_or(|floor| standing.version > floor.version) {
            self.shows_above_floor(key, standing);
        }
    }

    fn shows_above_floor(&mut self, key: usize, standing: Standing) {
        let Standing { version, attempt } = standing;
        match self.entry(attempt).map(|entry| entry.outcome) {
            None => self.report(Violation::Foreign { key, at: Some(version) }),
            Some(Outcome::Refused) => self.report(Violation::RefusedShows { key, attempt }),
            Some(Outcome::Acknowledged) => self.report(Violation::Duplicated {
                key,
                attempt,
                at: Some(version),
            }),
            Some(Outcome::Unknown | Outcome::UnderWay) => {
                if *self.unknown_seen.entry(attempt).or_insert(version) != version {
                    self.report(Violation::Duplicated {
                        key,
                        attempt,
                        at: Some(version),
                    });
                }
            }
        }
    }

    /// An acknowledged write says what it replaced: something, if the key was known to stand, and each value once.
    fn overwrote(&mut self, begun: Begun, before: Before) {
        let key = begun.key;
        match before {
            Before::NotAsked => {}
            Before::Missing => {
                if let Some(floor) = begun.floor {
                    self.lost(key, floor, None);
                }
            }
            Before::Foreign => self.report(Violation::Foreign { key, at: None }),
            Before::Value(attempt) => {
                let Some(entry) = self.entry_mut(attempt) else {
                    return self.report(Violation::Foreign { key, at: None });
                };
                let (again, outcome) = (std::mem::replace(&mut entry.overwritten, true), entry.outcome);
                if again {
                    self.report(Violation::Duplicated { key, attempt, at: None });
                }
                if outcome == Outcome::Refused {
                    self.report(Violation::RefusedShows { key, attempt });
                }
            }
        }
    }

    fn raise_floor(&mut self, key: usize, after: Standing) {
        match self.floors[key] {
            Some(floor) if floor.version == after.version => self.report(Violation::OutOfOrder { key, before: floor, after }),
            Some(floor) if floor.version > after.version => {}
            Some(_) | None => self.floors[key] = Some(after),
        }
    }

    fn lost(&mut self, key: usize, acknowledged: Standing, found: Option<Standing>) {
        self.report(Violation::Lost { key, acknowledged, found });
    }

    fn entry(&self, attempt: Attempt) -> Option<&Entry> {
        let (worker, counter) = attempt.parts();
        self.attempts.get(worker)?.get(counter)
    }

    fn entry_mut(&mut self, attempt: Attempt) -> Option<&mut Entry> {
        let (worker, counter) = attempt.parts();
        self.attempts.get_mut(worker)?.get_mut(counter)
    }

    fn set_outcome(&mut self, attempt: Attempt, outcome: Outcome) {
        let entry = self.entry_mut(attempt).expect("only attempts that were begun end");
        assert_eq!(entry.outcome, Outcome::UnderWay, "attempt {attempt} ended twice");
        entry.outcome = outcome;
    }

    fn report(&mut self, violation: Violation) {
        match violation {
            Violation::Lost { .. } => self.counts.lost += 1,
            Violation::Duplicated { .. } => self.counts.duplicated += 1,
            Violation::Foreign { .. } | Violation::RefusedShows { .. } | Violation::OutOfOrder { .. } => self.counts.wrong += 1,
        }
        if self.violations.len() < VIOLATIONS_KEPT_MAX {
            self.violations.push(violation);
        }
    }
}

/// Whether an acknowledged write still stands, or was lawfully overwritten, where `found` is read.
fn stands(acknowledged: Standing, found: Standing) -> bool {
    found == acknowledged || found.version > acknowledged.version
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
