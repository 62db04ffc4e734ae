//! A new folder on a real disk for the data of a run.

use std::fs;
use std::path::Path;

use rustix::fs::statfs;
use tempfile::TempDir;

use super::Verdict;
use crate::args::shared::ScratchArguments;
use crate::error::PerfError;

/// What Linux calls a filesystem in memory.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Does the work of a command in a new folder, which is deleted at the end unless the work failed or found something bad, or the
/// command line keeps it.
///
/// # Errors
/// The folder cannot be made, or the work's.
pub(crate) async fn within(
    arguments: &ScratchArguments,
    work: impl AsyncFnOnce(&Path) -> Result<Verdict, PerfError>,
) -> Result<Verdict, PerfError> {
    let folder = folder(&arguments.data_root, arguments.keep)?;
    let result = work(folder.path()).await;
    keep_if_bad(folder, result)
}

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

/// Keeps the folder of a command that failed or found something bad, and says where it is: what is in it tells why.
fn keep_if_bad(mut folder: TempDir, result: Result<Verdict, PerfError>) -> Result<Verdict, PerfError> {
    let bad = match &result {
        Ok(Verdict::Good) | Err(PerfError::Interrupted) => false,
        Ok(Verdict::Bad | Verdict::Problems) | Err(_) => true,
    };
    if bad {
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
    fn what_went_well_leaves_nothing_behind_and_what_went_badly_all() {
        let root = tempfile::tempdir_in(".").expect("the crate's folder is writable");
        let stays = |result| {
            let folder = folder(root.path(), false).expect("a folder on disk");
            let path = folder.path().to_owned();
            let _ = keep_if_bad(folder, result);
            path.exists()
        };
        assert!(!stays(Ok(Verdict::Good)));
        assert!(!stays(Err(PerfError::Interrupted)));
        assert!(stays(Ok(Verdict::Bad)));
        assert!(stays(Err(PerfError::NoLeader)));
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
