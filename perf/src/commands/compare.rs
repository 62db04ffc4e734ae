//! `compare`: margate and a peer on one machine and one filesystem, loaded alike, measured in turn.
//!
//! Both run all the time; the one whose turn it is not idles, and the CPU it takes while idle is printed
//! with the turn. Before each turn a while without load lets background work end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use super::{Verdict, scratch, turn};
use crate::args::{CompareArguments, Peer};
use crate::driver::{Plan, drive};
use crate::error::PerfError;
use crate::margate::deployment::Processes;
use crate::margate::dev::{self, Dev, DevOptions};
use crate::margate::target::Margate;
use crate::peers::etcd::Etcd;
use crate::peers::etcd_cluster::{Cluster, Layout};
use crate::proc::cpu::Stretch;
use crate::report::Output;
use crate::report::line::{ResultLine, SystemFacts};
use crate::report::ratio::Rounds;
use crate::workload::{Bench, Workload};

/// Load before a probe counts.
const PROBE_WARMUP: Duration = Duration::from_millis(500);
/// Time a probe counts.
const PROBE_WINDOW: Duration = Duration::from_millis(1500);

/// Starts both, loads both, and measures.
///
/// # Errors
/// A system does not start or does not take the keys.
pub(crate) async fn run(arguments: &CompareArguments) -> Result<Verdict, PerfError> {
    let folder = scratch::folder(&arguments.start.data_root, arguments.start.keep)?;
    let result = match arguments.peer {
        Peer::Etcd => beside_etcd(arguments, &folder).await,
    };
    scratch::keep_if_bad(folder, result)
}

async fn beside_etcd(arguments: &CompareArguments, folder: &TempDir) -> Result<Verdict, PerfError> {
    let run = &arguments.run;
    let ours = Ours::start(arguments, folder.path()).await?;
    let theirs = Cluster::start(folder.path()).await?;
    let workload = Arc::new(Workload::new(run.keys, run.value_bytes, run.seed));
    turn::load_keys("margate", &ours.target, &workload).await?;
    let loader = Arc::new(theirs.connect(Layout::for_loading()).await?);
    turn::load_keys("etcd", &loader, &workload).await?;
    let mut comparison = Comparison {
        arguments,
        ours,
        theirs,
        workload,
        phase: 0,
    };
    let mut verdict = Verdict::Good;
    for bench in &run.bench {
        verdict = verdict.and(comparison.bench(*bench).await?);
    }
    Ok(verdict)
}

/// Margate's side: a deployment of our own, unless one runs already.
struct Ours {
    target: Arc<Margate>,
    processes: Processes,
    dev: Option<Dev>,
}

impl Ours {
    async fn start(arguments: &CompareArguments, folder: &Path) -> Result<Self, PerfError> {
        let dev = if arguments.endpoints.is_empty() {
            let program = dev::program(arguments.start.margate.clone());
            Some(Dev::start(DevOptions::new(program, folder.join("margate"), &arguments.start)).await?)
        } else {
            None
        };
        let endpoints: Vec<SocketAddr> = dev.as_ref().map_or_else(|| arguments.endpoints.clone(), Dev::endpoints);
        let target = Arc::new(Margate::connect(&endpoints, 1).await?);
        let processes = Processes::of(target.client(0)).await;
        Ok(Self { target, processes, dev })
    }

    fn check(&mut self) -> Result<(), PerfError> {
        self.dev.as_mut().map_or(Ok(()), Dev::check)
    }
}

struct Comparison<'a> {
    arguments: &'a CompareArguments,
    ours: Ours,
    theirs: Cluster,
    workload: Arc<Workload>,
    phase: u64,
}

impl Comparison<'_> {
    /// All rounds of one bench.
    async fn bench(&mut self, bench: Bench) -> Result<Verdict, PerfError> {
        let etcd = Arc::new(self.best_layout(bench).await?);
        let (mut rounds, mut verdict) = (Rounds::default(), Verdict::Good);
        for _ in 0..self.arguments.rounds {
            let plan = turn::plan(&self.arguments.run, bench, self.next_phase());
            let (our_line, our_verdict) = self.our_turn(plan).await?;
            let (their_line, their_verdict) = self.their_turn(&etcd, plan).await?;
            self.ours.check()?;
            self.theirs.check()?;
            rounds.ours.push(our_line);
            rounds.theirs.push(their_line);
            verdict = verdict.and(our_verdict).and(their_verdict);
        }
        eprintln!("{rounds}");
        Ok(verdict)
    }

    async fn our_turn(&self, plan: Plan) -> Result<(ResultLine, Verdict), PerfError> {
        sleep(self.arguments.settle).await;
        let stretch = self.watch();
        let (line, verdict) = turn::margate(&self.ours.target, &self.ours.processes, &self.workload, plan).await;
        self.report(&line, &stretch)?;
        Ok((line, verdict))
    }

    async fn their_turn(&self, etcd: &Arc<Etcd>, plan: Plan) -> Result<(ResultLine, Verdict), PerfError> {
        sleep(self.arguments.settle).await;
        let stretch = self.watch();
        let facts = SystemFacts {
            system: "etcd",
            clients: etcd.connections(),
            durability: "quorum, fdatasync of the log (etcd's defaults)".to_owned(),
            version: self.theirs.version().to_owned(),
        };
        let (line, verdict) = turn::peer(etcd, facts, &self.workload, plan).await;
        self.report(&line, &stretch)?;
        Ok((line, verdict))
    }

    /// Tries each number of connections for a short while and keeps the best.
    async fn best_layout(&mut self, bench: Bench) -> Result<Etcd, PerfError> {
        let mut best: Option<(f64, Layout)> = None;
        for layout in Layout::candidates(self.arguments.run.in_flight) {
            let etcd = Arc::new(self.theirs.connect(layout).await?);
            let plan = Plan {
                bench,
                in_flight: self.arguments.run.in_flight,
                warmup: PROBE_WARMUP,
                window: PROBE_WINDOW,
                phase: self.next_phase(),
            };
            let rate = drive(etcd, self.workload.clone(), plan).await.rate();
            eprintln!("  etcd {} probe, {layout}: {rate:.0} ops/s", bench.word());
            if best.is_none_or(|(highest, _)| rate > highest) {
                best = Some((rate, layout));
            }
        }
        let layout = best.map_or(Layout::for_loading(), |(_, layout)| layout);
        eprintln!("etcd {}: {layout} is best and used", bench.word());
        self.theirs.connect(layout).await
    }

    fn next_phase(&mut self) -> u64 {
        self.phase += 1;
        self.phase
    }

    fn watch(&self) -> Stretch {
        Stretch::start(&[self.ours.processes.pids(), &self.theirs.pids(), &[std::process::id()]].concat())
    }

    fn report(&self, line: &ResultLine, stretch: &Stretch) -> Result<(), PerfError> {
        Output::of(self.arguments.run.json).emit(line)?;
        turn::talk_about_cpu(stretch, &[("margate", self.ours.processes.pids()), ("etcd", &self.theirs.pids())]);
        Ok(())
    }
}
