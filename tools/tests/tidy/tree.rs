//! The tracked files of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, str};

/// What git tracks, read once.
pub(crate) struct Tree {
    root: PathBuf,
    files: Vec<TrackedFile>,
}

/// One file.
pub(crate) struct TrackedFile {
    /// From the repository's top, with `/`.
    pub(crate) path: String,
    bytes: Vec<u8>,
}

impl Tree {
    /// Reads it. Without git nothing can be said about the tree, so that fails.
    pub(crate) fn load() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        // The tree may belong to another user than the one who tests it; reading the list of files is harmless.
        let listed = Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "-z"])
            .current_dir(&root)
            .output()
            .unwrap_or_else(|error| panic!("cannot start git ({error}): install git, which the build needs too"));
        let complaint = String::from_utf8_lossy(&listed.stderr);
        assert!(
            listed.status.success(),
            "git cannot list the tracked files: {complaint}test a clone of the repository"
        );
        let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let files: Vec<_> = names.filter_map(|name| read(&root, name)).collect();
        assert!(
            files.len() > 100,
            "git lists only {} files, that is not the repository",
            files.len()
        );
        Self { root, files }
    }

    /// Every file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &TrackedFile> {
        self.files.iter()
    }

    /// Rust that people write: everything but what generators made.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &TrackedFile> {
        self.files().filter(|file| file.path.ends_with(".rs") && !file.is_generated())
    }

    /// A file by its path; one that is missing fails.
    pub(crate) fn text(&self, path: &str) -> &str {
        let file = self.files().find(|file| file.path == path);
        let text = file.and_then(TrackedFile::text);
        text.unwrap_or_else(|| panic!("{path} is not among the tracked texts"))
    }

    /// Whether a path names a tracked file or a folder that has some.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files().any(|file| file.path == path || file.path.starts_with(&folder))
    }

    /// The top of the repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

impl TrackedFile {
    /// Its text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        str::from_utf8(&self.bytes).ok()
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a generator made it.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.ends_with("Cargo.lock") || self.path.contains("/generated/")
    }
}

/// A file that git lists; none if it was deleted and that is not committed yet.
fn read(root: &Path, name: &[u8]) -> Option<TrackedFile> {
    let path = str::from_utf8(name)
        .unwrap_or_else(|_| panic!("{name:?}: names of files are UTF-8"))
        .to_owned();
    let bytes = fs::read(root.join(&path)).ok()?;
    Some(TrackedFile { path, bytes })
}
