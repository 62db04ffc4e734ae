//! How a commit of the index leaves the CPU to its core: after each short piece of work it rests, unless somebody waits for the commit.
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
/// The longest rest. A piece that took long was put off by others.
const REST_MAX: Duration = Duration::from_millis(5);

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

/// The rests of one commit.
#[derive(Debug)]
pub(super) struct Rests<'a> {
    /// `None`: it never rests.
    urgency: Option<&'a Urgency>,
    began: Instant,
}

impl<'a> Rests<'a> {
    pub(super) fn new(urgency: Option<&'a Urgency>) -> Self {
        Self {
            urgency,
            began: Instant::now(),
        }
    }

    /// To be called every few rows.
    pub(super) fn step(&mut self) {
        let worked = self.began.elapsed();
        if worked >= WORK && self.urgency.is_some_and(|urgency| !urgency.get()) {
            thread::sleep((worked * REST_PARTS).min(REST_MAX));
            self.began = Instant::now();
        }
    }
}
