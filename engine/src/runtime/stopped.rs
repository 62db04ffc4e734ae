//! A stopped node's data directory, for the offline tools: nothing in it is made or changed, and no node can start on it
//! meanwhile.
//!
//! Not here, on purpose: what its files mean (`log`, `index`), mending them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use margate_net::ids::CoreId;
use rustix::fs::{FlockOperation, flock};

use super::directory::{self, DirectoryError, failed};
use crate::bootstrap::identity::Identity;

/// A data directory that no node runs on. Its lock is shared with others who look, if it has one: where the file is missing no node
/// has ever run.
#[derive(Debug)]
pub struct StoppedDirectory {
    path: PathBuf,
    _lock: Option<File>,
}

impl StoppedDirectory {
    /// Opens a data directory and reads its identity.
    ///
    /// # Errors
    /// [`DirectoryError`]: a node runs on it, it is no data directory, or its identity cannot be read.
    pub fn open(path: &Path) -> Result<(Self, Identity), DirectoryError> {
        let lock = lock(path)?;
        let file = path.join("IDENTITY");
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DirectoryError::NotOne { path: path.to_owned() }),
            Err(source) => return Err(failed("cannot read", &file, source)),
        };
        let identity = Identity::decode(&bytes).map_err(|fault| DirectoryError::Identity { path: file, fault })?;
        let directory = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        Ok((directory, identity))
    }

    /// The folder of a core's log.
    #[must_use]
    pub fn log(&self, core: CoreId) -> PathBuf {
        directory::core_folder(&self.path, core).join("log")
    }

    /// The folder of a core's index.
    #[must_use]
    pub fn index(&self, core: CoreId) -> PathBuf {
        directory::core_folder(&self.path, core).join("index")
    }

    /// The file of a core's suspects, if there are any.
    #[must_use]
    pub fn suspects(&self, core: CoreId) -> PathBuf {
        directory::core_folder(&self.path, core).join("SUSPECT")
    }
}

fn lock(path: &Path) -> Result<Option<File>, DirectoryError> {
    let lock_path = path.join("LOCK");
    let lock = match File::open(&lock_path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("cannot open", &lock_path, source)),
    };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::Running { path: path.to_owned() }),
        Err(errno) => Err(failed("cannot lock", &lock_path, errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use margate_net::ids::{DirectoryId, NodeId};

    use super::super::directory::DataDirectory;
    use super::*;

    #[test]
    fn whoever_looks_waits_for_nodes_and_keeps_them_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("data");
        let start = || DataDirectory::open(&path, NodeId(1), DirectoryId(7));
        assert!(matches!(StoppedDirectory::open(&path), Err(DirectoryError::NotOne { .. })));
        assert!(!path.exists());
        let (running, identity) = start().expect("a new directory");
        assert!(matches!(StoppedDirectory::open(&path), Err(DirectoryError::Running { .. })));
        drop(running);
        let (first, found) = StoppedDirectory::open(&path).expect("nobody runs");
        let (second, _) = StoppedDirectory::open(&path).expect("two may look");
        assert_eq!(found, identity);
        assert_eq!(first.log(CoreId(2)), path.join("core-2/log"));
        drop(first);
        assert!(matches!(start(), Err(DirectoryError::InUse { .. })));
        drop(second);
        start().expect("nobody looks any more");
    }
}
