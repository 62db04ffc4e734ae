//! Records: the framed items of a batch. Each names its replica and space, and carries its own checksum.
//!
//! ```text
//! record       length u32 | kind u8 | flags u8 | reserved u16 | shard u64 | replica u64 | space u32
//!              | checksum u32 | timestamp u64 | body
//! entry        term u64 | index u64 | entry kind u8 | 7 zeros | data
//! hard_state   term u64 | vote u64
//! checkpoint   applied index u64 | applied term u64 | part u32 | parts u32 | log kept from u32 | 4 zeros | state
//! relocation   entry data (`effects`), as in an entry
//! replica_end  nothing
//! ```
//!
//! Not here, on purpose: the kinds whose code comes later (`docs/format.md` numbers them all), and what an
//! entry's data hold (`effects`).

use bytes::Bytes;
use margate_net::ids::{LogIndex, ReplicaId, ShardId, Space, Term};
use margate_net::message::EntryKind;

use super::bytes::{Reader, checksum_without, length_u32};
use super::limits::CHECKPOINT_PART_BYTES_MAX;
use super::segment::further;
use crate::types::{HardState, Nanos, Position, ReplicaName};

/// Bytes before a record's body.
pub const RECORD_HEADER_BYTES: usize = 40;
/// Bytes of an entry record before its data.
pub const ENTRY_HEADER_BYTES: usize = RECORD_HEADER_BYTES + 24;
/// Bytes of a checkpoint's fields before its state.
pub(super) const CHECKPOINT_FIELDS_BYTES: usize = 32;
/// Where a record's checksum is.
const CHECKSUM_AT: usize = 28;

/// The record kinds this version writes; the numbers are those of `docs/format.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A Raft entry.
    Entry = 7,
    /// A replica's term and vote.
    HardState = 8,
    /// A replica's whole state that is not a key, at some applied entry.
    Checkpoint = 13,
    /// Effects copied from elsewhere: by reclaim, from an image, or a value that another member gave.
    Relocation = 14,
    /// A replica's end: its records are ignored from here on.
    ReplicaEnd = 17,
}

/// Some record kinds, one bit each: bit `n` is kind `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KindSet(pub u32);

/// What a core asks the log to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A Raft entry.
    Entry {
        /// Whose.
        name: ReplicaName,
        /// The space its keys live in.
        space: Space,
        /// The entry's term.
        term: Term,
        /// The entry's index.
        index: LogIndex,
        /// What its data are.
        kind: EntryKind,
        /// Its data, at most `ENTRY_DATA_BYTES_MAX`.
        data: Bytes,
        /// Wall clock of the node that wrote it, ns.
        timestamp: Nanos,
    },
    /// A replica's term and vote.
    HardState {
        /// Whose.
        name: ReplicaName,
        /// Its space.
        space: Space,
        /// The term and vote.
        state: HardState,
        /// Wall clock, ns.
        timestamp: Nanos,
    },
    /// A replica's state at an applied entry; written in parts if it is long.
    Checkpoint {
        /// Whose.
        name: ReplicaName,
        /// Its space.
        space: Space,
        /// The last entry the state holds.
        applied: LogIndex,
        /// That entry's term.
        applied_term: Term,
        /// The oldest segment that is still needed beside it.
        kept_from: u32,
        /// The state; its writer knows what it means.
        state: Bytes,
        /// Wall clock, ns.
        timestamp: Nanos,
    },
    /// Effects that are applied already, copied to a new place; never Raft state. A delete among them stands for one whose
    /// first record is gone.
    Relocation {
        /// Whose.
        name: ReplicaName,
        /// The space their keys live in.
        space: Space,
        /// The effects, as an entry's data hold them.
        data: Bytes,
        /// Wall clock, ns.
        timestamp: Nanos,
    },
    /// A replica's end: it may never vote or serve again, whatever else the log says of it.
    ReplicaEnd {
        /// Whose.
        name: ReplicaName,
        /// Its space.
        space: Space,
        /// Wall clock, ns.
        timestamp: Nanos,
    },
}

/// A record read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedRecord<'a> {
    /// Whose.
    pub name: ReplicaName,
    /// Its space.
    pub space: Space,
    /// Leader's wall clock, ns.
    pub timestamp: Nanos,
    /// Where the record's header begins.
    pub position: Position,
    /// What it says.
    pub body: RecordBody<'a>,
}

/// A record's kind and contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordBody<'a> {
    /// A Raft entry.
    Entry {
        /// Its term.
        term: Term,
        /// Its index.
        index: LogIndex,
        /// What its data are.
        kind: EntryKind,
        /// Its data.
        data: &'a [u8],
        /// Where its data begin.
        data_position: Position,
    },
    /// A term and vote.
    HardState(HardState),
    /// A part of a checkpoint; the whole is its parts in order.
    Checkpoint {
        /// The last entry the state holds.
        applied: LogIndex,
        /// That entry's term.
        applied_term: Term,
        /// Which part, from 0.
        part: u32,
        /// How many there are, at least 1.
        parts: u32,
        /// The oldest segment that is still needed beside it.
        kept_from: u32,
        /// This part's bytes.
        state: &'a [u8],
    },
    /// Effects at a new place.
    Relocation {
        /// They, as an entry's data hold them.
        data: &'a [u8],
        /// Where the data begin.
        data_position: Position,
    },
    /// The replica ends here.
    ReplicaEnd,
    /// A kind this version does not know: its replica cannot be replayed here.
    Unknown {
        /// Its number.
        kind: u8,
    },
}

/// Why a record with a sound batch around it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// Its length is shorter than its own header, or longer than its batch.
    #[error("a record's length does not fit its batch")]
    BadLength,
    /// Its checksum does not match.
    #[error("a record does not match its checksum")]
    BadChecksum,
    /// It has flags this version does not know.
    #[error("a record of kind {kind} has unknown flags {flags:#x}")]
    UnknownFlags {
        /// Its kind.
        kind: u8,
        /// Its flags.
        flags: u8,
    },
    /// An entry of a kind this version does not know.
    #[error("an entry has unknown kind {kind}")]
    UnknownEntryKind {
        /// The entry's kind.
        kind: u8,
    },
    /// A body too short or too long for its kind, or a checkpoint part outside its parts.
    #[error("a record of kind {kind} has a body that is not of its kind")]
    BadBody {
        /// Its kind.
        kind: u8,
    },
}

impl KindSet {
    /// These kinds and one more, by its number; numbers over 31 have no bit.
    #[must_use]
    pub fn with(self, kind: u8) -> Self {
        Self(self.0 | 1_u32.checked_shl(kind.into()).unwrap_or(0))
    }

    /// Whether a kind is among them.
    #[must_use]
    pub fn contains(self, kind: RecordKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

impl RecordBody<'_> {
    /// The number of its kind.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Entry { .. } => RecordKind::Entry as u8,
            Self::HardState(_) => RecordKind::HardState as u8,
            Self::Checkpoint { .. } => RecordKind::Checkpoint as u8,
            Self::Relocation { .. } => RecordKind::Relocation as u8,
            Self::ReplicaEnd => RecordKind::ReplicaEnd as u8,
            Self::Unknown { kind } => *kind,
        }
    }
}

/// A record ready to be laid into a batch: its head encoded, its data shared.
#[derive(Clone, Debug)]
pub(super) struct Framed {
    pub(super) name: ReplicaName,
    pub(super) kind: RecordKind,
    /// The entry's term and index, if it is one.
    pub(super) entry: Option<(Term, LogIndex)>,
    /// Everything before the data.
    pub(super) head: Vec<u8>,
    pub(super) data: Bytes,
}

impl Framed {
    /// The record's bytes in the log.
    pub(super) fn bytes(&self) -> usize {
        self.head.len() + self.data.len()
    }

    fn new(kind: RecordKind, of: (ReplicaName, Space, Nanos), fields: &[u8], data: Bytes) -> Self {
        let (name, space, timestamp) = of;
        let mut head = Vec::with_capacity(ENTRY_HEADER_BYTES);
        let length = length_u32(RECORD_HEADER_BYTES + fields.len() + data.len());
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&[kind as u8, 0, 0, 0]);
        head.extend_from_slice(&name.shard.0.to_le_bytes());
        head.extend_from_slice(&name.replica.0.to_le_bytes());
        head.extend_from_slice(&space.0.to_le_bytes());
        head.extend_from_slice(&[0; 4]); // The checksum, filled in below.
        head.extend_from_slice(&timestamp.0.to_le_bytes());
        head.extend_from_slice(fields);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head);
        hasher.update(&data);
        head[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
        Self {
            name,
            kind,
            entry: None,
            head,
            data,
        }
    }
}

/// Encodes a record; a long checkpoint becomes several.
pub(super) fn frame(record: Record, checkpoint_part_bytes: usize) -> Vec<Framed> {
    match record {
        Record::Entry {
            name,
            space,
            term,
            index,
            kind,
            data,
            timestamp,
        } => {
            let mut fields = [0; 24];
            fields[..8].copy_from_slice(&term.0.to_le_bytes());
            fields[8..16].copy_from_slice(&index.0.to_le_bytes());
            fields[16] = kind as u8;
            let mut framed = Framed::new(RecordKind::Entry, (name, space, timestamp), &fields, data);
            framed.entry = Some((term, index));
            vec![framed]
        }
        Record::HardState {
            name,
            space,
            state,
            timestamp,
        } => {
            let mut fields = [0; 16];
            fields[..8].copy_from_slice(&state.term.0.to_le_bytes());
            fields[8..].copy_from_slice(&state.vote.0.to_le_bytes());
            vec![Framed::new(RecordKind::HardState, (name, space, timestamp), &fields, Bytes::new())]
        }
        Record::Checkpoint {
            name,
            space,
            applied,
            applied_term,
            kept_from,
            state,
            timestamp,
        } => {
            let mut fields = [0; CHECKPOINT_FIELDS_BYTES];
            fields[..8].copy_from_slice(&applied.0.to_le_bytes());
            fields[8..16].copy_from_slice(&applied_term.0.to_le_bytes());
            fields[24..28].copy_from_slice(&kept_from.to_le_bytes());
            frame_checkpoint((name, space, timestamp), fields, state, checkpoint_part_bytes)
        }
        Record::Relocation {
            name,
            space,
            data,
            timestamp,
        } => vec![Framed::new(RecordKind::Relocation, (name, space, timestamp), &[], data)],
        Record::ReplicaEnd { name, space, timestamp } => {
            vec![Framed::new(RecordKind::ReplicaEnd, (name, space, timestamp), &[], Bytes::new())]
        }
    }
}

fn frame_checkpoint(
    of: (ReplicaName, Space, Nanos),
    mut fields: [u8; CHECKPOINT_FIELDS_BYTES],
    mut state: Bytes,
    part_bytes: usize,
) -> Vec<Framed> {
    let part_bytes = part_bytes.clamp(1, CHECKPOINT_PART_BYTES_MAX);
    let parts = length_u32(state.len().div_ceil(part_bytes).max(1));
    fields[20..24].copy_from_slice(&parts.to_le_bytes());
    let mut framed = Vec::new();
    for part in 0..parts {
        fields[16..20].copy_from_slice(&part.to_le_bytes());
        let bytes = state.split_to(part_bytes.min(state.len()));
        framed.push(Framed::new(RecordKind::Checkpoint, of, &fields, bytes));
    }
    framed
}

/// Reads the record at the front of some bytes that lie at a position; also says how long it is.
pub(super) fn parse_record(bytes: &[u8], at: Position) -> Result<(ScannedRecord<'_>, usize), RecordFault> {
    let (whole, header) = framed(bytes)?;
    if !matches_checksum(whole, &header) {
        return Err(RecordFault::BadChecksum);
    }
    Ok((header.record(at)?, whole.len()))
}

/// As [`parse_record`], whatever its checksum says; also says whether it matches.
pub(super) fn parse_damaged_record(bytes: &[u8], at: Position) -> Result<(ScannedRecord<'_>, usize, bool), RecordFault> {
    let (whole, header) = framed(bytes)?;
    let sound = matches_checksum(whole, &header);
    Ok((header.record(at)?, whole.len(), sound))
}

fn framed(bytes: &[u8]) -> Result<(&[u8], Header<'_>), RecordFault> {
    let length = Reader::new(bytes).u32().ok_or(RecordFault::BadLength)? as usize;
    let whole = bytes.get(..length).ok_or(RecordFault::BadLength)?;
    let header = header_of(whole).ok_or(RecordFault::BadLength)?;
    Ok((whole, header))
}

fn matches_checksum(whole: &[u8], header: &Header<'_>) -> bool {
    checksum_without(whole, CHECKSUM_AT) == header.checksum
}

impl<'a> Header<'a> {
    fn record(self, at: Position) -> Result<ScannedRecord<'a>, RecordFault> {
        if self.flags != 0 {
            return Err(RecordFault::UnknownFlags {
                kind: self.kind,
                flags: self.flags,
            });
        }
        Ok(ScannedRecord {
            name: self.name,
            space: self.space,
            timestamp: self.timestamp,
            position: at,
            body: parse_body(self.kind, self.body, at)?,
        })
    }
}

struct Header<'a> {
    kind: u8,
    flags: u8,
    name: ReplicaName,
    space: Space,
    checksum: u32,
    timestamp: Nanos,
    body: &'a [u8],
}

fn header_of(record: &[u8]) -> Option<Header<'_>> {
    let mut reader = Reader::new(record);
    reader.u32()?; // The length, already used.
    let kind = reader.u8()?;
    let flags = reader.u8()?;
    reader.u16()?;
    let name = ReplicaName {
        shard: ShardId(reader.u64()?),
        replica: ReplicaId(reader.u64()?),
    };
    let space = Space(reader.u32()?);
    let checksum = reader.u32()?;
    let timestamp = Nanos(reader.u64()?);
    Some(Header {
        kind,
        flags,
        name,
        space,
        checksum,
        timestamp,
        body: reader.rest(),
    })
}

fn parse_body(kind: u8, body: &[u8], at: Position) -> Result<RecordBody<'_>, RecordFault> {
    let bad_body = RecordFault::BadBody { kind };
    match kind {
        7 => parse_entry(body, at, bad_body),
        8 => parse_hard_state(body).ok_or(bad_body),
        13 => parse_checkpoint(body).ok_or(bad_body),
        14 => Ok(RecordBody::Relocation {
            data: body,
            data_position: further(at, RECORD_HEADER_BYTES).ok_or(bad_body)?,
        }),
        17 if body.is_empty() => Ok(RecordBody::ReplicaEnd),
        17 => Err(bad_body),
        kind => Ok(RecordBody::Unknown { kind }),
    }
}

fn parse_entry(body: &[u8], at: Position, bad_body: RecordFault) -> Result<RecordBody<'_>, RecordFault> {
    let mut reader = Reader::new(body);
    let mut fields = || Some((Term(reader.u64()?), LogIndex(reader.u64()?), reader.array::<8>()?));
    let (term, index, [kind, ..]) = fields().ok_or(bad_body)?;
    let kind = match kind {
        0 => EntryKind::Normal,
        2 => EntryKind::Membership,
        kind => return Err(RecordFault::UnknownEntryKind { kind }),
    };
    let data_position = further(at, ENTRY_HEADER_BYTES).ok_or(bad_body)?;
    Ok(RecordBody::Entry {
        term,
        index,
        kind,
        data: reader.rest(),
        data_position,
    })
}

fn parse_hard_state(body: &[u8]) -> Option<RecordBody<'_>> {
    let mut reader = Reader::new(body);
    let state = HardState {
        term: Term(reader.u64()?),
        vote: ReplicaId(reader.u64()?),
    };
    reader.rest().is_empty().then_some(RecordBody::HardState(state))
}

fn parse_checkpoint(body: &[u8]) -> Option<RecordBody<'_>> {
    let mut reader = Reader::new(body);
    let applied = LogIndex(reader.u64()?);
    let applied_term = Term(reader.u64()?);
    let part = reader.u32()?;
    let parts = reader.u32()?;
    let kept_from = reader.u32()?;
    reader.u32()?; // Zero.
    (part < parts).then_some(RecordBody::Checkpoint {
        applied,
        applied_term,
        part,
        parts,
        kept_from,
        state: reader.rest(),
    })
}
