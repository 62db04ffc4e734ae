//! Gives pages of a large commit to the disk while the rest of it is computed, so that its end has few left to write and sync.
//!
//! LMDB holds 16,383 changed pages (its `MDB_IDL_UM_MAX` at `MDB_IDL_LOGN` 13, 64 MiB) and then writes an eighth of them; no tree refers to them before
//! the commit's last page is written. The kernel would keep them until they are synced, and a log's writes on the same disk then wait behind all of them.
//!
//! Not here, on purpose: durability. LMDB syncs everything before that last page.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use heed::{Env, WithoutTls};

use super::index_store::failed;
use crate::index::IndexError;

/// Time between two calls: for a few pages a call is worth it, and finding none costs a microsecond.
const EVERY: Duration = Duration::from_millis(10);

/// Starts the disk on what was written.
#[derive(Debug)]
pub(super) struct Writeback {
    file: File,
    last: Instant,
}

impl Writeback {
    pub(super) fn new(env: &Env<WithoutTls>) -> Result<Self, IndexError> {
        let file = env.try_clone_inner_file().map_err(failed("opening"))?;
        Ok(Self {
            file,
            last: Instant::now(),
        })
    }

    /// To be called every few rows. It does not wait until they are written, though perhaps for room in the disk's queue.
    pub(super) fn step(&mut self) -> Result<(), IndexError> {
        if self.last.elapsed() < EVERY {
            return Ok(());
        }
        self.last = Instant::now();
        // SAFETY: no memory is passed, and `self.file` owns the descriptor. A length of 0 means the whole file.
        let started = unsafe { libc::sync_file_range(self.file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        if started == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            // Not started, for now or here: LMDB's sync does it.
            error
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOMEM | libc::EAGAIN | libc::EINTR | libc::ENOSYS | libc::EOPNOTSUPP)
                ) =>
            {
                Ok(())
            }
            source => Err(IndexError::Io {
                doing: "starting to write its pages",
                source,
            }),
        }
    }
}
