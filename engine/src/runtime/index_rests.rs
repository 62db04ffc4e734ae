//! How a commit of the index leaves the CPU and its caches to its core: after each short piece of work it rests, less while somebody waits for the
//! commit, and it takes half as long as its rows took to come.
//!
//! A thread that computes for a tenth of a second keeps its time slices to their ends, whatever its weight (sched(7)): an executor, which sleeps
//! after each turn, waits for several of them between a request and its reply.
//!
//! Not here, on purpose: who waits (`core`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::core::generations::Urgency;

/// A piece of work: about a hundred rows, and short beside a group commit.
const WORK: Duration = Duration::from_micros(200);
/// For every piece so many rest: half a million rows then take ten seconds, as long as the fastest load takes to fill the next overlay.
const REST_PARTS: u32 = 7;
/// The same of a commit that should end soon.
const REST_PARTS_SOON: u32 = 3;
/// The longest of these rests. A piece that took long was put off by others.
const REST_MAX: Duration = Duration::from_millis(5);
/// The longest rest of a commit that is early.
const EARLY_REST_MAX: Duration = Duration::from_millis(20);
/// No commit is drawn out further than this.
const SPAN_MAX: Duration = Duration::from_secs(10);
/// Nor further than this if it should end soon, but for its least rests.
const SPAN_SOON_MAX: Duration = Duration::from_millis(500);

/// How soon the commit that is under way should end; shared by a core and its index thread.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedUrgency(Arc<AtomicU8>);

impl SharedUrgency {
    pub(super) fn set(&self, urgency: Urgency) {
        // It orders nothing: a piece or two at the wrong pace are no harm.
        if self.get() != urgency {
            self.0.store(urgency as u8, Ordering::Relaxed);
        }
    }

    fn get(&self) -> Urgency {
        let level = self.0.load(Ordering::Relaxed);
        let all = [Urgency::None, Urgency::Soon, Urgency::Now];
        all.into_iter().find(|urgency| *urgency as u8 == level).unwrap_or(Urgency::Now)
    }
}

/// How long a commit may take while nobody waits for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span(Duration);

/// The rests of one commit.
#[derive(Debug)]
pub(super) struct Rests<'a> {
    /// `None`: it never rests.
    urgency: Option<&'a SharedUrgency>,
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

    /// How long to rest after a piece of work, with so much of the commit done in so long. `None`: not at all.
    fn rest(self, urgency: Urgency, done: f64, taken: Duration, worked: Duration) -> Option<Duration> {
        let (span, parts) = match urgency {
            Urgency::None => (self.0, REST_PARTS),
            Urgency::Soon => (self.0.min(SPAN_SOON_MAX), REST_PARTS_SOON),
            Urgency::Now => return None,
        };
        let early = span.mul_f64(done.clamp(0.0, 1.0)).saturating_sub(taken);
        Some(early.min(EARLY_REST_MAX).max((worked * parts).min(REST_MAX)))
    }
}

impl<'a> Rests<'a> {
    /// Of a commit of so many rows.
    pub(super) fn new(urgency: Option<&'a SharedUrgency>, span: Span, rows: usize) -> Self {
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
        let Some(urgency) = self.urgency.filter(|_| worked >= WORK) else {
            return;
        };
        let done = done as f64 / self.rows.max(1) as f64;
        if let Some(rest) = self.span.rest(urgency.get(), done, self.began.elapsed(), worked) {
            thread::sleep(rest);
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
        let rest = |span: Span, taken, worked| span.rest(Urgency::None, 0.5, taken, worked);
        let span = Span::after(1_000 * MS);
        assert_eq!(rest(span, 240 * MS, MS / 5), Some(10 * MS), "due after 250 ms");
        assert_eq!(rest(span, 100 * MS, MS / 5), Some(EARLY_REST_MAX));
        assert_eq!(rest(span, 300 * MS, MS / 5), Some(MS / 5 * REST_PARTS));
        assert_eq!(rest(span, 300 * MS, 10 * MS), Some(REST_MAX));
        assert_eq!(rest(Span::default(), MS, MS / 5), Some(MS / 5 * REST_PARTS));
    }

    #[test]
    fn an_urgent_commit_takes_half_a_second_and_the_most_urgent_never_rests() {
        let rest = |urgency, taken| Span::after(20_000 * MS).rest(urgency, 0.5, taken, MS / 5);
        assert_eq!(rest(Urgency::Soon, 245 * MS), Some(5 * MS), "due after 250 ms");
        assert_eq!(rest(Urgency::Soon, 251 * MS), Some(MS / 5 * REST_PARTS_SOON), "it is late");
        assert_eq!(rest(Urgency::Now, Duration::ZERO), None);
        let short = Span::after(100 * MS).rest(Urgency::Soon, 0.5, 20 * MS, MS / 5);
        assert_eq!(short, Some(5 * MS), "no longer than if nobody waited");
    }

    #[test]
    fn a_long_time_between_commits_makes_none_endless() {
        let span = Span::after(1_000_000 * MS);
        assert_eq!(span.rest(Urgency::None, 1.0, SPAN_MAX, MS / 5), Some(MS / 5 * REST_PARTS));
    }
}
