//! The segments as they lie: which are sound, and where in them batches begin.

use std::collections::BTreeMap;

use super::window::Window;
use super::{ReadSegments, ScanError};
use crate::log::batch::BatchHeader;
use crate::log::limits::BLOCK_BYTES;
use crate::log::segment::{FORMAT, HeaderFault, LogConfig, ReadySegment, SegmentHeader, first_batch, further};
use crate::types::Position;

static ZERO_BLOCK: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// All segments of a log, and a window onto one of them.
pub(super) struct Terrain<'r> {
    reader: &'r mut dyn ReadSegments,
    window: Window,
    segments: BTreeMap<u32, Ground>,
}

/// One segment.
#[derive(Clone, Copy, Debug)]
struct Ground {
    /// What its batches carry; unknown while its header is lost and no batch was met.
    salt: Option<u64>,
    /// Bytes that may be read: whole blocks of the file.
    length: u32,
    /// Which life of its file this is.
    life: u32,
    /// Its header is sound and the file as long as it says.
    whole: bool,
    /// Its header is sound and the file shorter than it says.
    short: bool,
}

/// What a gap between two batches is judged by, beside the batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroundBetween {
    /// A segment before the second batch's that does not exist.
    pub(super) missing_segment: Option<u32>,
    /// The second batch's segment lost its header, and this is the first batch met in it.
    pub(super) header_lost: bool,
}

/// What lies at or after some position.
pub(super) enum Found {
    /// The next batch. Its bytes were checked.
    Batch(BatchHeader),
    /// None; the blocks there that are not zero have so many bytes.
    End {
        /// Not counting segments that were never fully prewritten.
        stray_bytes: u64,
    },
}

impl<'r> Terrain<'r> {
    /// Reads every segment's header.
    pub(super) fn explore(reader: &'r mut dyn ReadSegments, identity: &LogConfig) -> Result<Self, ScanError> {
        let numbers = reader.segments();
        let mut terrain = Self {
            reader,
            window: Window::new(),
            segments: BTreeMap::new(),
        };
        for number in numbers {
            let ground = terrain.survey(number, identity)?;
            terrain.segments.insert(number, ground);
        }
        Ok(terrain)
    }

    /// The oldest segment there is; 1 for none.
    pub(super) fn oldest(&self) -> u32 {
        self.segments.keys().next().copied().unwrap_or(1)
    }

    /// The batch at a position some earlier run remembered, if it is sound.
    pub(super) fn start(&mut self, at: Position) -> Result<Option<BatchHeader>, ScanError> {
        let segment = at.segment;
        let ground = *self.segments.get(&segment).ok_or(ScanError::MissingSegment { segment })?;
        let in_place = (at.offset as usize).is_multiple_of(BLOCK_BYTES) && at >= first_batch(segment) && at.offset < ground.length;
        if in_place { self.probe(at, ground, 0) } else { Ok(None) }
    }

    /// The first sound batch at or after a position with a sequence above some number.
    pub(super) fn find(&mut self, from: Position, above: u64) -> Result<Found, ScanError> {
        let mut stray_bytes = 0;
        let mut segment = Some(from.segment);
        while let Some((number, ground)) = segment.and_then(|segment| self.segment_from(segment)) {
            let mut next = Some(if number == from.segment { from } else { first_batch(number) });
            while let Some(at) = next.filter(|at| at.offset < ground.length) {
                if let Some(header) = self.probe(at, ground, above)? {
                    return Ok(Found::Batch(header));
                }
                stray_bytes += self.stray_bytes(at, ground)?;
                next = further(at, BLOCK_BYTES);
            }
            segment = number.checked_add(1);
        }
        Ok(Found::End { stray_bytes })
    }

    /// Where a segment's file ends too early, if the log, which ends at a position with the batch of some number, may have gone on
    /// behind that: it reaches up to there, or its next batch does.
    pub(super) fn cut_after(&mut self, end: Position, above: u64) -> Result<Option<Position>, ScanError> {
        let mut segment = Some(end.segment);
        while let Some((number, ground)) = segment.and_then(|segment| self.segment_from(segment)) {
            let at = if number == end.segment { end } else { first_batch(number) };
            if ground.short && self.is_cut(at, ground, above)? {
                return Ok(Some(Position {
                    segment: number,
                    offset: ground.length,
                }));
            }
            segment = number.checked_add(1);
        }
        Ok(None)
    }

    fn is_cut(&mut self, at: Position, ground: Ground, above: u64) -> Result<bool, ScanError> {
        if at.offset >= ground.length {
            return Ok(true);
        }
        let block = self.window.span(self.reader, at, BLOCK_BYTES, ground.length)?;
        let next = BatchHeader::parse(block, at, ground.salt);
        Ok(next.is_ok_and(|next| next.sequence > above && next.end().offset > ground.length))
    }

    /// The bytes of a batch that was found.
    pub(super) fn batch_bytes(&mut self, header: &BatchHeader) -> Result<&[u8], ScanError> {
        let end = self.segments.get(&header.position.segment).map_or(0, |ground| ground.length);
        Ok(self.window.span(self.reader, header.position, header.padded(), end)?)
    }

    /// What to know about the ground between the last batch's segment and the next one's.
    pub(super) fn ground_between(&self, first: u32, last: u32) -> GroundBetween {
        GroundBetween {
            missing_segment: (first..last).find(|number| !self.segments.contains_key(number)),
            header_lost: self.segments.get(&last).is_some_and(|ground| ground.salt.is_none()),
        }
    }

    /// A batch was accepted: its salt is its segment's.
    pub(super) fn trust_salt(&mut self, header: &BatchHeader) {
        if let Some(ground) = self.segments.get_mut(&header.position.segment) {
            ground.salt = Some(header.salt);
        }
    }

    /// A segment's salt and length if batches may be appended to it.
    pub(super) fn appendable(&self, segment: u32) -> Option<(u64, u32)> {
        let ground = self.segments.get(&segment).filter(|ground| ground.whole)?;
        Some((ground.salt?, ground.length))
    }

    /// The segments after the last batch's: those ready for use, and those that are not.
    pub(super) fn after(&self, newest: u32, segment_bytes: u32) -> (Vec<ReadySegment>, Vec<u32>) {
        let (mut ready, mut discard) = (Vec::new(), Vec::new());
        for (number, ground) in self.segments.iter().filter(|(number, _)| **number > newest) {
            match ground.salt {
                Some(salt) if ground.whole && ground.length == segment_bytes => ready.push(ReadySegment {
                    number: *number,
                    salt,
                    life: ground.life,
                }),
                Some(_) | None => discard.push(*number),
            }
        }
        (ready, discard)
    }

    /// The first segment of this number or above.
    fn segment_from(&self, number: u32) -> Option<(u32, Ground)> {
        self.segments.range(number..).next().map(|(number, ground)| (*number, *ground))
    }

    fn survey(&mut self, number: u32, identity: &LogConfig) -> Result<Ground, ScanError> {
        let file_bytes = self.reader.segment_bytes(number);
        let blocks = u32::try_from(file_bytes).unwrap_or(u32::MAX) as usize / BLOCK_BYTES * BLOCK_BYTES;
        let length = u32::try_from(blocks).unwrap_or(u32::MAX);
        let lost = Ground {
            salt: None,
            length,
            life: 1,
            whole: false,
            short: false,
        };
        if blocks < BLOCK_BYTES {
            return Ok(lost);
        }
        let block = self.window.span(
            self.reader,
            Position {
                segment: number,
                offset: 0,
            },
            BLOCK_BYTES,
            first_batch(number).offset,
        )?;
        match SegmentHeader::parse(block) {
            Ok(header) if header.number == number => {
                header.check_owner(identity)?;
                Ok(Ground {
                    salt: Some(header.salt),
                    length,
                    life: header.life,
                    whole: u64::from(header.length) == file_bytes,
                    short: u64::from(header.length) > file_bytes,
                })
            }
            Ok(_) | Err(HeaderFault::Unreadable) => Ok(lost),
            Err(HeaderFault::NewerFormat { found }) => Err(ScanError::NewerFormat {
                segment: number,
                found,
                supported: FORMAT,
            }),
        }
    }

    /// The batch that begins at a block, if it is sound and its sequence above some number.
    fn probe(&mut self, at: Position, ground: Ground, above: u64) -> Result<Option<BatchHeader>, ScanError> {
        let block = self.window.span(self.reader, at, BLOCK_BYTES, ground.length)?;
        let Ok(header) = BatchHeader::parse(block, at, ground.salt) else {
            return Ok(None);
        };
        if header.sequence <= above || header.end().offset > ground.length {
            return Ok(None);
        }
        let bytes = self.window.span(self.reader, at, header.padded(), ground.length)?;
        Ok(header.check(bytes).is_ok().then_some(header))
    }

    /// A block's bytes if something was written to it in this life of its segment; only prewritten segments tell by every block,
    /// recycled ones by the start of a batch.
    fn stray_bytes(&mut self, at: Position, ground: Ground) -> Result<u64, ScanError> {
        let block = self.window.span(self.reader, at, BLOCK_BYTES, ground.length)?;
        let written = match ground.life {
            1 => *block != ZERO_BLOCK[..],
            _ => BatchHeader::parse(block, at, ground.salt).is_ok(),
        };
        let stray = ground.salt.is_some() && written;
        Ok(if stray { BLOCK_BYTES as u64 } else { 0 })
    }
}
