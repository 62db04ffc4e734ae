//! The data directory's own files: `LOCK`, `IDENTITY`, and a folder per core.
//!
//! ```text
//!   LOCK            held while a node runs
//!   IDENTITY        whose directory this is (bootstrap/identity.rs)
//!   core-N/log/     segment files, NNNNNNNN.seg, and segment.new while one is made
//!   core-N/index/   the LMDB environment
//!   core-N/SUSPECT  over which replicas raft panicked (suspects.rs), if over any
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use margate_net::ids::{CoreId, DirectoryId, NodeId};
use rustix::fs::{FlockOperation, flock};

use crate::bootstrap::identity::{Identity, IdentityFault, Membership};

/// An open data directory; the lock is held as long as it lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process runs on it.
    #[error("{} is in use by another process; stop that node, or give this one its own directory", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A node runs on what only a stopped one may show.
    #[error("a node runs on {}; stop it first, then try again", .path.display())]
    Running {
        /// The directory.
        path: PathBuf,
    },
    /// It holds no identity.
    #[error("{} holds no IDENTITY; name a node's data directory (node.data; below the folder of `margate dev`: node-N/data)", .path.display())]
    NotOne {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another node.
    #[error("{} belongs to node {theirs} and this is node {ours}; check the node id or the directory", .path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node it belongs to.
        theirs: NodeId,
        /// The node that was started.
        ours: NodeId,
    },
    /// Its identity cannot be read.
    #[error("{}: {fault}", .path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: IdentityFault,
    },
    /// It holds data but no identity.
    #[error("{} holds core folders but no IDENTITY; it was lost or this is not a data directory: restore it, or give an empty directory", .path.display())]
    IdentityLost {
        /// The directory.
        path: PathBuf,
    },
    /// The system failed.
    #[error("{what} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl DataDirectory {
    /// Opens a data directory, making it if it is not there, and reads its identity. `fresh` is a random id for a new one.
    ///
    /// # Errors
    /// [`DirectoryError`]: why it cannot be used.
    pub fn open(path: &Path, node: NodeId, fresh: DirectoryId) -> Result<(Self, Identity), DirectoryError> {
        make(path)?;
        let lock_path = path.join("LOCK");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|source| failed("cannot open", &lock_path, source))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DirectoryError::InUse { path: path.to_owned() }),
            Err(errno) => return Err(failed("cannot lock", &lock_path, errno.into())),
        }
        let directory = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        let identity = directory.load(node, fresh)?;
        Ok((directory, identity))
    }

    /// Makes an identity durable.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: it may or may not be.
    pub fn store(&self, identity: &Identity) -> Result<(), DirectoryError> {
        let (path, fresh) = (self.path.join("IDENTITY"), self.path.join("IDENTITY.new"));
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&identity.encode())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| failed("cannot write", &path, source))
    }

    /// The folder of a core's log.
    #[must_use]
    pub fn log(&self, core: CoreId) -> PathBuf {
        self.core(core).join("log")
    }

    /// The folder of a core's index.
    #[must_use]
    pub fn index(&self, core: CoreId) -> PathBuf {
        self.core(core).join("index")
    }

    /// The file of a core's suspects, if there are any.
    #[must_use]
    pub fn suspects(&self, core: CoreId) -> PathBuf {
        self.core(core).join("SUSPECT")
    }

    /// Makes a core's folders.
    ///
    /// # Errors
    /// [`DirectoryError::Io`] names the folder.
    pub fn make_core(&self, core: CoreId) -> Result<(), DirectoryError> {
        make(&self.core(core))?;
        make(&self.log(core))?;
        make(&self.index(core))
    }

    fn core(&self, core: CoreId) -> PathBuf {
        core_folder(&self.path, core)
    }

    fn load(&self, node: NodeId, fresh: DirectoryId) -> Result<Identity, DirectoryError> {
        let path = self.path.join("IDENTITY");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.begin(node, fresh),
            Err(source) => return Err(failed("cannot read", &path, source)),
        };
        let identity = Identity::decode(&bytes).map_err(|fault| DirectoryError::Identity { path: path.clone(), fault })?;
        if identity.node == node {
            Ok(identity)
        } else {
            Err(DirectoryError::OtherNode {
                path: self.path.clone(),
                theirs: identity.node,
                ours: node,
            })
        }
    }

    fn begin(&self, node: NodeId, fresh: DirectoryId) -> Result<Identity, DirectoryError> {
        // An identity is written before any core's folder is made, so folders without one mean that it was lost.
        if self.core(CoreId(0)).exists() {
            return Err(DirectoryError::IdentityLost { path: self.path.clone() });
        }
        let identity = Identity {
            directory: fresh,
            node,
            membership: Membership::Empty,
        };
        self.store(&identity)?;
        Ok(identity)
    }
}

/// The folder of a core in a data directory.
pub(super) fn core_folder(path: &Path, core: CoreId) -> PathBuf {
    path.join(format!("core-{core}"))
}

/// Makes a folder and makes its name durable.
fn make(path: &Path) -> Result<(), DirectoryError> {
    fs::create_dir_all(path).map_err(|source| failed("cannot make", path, source))?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_folder(parent).map_err(|source| failed("cannot sync", parent, source)),
        None => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file that need not be there.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn failed(what: &'static str, path: &Path, source: io::Error) -> DirectoryError {
    DirectoryError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_nodes_and_one_processes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("data");
        let (open, identity) = DataDirectory::open(&path, NodeId(1), DirectoryId(7)).expect("a new directory");
        assert_eq!(identity.directory, DirectoryId(7));
        assert!(matches!(
            DataDirectory::open(&path, NodeId(1), DirectoryId(8)),
            Err(DirectoryError::InUse { .. })
        ));
        drop(open);
        let other = DataDirectory::open(&path, NodeId(2), DirectoryId(8));
        assert!(matches!(
            other,
            Err(DirectoryError::OtherNode {
                theirs: NodeId(1),
                ours: NodeId(2),
                ..
            })
        ));
        let (open, again) = DataDirectory::open(&path, NodeId(1), DirectoryId(8)).expect("the same directory");
        assert_eq!(again, identity);
        open.make_core(CoreId(0)).expect("folders");
        drop(open);
        fs::remove_file(path.join("IDENTITY")).expect("the file is there");
        assert!(matches!(
            DataDirectory::open(&path, NodeId(1), DirectoryId(9)),
            Err(DirectoryError::IdentityLost { .. })
        ));
    }
}
