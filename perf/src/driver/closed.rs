//! The closed loop: N workers, each with one operation under way, until the window closes.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Plan, Run, Window, join};
use crate::target::Target;

/// Keeps so many operations under way and returns once the last is answered.
pub(super) async fn run<T: Target>(run: &Arc<Run<T>>, plan: &Plan, window: Window, in_flight: usize) {
    let mut workers = JoinSet::new();
    for worker in 0..in_flight {
        let (run, plan) = (run.clone(), *plan);
        workers.spawn(async move {
            let mut drawer = run.workload.drawer(plan.recipe, plan.phase, worker as u64);
            while Instant::now() < window.closes {
                let step = drawer.draw();
                run.carry_out(worker, step, Instant::now()).await;
            }
        });
    }
    join(workers).await;
}
