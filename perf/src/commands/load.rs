//! `load` and `ycsb`: a running deployment under load.

use std::sync::Arc;

use super::Verdict;
use super::turn;
use crate::args::run::{DeploymentArguments, RunArguments};
use crate::error::PerfError;
use crate::margate::deployment::Processes;
use crate::margate::target::Margate;
use crate::proc::cpu::Stretch;
use crate::report::hdr::HdrLog;
use crate::workload::Workload;
use crate::workload::bench::Recipe;

/// Loads the keys, then runs each bench once.
///
/// # Errors
/// The deployment cannot be reached or does not take the keys, or a file cannot be written.
pub(crate) async fn run(run: &RunArguments, deployment: &DeploymentArguments, recipes: &[Recipe]) -> Result<Verdict, PerfError> {
    let mut hdr = HdrLog::create(run.hdr.as_deref())?;
    let target = Arc::new(Margate::connect(&deployment.at.endpoints, usize::from(deployment.clients)).await?);
    let processes = Processes::of(target.client(0)).await;
    let workload = Arc::new(Workload::new(run.keys, run.value_bytes, run.seed));
    if !deployment.skip_load {
        turn::load_keys("margate", &target, &workload).await?;
    }
    let watched = [processes.pids(), &[std::process::id()]].concat();
    let mut verdict = Verdict::Good;
    for (recipe, phase) in recipes.iter().zip(0..) {
        let stretch = Stretch::start(&watched);
        let turn = turn::margate(&target, &processes, &workload, turn::plan(run, *recipe, phase)).await?;
        turn.report(run.printed.output(), hdr.as_mut())?;
        turn::talk_about_cpu(&stretch, &[("margate", processes.pids())]);
        verdict = verdict.and(turn.verdict);
    }
    Ok(verdict)
}
