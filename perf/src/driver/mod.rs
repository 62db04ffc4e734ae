//! Operations against a target for a while, and what came of them.
//!
//! ```text
//!  start ── warm-up ──┬────────── window ──────────┬── drain
//!                     │ counted: what ends in here │ latency: what was due in the window, to its end
//! ```
//! Counting what ends inside the window gives the rate of the steady state; timing what was due in it, even when it
//! ends later, keeps the slowest operations in the histogram. Errors count from start to drain.
//!
//! Three loops carry operations out, and share everything else. `closed`: a number of workers, each with one operation
//! under way; an operation is due when the one before it has ended, so a system that stalls is asked less, and the
//! stall is in few latencies. `open`: operations are due by the clock (`schedule`, `alarm`), whatever became of those
//! before, so a stall is in the latency of each that was due meanwhile. `batch`: as
//! many as margate's batch writer lets in. `perform` makes an operation of a step,
//! `measured` is what is counted, `loading` writes the keys before.
//!
//! Not here, on purpose: threads. The caller's runtime decides; workers are tasks.

mod alarm;
pub(crate) mod batch;
mod closed;
mod loading;
pub(crate) mod measured;
mod open;
mod perform;
mod schedule;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::error::PerfError;
use crate::target::Target;
use crate::workload::bench::{Bench, Recipe};
use crate::workload::{Step, Workload};

pub(crate) use loading::load;
use measured::{Measured, Tallies};
use perform::perform;

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// What to do.
    pub(crate) recipe: Recipe,
    /// When.
    pub(crate) pace: Pace,
    /// Time before counting starts.
    pub(crate) warmup: Duration,
    /// Time that counts.
    pub(crate) window: Duration,
    /// Told apart from other runs of one seed.
    pub(crate) phase: u64,
}

impl Plan {
    /// Overwrites in a closed loop, which count from the start on.
    pub(crate) fn puts(in_flight: usize, window: Duration, phase: u64) -> Self {
        Self {
            recipe: Recipe::plain(Bench::Put),
            pace: Pace::Closed { in_flight },
            warmup: Duration::ZERO,
            window,
            phase,
        }
    }
}

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// For one of so many workers to be free.
    Closed {
        /// Operations under way at any instant.
        in_flight: usize,
    },
    /// For the clock.
    Open {
        /// Operations due per second.
        rate: u32,
        /// Operations under way at any instant, at most.
        in_flight_max: usize,
    },
}

impl Pace {
    /// Operations under way at any instant; in an open loop the most there may be.
    pub(crate) fn in_flight(self) -> usize {
        match self {
            Self::Closed { in_flight } => in_flight,
            Self::Open { in_flight_max, .. } => in_flight_max,
        }
    }
}

/// When operations count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    opens: Instant,
    closes: Instant,
}

impl Window {
    /// That of a plan which began then.
    fn of(plan: &Plan, began: Instant) -> Self {
        let opens = began + plan.warmup;
        Self {
            opens,
            closes: opens + plan.window,
        }
    }

    fn holds(&self, instant: Instant) -> bool {
        (self.opens..self.closes).contains(&instant)
    }

    fn length(&self) -> Duration {
        self.closes - self.opens
    }
}

/// What all operations of a run share.
struct Run<T> {
    target: Arc<T>,
    workload: Arc<Workload>,
    tallies: Tallies,
}

impl<T: Target> Run<T> {
    /// One operation, from when it was due to when it was noted. `worker` may choose a connection.
    async fn carry_out(&self, worker: usize, step: Step, due: Instant) {
        let kind = step.kind();
        let outcome = perform(&*self.target, &self.workload, worker, step).await;
        self.tallies.note(worker, kind, due, Instant::now(), outcome);
    }
}

/// Runs the plan against the target and returns once the last operation is answered.
///
/// # Errors
/// The kernel has no timer for an open loop.
pub(crate) async fn drive<T: Target>(target: Arc<T>, workload: Arc<Workload>, plan: Plan) -> Result<Measured, PerfError> {
    let began = Instant::now();
    let window = Window::of(&plan, began);
    let run = Arc::new(Run {
        target,
        workload,
        tallies: Tallies::new(window),
    });
    let unmet = match plan.pace {
        Pace::Closed { in_flight } => {
            closed::run(&run, &plan, window, in_flight).await;
            None
        }
        Pace::Open { rate, in_flight_max } => {
            let schedule = schedule::Schedule::new(began, rate);
            Some(
                open::run(&run, &plan, window, schedule, in_flight_max)
                    .await
                    .map_err(PerfError::Timer)?,
            )
        }
    };
    let run = Arc::into_inner(run).expect("the workers are gone");
    Ok(run.tallies.total(unmet))
}

/// Waits for all workers; a worker that panicked takes this task with it.
async fn join<R: 'static>(mut workers: JoinSet<R>) -> Vec<R> {
    let mut results = Vec::with_capacity(workers.len());
    while let Some(result) = workers.join_next().await {
        results.push(result.expect(UNHARMED));
    }
    results
}

/// Why a worker's task has a result.
const UNHARMED: &str = "workers are neither cancelled nor do they panic";

#[cfg(test)]
mod tests;
