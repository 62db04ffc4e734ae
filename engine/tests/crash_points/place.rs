//! Folders for what a crash left, used again and again: where many files were deleted lately, a file system may take long to make
//! new ones.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

/// Folders that nobody uses at present; they are deleted with the last of their users.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<Vec<TempDir>>>);

/// A folder, with whatever its last user left in it.
pub(crate) struct Place {
    folder: Option<TempDir>,
    home: Places,
}

impl Places {
    /// One that is free.
    pub(crate) fn take(&self) -> Place {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // On the disk the build lies on, not in memory.
        let new = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        Place {
            folder: Some(free.unwrap_or_else(new)),
            home: self.clone(),
        }
    }
}

impl Place {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().expect("only its end takes it").path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut free = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.extend(self.folder.take());
    }
}
