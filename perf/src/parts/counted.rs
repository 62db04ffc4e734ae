//! A part in instructions: this program once more under callgrind, which looks into `measured` and nowhere else.
//!
//! Of instructions there are always the same number, but for a few that depend on where memory lies. The compiler, the
//! processor's kind and the instructions that valgrind knows of decide about them too, so counts of two machines are alike where
//! these are.
//!
//! Not here, on purpose: a bench library such as gungraun. It needs a runner of its own version installed and targets of their own
//! built, for what is one program and one number here: the production build, allocator included, counts itself.

use std::env::current_exe;
use std::path::Path;
use std::process::{Command, Stdio};

use margate_engine::index::IndexError;

use super::{Named, Scale, measured};
use crate::error::PerfError;

/// Runs that make a part warm: memory is there, the first of everything has happened.
const RUNS_BEFORE: usize = 2;
/// Runs that are counted together.
const RUNS_COUNTED: u64 = 8;
/// What callgrind looks into, as it names functions.
const LOOKS_INTO: &str = "--toggle-collect=margate_perf::parts::measured*";

/// Instructions of one run of a part.
///
/// # Errors
/// valgrind is not installed or fails, or does not find what to count.
pub(crate) fn instructions(named: &Named, folder: &Path) -> Result<u64, PerfError> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", LOOKS_INTO])
        .arg(current_exe().map_err(PerfError::file("/proc/self/exe"))?)
        .args(["parts", named.name, "--counted", "--data-root"])
        .arg(folder)
        .stdin(Stdio::null());
    let output = command.output().map_err(|source| PerfError::Start {
        program: "valgrind".to_owned(),
        source,
        advice: "install it, for example with `apt-get install valgrind`",
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    match collected(&said) {
        Some(all) if output.status.success() && all > 0 => Ok(all / RUNS_COUNTED),
        Some(_) | None => {
            eprintln!("{said}");
            Err(PerfError::NotCounted {
                part: named.name,
                status: output.status,
            })
        }
    }
}

/// What runs under callgrind.
///
/// # Errors
/// The part's index fails.
pub(crate) fn run(named: &Named, folder: &Path) -> Result<(), IndexError> {
    let mut part = named.make(Scale::MEASURED, folder)?;
    for _ in 0..RUNS_BEFORE {
        part.prepare()?;
        part.run()?;
    }
    for _ in 0..RUNS_COUNTED {
        part.prepare()?;
        measured(part.as_mut())?;
    }
    Ok(())
}

/// The number in callgrind's line `==1234== Collected : 5678`.
fn collected(said: &str) -> Option<u64> {
    let number = said.lines().find_map(|line| line.split_once("Collected :"))?.1;
    number.trim().parse().ok()
}

#[test]
fn what_callgrind_says_is_read() {
    let said = "==7== Events    : Ir\n==7== Collected : 5678\n==7== \n==7== I   refs:      5,678\n";
    assert_eq!(collected(said), Some(5_678));
    assert_eq!(collected("==7== Collected : \n"), None);
    assert_eq!(collected("valgrind: no such program"), None);
}
