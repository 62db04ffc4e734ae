//! Values that carry a checksum, and taking them apart without trusting a length in them.
//!
//! Not here, on purpose: what the words mean (`marks`).

use bytes::Bytes;
use margate_net::ids::{LogIndex, Term};

use crate::types::Position;

/// A value with the checksum of its key and itself behind it.
pub(super) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(key, &value);
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

/// A sealed value without its checksum; `None` if that does not match.
pub(super) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (value, found) = sealed.split_last_chunk::<4>()?;
    (checksum(key, value) == u32::from_le_bytes(*found)).then_some(value)
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// Takes little-endian words off the front of bytes that may be too short.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// 0 or 1.
    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.u32()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }

    /// A length that its writer could have written.
    pub(super) fn length(&mut self, max: usize) -> Option<usize> {
        usize::try_from(self.u32()?).ok().filter(|length| *length <= max)
    }

    pub(super) fn position(&mut self) -> Option<Position> {
        Some(Position {
            segment: self.u32()?,
            offset: self.u32()?,
        })
    }

    pub(super) fn bytes(&mut self, length: usize) -> Option<Bytes> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Bytes::copy_from_slice(front))
    }

    /// Nothing is allocated for a claimed count: the bytes must be there first.
    pub(super) fn term_runs(&mut self, count: usize) -> Option<Vec<(LogIndex, Term)>> {
        let (front, rest) = self.0.split_at_checked(count.checked_mul(16)?)?;
        self.0 = rest;
        let mut runs = Reader(front);
        (0..count).map(|_| Some((LogIndex(runs.u64()?), Term(runs.u64()?)))).collect()
    }

    pub(super) const fn at_end(&self) -> bool {
        self.0.is_empty()
    }
}
