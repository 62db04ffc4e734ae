//! The counts that are kept in the repository, and how new ones compare with them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Scale;
use crate::error::PerfError;

/// A count may be so much higher than the recorded one: below that is what a change elsewhere does by moving memory about.
const RISE_MAX: f64 = 0.05;

/// What stands above the counts in the file.
const HEAD: &str = "# Instructions of one run of each part of the data path, counted by callgrind. `margate-perf parts --count` fails where\n\
                    # there are more than 5 % more; `margate-perf parts --record` writes this file.\n\n";

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The compiler that made what was counted.
    pub(crate) rustc: String,
    /// The kind of processor.
    pub(crate) processor: String,
    /// By part.
    pub(crate) instructions: BTreeMap<String, u64>,
}

impl Record {
    /// What this program has counted.
    pub(crate) fn of(lines: &[CountedLine]) -> Self {
        let counts = lines.iter().map(|line| (line.part.to_owned(), line.instructions));
        Self {
            rustc: RUSTC.to_owned(),
            processor: std::env::consts::ARCH.to_owned(),
            instructions: counts.collect(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// There is no such file, or it is not one of ours.
    pub(crate) fn read(file: &Path) -> Result<Self, PerfError> {
        let text = fs::read_to_string(file).map_err(PerfError::file(file))?;
        toml::from_str(&text).map_err(|source| PerfError::Record {
            path: file.to_owned(),
            source: Box::new(source),
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<(), PerfError> {
        let text = toml::to_string(self).expect("words, and numbers of less than 63 bits");
        fs::write(file, [HEAD, &text].concat()).map_err(PerfError::file(file))
    }

    /// How a new count compares.
    pub(crate) fn compare(&self, part: &'static str, instructions: u64) -> CountedLine {
        let recorded = self.instructions.get(part).copied();
        CountedLine {
            part,
            operations: Scale::MEASURED.operations,
            instructions,
            recorded,
            change: recorded.map(|recorded| (instructions as f64 - recorded as f64) / recorded as f64),
        }
    }

    /// Whether the counts of this program may be expected to be the recorded ones, or why not.
    pub(crate) fn differs(&self) -> Option<String> {
        let here = Self::of(&[]);
        let same = (&self.rustc, &self.processor) == (&here.rustc, &here.processor);
        (!same).then(|| {
            format!(
                "recorded with {} on {}, this is {} on {}",
                self.rustc, self.processor, here.rustc, here.processor
            )
        })
    }
}

/// One part's count.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CountedLine {
    /// Its name.
    part: &'static str,
    /// Operations in one run.
    operations: usize,
    /// Instructions of one run.
    instructions: u64,
    /// As recorded; none if the part is not in the record.
    recorded: Option<u64>,
    /// How much more that is, as a share.
    change: Option<f64>,
}

impl CountedLine {
    /// Whether it is what was recorded, or less.
    pub(crate) fn is_kept(&self) -> bool {
        self.change.is_some_and(|change| change <= RISE_MAX)
    }

    /// Whether it is so much less that the record should be.
    pub(crate) fn is_fallen(&self) -> bool {
        self.change.is_some_and(|change| change < -RISE_MAX)
    }
}

impl fmt::Display for CountedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.instructions as f64 / self.operations as f64;
        write!(f, "{:<12}  {each:>8.1} instructions per operation", self.part)?;
        match self.change {
            Some(change) => write!(f, "  {:>+6.2} %", 100.0 * change),
            None => write!(f, "  not recorded"),
        }
    }
}

/// Of this program.
const RUSTC: &str = env!("MARGATE_RUSTC");

#[cfg(test)]
mod tests {
    use super::super::PARTS;
    use super::*;

    fn record(counts: &[(&'static str, u64)]) -> Record {
        let nothing = Record::of(&[]);
        let lines: Vec<CountedLine> = counts.iter().map(|(part, count)| nothing.compare(part, *count)).collect();
        Record::of(&lines)
    }

    #[test]
    fn the_record_of_the_repository_has_every_part_and_no_other() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts.toml");
        let record = Record::read(&file).expect("it is tracked");
        let mut names = PARTS.map(|part| part.name);
        names.sort_unstable();
        assert!(
            record.instructions.keys().eq(names),
            "`margate-perf parts --record` writes {}",
            file.display()
        );
        assert!(record.instructions.values().all(|count| *count > 0));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder for tests");
        let (file, record) = (folder.path().join("parts.toml"), record(&[("frame", 7), ("index-get", 1 << 40)]));
        record.write(&file).expect("it is writable");
        assert_eq!(Record::read(&file).expect("just written"), record);
        assert_eq!(record.differs(), None);
        let elsewhere = Record {
            rustc: "1.0.0".to_owned(),
            ..record
        };
        assert!(elsewhere.differs().is_some_and(|why| why.contains("recorded with 1.0.0")));
        fs::write(&file, "rustc = 1").expect("it is writable");
        assert!(matches!(Record::read(&file), Err(PerfError::Record { .. })));
    }

    #[test]
    fn a_rise_above_a_twentieth_and_a_part_without_a_record_are_not_kept() {
        let record = record(&[("frame", 1_000)]);
        for (count, kept, fallen) in [(1_051, false, false), (1_050, true, false), (950, true, false), (949, true, true)] {
            let line = record.compare("frame", count);
            assert_eq!((line.is_kept(), line.is_fallen()), (kept, fallen), "{line}");
        }
        let unknown = record.compare("raft", 1);
        assert!(!unknown.is_kept() && !unknown.is_fallen(), "{unknown}");
    }
}
