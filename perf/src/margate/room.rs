//! How much disk a deployment will take, and whether it is there.

use std::path::Path;

use margate_engine::limits::{RECLAIM_LONG_PER_MILLE, RECLAIM_SPARE_BYTES, RECYCLED_SEGMENTS_MAX};
use margate_engine::log::limits::{READY_SEGMENTS, SEGMENT_BYTES_DEFAULT};

use super::dev::NODES;
use crate::error::PerfError;
use crate::workload::keys::KEY_BYTES;

/// Bytes that the log keeps beside each key and value: the effect's header, and its share of the entry, the batch and the padding.
const LOG_BYTES_BESIDE: u64 = 64;
/// Bytes of the index for each key: a row, its key, and what pages leave free once they have been split.
const INDEX_BYTES_PER_KEY: u64 = 160;
/// Segments of each core beside those that hold something: the one in use, those that are always ready, and as many as come free together and wait
/// to be used again.
const SEGMENTS_BESIDE: u64 = (1 + READY_SEGMENTS + RECYCLED_SEGMENTS_MAX) as u64;

/// The keys a deployment of three nodes will hold, and what in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Keys.
    pub(crate) keys: u64,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// Cores of each node.
    pub(crate) cores: u16,
}

impl Holdings {
    /// Bytes it takes on disk once values have been overwritten for long, all nodes together.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let cores = u64::from(self.cores);
        let log_bytes = (self.value_bytes + KEY_BYTES) as u64 + LOG_BYTES_BESIDE;
        let log = (self.keys * log_bytes / 1_000 * RECLAIM_LONG_PER_MILLE).max(RECLAIM_SPARE_BYTES * cores);
        let segments = SEGMENTS_BESIDE * u64::from(SEGMENT_BYTES_DEFAULT) * cores;
        (log + segments + self.keys * INDEX_BYTES_PER_KEY) * NODES as u64
    }

    /// An error unless the disk of a folder has 1.5 times that much free.
    ///
    /// # Errors
    /// [`PerfError::NoRoom`], or the folder cannot be looked at.
    pub(crate) fn check_room(&self, folder: &Path) -> Result<(), PerfError> {
        let system = rustix::fs::statvfs(folder).map_err(|error| PerfError::file(folder)(error.into()))?;
        let free_bytes = system.f_bavail.saturating_mul(system.f_frsize);
        let asked_bytes = self.disk_bytes() / 2 * 3;
        if free_bytes >= asked_bytes {
            return Ok(());
        }
        Err(PerfError::NoRoom {
            path: folder.to_owned(),
            keys: self.keys,
            asked_bytes,
            free_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_takes_more_than_its_values_and_one_larger_than_any_disk_is_refused() {
        let holdings = |keys| Holdings {
            keys,
            value_bytes: 4096,
            cores: 1,
        };
        let million = holdings(1_000_000).disk_bytes();
        assert!(million > 3 * 4_096_000_000 && million < 9 * 4_096_000_000, "{million}");
        assert!(holdings(1).disk_bytes() > 3 * RECLAIM_SPARE_BYTES);
        let here = Path::new(".");
        let refused = holdings(1 << 44).check_room(here).expect_err("that is 2^57 bytes");
        assert!(matches!(refused, PerfError::NoRoom { .. }), "{refused}");
    }
}
