//! A part in time: run again and again for a while, each run timed by itself.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use margate_engine::index::IndexError;
use serde::Serialize;

use super::{Named, Scale, measured};
use crate::report::versus::median;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TimedLine {
    /// Its name.
    part: &'static str,
    /// Operations in each run.
    operations: usize,
    /// Runs that were timed.
    runs: usize,
    /// Median over all runs, in nanoseconds for each operation.
    median_ns: f64,
    /// That of the fastest run: what it takes where nothing disturbs it.
    least_ns: f64,
}

/// Runs a part for so long.
///
/// # Errors
/// Its index fails.
pub(crate) fn run(named: &Named, folder: &Path, lasting: Duration) -> Result<TimedLine, IndexError> {
    let mut part = named.make(Scale::MEASURED, folder)?;
    let (began, mut each_ns) = (Instant::now(), Vec::new());
    let operations = loop {
        part.prepare()?;
        let run = Instant::now();
        let operations = measured(part.as_mut())?;
        each_ns.push(run.elapsed().as_secs_f64() * 1e9 / operations as f64);
        if began.elapsed() >= lasting {
            break operations;
        }
    };
    Ok(TimedLine {
        part: named.name,
        operations,
        runs: each_ns.len(),
        median_ns: median(each_ns.iter().copied()).unwrap_or_default(),
        least_ns: each_ns.iter().copied().fold(f64::INFINITY, f64::min),
    })
}

impl fmt::Display for TimedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second = 1e9 / self.median_ns;
        write!(
            f,
            "{:<12}  {:>8.0} ns per operation, fastest {:>8.0}  {:>10.0} operations/s  {} runs of {}",
            self.part, self.median_ns, self.least_ns, per_second, self.runs, self.operations
        )
    }
}
