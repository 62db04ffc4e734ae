//! Small words shared by every part of the engine.

use std::fmt;

use margate_net::ids::{ReplicaId, ShardId, Term};

/// Nanoseconds of some clock: monotonic for timers, wall for leader timestamps; each field says which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

/// A replica's whole name: replica ids are unique only inside their shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaName {
    /// Its shard.
    pub shard: ShardId,
    /// Its id in that shard.
    pub replica: ReplicaId,
}

/// A byte's place in a core's log: segment number and offset in that segment's file.
///
/// Positions order as the log was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Segment number; the first segment is 1.
    pub segment: u32,
    /// Bytes from the start of the segment file.
    pub offset: u32,
}

/// What a replica must never forget: its term and its vote in it. The commit travels apart (batch headers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The current term.
    pub term: Term,
    /// Who got this replica's vote in that term; replica 0 is nobody.
    pub vote: ReplicaId,
}

/// The first 128 bits of a value's BLAKE3 hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueHash(pub [u8; 16]);

impl HardState {
    /// Whether it was written after another of the same replica: within a term a vote is only ever added.
    #[must_use]
    pub fn is_newer_than(self, other: Self) -> bool {
        (self.term, self.vote) > (other.term, other.vote)
    }
}

impl Nanos {
    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// This time plus a span, saturating.
    #[must_use]
    pub const fn plus(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// Time since an earlier moment, zero if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Nanos) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl ValueHash {
    /// That of a value of no bytes.
    pub const OF_NOTHING: Self = Self([
        0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49,
    ]);

    /// The hash of a value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        Self::begin_of(blake3::hash(value).as_bytes())
    }

    /// What is kept of a digest.
    pub(crate) fn begin_of(digest: &[u8; blake3::OUT_LEN]) -> Self {
        let (short, _) = digest.split_first_chunk().expect("a digest is twice as long");
        Self(*short)
    }
}

impl fmt::Debug for ValueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValueHash({:032x})", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} replica {}", self.shard, self.replica)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} offset {}", self.segment, self.offset)
    }
}
