//! The keys that a run takes for granted, written before it.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::join;
use super::perform::perform;
use crate::report::progress::Progress;
use crate::target::{Effect, Failure, Target};
use crate::workload::{Step, Workload};

/// The phase of loading, and the one after it of what is loaded again; runs count from 0.
pub(super) const LOAD_PHASE: u64 = u32::MAX as u64 - 1;

/// Writes every key once, `in_flight` at a time; and once more, with another value, those of which it is unknown whether they were
/// written, as `batch::load` does. Returns how many those were.
///
/// # Errors
/// The first of another kind, or unknown again, ends each worker; the first of all is returned.
pub(crate) async fn load<T: Target>(
    target: Arc<T>,
    workload: Arc<Workload>,
    in_flight: usize,
    progress: &Progress,
) -> Result<u64, Failure> {
    let mut workers = JoinSet::new();
    for worker in 0..in_flight {
        let (target, workload, progress) = (target.clone(), workload.clone(), progress.clone());
        workers.spawn(async move {
            let (mut written, mut unknown) = (workload.written(LOAD_PHASE, worker as u64), 0);
            for number in (worker as u64..workload.keys).step_by(in_flight) {
                let mut put = || {
                    let value = written.value(number);
                    perform(&*target, &workload, worker, Step::Update { number, value })
                };
                match put().await {
                    Err(failure) if failure.effect == Effect::Unknown => {
                        unknown += 1;
                        put().await?;
                    }
                    put => put?,
                }
                progress.one_more();
            }
            Ok(unknown)
        });
    }
    join(workers).await.into_iter().sum()
}
