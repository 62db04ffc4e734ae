//! How often in a row a core failed to start from its index. After three times the index is set aside, and replay
//! makes a new one from the log, which holds everything.
//!
//! LMDB's pages carry no checksums: a rotten one may end the process by a signal, which nobody could catch. So the
//! count is written before the index is opened and taken back when the core has started. A failure the index is
//! surely innocent of is not counted; one that it surely caused while the core ran counts at once as all three.
//!
//! Not here, on purpose: making the new index (`core/replay.rs`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::core::event::Halt;
use crate::core::replay::ReplayError;
use crate::index::error::IndexError;

use super::core_loop::CoreFailure;

/// Failed starts after which an index is not tried again.
const FAILED_STARTS_MAX: u8 = 3;

/// The count of one core's index; it lies beside the index's folder.
#[derive(Clone, Debug)]
pub(super) struct IndexTrials {
    index: PathBuf,
}

impl IndexTrials {
    /// Of the index in this folder.
    #[must_use]
    pub(super) fn of(index: &Path) -> Self {
        Self { index: index.to_owned() }
    }

    /// Another start begins. Sets the index aside if too many have failed.
    ///
    /// # Errors
    /// The system's, from reading, renaming or writing.
    pub(super) fn begin(&self) -> io::Result<()> {
        let mut failed = self.failed()?;
        if failed >= FAILED_STARTS_MAX {
            self.set_aside()?;
            failed = 0;
        }
        self.store(failed + 1)
    }

    /// The start succeeded, or failed for a reason that is not the index's.
    ///
    /// # Errors
    /// The system's, from removing the count.
    pub(super) fn acquit(&self) -> io::Result<()> {
        match fs::remove_file(self.count_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The index failed in a way that a new one would not: the next start makes that.
    ///
    /// # Errors
    /// The system's, from writing the count.
    pub(super) fn condemn(&self) -> io::Result<()> {
        self.store(FAILED_STARTS_MAX)
    }

    fn failed(&self) -> io::Result<u8> {
        match fs::read(self.count_path()) {
            // A count whose writing was cut short was a first one.
            Ok(bytes) => Ok(bytes.first().map_or(1, |digit| digit.saturating_sub(b'0'))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn store(&self, failed: u8) -> io::Result<()> {
        let mut file = File::create(self.count_path())?;
        file.write_all(&[b'0' + failed, b'\n'])?;
        file.sync_all()?;
        self.sync_folder()
    }

    fn set_aside(&self) -> io::Result<()> {
        // A crash in here, or somebody's hand, has removed it already: what was set aside before is not given up for nothing.
        if !self.index.try_exists()? {
            return Ok(());
        }
        let aside = self.index.with_extension("aside");
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::rename(&self.index, &aside)?;
        self.sync_folder()?;
        tracing::error!(
            aside = %aside.display(),
            "the index failed {FAILED_STARTS_MAX} starts and is set aside; a new one is made from the log. Check the disk; delete what was set aside when nobody needs to look at it"
        );
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.index.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    fn count_path(&self) -> PathBuf {
        self.index.with_extension("failed-starts")
    }
}

/// Whether a failed start may be the index's fault.
#[must_use]
pub(super) fn is_suspect(error: &ReplayError) -> bool {
    match error {
        ReplayError::Index(error) => error.is_damage(),
        // The state came from a checkpoint, which a new index would read again, or from the index.
        ReplayError::State { .. } => true,
        ReplayError::Scan(_) | ReplayError::LogLost { .. } => false,
    }
}

/// Whether a core stopped because its index is damaged.
#[must_use]
pub(super) fn is_guilty(failure: &CoreFailure) -> bool {
    match failure {
        CoreFailure::IndexCommit(error) | CoreFailure::Halt(Halt::Index(error)) => error.is_damage(),
        CoreFailure::LogWrite(_) | CoreFailure::Segment(_) => false,
    }
}

impl IndexError {
    /// Whether a new index made from the log would be without this failure.
    #[must_use]
    const fn is_damage(&self) -> bool {
        match self {
            Self::DamagedRow { .. } | Self::DamagedMeta { .. } | Self::Lmdb { .. } | Self::Io { .. } => true,
            Self::Full { .. }
            | Self::NoSpace { .. }
            | Self::NewerFormat { .. }
            | Self::OtherCluster { .. }
            | Self::OtherDirectory { .. }
            | Self::MarksTooLarge { .. }
            | Self::AlreadyOpen => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> (tempfile::TempDir, PathBuf, IndexTrials) {
        let core = tempfile::tempdir().expect("a folder");
        let index = core.path().join("index");
        fs::create_dir(&index).expect("a folder in it");
        fs::write(index.join("data.mdb"), b"rows").expect("a file in that");
        let trials = IndexTrials::of(&index);
        (core, index, trials)
    }

    #[test]
    fn the_fourth_start_in_a_row_begins_without_the_index() {
        let (core, index, trials) = index();
        for _ in 0..3 {
            trials.begin().expect("it is counted");
            assert!(index.join("data.mdb").exists());
        }
        trials.begin().expect("it is set aside");
        assert!(!index.exists());
        assert_eq!(fs::read(core.path().join("index.aside/data.mdb")).expect("it was kept"), b"rows");
        fs::create_dir(&index).expect("a new one");
        trials.begin().expect("it is counted anew");
        assert!(index.exists());
    }

    #[test]
    fn a_start_that_succeeds_ends_the_row() {
        let (_core, index, trials) = index();
        for _ in 0..9 {
            trials.begin().expect("it is counted");
            trials.acquit().expect("it is taken back");
        }
        trials.acquit().expect("there is nothing to take back");
        assert!(index.exists());
    }

    #[test]
    fn an_index_found_guilty_is_not_tried_again() {
        let (core, index, trials) = index();
        trials.condemn().expect("it is written");
        trials.begin().expect("it is set aside");
        assert!(!index.exists() && core.path().join("index.aside").exists());
        fs::create_dir(&index).expect("a new one");
        trials.condemn().expect("it is written");
        trials.begin().expect("the older one makes room");
    }

    #[test]
    fn an_index_that_is_gone_already_is_made_anew_and_what_was_set_aside_stays() {
        let (core, index, trials) = index();
        trials.condemn().expect("it is written");
        let aside = core.path().join("index.aside");
        fs::rename(&index, &aside).expect("as before a crash");
        trials.begin().expect("nothing is in the way");
        assert_eq!(fs::read(aside.join("data.mdb")).expect("it was kept"), b"rows");
        assert_eq!(trials.failed().expect("readable"), 1, "the new index's first start");
    }

    #[test]
    fn a_count_cut_short_counts_as_one() {
        let (core, index, trials) = index();
        fs::write(core.path().join("index.failed-starts"), b"").expect("written");
        trials.begin().expect("the second");
        trials.begin().expect("the third");
        assert!(index.exists());
        trials.begin().expect("the fourth");
        assert!(!index.exists());
    }
}
