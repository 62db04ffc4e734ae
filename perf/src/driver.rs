//! The closed loop: N workers, each with one operation under way, until the time is over.
//!
//! ```text
//!  start ── warm-up ──┬────────── window ──────────┬── drain
//!                     │ counted: what ends in here │ latency: what began in the window, to its end
//! ```
//! Counting what ends inside the window gives the rate of the steady state; timing what began in it, even
//! when it ends later, keeps the slowest operations in the histogram. Errors count from start to drain.
//!
//! Not here, on purpose: threads. The caller's runtime decides; workers are tasks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::target::{Effect, Failure, Target, WrongRead};
use crate::workload::{Bench, Drawer, Step, Workload};

/// Nanoseconds the histogram can tell apart from longer ones.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// Ways the tally is split so that workers on several threads seldom meet.
const TALLIES: usize = 4;

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// What to do.
    pub(crate) bench: Bench,
    /// Operations under way at any instant.
    pub(crate) in_flight: usize,
    /// Time before counting starts.
    pub(crate) warmup: Duration,
    /// Time that counts.
    pub(crate) window: Duration,
    /// Told apart from other runs of one seed.
    pub(crate) phase: u64,
}

/// What was measured.
pub(crate) struct Measured {
    /// Operations acknowledged inside the window.
    pub(crate) ops: u64,
    /// Length of the window.
    pub(crate) window: Duration,
    /// Nanoseconds of the acknowledged operations that began in the window.
    pub(crate) latency: Histogram<u64>,
    /// Operations that failed and changed nothing, and reads of wrong values.
    pub(crate) errors: u64,
    /// Writes that failed and may have happened.
    pub(crate) unknown: u64,
    /// The first failure, as an example.
    pub(crate) first_failure: Option<Failure>,
}

impl Measured {
    /// Operations per second.
    pub(crate) fn rate(&self) -> f64 {
        self.ops as f64 / self.window.as_secs_f64()
    }

    /// A latency in microseconds, at a quantile between 0 and 1.
    pub(crate) fn micros_at(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub(crate) fn empty(window: Duration) -> Self {
        Self {
            ops: 0,
            window,
            latency: Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS).expect("the bounds are in order"),
            errors: 0,
            unknown: 0,
            first_failure: None,
        }
    }

    fn merge(&mut self, other: Self) {
        self.ops += other.ops;
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.errors += other.errors;
        self.unknown += other.unknown;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    /// Counts one operation.
    pub(crate) fn note(&mut self, outcome: Result<(), Failure>, began: Instant, ended: Instant, window: Window) {
        match outcome {
            Ok(()) => {
                self.ops += u64::from(window.holds(ended));
                if window.holds(began) {
                    self.latency.saturating_record(nanos(ended - began));
                }
            }
            Err(failure) => self.note_failure(failure),
        }
    }

    pub(crate) fn note_failure(&mut self, failure: Failure) {
        match failure.effect {
            Effect::None => self.errors += 1,
            Effect::Unknown => self.unknown += 1,
        }
        self.first_failure.get_or_insert(failure);
    }
}

/// When operations count.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    opens: Instant,
    pub(crate) closes: Instant,
}

impl Window {
    /// The plan's, begun now.
    pub(crate) fn of(plan: &Plan) -> Self {
        let opens = Instant::now() + plan.warmup;
        Self {
            opens,
            closes: opens + plan.window,
        }
    }

    fn holds(&self, instant: Instant) -> bool {
        (self.opens..self.closes).contains(&instant)
    }
}

/// Runs the plan against the target and returns once the last operation is answered.
pub(crate) async fn drive<T: Target>(target: Arc<T>, workload: Arc<Workload>, plan: Plan) -> Measured {
    let window = Window::of(&plan);
    let tallies: Arc<Vec<_>> = Arc::new((0..TALLIES).map(|_| Mutex::new(Measured::empty(plan.window))).collect());
    let mut workers = JoinSet::new();
    for index in 0..plan.in_flight {
        let (target, workload, tallies) = (target.clone(), workload.clone(), tallies.clone());
        workers.spawn(async move {
            let drawer = workload.drawer(plan.bench, plan.phase, index as u64);
            work(&*target, &workload, drawer, index, window, &tallies[index % TALLIES]).await;
        });
    }
    join(workers).await;
    let mut total = Measured::empty(plan.window);
    for tally in Arc::into_inner(tallies).expect("the workers are gone") {
        total.merge(tally.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
    total
}

async fn work<T: Target>(target: &T, workload: &Workload, mut drawer: Drawer<'_>, index: usize, window: Window, tally: &Mutex<Measured>) {
    loop {
        let step = drawer.draw();
        let began = Instant::now();
        if began >= window.closes {
            return;
        }
        let outcome = perform(target, workload, index, step).await;
        let ended = Instant::now();
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.note(outcome, began, ended, window);
    }
}

async fn perform<T: Target>(target: &T, workload: &Workload, worker: usize, step: Step) -> Result<(), Failure> {
    match step {
        Step::Put { key, value } => target.put(worker, key, value).await,
        Step::Get { number, key } => match target.get(worker, key).await? {
            Some(value) if workload.values.belongs_to(number, &value) => Ok(()),
            Some(value) => Err(Failure::none(WrongRead::Foreign {
                number,
                length: value.len(),
            })),
            None => Err(Failure::none(WrongRead::Missing { number })),
        },
    }
}

/// Writes every key once, `in_flight` at a time.
///
/// # Errors
/// The first failure of each worker ends it; the first of all is returned.
pub(crate) async fn load<T: Target>(target: Arc<T>, workload: Arc<Workload>, in_flight: usize) -> Result<(), Failure> {
    let mut workers = JoinSet::new();
    for index in 0..in_flight {
        let (target, workload) = (target.clone(), workload.clone());
        workers.spawn(async move {
            let mut drawer = workload.drawer(Bench::Put, LOAD_PHASE, index as u64);
            for number in (index as u64..workload.keys).step_by(in_flight) {
                perform(&*target, &workload, index, drawer.put(number)).await?;
            }
            Ok(())
        });
    }
    join(workers).await.into_iter().collect()
}

/// The phase of loading; runs count from 0.
const LOAD_PHASE: u64 = u32::MAX as u64;

/// Waits for all workers; a worker that panicked takes this task with it.
async fn join<R: 'static>(mut workers: JoinSet<R>) -> Vec<R> {
    let mut results = Vec::with_capacity(workers.len());
    while let Some(result) = workers.join_next().await {
        results.push(result.expect("workers are neither cancelled nor do they panic"));
    }
    results
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
