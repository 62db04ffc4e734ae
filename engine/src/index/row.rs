//! What stands behind a key: its version, the place of its record, its size and hash; and the bytes of both.
//!
//! ```text
//!  key   0 space u32 big endian │ 4 user key …
//!  row   0 version u64 │ 8 segment u32 │ 12 offset u32 │ 16 size u64 │ 24 flags u32 │ 28 zero u32 │ 32 hash 16 bytes
//! ```
//!
//! Not here, on purpose: deleted keys on disk; a committed delete is the absence of a row.

use std::ops::Bound;

use margate_net::ids::{Space, Version};
use margate_net::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::types::{Position, ValueHash};

/// Bytes of an encoded row.
pub const ROW_BYTES: usize = 48;
/// Bytes of the space in front of every index key.
pub const SPACE_BYTES: usize = 4;
/// Bytes of the longest index key; LMDB's pages of 4 KiB hold keys of up to 1,982.
pub const INDEX_KEY_BYTES_MAX: usize = SPACE_BYTES + KEY_BYTES_MAX;

const _: () = assert!(INDEX_KEY_BYTES_MAX <= 1_982, "LMDB's longest key at a page of 4 KiB");

/// A live key's newest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The version that wrote it.
    pub version: Version,
    /// Where its record begins in the core's log.
    pub position: Position,
    /// Bytes of the value.
    pub size: u64,
    /// What kind of value.
    pub flags: RowFlags,
    /// The value's hash.
    pub hash: ValueHash,
}

/// What kind of value a row points to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowFlags(u32);

/// What the overlay knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It lives.
    Put(Row),
    /// It was deleted by this version; hides whatever lies in the layers below.
    Deleted(Version),
}

/// Why bytes are no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Not the length of a row.
    #[error("{found} bytes instead of {ROW_BYTES}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// A flag this format does not have.
    #[error("unknown flags {found:#x}")]
    Flags {
        /// The flags found.
        found: u32,
    },
    /// More bytes than a value in one record may have.
    #[error("a size of {found} bytes in one record")]
    Size {
        /// The size found.
        found: u64,
    },
    /// The reserved bytes are not zero.
    #[error("reserved bytes hold {found:#x}")]
    Reserved {
        /// What they hold.
        found: u32,
    },
}

impl RowFlags {
    /// An ordinary value in one record.
    pub const NONE: Self = Self(0);
    /// The record is a manifest, the value lies in parts; none are written yet.
    pub const MANIFEST: Self = Self(1);

    /// Whether the record is a manifest.
    #[must_use]
    pub const fn is_manifest(self) -> bool {
        self.0 & Self::MANIFEST.0 != 0
    }

    const fn decode(bits: u32) -> Result<Self, RowError> {
        if bits & !Self::MANIFEST.0 != 0 {
            return Err(RowError::Flags { found: bits });
        }
        Ok(Self(bits))
    }
}

impl Slot {
    /// The version that wrote or deleted the key.
    #[must_use]
    pub const fn version(&self) -> Version {
        match self {
            Self::Put(row) => row.version,
            Self::Deleted(version) => *version,
        }
    }

    /// The row, if the key lives.
    #[must_use]
    pub const fn row(&self) -> Option<Row> {
        match self {
            Self::Put(row) => Some(*row),
            Self::Deleted(_) => None,
        }
    }
}

impl Row {
    /// The row's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[0..8].copy_from_slice(&self.version.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.size.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.flags.0.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.hash.0);
        bytes
    }

    /// The row in these bytes, which may come from a damaged disk.
    ///
    /// # Errors
    /// When they are no row.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let bytes: &[u8; ROW_BYTES] = bytes.try_into().map_err(|_| RowError::Length { found: bytes.len() })?;
        let reserved = u32::from_le_bytes(part(bytes, 28));
        if reserved != 0 {
            return Err(RowError::Reserved { found: reserved });
        }
        let size = u64::from_le_bytes(part(bytes, 16));
        let flags = RowFlags::decode(u32::from_le_bytes(part(bytes, 24)))?;
        // Whatever a manifest may stand for one day: this much is read at once.
        if size > VALUE_BYTES_MAX as u64 {
            return Err(RowError::Size { found: size });
        }
        Ok(Self {
            version: Version(u64::from_le_bytes(part(bytes, 0))),
            position: Position {
                segment: u32::from_le_bytes(part(bytes, 8)),
                offset: u32::from_le_bytes(part(bytes, 12)),
            },
            size,
            flags,
            hash: ValueHash(part(bytes, 32)),
        })
    }
}

/// Replaces `out` with the index key of a user key; `out` is given so that loops reuse one buffer.
pub fn index_key_into(space: Space, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&space.0.to_be_bytes());
    out.extend_from_slice(key);
}

/// The index key of a user key.
#[must_use]
pub fn index_key(space: Space, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SPACE_BYTES + key.len());
    index_key_into(space, key, &mut out);
    out
}

/// The user key inside an index key; `None` if it is too short to have a space.
#[must_use]
pub fn user_key(index_key: &[u8]) -> Option<&[u8]> {
    index_key.get(SPACE_BYTES..)
}

/// The space and the user key inside an index key; `None` if it is too short to have a space.
#[must_use]
pub fn split_index_key(index_key: &[u8]) -> Option<(Space, &[u8])> {
    let (space, key) = index_key.split_first_chunk::<SPACE_BYTES>()?;
    Some((Space(u32::from_be_bytes(*space)), key))
}

/// The index keys of `[low, high)` in a space, `low` below `high`; an empty `high` ends with the space.
#[must_use]
pub fn space_bounds(space: Space, low: &[u8], high: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let end = match (high.is_empty(), space.0.checked_add(1)) {
        (false, _) => Bound::Excluded(index_key(space, high)),
        (true, Some(next)) => Bound::Excluded(index_key(Space(next), b"")),
        (true, None) => Bound::Unbounded,
    };
    (Bound::Included(index_key(space, low)), end)
}

/// `N` bytes from `from`. Callers pass literals, which lie inside the fixed length.
fn part<const N: usize>(bytes: &[u8; ROW_BYTES], from: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[from..from + N]);
    part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn row()(version: u64, segment: u32, offset: u32, size: u64, manifest: bool, hash: [u8; 16]) -> Row {
            Row {
                version: Version(version),
                position: Position { segment, offset },
                size: size % (VALUE_BYTES_MAX as u64 + 1),
                flags: if manifest { RowFlags::MANIFEST } else { RowFlags::NONE },
                hash: ValueHash(hash),
            }
        }
    }

    proptest! {
        #[test]
        fn a_row_survives_its_bytes(row in row()) {
            prop_assert_eq!(Row::decode(&row.encode()), Ok(row));
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(row) = Row::decode(&bytes) {
                prop_assert_eq!(&row.encode()[..], &bytes[..]);
            }
        }

        #[test]
        fn forty_eight_bytes_are_a_row_unless_flags_or_reserved_say_no(bytes: [u8; 16], flags in 0u32..4, reserved in 0u32..2) {
            let mut raw = [0; ROW_BYTES];
            raw[32..].copy_from_slice(&bytes);
            raw[24..28].copy_from_slice(&flags.to_le_bytes());
            raw[28..32].copy_from_slice(&reserved.to_le_bytes());
            match Row::decode(&raw) {
                Ok(row) => prop_assert!(flags < 2 && reserved == 0 && row.flags.is_manifest() == (flags == 1)),
                Err(RowError::Reserved { found }) => prop_assert_eq!(found, 1),
                Err(RowError::Flags { found }) => prop_assert!(found >= 2),
                Err(RowError::Length { .. } | RowError::Size { .. }) => prop_assert!(false, "length and size are right"),
            }
        }

        #[test]
        fn an_impossible_size_is_no_row(row in row(), over in 1u64..) {
            let size = (VALUE_BYTES_MAX as u64).saturating_add(over);
            let raw = Row { size, ..row }.encode();
            prop_assert_eq!(Row::decode(&raw), Err(RowError::Size { found: size }));
        }

        #[test]
        fn index_keys_order_as_space_then_key(a: (u32, Vec<u8>), b: (u32, Vec<u8>)) {
            let (left, right) = (index_key(Space(a.0), &a.1), index_key(Space(b.0), &b.1));
            prop_assert_eq!(user_key(&left), Some(&a.1[..]));
            prop_assert_eq!(split_index_key(&left), Some((Space(a.0), &a.1[..])));
            prop_assert_eq!(split_index_key(&left[..3]), None);
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let row = Row {
            version: Version(0x0807_0605_0403_0201),
            position: Position {
                segment: 0x0c0b_0a09,
                offset: 0x100f_0e0d,
            },
            size: 0x1817_1615_1413_1211,
            flags: RowFlags::MANIFEST,
            hash: ValueHash([0xee; 16]),
        };
        let mut expected: Vec<u8> = (1..=24).collect();
        expected.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0xee; 16]);
        assert_eq!(&row.encode()[..], &expected[..]);
        assert_eq!(index_key(Space(0x0102_0304), b"k"), [1, 2, 3, 4, b'k']);
    }
}
