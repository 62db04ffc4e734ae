//! The data of an entry: the effects one Raft entry carries, byte for byte the same on every replica.
//!
//! ```text
//! entry data   count u32 | flags u32 | timestamp u64 | effect, effect, …
//! effect       checksum u32 | kind u8 | flags u8 | key length u16 | value length u32 | cluster tag u32
//!              | shard u64 | version u64 | value hash 16 bytes | key | value
//! ```
//! The index points at an effect where it lies in the log, so an effect proves by itself whose it is. Replica
//! and space are the entry record's: these bytes are shared by replicas whose ids and spaces differ.
//!
//! Not here, on purpose: what effects mean (`shard`), and where they lie in the log (`batch`).

mod fault;

pub use fault::{EntryFault, RecordMismatch};

use margate_net::ids::{ClusterId, ShardId, Version};
use margate_net::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use super::bytes::{Reader, length_u32};
use super::limits::ENTRY_DATA_BYTES_MAX;
use crate::hashes::{LANES, of_equal_length};
use crate::types::{Nanos, ValueHash};

/// Bytes before the first effect of an entry's data.
pub const ENTRY_DATA_HEADER_BYTES: usize = 16;
/// Bytes before an effect's key.
pub const EFFECT_HEADER_BYTES: usize = 48;
/// Where the hash stands in an effect's header.
const HASH: std::ops::Range<usize> = 32..EFFECT_HEADER_BYTES;

/// What an effect does to its key. The numbers are record kinds of `docs/format.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EffectKind {
    /// Sets the value (`key_set`).
    Put = 1,
    /// Takes the key away (`key_del`).
    Delete = 2,
}

/// One effect, where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect<'a> {
    /// What it does.
    pub kind: EffectKind,
    /// The key.
    pub key: &'a [u8],
    /// The value; empty for a delete.
    pub value: &'a [u8],
    /// The version it gives the key.
    pub version: Version,
    /// The value's hash; zero for a delete.
    pub hash: ValueHash,
}

/// What the reader of one effect already knows about it.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedEffect<'a> {
    /// This deployment.
    pub cluster: ClusterId,
    /// The shard that wrote it.
    pub shard: ShardId,
    /// The key.
    pub key: &'a [u8],
    /// The version the index names.
    pub version: Version,
}

/// Bytes one effect takes in an entry's data and in the log; a delete's value has none.
#[must_use]
pub const fn effect_bytes(key_len: usize, value_len: u64) -> u64 {
    (EFFECT_HEADER_BYTES + key_len) as u64 + value_len
}

/// The same as a read asks for it.
#[must_use]
pub fn effect_length(key_len: usize, value_len: u64) -> usize {
    usize::try_from(effect_bytes(key_len, value_len)).unwrap_or(usize::MAX)
}

/// Collects effects into one entry's data.
#[derive(Clone, Debug)]
pub struct EntryDataBuilder {
    bytes: Vec<u8>,
    count: u32,
    shard: ShardId,
    tag: u32,
    /// Puts of values of one length, at most [`LANES`], that have neither hash nor checksum yet.
    unhashed: Vec<Unhashed>,
}

/// Where a put lies in the data.
#[derive(Clone, Copy, Debug)]
struct Unhashed {
    start: usize,
    value: usize,
    end: usize,
}

impl EntryDataBuilder {
    /// Starts an entry of a shard; the timestamp is the leader's wall clock, the shard clock once applied.
    #[must_use]
    pub fn new(cluster: ClusterId, shard: ShardId, timestamp: Nanos) -> Self {
        let mut bytes = Vec::with_capacity(1_024);
        bytes.extend_from_slice(&[0; 8]); // Count and flags; the count is filled in by `finish`.
        bytes.extend_from_slice(&timestamp.0.to_le_bytes());
        Self {
            bytes,
            count: 0,
            shard,
            tag: cluster_tag(cluster),
            unhashed: Vec::new(),
        }
    }

    /// Makes room for this many bytes in all, so that a large entry is not moved while it grows.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.bytes.reserve(bytes.saturating_sub(self.bytes.len()));
        self
    }

    /// Bytes a put adds.
    #[must_use]
    pub const fn put_bytes(key_len: usize, value_len: usize) -> usize {
        EFFECT_HEADER_BYTES + key_len + value_len
    }

    /// Adds a put of a new value, whose hash is not known.
    ///
    /// # Panics
    /// As [`Self::put`].
    pub fn write(&mut self, key: &[u8], value: &[u8], version: Version) {
        let start = self.add(&Effect {
            kind: EffectKind::Put,
            key,
            value,
            version,
            hash: ValueHash::default(),
        });
        let end = self.bytes.len();
        let put = Unhashed {
            start,
            value: end - value.len(),
            end,
        };
        if self.unhashed.first().is_some_and(|first| first.end - first.value != value.len()) {
            self.hash();
        }
        self.unhashed.push(put);
        if self.unhashed.len() == LANES {
            self.hash();
        }
    }

    /// Adds a put of a value whose hash is known.
    ///
    /// # Panics
    /// If key or value is over its limit, or the data would be: resolve refuses those before.
    pub fn put(&mut self, key: &[u8], value: &[u8], version: Version, hash: ValueHash) {
        let start = self.add(&Effect {
            kind: EffectKind::Put,
            key,
            value,
            version,
            hash,
        });
        self.seal(start, self.bytes.len());
    }

    /// Adds a delete.
    ///
    /// # Panics
    /// As [`Self::put`].
    pub fn delete(&mut self, key: &[u8], version: Version) {
        let start = self.add(&Effect {
            kind: EffectKind::Delete,
            key,
            value: &[],
            version,
            hash: ValueHash::default(),
        });
        self.seal(start, self.bytes.len());
    }

    /// Bytes so far, header included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no effect was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entry's data.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.hash();
        self.bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        // Entries are kept in memory and counted by their length: no room may be left of operations that write nothing. Growing alone leaves less
        // than as much again.
        if self.bytes.capacity() > 2 * self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        self.bytes
    }

    /// Adds an effect without its checksum. Where it begins.
    fn add(&mut self, effect: &Effect<'_>) -> usize {
        assert!(
            effect.key.len() <= KEY_BYTES_MAX,
            "a key of {} bytes reached the log",
            effect.key.len()
        );
        assert!(
            effect.value.len() <= VALUE_BYTES_MAX,
            "a value of {} bytes reached the log",
            effect.value.len()
        );
        let start = self.bytes.len();
        self.bytes.reserve(Self::put_bytes(effect.key.len(), effect.value.len()));
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[effect.kind as u8, 0]);
        let key_length = u16::try_from(effect.key.len()).expect("checked above");
        self.bytes.extend_from_slice(&key_length.to_le_bytes());
        self.bytes.extend_from_slice(&length_u32(effect.value.len()).to_le_bytes());
        self.bytes.extend_from_slice(&self.tag.to_le_bytes());
        self.bytes.extend_from_slice(&self.shard.0.to_le_bytes());
        self.bytes.extend_from_slice(&effect.version.0.to_le_bytes());
        self.bytes.extend_from_slice(&effect.hash.0);
        self.bytes.extend_from_slice(effect.key);
        self.bytes.extend_from_slice(effect.value);
        assert!(self.bytes.len() <= ENTRY_DATA_BYTES_MAX, "entry data of {} bytes", self.bytes.len());
        self.count += 1;
        start
    }

    /// Hashes what is unhashed, all of it together.
    fn hash(&mut self) {
        let (mut values, mut hashes) = ([&[][..]; LANES], [ValueHash::default(); LANES]);
        for (value, put) in values.iter_mut().zip(&self.unhashed) {
            *value = &self.bytes[put.value..put.end];
        }
        of_equal_length(&values[..self.unhashed.len()], &mut hashes);
        for (at, hash) in (0..self.unhashed.len()).zip(hashes) {
            let Unhashed { start, end, .. } = self.unhashed[at];
            self.bytes[start..][HASH].copy_from_slice(&hash.0);
            self.seal(start, end);
        }
        self.unhashed.clear();
    }

    /// Gives an effect its checksum.
    fn seal(&mut self, start: usize, end: usize) {
        let checksum = crc32fast::hash(&self.bytes[start + 4..end]);
        self.bytes[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// An entry's data whose structure was checked: every effect in it can be walked.
#[derive(Clone, Copy, Debug)]
pub struct EntryData<'a> {
    data: &'a [u8],
    timestamp: Nanos,
}

impl<'a> EntryData<'a> {
    /// Checks counts, kinds and lengths, not checksums. Empty data are a leader's first entry, without effects.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(data: &'a [u8]) -> Result<Self, EntryFault> {
        if data.is_empty() {
            return Ok(Self { data, timestamp: Nanos(0) });
        }
        if data.len() > ENTRY_DATA_BYTES_MAX {
            return Err(EntryFault::TooLong { bytes: data.len() });
        }
        let (count, timestamp) = data_header(data)?;
        let mut offset = ENTRY_DATA_HEADER_BYTES;
        for _ in 0..count {
            offset += effect_at(data, offset)?.bytes();
        }
        match data.len() - offset {
            0 => Ok(Self { data, timestamp }),
            bytes => Err(EntryFault::Trailing { bytes }),
        }
    }

    /// The leader's wall clock when it made the entry, ns; zero for empty data.
    #[must_use]
    pub fn timestamp(&self) -> Nanos {
        self.timestamp
    }

    /// The effects in order, each with the offset of its header in the data.
    pub fn effects(&self) -> impl Iterator<Item = (u32, Effect<'a>)> + use<'a> {
        let data = self.data;
        let mut offset = ENTRY_DATA_HEADER_BYTES;
        std::iter::from_fn(move || {
            let framed = effect_at(data, offset).ok()?;
            let at = length_u32(offset);
            offset += framed.bytes();
            Some((at, framed.effect))
        })
    }
}

/// Checks structure and every effect's checksum.
///
/// # Errors
/// What is wrong, and where.
pub fn verify_checksums(data: &[u8]) -> Result<(), EntryFault> {
    let parsed = EntryData::parse(data)?;
    for (at, effect) in parsed.effects() {
        let offset = at as usize;
        let end = offset + EntryDataBuilder::put_bytes(effect.key.len(), effect.value.len());
        let framed = data.get(offset..end).ok_or(EntryFault::Cut { offset })?;
        if !checksum_matches(framed) {
            return Err(EntryFault::BadChecksum { offset });
        }
    }
    Ok(())
}

/// Whether the effect at an offset of an entry's data, whose structure was checked, matches its checksum.
#[must_use]
pub fn effect_is_sound(data: &[u8], offset: u32) -> bool {
    let offset = offset as usize;
    let end = effect_at(data, offset).map(|framed| offset.saturating_add(framed.bytes()));
    end.is_ok_and(|end| data.get(offset..end).is_some_and(checksum_matches))
}

/// The effect a record holds, once it is proven to be the expected one. Bytes after it are ignored.
///
/// # Errors
/// The first thing about it that is not as expected.
pub fn read_effect<'a>(record: &'a [u8], expected: &ExpectedEffect<'_>) -> Result<Effect<'a>, RecordMismatch> {
    let framed = match effect_at(record, 0) {
        Ok(framed) => framed,
        Err(_) => return Err(mismatch_of(record)),
    };
    let tag = cluster_tag(expected.cluster);
    if framed.tag != tag {
        return Err(RecordMismatch::OtherCluster {
            found: framed.tag,
            expected: tag,
        });
    }
    if framed.shard != expected.shard {
        return Err(RecordMismatch::OtherShard { found: framed.shard });
    }
    if framed.effect.key != expected.key {
        return Err(RecordMismatch::OtherKey);
    }
    if framed.effect.version != expected.version {
        return Err(RecordMismatch::OtherVersion {
            found: framed.effect.version,
        });
    }
    let whole = record.get(..framed.bytes()).unwrap_or_default();
    if checksum_matches(whole) {
        Ok(framed.effect)
    } else {
        Err(RecordMismatch::BadChecksum)
    }
}

/// An effect with what its header says beside it.
struct Framed<'a> {
    effect: Effect<'a>,
    tag: u32,
    shard: ShardId,
}

impl Framed<'_> {
    fn bytes(&self) -> usize {
        EntryDataBuilder::put_bytes(self.effect.key.len(), self.effect.value.len())
    }
}

/// The fixed part of an effect, as stored.
struct EffectHeader {
    kind: u8,
    flags: u8,
    key_bytes: usize,
    value_bytes: usize,
    tag: u32,
    shard: ShardId,
    version: Version,
    hash: ValueHash,
}

fn effect_header(reader: &mut Reader<'_>) -> Option<EffectHeader> {
    reader.u32()?; // The checksum is compared by those who read the value.
    Some(EffectHeader {
        kind: reader.u8()?,
        flags: reader.u8()?,
        key_bytes: reader.u16()?.into(),
        value_bytes: reader.u32()? as usize,
        tag: reader.u32()?,
        shard: ShardId(reader.u64()?),
        version: Version(reader.u64()?),
        hash: ValueHash(reader.array()?),
    })
}

fn data_header(data: &[u8]) -> Result<(u32, Nanos), EntryFault> {
    let mut reader = Reader::new(data);
    let mut header = || Some((reader.u32()?, reader.u32()?, reader.u64()?));
    let (count, flags, timestamp) = header().ok_or(EntryFault::Cut { offset: 0 })?;
    if flags != 0 {
        return Err(EntryFault::UnknownFlags { flags });
    }
    Ok((count, Nanos(timestamp)))
}

fn effect_at(data: &[u8], offset: usize) -> Result<Framed<'_>, EntryFault> {
    let cut = EntryFault::Cut { offset };
    let mut reader = Reader::new(data.get(offset..).ok_or(cut)?);
    let header = effect_header(&mut reader).ok_or(cut)?;
    let kind = kind_of(&header).ok_or(EntryFault::UnknownKind {
        offset,
        kind: header.kind,
        flags: header.flags,
    })?;
    if !lengths_allowed(kind, &header) {
        return Err(EntryFault::BadLengths {
            offset,
            key_bytes: header.key_bytes,
            value_bytes: header.value_bytes,
        });
    }
    let key = reader.take(header.key_bytes).ok_or(cut)?;
    let value = reader.take(header.value_bytes).ok_or(cut)?;
    let effect = Effect {
        kind,
        key,
        value,
        version: header.version,
        hash: header.hash,
    };
    Ok(Framed {
        effect,
        tag: header.tag,
        shard: header.shard,
    })
}

fn kind_of(header: &EffectHeader) -> Option<EffectKind> {
    match (header.kind, header.flags) {
        (1, 0) => Some(EffectKind::Put),
        (2, 0) => Some(EffectKind::Delete),
        _ => None,
    }
}

fn lengths_allowed(kind: EffectKind, header: &EffectHeader) -> bool {
    let value_max = match kind {
        EffectKind::Put => VALUE_BYTES_MAX,
        EffectKind::Delete => 0,
    };
    header.key_bytes <= KEY_BYTES_MAX && header.value_bytes <= value_max
}

/// Says why bytes are not an effect in the words of a point read.
fn mismatch_of(record: &[u8]) -> RecordMismatch {
    let have = record.len();
    let Some(header) = effect_header(&mut Reader::new(record)) else {
        return RecordMismatch::Cut {
            have,
            needs: EFFECT_HEADER_BYTES,
        };
    };
    let needs = EntryDataBuilder::put_bytes(header.key_bytes, header.value_bytes);
    let sound = kind_of(&header).is_some_and(|kind| lengths_allowed(kind, &header));
    if sound && needs > have {
        return RecordMismatch::Cut { have, needs };
    }
    RecordMismatch::NotAnEffect {
        kind: header.kind,
        key_bytes: header.key_bytes,
        value_bytes: header.value_bytes,
    }
}

fn checksum_matches(framed: &[u8]) -> bool {
    match framed.split_first_chunk::<4>() {
        Some((stored, covered)) => u32::from_le_bytes(*stored) == crc32fast::hash(covered),
        None => false,
    }
}

/// A deployment's mark on each effect.
fn cluster_tag(cluster: ClusterId) -> u32 {
    crc32fast::hash(&cluster.0.to_le_bytes())
}
