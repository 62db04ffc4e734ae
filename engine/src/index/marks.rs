//! The bytes of the `meta` and `positions` databases: whose index this is, where replay begins, what each replica has.
//!
//! ```text
//!  meta key       0x00                                    identity
//!                 0x01                                    core marks
//!                 0x02 shard u64 BE, replica u64 BE       replica marks
//!                 0x03                                    live bytes (`live_bytes`)
//!  positions key  shard u64 BE, replica u64 BE, index u64 BE
//! ```
//!
//! Integers in values are little endian. Each `meta` value ends with a CRC-32 of its key and everything before, since
//! LMDB checks nothing (`sealed`); a position needs none, as the batch it points to proves itself.
//!
//! Not here, on purpose: the meaning of a shard's state (opaque), the databases themselves (`runtime::index_store`).

use std::fmt;

use margate_net::ids::{ClusterId, DirectoryId, LogIndex, ReplicaId, ShardId, Space, Term};
use margate_net::limits::KEY_BYTES_MAX;

use super::error::IndexError;
use super::sealed::{Reader, seal, unseal};
use super::store::{CoreMarks, ReplicaMarks};
use crate::types::{HardState, Position, ReplicaName};

/// The newest index format this release reads, and the one it writes.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of a replica's state kept in its marks: far above any shard's ranges, counters and sessions, far below a generation.
pub const STATE_BYTES_MAX: usize = 64 << 20;
/// Term runs kept in a replica's marks: one for each election since its log was truncated.
pub const TERM_RUNS_MAX: usize = 1 << 20;

/// The `meta` key of the identity.
pub const IDENTITY_KEY: [u8; 1] = [0];
/// The `meta` key of the core's marks.
pub const CORE_KEY: [u8; 1] = [1];
/// What the `meta` keys of replica marks begin with.
pub const REPLICA_PREFIX: [u8; 1] = [2];

const NAME_BYTES: usize = 16;
const REPLICA_KEY_BYTES: usize = 1 + NAME_BYTES;
const POSITION_KEY_BYTES: usize = NAME_BYTES + 8;

/// Whose index it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The deployment.
    pub cluster: ClusterId,
    /// The data directory.
    pub directory: DirectoryId,
}

/// What is kept besides the bytes of rows, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaItem {
    /// Whose index it is.
    Identity,
    /// The core's marks.
    CoreMarks,
    /// A replica's marks.
    ReplicaMarks,
    /// The batch of an entry.
    Position,
    /// A row's key.
    RowKey,
    /// How much log the rows need.
    LiveBytes,
}

impl fmt::Display for MetaItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::CoreMarks => "core marks",
            Self::ReplicaMarks => "replica marks",
            Self::Position => "entry position",
            Self::RowKey => "row key",
            Self::LiveBytes => "live bytes",
        })
    }
}

impl Identity {
    /// The identity's value, with the format version in front for ever.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(44);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.extend_from_slice(&self.directory.0.to_le_bytes());
        seal(&IDENTITY_KEY, out)
    }

    /// Checks that an identity's value names this format and this identity.
    ///
    /// # Errors
    /// A newer format (told before anything else is looked at), damage, another cluster, another directory.
    pub fn check(&self, value: &[u8]) -> Result<(), IndexError> {
        let damaged = IndexError::DamagedMeta { item: MetaItem::Identity };
        let Some(format) = Reader(value).u32() else { return Err(damaged) };
        if format > FORMAT_VERSION {
            return Err(IndexError::NewerFormat {
                found: format,
                known: FORMAT_VERSION,
            });
        }
        let Some(found) = Self::decode(value) else { return Err(damaged) };
        if found.cluster != self.cluster {
            return Err(IndexError::OtherCluster {
                found: found.cluster,
                expected: self.cluster,
            });
        }
        if found.directory != self.directory {
            return Err(IndexError::OtherDirectory {
                found: found.directory,
                expected: self.directory,
            });
        }
        Ok(())
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader(unseal(&IDENTITY_KEY, value)?);
        let (_format, zero) = (reader.u32()?, reader.u32()?);
        let identity = Self {
            cluster: ClusterId(reader.u128()?),
            directory: DirectoryId(reader.u128()?),
        };
        (zero == 0 && reader.at_end()).then_some(identity)
    }
}

impl CoreMarks {
    /// The marks' value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&encode_position(self.replay));
        out.extend_from_slice(&self.replay_sequence.to_le_bytes());
        out.extend_from_slice(&self.next_space.0.to_le_bytes());
        seal(&CORE_KEY, out)
    }

    /// The marks in a value.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(value: &[u8]) -> Result<Self, IndexError> {
        Self::parse(value).ok_or(IndexError::DamagedMeta { item: MetaItem::CoreMarks })
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader(unseal(&CORE_KEY, value)?);
        let marks = Self {
            generation: reader.u64()?,
            replay: reader.position()?,
            replay_sequence: reader.u64()?,
            next_space: Space(reader.u32()?),
        };
        reader.at_end().then_some(marks)
    }
}

impl ReplicaMarks {
    /// The marks' `meta` key.
    #[must_use]
    pub fn key(&self) -> [u8; REPLICA_KEY_BYTES] {
        let mut key = [REPLICA_PREFIX[0]; REPLICA_KEY_BYTES];
        key[1..].copy_from_slice(&encode_name(self.name));
        key
    }

    /// The marks' value.
    ///
    /// # Errors
    /// When a part of it is over its limit.
    pub fn encode(&self) -> Result<Vec<u8>, IndexError> {
        let low = length(self.low.len(), KEY_BYTES_MAX)?;
        let high = length(self.high.len(), KEY_BYTES_MAX)?;
        let runs = length(self.term_runs.len(), TERM_RUNS_MAX)?;
        let state = length(self.state.len(), STATE_BYTES_MAX)?;
        let mut out = Vec::with_capacity(80 + self.low.len() + self.high.len() + 16 * self.term_runs.len() + self.state.len());
        for word in [self.space.0, u32::from(self.damaged), low, high, runs, state] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let HardState { term, vote } = self.hard_state;
        for word in [self.applied.0, self.applied_term.0, term.0, vote.0, self.commit.0, self.truncated.0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.low);
        out.extend_from_slice(&self.high);
        for (first, term) in &self.term_runs {
            out.extend_from_slice(&first.0.to_le_bytes());
            out.extend_from_slice(&term.0.to_le_bytes());
        }
        out.extend_from_slice(&self.state);
        Ok(seal(&self.key(), out))
    }

    /// The marks in a `meta` key and value.
    ///
    /// # Errors
    /// When they are damaged.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, IndexError> {
        Self::parse(key, value).ok_or(IndexError::DamagedMeta {
            item: MetaItem::ReplicaMarks,
        })
    }

    fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let name = decode_name(key.strip_prefix(&REPLICA_PREFIX)?)?;
        let mut reader = Reader(unseal(key, value)?);
        let (space, damaged) = (Space(reader.u32()?), reader.flag()?);
        let (low, high) = (reader.length(KEY_BYTES_MAX)?, reader.length(KEY_BYTES_MAX)?);
        let (runs, state) = (reader.length(TERM_RUNS_MAX)?, reader.length(STATE_BYTES_MAX)?);
        let marks = Self {
            name,
            damaged,
            space,
            applied: LogIndex(reader.u64()?),
            applied_term: Term(reader.u64()?),
            hard_state: HardState {
                term: Term(reader.u64()?),
                vote: ReplicaId(reader.u64()?),
            },
            commit: LogIndex(reader.u64()?),
            truncated: LogIndex(reader.u64()?),
            low: reader.bytes(low)?,
            high: reader.bytes(high)?,
            term_runs: reader.term_runs(runs)?,
            state: reader.bytes(state)?,
        };
        reader.at_end().then_some(marks)
    }
}

/// The `positions` key of a replica's entry; keys order as name, then index.
#[must_use]
pub fn position_key(name: ReplicaName, index: LogIndex) -> [u8; POSITION_KEY_BYTES] {
    let mut key = [0; POSITION_KEY_BYTES];
    key[..NAME_BYTES].copy_from_slice(&encode_name(name));
    key[NAME_BYTES..].copy_from_slice(&index.0.to_be_bytes());
    key
}

/// A position's value: segment, then offset.
#[must_use]
pub fn encode_position(position: Position) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&position.segment.to_le_bytes());
    out[4..].copy_from_slice(&position.offset.to_le_bytes());
    out
}

/// What a `positions` key and value say: replica, index, batch.
///
/// # Errors
/// When they are damaged.
pub fn decode_position(key: &[u8], value: &[u8]) -> Result<(ReplicaName, LogIndex, Position), IndexError> {
    let parse = || {
        let (name, index) = key.split_at_checked(NAME_BYTES)?;
        let index = LogIndex(u64::from_be_bytes(index.try_into().ok()?));
        let mut reader = Reader(value);
        let position = reader.position()?;
        reader.at_end().then_some((decode_name(name)?, index, position))
    };
    parse().ok_or(IndexError::DamagedMeta { item: MetaItem::Position })
}

fn encode_name(name: ReplicaName) -> [u8; NAME_BYTES] {
    let mut out = [0; NAME_BYTES];
    out[..8].copy_from_slice(&name.shard.0.to_be_bytes());
    out[8..].copy_from_slice(&name.replica.0.to_be_bytes());
    out
}

fn decode_name(bytes: &[u8]) -> Option<ReplicaName> {
    let (shard, replica) = bytes.split_at_checked(8)?;
    Some(ReplicaName {
        shard: ShardId(u64::from_be_bytes(shard.try_into().ok()?)),
        replica: ReplicaId(u64::from_be_bytes(replica.try_into().ok()?)),
    })
}

/// A length within its limit; every limit fits a u32.
fn length(bytes: usize, limit: usize) -> Result<u32, IndexError> {
    let too_large = IndexError::MarksTooLarge {
        item: MetaItem::ReplicaMarks,
        bytes,
        limit,
    };
    if bytes > limit {
        return Err(too_large);
    }
    u32::try_from(bytes).map_err(|_| too_large)
}

#[cfg(test)]
#[path = "marks_tests.rs"]
mod tests;
