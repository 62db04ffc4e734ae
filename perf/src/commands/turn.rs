//! One turn: one system under load once, with what the kernel says about it meanwhile.

use std::sync::Arc;
use std::time::Instant;

use super::Verdict;
use crate::args::RunArguments;
use crate::batch;
use crate::driver::{Measured, Plan, drive, load};
use crate::error::PerfError;
use crate::margate::deployment::Processes;
use crate::margate::target::Margate;
use crate::proc::cpu::Stretch;
use crate::proc::descriptors::durability;
use crate::report::line::{ResultLine, SystemFacts};
use crate::target::Target;
use crate::workload::{Bench, Workload};

/// The plan of one turn; `phase` tells turns apart, so that no value is written twice.
pub(crate) fn plan(run: &RunArguments, bench: Bench, phase: u64) -> Plan {
    Plan {
        bench,
        in_flight: run.in_flight,
        warmup: run.warmup,
        window: run.secs,
        phase,
    }
}

/// Margate's turn. The log descriptors are read in the middle of it; one that is not direct and durable spoils it.
pub(crate) async fn margate(target: &Arc<Margate>, processes: &Processes, workload: &Arc<Workload>, plan: Plan) -> (ResultLine, Verdict) {
    let halfway = async {
        tokio::time::sleep(plan.warmup + plan.window / 2).await;
        processes.log_descriptors()
    };
    let driven = async {
        match plan.bench {
            Bench::Batch => batch::drive(target.client(0), workload, plan).await,
            Bench::Get | Bench::Mixed | Bench::Put => drive(target.clone(), workload.clone(), plan).await,
        }
    };
    let (measured, descriptors) = tokio::join!(driven, halfway);
    let facts = SystemFacts {
        system: "margate",
        clients: target.clients(),
        durability: durability(&descriptors),
        version: processes.version().to_owned(),
    };
    let mut verdict = Verdict::Good;
    for wanting in descriptors.iter().filter(|descriptor| !descriptor.is_direct_and_durable()) {
        eprintln!("  not direct and durable: {wanting}");
        verdict = Verdict::Bad;
    }
    let line = told(facts, workload, &plan, &measured);
    let verdict = verdict.and(Verdict::of(line.is_clean()));
    (line, verdict)
}

/// Another system's turn.
#[cfg(feature = "peers")]
pub(crate) async fn peer<T: Target>(target: &Arc<T>, facts: SystemFacts, workload: &Arc<Workload>, plan: Plan) -> (ResultLine, Verdict) {
    let measured = drive(target.clone(), workload.clone(), plan).await;
    let line = told(facts, workload, &plan, &measured);
    let verdict = Verdict::of(line.is_clean());
    (line, verdict)
}

/// The line, and on stderr an example of what failed.
fn told(facts: SystemFacts, workload: &Workload, plan: &Plan, measured: &Measured) -> ResultLine {
    if let Some(failure) = &measured.first_failure {
        eprintln!("  {} {}: first failure: {failure}", facts.system, plan.bench.word());
    }
    ResultLine::new(facts, workload, plan, measured)
}

/// Says on stderr what CPU time went where during a turn, as shares of all CPUs.
pub(crate) fn talk_about_cpu(stretch: &Stretch, systems: &[(&str, &[u32])]) {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let of_system = |(name, pids): &(&str, &[u32])| format!("{name} {}", percent(stretch.used_by(pids)));
    let systems: Vec<String> = systems.iter().map(of_system).collect();
    let client = percent(stretch.used_by(&[std::process::id()]));
    eprintln!(
        "  cpu: {}, load generator {client}, steal {}",
        systems.join(", "),
        percent(stretch.steal())
    );
}

/// Loads the keys, and says so.
///
/// # Errors
/// A key could not be written.
pub(crate) async fn load_keys<T: Target>(name: &str, target: &Arc<T>, workload: &Arc<Workload>) -> Result<(), PerfError> {
    let began = Instant::now();
    load(target.clone(), workload.clone(), LOAD_IN_FLIGHT)
        .await
        .map_err(PerfError::Load)?;
    eprintln!("{name}: {} keys loaded in {:.1} s", workload.keys, began.elapsed().as_secs_f64());
    Ok(())
}

/// Operations under way while loading: enough for any system's best rate.
const LOAD_IN_FLIGHT: usize = 256;
