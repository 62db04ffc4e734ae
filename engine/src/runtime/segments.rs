//! Segment files as threads see them: prewriting new ones, giving old ones a new life, scanning at start.
//!
//! A segment that is needed no more gets a new life under another number, for which only its header is written, or is deleted.
//!
//! Prewriting: zeros over the whole file, which has another name yet, by direct writes, twice as fast as the log came to need them; a sync; the
//! name; the folder's sync; the header, whose salt is new. So a valid header proves a fully prewritten file whose name is durable, and appending to
//! it later changes no metadata.
//!
//! A full disk is no failure here: what was there of a new segment is deleted, and the core is told. Nothing in use was touched.
//!
//! Not here, on purpose: appends and reads while serving (`disk`).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::Rng;

use super::directory::{remove_if_there, sync_folder};
use crate::limits::RECYCLED_SEGMENTS_MAX;
use crate::log::flush::Flush;
use crate::log::limits::{BLOCK_BYTES, READY_SEGMENTS};
use crate::log::scan::{ReadFault, ReadSegments, SyncFault, SyncSegments};
use crate::log::segment::{LogConfig, ReadySegment, SegmentHeader};

/// Bytes prewritten at a time: the log's own writes wait behind them.
const CHUNK_BYTES: usize = 256 << 10;
/// The name of a segment that is being prewritten; there is one at a time.
const UNFINISHED: &str = "segment.new";
/// Segments synced at start: all that may be ready, the one in use, the one before.
const SYNCED_AT_START: usize = READY_SEGMENTS + RECYCLED_SEGMENTS_MAX + 2;
/// Bytes per second at which segments are prewritten at most while the node serves: well above what a log appends, well below what a disk
/// does.
const PACE_BYTES_PER_SECOND: u64 = 256 << 20;
/// The longest time a segment is given where the log is in no hurry.
const UNHURRIED: Duration = Duration::from_secs(2);

/// Time between two measurements of the free space while nothing else happens.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Bytes, zero at first, that start on a block boundary in memory, as direct writes need.
struct Zeros {
    bytes: Vec<u8>,
    start: usize,
}

/// How fast to prewrite.
#[derive(Clone, Copy)]
pub enum Pace<'a> {
    /// As fast as the disk goes: nobody is served meanwhile.
    Full,
    /// At so many bytes per second, asked before each piece.
    Limited(&'a dyn Fn() -> u64),
}

/// The file of a segment.
#[must_use]
pub fn path(log: &Path, number: u32) -> PathBuf {
    log.join(format!("{number:08}.seg"))
}

/// The numbers of the segment files in a log's folder, in any order.
///
/// # Errors
/// What the system says.
pub fn numbers(log: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(log)? {
        let name = entry?.file_name();
        let number: Option<u32> = name
            .to_str()
            .and_then(|name| name.strip_suffix(".seg"))
            .and_then(|digits| digits.parse().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

/// Prewrites one segment; returns with it durable.
///
/// # Errors
/// What the system says.
pub fn prewrite(log: &Path, config: &LogConfig, number: u32, pace: Pace<'_>) -> io::Result<ReadySegment> {
    // Synced as a whole: each synced piece would be a commit of the file system's journal, which the log's writes may have to wait for.
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(log.join(UNFINISHED))?;
    let segment_bytes = u64::from(config.segment_bytes);
    file.set_len(segment_bytes)?;
    let zeros = Zeros::new(CHUNK_BYTES);
    let (mut due, mut at) = (Instant::now(), 0u64);
    while at < segment_bytes {
        let length = CHUNK_BYTES.min(usize::try_from(segment_bytes - at).unwrap_or(CHUNK_BYTES));
        file.write_all_at(&zeros.as_slice()[..length], at)?;
        at += length as u64;
        if let Pace::Limited(bytes_per_second) = pace {
            let takes = Duration::from_secs(length as u64) / u32::try_from(bytes_per_second()).unwrap_or(u32::MAX).max(1);
            let now = Instant::now();
            due = (due + takes).max(now);
            thread::sleep(due - now);
        }
    }
    file.sync_data()?;
    drop(file);
    begin_life(log, config, &log.join(UNFINISHED), number, 1)
}

/// Gives the file of a segment a new life under another number; returns with it durable. Batches of its former life carry
/// another salt and another place, so they need not be wiped. A file that was cut is made anew.
///
/// # Errors
/// What the system says.
pub fn recycle(log: &Path, config: &LogConfig, from: u32, to: u32, pace: Pace<'_>) -> io::Result<ReadySegment> {
    if fs::metadata(path(log, from))?.len() != u64::from(config.segment_bytes) {
        delete(log, from)?;
        return prewrite(log, config, to, pace);
    }
    let life = header_life(&path(log, from))?.saturating_add(1).max(2);
    // The old number must be gone before the log moves on: a rebuild would take it for what it was.
    begin_life(log, config, &path(log, from), to, life)
}

/// Gives a whole file the name of a segment, and then its header.
fn begin_life(log: &Path, config: &LogConfig, from: &Path, number: u32, life: u32) -> io::Result<ReadySegment> {
    fs::rename(from, path(log, number))?;
    // First: batches behind a sound header must not lose their name.
    sync_folder(log)?;
    let salt = rand::rng().next_u64();
    let ready = ReadySegment { number, salt, life };
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
        .open(path(log, number))?;
    write_header(&file, config, ready)?;
    Ok(ready)
}

/// Deletes a segment; durable on return.
///
/// # Errors
/// What the system says.
pub fn delete(log: &Path, number: u32) -> io::Result<()> {
    fs::remove_file(path(log, number))?;
    sync_folder(log)
}

fn write_header(file: &File, config: &LogConfig, ready: ReadySegment) -> io::Result<()> {
    let mut header = Zeros::new(BLOCK_BYTES);
    header.as_mut_slice().copy_from_slice(&config.segment_header(ready).encode());
    file.write_all_at(header.as_slice(), 0)?;
    file.sync_data()
}

fn header_life(file: &Path) -> io::Result<u32> {
    Ok(SegmentHeader::life_in(&first_block(file)?))
}

fn first_block(file: &Path) -> io::Result<Vec<u8>> {
    let mut block = vec![0; BLOCK_BYTES];
    File::open(file)?.read_exact_at(&mut block, 0)?;
    Ok(block)
}

/// Writes a batch durably into a prewritten segment: what creates a core before its executor runs.
///
/// # Errors
/// What the system says.
pub fn write_first(log: &Path, flush: &Flush) -> io::Result<()> {
    let mut bytes = Zeros::new(flush.length);
    flush.encode_into(bytes.as_mut_slice());
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
        .open(path(log, flush.segment))?;
    file.write_all_at(bytes.as_slice(), u64::from(flush.offset))
}

/// What is to be done with a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Delete it.
    Delete(u32),
    /// Prewrite it.
    Prewrite(u32),
    /// Give the file of the first number a new life under the second.
    Recycle(u32, u32),
}

/// What the thread has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// A segment was deleted.
    Deleted,
    /// The file system of the log has so many free bytes.
    Free(u64),
    /// A segment is ready.
    Ready(ReadySegment),
    /// There is no space for a segment of this number, and nothing left of it.
    Refused(u32),
}

/// Works on segments of one core, in the order it is asked to, on a thread of its own; measures the free space too.
#[derive(Debug)]
pub struct Prewriter {
    wanted: Option<flume::Sender<Job>>,
    done: flume::Receiver<io::Result<Done>>,
    thread: Option<JoinHandle<()>>,
}

impl Prewriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(log: PathBuf, config: LogConfig, name: &str) -> io::Result<Self> {
        // A core wants at most its ready minimum at a time, releases one old segment and renumbers one that is ready; both queues are
        // bounded by that. Each job is followed by a measurement.
        let (wanted, incoming) = flume::bounded::<Job>(config.ready_min + 3);
        let (outgoing, done) = flume::bounded(2 * (config.ready_min + 4));
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&log, &config, &incoming, &outgoing))?;
        Ok(Self {
            wanted: Some(wanted),
            done,
            thread: Some(thread),
        })
    }

    /// Asks for something; never blocks.
    ///
    /// # Panics
    /// If more are wanted at once than the log keeps ready, or the thread has died.
    pub fn ask(&self, job: Job) {
        let wanted = self.wanted.as_ref().expect("only a drop takes the sender");
        wanted.try_send(job).expect("the log never wants more segments than it keeps ready");
    }

    /// Where what was done arrives.
    #[must_use]
    pub fn done(&self) -> flume::Receiver<io::Result<Done>> {
        self.done.clone()
    }
}

/// Until nobody asks any more.
fn work(log: &Path, config: &LogConfig, incoming: &flume::Receiver<Job>, outgoing: &flume::Sender<io::Result<Done>>) {
    let mut demand = Demand::new(config.segment_bytes);
    loop {
        if outgoing.send(free_bytes(log).map(Done::Free)).is_err() {
            return;
        }
        let result = match incoming.recv_timeout(MEASURE_EVERY) {
            Ok(job) => {
                demand.note(job, Instant::now());
                let pace = || demand.bytes_per_second(!incoming.is_empty() || incoming.is_disconnected());
                perform(log, config, job, Pace::Limited(&pace))
            }
            Err(flume::RecvTimeoutError::Timeout) => continue,
            Err(flume::RecvTimeoutError::Disconnected) => return,
        };
        if outgoing.send(result).is_err() {
            return;
        }
    }
}

/// How soon the log needs another segment, by when it asked for the last ones.
#[derive(Debug)]
struct Demand {
    segment_bytes: u32,
    asked: Option<Instant>,
    between: Duration,
}

impl Demand {
    const fn new(segment_bytes: u32) -> Self {
        Self {
            segment_bytes,
            asked: None,
            between: Duration::ZERO,
        }
    }

    fn note(&mut self, job: Job, now: Instant) {
        match job {
            Job::Prewrite(_) => {
                self.between = self.asked.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
                self.asked = Some(now);
            }
            Job::Delete(_) | Job::Recycle(..) => {}
        }
    }

    /// Ready in half of the time between the last two, and at once where more is to be done or the core ends.
    fn bytes_per_second(&self, pressed: bool) -> u64 {
        if pressed {
            return PACE_BYTES_PER_SECOND;
        }
        let takes_ms = (self.between / 2).min(UNHURRIED).as_millis().max(1);
        let needed = u128::from(self.segment_bytes) * 1_000 / takes_ms;
        u64::try_from(needed).unwrap_or(u64::MAX).min(PACE_BYTES_PER_SECOND)
    }
}

fn perform(log: &Path, config: &LogConfig, job: Job, pace: Pace<'_>) -> io::Result<Done> {
    let unfinished = log.join(UNFINISHED);
    let (made, number, left) = match job {
        Job::Delete(number) => return delete(log, number).map(|()| Done::Deleted),
        Job::Prewrite(number) => (prewrite(log, config, number, pace), number, vec![unfinished]),
        Job::Recycle(from, to) => {
            let left = vec![path(log, from), path(log, to), unfinished];
            (recycle(log, config, from, to, pace), to, left)
        }
    };
    match made {
        Ok(ready) => Ok(Done::Ready(ready)),
        Err(error) if is_no_space(&error) => {
            // None of these is in use: a new one has no header yet, and nobody reads an old one any more.
            left.iter().try_for_each(|file| remove_if_there(file))?;
            sync_folder(log)?;
            Ok(Done::Refused(number))
        }
        Err(error) => Err(error),
    }
}

/// Bytes that may still be written to the file system of a folder by whoever is not root.
///
/// # Errors
/// What the system says.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Whether the file system said that it is full, or that this user's share is.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Drop for Prewriter {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // Results nobody waits for any more must not keep the thread.
            self.done.drain();
            // A panic of the thread was reported by its hook.
            let _ = thread.join();
        }
    }
}

/// The segment files of one core, for the scan at start. Buffered reads: the page cache is coherent with
/// direct writes, and nothing is served yet.
#[derive(Debug)]
pub struct SegmentFiles {
    log: PathBuf,
    numbers: Vec<u32>,
    open: Option<(u32, File)>,
}

impl SegmentFiles {
    /// Looks what segments there are.
    ///
    /// # Errors
    /// What the system says.
    pub fn list(log: &Path) -> io::Result<Self> {
        Ok(Self {
            log: log.to_owned(),
            numbers: numbers(log)?,
            open: None,
        })
    }

    /// Bytes that segments were made with, as the oldest sound header says: a file may have been cut since.
    #[must_use]
    pub fn made_with(&self) -> Option<u32> {
        let mut numbers = self.numbers.clone();
        numbers.sort_unstable();
        let header = |number| SegmentHeader::parse(&first_block(&path(&self.log, number)).ok()?).ok();
        numbers.into_iter().find_map(header).map(|header| header.length)
    }

    /// Deletes segment files that are of no use, and the one that was being prewritten.
    ///
    /// # Errors
    /// What the system says.
    pub fn discard(&mut self, numbers: &[u32]) -> io::Result<()> {
        for number in numbers {
            fs::remove_file(path(&self.log, *number))?;
        }
        remove_if_there(&self.log.join(UNFINISHED))?;
        self.numbers.retain(|number| !numbers.contains(number));
        if numbers.is_empty() { Ok(()) } else { sync_folder(&self.log) }
    }
}

impl SyncSegments for SegmentFiles {
    fn sync(&mut self) -> Result<(), SyncFault> {
        // The last batch may be in any of the newest ones; older ones were followed by durable writes.
        let mut newest = self.numbers.clone();
        newest.sort_unstable_by(|one, other| other.cmp(one));
        newest.into_iter().take(SYNCED_AT_START).try_for_each(|segment| {
            let synced = File::open(path(&self.log, segment)).and_then(|file| file.sync_data());
            synced.map_err(|error| SyncFault {
                segment,
                code: error.raw_os_error().unwrap_or(0),
            })
        })
    }
}

impl ReadSegments for SegmentFiles {
    fn segments(&self) -> Vec<u32> {
        self.numbers.clone()
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        fs::metadata(path(&self.log, segment)).map_or(0, |metadata| metadata.len())
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        let fault = |error: io::Error| ReadFault::System {
            segment,
            offset,
            code: error.raw_os_error().unwrap_or(0),
        };
        let file = match self.open.take_if(|(number, _)| *number == segment) {
            Some((_, file)) => file,
            None => File::open(path(&self.log, segment)).map_err(fault)?,
        };
        let mut got = 0;
        while got < buffer.len() {
            match file.read_at(&mut buffer[got..], u64::from(offset) + got as u64).map_err(fault)? {
                0 => {
                    return Err(ReadFault::Short {
                        segment,
                        offset,
                        wanted: buffer.len(),
                        got,
                    });
                }
                read => got += read,
            }
        }
        self.open = Some((segment, file));
        Ok(())
    }
}

impl Zeros {
    fn new(length: usize) -> Self {
        let bytes = vec![0; length + BLOCK_BYTES];
        let start = bytes.as_ptr().align_offset(BLOCK_BYTES);
        let mut zeros = Self { bytes, start };
        zeros.bytes.truncate(start + length);
        zeros
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId};

    use super::*;

    const CONFIG: LogConfig = LogConfig {
        cluster: ClusterId(1),
        directory: DirectoryId(1),
        node: NodeId(1),
        core: CoreId(0),
        segment_bytes: 1 << 20,
        ready_min: 1,
    };

    /// Temporary folders may be in memory, which takes no direct writes.
    fn folder_on_disk() -> tempfile::TempDir {
        let built = std::env::current_exe().expect("a test is a program");
        tempfile::tempdir_in(built.parent().expect("it lies in a folder")).expect("a folder on the disk of the build")
    }

    /// Batches behind the end of a file that is too short would make it longer, up to the last of them: for the next start a cut.
    #[test]
    fn a_file_that_was_cut_is_recycled_as_a_new_one() {
        let folder = folder_on_disk();
        prewrite(folder.path(), &CONFIG, 1, Pace::Full).expect("the disk takes it");
        let file = OpenOptions::new().write(true).open(path(folder.path(), 1)).expect("it is there");
        file.set_len(1 << 19).expect("it is cut");
        let ready = recycle(folder.path(), &CONFIG, 1, 5, Pace::Full).expect("the disk takes it");
        assert_eq!((ready.number, ready.life), (5, 1));
        let bytes = fs::metadata(path(folder.path(), 5)).expect("it is there").len();
        assert_eq!((bytes, numbers(folder.path()).expect("readable")), (1 << 20, vec![5]));
    }

    #[test]
    fn what_a_prewriter_left_is_written_over_or_deleted_and_never_listed() {
        let folder = folder_on_disk();
        let left = folder.path().join(UNFINISHED);
        fs::write(&left, vec![7; 3 << 20]).expect("it takes a file");
        let mut files = SegmentFiles::list(folder.path()).expect("readable");
        assert_eq!(files.segments(), []);
        prewrite(folder.path(), &CONFIG, 1, Pace::Full).expect("the disk takes it");
        let bytes = fs::read(path(folder.path(), 1)).expect("it has its name");
        assert_eq!((bytes.len(), left.exists()), (1 << 20, false));
        assert!(SegmentHeader::parse(&bytes[..BLOCK_BYTES]).is_ok() && bytes[BLOCK_BYTES..].iter().all(|byte| *byte == 0));
        fs::write(&left, [7]).expect("it takes a file");
        files.discard(&[]).expect("writable");
        assert_eq!((left.exists(), numbers(folder.path()).expect("readable")), (false, vec![1]));
    }

    #[test]
    fn segments_are_made_twice_as_fast_as_the_log_asks_for_them() {
        let (mut demand, start) = (Demand::new(64 << 20), Instant::now());
        demand.note(Job::Prewrite(1), start);
        assert_eq!(demand.bytes_per_second(false), PACE_BYTES_PER_SECOND, "nothing is known yet");
        demand.note(Job::Recycle(1, 2), start + Duration::from_secs(1));
        demand.note(Job::Prewrite(3), start + Duration::from_secs(2));
        assert_eq!(demand.bytes_per_second(false), 64 << 20);
        assert_eq!(demand.bytes_per_second(true), PACE_BYTES_PER_SECOND);
        demand.note(Job::Prewrite(4), start + Duration::from_secs(60));
        assert_eq!(demand.bytes_per_second(false), 32 << 20, "in two seconds");
    }
}
