//! A disk in memory, and a log on it whose every batch is remembered.

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_net::ids::{ClusterId, CoreId, DirectoryId, LogIndex, NodeId, ReplicaId, ShardId, Space, Term};
use margate_net::message::EntryKind;

use crate::log::batch::Held;
use crate::log::flush::Flush;
use crate::log::limits::BLOCK_BYTES;
use crate::log::record::{Record, RecordBody};
use crate::log::scan::{ReadFault, ReadSegments, ScanEnd, ScanError, scan};
use crate::log::segment::{LogConfig, ReadySegment};
use crate::log::writer::{FlushStep, LogWriter, Resume};
use crate::types::{HardState, Nanos, Position, ReplicaName};

/// Segments in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryDisk {
    pub(super) segments: BTreeMap<u32, Vec<u8>>,
}

/// A batch as it was written or read, in a form that compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) position: Position,
    pub(super) sequence: u64,
    pub(super) seal: bool,
    pub(super) commits: Vec<(ReplicaName, LogIndex)>,
    pub(super) predecessors: Vec<Held>,
    pub(super) records: Vec<(ReplicaName, Position, SeenBody)>,
}

/// A record's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SeenBody {
    Entry(Term, LogIndex, Vec<u8>),
    HardState(HardState),
    Other(u8),
}

/// A log being written.
pub(super) struct World {
    pub(super) config: LogConfig,
    pub(super) writer: LogWriter,
    pub(super) disk: MemoryDisk,
    pub(super) now: Nanos,
    /// Every batch written, with its bytes.
    pub(super) written: Vec<(Flush, Vec<u8>)>,
    salts: u64,
}

impl ReadSegments for MemoryDisk {
    fn segments(&self) -> Vec<u32> {
        self.segments.keys().rev().copied().collect()
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        self.segments.get(&segment).map_or(0, |bytes| bytes.len() as u64)
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        assert_eq!(buffer.as_ptr().addr() % BLOCK_BYTES, 0, "direct reads need an aligned buffer");
        assert!((offset as usize).is_multiple_of(BLOCK_BYTES) && buffer.len().is_multiple_of(BLOCK_BYTES));
        let from = offset as usize;
        let bytes = self.segments.get(&segment).and_then(|bytes| bytes.get(from..from + buffer.len()));
        buffer.copy_from_slice(bytes.expect("a scan reads inside segments"));
        Ok(())
    }
}

impl MemoryDisk {
    pub(super) fn prewrite(&mut self, config: &LogConfig, segment: ReadySegment) {
        let mut bytes = vec![0; config.segment_bytes as usize];
        bytes[..BLOCK_BYTES].copy_from_slice(&config.segment_header(segment).encode());
        self.segments.insert(segment.number, bytes);
    }

    pub(super) fn write(&mut self, at: Position, bytes: &[u8]) {
        let from = at.offset as usize;
        let segment = self.segments.get_mut(&at.segment).expect("writes go to prewritten segments");
        segment[from..from + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn byte(&mut self, segment: u32, offset: usize) -> &mut u8 {
        &mut self.segments.get_mut(&segment).expect("the segment exists")[offset]
    }
}

impl World {
    pub(super) fn new(segment_bytes: u32) -> Self {
        Self::on(MemoryDisk::default(), config(segment_bytes), Resume::fresh())
    }

    pub(super) fn on(disk: MemoryDisk, config: LogConfig, resume: Resume) -> Self {
        let writer = LogWriter::new(config, resume);
        let salts = disk.segments.len() as u64 * 1_000;
        Self {
            config,
            writer,
            disk,
            now: Nanos::from_millis(1),
            written: Vec::new(),
            salts,
        }
    }

    /// A log that goes on where a scan of a disk ended.
    pub(super) fn reopen(mut disk: MemoryDisk, config: LogConfig) -> Self {
        let (end, _) = scan_all(&mut disk, &config).expect("the log opens");
        assert_eq!(end.damage, []);
        for number in &end.discard {
            disk.segments.remove(number);
        }
        let mut world = Self::on(disk, config, end.resume);
        end.ready.iter().for_each(|segment| world.writer.segment_ready(*segment));
        world
    }

    /// Prewrites every segment the writer wants.
    pub(super) fn prewrite(&mut self) {
        for number in self.writer.segments_wanted(usize::MAX) {
            self.salts += 1;
            let segment = ReadySegment {
                number,
                salt: 0x5a17_0000 + self.salts,
                life: 1,
            };
            self.disk.prewrite(&self.config, segment);
            self.writer.segment_ready(segment);
        }
    }

    /// What the writer wants written now, not yet on the disk.
    pub(super) fn begin_flush(&mut self) -> Option<(Flush, Vec<u8>)> {
        self.prewrite();
        match self.writer.flush(self.now, Nanos(1_700_000_000_000_000_000)) {
            FlushStep::Nothing => None,
            FlushStep::WaitForSegment => panic!("segments are always ready here"),
            FlushStep::Write(flush) => {
                let mut bytes = vec![0xee; flush.length];
                flush.encode_into(&mut bytes);
                Some((flush, bytes))
            }
        }
    }

    pub(super) fn end_flush(&mut self, flush: Flush, bytes: Vec<u8>) {
        self.disk.write(
            Position {
                segment: flush.segment,
                offset: flush.offset,
            },
            &bytes,
        );
        self.writer.flushed(flush.sequence, self.now);
        self.written.push((flush, bytes));
    }

    /// Writes one batch, which must be wanted.
    pub(super) fn flush(&mut self) {
        let (flush, bytes) = self.begin_flush().expect("something is queued");
        self.end_flush(flush, bytes);
    }

    /// Writes one batch of these records.
    pub(super) fn batch(&mut self, records: Vec<Record>) {
        records.into_iter().for_each(|record| self.writer.push(record));
        self.flush();
    }

    /// Lets the seal's time come and writes it.
    pub(super) fn seal(&mut self) {
        self.now = self.now.max(self.writer.deadline().expect("a seal is due"));
        self.flush();
    }

    /// What a scan should show of the batches written.
    pub(super) fn seen(&mut self) -> Vec<Seen> {
        scan_all(&mut self.disk, &self.config).expect("the log opens").1
    }
}

pub(super) fn config(segment_bytes: u32) -> LogConfig {
    LogConfig {
        cluster: ClusterId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        directory: DirectoryId(0xfeed),
        node: NodeId(3),
        core: CoreId(1),
        segment_bytes,
        ready_min: 2,
    }
}

/// A whole scan, every batch kept.
pub(super) fn scan_all(disk: &mut MemoryDisk, config: &LogConfig) -> Result<(ScanEnd, Vec<Seen>), ScanError> {
    scan_from(disk, config, None)
}

pub(super) fn scan_from(disk: &mut MemoryDisk, config: &LogConfig, from: Option<Position>) -> Result<(ScanEnd, Vec<Seen>), ScanError> {
    let mut seen = Vec::new();
    let end = scan(disk, config, from, &mut |batch| {
        seen.push(Seen {
            position: batch.position,
            sequence: batch.sequence,
            seal: batch.seal,
            commits: batch.commits().collect(),
            predecessors: batch.predecessors().collect(),
            records: batch
                .records()
                .map(|record| (record.name, record.position, body(record.body)))
                .collect(),
        });
    })?;
    Ok((end, seen))
}

fn body(body: RecordBody<'_>) -> SeenBody {
    match body {
        RecordBody::Entry { term, index, data, .. } => SeenBody::Entry(term, index, data.to_vec()),
        RecordBody::HardState(state) => SeenBody::HardState(state),
        RecordBody::Checkpoint { .. } | RecordBody::Relocation { .. } | RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => {
            SeenBody::Other(body.kind())
        }
    }
}

/// The data of every entry a scan shows, with their places.
pub(super) fn entries(disk: &mut MemoryDisk, config: &LogConfig) -> Vec<(ReplicaName, Term, LogIndex, Vec<u8>, Position)> {
    let mut entries = Vec::new();
    scan(disk, config, None, &mut |batch| {
        for record in batch.records() {
            if let RecordBody::Entry {
                term,
                index,
                data,
                data_position,
                ..
            } = record.body
            {
                entries.push((record.name, term, index, data.to_vec(), data_position));
            }
        }
    })
    .expect("the log opens");
    entries
}

pub(super) fn name(shard: u64, replica: u64) -> ReplicaName {
    ReplicaName {
        shard: ShardId(shard),
        replica: ReplicaId(replica),
    }
}

pub(super) fn entry(of: ReplicaName, index: u64, data: &[u8]) -> Record {
    Record::Entry {
        name: of,
        space: Space(7),
        term: Term(2),
        index: LogIndex(index),
        kind: EntryKind::Normal,
        data: Bytes::copy_from_slice(data),
        timestamp: Nanos(1_000 + index),
    }
}

pub(super) fn hard_state(of: ReplicaName, term: u64, vote: u64) -> Record {
    let state = HardState {
        term: Term(term),
        vote: ReplicaId(vote),
    };
    Record::HardState {
        name: of,
        space: Space(7),
        state,
        timestamp: Nanos(5),
    }
}
