//! How many bytes of log the live rows need: what reclaim compares with the bytes the log takes.
//!
//! Both stores keep it exactly: a commit counts every row it writes, replaces or deletes. Sums saturate, because a
//! row may come from a damaged disk.
//!
//! Not here, on purpose: bytes of entries, checkpoints and deletes, which reclaim knows from the log itself.

use super::error::IndexError;
use super::marks::MetaItem;
use super::row::Row;
use super::sealed::{Reader, seal, unseal};
use crate::log::effects::effect_bytes;

/// The `meta` key of the live bytes.
pub const LIVE_BYTES_KEY: [u8; 1] = [3];

/// Bytes of log that all rows' records take when written densely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveBytes(pub u64);

impl LiveBytes {
    /// A row was written.
    pub const fn gain(&mut self, key_len: usize, row: &Row) {
        self.0 = self.0.saturating_add(record_bytes(key_len, row));
    }

    /// A row was replaced or deleted.
    pub const fn lose(&mut self, key_len: usize, row: &Row) {
        self.0 = self.0.saturating_sub(record_bytes(key_len, row));
    }

    /// The `meta` value.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        seal(&LIVE_BYTES_KEY, self.0.to_le_bytes().to_vec())
    }

    /// The bytes in a `meta` value.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(value: &[u8]) -> Result<Self, IndexError> {
        let parse = || {
            let mut reader = Reader(unseal(&LIVE_BYTES_KEY, value)?);
            let bytes = reader.u64()?;
            reader.at_end().then_some(Self(bytes))
        };
        parse().ok_or(IndexError::DamagedMeta { item: MetaItem::LiveBytes })
    }
}

const fn record_bytes(key_len: usize, row: &Row) -> u64 {
    effect_bytes(key_len, 0).saturating_add(row.size)
}

#[cfg(test)]
mod tests {
    use super::super::conformance::row;
    use super::*;

    #[test]
    fn sizes_from_a_damaged_disk_do_not_overflow() {
        let mut bytes = LiveBytes(5);
        let huge = Row { size: u64::MAX, ..row(1) };
        bytes.gain(9, &huge);
        assert_eq!(bytes, LiveBytes(u64::MAX));
        bytes.lose(9, &huge);
        bytes.lose(9, &row(1));
        assert_eq!(bytes, LiveBytes(0));
    }
}
