//! A folder as it is at one moment: every file's bytes, and the folders.
//!
//! Not here, on purpose: lock files, which mean nothing once their process is gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Folder,
    File(Vec<u8>),
}

/// Names, relative to the folder, and what stands under them. Parents come before what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<PathBuf, Item>);

/// LMDB's table of readers, and the directory's lock.
const LOCKS: [&str; 2] = ["lock.mdb", "LOCK"];

impl Snapshot {
    /// Reads a folder.
    pub(crate) fn take(folder: &Path) -> Self {
        let mut snapshot = Self::default();
        snapshot.add(folder, Path::new(""));
        snapshot
    }

    fn add(&mut self, root: &Path, below: &Path) {
        for entry in fs::read_dir(root.join(below)).expect("a readable folder") {
            let entry = entry.expect("a readable folder");
            let name = below.join(entry.file_name());
            if entry.file_type().expect("its type is known").is_dir() {
                self.0.insert(name.clone(), Item::Folder);
                self.add(root, &name);
            } else if !LOCKS.iter().any(|lock| name.ends_with(lock)) {
                let bytes = fs::read(entry.path()).expect("a readable file");
                self.0.insert(name, Item::File(bytes));
            }
        }
    }

    /// Makes a folder that is like it.
    pub(crate) fn put(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a new folder");
        for (name, item) in &self.0 {
            let path = folder.join(name);
            match item {
                Item::Folder => fs::create_dir_all(path).expect("a new folder"),
                Item::File(bytes) => fs::write(path, bytes).expect("a new file"),
            }
        }
    }

    /// All but what lies in a folder.
    pub(crate) fn without(&self, folder: &Path) -> Self {
        let items = self.0.iter().filter(|(name, _)| *name == folder || !name.starts_with(folder));
        Self(items.map(|(name, item)| (name.clone(), item.clone())).collect())
    }

    /// A file's bytes; nothing if there is none.
    pub(crate) fn file(&self, name: &Path) -> Option<&[u8]> {
        match self.0.get(name)? {
            Item::Folder => None,
            Item::File(bytes) => Some(bytes),
        }
    }
}
