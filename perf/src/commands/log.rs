//! `log`: our log and another one, or the bare disk, in turn: A B A B.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::{Verdict, scratch};
use crate::error::PerfError;
use crate::fio::{Fio, FioLine, Job};
use crate::log::arguments::{LogArguments, value_in_batch};
use crate::log::line::LogLine;
use crate::log::{Turn, ours};
use crate::proc::cpu::Stretch;
use crate::report::versus::{Ratio, Versus};
use crate::units::in_words;

/// Bytes of the file that fio overwrites from its beginning to its end and again: more than any cache of a disk takes for long.
const FIO_FILE_BYTES: u64 = 512 << 20;

/// Measures both systems in turn and prints a line for each turn and one for the ratio.
///
/// # Errors
/// A log cannot be made or written, or has lost something.
pub(crate) async fn run(arguments: &LogArguments) -> Result<Verdict, PerfError> {
    scratch::within(&arguments.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &LogArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let bench = Bench { arguments, folder };
    if let Some(block_bytes) = arguments.batch {
        bench.beside_fio(block_bytes).await?;
        return Ok(Verdict::Good);
    }
    for writers in &arguments.writers {
        bench.beside_raft_engine(usize::from(*writers)).await?;
    }
    Ok(Verdict::Good)
}

struct Bench<'a> {
    arguments: &'a LogArguments,
    folder: &'a Path,
}

impl Bench<'_> {
    /// All rounds of batches of one size.
    async fn beside_fio(&self, block_bytes: usize) -> Result<(), PerfError> {
        let fio = Fio::new(self.folder, FIO_FILE_BYTES);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.arguments.turns.rounds {
            let line = self.in_turn(1, value_in_batch(block_bytes), |turn| ours::turn(&turn)).await?;
            ours.push(line.reading.ops_per_s);
            let job = Job::Append { block_bytes };
            let reading = fio.run(job, self.arguments.turns.secs).await?;
            self.arguments.printed.output().emit(&FioLine::new(job, reading))?;
            theirs.push(reading.ops_per_s);
        }
        let bench = format!("log append in batches of {}, 1 writer", in_words(block_bytes as u64));
        self.conclude(bench, "fio", (&ours, &theirs))
    }

    /// All rounds of one number of writers.
    #[cfg(feature = "peers")]
    async fn beside_raft_engine(&self, writers: usize) -> Result<(), PerfError> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let value_bytes = self.arguments.value_bytes as usize;
        for _ in 0..self.arguments.turns.rounds {
            let line = self.in_turn(writers, value_bytes, |turn| ours::turn(&turn)).await?;
            ours.push(line.reading.ops_per_s);
            let peer = |turn: Turn<'_>| crate::peers::raft_engine::turn(&turn);
            let line = self.in_turn(writers, value_bytes, peer).await?;
            theirs.push(line.reading.ops_per_s);
        }
        let bench = format!("log append of {}, {writers} writers", in_words(value_bytes as u64));
        self.conclude(bench, "raft-engine", (&ours, &theirs))
    }

    #[cfg(not(feature = "peers"))]
    async fn beside_raft_engine(&self, _writers: usize) -> Result<(), PerfError> {
        Err(PerfError::PeersNotBuilt)
    }

    /// One turn of a log, in a new folder that is gone afterwards.
    async fn in_turn<T>(&self, writers: usize, value_bytes: usize, take: T) -> Result<LogLine, PerfError>
    where
        T: FnOnce(Turn<'_>) -> Result<LogLine, PerfError> + Send + 'static,
    {
        let folder: PathBuf = self.folder.join("log");
        fs::create_dir(&folder).map_err(PerfError::file(&folder))?;
        let (warmup, window) = (self.arguments.turns.warmup, self.arguments.turns.secs);
        let file_bytes = self.arguments.file_mib << 20;
        let place = folder.clone();
        let stretch = Stretch::start(&[std::process::id()]);
        let turn = move || {
            take(Turn {
                folder: &place,
                writers,
                value_bytes,
                file_bytes,
                warmup,
                window,
            })
        };
        let line = spawn_blocking(turn).await.map_err(|error| PerfError::Thread(error.into()))??;
        self.emit(&line)?;
        let percent = |share: f64| 100.0 * share;
        let (used, steal) = (percent(stretch.used_by(&[std::process::id()])), percent(stretch.steal()));
        eprintln!("  cpu: {} {used:.1} %, steal {steal:.1} %, preparing included", line.system);
        fs::remove_dir_all(&folder).map_err(PerfError::file(&folder))?;
        Ok(line)
    }

    fn emit(&self, line: &LogLine) -> Result<(), PerfError> {
        self.arguments.printed.output().emit(line)
    }

    fn conclude(&self, bench: String, peer: &'static str, (ours, theirs): (&[f64], &[f64])) -> Result<(), PerfError> {
        let Some(ratio) = Ratio::of(ours, theirs) else { return Ok(()) };
        let versus = Versus {
            bench,
            number: "appends/s",
            peer,
            rounds: ours.len(),
            ratio,
        };
        self.arguments.printed.output().emit(&versus)
    }
}
