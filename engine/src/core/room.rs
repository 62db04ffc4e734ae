//! How much the disk has left, and what a core may still do with it.
//!
//! ```text
//!   Ample ──(free < watermark)──► Low ──(no segment can be made, and those there are needed by reclaim)──► Full
//! ```
//! The log leaves the reserve of the file system to the index. Segments that are prewritten belong to the log whatever becomes of
//! the rest of the disk: of those, the last one and a quarter are kept for reclaim, which frees a segment for each it fills.
//!
//! Not here, on purpose: measuring (`runtime`), what leaders make of it (`disks`).

use margate_net::message::{DiskRoom, DiskState};

use crate::limits::OVERLAY_FREEZE_BYTES;
use crate::types::Nanos;

/// Segments of every core between the reserve and the watermark: what is written between two measurements, and before a refusal
/// has reached everybody.
const WATERMARK_SEGMENTS: u64 = 2;
/// Segments of every core in the reserve unless configured: what all cores may begin to prewrite after a measurement.
const RESERVE_SEGMENTS: u64 = 2;
/// Bytes for the growth of every core's index in the reserve unless configured: what the rows of a full overlay take where they are
/// new, on pages half full.
const RESERVE_INDEX_BYTES: u64 = 2 * OVERLAY_FREEZE_BYTES as u64;
/// Time from a segment that the disk refused to the next try.
const RETRY_AFTER: Nanos = Nanos::from_millis(500);

/// Free bytes of the file system below which a core does less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskLimits {
    /// No segment is made that would leave less.
    pub reserve: u64,
    /// Below it a member counts as short of disk.
    pub watermark: u64,
    /// Bytes of log that nobody reads in search of garbage while the disk is not low: reading them costs more than they do.
    pub spare: u64,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Room {
    limits: DiskLimits,
    segment_bytes: u64,
    /// Free bytes of the file system, once measured.
    free: Option<u64>,
    /// When the disk refused a segment, until it takes one.
    refused: Option<Nanos>,
    full: bool,
    /// Bytes of entries taken that are not yet queued for the log.
    taken: u64,
}

impl DiskLimits {
    /// For cores of a node with this reserve.
    #[must_use]
    pub const fn new(reserve: u64, segment_bytes: u32, cores: usize) -> Self {
        let above = WATERMARK_SEGMENTS * segment_bytes as u64 * cores as u64;
        Self {
            reserve,
            watermark: reserve.saturating_add(above),
            spare: 0,
        }
    }

    /// With so many bytes of log that nobody reads in search of garbage.
    #[must_use]
    pub const fn sparing(self, bytes: u64) -> Self {
        Self { spare: bytes, ..self }
    }

    /// The reserve of a node for which none is configured, in bytes.
    #[must_use]
    pub const fn usual_reserve(segment_bytes: u32, cores: usize) -> u64 {
        (RESERVE_SEGMENTS * segment_bytes as u64 + RESERVE_INDEX_BYTES) * cores as u64
    }
}

impl Room {
    /// Before anything is measured the disk is taken for ample.
    pub(super) const fn new(limits: DiskLimits, segment_bytes: u32) -> Self {
        Self {
            limits,
            segment_bytes: segment_bytes as u64,
            free: None,
            refused: None,
            full: false,
            taken: 0,
        }
    }

    /// The file system has so many free bytes; segments that are there have room for so many.
    pub(super) fn measured(&mut self, free: u64, log_room: u64) {
        self.free = Some(free);
        self.judge(log_room);
    }

    /// The disk had no space for a segment.
    pub(super) fn refused(&mut self, now: Nanos, log_room: u64) {
        self.refused = Some(now);
        self.judge(log_room);
    }

    /// A new segment is ready, or none is wanted any more.
    pub(super) fn made(&mut self) {
        self.refused = None;
    }

    /// All that was taken is queued; segments that are there have room for so many bytes more.
    pub(super) fn settle(&mut self, log_room: u64) {
        self.taken = 0;
        self.judge(log_room);
    }

    /// Whether so many bytes may be appended that need not be; counts them if so.
    pub(super) fn take(&mut self, bytes: u64, log_room: u64) -> bool {
        self.full |= self.is_short() && log_room.saturating_sub(self.taken) < self.kept();
        if !self.full {
            self.taken = self.taken.saturating_add(bytes);
        }
        !self.full
    }

    /// Segments that may be in the making now.
    pub(super) fn segments(&self, now: Nanos) -> usize {
        match self.refused {
            Some(at) if now.since(at) < RETRY_AFTER => 0,
            Some(_) => self.makeable().min(1),
            None => self.makeable(),
        }
    }

    /// What it tells others.
    pub(super) fn state(&self) -> DiskState {
        let low = self.refused.is_some() || self.free.is_some_and(|free| free < self.limits.watermark);
        DiskState {
            free_bytes: self.free.unwrap_or(0),
            room: match (self.full, low) {
                (true, _) => DiskRoom::Full,
                (false, true) => DiskRoom::Low,
                (false, false) => DiskRoom::Ample,
            },
        }
    }

    /// Bytes of log that nobody reads in search of garbage now: see [`DiskLimits::spare`].
    pub(super) fn spare(&self) -> u64 {
        if self.is_low() { 0 } else { self.limits.spare }
    }

    /// Whether it is below its watermark.
    pub(super) fn is_low(&self) -> bool {
        self.state().room != DiskRoom::Ample
    }

    /// Whether only what reclaim needs is left.
    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    fn judge(&mut self, log_room: u64) {
        // A quarter of a segment more before it ends than where it began, so that it does not come and go with every entry.
        let least = if self.full {
            self.kept() + self.segment_bytes / 4
        } else {
            self.kept()
        };
        self.full = self.is_short() && log_room.saturating_sub(self.taken) < least;
    }

    fn is_short(&self) -> bool {
        self.refused.is_some() || self.makeable() == 0
    }

    fn makeable(&self) -> usize {
        let Some(free) = self.free else { return usize::MAX };
        usize::try_from(free.saturating_sub(self.limits.reserve) / self.segment_bytes.max(1)).unwrap_or(usize::MAX)
    }

    /// Bytes of the log kept for reclaim: its copies of one segment, and what votes, marks and checkpoints take meanwhile.
    const fn kept(&self) -> u64 {
        self.segment_bytes + self.segment_bytes / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 4 << 20;
    const LIMITS: DiskLimits = DiskLimits::new(100 << 20, 4 << 20, 1);

    fn room() -> Room {
        Room::new(LIMITS, 4 << 20)
    }

    #[test]
    fn an_unmeasured_disk_is_ample() {
        let mut room = room();
        assert!(room.take(u64::MAX, 0) && room.segments(Nanos(0)) == usize::MAX);
        assert_eq!(room.state().room, DiskRoom::Ample);
    }

    #[test]
    fn below_the_watermark_segments_are_made_down_to_the_reserve() {
        let mut room = room();
        room.measured(LIMITS.watermark, 0);
        assert_eq!(room.state().room, DiskRoom::Ample);
        room.measured(LIMITS.watermark - 1, 0);
        assert_eq!((room.state().room, room.segments(Nanos(0))), (DiskRoom::Low, 1));
        room.measured(LIMITS.reserve + SEGMENT - 1, 2 * SEGMENT);
        assert_eq!((room.state().room, room.segments(Nanos(0))), (DiskRoom::Low, 0));
    }

    #[test]
    fn what_reclaim_needs_is_kept_however_much_comes_at_once() {
        let mut room = room();
        room.measured(0, 2 * SEGMENT);
        let entry = 64 << 10;
        let taken: u64 = std::iter::repeat_with(|| room.take(entry, 2 * SEGMENT))
            .take_while(|taken| *taken)
            .count() as u64;
        assert!(2 * SEGMENT - taken * entry >= SEGMENT, "{taken} entries");
        assert!(room.is_full());
    }

    #[test]
    fn a_full_disk_is_full_until_there_is_room_for_more_than_a_few_entries() {
        let mut room = room();
        room.measured(0, SEGMENT);
        assert!(room.is_full());
        room.settle(SEGMENT + SEGMENT / 4);
        assert!(room.is_full(), "no more than it takes to be full again");
        room.settle(SEGMENT + SEGMENT / 2);
        assert!(!room.is_full());
        room.settle(SEGMENT);
        room.measured(LIMITS.reserve + SEGMENT, SEGMENT);
        assert!(!room.is_full(), "a segment can be made");
    }

    #[test]
    fn a_refused_segment_is_tried_again_after_a_while_one_at_a_time() {
        let mut room = room();
        room.measured(1 << 40, 3 * SEGMENT);
        room.refused(Nanos(7), 3 * SEGMENT);
        assert_eq!((room.state().room, room.segments(Nanos(7))), (DiskRoom::Low, 0));
        assert_eq!(room.segments(Nanos(7).plus(RETRY_AFTER)), 1);
        room.settle(SEGMENT);
        assert!(room.is_full(), "free bytes count for nothing while no segment can be made of them");
        room.made();
        room.settle(SEGMENT);
        assert_eq!(room.state().room, DiskRoom::Ample);
    }
}
