//! Whole histograms for other tools: an HdrHistogram interval log, one interval for each run and kind of operation.
//!
//! The format is that of HdrHistogram's own `HistogramLogWriter`: a line per interval with a tag, its start and length
//! in seconds, its largest value, and the histogram, compressed (V2) and in base64. Values are nanoseconds. Tags are
//! `system-bench` and, where kinds of operations are told apart, `system-bench-operation`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use crate::driver::measured::Measured;
use crate::error::PerfError;
use crate::workload::bench::Bench;

/// What stands on top; readers tell versions by the first line.
const HEAD: [&str; 2] = [
    "[Histogram log format version 1.3]",
    "latencies in nanoseconds, from when each operation was due; times in seconds",
];

/// An open log, written to at once.
pub(crate) struct HdrLog {
    path: PathBuf,
    file: BufWriter<File>,
    began: Instant,
}

impl HdrLog {
    /// Creates the file, where one is wanted; an older one of that name goes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn create(path: Option<&Path>) -> Result<Option<Self>, PerfError> {
        let Some(path) = path else {
            return Ok(None);
        };
        let mut log = Self {
            path: path.to_owned(),
            file: BufWriter::new(File::create(path).map_err(PerfError::file(path))?),
            began: Instant::now(),
        };
        log.begin().map_err(PerfError::file(path))?;
        Ok(Some(log))
    }

    /// Adds what was measured of a system.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&mut self, system: &str, bench: Bench, measured: &Measured) -> Result<(), PerfError> {
        let name = format!("{system}-{}", bench.word());
        self.write(&name, measured, &measured.total().latency)?;
        if bench.tells_kinds() {
            for (kind, counted) in &measured.kinds {
                self.write(&format!("{name}-{}", kind.word()), measured, &counted.latency)?;
            }
        }
        self.file.flush().map_err(PerfError::file(&self.path))
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut head = IntervalLogWriterBuilder::new();
        for line in HEAD {
            head.add_comment(line);
        }
        head.with_start_time(SystemTime::now());
        head.begin_log_with(&mut self.file, &mut V2DeflateSerializer::new())?;
        self.file.flush()
    }

    fn write(&mut self, tag: &str, measured: &Measured, latency: &Histogram<u64>) -> Result<(), PerfError> {
        let mut serializer = V2DeflateSerializer::new();
        let bare = IntervalLogWriterBuilder::new().begin_log_with(&mut self.file, &mut serializer);
        let start = measured.opened.saturating_duration_since(self.began);
        let written = bare
            .map_err(IntervalLogWriterError::IoError)
            .and_then(|mut log| log.write_histogram(latency, start, measured.window, Tag::new(tag)));
        written.map_err(|error| {
            let cause = match error {
                IntervalLogWriterError::IoError(error) => error,
                IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
            };
            PerfError::file(&self.path)(cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::driver::measured::tests::measured;
    use crate::workload::bench::Kind;

    /// What a reader finds: tag, length in seconds, and values at most and in number.
    fn read(log: &[u8]) -> Vec<(String, u64, u64, u64)> {
        let intervals = IntervalLogIterator::new(log).filter_map(|entry| match entry.expect("the log is whole") {
            LogEntry::Interval(interval) => Some(interval),
            LogEntry::StartTime(_) | LogEntry::BaseTime(_) => None,
        });
        let told = intervals.map(|interval| {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram());
            let bytes = bytes.expect("base64");
            let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
            let tag = interval.tag().expect("each has one").to_string();
            (tag, interval.duration().as_secs(), histogram.max() / 1_000_000, histogram.len())
        });
        told.collect()
    }

    #[test]
    fn each_run_and_kind_is_an_interval_that_others_can_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        std::fs::write(&path, "older").expect("the folder is writable");
        let mut log = HdrLog::create(Some(&path)).expect("the folder is writable").expect("one is wanted");
        log.add("margate", Bench::Put, &measured(&[(Kind::Update, &[10_000; 5])]))
            .expect("the disk has room");
        let both = measured(&[(Kind::Read, &[1_000; 2]), (Kind::ReadModifyWrite, &[5_000])]);
        log.add("redis", Bench::YcsbF, &both).expect("the disk has room");
        let bytes = std::fs::read(&path).expect("it was written, although the log is still open");
        assert!(bytes.starts_with(b"#[Histogram log format version 1.3]\n"));
        let expected = [
            ("margate-put", 1, 10, 5),
            ("redis-ycsb-f", 1, 5, 3),
            ("redis-ycsb-f-read", 1, 1, 2),
            ("redis-ycsb-f-read-modify-write", 1, 5, 1),
        ];
        assert_eq!(read(&bytes), expected.map(|(tag, secs, max, len)| (tag.to_owned(), secs, max, len)));
    }

    #[test]
    fn no_log_is_made_unasked_and_none_where_it_cannot_be() {
        assert!(HdrLog::create(None).expect("nothing is done").is_none());
        let nowhere = tempfile::tempdir().expect("a temporary folder").path().join("gone/log");
        let error = HdrLog::create(Some(&nowhere)).err().expect("there is no such folder");
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
