//! Allocates the index file ahead of commits, so that on a full disk there is still room for some of them. What meets the full disk
//! all the same is undone and tried again.
//!
//! Not here, on purpose: the file's length, which stays LMDB's; only blocks behind its end are allocated.

use std::fs::File;
use std::io;

use heed::{Env, WithoutTls};
use rustix::fs::{FallocateFlags, fallocate};

use super::index_store::failed;
use super::segments::is_no_space;
use crate::index::{Generation, IndexError};
use crate::limits::CLEARED_ROWS_MAX;

/// Bytes allocated at a time.
const STEP_BYTES: u64 = 16 << 20;
/// Bytes allocated ahead at most: pages that came free with earlier commits are used first, and others need the disk too.
const AHEAD_BYTES_MAX: u64 = 256 << 20;
/// Bytes for branch pages, free lists and marks of a commit.
const SLACK_BYTES: u64 = 1 << 20;

/// How far the index file is allocated.
#[derive(Debug)]
pub(super) struct Growth {
    file: File,
    page_bytes: u64,
    allocated: u64,
    wanted: u64,
}

impl Growth {
    pub(super) fn new(env: &Env<WithoutTls>) -> Result<Self, IndexError> {
        let file = env.try_clone_inner_file().map_err(failed("opening"))?;
        Ok(Self {
            file,
            page_bytes: env.stat().page_size.into(),
            allocated: 0,
            wanted: 0,
        })
    }

    /// Allocates what committing a generation may take at most, or as much of that as is worth it, beyond the pages ever used.
    pub(super) fn reserve(&mut self, env: &Env<WithoutTls>, used: u64, generation: &Generation) -> Result<(), IndexError> {
        let info = env.info();
        let end = (info.last_page_number as u64 + 1) * self.page_bytes;
        let rows = &generation.rows;
        // Cleared rows lie side by side, and a page holds at least two.
        let cleared = if generation.cleared.is_empty() { 0 } else { CLEARED_ROWS_MAX / 2 };
        // A commit copies each page it changes, one per row at the worst, and fills new ones with new rows.
        let copied = used.min((rows.len() + cleared) as u64 * self.page_bytes);
        self.wanted = end + (copied + 2 * rows.bytes() as u64).min(AHEAD_BYTES_MAX) + SLACK_BYTES;
        // The map is the end: LMDB itself refuses what goes beyond.
        let map = info.map_size as u64;
        // A step ahead: when the disk is full, deletes and reclaim still have to be noted.
        let target = (self.wanted.next_multiple_of(STEP_BYTES) + STEP_BYTES).min(map);
        if target <= self.allocated {
            return Ok(());
        }
        match self.allocate(target) {
            Ok(()) => Ok(()),
            // Pages that came free may do: if not, the commit itself meets the full disk, and is undone.
            Err(error) if is_no_space(&error) => Ok(()),
            Err(source) => Err(IndexError::Io {
                doing: "allocating its file",
                source,
            }),
        }
    }

    pub(super) const fn no_space(&self) -> IndexError {
        IndexError::NoSpace { wanted: self.wanted }
    }

    fn allocate(&mut self, target: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.allocated, target - self.allocated) {
            // Some file systems cannot; there the commit itself meets the full disk, and is undone.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {
                self.allocated = target;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
