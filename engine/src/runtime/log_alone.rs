//! A core's log without the core: the same writer, the same files, the same executor, for whoever wants to know what the log alone
//! can do.
//!
//! ```text
//!   source ──append──► LogWriter ──flush──► LogDisk ──Flushed──► source hears how much is durable
//! ```
//! A turn is a core's: it takes what has happened, lets the source append, and flushes what is queued if no flush is in flight. So what
//! is queued when a flush returns goes next. All segments are prewritten before the first turn; from then on the oldest is recycled
//! as soon as more than so many are full.
//!
//! Not here, on purpose: the writes themselves (`disk`), jobs on segments (`segments`), how both are started and come back
//! (`core_loop`); what lives in a segment: nothing does once it is the oldest.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId};
use margate_net::runtime::executor::Executor;

use super::clock;
use super::core_loop::{CoreFailure, Shared, spawn_segment_results, write};
use super::disk::LogDisk;
use super::preflight::{self, PreflightError};
use super::pulse::Pulse;
use super::segments::{self, Job, Pace, Prewriter, SegmentFiles};
use super::vigil::Vigil;
use crate::core::durability::Durability;
use crate::core::event::Event;
use crate::limits::RECYCLED_SEGMENTS_MIN;
use crate::log::limits::READY_SEGMENTS;
use crate::log::record::RecordBody;
use crate::log::scan::{ScanError, scan};
use crate::log::segment::LogConfig;
use crate::log::writer::{FlushStep, LogWriter, Resume};
use crate::types::{Position, ReplicaName};

/// A log to be made in a folder of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogAlone {
    /// The folder; it must be there and be empty.
    pub folder: PathBuf,
    /// Bytes of each segment: whole blocks.
    pub segment_bytes: u32,
    /// Full segments that are kept; one more, and the oldest is recycled.
    pub segments_kept: u32,
}

/// What a log has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Batches written.
    pub batches: u64,
    /// Bytes written in them, padding included.
    pub bytes: u64,
    /// Segments that began another life.
    pub recycled: u64,
    /// Times a flush had to wait for a segment.
    pub segment_waits: u64,
}

/// Why a log could not be made, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum LogAloneError {
    /// This machine cannot run it.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// The system did not take its files or threads.
    #[error("{}: {source}; the folder must be new and on a local file system that takes direct I/O", folder.display())]
    Files {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The executor could not be made.
    #[error("no executor could be made for the log: {0}; `margate check` says what this machine lacks")]
    Executor(#[source] io::Error),
    /// A write failed.
    #[error(transparent)]
    Write(#[from] CoreFailure),
    /// The disk is full.
    #[error("the disk has no space for segment {0}; free some, or keep fewer or smaller segments")]
    Full(u32),
    /// What was written cannot be read back.
    #[error(transparent)]
    Read(#[from] ScanError),
    /// What was written reads back as something else.
    #[error("batches are missing from {0} on; the disk lost durable bytes")]
    Lost(Position),
}

impl LogAlone {
    /// Makes the log and appends to it on this thread. Each turn the source is told how many of the records that it has pushed
    /// are durable, in the order in which they were pushed, and may push more; once it breaks off, the log ends with what is queued
    /// then.
    ///
    /// # Errors
    /// [`LogAloneError`]: nothing more may be appended.
    pub fn run(&self, source: impl FnMut(u64, &mut LogWriter) -> ControlFlow<()>) -> Result<LogCounts, LogAloneError> {
        preflight::check(1)?;
        let log = self.prewritten().map_err(self.files())?;
        let prewriter = Prewriter::start(self.folder.clone(), self.config(), "mgt-segm").map_err(self.files())?;
        let pulse = Pulse::start("mgt-pulse", Arc::<Vigil>::default(), Duration::ZERO).map_err(self.files())?;
        let executor = Executor::new().map_err(LogAloneError::Executor)?;
        let driver = Driver {
            log,
            prewriter,
            shared: Shared::new(),
            disk: Rc::new(LogDisk::new(self.folder.clone())),
            durability: Durability::default(),
            kept: self.segments_kept,
            counts: LogCounts::default(),
        };
        pulse.run(&executor, driver.drive(source))
    }

    /// Reads back what is kept of the log: shows each entry's replica and index, in the order of the log.
    ///
    /// # Errors
    /// [`LogAloneError::Read`], [`LogAloneError::Lost`], [`LogAloneError::Files`].
    pub fn entries(&self, mut see: impl FnMut(ReplicaName, u64)) -> Result<(), LogAloneError> {
        let mut files = SegmentFiles::list(&self.folder).map_err(self.files())?;
        let end = scan(&mut files, &self.config(), None, &mut |batch| {
            for record in batch.records() {
                if let RecordBody::Entry { index, .. } = record.body {
                    see(record.name, index.0);
                }
            }
        })?;
        let lost = end.damage.first().map(|damage| LogAloneError::Lost(damage.position));
        lost.map_or(Ok(()), Err)
    }

    fn config(&self) -> LogConfig {
        LogConfig {
            cluster: ClusterId(1),
            directory: DirectoryId(1),
            node: NodeId(1),
            core: CoreId(0),
            segment_bytes: self.segment_bytes,
            ready_min: READY_SEGMENTS,
        }
    }

    /// A writer, with as many segments as there will ever be.
    fn prewritten(&self) -> io::Result<LogWriter> {
        if fs::read_dir(&self.folder)?.next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let config = self.config();
        let mut log = LogWriter::new(config, Resume::fresh());
        let ready = u32::try_from(READY_SEGMENTS).unwrap_or(u32::MAX);
        // The one in use, and one that is opened before the oldest is let go.
        for number in 1..=self.segments_kept.saturating_add(ready).saturating_add(2) {
            log.segment_ready(segments::prewrite(&self.folder, &config, number, Pace::Full)?);
        }
        Ok(log)
    }

    fn files(&self) -> impl FnOnce(io::Error) -> LogAloneError {
        let folder = self.folder.clone();
        |source| LogAloneError::Files { folder, source }
    }
}

/// A log under way.
struct Driver {
    log: LogWriter,
    prewriter: Prewriter,
    shared: Rc<Shared>,
    disk: Rc<LogDisk>,
    durability: Durability,
    kept: u32,
    counts: LogCounts,
}

impl Driver {
    async fn drive(mut self, mut source: impl FnMut(u64, &mut LogWriter) -> ControlFlow<()>) -> Result<LogCounts, LogAloneError> {
        spawn_segment_results(&self.shared, &self.disk, &self.prewriter);
        let mut more = true;
        loop {
            self.take_events()?;
            more = more && source(self.durability.reached(false), &mut self.log).is_continue();
            if !more && self.durability.reached(false) == self.log.pushed() {
                self.counts.segment_waits = self.log.segment_waits();
                return Ok(self.counts);
            }
            self.flush();
            self.turn_over();
            self.shared.arrival().await;
        }
    }

    fn take_events(&mut self) -> Result<(), LogAloneError> {
        for event in self.shared.take() {
            match event {
                Event::Flushed { sequence, lasted: _ } => {
                    self.log.flushed(sequence, clock::monotonic());
                    self.durability.flushed(sequence);
                }
                Event::SegmentReady(segment) => {
                    self.counts.recycled += u64::from(segment.life > 1);
                    self.log.segment_ready(segment);
                }
                Event::SegmentRefused { number } => return Err(LogAloneError::Full(number)),
                Event::DiskFree { .. }
                | Event::IndexDone { .. }
                | Event::Member { .. }
                | Event::Peer { .. }
                | Event::PeerLost { .. }
                | Event::ReadDone { .. }
                | Event::Requests { .. }
                | Event::SegmentDeleted
                | Event::Stop
                | Event::Tick => {}
            }
        }
        self.shared.take_failure().map_or(Ok(()), |failure| Err(failure.into()))
    }

    fn flush(&mut self) {
        match self.log.flush(clock::monotonic(), clock::wall()) {
            // A wait for a segment is counted by the log and ends with `SegmentReady`.
            FlushStep::Nothing | FlushStep::WaitForSegment => {}
            FlushStep::Write(flush) => {
                self.durability.flushing(flush.sequence, flush.records);
                self.counts.batches += 1;
                self.counts.bytes += flush.length as u64;
                write(&self.shared, &self.disk, flush);
            }
        }
    }

    /// Recycles the oldest segment if there are more than are kept, and has made what the log lacks.
    fn turn_over(&mut self) {
        let oldest = self.log.oldest_segment();
        if self.log.position().segment.saturating_sub(oldest) > self.kept {
            let recycled = self.log.release_oldest(RECYCLED_SEGMENTS_MIN);
            self.disk.close(oldest);
            self.prewriter
                .ask(recycled.map_or(Job::Delete(oldest), |to| Job::Recycle(oldest, to)));
        }
        let wanted = self.log.segments_wanted(READY_SEGMENTS);
        wanted.into_iter().for_each(|number| self.prewriter.ask(Job::Prewrite(number)));
    }
}

#[cfg(test)]
#[path = "log_alone_tests.rs"]
mod tests;
