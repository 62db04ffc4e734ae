//! A batch: what one flush wrote, framed so that it proves itself and its predecessor.
//!
//! ```text
//! 0   magic u32 | format u16 | flags u16 | segment salt u64
//! 16  sequence u64 | length u32 | record count u32
//! 32  predecessor count u32 | commit count u32 | written at u64
//! 48  checksum of previous batch u32 | checksum u32 | own segment u32 | own offset u32
//! 64  predecessor list, then commits, then records, then zeros up to the block
//! ```
//! A batch is believed only where it says it lies and under its segment's salt: a copy of it inside a value,
//! a write that went astray, or one of a former life of the file is not a batch.
//!
//! Not here, on purpose: choosing what goes into a batch (`writer`), and finding batches (`scan`).

use std::collections::BTreeMap;

use margate_net::ids::{LogIndex, ReplicaId, ShardId};

use super::bytes::{Reader, checksum_without, padded};
use super::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};
use super::record::{KindSet, RecordFault, ScannedRecord, parse_damaged_record, parse_record};
use super::scan::Damage;
use super::segment::{FORMAT, further};
use crate::types::{Nanos, Position, ReplicaName};

/// Bytes before a batch's predecessor list.
pub const BATCH_HEADER_BYTES: usize = 64;
/// Bytes of one replica in a predecessor list.
pub const HELD_BYTES: usize = 36;
/// Bytes of one commit.
pub const COMMIT_BYTES: usize = 24;
/// First bytes of a batch: `MgtB`.
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"MgtB");
/// Where a batch's checksum is; in every format to come, as are magic, format and length.
pub(super) const CHECKSUM_AT: usize = 52;
/// The flag of a batch without records, which only proves its predecessor and carries commits.
pub(super) const FLAG_SEAL: u16 = 1;

/// What one batch held of one replica, as its successor lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The replica.
    pub name: ReplicaName,
    /// The kinds of its records.
    pub kinds: KindSet,
    /// Lowest index of its entries; 0 if there were none.
    pub first: LogIndex,
    /// Highest index of its entries; 0 if there were none.
    pub last: LogIndex,
}

/// A batch's fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) format: u16,
    pub(super) flags: u16,
    pub(super) salt: u64,
    pub(super) sequence: u64,
    pub(super) length: u32,
    pub(super) records: u32,
    pub(super) predecessors: u32,
    pub(super) commits: u32,
    pub(super) written: Nanos,
    pub(super) previous_checksum: u32,
    pub(super) checksum: u32,
    pub(super) position: Position,
}

/// Why a block does not begin a batch, or the batch it begins cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// No batch begins here.
    #[error("no batch begins here")]
    NoMagic,
    /// It says it lies elsewhere: a copy, or a write that went astray.
    #[error("the batch says it lies at {found}")]
    OtherPlace {
        /// Where it says it lies.
        found: Position,
    },
    /// It is of a former life of its segment.
    #[error("the batch has salt {found:#x}, its segment another")]
    OtherSalt {
        /// Its salt.
        found: u64,
    },
    /// A length no batch has.
    #[error("the batch has a length of {length} bytes")]
    BadLength {
        /// Its length.
        length: u32,
    },
    /// Fewer bytes than its length.
    #[error("the batch ends {missing} bytes early")]
    Cut {
        /// Bytes missing.
        missing: usize,
    },
    /// Its checksum does not match.
    #[error("the batch does not match its checksum")]
    BadChecksum,
    /// Sound, but of a newer format.
    #[error("the batch is of format {found}, this version knows {FORMAT}")]
    NewerFormat {
        /// Its format.
        found: u16,
    },
    /// Sound, but with flags this version does not know.
    #[error("the batch has unknown flags {flags:#x}")]
    UnknownFlags {
        /// Its flags.
        flags: u16,
    },
    /// Sound, but its counts do not fit its length.
    #[error("the batch's counts do not fit its length")]
    BadCounts,
    /// Sound, but no batch could ever follow it.
    #[error("the batch has the last sequence there is")]
    LastSequence,
    /// Sound, but a record in it is not.
    #[error("the batch is sound, but {0}")]
    Record(#[from] RecordFault),
}

/// One batch, checked whole.
#[derive(Clone, Copy, Debug)]
pub struct ScannedBatch<'a> {
    /// Where it begins.
    pub position: Position,
    /// Its number in the log.
    pub sequence: u64,
    /// Its segment's salt.
    pub salt: u64,
    /// Bytes it takes on disk, padding included.
    pub padded: usize,
    /// Whether it only seals its predecessor.
    pub seal: bool,
    /// Wall clock when it was written, ns; informational.
    pub written: Nanos,
    held: &'a [u8],
    commits: &'a [u8],
    records: &'a [u8],
    records_position: Position,
    damage: &'a [Damage],
}

impl BatchHeader {
    /// The header's bytes, its checksum as given.
    pub(super) fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.format.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.records.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.predecessors.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.commits.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.written.0.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.previous_checksum.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[60..].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes
    }

    /// Reads the header of a batch that should lie at a position. Nothing is proven before [`Self::open`].
    ///
    /// `salt` is its segment's; `None` where the segment's header is lost.
    pub(super) fn parse(bytes: &[u8], at: Position, salt: Option<u64>) -> Result<Self, BatchFault> {
        let header = Self::fields(bytes).ok_or(BatchFault::NoMagic)?;
        if header.position != at {
            return Err(BatchFault::OtherPlace { found: header.position });
        }
        if salt.is_some_and(|salt| salt != header.salt) {
            return Err(BatchFault::OtherSalt { found: header.salt });
        }
        let length = header.length as usize;
        if !(BATCH_HEADER_BYTES..=BATCH_BYTES_MAX).contains(&length) || further(at, header.padded()).is_none() {
            return Err(BatchFault::BadLength { length: header.length });
        }
        Ok(header)
    }

    /// Bytes on disk, padding included.
    pub(super) fn padded(&self) -> usize {
        padded(self.length as usize)
    }

    /// The first byte after the batch and its padding.
    pub(super) fn end(&self) -> Position {
        further(self.position, self.padded()).expect("checked when the header was parsed")
    }

    /// Whether these bytes, from the batch's first on, are the whole batch as it was written.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), BatchFault> {
        let length = self.length as usize;
        let whole = bytes.get(..length).ok_or(BatchFault::Cut {
            missing: length.saturating_sub(bytes.len()),
        })?;
        if checksum_without(whole, CHECKSUM_AT) == self.checksum {
            Ok(())
        } else {
            Err(BatchFault::BadChecksum)
        }
    }

    /// The contents of a batch that was checked; every list and record in it can then be walked.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Result<ScannedBatch<'a>, BatchFault> {
        if self.format > FORMAT {
            return Err(BatchFault::NewerFormat { found: self.format });
        }
        if self.flags & !FLAG_SEAL != 0 {
            return Err(BatchFault::UnknownFlags { flags: self.flags });
        }
        if self.sequence == u64::MAX {
            return Err(BatchFault::LastSequence);
        }
        let batch = self.lists(bytes).ok_or(BatchFault::BadCounts)?;
        let mut walk = Records::of(&batch);
        for _ in 0..self.records {
            walk.step().ok_or(BatchFault::BadCounts)??;
        }
        if walk.rest.is_empty() {
            Ok(batch)
        } else {
            Err(BatchFault::BadCounts)
        }
    }

    /// The records of a batch that does not match its checksum, each with whether it matches its own; `None` where they cannot be
    /// told from each other.
    pub(super) fn salvage<'a>(&self, bytes: &'a [u8]) -> Option<Vec<(ScannedRecord<'a>, bool)>> {
        if self.format > FORMAT || self.flags & !FLAG_SEAL != 0 {
            return None;
        }
        let batch = self.lists(bytes)?;
        let (mut rest, mut at) = (batch.records, batch.records_position);
        let mut records = Vec::new();
        for _ in 0..self.records {
            let (record, length, sound) = parse_damaged_record(rest, at).ok()?;
            (rest, at) = (rest.get(length..)?, further(at, length)?);
            records.push((record, sound));
        }
        rest.is_empty().then_some(records)
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? != BATCH_MAGIC {
            return None;
        }
        Some(Self {
            format: reader.u16()?,
            flags: reader.u16()?,
            salt: reader.u64()?,
            sequence: reader.u64()?,
            length: reader.u32()?,
            records: reader.u32()?,
            predecessors: reader.u32()?,
            commits: reader.u32()?,
            written: Nanos(reader.u64()?),
            previous_checksum: reader.u32()?,
            checksum: reader.u32()?,
            position: Position {
                segment: reader.u32()?,
                offset: reader.u32()?,
            },
        })
    }

    fn lists<'a>(&self, bytes: &'a [u8]) -> Option<ScannedBatch<'a>> {
        let mut reader = Reader::new(bytes.get(..self.length as usize)?);
        reader.take(BATCH_HEADER_BYTES)?;
        let held = reader.take(HELD_BYTES.checked_mul(self.predecessors as usize)?)?;
        let commits = reader.take(COMMIT_BYTES.checked_mul(self.commits as usize)?)?;
        Some(ScannedBatch {
            position: self.position,
            sequence: self.sequence,
            salt: self.salt,
            padded: self.padded(),
            seal: self.flags & FLAG_SEAL != 0,
            written: self.written,
            held,
            commits,
            records: reader.rest(),
            records_position: further(self.position, BATCH_HEADER_BYTES + held.len() + commits.len())?,
            damage: &[],
        })
    }
}

impl<'a> ScannedBatch<'a> {
    /// What was found damaged between the batch before and this one: mark its replicas before anything of this
    /// batch is used.
    #[must_use]
    pub fn damage(&self) -> &'a [Damage] {
        self.damage
    }

    /// This batch, with the damage found before it.
    pub(super) fn after(self, damage: &'a [Damage]) -> Self {
        Self { damage, ..self }
    }

    /// What its predecessor held, replica by replica.
    pub fn predecessors(&self) -> impl Iterator<Item = Held> + use<'a> {
        self.held.chunks_exact(HELD_BYTES).filter_map(parse_held)
    }

    /// The commits it carries.
    pub fn commits(&self) -> impl Iterator<Item = (ReplicaName, LogIndex)> + use<'a> {
        self.commits.chunks_exact(COMMIT_BYTES).filter_map(parse_commit)
    }

    /// Its records in order.
    pub fn records(&self) -> impl Iterator<Item = ScannedRecord<'a>> + use<'a> {
        let mut walk = Records::of(self);
        std::iter::from_fn(move || walk.step()?.ok())
    }
}

/// Walks the records of a batch.
struct Records<'a> {
    rest: &'a [u8],
    at: Position,
}

impl<'a> Records<'a> {
    fn of(batch: &ScannedBatch<'a>) -> Self {
        Self {
            rest: batch.records,
            at: batch.records_position,
        }
    }

    /// The next record; `None` at the end.
    fn step(&mut self) -> Option<Result<ScannedRecord<'a>, RecordFault>> {
        if self.rest.is_empty() {
            return None;
        }
        Some(parse_record(self.rest, self.at).and_then(|(record, bytes)| {
            self.rest = self.rest.get(bytes..).unwrap_or_default();
            self.at = further(self.at, bytes).ok_or(RecordFault::BadLength)?;
            Ok(record)
        }))
    }
}

/// What a batch held, replica by replica, in the order its successor lists it.
#[derive(Debug, Default)]
pub(super) struct HeldList {
    by_name: BTreeMap<ReplicaName, Held>,
}

impl HeldList {
    /// Adds a record, with its index if it is an entry.
    pub(super) fn add(&mut self, name: ReplicaName, kind: u8, index: Option<LogIndex>) {
        let empty = Held {
            name,
            kinds: KindSet::default(),
            first: LogIndex(0),
            last: LogIndex(0),
        };
        let held = self.by_name.entry(name).or_insert(empty);
        held.kinds = held.kinds.with(kind);
        if let Some(index) = index {
            held.first = if held.first == LogIndex(0) { index } else { held.first.min(index) };
            held.last = held.last.max(index);
        }
    }

    pub(super) fn finish(self) -> Vec<Held> {
        self.by_name.into_values().collect()
    }
}

pub(super) fn encode_held(held: &Held, out: &mut Vec<u8>) {
    encode_name(held.name, out);
    out.extend_from_slice(&held.kinds.0.to_le_bytes());
    out.extend_from_slice(&held.first.0.to_le_bytes());
    out.extend_from_slice(&held.last.0.to_le_bytes());
}

pub(super) fn encode_commit(name: ReplicaName, commit: LogIndex, out: &mut Vec<u8>) {
    encode_name(name, out);
    out.extend_from_slice(&commit.0.to_le_bytes());
}

fn encode_name(name: ReplicaName, out: &mut Vec<u8>) {
    out.extend_from_slice(&name.shard.0.to_le_bytes());
    out.extend_from_slice(&name.replica.0.to_le_bytes());
}

fn parse_held(bytes: &[u8]) -> Option<Held> {
    let mut reader = Reader::new(bytes);
    let name = parse_name(&mut reader)?;
    let kinds = KindSet(reader.u32()?);
    Some(Held {
        name,
        kinds,
        first: LogIndex(reader.u64()?),
        last: LogIndex(reader.u64()?),
    })
}

fn parse_commit(bytes: &[u8]) -> Option<(ReplicaName, LogIndex)> {
    let mut reader = Reader::new(bytes);
    Some((parse_name(&mut reader)?, LogIndex(reader.u64()?)))
}

fn parse_name(reader: &mut Reader<'_>) -> Option<ReplicaName> {
    Some(ReplicaName {
        shard: ShardId(reader.u64()?),
        replica: ReplicaId(reader.u64()?),
    })
}

const _: () = assert!(
    BATCH_HEADER_BYTES <= BLOCK_BYTES,
    "a header lies in one block, so one read finds it"
);
