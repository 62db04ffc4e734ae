//! One turn: one system under load once, with what the kernel says about it meanwhile.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Verdict;
use crate::args::run::RunArguments;
use crate::driver::measured::Measured;
use crate::driver::{Plan, batch, drive, load};
use crate::error::PerfError;
use crate::margate::deployment::Processes;
use crate::margate::target::Margate;
use crate::proc::cpu::Stretch;
use crate::proc::descriptors::durability;
use crate::report::Output;
use crate::report::hdr::HdrLog;
use crate::report::line::{ResultLine, SystemFacts};
use crate::report::progress::Progress;
use crate::target::{Failure, Target};
use crate::workload::Workload;
use crate::workload::bench::{Bench, Recipe};

/// The plan of one turn; `phase` tells turns apart, so that no value is written twice.
pub(crate) fn plan(run: &RunArguments, recipe: Recipe, phase: u64) -> Plan {
    Plan {
        recipe,
        pace: run.pace(),
        warmup: run.warmup,
        window: run.secs,
        phase,
    }
}

/// What came of a turn.
pub(crate) struct Turn {
    /// The line about all operations.
    pub(crate) all: ResultLine,
    /// Those about each kind, where they are told apart.
    kinds: Vec<ResultLine>,
    measured: Measured,
    /// Whether all went well.
    pub(crate) verdict: Verdict,
}

impl Turn {
    fn new(facts: &SystemFacts, workload: &Workload, plan: &Plan, measured: Measured) -> Self {
        let all = ResultLine::of_all(facts, workload, plan, &measured);
        let verdict = Verdict::of(all.is_clean());
        Self {
            all,
            kinds: ResultLine::of_each_kind(facts, workload, plan, &measured),
            measured,
            verdict,
        }
    }

    /// Prints the lines, that about all operations last, and on stderr an example of what failed; adds the histograms
    /// to the log, if there is one.
    ///
    /// # Errors
    /// Stdout or the log cannot be written.
    pub(crate) fn report(&self, output: Output, hdr: Option<&mut HdrLog>) -> Result<(), PerfError> {
        let (system, bench) = (self.all.system, self.all.bench);
        if let Some(failure) = &self.measured.first_failure {
            eprintln!("  {system} {}: first failure: {failure}", bench.word());
        }
        for line in self.kinds.iter().chain([&self.all]) {
            output.emit(line)?;
        }
        hdr.map_or(Ok(()), |log| log.add(system, bench, &self.measured))
    }
}

/// Margate's turn. The log descriptors are read in the middle of it; one that is not direct and durable spoils it.
///
/// # Errors
/// The kernel has no timer for an open loop, or one was asked for where there is none.
pub(crate) async fn margate(target: &Arc<Margate>, processes: &Processes, workload: &Arc<Workload>, plan: Plan) -> Result<Turn, PerfError> {
    let halfway = async {
        tokio::time::sleep(plan.warmup + plan.window / 2).await;
        processes.log_descriptors()
    };
    let driven = async {
        if plan.recipe.bench() == Bench::Batch {
            return batch::drive(target.client(0), workload, plan).await;
        }
        drive(target.clone(), workload.clone(), plan).await
    };
    let (measured, descriptors) = tokio::join!(driven, halfway);
    let facts = SystemFacts {
        system: "margate",
        clients: target.clients(),
        durability: durability(&descriptors),
        version: processes.version().to_owned(),
    };
    let mut turn = Turn::new(&facts, workload, &plan, measured?);
    for wanting in descriptors.iter().filter(|descriptor| !descriptor.is_direct_and_durable()) {
        eprintln!("  not direct and durable: {wanting}");
        turn.verdict = Verdict::Bad;
    }
    Ok(turn)
}

/// Another system's turn.
///
/// # Errors
/// The kernel has no timer for an open loop.
#[cfg(feature = "peers")]
pub(crate) async fn peer<T: Target>(target: &Arc<T>, facts: &SystemFacts, workload: &Arc<Workload>, plan: Plan) -> Result<Turn, PerfError> {
    let measured = drive(target.clone(), workload.clone(), plan).await?;
    Ok(Turn::new(facts, workload, &plan, measured))
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

/// Loads the keys, and says how far it has come and how long it took. Returns how many had to be written twice.
///
/// # Errors
/// A key could not be written.
pub(crate) async fn load_keys<T: Target>(name: &str, target: &Arc<T>, workload: &Arc<Workload>) -> Result<u64, PerfError> {
    told(name, workload.keys, async |progress| {
        load(target.clone(), workload.clone(), LOAD_IN_FLIGHT, progress).await
    })
    .await
}

/// Loads many keys into margate with its batch writer, and says so as [`load_keys`] does; `key_of` makes them.
///
/// # Errors
/// A key could not be written.
pub(crate) async fn load_many(target: &Margate, workload: &Workload, key_of: impl Fn(u64) -> Bytes) -> Result<u64, PerfError> {
    told("margate", workload.keys, async |progress| {
        batch::load(target.client(0), workload, key_of, progress).await
    })
    .await
}

async fn told(name: &str, keys: u64, load: impl AsyncFnOnce(&Progress) -> Result<u64, Failure>) -> Result<u64, PerfError> {
    let began = Instant::now();
    let progress = Progress::of_keys(name, keys);
    let loaded = load(&progress).await;
    progress.clear();
    let unknown = loaded.map_err(PerfError::Load)?;
    if unknown > 0 {
        eprintln!("  {unknown} keys were loaded twice: of the first time it is unknown whether it happened, as where leaders change");
    }
    eprintln!("{name}: {keys} keys loaded in {:.1} s", began.elapsed().as_secs_f64());
    Ok(unknown)
}

/// Operations under way while loading: enough for any system's best rate.
const LOAD_IN_FLIGHT: usize = 256;
