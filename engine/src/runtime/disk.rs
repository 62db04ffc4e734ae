//! A core's log files as its executor sees them: direct, synchronous-on-write descriptors behind the ring.
//!
//! Every descriptor is opened with `O_DIRECT | O_DSYNC`, so a completed write is durable. A bounded number is
//! kept open; the log may have far more segments than a process may have descriptors.
//!
//! Not here, on purpose: prewriting (`segments`), what the bytes mean (`log`).

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use margate_net::runtime::executor::files::{DirectFile, ReadBytes};
use margate_net::runtime::executor::{AlignedBuffer, spawn_local};

use super::{clock, planted_writes, segments};
use crate::core::event::LogReadFault;
use crate::log::flush::Flush;
use crate::types::{Nanos, Position};

/// Descriptors of log files a core keeps open.
const OPEN_MAX: usize = 64;
/// Bytes read by one operation of the ring; larger ones have left processes unkillable on some devices (glommio issue 633).
const READ_BYTES_MAX: usize = 256 << 10;

/// See the module's text.
pub struct LogDisk {
    log: PathBuf,
    /// Most recently used last.
    open: RefCell<Vec<(u32, Rc<DirectFile>)>>,
    /// What the last batch was written from, for the next one: as large as the largest so far, which is one batch at most.
    spare: Cell<Option<AlignedBuffer>>,
}

impl LogDisk {
    /// The log files in this folder.
    #[must_use]
    pub fn new(log: PathBuf) -> Self {
        Self {
            log,
            open: RefCell::new(Vec::new()),
            spare: Cell::default(),
        }
    }

    /// Opens a segment ahead of its first write, so that the write need not wait for that.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open_ahead(&self, number: u32) -> io::Result<()> {
        self.file(number).await.map(|_| ())
    }

    /// Writes a batch; durable on return. When the write itself began, on the monotonic clock.
    ///
    /// # Errors
    /// What the system says; a short write is an error too. The node must stop then.
    pub async fn write(&self, flush: &Flush) -> io::Result<Nanos> {
        let file = self.file(flush.segment).await?;
        let zeroed = || AlignedBuffer::zeroed(flush.length);
        let mut buffer = self.spare.take().map_or_else(zeroed, |spare| spare.resized(flush.length));
        flush.encode_into(&mut buffer);
        let began = clock::monotonic();
        let (written, buffer) = file.write_at(buffer, u64::from(flush.offset)).await?;
        self.spare.set(Some(buffer));
        if written == flush.length {
            Ok(began)
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Reads bytes; exactly as many as asked for. Pieces of a long read are under way together.
    ///
    /// # Errors
    /// [`LogReadFault`]: what the system says, or the file is shorter.
    pub async fn read(&self, position: Position, length: usize) -> Result<Bytes, LogReadFault> {
        let fault = |errno| LogReadFault { position, length, errno };
        let file = self.file(position.segment).await.map_err(|error| fault(errno_of(&error)))?;
        // All of them but the first are tasks; it is read here, for most reads have no other.
        let piece = |offset: usize| {
            let (file, at) = (Rc::clone(&file), u64::from(position.offset) + offset as u64);
            async move { read_piece(&file, at, READ_BYTES_MAX.min(length - offset)).await }
        };
        let others = (0..length).step_by(READ_BYTES_MAX).skip(1);
        let others: Vec<_> = others.map(|offset| spawn_local(piece(offset))).collect();
        let mut bytes = BytesMut::with_capacity(length);
        let mut failed = piece(0).await.map(|read| append(&mut bytes, &read)).err();
        for other in others {
            // Each is awaited, so that none reads on from a file that was given up.
            let read = other.await.map(|read| append(&mut bytes, &read));
            failed = failed.or(read.err());
        }
        failed.map_or_else(|| Ok(bytes.freeze()), |errno| Err(fault(errno)))
    }

    /// Closes a segment whose file is about to become another or to be deleted.
    pub fn close(&self, number: u32) {
        self.open.borrow_mut().retain(|(held, _)| *held != number);
    }

    async fn file(&self, number: u32) -> io::Result<Rc<DirectFile>> {
        if let Some(file) = self.touch(number) {
            return Ok(file);
        }
        let file = DirectFile::open(&segments::path(&self.log, number), planted_writes::DSYNC).await?;
        #[cfg(feature = "planted-buffered-writes")]
        planted_writes::through_page_cache(&file)?;
        // Another task may have opened it meanwhile; one of the two is closed when it is dropped.
        let file = self.touch(number).unwrap_or_else(|| Rc::new(file));
        let mut open = self.open.borrow_mut();
        open.retain(|(held, _)| *held != number);
        open.push((number, Rc::clone(&file)));
        if open.len() > OPEN_MAX {
            open.remove(0);
        }
        Ok(file)
    }

    fn touch(&self, number: u32) -> Option<Rc<DirectFile>> {
        let mut open = self.open.borrow_mut();
        let at = open.iter().position(|(held, _)| *held == number)?;
        let entry = open.remove(at);
        let file = Rc::clone(&entry.1);
        open.push(entry);
        Some(file)
    }
}

/// So many bytes of a file, as the ring read them. Otherwise the system's error, or 0 where the file is shorter.
async fn read_piece(file: &DirectFile, at: u64, length: usize) -> Result<Vec<ReadBytes>, i32> {
    let (mut pieces, mut read) = (Vec::with_capacity(1), 0);
    while read < length {
        let piece = file
            .read_at(at + read as u64, length - read)
            .await
            .map_err(|error| errno_of(&error))?;
        if piece.is_empty() {
            return Err(0);
        }
        read += piece.len();
        pieces.push(piece);
    }
    Ok(pieces)
}

fn append(bytes: &mut BytesMut, pieces: &[ReadBytes]) {
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
