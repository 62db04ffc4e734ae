//! When reclaim is due, and how much of a turn and of a batch it takes.
//!
//! Not here, on purpose: what it does with them (`reclaim`), how large the steps are (`limits`).

use super::generations::{Urgency, replay_bytes_max};
use super::reclaim::Ground;
use crate::index::error::IndexError;
use crate::index::store::IndexReader;
use crate::limits;
use crate::log::writer::LogWriter;

/// Segments reclaimed one after the other that freed next to nothing. Under pressure only a whole round of the log is worth that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Barren {
    pub(super) segments: u32,
    /// Bytes that lived when the last of them was met.
    pub(super) live: u64,
}

/// How much to look at in one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) effects: usize,
    pub(super) bytes: u64,
}

impl Budget {
    pub(super) const fn steps(count: usize) -> Self {
        Self {
            effects: limits::RECLAIM_EFFECTS_PER_TURN * count,
            bytes: limits::RECLAIM_BYTES_PER_TURN * count as u64,
        }
    }
}

/// How long a log may be for what lives in it.
struct Target {
    segments_min: u64,
    per_mille: u64,
    long_per_mille: u64,
    /// By so many bytes less, of a long log.
    long_less_bytes: u64,
}

/// While the disk is ample.
const USUAL: Target = Target {
    segments_min: limits::RECLAIM_SEGMENTS_MIN,
    per_mille: limits::RECLAIM_PER_MILLE,
    long_per_mille: limits::RECLAIM_LONG_PER_MILLE,
    long_less_bytes: limits::RECLAIM_LONG_LESS_BYTES,
};
/// While it is low.
const LOW: Target = Target {
    segments_min: limits::RECLAIM_PRESSED_SEGMENTS_MIN,
    per_mille: limits::RECLAIM_PRESSED_PER_MILLE,
    long_per_mille: limits::RECLAIM_PRESSED_PER_MILLE,
    long_less_bytes: 0,
};

/// Whether the oldest segment should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// No.
    No,
    /// If nothing lives in it, which costs nothing to find out.
    IfDead,
    /// Whatever lives in it.
    Whatever,
}

/// Whether the log from this segment on, all before it gone, is so much longer than what lives in it that this one should go too.
pub(super) fn due<R: IndexReader>(oldest: u32, barren: Barren, ground: &Ground<'_, R>) -> Result<Due, IndexError> {
    let newest = ground.log.position().segment;
    if newest <= oldest {
        return Ok(Due::No);
    }
    let (length, live) = (log_bytes(oldest, ground), ground.index.reader().live_bytes()?);
    // Under pressure too the round after a barren one waits until something was deleted.
    let fruitless = barren.segments > newest - oldest && live.saturating_add(u64::from(ground.config.segment_bytes) / 8) > barren.live;
    let pressed = ground.pressed && !fruitless && length > target_bytes(live, &LOW, ground.config.segment_bytes);
    let target = target_bytes(live, &USUAL, ground.config.segment_bytes);
    Ok(if pressed || length > target.max(ground.spare) {
        Due::Whatever
    } else if length > target {
        Due::IfDead
    } else {
        Due::No
    })
}

fn log_bytes<R: IndexReader>(oldest: u32, ground: &Ground<'_, R>) -> u64 {
    let segments = ground.log.position().segment.saturating_sub(oldest);
    u64::from(segments) * u64::from(ground.config.segment_bytes) + u64::from(ground.log.position().offset)
}

/// Bytes of log that so many live bytes deserve.
fn target_bytes(live: u64, of: &Target, segment_bytes: u32) -> u64 {
    let least = of.segments_min * u64::from(segment_bytes);
    let of_live = |per_mille| live.saturating_mul(per_mille) / 1_000;
    let long = of_live(of.long_per_mille).saturating_sub(of.long_less_bytes);
    least.max(of_live(of.per_mille)).max(long)
}

/// The further the log from this segment on is over its target, the more is looked at; most where the disk is low.
pub(super) fn budget<R: IndexReader>(segment: u32, ground: &Ground<'_, R>) -> Result<Budget, IndexError> {
    let steps = match per_mille_of_target(segment, ground)? {
        0..1_100 => 1,
        1_100..1_250 => 4,
        1_250..1_500 => 16,
        _ => 64,
    };
    Ok(Budget::steps(if ground.pressed { steps.max(16) } else { steps }))
}

/// Bytes of this segment to read at a time.
pub(super) fn read_bytes<R: IndexReader>(segment: u32, ground: &Ground<'_, R>) -> Result<usize, IndexError> {
    let behind = ground.pressed || per_mille_of_target(segment, ground)? >= 1_100;
    Ok(if behind {
        limits::RECLAIM_LONG_READ_BYTES
    } else {
        limits::RECLAIM_READ_BYTES
    })
}

/// How urgent a commit is, so that so many segments come free, of which this is the first. One that is urgent is worth it at once.
pub(super) fn commit_urgency<R: IndexReader>(first: u32, segments: u32, ground: &Ground<'_, R>) -> Result<Urgency, IndexError> {
    let segment_bytes = u64::from(ground.config.segment_bytes);
    let cheap = u64::from(segments) * segment_bytes >= ground.index.reader().bytes_used()?.saturating_mul(ground.commits.reclaim_parts);
    let most =
        usual_bytes(ground)?.saturating_mul(limits::RECLAIM_HURRY_PER_MILLE) / 1_000 + limits::RECLAIM_HURRY_SEGMENTS * segment_bytes;
    Ok(if ground.pressed || log_bytes(first, ground) > most {
        Urgency::Now
    } else if cheap {
        Urgency::Soon
    } else {
        Urgency::None
    })
}

fn per_mille_of_target<R: IndexReader>(segment: u32, ground: &Ground<'_, R>) -> Result<u64, IndexError> {
    let target = usual_bytes(ground)?;
    Ok(log_bytes(segment, ground).saturating_mul(1_000) / target.max(1))
}

/// Bytes of log while the disk is ample.
fn usual_bytes<R: IndexReader>(ground: &Ground<'_, R>) -> Result<u64, IndexError> {
    let live = ground.index.reader().live_bytes()?;
    Ok(target_bytes(live, &USUAL, ground.config.segment_bytes).max(ground.spare))
}

/// Segments that came free and may wait to be used again, of a log of so many. Where the disk is low the others' files are deleted.
pub(super) fn recycled_max(kept: u32, segment_bytes: u32, pressed: bool) -> usize {
    let (kept, segment_bytes) = (u64::from(kept), u64::from(segment_bytes));
    // A quarter more is written while the index commits. Of a log of a few segments only few can come free together.
    let together = (replay_bytes_max(kept * segment_bytes) / segment_bytes * 5 / 4).min(kept / 5);
    let together = usize::try_from(together).unwrap_or(usize::MAX);
    if pressed {
        limits::RECYCLED_SEGMENTS_MIN
    } else {
        together.clamp(limits::RECYCLED_SEGMENTS_MIN, limits::RECYCLED_SEGMENTS_MAX)
    }
}

/// Of so many parts of a batch copies take one.
pub(super) const fn batch_parts(pressed: bool) -> usize {
    if pressed {
        limits::RECLAIM_PRESSED_BATCH_PARTS
    } else {
        limits::RECLAIM_BATCH_PARTS
    }
}

/// Whether the next batch has room for a record of copies with so many bytes of data. What cannot be divided may be longer than the
/// share of copies, if it goes alone.
pub(super) fn fits_ahead(log: &LogWriter, data_bytes: usize, undivided: bool, pressed: bool) -> bool {
    let room = log.room_ahead(batch_parts(pressed));
    data_bytes <= room || undivided && log.nothing_ahead() && room > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT_BYTES: u32 = 64 << 20;

    #[test]
    fn as_many_segments_wait_as_come_free_together() {
        let waiting = |kept| recycled_max(kept, SEGMENT_BYTES, false);
        assert_eq!([0, 2, 20, 30, 64, 96, 400].map(waiting), [4, 4, 4, 5, 12, 19, 24]);
        assert_eq!(recycled_max(400, SEGMENT_BYTES, true), 4, "a low disk needs their room");
        assert_eq!(recycled_max(10, 1 << 10, false), 4, "segments may be short");
    }

    #[test]
    fn a_long_log_may_be_longer_for_what_lives() {
        let target = |live_mib: u64| target_bytes(live_mib << 20, &USUAL, SEGMENT_BYTES) >> 20;
        assert_eq!(
            [0, 500, 1_000, 1_040, 2_048, 4_096].map(target),
            [128, 750, 1_500, 1_568, 3_584, 7_680]
        );
        assert_eq!(target_bytes(4_000 << 20, &LOW, SEGMENT_BYTES) >> 20, 4_800);
    }
}
