//! `compare`: margate and a peer on one machine and one filesystem, loaded alike, measured in turn.
//!
//! Both run all the time; the one whose turn it is not idles, and the CPU it takes while idle is printed
//! with the turn. Before each turn a while without load lets background work end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::turn::Turn;
use super::{Verdict, scratch, turn};
use crate::args::run::{CompareArguments, Peer};
use crate::driver::{Pace, Plan, drive};
use crate::error::PerfError;
use crate::margate::deployment::Processes;
use crate::margate::dev::{self, Dev, DevOptions};
use crate::margate::target::Margate;
use crate::peers::PeerSystem;
use crate::peers::etcd_cluster::Cluster;
use crate::peers::redis_node::Node;
use crate::proc::cpu::Stretch;
use crate::report::hdr::HdrLog;
use crate::report::ratio::Rounds;
use crate::workload::Workload;
use crate::workload::bench::Recipe;

/// Load before a probe counts.
const PROBE_WARMUP: Duration = Duration::from_millis(500);
/// Time a probe counts.
const PROBE_WINDOW: Duration = Duration::from_millis(1500);
/// Operations under way in a probe for an open loop, whose own number is a cap and no load.
const PROBE_IN_FLIGHT: usize = 768;

/// Starts both, loads both, and measures.
///
/// # Errors
/// A system does not start or does not take the keys, or the peer cannot do a bench.
pub(crate) async fn run(arguments: &CompareArguments) -> Result<Verdict, PerfError> {
    match arguments.peer {
        Peer::Etcd => beside::<Cluster>(arguments).await,
        Peer::Redis => beside::<Node>(arguments).await,
    }
}

async fn beside<P: PeerSystem>(arguments: &CompareArguments) -> Result<Verdict, PerfError> {
    let recipes = arguments.bench.recipes();
    if let Some(recipe) = recipes.iter().find(|recipe| recipe.scans() && !P::ORDERED) {
        let (bench, peer) = (recipe.bench().word(), P::NAME);
        return Err(PerfError::Unordered { bench, peer });
    }
    let work = async |folder: &Path| in_folder::<P>(arguments, &recipes, folder).await;
    scratch::within(&arguments.start.scratch, work).await
}

async fn in_folder<P: PeerSystem>(arguments: &CompareArguments, recipes: &[Recipe], folder: &Path) -> Result<Verdict, PerfError> {
    let run = &arguments.run;
    let hdr = HdrLog::create(run.hdr.as_deref())?;
    let ours = Ours::start(arguments, folder).await?;
    let theirs = P::start(folder).await?;
    // One for each: what is inserted here is not there.
    let [our_workload, their_workload] = [(); 2].map(|()| Arc::new(Workload::new(run.keys, run.value_bytes, run.seed)));
    turn::load_keys("margate", &ours.target, &our_workload).await?;
    let loader = Arc::new(theirs.connect(P::layout_for_loading()).await?);
    turn::load_keys(P::NAME, &loader, &their_workload).await?;
    let mut comparison = Comparison {
        arguments,
        ours,
        our_workload,
        theirs,
        their_workload,
        hdr,
        phase: 0,
    };
    let mut verdict = Verdict::Good;
    for recipe in recipes {
        verdict = verdict.and(comparison.bench(*recipe).await?);
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

struct Comparison<'a, P> {
    arguments: &'a CompareArguments,
    ours: Ours,
    our_workload: Arc<Workload>,
    theirs: P,
    their_workload: Arc<Workload>,
    hdr: Option<HdrLog>,
    phase: u64,
}

impl<P: PeerSystem> Comparison<'_, P> {
    /// All rounds of one bench.
    async fn bench(&mut self, recipe: Recipe) -> Result<Verdict, PerfError> {
        let client = Arc::new(self.best_client(recipe).await?);
        let (mut rounds, mut verdict) = (Rounds::default(), Verdict::Good);
        for _ in 0..self.arguments.rounds {
            let plan = turn::plan(&self.arguments.run, recipe, self.next_phase());
            let our_turn = self.our_turn(plan).await?;
            let their_turn = self.their_turn(&client, plan).await?;
            self.ours.check()?;
            self.theirs.check()?;
            verdict = verdict.and(our_turn.verdict).and(their_turn.verdict);
            rounds.ours.push(our_turn.all);
            rounds.theirs.push(their_turn.all);
        }
        eprintln!("{rounds}");
        Ok(verdict)
    }

    async fn our_turn(&mut self, plan: Plan) -> Result<Turn, PerfError> {
        sleep(self.arguments.settle).await;
        let stretch = self.watch();
        let turn = turn::margate(&self.ours.target, &self.ours.processes, &self.our_workload, plan).await?;
        self.report(&turn, &stretch)?;
        Ok(turn)
    }

    async fn their_turn(&mut self, client: &Arc<P::Client>, plan: Plan) -> Result<Turn, PerfError> {
        sleep(self.arguments.settle).await;
        let stretch = self.watch();
        let turn = turn::peer(client, &self.theirs.facts(client), &self.their_workload, plan).await?;
        self.report(&turn, &stretch)?;
        Ok(turn)
    }

    /// Tries each number of connections for a short while and keeps the best.
    async fn best_client(&mut self, recipe: Recipe) -> Result<P::Client, PerfError> {
        let (name, bench) = (P::NAME, recipe.bench().word());
        let pace = self.arguments.run.pace();
        let mut best: Option<(f64, P::Layout)> = None;
        for layout in P::layouts(pace.in_flight()) {
            let client = Arc::new(self.theirs.connect(layout).await?);
            let plan = Plan {
                recipe,
                pace: probing(pace),
                warmup: PROBE_WARMUP,
                window: PROBE_WINDOW,
                phase: self.next_phase(),
            };
            let measured = drive(client, self.their_workload.clone(), plan).await?;
            let rate = measured.rate(&measured.total());
            eprintln!("  {name} {bench} probe, {layout}: {rate:.0} ops/s");
            if best.is_none_or(|(highest, _)| rate > highest) {
                best = Some((rate, layout));
            }
        }
        let layout = best.map_or_else(P::layout_for_loading, |(_, layout)| layout);
        eprintln!("{name} {bench}: {layout} is best and used");
        self.theirs.connect(layout).await
    }

    fn next_phase(&mut self) -> u64 {
        self.phase += 1;
        self.phase
    }

    fn watch(&self) -> Stretch {
        Stretch::start(&[self.ours.processes.pids(), &self.theirs.pids(), &[std::process::id()]].concat())
    }

    fn report(&mut self, turn: &Turn, stretch: &Stretch) -> Result<(), PerfError> {
        turn.report(self.arguments.run.printed.output(), self.hdr.as_mut())?;
        turn::talk_about_cpu(stretch, &[("margate", self.ours.processes.pids()), (P::NAME, &self.theirs.pids())]);
        Ok(())
    }
}

/// A probe asks for as much as the peer gives.
fn probing(pace: Pace) -> Pace {
    match pace {
        Pace::Closed { .. } => pace,
        Pace::Open { in_flight_max, .. } => Pace::Closed {
            in_flight: in_flight_max.min(PROBE_IN_FLIGHT),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_closed_loop_whatever_is_measured_after_it() {
        let closed = Pace::Closed { in_flight: 4096 };
        assert_eq!(probing(closed), closed);
        for (in_flight_max, in_flight) in [(16_384, PROBE_IN_FLIGHT), (5, 5)] {
            let open = Pace::Open { rate: 100, in_flight_max };
            assert_eq!(probing(open), Pace::Closed { in_flight });
        }
    }
}
