//! How far logs have been turned over: which segments there are, and which are gone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use margate_engine::log::limits::BLOCK_BYTES;
use margate_engine::log::segment::SegmentHeader;
use margate_engine::runtime::segments;

use crate::error::PerfError;

/// The segments of each log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segments(BTreeMap<PathBuf, Vec<u32>>);

impl Segments {
    /// What is there now.
    ///
    /// # Errors
    /// A log's folder cannot be read.
    pub(crate) fn of(logs: &[PathBuf]) -> Result<Self, PerfError> {
        let of_log = |log: &PathBuf| {
            let mut numbers = segments::numbers(log).map_err(PerfError::file(log))?;
            numbers.sort_unstable();
            Ok((log.clone(), numbers))
        };
        logs.iter().map(of_log).collect::<Result<_, PerfError>>().map(Self)
    }

    /// Whether all of these are gone.
    pub(crate) fn is_turned_over(&self, now: &Self) -> bool {
        let gone = |(log, numbers): (&PathBuf, &Vec<u32>)| numbers.first() > self.0.get(log).and_then(|then| then.last());
        !now.0.is_empty() && now.0.iter().all(gone)
    }

    /// Segments that were let go between then and now, all logs together.
    pub(crate) fn gone(&self, now: &Self) -> u64 {
        let oldest = |segments: &Self, log| segments.0.get(log).and_then(|numbers| numbers.first()).copied().unwrap_or(1);
        self.0
            .keys()
            .map(|log| u64::from(oldest(now, log).saturating_sub(oldest(self, log))))
            .sum()
    }

    /// Segments that are in another life than their file's first, and all of them.
    pub(crate) fn recycled(&self) -> (usize, usize) {
        let files = || {
            self.0
                .iter()
                .flat_map(|(log, numbers)| numbers.iter().map(|number| segments::path(log, *number)))
        };
        // One that was renamed meanwhile counts as new.
        let recycled = files().filter(|file| life(file).is_ok_and(|life| life > 1)).count();
        (recycled, files().count())
    }
}

fn life(file: &Path) -> io::Result<u32> {
    let mut block = [0; BLOCK_BYTES];
    File::open(file)?.read_exact_at(&mut block, 0)?;
    Ok(SegmentHeader::life_in(&block))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(numbers: &[u32]) -> Segments {
        Segments(BTreeMap::from([(PathBuf::from("log"), numbers.to_vec())]))
    }

    #[test]
    fn a_log_is_turned_over_once_its_newest_segment_of_then_is_gone() {
        let then = segments(&[3, 4, 5]);
        assert!(!then.is_turned_over(&segments(&[5, 6, 7])));
        assert!(then.is_turned_over(&segments(&[6, 7])));
        assert!(!then.is_turned_over(&Segments::default()));
        assert_eq!(then.gone(&segments(&[6, 7])), 3);
    }

    #[test]
    fn files_that_are_no_segments_are_in_no_other_life() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(segments::path(folder.path(), 7), [0; BLOCK_BYTES]).expect("writable");
        let found = Segments::of(&[folder.path().to_owned()]).expect("readable");
        assert_eq!(found.recycled(), (0, 1));
        assert!(Segments::of(&[folder.path().join("none")]).is_err());
    }
}
