//! What is counted of a run, by kind of operation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use margate_client::WriteSummary;

use super::Window;
use crate::margate::target::failure;
use crate::meter::{Reading, no_latency};
use crate::target::{Effect, Failure};
use crate::workload::bench::Kind;

/// Ways the tally is split so that workers on several threads seldom meet.
const TALLIES: usize = 4;

/// Counts and latencies of one kind of operation, or of all.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    /// Operations acknowledged inside the window.
    pub(crate) ops: u64,
    /// Nanoseconds of the acknowledged operations that were due in the window.
    pub(crate) latency: Histogram<u64>,
    /// Operations that failed and changed nothing, and reads of wrong values.
    pub(crate) errors: u64,
    /// Writes that failed and may have happened.
    pub(crate) unknown: u64,
}

impl Counted {
    fn nothing() -> Self {
        Self {
            ops: 0,
            latency: no_latency(),
            errors: 0,
            unknown: 0,
        }
    }

    /// A latency in microseconds, at a quantile between 0 and 1.
    pub(crate) fn micros_at(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.errors += other.errors;
        self.unknown += other.unknown;
    }

    fn note_failure(&mut self, effect: Effect) {
        match effect {
            Effect::None => self.errors += 1,
            Effect::Unknown => self.unknown += 1,
        }
    }
}

/// What the clock asked for in an open loop and did not get in time.
#[derive(Clone, Debug)]
pub(crate) struct Unmet {
    /// Operations due in the window that began late because as many as may be were under way. Their latency counts
    /// from when they were due.
    pub(crate) held_back: u64,
    /// How long those due in the window had waited that never began: the least their latency would have been.
    pub(crate) never_begun: Histogram<u64>,
}

impl Unmet {
    /// Nothing yet.
    pub(super) fn nothing() -> Self {
        Self {
            held_back: 0,
            never_begun: no_latency(),
        }
    }
}

/// What was measured.
pub(crate) struct Measured {
    /// When the window opened.
    pub(crate) opened: Instant,
    /// Length of the window.
    pub(crate) window: Duration,
    /// By kind of operation, those that there were.
    pub(crate) kinds: BTreeMap<Kind, Counted>,
    /// What an open loop could not do.
    pub(crate) unmet: Option<Unmet>,
    /// The first failure, as an example.
    pub(crate) first_failure: Option<Failure>,
}

impl Measured {
    fn nothing(window: Window) -> Self {
        Self {
            opened: window.opens,
            window: window.length(),
            kinds: BTreeMap::new(),
            unmet: None,
            first_failure: None,
        }
    }

    /// All kinds together. What never began is in the latencies with the time it had waited, so that they say the
    /// least that is true, and not more than that.
    pub(crate) fn total(&self) -> Counted {
        let mut total = Counted::nothing();
        self.kinds.values().for_each(|counted| total.add(counted));
        if let Some(unmet) = &self.unmet {
            total.latency.add(&unmet.never_begun).expect("all histograms have the same bounds");
        }
        total
    }

    /// Operations per second of these.
    pub(crate) fn rate(&self, counted: &Counted) -> f64 {
        counted.ops as f64 / self.window.as_secs_f64()
    }

    /// These, as they are printed.
    pub(crate) fn reading(&self, counted: &Counted) -> Reading {
        Reading::of(counted.ops, self.window, &counted.latency)
    }

    fn of(&mut self, kind: Kind) -> &mut Counted {
        self.kinds.entry(kind).or_insert_with(Counted::nothing)
    }

    fn merge(&mut self, other: Self) {
        for (kind, counted) in &other.kinds {
            self.of(*kind).add(counted);
        }
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}

/// What all workers of a run note, while it runs.
pub(super) struct Tallies {
    window: Window,
    tallies: Vec<Mutex<Measured>>,
}

impl Tallies {
    /// Nothing noted yet.
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            tallies: (0..TALLIES).map(|_| Mutex::new(Measured::nothing(window))).collect(),
        }
    }

    /// One operation is over.
    pub(super) fn note(&self, worker: usize, kind: Kind, due: Instant, ended: Instant, outcome: Result<(), Failure>) {
        let mut tally = self.tallies[worker % TALLIES].lock().unwrap_or_else(PoisonError::into_inner);
        let counted = tally.of(kind);
        match outcome {
            Ok(()) => {
                counted.ops += u64::from(self.window.holds(ended));
                if self.window.holds(due) {
                    counted.latency.saturating_record(nanos(ended - due));
                }
            }
            Err(failure) => {
                counted.note_failure(failure.effect);
                tally.first_failure.get_or_insert(failure);
            }
        }
    }

    /// Writes are over of which a batch writer speaks together; some of them are timed by [`Tallies::note_time`].
    pub(super) fn note_all(&self, ended: Instant, summary: &WriteSummary) {
        let mut tally = self.tallies[0].lock().unwrap_or_else(PoisonError::into_inner);
        let counted = tally.of(Kind::Update);
        if self.window.holds(ended) {
            counted.ops += summary.acknowledged;
        }
        counted.errors += summary.failed;
        counted.unknown += summary.unknown;
        if let Some(first) = summary.failures.first() {
            tally.first_failure.get_or_insert_with(|| failure(first.error.clone()));
        }
    }

    /// A write was acknowledged that is counted elsewhere.
    pub(super) fn note_time(&self, due: Instant, ended: Instant) {
        if self.window.holds(due) {
            let mut tally = self.tallies[0].lock().unwrap_or_else(PoisonError::into_inner);
            tally.of(Kind::Update).latency.saturating_record(nanos(ended - due));
        }
    }

    /// All of it, with what an open loop could not do.
    pub(super) fn total(self, unmet: Option<Unmet>) -> Measured {
        let mut total = Measured::nothing(self.window);
        for tally in self.tallies {
            total.merge(tally.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        total.unmet = unmet;
        total
    }
}

/// As the histograms count it.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A window of one second in which these operations were acknowledged, after so many microseconds each.
    pub(crate) fn measured(kinds: &[(Kind, &[u64])]) -> Measured {
        let opens = Instant::now();
        let closes = opens + Duration::from_secs(1);
        let tallies = Tallies::new(Window { opens, closes });
        for (kind, all_micros) in kinds {
            for (worker, micros) in all_micros.iter().enumerate() {
                tallies.note(worker, *kind, opens, opens + Duration::from_micros(*micros), Ok(()));
            }
        }
        tallies.total(None)
    }

    #[test]
    fn what_ends_in_the_window_counts_and_what_was_due_in_it_is_timed() {
        let opens = Instant::now();
        let at = |millis: u64| opens + Duration::from_millis(millis);
        let before = opens
            .checked_sub(Duration::from_millis(5))
            .expect("the machine has run for a while");
        let tallies = Tallies::new(Window { opens, closes: at(10) });
        tallies.note(0, Kind::Read, before, before + Duration::from_millis(1), Ok(()));
        tallies.note(1, Kind::Read, before, at(1), Ok(()));
        tallies.note(2, Kind::Read, at(2), at(4), Ok(()));
        tallies.note(3, Kind::Read, at(9), at(10), Ok(()));
        tallies.note(4, Kind::Read, at(10), at(11), Ok(()));
        let total = tallies.total(None).total();
        assert_eq!((total.ops, total.latency.len()), (2, 2));
        assert!((1990.0..2010.0).contains(&total.micros_at(1.0)), "{}", total.micros_at(1.0));
    }

    #[test]
    fn writes_that_end_together_are_counted_and_some_are_timed() {
        let opens = Instant::now();
        let at = |millis: u64| opens + Duration::from_millis(millis);
        let tallies = Tallies::new(Window { opens, closes: at(10) });
        let summary = WriteSummary {
            acknowledged: 5,
            failed: 2,
            unknown: 1,
            failures: Vec::new(),
        };
        tallies.note_all(at(4), &summary);
        tallies.note_all(at(10), &summary);
        tallies.note_time(at(9), at(12));
        tallies.note_time(at(10), at(12));
        let total = tallies.total(None).total();
        assert_eq!((total.ops, total.latency.len(), total.errors, total.unknown), (5, 1, 4, 2));
        assert!((2990.0..3010.0).contains(&total.micros_at(0.5)), "{}", total.micros_at(0.5));
    }

    #[test]
    fn all_kinds_together_hold_what_never_began_with_the_time_it_had_waited() {
        let mut measured = measured(&[(Kind::Read, &[100, 200]), (Kind::Scan, &[300])]);
        let total = measured.total();
        assert_eq!((total.ops, total.latency.len()), (3, 3));
        let mut unmet = Unmet::nothing();
        unmet.never_begun.record_n(1_000_000_000, 2).expect("it is in bounds");
        measured.unmet = Some(unmet);
        let total = measured.total();
        assert_eq!((total.ops, total.latency.len()), (3, 5));
        assert!(total.micros_at(0.99) > 990_000.0, "{}", total.micros_at(0.99));
        assert!(measured.kinds[&Kind::Read].micros_at(1.0) < 210.0, "it had no kind yet");
    }
}
