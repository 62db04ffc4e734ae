//! Runs seeds of the simulation: `sim --seeds N [--seed S] [--planted all|NAME] [--threads T]`.
//!
//! Talk goes to stderr. The last line on stdout says what was run and found; a violation prints its seed and commit,
//! and `--seed` runs it again exactly. Exit code 1 on a violation, and when in a thousand seeds or more a fault or a rare
//! branch never happened; with `--planted`, on a bug that was not found.
//!
//! An assertion of the engine that fails is a violation too. Release builds abort on panics, so the panic hook
//! reports it and ends the process; `--planted all` therefore gives each bug a process of its own.
//!
//! Not here, on purpose: the simulation itself (`margate_engine::sim`).

use std::cell::Cell;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use margate_engine::planted::Bug;
use margate_engine::sim::{Fault, FaultCounts, Report, Violation, run};

/// Every so many seeds one is run twice.
const TWICE_EVERY: u64 = 10;
/// Seeds in which every fault and every rare branch must have happened.
const SEEDS_FOR_ALL: u64 = 1_000;
/// Seeds between two lines of progress.
const PROGRESS_EVERY: u64 = 100;
/// The commit this was built from, where the build was told.
const COMMIT: Option<&str> = option_env!("MARGATE_COMMIT");

thread_local! {
    /// What this thread runs, for the panic hook.
    static RUNNING: Cell<Option<(u64, Option<Bug>)>> = const { Cell::new(None) };
}

/// What all threads together have done.
static TOTAL: LazyLock<Mutex<Total>> = LazyLock::new(Mutex::default);

/// What to run.
#[derive(Clone, Copy, Debug)]
struct Arguments {
    first: u64,
    seeds: u64,
    planted: Planting,
    threads: usize,
}

#[derive(Clone, Copy, Debug)]
enum Planting {
    Nothing,
    All,
    One(Bug),
}

#[derive(Default)]
struct Total {
    seeds: u64,
    operations: u64,
    too_hard: u64,
    faults: FaultCounts,
    violations: u64,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\nusage: sim --seeds N [--seed S] [--planted all|NAME] [--threads T]");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(report_panic));
    match arguments.planted {
        Planting::Nothing => search(arguments),
        Planting::One(bug) => plant(arguments, bug),
        Planting::All => plant_all(arguments),
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut first, mut seeds, mut planted) = (None, None, Planting::Nothing);
    let mut threads = std::thread::available_parallelism().map_or(1, usize::from);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} needs a number, not {value}"));
        match word.as_str() {
            "--seed" => first = Some(number()?),
            "--seeds" => seeds = Some(number()?),
            "--threads" => threads = usize::try_from(number()?.max(1)).unwrap_or(1),
            "--planted" if value == "all" => planted = Planting::All,
            "--planted" => planted = Planting::One(bug_of(&value)?),
            _ => return Err(format!("{word} is not an argument")),
        }
    }
    // A seed alone is run alone.
    let usual = if first.is_some() { 1 } else { 100 };
    Ok(Arguments {
        first: first.unwrap_or(0),
        seeds: seeds.unwrap_or(usual),
        planted,
        threads,
    })
}

fn bug_of(name: &str) -> Result<Bug, String> {
    let found = Bug::ALL.into_iter().find(|bug| bug.name() == name);
    found.ok_or_else(|| format!("{name} is not a bug; there are {}", Bug::ALL.map(Bug::name).join(", ")))
}

/// Runs all seeds on all threads.
fn search(arguments: Arguments) -> ExitCode {
    let started = Instant::now();
    let next = AtomicU64::new(arguments.first);
    let end = arguments.first.saturating_add(arguments.seeds);
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < end) {
                    take_in(run_seed(seed, None), started);
                }
            });
        }
    });
    let total = total();
    eprintln!("{} seconds", started.elapsed().as_secs());
    let never = never_happened(&total);
    never.iter().for_each(|fault| println!("never-happened={fault}"));
    println!("{}", summary(&total));
    ExitCode::from(u8::from(total.violations > 0 || !never.is_empty()))
}

/// Faults and rare branches that none of very many seeds had: what they should show is not shown.
fn never_happened(total: &Total) -> Vec<&'static str> {
    if total.seeds < SEEDS_FOR_ALL {
        return Vec::new();
    }
    let never = Fault::ALL.into_iter().filter(|fault| total.faults.of(*fault) == 0);
    never.map(Fault::name).collect()
}

/// Runs seeds in order until the bug is found.
fn plant(arguments: Arguments, bug: Bug) -> ExitCode {
    let seeds = arguments.first..arguments.first.saturating_add(arguments.seeds);
    for seed in seeds {
        if let Some(violation) = run_seed(seed, Some(bug)).violation {
            eprintln!("{violation}");
            println!("{}", found(bug, seed, violation.checker()));
            return ExitCode::SUCCESS;
        }
    }
    println!("planted={} not found in {} seeds", bug.name(), arguments.seeds);
    ExitCode::FAILURE
}

/// Gives every bug a process of its own.
fn plant_all(arguments: Arguments) -> ExitCode {
    let missed = Bug::ALL.into_iter().filter(|bug| !plant_apart(arguments, *bug)).count();
    println!("planted={} missed={missed}", Bug::ALL.len());
    ExitCode::from(u8::from(missed > 0))
}

fn plant_apart(arguments: Arguments, bug: Bug) -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let (first, seeds) = (arguments.first.to_string(), arguments.seeds.to_string());
    let child = Command::new(program)
        .args(["--planted", bug.name(), "--seed", &first, "--seeds", &seeds])
        .stderr(Stdio::null())
        .output();
    match child {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            output.status.success()
        }
        Err(error) => {
            println!("planted={} could not be run: {error}", bug.name());
            false
        }
    }
}

/// One seed, some of them twice.
fn run_seed(seed: u64, bug: Option<Bug>) -> Report {
    RUNNING.set(Some((seed, bug)));
    let mut report = run(seed, bug);
    if seed.is_multiple_of(TWICE_EVERY) && bug.is_none() {
        let second = run(seed, bug).event_hash;
        if second != report.event_hash {
            let first = report.event_hash;
            report.violation.get_or_insert(Violation::NotDeterministic { first, second });
        }
    }
    RUNNING.set(None);
    report
}

fn take_in(report: Report, started: Instant) {
    let mut total = total();
    total.seeds += 1;
    total.operations += report.operations;
    total.too_hard += report.too_hard;
    total.faults.absorb(&report.faults);
    if let Some(violation) = &report.violation {
        total.violations += 1;
        println!("{}", failure(report.seed, violation.checker(), &violation.to_string()));
    }
    if total.seeds.is_multiple_of(PROGRESS_EVERY) {
        eprintln!(
            "{} seeds, {} violations, {} s",
            total.seeds,
            total.violations,
            started.elapsed().as_secs()
        );
    }
}

fn report_panic(info: &std::panic::PanicHookInfo<'_>) {
    eprintln!("{info}\n{}", std::backtrace::Backtrace::capture());
    let Some((seed, bug)) = RUNNING.get() else { return };
    if let Some(bug) = bug {
        println!("{}", found(bug, seed, "assertion"));
        std::process::exit(0);
    }
    let mut total = total();
    total.violations += 1;
    println!("{}", failure(seed, "assertion", &info.to_string().replace('\n', " ")));
    println!("{}", summary(&total));
    std::process::exit(1);
}

fn total() -> MutexGuard<'static, Total> {
    TOTAL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn found(bug: Bug, seed: u64, checker: &str) -> String {
    format!("planted={} seed={seed} checker={checker}", bug.name())
}

fn failure(seed: u64, checker: &str, what: &str) -> String {
    format!(
        "violation seed={seed} commit={} checker={checker} {what}",
        COMMIT.unwrap_or("unknown")
    )
}

fn summary(total: &Total) -> String {
    let Total {
        seeds,
        operations,
        too_hard,
        faults,
        violations,
    } = total;
    format!("seeds={seeds} operations={operations} too-hard={too_hard} {faults} violations={violations}")
}
