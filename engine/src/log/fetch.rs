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
use super::record::{RecordBody, ScannedRecord};
use super::segment::{first_batch, further};
use crate::types::{Position, ReplicaName};

/// What a piece of the log held of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedChunk {
    /// Its entries, in log order: an index may come again where the log was cut.
    pub entries: Vec<FetchedEntry>,
    /// The batch to go on from; it may lie in the next segment.
    pub next: Position,
    /// The piece was too short for its first batch: read this many bytes.
    pub needs: Option<usize>,
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
    Ok(FetchedChunk {
        entries,
        next: walked.next,
        needs: walked.needs,
    })
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
