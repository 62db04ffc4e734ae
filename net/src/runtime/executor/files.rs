//! Files read and written by direct I/O.

use std::ffi::CString;
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, StatxFlags, statx};

use super::Reactor;
use super::aligned::{ALIGNMENT, AlignedBuffer};
use super::ring::{Held, Operation};

/// An open file that goes past the page cache.
pub struct DirectFile {
    descriptor: Rc<OwnedFd>,
    /// What offsets and lengths of reads are multiples of.
    block: u64,
}

/// Bytes that were read, and whole blocks around them in memory.
pub struct ReadBytes {
    buffer: AlignedBuffer,
    wanted: Range<usize>,
}

impl DirectFile {
    /// Opens a file for reading and writing with `O_DIRECT` and these flags of `open(2)`.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Panics
    /// If no executor runs on this thread.
    pub async fn open(path: &Path, flags: i32) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_DIRECT | flags;
        let (opened, _) = Operation::open(&Reactor::current(), path, flags).await;
        let descriptor = i32::try_from(opened?).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        // SAFETY: the kernel has just opened it for this operation, which was told of it alone.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let block = read_block(&descriptor);
        Ok(Self {
            descriptor: Rc::new(descriptor),
            block,
        })
    }

    /// Writes a buffer, whole blocks long, to an offset that is a multiple of a block. Gives the buffer back, and how many of its bytes
    /// were written.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Panics
    /// If no executor runs on this thread.
    pub async fn write_at(&self, buffer: AlignedBuffer, offset: u64) -> io::Result<(usize, AlignedBuffer)> {
        let descriptor = Rc::clone(&self.descriptor);
        match Operation::write(&Reactor::current(), descriptor, buffer, offset).await {
            (written, Held::Out(buffer)) => Ok((written?, buffer)),
            (_, Held::Nothing | Held::In(_) | Held::Path(_)) => unreachable!("a write keeps its own buffer"),
        }
    }

    /// Reads so many bytes, at least one, from any offset; fewer where the file ends or the system reads fewer.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Panics
    /// If no executor runs on this thread, or nothing shall be read.
    pub async fn read_at(&self, offset: u64, length: usize) -> io::Result<ReadBytes> {
        let from = offset - offset % self.block;
        let skipped = usize::try_from(offset - from).unwrap_or(usize::MAX);
        let whole = (skipped + length).next_multiple_of(usize::try_from(self.block).unwrap_or(ALIGNMENT));
        let buffer = AlignedBuffer::with_room(whole);
        let descriptor = Rc::clone(&self.descriptor);
        match Operation::read(&Reactor::current(), descriptor, (buffer, whole), from).await {
            (read, Held::In(buffer)) => {
                let end = read?.min(skipped + length);
                Ok(ReadBytes {
                    buffer,
                    wanted: skipped.min(end)..end,
                })
            }
            (_, Held::Nothing | Held::Out(_) | Held::Path(_)) => unreachable!("a read keeps its own buffer"),
        }
    }
}

impl AsFd for DirectFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Deref for ReadBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.wanted.clone()).unwrap_or_default()
    }
}

/// What the file system asks direct reads of this file to be multiples of (`STATX_DIOALIGN`, Linux 6.1); a page where it does not tell.
fn read_block(descriptor: &OwnedFd) -> u64 {
    let told = statx(descriptor, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN);
    let block = told.map_or(0, |told| u64::from(told.stx_dio_offset_align));
    if block.is_power_of_two() && block <= ALIGNMENT as u64 {
        block
    } else {
        ALIGNMENT as u64
    }
}
