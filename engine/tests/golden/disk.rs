//! A core's log files in memory; what is being written is not there until the script says so.

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_engine::core::event::LogReadFault;
use margate_engine::log::flush::Flush;
use margate_engine::log::limits::BLOCK_BYTES;
use margate_engine::log::scan::{ReadFault, ReadSegments, SyncFault, SyncSegments};
use margate_engine::log::segment::{LogConfig, ReadySegment, SegmentHeader};
use margate_engine::types::Position;

/// A byte of every batch's header.
const HEADER_BYTE: usize = 40;

/// A batch on its way to the disk, or on it.
struct Written {
    sequence: u64,
    at: Position,
    bytes: Vec<u8>,
}

/// The files of one log.
pub(crate) struct Disk {
    config: LogConfig,
    files: BTreeMap<u32, Vec<u8>>,
    salts: BTreeMap<u32, u64>,
    writing: Option<Written>,
    /// Where each batch lies, by sequence.
    batches: BTreeMap<u64, (Position, usize)>,
    next_salt: u64,
}

impl Disk {
    /// No file yet.
    pub(crate) fn new(config: LogConfig) -> Self {
        Self {
            config,
            files: BTreeMap::new(),
            salts: BTreeMap::new(),
            writing: None,
            batches: BTreeMap::new(),
            next_salt: 1,
        }
    }

    /// Makes a file for a segment.
    pub(crate) fn prewrite(&mut self, number: u32) -> ReadySegment {
        let segment = ReadySegment {
            number,
            salt: self.next_salt,
            life: 1,
        };
        self.next_salt += 1;
        let mut file = vec![0; self.config.segment_bytes as usize];
        file[..BLOCK_BYTES].copy_from_slice(&self.config.segment_header(segment).encode());
        self.files.insert(number, file);
        self.salts.insert(number, segment.salt);
        segment
    }

    /// Deletes a segment's file.
    pub(crate) fn delete(&mut self, number: u32) {
        self.files.remove(&number).expect("only what is there is deleted");
    }

    /// Gives a segment's file a new life under another number.
    pub(crate) fn recycle(&mut self, from: u32, to: u32) -> ReadySegment {
        let mut file = self.files.remove(&from).expect("only what is there is recycled");
        let segment = ReadySegment {
            number: to,
            salt: self.next_salt,
            life: SegmentHeader::life_in(&file[..BLOCK_BYTES]) + 1,
        };
        self.next_salt += 1;
        file[..BLOCK_BYTES].copy_from_slice(&self.config.segment_header(segment).encode());
        self.files.insert(to, file);
        self.salts.insert(to, segment.salt);
        segment
    }

    /// The salt of a segment.
    pub(crate) fn salt(&self, number: u32) -> u64 {
        self.salts.get(&number).copied().unwrap_or_default()
    }

    /// Starts a write.
    pub(crate) fn begin(&mut self, flush: &Flush) {
        assert!(self.writing.is_none(), "one flush in flight per core");
        let mut bytes = vec![0; flush.length];
        flush.encode_into(&mut bytes);
        let at = Position {
            segment: flush.segment,
            offset: flush.offset,
        };
        self.writing = Some(Written {
            sequence: flush.sequence,
            at,
            bytes,
        });
    }

    /// The write under way is durable: its sequence.
    pub(crate) fn finish(&mut self) -> Option<u64> {
        let Written { sequence, at, bytes } = self.writing.take()?;
        self.put(at, &bytes);
        self.batches.insert(sequence, (at, bytes.len()));
        Some(sequence)
    }

    /// Whether a write is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The power goes: the write under way leaves its first `kept` blocks.
    pub(crate) fn crash(&mut self, kept: usize) {
        if let Some(Written { at, bytes, .. }) = self.writing.take() {
            let kept = (kept * BLOCK_BYTES).min(bytes.len());
            self.put(at, &bytes[..kept]);
        }
    }

    /// One bit of a batch turns: of its header, or of some text in it.
    pub(crate) fn rot(&mut self, sequence: u64, text: Option<&str>) {
        let (at, length) = self.batches[&sequence];
        let file = self.files.get_mut(&at.segment).expect("batches lie in files");
        let batch = &mut file[at.offset as usize..][..length];
        let place = text.map_or(Some(HEADER_BYTE), |text| {
            batch.windows(text.len()).position(|found| found == text.as_bytes())
        });
        batch[place.expect("the batch holds the text")] ^= 1;
    }

    /// The disk forgets a batch it had promised to keep, and all after it.
    pub(crate) fn forget(&mut self, from: u64) {
        for (_, (at, length)) in self.batches.split_off(&from) {
            self.put(at, &vec![0; length]);
        }
    }

    /// Every file is gone.
    pub(crate) fn wipe(&mut self) {
        self.files.clear();
        self.batches.clear();
    }

    /// Files are deleted.
    pub(crate) fn discard(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| {
            self.files.remove(number);
        });
    }

    /// Durable bytes.
    pub(crate) fn read_at(&self, position: Position, length: usize) -> Result<Bytes, LogReadFault> {
        let from = position.offset as usize;
        let found = self.files.get(&position.segment).and_then(|file| file.get(from..from + length));
        found.map(Bytes::copy_from_slice).ok_or(LogReadFault {
            position,
            length,
            errno: 0,
        })
    }

    fn put(&mut self, at: Position, bytes: &[u8]) {
        let file = self.files.get_mut(&at.segment).expect("writes go to prewritten segments");
        let from = at.offset as usize;
        file[from..from + bytes.len()].copy_from_slice(bytes);
    }
}

impl SyncSegments for Disk {
    fn sync(&mut self) -> Result<(), SyncFault> {
        Ok(())
    }
}

impl ReadSegments for Disk {
    fn segments(&self) -> Vec<u32> {
        self.files.keys().copied().collect()
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        self.files.get(&segment).map_or(0, |file| file.len() as u64)
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        let from = offset as usize;
        let bytes = self.files.get(&segment).and_then(|file| file.get(from..from + buffer.len()));
        buffer.copy_from_slice(bytes.expect("a scan reads inside files"));
        Ok(())
    }
}
