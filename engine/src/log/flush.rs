//! One flush: the batch a core is about to write, checksummed where its bytes lie and copied once.
//!
//! Entry data stay in the buffers Raft shares until [`Flush::encode_into`] copies them into the aligned buffer
//! of the write; only heads and lists are gathered here.
//!
//! Not here, on purpose: what goes into the batch and where it lies (`writer`).

use bytes::Bytes;
use margate_net::ids::{LogIndex, Term};

use super::batch::{BATCH_HEADER_BYTES, COMMIT_BYTES, HELD_BYTES};
use super::batch::{BatchHeader, CHECKSUM_AT, FLAG_SEAL, Held, HeldList, encode_commit, encode_held};
use super::bytes::{length_u32, padded};
use super::record::{Framed, RecordKind};
use super::segment::{FORMAT, further};
use crate::types::{Nanos, Position, ReplicaName};

/// A batch to write. Its bytes are final.
#[derive(Clone, Debug)]
pub struct Flush {
    /// The batch's number in the log.
    pub sequence: u64,
    /// The segment to write to.
    pub segment: u32,
    /// Where in its file; whole blocks.
    pub offset: u32,
    /// Bytes to write, padding included; whole blocks.
    pub length: usize,
    /// Bytes of the batch itself.
    pub used: usize,
    /// Records in it that waited in the queue, each part of a checkpoint counted.
    pub records: u64,
    /// Whether it only seals its predecessor.
    pub seal: bool,
    /// Where its entries lie, in the order they were pushed.
    pub entries: Vec<PlacedEntry>,
    /// Where the data of its relocations begin, those that went ahead of the queue first, in the order they were pushed.
    pub relocations: Vec<Position>,
    /// Heads and lists, one after the other.
    frame: Vec<u8>,
    /// Where data go between them.
    pieces: Vec<Piece>,
}

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedEntry {
    /// Whose it is.
    pub name: ReplicaName,
    /// Its index.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Where its batch begins.
    pub batch: Position,
    /// Where its data begin.
    pub data: Position,
}

/// Data that follow the frame's bytes up to some point.
#[derive(Clone, Debug)]
struct Piece {
    frame_end: usize,
    data: Bytes,
}

/// What a batch is made of.
pub(super) struct Draft<'a> {
    pub(super) position: Position,
    pub(super) salt: u64,
    pub(super) sequence: u64,
    pub(super) written: Nanos,
    pub(super) previous_checksum: u32,
    pub(super) previous_held: &'a [Held],
    pub(super) commits: &'a [(ReplicaName, LogIndex)],
    pub(super) records: Vec<Framed>,
    /// So many of them went ahead of the queue.
    pub(super) ahead: usize,
}

/// A finished batch, and what its successor must say about it.
pub(super) struct Drafted {
    pub(super) flush: Flush,
    pub(super) checksum: u32,
    pub(super) held: Vec<Held>,
}

/// Bytes of a batch before its records.
pub(super) fn lists_bytes(held: usize, commits: usize) -> usize {
    BATCH_HEADER_BYTES + held * HELD_BYTES + commits * COMMIT_BYTES
}

impl Flush {
    /// Lays the batch into the buffer to write, and zeros after it.
    ///
    /// # Panics
    /// If the buffer is not `length` bytes long.
    pub fn encode_into(&self, buffer: &mut [u8]) {
        assert_eq!(
            buffer.len(),
            self.length,
            "the buffer of batch {} has another length",
            self.sequence
        );
        let mut rest = buffer;
        self.visit(|bytes| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            rest = after;
        });
        rest.fill(0);
    }

    /// Shows the batch's bytes in order.
    fn visit(&self, mut see: impl FnMut(&[u8])) {
        let mut from = 0;
        for piece in &self.pieces {
            see(&self.frame[from..piece.frame_end]);
            see(&piece.data);
            from = piece.frame_end;
        }
        see(&self.frame[from..]);
    }

    /// Adds a record that begins at some byte of the batch; says where the next one does.
    fn add(&mut self, record: Framed, batch: Position, at: usize) -> usize {
        let data_at = at + record.head.len();
        let data = further(batch, data_at).expect("a batch lies inside its segment");
        if record.kind == RecordKind::Relocation {
            self.relocations.push(data);
        }
        if let Some((term, index)) = record.entry {
            self.entries.push(PlacedEntry {
                name: record.name,
                index,
                term,
                batch,
                data,
            });
        }
        self.frame.extend_from_slice(&record.head);
        let end = data_at + record.data.len();
        if !record.data.is_empty() {
            self.pieces.push(Piece {
                frame_end: self.frame.len(),
                data: record.data,
            });
        }
        end
    }

    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        self.visit(|bytes| hasher.update(bytes));
        hasher.finalize()
    }
}

impl Draft<'_> {
    /// Makes the batch.
    pub(super) fn finish(self) -> Drafted {
        let mut held = HeldList::default();
        for record in &self.records {
            held.add(record.name, record.kind as u8, record.entry.map(|(_, index)| index));
        }
        let mut flush = self.gather();
        let checksum = flush.checksum();
        flush.frame[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        Drafted {
            flush,
            checksum,
            held: held.finish(),
        }
    }

    fn gather(self) -> Flush {
        let lists = lists_bytes(self.previous_held.len(), self.commits.len());
        let heads: usize = self.records.iter().map(|record| record.head.len()).sum();
        let data: usize = self.records.iter().map(|record| record.data.len()).sum();
        let used = lists + heads + data;
        let mut frame = Vec::with_capacity(lists + heads);
        frame.extend_from_slice(&self.header(used).encode());
        self.previous_held.iter().for_each(|held| encode_held(held, &mut frame));
        self.commits
            .iter()
            .for_each(|(name, commit)| encode_commit(*name, *commit, &mut frame));
        let mut flush = Flush {
            sequence: self.sequence,
            segment: self.position.segment,
            offset: self.position.offset,
            length: padded(used),
            used,
            records: (self.records.len() - self.ahead) as u64,
            seal: self.records.is_empty(),
            entries: Vec::new(),
            relocations: Vec::new(),
            frame,
            pieces: Vec::with_capacity(self.records.len()),
        };
        let mut at = lists;
        for record in self.records {
            at = flush.add(record, self.position, at);
        }
        flush
    }

    fn header(&self, used: usize) -> BatchHeader {
        BatchHeader {
            format: FORMAT,
            flags: if self.records.is_empty() { FLAG_SEAL } else { 0 },
            salt: self.salt,
            sequence: self.sequence,
            length: length_u32(used),
            records: length_u32(self.records.len()),
            predecessors: length_u32(self.previous_held.len()),
            commits: length_u32(self.commits.len()),
            written: self.written,
            previous_checksum: self.previous_checksum,
            checksum: 0,
            position: self.position,
        }
    }
}
