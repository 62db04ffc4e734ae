//! The load generator, the comparisons beside peers, the kill test and the recorded histories of margate.
//!
//! Reading order: `args` is the command line, `commands` has one file per command. `workload` draws operations,
//! `driver` runs them against a `target` in a closed or an open loop, `report` prints what came of it. `margate` and `peers`
//! are the systems, `child`, `addresses` and `proc` the processes they run in, `kill` the book of the kill test, `failover` what
//! counts outages, `history` what is recorded and judged, `proxy` what networks do to nodes, `hostile` what strangers
//! say to them. `log` is our log alone beside others', `cold_get`, `amplification`, `scale`, `overload` and `restart` are what their
//! commands need, `parts` the parts of the data path by themselves, `limits` what the machine does without us, `sweep` all of it on one page, `fio`,
//! `greeting`, `meter` and `units` what several of them do.
//!
//! Not here, on purpose: anything inside a node, but for the log alone and the parts. Systems are seen through their public clients and `/proc`.

mod addresses;
mod amplification;
mod args;
mod child;
mod cold_get;
mod commands;
mod dice;
mod driver;
mod error;
mod failover;
mod fio;
mod greeting;
mod history;
mod hostile;
mod kill;
mod limits;
mod log;
mod margate;
mod meter;
mod overload;
mod parts;
#[cfg(feature = "peers")]
mod peers;
mod proc;
mod proxy;
mod report;
mod restart;
mod scale;
mod sweep;
mod target;
mod units;
mod workload;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use args::{Arguments, Command};
use commands::Verdict;
use error::PerfError;

/// Decision 31: what it loads has the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match runtime(client_threads(&arguments.command)) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(until_interrupted(run(&arguments.command))) {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Ok(Verdict::Problems) => ExitCode::from(7),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(command: &Command) -> Result<Verdict, PerfError> {
    match command {
        Command::Load(arguments) => commands::load::run(&arguments.run, &arguments.deployment, &arguments.bench.recipes()).await,
        Command::Ycsb(arguments) => commands::load::run(&arguments.run, &arguments.deployment, &arguments.recipes()).await,
        #[cfg(feature = "peers")]
        Command::Compare(arguments) => commands::compare::run(arguments).await,
        #[cfg(not(feature = "peers"))]
        Command::Compare(_) => Err(PerfError::PeersNotBuilt),
        Command::Kill(arguments) => commands::kill::run(arguments).await,
        Command::Failover(arguments) => commands::failover::run(arguments).await,
        Command::Probe(arguments) => commands::probe::run(arguments).await,
        Command::History(arguments) => commands::history::run(arguments).await,
        Command::Hostile(arguments) => commands::hostile::run(arguments).await,
        Command::Check(arguments) => commands::check::run(arguments),
        Command::Limits(arguments) => commands::limits::run(arguments).await,
        Command::Sweep(arguments) => commands::sweep::run(arguments).await,
        Command::Log(arguments) => commands::log::run(arguments).await,
        Command::Amplification(arguments) => commands::amplification::run(arguments).await,
        Command::Scale(arguments) => commands::scale::run(arguments).await,
        Command::Overload(arguments) => commands::overload::run(arguments).await,
        Command::Restart(arguments) => commands::restart::run(arguments).await,
        Command::ColdGet(arguments) => commands::cold_get::run(arguments).await,
        Command::Parts(arguments) => commands::parts::run(arguments),
        Command::Flags(arguments) => commands::flags::run(arguments).await,
    }
}

/// Ends the work on SIGINT and SIGTERM, so that what it started is stopped and deleted.
async fn until_interrupted(work: impl Future<Output = Result<Verdict, PerfError>>) -> Result<Verdict, PerfError> {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return work.await;
    };
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Err(PerfError::Interrupted),
        _ = terminate.recv() => Err(PerfError::Interrupted),
    }
}

fn client_threads(command: &Command) -> u16 {
    match command {
        Command::Load(arguments) => arguments.run.client_threads,
        Command::Ycsb(arguments) => arguments.run.client_threads,
        Command::Compare(arguments) => arguments.run.client_threads,
        Command::Overload(arguments) => arguments.client_threads,
        Command::Kill(_)
        | Command::Failover(_)
        | Command::Probe(_)
        | Command::History(_)
        | Command::Hostile(_)
        | Command::Check(_)
        | Command::Limits(_)
        | Command::Sweep(_)
        | Command::Log(_)
        | Command::Amplification(_)
        | Command::Scale(_)
        | Command::Restart(_)
        | Command::ColdGet(_)
        | Command::Parts(_)
        | Command::Flags(_) => 1,
    }
}

/// One thread does without the queues and wake-ups that several need among themselves.
fn runtime(threads: u16) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(usize::from(threads));
    }
    builder.enable_all().build()
}
