//! Operations as they are sent.
//!
//! Each operation is a fixed-size header in the body and up to three pieces in the payload: key, then
//! expected value, then value; a list's pieces are its bounds.

use super::{FrameWriter, count_of, length_of};
use crate::frame::{FrameKind, begin, finish};
use crate::generated::margate::wire;
use crate::ids::Version;
use crate::limits::OPERATIONS_PER_FRAME_MAX;
use crate::message::{Consistency, Direction, Operation, Precondition, Projection, ReadVersion, Request, Returning};

/// Codes of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OperationKind {
    /// [`Operation::Set`].
    Set = 1,
    /// [`Operation::Get`].
    Get = 2,
    /// [`Operation::Delete`].
    Delete = 3,
    /// [`Operation::CompareExchange`].
    CompareExchange = 4,
    /// [`Operation::Size`].
    Size = 5,
    /// [`Operation::List`].
    List = 6,
}

/// Flags of operations; each kind takes some of them.
pub mod flag {
    /// Send the literal key back.
    pub const RETURN_KEY: u16 = 1;
    /// Send the value back that stood before.
    pub const RETURN_OLD_VALUE: u16 = 2;
    /// Write only if the key does not exist.
    pub const CREATE_ONLY: u16 = 4;
    /// Write only if the key exists.
    pub const MODIFY_ONLY: u16 = 8;
    /// The header's version counts.
    pub const AT_VERSION: u16 = 16;
    /// Any replica may answer.
    pub const STALE: u16 = 32;
    /// List from the largest key down.
    pub const REVERSE: u16 = 64;
    /// List keys without values.
    pub const KEYS_ONLY: u16 = 128;
}

/// An operation in its wire form, unchecked. [`Request`] cannot say wrong things; tests of what a server
/// refuses can, with this. And it owns nothing: who keeps operations in a form of their own sends them so.
#[derive(Clone, Copy, Debug)]
pub struct RawRequest<'a> {
    /// As in [`Request::id`].
    pub id: u64,
    /// As in [`Request::shard`].
    pub shard: u64,
    /// As in [`Request::range_epoch`].
    pub range_epoch: u64,
    /// As in [`Request::timeout_ms`].
    pub timeout_ms: u32,
    /// An [`OperationKind`].
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u16,
    /// For [`flag::AT_VERSION`].
    pub version: u64,
    /// Rows wanted by a list.
    pub limit: u32,
    /// Key and values, or bounds; empty where the kind has fewer.
    pub pieces: [&'a [u8]; 3],
}

/// Bytes of payload that a request takes in its frame.
#[must_use]
pub fn request_payload_bytes(request: &Request) -> usize {
    request.operation.payload_bytes()
}

impl FrameWriter {
    /// Appends one frame with these operations.
    ///
    /// # Panics
    /// Over [`OPERATIONS_PER_FRAME_MAX`] operations or [`crate::limits::PAYLOAD_BYTES_MAX`] bytes of
    /// [`request_payload_bytes`]: the caller splits.
    pub fn requests(&mut self, out: &mut Vec<u8>, requests: &[Request]) {
        self.raw_requests(out, requests.iter().map(RawRequest::of));
    }

    /// Appends one frame with these operations, unchecked. The pieces of all, in order, are its end.
    ///
    /// # Panics
    /// As [`FrameWriter::requests`].
    pub fn raw_requests<'a>(&mut self, out: &mut Vec<u8>, requests: impl Iterator<Item = RawRequest<'a>> + Clone) {
        self.operations.clear();
        self.operations.extend(requests.clone().map(|request| request.fields()));
        assert!(
            self.operations.len() <= OPERATIONS_PER_FRAME_MAX,
            "{} operations are too many for a frame",
            count_of(&self.operations)
        );
        self.builder.reset();
        let operations = Some(self.builder.create_vector(&self.operations));
        let body = wire::Requests::create(&mut self.builder, &wire::RequestsArgs { operations });
        self.builder.finish(body, None);
        let start = begin(out, self.builder.finished_data());
        for piece in requests.flat_map(|request| request.pieces) {
            out.extend_from_slice(piece);
        }
        finish(out, start, FrameKind::Request, 0);
    }
}

impl OperationKind {
    /// All, in the order of their codes.
    pub const ALL: [Self; 6] = [Self::Set, Self::Get, Self::Delete, Self::CompareExchange, Self::Size, Self::List];

    /// The kind of an operation.
    #[must_use]
    pub const fn of(operation: &Operation) -> Self {
        match operation {
            Operation::CompareExchange { .. } => Self::CompareExchange,
            Operation::Delete { .. } => Self::Delete,
            Operation::Get { .. } => Self::Get,
            Operation::List { .. } => Self::List,
            Operation::Set { .. } => Self::Set,
            Operation::Size { .. } => Self::Size,
        }
    }

    /// As people and programs read it; the commands of `margate` have these names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::CompareExchange => "cas",
            Self::Size => "size",
            Self::List => "list",
        }
    }

    pub(super) fn from_wire(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }

    /// The flags it takes.
    pub(super) fn flags(self) -> u16 {
        match self {
            Self::Set => flag::RETURN_KEY | flag::RETURN_OLD_VALUE | flag::CREATE_ONLY | flag::MODIFY_ONLY | flag::AT_VERSION,
            Self::Get | Self::Size => flag::RETURN_KEY | flag::AT_VERSION | flag::STALE,
            Self::Delete => flag::RETURN_KEY | flag::RETURN_OLD_VALUE | flag::AT_VERSION,
            Self::CompareExchange => flag::RETURN_KEY | flag::RETURN_OLD_VALUE,
            Self::List => flag::STALE | flag::REVERSE | flag::KEYS_ONLY,
        }
    }

    /// How many pieces it has.
    pub(super) fn pieces(self) -> usize {
        match self {
            Self::Get | Self::Delete | Self::Size => 1,
            Self::Set | Self::List => 2,
            Self::CompareExchange => 3,
        }
    }
}

impl<'a> RawRequest<'a> {
    /// A set, or a delete where there is no value, that asks for nothing back and is done whatever stands there.
    #[must_use]
    pub const fn write(key: &'a [u8], value: Option<&'a [u8]>) -> Self {
        match value {
            Some(value) => Self::bare(OperationKind::Set, [key, value, &[]]),
            None => Self::bare(OperationKind::Delete, [key, &[], &[]]),
        }
    }

    /// The wire form of a valid operation.
    #[must_use]
    pub fn of(request: &'a Request) -> Self {
        let bare = Self {
            id: request.id,
            shard: request.shard.0,
            range_epoch: request.range_epoch.0,
            timeout_ms: request.timeout_ms,
            ..Self::bare(OperationKind::of(&request.operation), [&[], &[], &[]])
        };
        match &request.operation {
            Operation::Set {
                key,
                value,
                precondition,
                returning,
            } => bare.pieces([key, value, &[]]).returning(*returning).when(*precondition),
            Operation::Get {
                key,
                version,
                consistency,
                returning,
            } => bare.pieces([key, &[], &[]]).returning(*returning).reading(*version, *consistency),
            Operation::Delete {
                key,
                at_version,
                returning,
            } => bare.pieces([key, &[], &[]]).returning(*returning).at(*at_version),
            Operation::CompareExchange {
                key,
                expected,
                value,
                returning,
            } => bare.pieces([key, expected, value]).returning(*returning),
            Operation::Size {
                key,
                version,
                consistency,
                returning,
            } => bare.pieces([key, &[], &[]]).returning(*returning).reading(*version, *consistency),
            Operation::List {
                low,
                high,
                limit,
                direction,
                projection,
                consistency,
            } => Self { limit: *limit, ..bare }
                .pieces([low, high, &[]])
                .flag(*direction == Direction::Reverse, flag::REVERSE)
                .flag(*projection == Projection::KeysOnly, flag::KEYS_ONLY)
                .reading(ReadVersion::Latest, *consistency),
        }
    }

    const fn bare(kind: OperationKind, pieces: [&'a [u8]; 3]) -> Self {
        Self {
            id: 0,
            shard: 0,
            range_epoch: 0,
            timeout_ms: 0,
            kind: kind as u8,
            flags: 0,
            version: 0,
            limit: 0,
            pieces,
        }
    }

    fn pieces(self, pieces: [&'a [u8]; 3]) -> Self {
        Self { pieces, ..self }
    }

    fn flag(self, set: bool, flag: u16) -> Self {
        let flags = if set { self.flags | flag } else { self.flags };
        Self { flags, ..self }
    }

    fn returning(self, returning: Returning) -> Self {
        self.flag(returning.key, flag::RETURN_KEY)
            .flag(returning.old_value, flag::RETURN_OLD_VALUE)
    }

    fn at(self, version: Option<Version>) -> Self {
        Self {
            version: version.map_or(0, |version| version.0),
            ..self
        }
        .flag(version.is_some(), flag::AT_VERSION)
    }

    fn when(self, precondition: Precondition) -> Self {
        match precondition {
            Precondition::Always => self,
            Precondition::Absent => self.flag(true, flag::CREATE_ONLY),
            Precondition::Present => self.flag(true, flag::MODIFY_ONLY),
            Precondition::AtVersion(version) => self.at(Some(version)),
        }
    }

    fn reading(self, version: ReadVersion, consistency: Consistency) -> Self {
        let stale = self.flag(consistency == Consistency::Stale, flag::STALE);
        match version {
            ReadVersion::Latest => stale,
            ReadVersion::Exact(version) => stale.at(Some(version)),
        }
    }

    fn fields(&self) -> wire::OperationFields {
        let [first, second, third] = self.pieces;
        wire::OperationFields::new(
            self.id,
            self.shard,
            self.range_epoch,
            self.version,
            self.timeout_ms,
            self.limit,
            length_of(first),
            length_of(second),
            length_of(third),
            self.flags,
            self.kind,
            0,
        )
    }
}
