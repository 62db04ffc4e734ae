//! The entries that were applied last where this core leads, as they came: their values are at hand though none was copied.
//!
//! Most values are overwritten or forgotten before anyone reads them. So a write costs a place in a small map per entry, and only who reads a
//! value pays for the copy that outlives its entry (`values`).
//!
//! Invariant: `bytes` is the sum of what is held, with what it takes to hold it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::limits::RECENT_ENTRIES_BYTES;
use crate::log::limits::ENTRY_DATA_BYTES_TARGET;
use crate::types::Position;

/// What an entry takes beside its data: its place in the map, and what counts who holds it.
const OVERHEAD_BYTES: usize = 128;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// By where their data begin in this log, so the oldest is the first.
    entries: BTreeMap<Position, Bytes>,
    bytes: usize,
}

impl Recent {
    /// Adds an entry's data, which stand there in the log. One that holds a single large value is not worth its room.
    pub(super) fn add(&mut self, place: Position, data: &Bytes) {
        if data.len() > ENTRY_DATA_BYTES_TARGET {
            return;
        }
        self.bytes += data.len() + OVERHEAD_BYTES;
        if let Some(before) = self.entries.insert(place, data.clone()) {
            self.bytes -= before.len() + OVERHEAD_BYTES;
        }
        while self.bytes > RECENT_ENTRIES_BYTES
            && let Some((_, oldest)) = self.entries.pop_first()
        {
            self.bytes -= oldest.len() + OVERHEAD_BYTES;
        }
    }

    /// What stands in the log from there on, up to the end of its entry.
    pub(super) fn from(&self, position: Position) -> Option<Bytes> {
        let (place, data) = self.entries.range(..=position).next_back()?;
        let offset = position
            .offset
            .checked_sub(place.offset)
            .filter(|_| place.segment == position.segment)?;
        let offset = usize::try_from(offset).ok().filter(|offset| *offset < data.len())?;
        Some(data.slice(offset..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, offset: u32) -> Position {
        Position { segment, offset }
    }

    #[test]
    fn a_place_is_found_inside_its_entry_alone() {
        let mut recent = Recent::default();
        recent.add(at(1, 100), &Bytes::from_static(b"abcd"));
        recent.add(at(2, 50), &Bytes::from_static(b"xy"));
        assert_eq!(recent.from(at(1, 100)), Some(Bytes::from_static(b"abcd")));
        assert_eq!(recent.from(at(1, 103)), Some(Bytes::from_static(b"d")));
        for outside in [at(1, 99), at(1, 104), at(2, 49), at(2, 52), at(3, 50)] {
            assert_eq!(recent.from(outside), None, "{outside}");
        }
    }

    #[test]
    fn the_oldest_leave_and_what_is_held_is_bounded() {
        let mut recent = Recent::default();
        let data = Bytes::from(vec![7; ENTRY_DATA_BYTES_TARGET]);
        let fit = RECENT_ENTRIES_BYTES / (data.len() + OVERHEAD_BYTES);
        for segment in 0..2 * u32::try_from(fit).expect("a few") {
            recent.add(at(segment, 0), &data);
            recent.add(at(segment, 0), &data);
            let held: usize = recent.entries.values().map(|data| data.len() + OVERHEAD_BYTES).sum();
            assert!(held == recent.bytes && held <= RECENT_ENTRIES_BYTES, "{held}");
        }
        assert_eq!(recent.entries.len(), fit);
        assert_eq!(recent.from(at(0, 0)), None);
        recent.add(at(u32::MAX, 0), &Bytes::from(vec![7; data.len() + 1]));
        assert_eq!(recent.from(at(u32::MAX, 0)), None);
    }
}
