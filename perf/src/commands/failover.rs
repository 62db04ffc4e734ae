//! `failover`: leaders are killed, and how long their shards acknowledge nothing is counted.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use margate_client::Client;
use tokio::time::sleep;

use super::{Verdict, scratch};
use crate::error::PerfError;
use crate::failover::arguments::FailoverArguments;
use crate::failover::probe::{Probing, Target};
use crate::failover::report::{FailoverReport, millis, percentile};
use crate::margate::deployment::Processes;
use crate::margate::dev::{self, DevOptions, wait_until, wait_until_polling};
use crate::margate::nodes::{Chosen, Nodes};
use crate::margate::target::config;
use crate::proc::descriptors::durability;

/// Time for a shard to come back.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Time for leaders to stay where they are.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// How often we look whether all shards are back. When each was is noted by its puts.
const POLL: Duration = Duration::from_millis(1);

/// Kills as often as asked and prints the outages. Good only if they are within the limits that are given.
///
/// # Errors
/// The deployment does not start, does not come back, or a node ends by itself.
pub(crate) async fn run(arguments: &FailoverArguments) -> Result<Verdict, PerfError> {
    scratch::within(&arguments.start.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &FailoverArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let program = dev::program(arguments.start.margate.clone());
    let data = folder.join("margate");
    let mut nodes = Nodes::start(DevOptions::new(program, data, &arguments.start), None).await?;
    let endpoints = nodes.endpoints();
    let client = Client::connect(config(&endpoints)).await?;
    let targets = Target::of_each_shard(&endpoints).await?;
    let processes = Processes::of(&client).await;
    let mut run = Run::default();
    for number in 1..=arguments.kills {
        run.kill_once(number, arguments, &mut nodes, &client, &targets).await?;
    }
    let report = run.report(arguments.kills, &processes);
    arguments.probe.printed.output().emit(&report)?;
    Ok(Verdict::of(report.is_within(arguments.p50_max_ms, arguments.max_ms)))
}

/// What came of the kills so far.
#[derive(Default)]
struct Run {
    outages: Vec<Duration>,
    rates: Vec<f64>,
}

impl Run {
    async fn kill_once(
        &mut self,
        number: u32,
        arguments: &FailoverArguments,
        nodes: &mut Nodes,
        client: &Client,
        all: &[Arc<Target>],
    ) -> Result<(), PerfError> {
        let (leader, targets, probing) = settle(arguments, nodes, client, all).await?;
        let begun_before = begun(&targets);
        let killed = nodes.kill(&leader).await?;
        let gone = Instant::now();
        targets.iter().for_each(|target| target.seen().leader_gone(gone));
        let back = || async { targets.iter().all(|target| target.seen().back().is_some()) };
        wait_until_polling(POLL, BACK_WITHIN, "a killed leader's shards to acknowledge", nodes.talk(), back).await?;
        let rate = (begun(&targets) - begun_before) as f64 / killed.at.elapsed().as_secs_f64();
        drop(probing);
        let ends = targets.iter().filter_map(|target| Some((target.shard, target.seen().back()?)));
        let outages: Vec<_> = ends.map(|(shard, end)| (shard, end - killed.at)).collect();
        let words: Vec<String> = outages
            .iter()
            .map(|(shard, time)| format!("shard {shard} {:.0} ms", millis(*time)))
            .collect();
        eprintln!(
            "{number}: node {} killed; out: {}; {rate:.0} probes/s",
            leader.node,
            words.join(", ")
        );
        self.outages.extend(outages.into_iter().map(|(_, time)| time));
        self.rates.push(rate);
        nodes.start_again(killed, client).await
    }

    fn report(mut self, kills: u32, processes: &Processes) -> FailoverReport {
        self.outages.sort_unstable();
        let at = |per_cent| millis(percentile(&self.outages, per_cent));
        FailoverReport {
            kills,
            outages: self.outages.len(),
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
            probes_per_s: self.rates.iter().copied().fold(f64::INFINITY, f64::min).round(),
            durability: durability(&processes.log_descriptors()),
            version: processes.version().to_owned(),
        }
    }
}

/// Probes what a leader leads until each of its shards has acknowledged and it still leads the same ones: a shard
/// that has another leader by then has no outage to show.
async fn settle(
    arguments: &FailoverArguments,
    nodes: &Nodes,
    client: &Client,
    all: &[Arc<Target>],
) -> Result<(Chosen, Vec<Arc<Target>>, Probing), PerfError> {
    let began = Instant::now();
    loop {
        let leader = nodes.leader(client).await?;
        let targets: Vec<_> = all.iter().filter(|target| leader.leads.contains(&target.shard)).cloned().collect();
        targets.iter().for_each(|target| *target.seen() = Default::default());
        let probing = Probing::start(targets.clone(), arguments.probe.rate);
        sleep(arguments.secs_before).await;
        let acknowledge = || async { targets.iter().all(|target| target.seen().count_acknowledged() > 0) };
        wait_until(SETTLED_WITHIN, "every shard to acknowledge", nodes.talk(), acknowledge).await?;
        if nodes.leader(client).await.is_ok_and(|now| now == leader) {
            return Ok((leader, targets, probing));
        }
        dev::late_after(began, SETTLED_WITHIN, "leaders that stay", nodes.talk())?;
    }
}

fn begun(targets: &[Arc<Target>]) -> u64 {
    targets.iter().map(|target| target.seen().count_begun()).sum()
}
