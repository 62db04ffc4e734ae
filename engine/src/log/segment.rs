//! A segment's first block: whose the file is, and which life of it this is.
//!
//! The header is written last, after the zero fill is durable: a valid one proves a fully prewritten segment.
//!
//! Not here, on purpose: making, naming and deleting the files (a `runtime` folder).

use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId};

use super::bytes::{Reader, checksum_without};
use super::limits::BLOCK_BYTES;
use super::scan::ScanError;
use crate::types::Position;

/// The version of everything in the log; grows when a reader of the former could go wrong.
pub const FORMAT: u16 = 1;

/// First bytes of a segment file: `MgtS`.
const SEGMENT_MAGIC: u32 = u32::from_le_bytes(*b"MgtS");
/// Where the header's checksum is; in every format to come, so that a newer one is told from a damaged one.
const CHECKSUM_AT: usize = 20;

/// Whose log this is, and how it is cut into files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The deployment.
    pub cluster: ClusterId,
    /// The data directory.
    pub directory: DirectoryId,
    /// The node.
    pub node: NodeId,
    /// The core whose log it is.
    pub core: CoreId,
    /// Bytes of each new segment: whole blocks, `SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX` in production.
    pub segment_bytes: u32,
    /// Prewritten segments to keep ready beside the one in use; at least one is.
    pub ready_min: usize,
}

/// A prewritten segment that waits for its first batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadySegment {
    /// Its number.
    pub number: u32,
    /// The salt in its header.
    pub salt: u64,
    /// Which life of its file this is; 1 is the first.
    pub life: u32,
}

/// What a segment's first block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The deployment.
    pub cluster: ClusterId,
    /// The data directory.
    pub directory: DirectoryId,
    /// The node.
    pub node: NodeId,
    /// The core.
    pub core: CoreId,
    /// The segment's number, from 1.
    pub number: u32,
    /// Bytes of the file.
    pub length: u32,
    /// Random, new in every life of the file: batches of a former life carry another.
    pub salt: u64,
    /// Which life of the file this is; only in its first, 1, were the blocks behind the header zero.
    pub life: u32,
}

/// Why a first block is no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// No magic, a bad checksum, another block size, or too few bytes.
    Unreadable,
    /// A sound header of a format to come.
    NewerFormat { found: u16 },
}

impl LogConfig {
    /// The header of this log's segment of some number and salt.
    #[must_use]
    pub fn segment_header(&self, segment: ReadySegment) -> SegmentHeader {
        SegmentHeader {
            cluster: self.cluster,
            directory: self.directory,
            node: self.node,
            core: self.core,
            number: segment.number,
            length: self.segment_bytes,
            salt: segment.salt,
            life: segment.life,
        }
    }
}

impl SegmentHeader {
    /// The block to write at the start of the file, once its zero fill is durable.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        block.extend_from_slice(&FORMAT.to_le_bytes());
        block.extend_from_slice(&self.core.0.to_le_bytes());
        block.extend_from_slice(&self.number.to_le_bytes());
        block.extend_from_slice(&self.length.to_le_bytes());
        block.extend_from_slice(&block_bytes_u32().to_le_bytes());
        block.extend_from_slice(&[0; 4]); // The checksum, filled in below.
        block.extend_from_slice(&self.salt.to_le_bytes());
        block.extend_from_slice(&self.cluster.0.to_le_bytes());
        block.extend_from_slice(&self.directory.0.to_le_bytes());
        block.extend_from_slice(&self.node.0.to_le_bytes());
        block.extend_from_slice(&self.life.to_le_bytes());
        block.resize(BLOCK_BYTES, 0);
        let checksum = checksum_without(&block, CHECKSUM_AT);
        block[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        let mut header = [0; BLOCK_BYTES];
        header.copy_from_slice(&block);
        header
    }

    /// Reads a first block.
    pub(crate) fn parse(block: &[u8]) -> Result<Self, HeaderFault> {
        let fields = Self::fields(block).ok_or(HeaderFault::Unreadable)?;
        if block.len() != BLOCK_BYTES || checksum_without(block, CHECKSUM_AT) != fields.checksum {
            return Err(HeaderFault::Unreadable);
        }
        if fields.format > FORMAT {
            return Err(HeaderFault::NewerFormat { found: fields.format });
        }
        if fields.block_bytes == block_bytes_u32() {
            Ok(fields.header)
        } else {
            Err(HeaderFault::Unreadable)
        }
    }

    /// Which life of its file a first block speaks of; 1 if it says nothing.
    #[must_use]
    pub fn life_in(block: &[u8]) -> u32 {
        Self::parse(block).map_or(1, |header| header.life)
    }

    /// Refuses a segment of another deployment, directory, node or core.
    pub(super) fn check_owner(&self, identity: &LogConfig) -> Result<(), ScanError> {
        let segment = self.number;
        if self.cluster != identity.cluster {
            return Err(ScanError::ForeignCluster {
                segment,
                found: self.cluster,
                expected: identity.cluster,
            });
        }
        if self.directory != identity.directory {
            return Err(ScanError::ForeignDirectory {
                segment,
                found: self.directory,
                expected: identity.directory,
            });
        }
        if self.node != identity.node {
            return Err(ScanError::ForeignNode {
                segment,
                found: self.node,
                expected: identity.node,
            });
        }
        if self.core != identity.core {
            return Err(ScanError::ForeignCore {
                segment,
                found: self.core,
                expected: identity.core,
            });
        }
        Ok(())
    }

    fn fields(block: &[u8]) -> Option<Fields> {
        let mut reader = Reader::new(block);
        if reader.u32()? != SEGMENT_MAGIC {
            return None;
        }
        let format = reader.u16()?;
        let core = CoreId(reader.u16()?);
        let number = reader.u32()?;
        let length = reader.u32()?;
        let block_bytes = reader.u32()?;
        let checksum = reader.u32()?;
        let salt = reader.u64()?;
        let cluster = ClusterId(reader.u128()?);
        let directory = DirectoryId(reader.u128()?);
        let node = NodeId(reader.u64()?);
        let life = reader.u32()?;
        let header = Self {
            cluster,
            directory,
            node,
            core,
            number,
            length,
            salt,
            life,
        };
        Some(Fields {
            header,
            format,
            block_bytes,
            checksum,
        })
    }
}

/// A first block's fields before any of them is proven.
struct Fields {
    header: SegmentHeader,
    format: u16,
    block_bytes: u32,
    checksum: u32,
}

/// The first place in a segment a batch may start.
#[must_use]
pub const fn first_batch(segment: u32) -> Position {
    Position {
        segment,
        offset: block_bytes_u32(),
    }
}

/// A position further on in the same segment, as long as that is below 4 GiB.
pub(crate) fn further(at: Position, bytes: usize) -> Option<Position> {
    let offset = at.offset.checked_add(u32::try_from(bytes).ok()?)?;
    Some(Position {
        segment: at.segment,
        offset,
    })
}

/// A block's bytes as the format stores lengths.
#[expect(clippy::cast_possible_truncation, reason = "4,096 fits, and `try_from` is not const")]
const fn block_bytes_u32() -> u32 {
    BLOCK_BYTES as u32
}
