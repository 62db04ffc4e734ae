//! `flags`: how the nodes' log files are open.

use super::Verdict;
use crate::args::FlagsArguments;
use crate::error::PerfError;
use crate::margate::deployment::Processes;
use crate::margate::target::Margate;
use crate::proc::descriptors::durability;

/// Prints every log descriptor of the nodes on this machine. Good if there are some and all are direct and durable.
///
/// # Errors
/// The deployment cannot be reached.
pub(crate) async fn run(arguments: &FlagsArguments) -> Result<Verdict, PerfError> {
    let target = Margate::connect(&arguments.deployment.endpoints, 1).await?;
    let processes = Processes::of(target.client(0)).await;
    let descriptors = processes.log_descriptors();
    for descriptor in &descriptors {
        println!("{descriptor}");
    }
    println!("{} processes: {}", processes.pids().len(), durability(&descriptors));
    let all = descriptors.iter().all(|descriptor| descriptor.is_direct_and_durable());
    Ok(Verdict::of(all && !descriptors.is_empty()))
}
