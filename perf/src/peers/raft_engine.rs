//! raft-engine, the log store of TiKV: a thread for each writer, each append synced before the thread's next one.
//!
//! It is set up to be as fast as it gets: its files are written before the first append and recycled, and what was appended is
//! compacted away soon, so that purging rewrites nothing.
//!
//! Not here, on purpose: its lz4 (values do not compress), its scripts.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raft::eraftpb::Entry;
use raft_engine::env::DefaultFileSystem;
use raft_engine::{Command, Config, Engine, Error, LogBatch, MessageExt, ReadableSize};

use crate::error::PerfError;
use crate::log::line::{LogLine, LogSystem, Written};
use crate::log::{FILES_KEPT, Turn, ValuePool};
use crate::meter::Meter;

/// As in the manifest; it does not say itself.
const VERSION: &str = "0.4.2";
/// Appends of a writer after which its earlier ones are compacted away.
const COMPACTED_EVERY: u64 = 1_024;
/// How often files that hold nothing any more are looked for.
const PURGED_EVERY: Duration = Duration::from_millis(100);
/// The kind of its files.
const FILE_END: &str = ".raftlog";

/// How its entries are told their index.
struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Self::Entry) -> u64 {
        entry.index
    }
}

type Log = Engine<DefaultFileSystem>;

/// Appends until the window has closed; on threads of its own, waited for on this one.
///
/// # Errors
/// It cannot be opened or written, or has lost an append.
pub(crate) fn turn(turn: &Turn<'_>) -> Result<LogLine, PerfError> {
    let log = Arc::new(Engine::open(config(turn))?);
    let purger = Purger::start(Arc::clone(&log))?;
    let meter = Meter::opening_in(turn.warmup, turn.window);
    let writers: Vec<_> = (1..=turn.writers as u64)
        .map(|region| {
            let (log, meter, values) = (Arc::clone(&log), meter.clone(), ValuePool::new(turn.value_bytes));
            thread::Builder::new()
                .name(format!("re-writer-{region}"))
                .spawn(move || write(&log, region, meter, values))
        })
        .collect();
    let mut sum = meter;
    for writer in writers {
        let writer = writer.map_err(PerfError::Thread)?;
        let seen = writer
            .join()
            .expect("a writer does not panic; raft-engine does where a sync fails")?;
        sum.add(&seen);
    }
    purger.stop()?;
    Ok(LogLine::new(system(), turn, sum.reading(), written(turn.folder)?))
}

fn system() -> LogSystem {
    LogSystem {
        system: "raft-engine",
        durability: "fdatasync of each write group",
        version: VERSION.to_owned(),
    }
}

/// It writes three files for each two that purging leaves it: about as many as our log has.
fn config(turn: &Turn<'_>) -> Config {
    let file_bytes = u64::from(turn.file_bytes);
    Config {
        dir: turn.folder.display().to_string(),
        target_file_size: ReadableSize(file_bytes),
        purge_threshold: ReadableSize(file_bytes * u64::from(FILES_KEPT + 2)),
        enable_log_recycle: true,
        prefill_for_recycle: true,
        ..Config::default()
    }
}

/// One writer, until the window has closed.
fn write(log: &Log, region: u64, mut meter: Meter, mut values: ValuePool) -> Result<Meter, PerfError> {
    let (mut index, mut over) = (0, false);
    while !over {
        let began = Instant::now();
        index += 1;
        let entry = Entry {
            index,
            data: values.draw(),
            ..Entry::default()
        };
        let mut batch = LogBatch::default();
        batch.add_entries::<Entries>(region, &[entry])?;
        if index % COMPACTED_EVERY == 0 {
            batch.add_command(region, Command::Compact { index });
        }
        log.write(&mut batch, true)?;
        let ended = Instant::now();
        meter.record(began, ended);
        over = meter.is_over(ended);
    }
    let last = log.last_index(region).unwrap_or(0);
    if last == index {
        return Ok(meter);
    }
    Err(PerfError::LogLost {
        writers: 1,
        gaps: index - last,
    })
}

/// How many files it has begun, and how many of those it has let go to be begun again.
fn written(folder: &Path) -> Result<Written, PerfError> {
    let names = fs::read_dir(folder).map_err(PerfError::file(folder))?;
    let numbers = names.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_suffix(FILE_END)?.parse::<u64>().ok()
    });
    let recycled = numbers.min().map_or(0, |oldest| oldest.saturating_sub(1));
    Ok(Written {
        recycled,
        ..Written::default()
    })
}

/// Lets files go that hold nothing any more, as whoever uses it must.
struct Purger {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Purger {
    fn start(log: Arc<Log>) -> Result<Self, PerfError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("re-purger".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                log.purge_expired_files()?;
                thread::park_timeout(PURGED_EVERY);
            }
            Ok(())
        });
        let thread = thread.map_err(PerfError::Thread)?;
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<(), PerfError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        Ok(self.thread.join().expect("purging does not panic")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writers_have_appended_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tiny = Turn {
            folder: folder.path(),
            writers: 2,
            value_bytes: 256,
            file_bytes: 1 << 20,
            warmup: Duration::ZERO,
            window: Duration::from_millis(100),
        };
        let line = turn(&tiny).expect("the disk takes it");
        assert_eq!((line.system, line.writers), ("raft-engine", 2));
        let log = Engine::open(config(&tiny)).expect("it opens again");
        let appended: u64 = [1, 2].into_iter().filter_map(|region| log.last_index(region)).sum();
        assert!(appended >= 2 && appended >= line.reading.ops, "{appended} of {line}");
    }

    #[test]
    fn the_version_is_the_one_that_is_built() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"raft-engine\"\nversion = \"{VERSION}\"")));
    }
}
