//! One core's log files in memory, as a disk keeps them: what is being written is not there until it is, and a
//! crash leaves any part of it, sector by sector. Where it leaves all of it, that is in the disk's cache only, if the process alone
//! died: the next crash takes it back unless it was synced.
//!
//! Not here, on purpose: how long things take (`world`), the index's store (`index::memory`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::dice::Dice;
use crate::core::event::LogReadFault;
use crate::log::flush::Flush;
use crate::log::limits::BLOCK_BYTES;
use crate::log::scan::{ReadFault, ReadSegments, SyncFault, SyncSegments};
use crate::log::segment::{LogConfig, ReadySegment, SegmentHeader};
use crate::types::Position;

/// Bytes a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// What a crash left of something that was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing.
    Lost,
    /// Some sectors.
    Torn,
    /// All of it.
    Whole,
}

/// A batch that has just become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Where it lies.
    pub(crate) position: Position,
    /// Its bytes, padding included.
    pub(crate) length: usize,
}

/// A core's log files.
pub(crate) struct Disk {
    config: LogConfig,
    segments: BTreeMap<u32, Vec<u8>>,
    writing: Option<(Position, Vec<u8>)>,
    deleting: Option<u32>,
    recycling: VecDeque<(u32, ReadySegment)>,
    preparing: BTreeMap<u32, ReadySegment>,
    /// A batch that can be read and is not durable: what stood there before.
    cached: Option<(Position, Vec<u8>)>,
}

impl Disk {
    /// An empty folder.
    pub(crate) fn new(config: LogConfig) -> Self {
        Self {
            config,
            segments: BTreeMap::new(),
            writing: None,
            deleting: None,
            recycling: VecDeque::new(),
            preparing: BTreeMap::new(),
            cached: None,
        }
    }

    /// Starts a write.
    pub(crate) fn begin_write(&mut self, flush: &Flush) {
        assert!(self.writing.is_none(), "one flush in flight per core");
        let mut bytes = vec![0; flush.length];
        flush.encode_into(&mut bytes);
        let position = Position {
            segment: flush.segment,
            offset: flush.offset,
        };
        self.writing = Some((position, bytes));
    }

    /// The write is done.
    pub(crate) fn finish_write(&mut self) -> Option<Written> {
        let (position, bytes) = self.writing.take()?;
        self.put(position, &bytes, |_| true);
        Some(Written {
            position,
            length: bytes.len(),
        })
    }

    /// Starts to prewrite a segment.
    pub(crate) fn begin_segment(&mut self, segment: ReadySegment) {
        self.preparing.insert(segment.number, segment);
    }

    /// A segment is prewritten.
    pub(crate) fn finish_segment(&mut self, number: u32) -> Option<ReadySegment> {
        let segment = self.preparing.remove(&number)?;
        let mut file = vec![0; self.config.segment_bytes as usize];
        file[..BLOCK_BYTES].copy_from_slice(&self.config.segment_header(segment).encode());
        let before = self.segments.insert(number, file);
        assert!(
            before.is_none_or(|file| SegmentHeader::parse(&file[..BLOCK_BYTES]).is_err()),
            "segment {number} is prewritten over one in use"
        );
        Some(segment)
    }

    /// There is no space for a segment, and nothing is left of it.
    pub(crate) fn refuse_segment(&mut self, number: u32) {
        self.preparing.remove(&number);
    }

    /// Starts to give a segment a new life.
    pub(crate) fn begin_recycle(&mut self, from: u32, segment: ReadySegment) {
        self.recycling.push_back((from, segment));
        assert!(
            self.recycling.len() <= 2,
            "one segment is released at a time, and one may get another number"
        );
    }

    /// The segment has its new life.
    pub(crate) fn finish_recycle(&mut self) -> Option<(u32, ReadySegment)> {
        let (from, segment) = self.recycling.pop_front()?;
        let mut file = self.segments.remove(&from).expect("only what is there is recycled");
        file[..BLOCK_BYTES].copy_from_slice(&self.config.segment_header(segment).encode());
        assert!(
            self.segments.insert(segment.number, file).is_none(),
            "segment {} is in use",
            segment.number
        );
        Some((from, segment))
    }

    /// Which life a segment's header names.
    pub(crate) fn life(&self, number: u32) -> u32 {
        let file = self.segments.get(&number);
        file.and_then(|file| file.get(..BLOCK_BYTES)).map_or(1, SegmentHeader::life_in)
    }

    /// Starts to delete a segment.
    pub(crate) fn begin_delete(&mut self, number: u32) {
        self.deleting = Some(number);
    }

    /// The segment is gone.
    pub(crate) fn finish_delete(&mut self) -> Option<u32> {
        let number = self.deleting.take()?;
        self.segments.remove(&number);
        Some(number)
    }

    /// Reads durable bytes.
    pub(crate) fn read_at(&self, position: Position, length: usize) -> Result<Bytes, LogReadFault> {
        let from = position.offset as usize;
        let found = self
            .segments
            .get(&position.segment)
            .and_then(|file| file.get(from..from.checked_add(length)?));
        found.map(Bytes::copy_from_slice).ok_or(LogReadFault {
            position,
            length,
            errno: 0,
        })
    }

    /// Deletes files.
    pub(crate) fn discard(&mut self, numbers: &[u32]) {
        for number in numbers {
            self.segments.remove(number);
        }
    }

    /// Durable bytes change. Whether any did.
    pub(crate) fn change(&mut self, at: Position, bytes: usize, change: impl FnMut(&mut u8)) -> bool {
        let file = self.segments.get_mut(&at.segment).expect("only what is there changes");
        let place = &mut file[at.offset as usize..][..bytes];
        let before = place.to_vec();
        place.iter_mut().for_each(change);
        place != before
    }

    /// Rot: one bit of a durable byte flips.
    #[cfg(test)]
    pub(crate) fn rot(&mut self, at: Position) {
        self.change(at, 1, |byte| *byte ^= 1);
    }

    /// A segment's file loses what is behind a position.
    #[cfg(test)]
    pub(crate) fn cut(&mut self, at: Position) {
        let file = self.segments.get_mut(&at.segment).expect("only what is there is cut");
        file.truncate(at.offset as usize);
    }

    /// The power goes: what was being written is left as the dice fall. Says what became of the batch in flight.
    pub(crate) fn crash(&mut self, dice: &mut Dice) -> Option<Remains> {
        for segment in std::mem::take(&mut self.preparing).into_values() {
            self.leave_segment(segment, dice);
        }
        if let Some(number) = self.deleting.take().filter(|_| dice.chance(500)) {
            self.segments.remove(&number);
        }
        // They are done one after the other: those behind the first have not begun.
        if let Some((from, segment)) = std::mem::take(&mut self.recycling).pop_front() {
            self.leave_recycled(from, segment, dice);
        }
        self.lose_cached();
        let (position, bytes) = self.writing.take()?;
        let remains = *dice.pick(&[Remains::Lost, Remains::Torn, Remains::Torn, Remains::Whole]);
        match remains {
            Remains::Lost => {}
            Remains::Torn => {
                let keep = *dice.pick(&[100, 500, 900]);
                self.put(position, &bytes, |_| dice.chance(keep));
            }
            Remains::Whole => self.cache(position, &bytes),
        }
        Some(remains)
    }

    /// The process dies, the machine goes on: what was being written reaches the disk's cache.
    #[cfg(test)]
    pub(crate) fn kill(&mut self) {
        let (position, bytes) = self.writing.take().expect("something is being written");
        self.cache(position, &bytes);
    }

    /// The power goes, and with it what is in the cache only.
    pub(crate) fn lose_cached(&mut self) {
        if let Some((position, before)) = self.cached.take() {
            self.put(position, &before, |_| true);
        }
    }

    fn cache(&mut self, position: Position, bytes: &[u8]) {
        let before = self.read_at(position, bytes.len());
        let before = before.expect("batches are written to prewritten segments");
        self.cached = Some((position, before.to_vec()));
        self.put(position, bytes, |_| true);
    }

    /// A segment that was being prewritten: no file, a short one, one without its header, a torn header, or all.
    fn leave_segment(&mut self, segment: ReadySegment, dice: &mut Dice) {
        let whole = self.config.segment_bytes as usize;
        let length = match dice.between(0, 4) {
            0 => return,
            1 => dice.index(whole),
            _ => whole,
        };
        let mut file = vec![0; length];
        if length == whole {
            self.leave_header(&mut file, segment, dice);
        }
        self.segments.insert(segment.number, file);
    }

    /// A segment that was being recycled: as it was, renamed with some of its new header, or done.
    fn leave_recycled(&mut self, from: u32, segment: ReadySegment, dice: &mut Dice) {
        if dice.chance(300) {
            return;
        }
        let mut file = self.segments.remove(&from).expect("only what is there is recycled");
        self.leave_header(&mut file, segment, dice);
        self.segments.insert(segment.number, file);
    }

    /// None, some or all sectors of a header that was being written.
    fn leave_header(&self, file: &mut [u8], segment: ReadySegment, dice: &mut Dice) {
        let keep = *dice.pick(&[0, 500, 1_000]);
        let header = self.config.segment_header(segment).encode();
        put_sectors(file, &header, |_| dice.chance(keep));
    }

    fn put(&mut self, position: Position, bytes: &[u8], kept: impl FnMut(usize) -> bool) {
        let file = self
            .segments
            .get_mut(&position.segment)
            .expect("batches are written to prewritten segments");
        put_sectors(&mut file[position.offset as usize..][..bytes.len()], bytes, kept);
    }
}

fn put_sectors(place: &mut [u8], bytes: &[u8], mut kept: impl FnMut(usize) -> bool) {
    let sectors = place.chunks_mut(SECTOR_BYTES).zip(bytes.chunks(SECTOR_BYTES));
    for (at, (place, sector)) in sectors.enumerate() {
        if kept(at) {
            place.copy_from_slice(sector);
        }
    }
}

impl SyncSegments for Disk {
    fn sync(&mut self) -> Result<(), SyncFault> {
        self.cached = None;
        Ok(())
    }
}

impl ReadSegments for Disk {
    fn segments(&self) -> Vec<u32> {
        self.segments.keys().copied().collect()
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        self.segments.get(&segment).map_or(0, |file| file.len() as u64)
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        let wanted = buffer.len();
        let position = Position { segment, offset };
        let bytes = self.read_at(position, wanted).map_err(|_| ReadFault::Short {
            segment,
            offset,
            wanted,
            got: 0,
        })?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}
