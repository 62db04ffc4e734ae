//! Every limit of the log, with its reason. What must hold between them is proved at compile time.

use margate_net::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use super::batch::{BATCH_HEADER_BYTES, COMMIT_BYTES, HELD_BYTES};
use super::effects::{EFFECT_HEADER_BYTES, ENTRY_DATA_HEADER_BYTES};
use super::record::ENTRY_HEADER_BYTES;
use crate::types::Nanos;

/// Bytes in a block, the unit of every read and write: what direct I/O is aligned to on every disk we know.
pub const BLOCK_BYTES: usize = 4_096;
/// Bytes of entry data at which a leader closes an entry and begins the next: consensus is paid per entry,
/// and a larger one would only delay the others.
pub const ENTRY_DATA_BYTES_TARGET: usize = 256 << 10;
/// Bytes of entry data, at most: one put of the longest key and the largest value. Whoever takes entries from
/// the network refuses longer ones.
pub const ENTRY_DATA_BYTES_MAX: usize = ENTRY_DATA_HEADER_BYTES + EFFECT_HEADER_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX;
/// Bytes in one record, header included: the largest entry.
pub const RECORD_BYTES_MAX: usize = ENTRY_HEADER_BYTES + ENTRY_DATA_BYTES_MAX;
/// Bytes in one batch, so that one flush stays short and a reader's buffer bounded.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Records in one batch: its successor lists each replica it held, and that list must stay small beside the records.
pub const RECORDS_PER_BATCH_MAX: usize = BATCH_BYTES_MAX / LISTED_EVERY_BYTES;
/// Commits carried by one batch; more wait for the next.
pub const COMMITS_PER_BATCH_MAX: usize = BATCH_BYTES_MAX / LISTED_EVERY_BYTES;
/// Bytes in a segment unless configured: long enough that a change of segment is rare, short enough to prewrite in seconds.
pub const SEGMENT_BYTES_DEFAULT: u32 = 64 << 20;
/// Segments kept prewritten beside the one in use; the last is there for reclaim when the disk is full.
pub const READY_SEGMENTS: usize = 3;
/// Smallest segment a configuration may ask for: the largest record still fits beside the longest lists.
pub const SEGMENT_BYTES_MIN: u32 = 4 << 20;
/// Largest segment a configuration may ask for: the unit of reclaim must stay small beside the disk.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// Bytes in one read while scanning; a batch longer than this takes several.
pub const READ_BYTES_MAX: usize = 1 << 20;
/// Bytes of shard state in one checkpoint record; a longer state is written in parts.
pub const CHECKPOINT_PART_BYTES_MAX: usize = 256 << 10;
/// Bytes that may wait for a flush before the core takes no more work: a second of a slow disk.
pub const QUEUED_BYTES_MAX: usize = 64 << 20;
/// How long a batch may stand last before a seal proves it durable.
pub const SEAL_AFTER: Nanos = Nanos::from_millis(5);

/// One listed replica or commit for so many bytes of batch keeps the lists under a quarter of it.
const LISTED_EVERY_BYTES: usize = 256;

const _: () = assert!((SEGMENT_BYTES_MIN as usize).is_multiple_of(BLOCK_BYTES) && (SEGMENT_BYTES_MAX as usize).is_multiple_of(BLOCK_BYTES));
const _: () = assert!(SEGMENT_BYTES_MIN <= SEGMENT_BYTES_DEFAULT && SEGMENT_BYTES_DEFAULT <= SEGMENT_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX.is_multiple_of(BLOCK_BYTES) && READ_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(
    ENTRY_DATA_BYTES_TARGET <= ENTRY_DATA_BYTES_MAX,
    "an entry of many operations is no longer than one of the largest"
);
const _: () = assert!(
    SEGMENT_BYTES_MIN as usize - BLOCK_BYTES
        >= BATCH_HEADER_BYTES + RECORDS_PER_BATCH_MAX * HELD_BYTES + COMMITS_PER_BATCH_MAX * COMMIT_BYTES + RECORD_BYTES_MAX,
    "the largest record must fit the smallest segment beside the longest lists"
);
const _: () = assert!(QUEUED_BYTES_MAX >= BATCH_BYTES_MAX, "the queue holds at least one full batch");

/// What one batch may hold in segments of some size; production sizes get the constants above, the
/// simulator's small segments a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes of a batch, padding included.
    pub bytes: usize,
    /// Records of a batch.
    pub records: usize,
    /// Commits of a batch.
    pub commits: usize,
    /// Bytes of one record: it fits even beside full lists.
    pub record_bytes: usize,
}

impl BatchLimits {
    /// The limits for segments of so many bytes.
    ///
    /// # Panics
    /// If a segment is not a whole number of blocks, at least two: one for its header, one for a batch.
    #[must_use]
    pub fn of_segment(segment_bytes: u32) -> Self {
        let segment_bytes = segment_bytes as usize;
        assert!(
            segment_bytes.is_multiple_of(BLOCK_BYTES) && segment_bytes >= 2 * BLOCK_BYTES,
            "a segment of {segment_bytes} bytes is not two or more blocks of {BLOCK_BYTES}"
        );
        let bytes = BATCH_BYTES_MAX.min(segment_bytes - BLOCK_BYTES);
        let listed = bytes / LISTED_EVERY_BYTES;
        let lists = BATCH_HEADER_BYTES + listed * HELD_BYTES + listed * COMMIT_BYTES;
        Self {
            bytes,
            records: listed,
            commits: listed,
            record_bytes: bytes - lists,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_segment_takes_the_largest_record() {
        for segment_bytes in [SEGMENT_BYTES_MIN, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX] {
            assert!(BatchLimits::of_segment(segment_bytes).record_bytes >= RECORD_BYTES_MAX);
        }
    }

    #[test]
    fn small_segments_still_take_a_record() {
        let limits = BatchLimits::of_segment(8_192);
        assert!(
            limits.records > 0 && limits.commits > 0 && limits.record_bytes > 1_024,
            "{limits:?}"
        );
    }
}
