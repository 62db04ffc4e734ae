//! A folder as it is at one moment: every file's bytes, and the folders.
//!
//! Not here, on purpose: lock files, which mean nothing once their process is gone.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
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

    /// Makes a folder like it, whatever was there.
    pub(crate) fn put(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a new folder");
        let there = Self::take(folder);
        for (name, item) in there.0.iter().rev().filter(|(name, _)| !self.0.contains_key(*name)) {
            match item {
                Item::Folder => fs::remove_dir_all(folder.join(name)).expect("a folder that is ours"),
                Item::File(_) => fs::remove_file(folder.join(name)).expect("a file that is ours"),
            }
        }
        for (name, item) in self.0.iter().filter(|(name, item)| there.0.get(*name) != Some(item)) {
            match item {
                Item::Folder => fs::create_dir_all(folder.join(name)).expect("a new folder"),
                Item::File(bytes) => {
                    let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(name));
                    let file = file.expect("a file that is ours");
                    file.write_all_at(bytes, 0)
                        .and_then(|()| file.set_len(bytes.len() as u64))
                        .expect("the disk takes it");
                }
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
