//! `probe`: how long a running deployment acknowledges nothing.

use std::time::Instant;

use tokio::time::sleep;

use super::Verdict;
use crate::error::PerfError;
use crate::failover::arguments::ProbeArguments;
use crate::failover::probe::{Probing, Target};
use crate::failover::report::{ProbeReport, millis};

/// Probes every shard and prints the longest gap of any. Good only if all acknowledged, within the limit if there is one.
///
/// # Errors
/// The deployment does not answer.
pub(crate) async fn run(arguments: &ProbeArguments) -> Result<Verdict, PerfError> {
    let targets = Target::of_each_shard(&arguments.deployment.endpoints).await?;
    let probing = Probing::start(targets.clone(), arguments.probe.rate);
    sleep(arguments.secs).await;
    drop(probing);
    let mut report = ProbeReport {
        secs: arguments.secs.as_secs_f64(),
        shards: targets.len(),
        begun: 0,
        acknowledged: 0,
        longest_ms: 0.0,
    };
    let mut silent = 0;
    for target in &targets {
        let mut seen = target.seen();
        seen.end(Instant::now());
        report.begun += seen.count_begun();
        report.acknowledged += seen.count_acknowledged();
        report.longest_ms = report.longest_ms.max(millis(seen.longest()));
        silent += usize::from(seen.count_acknowledged() == 0);
    }
    arguments.probe.printed.output().emit(&report)?;
    Ok(Verdict::of(silent == 0 && report.is_within(arguments.max_ms)))
}
