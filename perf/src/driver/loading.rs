//! The keys that a run takes for granted, written before it.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::join;
use super::perform::perform;
use crate::report::progress::Progress;
use crate::target::{Failure, Target};
use crate::workload::{Step, Workload};

/// The phase of loading, and the one after it of what is loaded again; runs count from 0.
pub(super) const LOAD_PHASE: u64 = u32::MAX as u64 - 1;

/// Writes every key once, `in_flight` at a time.
///
/// # Errors
/// The first failure of each worker ends it; the first of all is returned.
pub(crate) async fn load<T: Target>(target: Arc<T>, workload: Arc<Workload>, in_flight: usize, progress: &Progress) -> Result<(), Failure> {
    let mut workers = JoinSet::new();
    for worker in 0..in_flight {
        let (target, workload, progress) = (target.clone(), workload.clone(), progress.clone());
        workers.spawn(async move {
            let mut written = workload.written(LOAD_PHASE, worker as u64);
            for number in (worker as u64..workload.keys).step_by(in_flight) {
                let value = written.value(number);
                perform(&*target, &workload, worker, Step::Update { number, value }).await?;
                progress.one_more();
            }
            Ok(())
        });
    }
    join(workers).await.into_iter().collect()
}
