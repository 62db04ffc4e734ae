//! A bounded view of a segment: the blocks around the place being read, in one aligned buffer.

use super::{ReadFault, ReadSegments};
use crate::log::bytes::length_u32;
use crate::log::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, READ_BYTES_MAX};
use crate::types::Position;

/// Blocks read ahead; at most one batch of them.
pub(super) struct Window {
    buffer: Vec<u8>,
    /// The buffer's first byte on a block boundary of memory.
    aligned: usize,
    /// What the window shows.
    at: Position,
    filled: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        let mut window = Self {
            buffer: Vec::new(),
            aligned: 0,
            at: Position::default(),
            filled: 0,
        };
        window.grow(READ_BYTES_MAX);
        window
    }

    /// So many bytes at a position, read if they are not at hand. The caller knows that they lie before `end`,
    /// up to which the segment may be read.
    pub(super) fn span(&mut self, reader: &mut dyn ReadSegments, at: Position, bytes: usize, end: u32) -> Result<&[u8], ReadFault> {
        let from = match self.holds(at, bytes) {
            Some(from) => from,
            None => {
                let left = end.saturating_sub(at.offset) as usize;
                self.fill(reader, at, bytes.max(READ_BYTES_MAX).min(left))?;
                0
            }
        };
        let start = self.aligned + from;
        Ok(self.buffer.get(start..start + bytes).unwrap_or_default())
    }

    /// Where in the window some bytes begin, if all of them are in it.
    fn holds(&self, at: Position, bytes: usize) -> Option<usize> {
        let from = at.offset.checked_sub(self.at.offset)? as usize;
        (at.segment == self.at.segment && from + bytes <= self.filled).then_some(from)
    }

    fn fill(&mut self, reader: &mut dyn ReadSegments, at: Position, bytes: usize) -> Result<(), ReadFault> {
        assert!(
            bytes <= BATCH_BYTES_MAX && bytes.is_multiple_of(BLOCK_BYTES),
            "a read of {bytes} bytes"
        );
        self.filled = 0;
        self.grow(bytes);
        self.at = at;
        let mut offset = at.offset;
        for piece in self.buffer[self.aligned..self.aligned + bytes].chunks_mut(READ_BYTES_MAX) {
            reader.read(at.segment, offset, piece)?;
            offset += length_u32(piece.len());
        }
        self.filled = bytes;
        Ok(())
    }

    fn grow(&mut self, bytes: usize) {
        if self.aligned + bytes > self.buffer.len() {
            self.buffer = vec![0; bytes + BLOCK_BYTES];
            let past = self.buffer.as_ptr().addr() % BLOCK_BYTES;
            self.aligned = (BLOCK_BYTES - past) % BLOCK_BYTES;
        }
    }
}
