//! How often in a row a core failed to start from its index. After three times the index is set aside, and replay
//! makes a new one from the log, which holds everything.
//!
//! LMDB's pages carry no checksums: a rotten one may end the process by a signal, which nobody could catch. So a
//! start is counted before the index is opened, and how it ended is told afterwards; one that tells nothing was ended
//! by a signal or a power cut. If it did so while it served, it counts less (`probation` says why): three
//! failed starts set an index aside, or nine that served for a moment. The index's generation is noted beside the count: one that has grown since was read
//! and written in the meantime, so the row begins anew, and a long replay may be killed as often as it gets on.
//!
//! Not here, on purpose: making the new index (`core/replay.rs`), judging errors (`index_verdict`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::{remove_if_there, sync_folder};
use super::index_verdict::Verdict;
use super::probation::OnTrial;
use crate::index::{Churn, Generation, IndexError, IndexReader, IndexWriter};

/// What a failed start counts.
const FAILED: u8 = 3;
/// What a start counts that got as far as serving and ended without a word soon after.
const SERVED: u8 = 1;
/// At this an index is not tried again: three failed starts in a row.
const CONDEMNED: u8 = 3 * FAILED;

/// One start of a core from its index; the count lies beside the index's folder.
#[derive(Clone, Debug)]
pub(super) struct IndexTrial {
    index: PathBuf,
    /// What counts against the index without this start.
    before: Count,
}

/// What counts against an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    points: u8,
    /// The last generation that was seen in it.
    generation: u64,
}

/// The writer of an index on trial.
#[derive(Debug)]
pub(super) struct Watched<'a, W> {
    trial: &'a mut IndexTrial,
    writer: &'a mut W,
}

impl IndexTrial {
    /// A start from the index in this folder begins. Sets the index aside if too many have failed.
    ///
    /// # Errors
    /// The system's, from reading, renaming or writing.
    pub(super) fn begin(index: &Path) -> io::Result<Self> {
        let mut trial = Self {
            index: index.to_owned(),
            before: Count::default(),
        };
        // Where there is no index, the count is that of one which a crash in here, or somebody's hand, has removed.
        if index.try_exists()? {
            trial.before = trial.stored()?;
        }
        if trial.before.points >= CONDEMNED {
            trial.set_aside()?;
            trial.before = Count::default();
        }
        trial.count(FAILED)?;
        Ok(trial)
    }

    /// The index was opened: notes its generation, and each one that is committed from now on.
    ///
    /// # Errors
    /// When the index's marks cannot be read, or the count cannot be written.
    pub(super) fn watch<'a, W>(&'a mut self, opened: &impl IndexReader, writer: &'a mut W) -> Result<Watched<'a, W>, IndexError> {
        let marks = opened.core_marks()?;
        self.reached(marks.map_or(0, |marks| marks.generation)).map_err(uncounted)?;
        Ok(Watched { trial: self, writer })
    }

    fn reached(&mut self, generation: u64) -> io::Result<()> {
        if generation <= self.before.generation {
            return Ok(());
        }
        self.before = Count { points: 0, generation };
        self.count(FAILED)
    }

    /// The start got as far as serving: if the process ends now, that counts [`SERVED`].
    ///
    /// # Errors
    /// The system's, from writing the count.
    pub(super) fn served(&self) -> io::Result<()> {
        self.count(SERVED)
    }

    /// How this start, or the run that followed it, ended.
    ///
    /// # Errors
    /// The system's, from writing or removing the count.
    pub(super) fn end(mut self, verdict: Verdict) -> io::Result<()> {
        match verdict {
            Verdict::Acquitted => self.acquit(),
            Verdict::Innocent if self.before.points == 0 => self.acquit(),
            Verdict::Innocent => self.count(0),
            Verdict::Failed => self.count(FAILED),
            Verdict::Condemned => self.count(CONDEMNED),
        }
    }

    fn stored(&self) -> io::Result<Count> {
        match fs::read_to_string(self.path()) {
            Ok(text) => Ok(Count::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Count::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Count::UNREADABLE),
            Err(error) => Err(error),
        }
    }

    fn count(&self, points: u8) -> io::Result<()> {
        let points = self.before.points.saturating_add(points);
        let mut file = File::create(self.path())?;
        writeln!(file, "{points} {}", self.before.generation)?;
        file.sync_all()?;
        self.sync_folder()
    }

    fn set_aside(&self) -> io::Result<()> {
        let aside = self.index.with_extension("aside");
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::rename(&self.index, &aside)?;
        self.sync_folder()?;
        tracing::error!(
            aside = %aside.display(),
            "the index failed too often and is set aside; a new one is made from the log. Check the disk; delete what was set aside when nobody needs to look at it"
        );
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.index.parent().map_or(Ok(()), sync_folder)
    }

    fn path(&self) -> PathBuf {
        self.index.with_extension("failed-starts")
    }
}

impl OnTrial for IndexTrial {
    const ACQUITTED_AFTER: Duration = Duration::from_secs(10);

    fn acquit(&mut self) -> io::Result<()> {
        self.before.points = 0;
        remove_if_there(&self.path())
    }
}

impl<W: IndexWriter> IndexWriter for Watched<'_, W> {
    fn commit(&mut self, generation: &Generation) -> Result<Churn, IndexError> {
        let churn = self.writer.commit(generation)?;
        self.trial.reached(generation.number).map_err(uncounted)?;
        Ok(churn)
    }
}

fn uncounted(source: io::Error) -> IndexError {
    IndexError::Io {
        doing: "noting its progress beside it",
        source,
    }
}

impl Count {
    /// What writing cut short leaves: that of one failed start.
    const UNREADABLE: Self = Self {
        points: FAILED,
        generation: 0,
    };

    fn parse(text: &str) -> Self {
        let parsed = text.strip_suffix('\n').and_then(|line| line.split_once(' '));
        let count = parsed.and_then(|(points, generation)| {
            Some(Self {
                points: points.parse().ok()?,
                generation: generation.parse().ok()?,
            })
        });
        count.unwrap_or(Self::UNREADABLE)
    }
}

#[cfg(test)]
#[path = "index_trials_tests.rs"]
mod tests;
