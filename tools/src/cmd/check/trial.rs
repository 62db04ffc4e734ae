//! A short trial of a disk: durable, direct writes of 4 KiB, as a log makes them, in a file without a name.

use std::fs::{File, OpenOptions, remove_file};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use rustix::fs::{AtFlags, StatxFlags, statx};

/// Bytes of one write.
const BLOCK_BYTES: usize = 4_096;
/// Writes that are measured.
const WRITES: u64 = 200;
/// However slow the disk is, the trial ends about then.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug)]
pub(super) struct Trial {
    /// What places of direct writes must be multiples of, where the kernel says so (from Linux 6.1 on).
    pub(super) alignment: Option<u32>,
    pub(super) latency: Latency,
}

/// How long a durable write takes.
#[derive(Debug)]
pub(super) struct Latency {
    pub(super) writes: usize,
    pub(super) median: Duration,
    pub(super) p99: Duration,
}

/// Why there was no trial.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrialError {
    /// No file can be made there.
    #[error("no file can be made there: {0}")]
    Make(io::Error),
    /// The file cannot be opened for direct writes.
    #[error("direct writes are refused: {0}")]
    Direct(io::Error),
    /// A write failed.
    #[error("a direct write failed: {0}")]
    Write(io::Error),
}

impl Trial {
    /// Tries the disk below a directory.
    pub(super) fn run(directory: &Path) -> Result<Self, TrialError> {
        let file = nameless(directory)?;
        let alignment = alignment(&file);
        let latency = measure(&file).map_err(TrialError::Write)?;
        Ok(Self { alignment, latency })
    }
}

/// A new file, open as log segments are, whose name is gone already: whatever happens, nothing is left behind.
fn nameless(directory: &Path) -> Result<File, TrialError> {
    let path = directory.join(format!(".margate-check-{}", std::process::id()));
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&path)
        .map_err(TrialError::Make)?;
    let direct = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
        .open(&path);
    remove_file(&path).map_err(TrialError::Make)?;
    direct.map_err(TrialError::Direct)
}

fn alignment(file: &File) -> Option<u32> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    let known = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::DIOALIGN);
    (known && found.stx_dio_offset_align > 0).then_some(found.stx_dio_offset_align)
}

/// First the space is written, as a segment's is, so that the measured writes change no metadata.
fn measure(file: &File) -> io::Result<Latency> {
    // An anonymous map begins on a page, as direct writes need.
    let zeros = MmapMut::map_anon(BLOCK_BYTES * usize::try_from(WRITES).unwrap_or(usize::MAX))?;
    file.write_all_at(&zeros, 0)?;
    file.sync_all()?;
    let block = zeros.get(..BLOCK_BYTES).unwrap_or_default();
    let started = Instant::now();
    let mut spans = Vec::new();
    for at in 0..WRITES {
        let before = Instant::now();
        file.write_all_at(block, at * BLOCK_BYTES as u64)?;
        spans.push(before.elapsed());
        if started.elapsed() > TIME_MAX {
            break;
        }
    }
    Ok(Latency::of(spans))
}

impl Latency {
    fn of(mut spans: Vec<Duration>) -> Self {
        spans.sort_unstable();
        let at = |percent: usize| spans.get((spans.len() * percent / 100).min(spans.len().saturating_sub(1)));
        Self {
            writes: spans.len(),
            median: at(50).copied().unwrap_or_default(),
            p99: at(99).copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_p99_are_those_of_the_spans() {
        let latency = Latency::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(
            (latency.writes, latency.median, latency.p99),
            (200, Duration::from_millis(101), Duration::from_millis(199))
        );
        assert_eq!(Latency::of(Vec::new()).p99, Duration::ZERO);
    }

    #[test]
    fn nothing_is_left_behind() {
        let built = std::env::current_exe().expect("this test is a program");
        let beside = built.parent().expect("it lies in a folder");
        let folder = tempfile::tempdir_in(beside).expect("a folder on the disk of the build");
        let trial = Trial::run(folder.path()).expect("the disk of the build takes direct writes");
        assert!(trial.latency.writes > 0 && trial.latency.median > Duration::ZERO);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let nowhere = Trial::run(&folder.path().join("nowhere"));
        assert!(matches!(nowhere, Err(TrialError::Make(_))), "{nowhere:?}");
    }
}
