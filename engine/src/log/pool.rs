//! The segment in use and those that wait prewritten behind it.
//!
//! Segments are used in the order of their numbers, without a gap.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::length_u32;
use super::segment::{ReadySegment, first_batch};
use crate::types::Position;

/// A segment batches are being appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenSegment {
    pub(super) salt: u64,
    /// Bytes of its file.
    pub(super) length: u32,
    /// Where the next batch goes.
    pub(super) end: Position,
}

/// The segment in use and the ready ones.
#[derive(Debug)]
pub(super) struct SegmentPool {
    open: Option<OpenSegment>,
    /// Number of the oldest segment that is kept.
    oldest: u32,
    /// Number of the newest segment in use or used up; 0 before the first.
    newest: u32,
    ready: BTreeMap<u32, u64>,
    requested: BTreeSet<u32>,
    ready_min: usize,
    /// Bytes of each ready segment.
    segment_bytes: u32,
    waiting: bool,
    waits: u64,
}

impl SegmentPool {
    pub(super) fn new(open: Option<OpenSegment>, (oldest, newest): (u32, u32), ready_min: usize, segment_bytes: u32) -> Self {
        let ready_min = ready_min.max(1);
        let (ready, requested) = (BTreeMap::new(), BTreeSet::new());
        Self {
            open,
            oldest,
            newest,
            ready,
            requested,
            ready_min,
            segment_bytes,
            waiting: false,
            waits: 0,
        }
    }

    /// Numbers whose prewriting should start now, if so many segments may be in the making.
    pub(super) fn wanted(&mut self, most: usize) -> Vec<u32> {
        let from = self.next_number();
        let to = from.saturating_add(length_u32(self.ready_min));
        let allowed = most.saturating_sub(self.requested.len());
        let missing = (from..to).filter(|number| !self.ready.contains_key(number) && self.requested.insert(*number));
        missing.take(allowed).collect()
    }

    /// Whether fewer are ready than should be.
    pub(super) fn lacks(&self) -> bool {
        self.ready.len() < self.ready_min
    }

    /// A segment that was in the making is not to be had now.
    pub(super) fn refused(&mut self, number: u32) {
        self.requested.remove(&number);
    }

    /// A ready segment and the number it should get, where the next one is missing and nobody makes it.
    pub(super) fn close_gap(&mut self) -> Option<(u32, u32)> {
        let next = self.next_number();
        if self.ready.contains_key(&next) || self.requested.contains(&next) {
            return None;
        }
        let (from, _) = self.ready.pop_last()?;
        self.requested.insert(next);
        Some((from, next))
    }

    /// Bytes of batches that fit into what is left of the segment in use and the ready ones behind it.
    pub(super) fn room(&self) -> u64 {
        let left = self.open.map_or(0, |open| open.length.saturating_sub(open.end.offset));
        let next = self.next_number();
        let ready = self.ready.keys().zip(next..).take_while(|(ready, next)| *ready == next).count() as u64;
        u64::from(left) + ready * u64::from(self.segment_bytes.saturating_sub(first_batch(next).offset))
    }

    pub(super) fn add(&mut self, segment: ReadySegment) {
        assert!(
            segment.number > self.newest,
            "segment {} is ready, but {} is in use",
            segment.number,
            self.newest
        );
        self.requested.remove(&segment.number);
        self.ready.insert(segment.number, segment.salt);
        self.waiting = self.waiting && !self.ready.contains_key(&self.next_number());
    }

    /// Number of the oldest segment that is kept.
    pub(super) fn oldest(&self) -> u32 {
        self.oldest
    }

    /// Forgets the oldest segment; says under which number its file may be used again, unless so many beyond the minimum are ready.
    pub(super) fn release_oldest(&mut self, recycled_max: usize) -> Option<u32> {
        assert!(self.oldest < self.newest, "segment {} is still being written", self.oldest);
        self.oldest += 1;
        let next = self.next_number();
        let enough = next.saturating_add(length_u32(self.ready_min + recycled_max));
        let number = (next..enough).find(|number| !self.ready.contains_key(number) && !self.requested.contains(number))?;
        self.requested.insert(number);
        Some(number)
    }

    /// Segments that are prewritten and empty.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// A place for so many bytes: where, and the segment's salt. `None` while the next segment is not ready.
    pub(super) fn place(&mut self, bytes: usize) -> Option<(Position, u64)> {
        let bytes = length_u32(bytes);
        if !self.fits(bytes) && !self.open_next() {
            self.waits += u64::from(!self.waiting);
            self.waiting = true;
            return None;
        }
        assert!(
            self.fits(bytes),
            "a batch of {bytes} bytes fits no segment of {}",
            self.segment_bytes
        );
        let open = self.open.as_mut()?;
        let at = open.end;
        open.end.offset += bytes;
        Some((at, open.salt))
    }

    /// Whether a flush waits for a segment.
    pub(super) fn waiting(&self) -> bool {
        self.waiting
    }

    /// How often a flush had to wait.
    pub(super) fn waits(&self) -> u64 {
        self.waits
    }

    fn fits(&self, bytes: u32) -> bool {
        self.open
            .is_some_and(|open| open.end.offset.checked_add(bytes).is_some_and(|end| end <= open.length))
    }

    /// Moves on to the next segment, leaving what is left of the present one zero.
    fn open_next(&mut self) -> bool {
        let number = self.next_number();
        let Some(salt) = self.ready.remove(&number) else { return false };
        self.newest = number;
        self.open = Some(OpenSegment {
            salt,
            length: self.segment_bytes,
            end: first_batch(number),
        });
        true
    }

    fn next_number(&self) -> u32 {
        self.newest.checked_add(1).expect("2^32 segments outlive any disk")
    }
}
