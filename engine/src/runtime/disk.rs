//! A core's log files as its executor sees them: direct, synchronous-on-write descriptors behind the ring.
//!
//! Every descriptor is opened with `O_DIRECT | O_DSYNC`, so a completed write is durable. A bounded number is
//! kept open; the log may have far more segments than a process may have descriptors.
//!
//! Not here, on purpose: prewriting (`segments`), what the bytes mean (`log`).

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use glommio::io::{DmaFile, OpenOptions};

use super::{clock, planted_writes, segments};
use crate::core::event::LogReadFault;
use crate::log::flush::Flush;
use crate::types::{Nanos, Position};

/// Descriptors of log files a core keeps open.
const OPEN_MAX: usize = 32;
/// Bytes read by one operation of the ring; larger ones have left processes unkillable on some devices (glommio #633).
const READ_BYTES_MAX: usize = 256 << 10;

/// See the module's text.
pub struct LogDisk {
    log: PathBuf,
    /// Most recently used last.
    open: RefCell<Vec<(u32, Rc<DmaFile>)>>,
}

impl LogDisk {
    /// The log files in this folder.
    #[must_use]
    pub fn new(log: PathBuf) -> Self {
        Self {
            log,
            open: RefCell::new(Vec::new()),
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
        let mut buffer = file.alloc_dma_buffer(flush.length);
        flush.encode_into(buffer.as_bytes_mut());
        let began = clock::monotonic();
        let written = file.write_at(buffer, u64::from(flush.offset)).await?;
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
        let at = |offset: usize| u64::from(position.offset) + offset as u64;
        let mut bytes = BytesMut::with_capacity(length);
        if length <= READ_BYTES_MAX {
            read_into(&mut bytes, &file, at(0), length).await.map_err(fault)?;
            return Ok(bytes.freeze());
        }
        let pieces = (0..length).step_by(READ_BYTES_MAX).map(|offset| {
            let (file, at, length) = (Rc::clone(&file), at(offset), READ_BYTES_MAX.min(length - offset));
            glommio::spawn_local(async move {
                let mut piece = BytesMut::with_capacity(length);
                read_into(&mut piece, &file, at, length).await.map(|()| piece)
            })
        });
        let mut read = Vec::new();
        for piece in pieces.collect::<Vec<_>>() {
            read.push(piece.await);
        }
        for piece in read {
            bytes.extend_from_slice(&piece.map_err(fault)?);
        }
        Ok(bytes.freeze())
    }

    /// Closes a segment whose file is about to become another or to be deleted.
    pub fn close(&self, number: u32) {
        self.open.borrow_mut().retain(|(held, _)| *held != number);
    }

    async fn file(&self, number: u32) -> io::Result<Rc<DmaFile>> {
        if let Some(file) = self.touch(number) {
            return Ok(file);
        }
        // Read and write: the first open on a device decides whether glommio may poll it, and it finds that out by reading.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(planted_writes::DSYNC)
            .dma_open(segments::path(&self.log, number))
            .await?;
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

    fn touch(&self, number: u32) -> Option<Rc<DmaFile>> {
        let mut open = self.open.borrow_mut();
        let at = open.iter().position(|(held, _)| *held == number)?;
        let entry = open.remove(at);
        let file = Rc::clone(&entry.1);
        open.push(entry);
        Some(file)
    }
}

/// Appends so many bytes of a file. Otherwise the system's error, or 0 where the file is shorter.
async fn read_into(bytes: &mut BytesMut, file: &DmaFile, at: u64, length: usize) -> Result<(), i32> {
    while bytes.len() < length {
        let left = length - bytes.len();
        let read = file
            .read_at(at + bytes.len() as u64, left)
            .await
            .map_err(|error| errno_of(&error.into()))?;
        if read.is_empty() {
            return Err(0);
        }
        bytes.extend_from_slice(&read);
    }
    Ok(())
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}
