//! `load`: a running deployment under load.

use std::sync::Arc;

use super::Verdict;
use super::turn;
use crate::args::LoadArguments;
use crate::error::PerfError;
use crate::margate::deployment::Processes;
use crate::margate::target::Margate;
use crate::proc::cpu::Stretch;
use crate::report::Output;
use crate::workload::Workload;

/// Loads the keys, then runs each bench once.
///
/// # Errors
/// The deployment cannot be reached or does not take the keys.
pub(crate) async fn run(arguments: &LoadArguments) -> Result<Verdict, PerfError> {
    let run = &arguments.run;
    let target = Arc::new(Margate::connect(&arguments.endpoints, usize::from(arguments.clients)).await?);
    let processes = Processes::of(target.client(0)).await;
    let workload = Arc::new(Workload::new(run.keys, run.value_bytes, run.seed));
    if !arguments.skip_load {
        turn::load_keys("margate", &target, &workload).await?;
    }
    let watched = [processes.pids(), &[std::process::id()]].concat();
    let mut verdict = Verdict::Good;
    for (phase, bench) in run.bench.iter().enumerate() {
        let stretch = Stretch::start(&watched);
        let (line, outcome) = turn::margate(&target, &processes, &workload, turn::plan(run, *bench, phase as u64)).await;
        Output::of(run.json).emit(&line)?;
        turn::talk_about_cpu(&stretch, &[("margate", processes.pids())]);
        verdict = verdict.and(outcome);
    }
    Ok(verdict)
}
