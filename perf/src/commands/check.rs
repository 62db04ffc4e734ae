//! `check`: recorded histories, judged.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::Verdict;
use crate::error::PerfError;
use crate::history::arguments::CheckArguments;
use crate::history::check::{Judgement, judge};
use crate::history::file;
use crate::history::record::{Outcome, Record};
use crate::report::Output;

/// Violations of one file that are printed; all are counted.
const VIOLATIONS_SHOWN: usize = 20;

/// Judges each file. Problems if one is not linearizable, bad if one could not be judged.
///
/// # Errors
/// A file cannot be read or is no whole history.
pub(crate) fn run(arguments: &CheckArguments) -> Result<Verdict, PerfError> {
    let mut verdict = Verdict::Good;
    for path in &arguments.files {
        let began = Instant::now();
        let (_, records) = file::read(path)?;
        let mut report = CheckReport::of(path, &records);
        let judgement = judge(records);
        report.conclude(&judgement, began);
        say(path, &judgement);
        Output::of(arguments.json).emit(&report)?;
        verdict = verdict.and(report.verdict(arguments.allow_undecided));
    }
    Ok(verdict)
}

fn say(path: &Path, judgement: &Judgement) {
    for (key, violation) in judgement.violations.iter().take(VIOLATIONS_SHOWN) {
        eprintln!("{}: key {key} is not linearizable: {violation}", path.display());
    }
    for (key, operations) in &judgement.undecided {
        eprintln!(
            "{}: key {key} is too hard to judge: {operations} operations; record with fewer clients per key",
            path.display()
        );
    }
}

/// What came of one file.
#[derive(Clone, Debug, Default, Serialize)]
struct CheckReport {
    file: String,
    operations: usize,
    answered: usize,
    unknown: usize,
    failed: usize,
    keys: usize,
    /// Keys that are not linearizable.
    violations: usize,
    /// Keys that were too hard to judge.
    undecided: usize,
    secs: f64,
}

impl CheckReport {
    fn of(path: &Path, records: &[Record]) -> Self {
        let count = |outcome| records.iter().filter(|record| record.outcome == outcome).count();
        let (unknown, failed) = (count(Outcome::Unknown), count(Outcome::Failed));
        Self {
            file: path.display().to_string(),
            operations: records.len(),
            answered: records.len() - unknown - failed,
            unknown,
            failed,
            ..Self::default()
        }
    }

    fn conclude(&mut self, judgement: &Judgement, began: Instant) {
        self.keys = judgement.keys;
        self.violations = judgement.violations.len();
        self.undecided = judgement.undecided.len();
        self.secs = (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    }

    /// An empty history proves nothing.
    fn verdict(&self, allow_undecided: bool) -> Verdict {
        if self.violations > 0 {
            return Verdict::Problems;
        }
        Verdict::of(self.answered > 0 && (self.undecided == 0 || allow_undecided))
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.violations, self.undecided) {
            (0, 0) => "linearizable",
            (0, _) => "undecided",
            (_, _) => "NOT linearizable",
        };
        write!(
            f,
            "{}: {verdict}  operations {}  answered {}  unknown {}  failed {}  keys {}  violations {}  undecided {}  {:.1} s",
            self.file, self.operations, self.answered, self.unknown, self.failed, self.keys, self.violations, self.undecided, self.secs,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_problems_and_what_was_not_judged_is_bad_unless_allowed() {
        let report = |answered, violations, undecided| CheckReport {
            answered,
            violations,
            undecided,
            ..CheckReport::default()
        };
        assert_eq!(report(1, 0, 0).verdict(false), Verdict::Good);
        assert_eq!(report(1, 0, 1).verdict(false), Verdict::Bad);
        assert_eq!(report(1, 0, 1).verdict(true), Verdict::Good);
        assert_eq!(report(1, 1, 1).verdict(true), Verdict::Problems);
        assert_eq!(report(0, 0, 0).verdict(true), Verdict::Bad);
        assert_eq!(Verdict::Problems.and(Verdict::Good), Verdict::Problems);
    }
}
