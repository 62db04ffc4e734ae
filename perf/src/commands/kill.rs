//! `kill`: nodes die under load, and every acknowledged write must stand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use margate_client::Client;
use margate_net::ids::NodeId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Verdict, scratch};
use crate::args::KillArguments;
use crate::error::PerfError;
use crate::kill::book::Book;
use crate::kill::journal::Journal;
use crate::kill::report::{KillReport, RunFacts};
use crate::kill::value::Values;
use crate::kill::verify;
use crate::kill::worker::{Crew, work};
use crate::margate::deployment::Processes;
use crate::margate::dev::{self, DevOptions};
use crate::margate::nodes::Nodes;
use crate::margate::target::config;
use crate::proc::descriptors::durability;
use crate::workload::keys::{key, mix};

/// Kills as often as asked and prints the counts. Good only if nothing was lost, duplicated or wrong.
///
/// # Errors
/// The deployment does not start, does not come back, or a node ends by itself.
pub(crate) async fn run(arguments: &KillArguments) -> Result<Verdict, PerfError> {
    scratch::within(&arguments.start.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &KillArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let program = dev::program(arguments.start.margate.clone());
    let options = DevOptions::new(program, folder.join("margate"), &arguments.start);
    let mut nodes = Nodes::start(options, arguments.cut_with.clone()).await?;
    let crew = Arc::new(crew(arguments, folder, &nodes).await?);
    let mut workers: JoinSet<()> = (0..arguments.in_flight).map(|worker| work(crew.clone(), worker)).collect();
    let facts = faults(arguments, &mut nodes, &crew).await?;
    crew.stop.store(true, Ordering::Relaxed);
    while workers.join_next().await.is_some() {}
    match verify::every_key(&crew).await {
        Err(error) if facts.unopened > 0 => eprintln!("{error}"),
        read => read?,
    }
    conclude(arguments, &crew, facts)
}

async fn crew(arguments: &KillArguments, folder: &Path, nodes: &Nodes) -> Result<Crew, PerfError> {
    let client = Client::connect(config(&nodes.endpoints())).await?;
    let map = client.map().await;
    let shards = map.shards();
    let shard_of = |number| {
        let key = key(number);
        shards.iter().position(|shard| shard.contains(&key)).unwrap_or(0)
    };
    let values = Values {
        bytes: arguments.value_bytes,
        seed: arguments.seed,
    };
    let journal = Journal::create(&folder.join("journal"))?;
    let shard_of_key = (0..arguments.keys).map(shard_of).collect();
    Ok(Crew {
        client,
        book: Arc::new(Book::new(arguments.in_flight, values, shard_of_key, journal)),
        gate: RwLock::new(()),
        stop: AtomicBool::new(false),
        pace: Duration::from_secs_f64(arguments.in_flight as f64 / f64::from(arguments.rate)),
        seed: arguments.seed,
    })
}

/// What is done to the nodes, the two kinds in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillLeader,
    KillAll,
}

fn schedule(leader: u32, all: u32) -> Vec<Fault> {
    let pairs = (0..leader.max(all)).flat_map(|round| {
        let kill_leader = (round < leader).then_some(Fault::KillLeader);
        let kill_all = (round < all).then_some(Fault::KillAll);
        kill_leader.into_iter().chain(kill_all)
    });
    pairs.collect()
}

async fn faults(arguments: &KillArguments, nodes: &mut Nodes, crew: &Arc<Crew>) -> Result<RunFacts, PerfError> {
    let mut dice = StdRng::seed_from_u64(mix(!arguments.seed));
    sleep(around(arguments.secs_between, &mut dice)).await;
    let mut facts = facts(arguments, crew).await;
    for (number, fault) in schedule(arguments.leader, arguments.all).into_iter().enumerate() {
        let pause = around(arguments.secs_between, &mut dice);
        let (done, missing) = inflict(fault, nodes, crew, pause, &mut facts).await?;
        crew.book.open().journal.event(&done);
        for node in &missing {
            eprintln!(
                "node {node} did not come back with all its replicas; see {}",
                nodes.talk().display()
            );
        }
        facts.unopened += missing.len();
        if !missing.is_empty() {
            return Ok(facts);
        }
        verify::every_key(crew).await?;
        nodes.check_all()?;
        tell(number + 1, &done, crew);
        sleep(around(arguments.secs_between, &mut dice)).await;
    }
    Ok(facts)
}

/// What is known before the first kill.
async fn facts(arguments: &KillArguments, crew: &Crew) -> RunFacts {
    let processes = Processes::of(&crew.client).await;
    RunFacts {
        power_cuts: arguments.cut_with.is_some(),
        kills_leader: 0,
        kills_all: 0,
        unopened: 0,
        durability: durability(&processes.log_descriptors()),
        seed: arguments.seed,
        version: processes.version().to_owned(),
    }
}

fn tell(number: usize, done: &str, crew: &Crew) {
    let counts = crew.book.open().ledger.counts();
    eprintln!(
        "{number}: {done}; acknowledged {}, unknown {}, lost {}, duplicated {}, wrong {}",
        counts.acknowledged, counts.unknown, counts.lost, counts.duplicated, counts.wrong
    );
}

/// A time of half to one and a half of the mean: what happens at fixed times after a start must not hide.
fn around(mean: Duration, dice: &mut StdRng) -> Duration {
    mean.mul_f64(dice.random_range(0.5..1.5))
}

/// Kills, and starts again. Says what was done and which nodes did not come back.
async fn inflict(
    fault: Fault,
    nodes: &mut Nodes,
    crew: &Crew,
    pause: Duration,
    facts: &mut RunFacts,
) -> Result<(String, Vec<NodeId>), PerfError> {
    let (killed, whom) = match fault {
        Fault::KillLeader => {
            let leader = nodes.leader(&crew.client).await?;
            let killed = nodes.kill(&leader).await?;
            facts.kills_leader += 1;
            sleep(pause).await;
            (killed, format!("node {}", leader.node))
        }
        Fault::KillAll => {
            facts.kills_all += 1;
            (nodes.kill_all().await?, "all nodes".to_owned())
        }
    };
    let how = if facts.power_cuts { "power cut" } else { "killed" };
    let missing = nodes.try_start_again(killed, &crew.client).await?;
    Ok((format!("{whom} {how} and started again"), missing))
}

fn conclude(arguments: &KillArguments, crew: &Crew, facts: RunFacts) -> Result<Verdict, PerfError> {
    let pages = crew.book.open();
    for violation in pages.ledger.violations() {
        eprintln!("violation: {violation}");
    }
    if let Some(error) = &pages.first_error {
        eprintln!("first failure that no kill explains: {error}");
    }
    let report = KillReport::new(facts, &pages);
    arguments.printed.output().emit(&report)?;
    Ok(Verdict::of(report.is_clean()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_stay_near_the_mean() {
        let mut dice = StdRng::seed_from_u64(1);
        let mean = Duration::from_secs(2);
        let pauses: Vec<_> = (0..100).map(|_| around(mean, &mut dice)).collect();
        assert!(pauses.iter().all(|pause| (mean / 2..mean * 3 / 2).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause < mean) && pauses.iter().any(|pause| *pause > mean));
        assert_eq!(around(Duration::ZERO, &mut dice), Duration::ZERO);
    }

    #[test]
    fn both_kinds_of_kills_alternate_until_each_has_had_its_number() {
        use Fault::{KillAll, KillLeader};
        assert_eq!(schedule(3, 1), [KillLeader, KillAll, KillLeader, KillLeader]);
        assert_eq!(schedule(0, 2), [KillAll, KillAll]);
        assert_eq!(schedule(0, 0), []);
    }
}
