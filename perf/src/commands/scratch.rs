//! A new folder on a real disk for the data of a run.

use std::fs;
use std::path::Path;

use rustix::fs::statfs;
use tempfile::TempDir;

use crate::error::PerfError;

/// What Linux calls a filesystem in memory.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Makes a folder below `root`, deleted when dropped unless `keep`.
///
/// # Errors
/// The root cannot be made or written, or lies in memory.
pub(crate) fn folder(root: &Path, keep: bool) -> Result<TempDir, PerfError> {
    fs::create_dir_all(root).map_err(PerfError::file(root))?;
    let root = root.canonicalize().map_err(PerfError::file(root))?;
    let kind = statfs(&root).map_err(|error| PerfError::file(&root)(error.into()))?.f_type;
    if u64::try_from(kind) == Ok(TMPFS_MAGIC) {
        return Err(PerfError::InMemory { path: root });
    }
    let mut folder = tempfile::Builder::new()
        .prefix("margate-perf-")
        .tempdir_in(&root)
        .map_err(PerfError::file(&root))?;
    folder.disable_cleanup(keep);
    Ok(folder)
}

/// Keeps the folder of a command that failed and says where it is: its logs tell why.
pub(crate) fn keep_on_failure<T>(mut folder: TempDir, result: Result<T, PerfError>) -> Result<T, PerfError> {
    if let Err(error) = &result
        && !matches!(error, PerfError::Interrupted)
    {
        folder.disable_cleanup(true);
        eprintln!("kept {}", folder.path().display());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_new_and_goes_unless_it_is_kept() {
        let root = tempfile::tempdir_in(".").expect("the crate's folder is writable");
        let first = folder(root.path(), false).expect("a folder on disk");
        let kept = folder(root.path(), true).expect("a folder on disk");
        let (gone, stays) = (first.path().to_owned(), kept.path().to_owned());
        assert_ne!(gone, stays);
        drop((first, kept));
        assert!(!gone.exists() && stays.exists());
    }

    #[test]
    fn a_folder_in_memory_is_refused() {
        let in_memory = Path::new("/dev/shm");
        if in_memory.exists() {
            let error = folder(in_memory, false).expect_err("shm is a tmpfs");
            assert!(matches!(error, PerfError::InMemory { .. }), "{error}");
        }
    }
}
