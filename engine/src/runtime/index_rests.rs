//! How a commit of the index leaves the CPU and its caches to its core: after each short piece of work it rests, unless somebody waits for the
//! commit, and it takes half as long as its rows took to come.
//!
//! A thread that computes for a tenth of a second keeps its time slices to their ends, whatever its weight (sched(7)): an executor, which sleeps
//! after each turn, waits for several of them between a request and its reply.
//!
//! Not here, on purpose: who waits (`core`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A piece of work: about a hundred rows, and short beside a group commit.
const WORK: Duration = Duration::from_micros(200);
/// For every piece so many rest: half a million rows then take ten seconds, as long as the fastest load takes to fill the next overlay.
const REST_PARTS: u32 = 7;
/// The longest of these rests. A piece that took long was put off by others.
const REST_MAX: Duration = Duration::from_millis(5);
/// The longest rest of a commit that is early.
const EARLY_REST_MAX: Duration = Duration::from_millis(20);
/// No commit is drawn out further than this.
const SPAN_MAX: Duration = Duration::from_secs(10);

/// Whether somebody waits for the commit that is under way; shared by a core and its index thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Urgency(Arc<AtomicBool>);

impl Urgency {
    pub(super) fn set(&self, urgent: bool) {
        // It orders nothing: a piece or two at the wrong pace are no harm.
        if self.0.load(Ordering::Relaxed) != urgent {
            self.0.store(urgent, Ordering::Relaxed);
        }
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long a commit may take while nobody waits for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span(Duration);

/// The rests of one commit.
#[derive(Debug)]
pub(super) struct Rests<'a> {
    /// `None`: it never rests.
    urgency: Option<&'a Urgency>,
    span: Span,
    rows: usize,
    began: Instant,
    piece_began: Instant,
}

impl Span {
    /// Of a commit that was given so long after the one before.
    pub(super) fn after(between: Duration) -> Self {
        Self((between / 2).min(SPAN_MAX))
    }

    /// How long to rest after a piece of work, with so much of the commit done in so long.
    fn rest(self, done: f64, taken: Duration, worked: Duration) -> Duration {
        let early = self.0.mul_f64(done.clamp(0.0, 1.0)).saturating_sub(taken);
        early.min(EARLY_REST_MAX).max((worked * REST_PARTS).min(REST_MAX))
    }
}

impl<'a> Rests<'a> {
    /// Of a commit of so many rows.
    pub(super) fn new(urgency: Option<&'a Urgency>, span: Span, rows: usize) -> Self {
        let now = Instant::now();
        Self {
            urgency,
            span,
            rows,
            began: now,
            piece_began: now,
        }
    }

    /// To be called every few rows, when so many are done.
    pub(super) fn step(&mut self, done: usize) {
        let worked = self.piece_began.elapsed();
        if worked >= WORK && self.urgency.is_some_and(|urgency| !urgency.get()) {
            let done = done as f64 / self.rows.max(1) as f64;
            thread::sleep(self.span.rest(done, self.began.elapsed(), worked));
            self.piece_began = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_commit_that_is_early_waits_for_its_time_and_a_late_one_rests_a_little() {
        let span = Span::after(1_000 * MS);
        assert_eq!(span.rest(0.5, 240 * MS, MS / 5), 10 * MS, "due after 250 ms");
        assert_eq!(span.rest(0.5, 100 * MS, MS / 5), EARLY_REST_MAX);
        assert_eq!(span.rest(0.5, 300 * MS, MS / 5), MS / 5 * REST_PARTS);
        assert_eq!(span.rest(0.5, 300 * MS, 10 * MS), REST_MAX);
        assert_eq!(Span::default().rest(0.0, MS, MS / 5), MS / 5 * REST_PARTS);
    }

    #[test]
    fn a_long_time_between_commits_makes_none_endless() {
        let span = Span::after(1_000_000 * MS);
        assert_eq!(span.rest(1.0, SPAN_MAX, MS / 5), MS / 5 * REST_PARTS);
    }
}
