//! `kill`: nodes die under load, and every acknowledged write must stand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use margate_client::Client;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Verdict, scratch};
use crate::args::KillArguments;
use crate::error::PerfError;
use crate::kill::book::Book;
use crate::kill::journal::Journal;
use crate::kill::nodes::Nodes;
use crate::kill::report::{KillReport, RunFacts};
use crate::kill::value::Values;
use crate::kill::verify;
use crate::kill::worker::{Crew, work};
use crate::margate::deployment::Processes;
use crate::margate::dev::{self, DevOptions};
use crate::margate::target::config;
use crate::proc::descriptors::durability;
use crate::report::Output;
use crate::workload::keys::key;

/// Kills as often as asked and prints the counts. Good only if nothing was lost, duplicated or wrong.
///
/// # Errors
/// The deployment does not start, does not come back, or a node ends by itself.
pub(crate) async fn run(arguments: &KillArguments) -> Result<Verdict, PerfError> {
    let folder = scratch::folder(&arguments.start.data_root, arguments.start.keep)?;
    let result = in_folder(arguments, folder.path()).await;
    scratch::keep_if_bad(folder, result)
}

async fn in_folder(arguments: &KillArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let program = dev::program(arguments.start.margate.clone());
    let mut nodes = Nodes::start(DevOptions::new(program, folder.join("margate"), &arguments.start)).await?;
    let crew = Arc::new(crew(arguments, folder, &nodes).await?);
    let mut workers: JoinSet<()> = (0..arguments.in_flight).map(|worker| work(crew.clone(), worker)).collect();
    let facts = faults(arguments, &mut nodes, &crew).await?;
    crew.stop.store(true, Ordering::Relaxed);
    while workers.join_next().await.is_some() {}
    verify::every_key(&crew).await?;
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
    sleep(arguments.secs_between).await;
    let processes = Processes::of(&crew.client).await;
    let facts = RunFacts {
        kills_leader: arguments.leader,
        kills_all: arguments.all,
        durability: durability(&processes.log_descriptors()),
        seed: arguments.seed,
        version: processes.version().to_owned(),
    };
    for (number, fault) in schedule(arguments.leader, arguments.all).into_iter().enumerate() {
        let done = inflict(fault, arguments, nodes, crew).await?;
        crew.book.open().journal.event(&done);
        verify::every_key(crew).await?;
        nodes.check_all()?;
        let counts = crew.book.open().ledger.counts();
        eprintln!(
            "{}: {done}; acknowledged {}, unknown {}, lost {}, duplicated {}, wrong {}",
            number + 1,
            counts.acknowledged,
            counts.unknown,
            counts.lost,
            counts.duplicated,
            counts.wrong
        );
        sleep(arguments.secs_between).await;
    }
    Ok(facts)
}

async fn inflict(fault: Fault, arguments: &KillArguments, nodes: &mut Nodes, crew: &Crew) -> Result<String, PerfError> {
    match fault {
        Fault::KillLeader => {
            let killed = nodes.kill(&nodes.leader(&crew.client).await?).await?;
            sleep(arguments.secs_between).await;
            nodes.start_again(killed, &crew.client).await?;
            Ok(format!("node {} killed and started again", killed.node))
        }
        Fault::KillAll => {
            nodes.kill_all_and_start().await?;
            Ok("all nodes killed and started again".to_owned())
        }
    }
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
    Output::of(arguments.json).emit(&report)?;
    Ok(Verdict::of(report.is_clean()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_kills_alternate_until_each_has_had_its_number() {
        use Fault::{KillAll, KillLeader};
        assert_eq!(schedule(3, 1), [KillLeader, KillAll, KillLeader, KillLeader]);
        assert_eq!(schedule(0, 2), [KillAll, KillAll]);
        assert_eq!(schedule(0, 0), []);
    }
}
