//! Batches out of a piece of the log that was read while serving: for reclaim, and one replica's entries for followers that lag.
//!
//! The caller reads whole blocks of a segment, from the start of a batch, never past the last durable batch,
//! and passes them here; entries come back as slices of what was read. *Plan, fetch, finish*: this is the finish.
//!
//! Not here, on purpose: knowing in which batch an entry lies (`consensus`), the read (a `runtime` folder).

use bytes::Bytes;
use margate_net::ids::{LogIndex, Term};
use margate_net::message::EntryKind;

use super::batch::{BatchFault, BatchHeader, ScannedBatch};
use super::limits::BATCH_BYTES_MAX;
use super::record::{RecordBody, ScannedRecord};
use super::segment::{first_batch, further};
use crate::types::{Position, ReplicaName};

/// What a piece of the log held of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedChunk {
    /// Its entries, in log order: an index may come again where the log was cut.
    pub entries: Vec<FetchedEntry>,
    /// How far it could be walked.
    pub walked: Walked,
}

/// One entry, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedEntry {
    /// Its term.
    pub term: Term,
    /// Its index.
    pub index: LogIndex,
    /// What its data are.
    pub kind: EntryKind,
    /// Its data, a slice of the piece.
    pub data: Bytes,
    /// Where its data lie.
    pub data_position: Position,
}

/// Why a piece of the log cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No sound batch lies where one should; it was acknowledged, so this is damage.
    #[error("no sound batch begins at {position}: {fault}; this replica's log is damaged, fetch its entries from another")]
    BadBatch {
        /// Where it should begin.
        position: Position,
        /// What is wrong.
        fault: BatchFault,
    },
}

/// Where a log is read on, piece by piece, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// Where the next piece begins.
    pub at: Position,
    /// Bytes of a piece, unless its first batch is longer.
    usual: usize,
    length: usize,
    /// Whether `at` follows a batch of the same segment that was read.
    continued: bool,
}

impl Cursor {
    /// To read from a batch on, so many bytes at a time.
    #[must_use]
    pub const fn new(at: Position, usual: usize) -> Self {
        Self {
            at,
            usual,
            length: usual,
            continued: false,
        }
    }

    /// Bytes of the next piece: never past the end of the segment's file.
    #[must_use]
    pub fn length(&self, segment_bytes: u32) -> usize {
        self.length.min(self.room(segment_bytes))
    }

    /// Goes on behind what was walked. Whether it can: a batch that claims more than its segment has left is damaged, and reading it again
    /// would never end.
    #[must_use]
    pub fn follow(&mut self, walked: Walked, segment_bytes: u32) -> bool {
        let moved = walked.next != self.at;
        let within = walked.next.segment == self.at.segment && (moved || self.continued);
        // A batch that ends with its segment leaves nothing to read behind it.
        (self.at, self.continued) = if walked.next.offset < segment_bytes {
            (walked.next, within)
        } else {
            (next_segment(walked.next), false)
        };
        self.length = walked.needs.unwrap_or(self.usual);
        walked
            .needs
            .is_none_or(|needs| needs <= BATCH_BYTES_MAX.min(self.room(segment_bytes)))
    }

    /// No sound batch begins here. Whether that may be the unused tail of a segment: then it goes on with the next one.
    #[must_use]
    pub fn skip_tail(&mut self) -> bool {
        let may = self.continued;
        if may {
            *self = Self::new(next_segment(self.at), self.usual);
        }
        may
    }

    /// The same batch is read again, this long. Whether that is more than before and can be.
    #[must_use]
    pub fn lengthen(&mut self, needs: usize, segment_bytes: u32) -> bool {
        let more = needs > self.length && needs <= BATCH_BYTES_MAX.min(self.room(segment_bytes));
        self.length = needs;
        more
    }

    fn room(&self, segment_bytes: u32) -> usize {
        segment_bytes.saturating_sub(self.at.offset) as usize
    }
}

/// How far a piece of the log could be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The batch to go on from; it may lie in the next segment.
    pub next: Position,
    /// The piece was too short for its first batch: read this many bytes.
    pub needs: Option<usize>,
}

/// One replica's entries in a piece of the log that begins with a batch at `at`.
///
/// # Errors
/// As [`walk_chunk`].
pub fn entries_in_chunk(chunk: &Bytes, at: Position, name: ReplicaName) -> Result<FetchedChunk, FetchError> {
    let mut entries = Vec::new();
    let walked = walk_chunk(chunk, at, &mut |batch| take_entries(batch, chunk, name, &mut entries))?;
    Ok(FetchedChunk { entries, walked })
}

/// Shows the batches in a piece of the log that begins with one at `at`.
///
/// What follows the last sound batch of a segment is its unused tail, zeros or what a torn batch left: `next` is then
/// the next segment's first batch. The caller compares indexes: damage between two batches shows as a gap.
///
/// # Errors
/// If the first batch is not sound. At a `next` that fell on the end of a piece this may be its segment's unused tail:
/// go on at the next segment's first batch.
pub fn walk_chunk(chunk: &Bytes, at: Position, visit: &mut dyn FnMut(&ScannedBatch<'_>)) -> Result<Walked, FetchError> {
    let mut walked = Walked { next: at, needs: None };
    let mut from = 0;
    while let Some(rest) = chunk.get(from..).filter(|rest| !rest.is_empty()) {
        let place = walked.next;
        match take_batch(rest, place, visit) {
            Ok(bytes) => {
                from += bytes;
                walked.next = further(place, bytes).unwrap_or(next_segment(place));
            }
            Err(Stop::Cut { needs }) => {
                walked.needs = (from == 0).then_some(needs);
                break;
            }
            Err(Stop::Fault(fault)) if from == 0 => return Err(FetchError::BadBatch { position: place, fault }),
            Err(Stop::Fault(_)) => {
                walked.next = next_segment(place);
                break;
            }
        }
    }
    Ok(walked)
}

/// What can still be told of a batch that does not match its checksum.
#[derive(Clone, Debug)]
pub struct Salvage<'a> {
    /// The number it says it has.
    pub sequence: u64,
    /// Bytes it takes on disk, padding included.
    pub padded: usize,
    /// Its records, each with whether it matches its own checksum; none where they cannot be told from each other.
    pub records: Option<Vec<(ScannedRecord<'a>, bool)>>,
}

/// Looks at a batch that may be damaged and begins a piece of the log at `at`. A batch that is sound can be salvaged too.
///
/// # Errors
/// How many bytes to read, if the piece is too short for it.
pub fn salvage_batch(chunk: &[u8], at: Position) -> Result<Option<Salvage<'_>>, usize> {
    let Ok(header) = BatchHeader::parse(chunk, at, None) else {
        return Ok(None);
    };
    if header.padded() > chunk.len() {
        return Err(header.padded());
    }
    Ok(Some(Salvage {
        sequence: header.sequence,
        padded: header.padded(),
        records: header.salvage(chunk),
    }))
}

/// Why a batch gave nothing.
enum Stop {
    Cut { needs: usize },
    Fault(BatchFault),
}

/// Shows the batch that begins `rest`; says how many bytes it takes on disk.
fn take_batch(rest: &[u8], at: Position, visit: &mut dyn FnMut(&ScannedBatch<'_>)) -> Result<usize, Stop> {
    let header = BatchHeader::parse(rest, at, None).map_err(Stop::Fault)?;
    if header.padded() > rest.len() {
        return Err(Stop::Cut { needs: header.padded() });
    }
    header.check(rest).map_err(Stop::Fault)?;
    visit(&header.open(rest).map_err(Stop::Fault)?);
    Ok(header.padded())
}

/// Adds a replica's entries of a batch.
fn take_entries(batch: &ScannedBatch<'_>, chunk: &Bytes, name: ReplicaName, entries: &mut Vec<FetchedEntry>) {
    for record in batch.records().filter(|record| record.name == name) {
        if let RecordBody::Entry {
            term,
            index,
            kind,
            data,
            data_position,
        } = record.body
        {
            entries.push(FetchedEntry {
                term,
                index,
                kind,
                data: chunk.slice_ref(data),
                data_position,
            });
        }
    }
}

fn next_segment(at: Position) -> Position {
    first_batch(at.segment.saturating_add(1))
}
