//! Why bytes are not effects, in the words of those who read whole entries and of those who read one value.

use margate_net::ids::{ShardId, Version};

use crate::log::limits::ENTRY_DATA_BYTES_MAX;

/// Why an entry's data are not effects. The entry is refused, or its batch is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// More bytes than an entry may have.
    #[error("entry data of {bytes} bytes are over the limit of {ENTRY_DATA_BYTES_MAX}; drop the entry")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// The bytes end inside a header, a key or a value.
    #[error("entry data end inside the item at byte {offset}; fetch the entry again from another replica")]
    Cut {
        /// Where that item begins in the data.
        offset: usize,
    },
    /// The header's flags say something this version does not know.
    #[error("entry data have unknown flags {flags:#x}; upgrade this node")]
    UnknownFlags {
        /// The flags.
        flags: u32,
    },
    /// An effect of a kind, or with flags, this version does not know.
    #[error("the effect at byte {offset} has unknown kind {kind} or flags {flags:#x}; upgrade this node")]
    UnknownKind {
        /// Where it begins in the data.
        offset: usize,
        /// Its kind.
        kind: u8,
        /// Its flags.
        flags: u8,
    },
    /// A key or value over its limit, or a delete with a value.
    #[error(
        "the effect at byte {offset} has a key of {key_bytes} and a value of {value_bytes} bytes, which its kind may not have; fetch the entry again from another replica"
    )]
    BadLengths {
        /// Where it begins in the data.
        offset: usize,
        /// Bytes in its key.
        key_bytes: usize,
        /// Bytes in its value.
        value_bytes: usize,
    },
    /// Bytes follow the last effect.
    #[error("{bytes} bytes follow the last effect; fetch the entry again from another replica")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// An effect's checksum does not match.
    #[error("the effect at byte {offset} does not match its checksum; fetch the entry again from another replica")]
    BadChecksum {
        /// Where it begins in the data.
        offset: usize,
    },
}

/// Why the bytes an index row points at are not the effect it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordMismatch {
    /// Fewer bytes than the effect has.
    #[error("the record has {have} bytes and needs {needs}; read that many")]
    Cut {
        /// Bytes given.
        have: usize,
        /// Bytes needed.
        needs: usize,
    },
    /// Not an effect this version knows, or lengths it may not have.
    #[error("the record has kind {kind}, a key of {key_bytes} and a value of {value_bytes} bytes: not an effect; look the key up again")]
    NotAnEffect {
        /// Its kind.
        kind: u8,
        /// Bytes in its key.
        key_bytes: usize,
        /// Bytes in its value.
        value_bytes: usize,
    },
    /// Written in another deployment.
    #[error("the record is tagged {found:#010x}, this deployment {expected:#010x}; look the key up again")]
    OtherCluster {
        /// Its tag.
        found: u32,
        /// The tag of the deployment that reads it.
        expected: u32,
    },
    /// Written by another shard.
    #[error("the record is of shard {found}; look the key up again")]
    OtherShard {
        /// Its shard.
        found: ShardId,
    },
    /// For another key.
    #[error("the record is of another key; look the key up again")]
    OtherKey,
    /// At another version.
    #[error("the record is at version {found}; look the key up again")]
    OtherVersion {
        /// Its version.
        found: Version,
    },
    /// Everything fits but the checksum.
    #[error("the record does not match its checksum; fetch it from another replica")]
    BadChecksum,
}
