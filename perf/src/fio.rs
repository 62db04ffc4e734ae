//! fio: what the disk does without us, for the denominator of a ratio of the same run.
//!
//! Not here, on purpose: what is compared with it. The caller has both do the same, block size and depth included.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::error::PerfError;
use crate::meter::{Reading, rounded};
use crate::units::in_words;

/// Seconds of load before those that count.
const RAMP_SECS: &str = "1";

/// What fio shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Overwrite a file from its beginning to its end and again, one block at a time, each direct and durable before the next.
    Append {
        /// Bytes of a block.
        block_bytes: usize,
    },
    /// Overwrite a file from its beginning to its end and again, directly, durable whenever the disk likes: the most it takes.
    Write {
        /// Bytes of a block.
        block_bytes: usize,
        /// Blocks under way at any instant.
        depth: usize,
    },
    /// Read blocks of a file at random places, directly.
    RandomRead {
        /// Bytes of a block.
        block_bytes: usize,
        /// Reads under way at any instant.
        depth: usize,
    },
}

/// A file that fio works on; it fills it before the first job.
#[derive(Clone, Debug)]
pub(crate) struct Fio {
    file: PathBuf,
    bytes: u64,
}

impl Fio {
    /// On a file of so many bytes in this folder.
    pub(crate) fn new(folder: &Path, bytes: u64) -> Self {
        Self {
            file: folder.join("fio"),
            bytes,
        }
    }

    /// Runs a job for as long as said.
    ///
    /// # Errors
    /// fio is not installed, fails, or says something unknown.
    pub(crate) async fn run(&self, job: Job, window: Duration) -> Result<Reading, PerfError> {
        let mut command = Command::new("fio");
        command
            .args(self.arguments(job, window))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let ended = spawn_blocking(move || command.output()).await;
        let output = ended.map_err(std::io::Error::other).flatten().map_err(|source| PerfError::Start {
            program: "fio".to_owned(),
            source,
            advice: "install it, for example with `apt-get install fio`",
        })?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            eprintln!("{said}");
            return Err(PerfError::Fio { status: output.status });
        }
        // fio says what it has to note before its JSON.
        let json = said.find('{').map_or("", |at| &said[at..]);
        let report: Report = serde_json::from_str(json).map_err(PerfError::FioReport)?;
        Ok(report.reading(job))
    }

    fn arguments(&self, job: Job, window: Duration) -> Vec<String> {
        let mut arguments = vec![
            "--name=margate-perf".to_owned(),
            format!("--filename={}", self.file.display()),
            format!("--size={}", self.bytes),
            format!("--runtime={}ms", window.as_millis()),
            format!("--ramp_time={RAMP_SECS}"),
        ];
        let job = match job {
            Job::Append { block_bytes } => format!("--rw=write --sync=dsync --overwrite=1 --ioengine=psync --bs={block_bytes}"),
            Job::Write { block_bytes, depth } => {
                format!("--rw=write --overwrite=1 --ioengine=io_uring --bs={block_bytes} --iodepth={depth}")
            }
            Job::RandomRead { block_bytes, depth } => {
                format!("--rw=randread --norandommap --ioengine=io_uring --bs={block_bytes} --iodepth={depth}")
            }
        };
        let common = "--time_based --direct=1 --fallocate=posix --refill_buffers --output-format=json";
        arguments.extend(job.split(' ').chain(common.split(' ')).map(str::to_owned));
        arguments
    }
}

/// What one turn of fio prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FioLine {
    /// Always `fio`.
    system: &'static str,
    /// `append`, `write` or `random-read`.
    bench: &'static str,
    /// Bytes of each block.
    block_bytes: usize,
    /// Blocks under way at any instant.
    in_flight: usize,
    /// How many, how fast.
    #[serde(flatten)]
    reading: Reading,
}

impl FioLine {
    /// The line of a job.
    pub(crate) fn new(job: Job, reading: Reading) -> Self {
        let (bench, block_bytes, in_flight) = match job {
            Job::Append { block_bytes } => ("append", block_bytes, 1),
            Job::Write { block_bytes, depth } => ("write", block_bytes, depth),
            Job::RandomRead { block_bytes, depth } => ("random-read", block_bytes, depth),
        };
        Self {
            system: "fio",
            bench,
            block_bytes,
            in_flight,
            reading,
        }
    }
}

impl fmt::Display for FioLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reading = &self.reading;
        write!(
            f,
            "fio {} of {}, {} in flight  {:>8.0}/s  p50 {:>6.0}  p99 {:>6.0}  p99.9 {:>6.0}  max {:>7.0} us",
            self.bench,
            in_words(self.block_bytes as u64),
            self.in_flight,
            reading.ops_per_s,
            reading.p50_us,
            reading.p99_us,
            reading.p999_us,
            reading.max_us,
        )
    }
}

/// What fio reports, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Report {
    jobs: Vec<JobReport>,
}

#[derive(Debug, Deserialize)]
struct JobReport {
    read: Side,
    write: Side,
}

/// One direction.
#[derive(Debug, Default, Deserialize)]
struct Side {
    #[serde(default)]
    total_ios: u64,
    #[serde(default)]
    iops: f64,
    #[serde(default)]
    clat_ns: Latency,
}

#[derive(Debug, Default, Deserialize)]
struct Latency {
    #[serde(default)]
    max: f64,
    #[serde(default)]
    percentile: BTreeMap<String, f64>,
}

impl Report {
    fn reading(self, job: Job) -> Reading {
        let side = self.jobs.into_iter().next().map(|report| match job {
            Job::Append { .. } | Job::Write { .. } => report.write,
            Job::RandomRead { .. } => report.read,
        });
        let Some(side) = side else { return Reading::default() };
        let micros = |percentile: &str| rounded(side.clat_ns.percentile.get(percentile).copied().unwrap_or(0.0) / 1000.0);
        Reading {
            ops: side.total_ios,
            ops_per_s: rounded(side.iops),
            p50_us: micros("50.000000"),
            p99_us: micros("99.000000"),
            p999_us: micros("99.900000"),
            max_us: rounded(side.clat_ns.max / 1000.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAID: &str = r#"{"fio version":"fio-3.33","jobs":[{"read":{"total_ios":0,"iops":0.0,"clat_ns":{"max":0}},
        "write":{"total_ios":70,"iops":7012.34,"clat_ns":{"min":1,"max":900000,
        "percentile":{"50.000000":120000,"99.000000":240000,"99.900000":500000}}}}]}"#;

    #[test]
    fn the_direction_that_was_asked_for_is_read() {
        let report = || serde_json::from_str::<Report>(SAID).expect("it is what fio says");
        let written = report().reading(Job::Append { block_bytes: 4096 });
        assert_eq!(
            (written.ops, written.p50_us, written.p99_us, written.max_us),
            (70, 120.0, 240.0, 900.0)
        );
        let read = report().reading(Job::RandomRead {
            block_bytes: 4096,
            depth: 1,
        });
        assert_eq!(read, Reading::default());
    }

    #[test]
    fn the_line_says_what_was_done() {
        let job = Job::RandomRead {
            block_bytes: 4096,
            depth: 64,
        };
        let line = FioLine::new(job, Reading::default());
        assert!(line.to_string().starts_with("fio random-read of 4 KiB, 64 in flight"), "{line}");
        let json = serde_json::to_string(&line).expect("plain data");
        assert!(
            json.starts_with("{\"system\":\"fio\",\"bench\":\"random-read\",\"block_bytes\":4096"),
            "{json}"
        );
    }

    #[test]
    fn an_append_is_direct_and_durable_and_a_read_as_deep_as_asked() {
        let fio = Fio::new(Path::new("x"), 1 << 20);
        let append = fio.arguments(Job::Append { block_bytes: 65_536 }, Duration::from_millis(1500));
        for needed in ["--direct=1", "--sync=dsync", "--bs=65536", "--overwrite=1", "--runtime=1500ms"] {
            assert!(append.iter().any(|word| word == needed), "{needed} in {append:?}");
        }
        let (block_bytes, depth) = (4096, 64);
        let read = fio.arguments(Job::RandomRead { block_bytes, depth }, Duration::from_secs(1));
        assert!(read.iter().any(|word| word == "--iodepth=64"), "{read:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_report_or_not_but_never_panics(text in "\\PC*", cut in 0usize..400) {
            let _ = serde_json::from_str::<Report>(&text);
            let _ = serde_json::from_str::<Report>(SAID.get(..cut).unwrap_or(SAID));
        }
    }
}
