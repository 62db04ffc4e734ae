//! The journal: an append-only file, outside the nodes' folders, of what was attempted and what came of it.
//!
//! One line each, first a letter:
//! ```text
//! B attempt key                 begun, before it is sent
//! A attempt key version crc32   acknowledged, with the checksum of its value
//! U attempt                     its outcome is unknown
//! R attempt                     refused: not executed
//! K text                        something was killed or started again
//! ```
//! The test itself decides by the ledger in memory; the file is for whoever doubts the result.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use margate_net::ids::Version;

use super::ledger::Begun;
use crate::error::PerfError;

/// The open journal. The first failed write is kept and told at the next [`Journal::flush`].
pub(crate) struct Journal {
    file: BufWriter<File>,
    path: PathBuf,
    failed: Option<std::io::Error>,
}

impl Journal {
    /// Makes the file, which must not be there.
    ///
    /// # Errors
    /// It is there, or cannot be made.
    pub(crate) fn create(path: &Path) -> Result<Self, PerfError> {
        let file = File::create_new(path).map_err(PerfError::file(path))?;
        Ok(Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
            failed: None,
        })
    }

    /// Before it is sent.
    pub(crate) fn begun(&mut self, begun: Begun) {
        self.line(format_args!("B {} {}", begun.attempt, begun.key));
    }

    /// With its version and its value.
    pub(crate) fn acknowledged(&mut self, begun: Begun, version: Version, value: &[u8]) {
        let hash = crc32fast::hash(value);
        self.line(format_args!("A {} {} {version} {hash:08x}", begun.attempt, begun.key));
    }

    /// Its outcome is unknown.
    pub(crate) fn unknown(&mut self, begun: Begun) {
        self.line(format_args!("U {}", begun.attempt));
    }

    /// It was not executed.
    pub(crate) fn refused(&mut self, begun: Begun) {
        self.line(format_args!("R {}", begun.attempt));
    }

    /// Something was done to the nodes.
    pub(crate) fn event(&mut self, text: &str) {
        self.line(format_args!("K {text}"));
    }

    /// Hands everything to the kernel.
    ///
    /// # Errors
    /// A write failed, now or since the last call.
    pub(crate) fn flush(&mut self) -> Result<(), PerfError> {
        let result = self.failed.take().map_or_else(|| self.file.flush(), Err);
        result.map_err(PerfError::file(&self.path))
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        if let Err(error) = writeln!(self.file, "{line}") {
            self.failed.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::*;

    #[test]
    fn the_journal_holds_one_line_for_each_step_and_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::create(&path).expect("a new file");
        let begun = Ledger::new(8, 1).begin(0, 7);
        journal.begun(begun);
        journal.acknowledged(begun, Version(9), b"value");
        journal.unknown(begun);
        journal.refused(begun);
        journal.event("node 1 killed");
        journal.flush().expect("the disk takes it");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(text, "B 0:0 7\nA 0:0 7 9 1d775834\nU 0:0\nR 0:0\nK node 1 killed\n");
        assert!(matches!(Journal::create(&path), Err(PerfError::File { .. })));
    }
}
