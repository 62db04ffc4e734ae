//! A history as a file: a first line that says what it is, one line per operation, a last line that says it is whole.
//!
//! ```text
//! {"margate_history":1,"seed":7,"processes":16,"keys":8,"version":"0.1.0"}
//! {"process":1,"key":0,"op":"set",…}
//! {"end":1000000}
//! ```
//! A write that is missing from a history can make a right answer look wrong, so a file without its end is refused.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::{Record, RecordError};

/// The format this build writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// Bytes of a line, at most; records have about 200.
const LINE_BYTES_MAX: u64 = 4 << 10;
/// Bytes written to the kernel at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Operations of one file, at most: they are all held in memory to be judged, 100 bytes each.
pub(crate) const OPERATIONS_MAX: u64 = 20_000_000;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Header {
    /// The format.
    #[serde(rename = "margate_history")]
    pub(crate) format: u32,
    /// The run's seed.
    pub(crate) seed: u64,
    /// How many ask at the same time.
    pub(crate) processes: u64,
    /// How many keys there are, none of which exists at the beginning.
    pub(crate) keys: u64,
    /// The program that recorded it.
    pub(crate) version: String,
}

/// The last line.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: u64,
}

/// Why a file cannot be written or is no history.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The file cannot be opened, read or written.
    #[error("{}: {source}; check the path and its permissions", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The first line is not that of a history.
    #[error("{}: the first line is not that of a history of format {FORMAT}; record it with `margate-perf history`", path.display())]
    Header {
        /// The file.
        path: PathBuf,
    },
    /// A line is no record.
    #[error("{}, line {line}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        source: RecordError,
    },
    /// The file ends too early, or says another number of operations than it holds.
    #[error("{} holds {found} operations and no right end; a history that is not whole proves nothing, record it again", path.display())]
    NotWhole {
        /// The file.
        path: PathBuf,
        /// Operations that were read.
        found: u64,
    },
    /// More operations than are judged at once.
    #[error("{} holds more than {OPERATIONS_MAX} operations; record several shorter histories", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// Writes a history. The first failed write is kept and told at the end.
pub(crate) struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    written: u64,
    failed: Option<std::io::Error>,
}

impl Writer {
    /// Makes the file, or empties it, and writes the first line.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn create(path: &Path, header: &Header) -> Result<Self, HistoryError> {
        let file = File::create(path).map_err(|source| in_file(path, source))?;
        let mut writer = Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            path: path.to_owned(),
            written: 0,
            failed: None,
        };
        writer.line(|to| serde_json::to_writer(to, header).map_err(std::io::Error::from));
        Ok(writer)
    }

    /// An operation has ended.
    pub(crate) fn add(&mut self, record: &Record) {
        self.written += 1;
        self.line(|to| record.write(to));
    }

    /// Operations written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes the last line and hands everything to the kernel.
    ///
    /// # Errors
    /// A write failed, now or before.
    pub(crate) fn finish(mut self) -> Result<(), HistoryError> {
        let end = End { end: self.written };
        self.line(|to| serde_json::to_writer(to, &end).map_err(std::io::Error::from));
        let flushed = self.failed.take().map_or_else(|| self.file.flush(), Err);
        flushed.map_err(|source| in_file(&self.path, source))
    }

    fn line(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) {
        let written = write(&mut self.file).and_then(|()| self.file.write_all(b"\n"));
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }
}

/// Reads a whole history.
///
/// # Errors
/// [`HistoryError`]: it cannot be read, or is not a whole history.
pub(crate) fn read(path: &Path) -> Result<(Header, Vec<Record>), HistoryError> {
    let file = File::open(path).map_err(|source| in_file(path, source))?;
    read_from(path, BufReader::with_capacity(BUFFER_BYTES, file))
}

/// Reads a whole history; `path` is only for messages.
///
/// # Errors
/// As [`read`].
fn read_from(path: &Path, mut from: impl BufRead) -> Result<(Header, Vec<Record>), HistoryError> {
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        let read = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line);
        read.map_err(|source| in_file(path, source))
    };
    next(&mut line)?;
    let header: Option<Header> = serde_json::from_slice(&line).ok();
    let header = header
        .filter(|header| header.format == FORMAT)
        .ok_or_else(|| HistoryError::Header { path: path.to_owned() })?;
    let mut records = Vec::new();
    loop {
        let found = records.len() as u64;
        let not_whole = || HistoryError::NotWhole {
            path: path.to_owned(),
            found,
        };
        if next(&mut line)? == 0 {
            return Err(not_whole());
        }
        if line.starts_with(b"{\"end\"") {
            let end: Option<End> = serde_json::from_slice(&line).ok();
            let whole = end.is_some_and(|end| end.end == found) && next(&mut line)? == 0;
            return if whole { Ok((header, records)) } else { Err(not_whole()) };
        }
        if found == OPERATIONS_MAX {
            return Err(HistoryError::TooLong { path: path.to_owned() });
        }
        let record = Record::parse(&line).map_err(|source| HistoryError::Line {
            path: path.to_owned(),
            line: found + 2,
            source,
        })?;
        records.push(record);
    }
}

fn in_file(path: &Path, source: std::io::Error) -> HistoryError {
    HistoryError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::record::{Operation, Outcome};
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            format: FORMAT,
            seed: 1,
            processes: 2,
            keys: 3,
            version: "0".to_owned(),
        }
    }

    fn record(call: u64) -> Record {
        Record {
            process: 1,
            key: 0,
            operation: Operation::Get,
            call,
            returned: Some(call + 1),
            outcome: Outcome::Missing,
        }
    }

    fn parsed(text: &str) -> Result<(Header, Vec<Record>), HistoryError> {
        read_from(Path::new("h"), text.as_bytes())
    }

    #[test]
    fn a_file_comes_back_and_one_that_was_cut_does_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("history");
        let mut writer = Writer::create(&path, &header()).expect("a new file");
        (0..3).for_each(|call| writer.add(&record(call)));
        assert_eq!(writer.written(), 3);
        writer.finish().expect("the disk takes it");
        let (read_header, records) = read(&path).expect("it is whole");
        assert_eq!((read_header, records.len(), records[2]), (header(), 3, record(2)));

        let text = std::fs::read_to_string(&path).expect("it is there");
        let lines: Vec<&str> = text.lines().collect();
        let without_end = lines[..4].join("\n") + "\n";
        assert!(matches!(parsed(&without_end), Err(HistoryError::NotWhole { found: 3, .. })));
        let without_one = [&lines[..2], &lines[3..]].concat().join("\n");
        assert!(matches!(parsed(&without_one), Err(HistoryError::NotWhole { found: 2, .. })));
        assert!(matches!(parsed(&lines[1..].join("\n")), Err(HistoryError::Header { .. })));
        assert!(matches!(parsed(&(text.clone() + "more")), Err(HistoryError::NotWhole { .. })));
        let torn = text.replacen("\"outcome\"", "\"", 1);
        assert!(matches!(parsed(&torn), Err(HistoryError::Line { line: 2, .. })));
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let text = serde_json::to_string(&header()).expect("plain data") + "\n" + &" ".repeat(1 << 20);
        assert!(matches!(parsed(&text), Err(HistoryError::Line { line: 2, .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_refused(text in "\\PC*", cut in 0usize..200) {
            prop_assert!(parsed(&text).is_err());
            let whole = serde_json::to_string(&header()).expect("plain data") + "\n{\"end\":0}\n";
            let _ = parsed(whole.get(..cut).unwrap_or(&whole));
        }
    }
}
