//! Operations of clients.
//!
//! Each operation is a fixed-size header in the body and up to three pieces in the payload: key, then
//! expected value, then value; a list's pieces are its bounds. One bad operation refuses only itself;
//! lengths that do not add up refuse the frame, since no operation after them can be found.

use bytes::Bytes;

use super::{FrameWriter, Pieces, check_count, count_of, length_of, root};
use crate::error::{ArgumentFault, Refusal};
use crate::frame::{Frame, FrameError, FrameKind, begin, finish};
use crate::generated::margate::wire;
use crate::ids::{RangeEpoch, ShardId, Version};
use crate::limits::{KEY_BYTES_MAX, LIST_ROWS_MAX, OPERATIONS_PER_FRAME_MAX, VALUE_BYTES_MAX};
use crate::message::{Consistency, Direction, Operation, Precondition, Projection, ReadVersion, Request, Returning};

/// An operation as it came: carried out if it is valid, refused alone if it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// The client's name for it.
    pub id: u64,
    /// The operation, or the refusal to send back.
    pub request: Result<Request, Refusal>,
}

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
/// refuses can, with this.
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
        self.request_frame(out, requests.iter().map(RawRequest::of));
    }

    /// Appends one frame with these operations, unchecked: for tests of what a server refuses.
    ///
    /// # Panics
    /// As [`FrameWriter::requests`].
    pub fn raw_requests(&mut self, out: &mut Vec<u8>, requests: &[RawRequest<'_>]) {
        self.request_frame(out, requests.iter().copied());
    }

    fn request_frame<'a>(&mut self, out: &mut Vec<u8>, requests: impl Iterator<Item = RawRequest<'a>> + Clone) {
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

/// The operations of a frame.
///
/// # Errors
/// [`FrameError`] if the frame as a whole makes no sense; a bad operation is a refusal in its place.
pub fn decode_requests(frame: &Frame) -> Result<Vec<ReceivedRequest>, FrameError> {
    let operations = root::<wire::Requests<'_>>(frame, FrameKind::Request)?.operations();
    check_count(frame, operations.len(), OPERATIONS_PER_FRAME_MAX, "it has too many operations")?;
    let mut pieces = Pieces::of(frame);
    let mut received = Vec::with_capacity(operations.len());
    for fields in operations {
        received.push(receive(fields, &mut pieces)?);
    }
    pieces.end()?;
    Ok(received)
}

fn receive(fields: &wire::OperationFields, pieces: &mut Pieces) -> Result<ReceivedRequest, FrameError> {
    let found = [
        pieces.take(fields.first_length())?,
        pieces.take(fields.second_length())?,
        pieces.take(fields.third_length())?,
    ];
    let kind = OperationKind::from_wire(fields.kind());
    let used = kind.map_or(found.len(), OperationKind::pieces);
    if found.iter().skip(used).any(|piece| !piece.is_empty()) {
        return Err(pieces.malformed("an operation has a piece that its kind does not take"));
    }
    let operation = match kind {
        Some(kind) => parse(kind, fields, found),
        None => Err(Refusal::InvalidArgument(ArgumentFault::UnknownOperation)),
    };
    let request = operation.map(|operation| Request {
        id: fields.id(),
        shard: ShardId(fields.shard()),
        range_epoch: RangeEpoch(fields.range_epoch()),
        timeout_ms: fields.timeout_ms(),
        operation,
    });
    Ok(ReceivedRequest { id: fields.id(), request })
}

fn parse(kind: OperationKind, fields: &wire::OperationFields, pieces: [Bytes; 3]) -> Result<Operation, Refusal> {
    let flags = Flags(fields.flags());
    flags.check(kind)?;
    let version = Version(fields.version());
    let returning = flags.returning();
    let [first, second, third] = pieces;
    let key = check_key(first)?;
    Ok(match kind {
        OperationKind::Set => Operation::Set {
            key,
            value: check_value(second)?,
            precondition: flags.precondition(version)?,
            returning,
        },
        OperationKind::Get => Operation::Get {
            key,
            version: flags.read_version(version),
            consistency: flags.consistency(),
            returning,
        },
        OperationKind::Delete => Operation::Delete {
            key,
            at_version: flags.has(flag::AT_VERSION).then_some(version),
            returning,
        },
        OperationKind::CompareExchange => Operation::CompareExchange {
            key,
            expected: check_value(second)?,
            value: check_value(third)?,
            returning,
        },
        OperationKind::Size => Operation::Size {
            key,
            version: flags.read_version(version),
            consistency: flags.consistency(),
            returning,
        },
        OperationKind::List => Operation::List {
            low: key,
            high: check_key(second)?,
            limit: check_limit(fields.limit())?,
            direction: flags.direction(),
            projection: flags.projection(),
            consistency: flags.consistency(),
        },
    })
}

fn check_key(key: Bytes) -> Result<Bytes, Refusal> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(key);
    }
    Err(Refusal::InvalidKey {
        length: key.len() as u64,
        max: KEY_BYTES_MAX as u64,
    })
}

fn check_value(value: Bytes) -> Result<Bytes, Refusal> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(value);
    }
    Err(Refusal::ValueTooLarge {
        length: value.len() as u64,
        max: VALUE_BYTES_MAX as u64,
    })
}

fn check_limit(limit: u32) -> Result<u32, Refusal> {
    match limit {
        0 => Err(Refusal::InvalidArgument(ArgumentFault::ZeroLimit)),
        wanted => Ok(wanted.min(LIST_ROWS_MAX)),
    }
}

/// The flags of one operation.
#[derive(Clone, Copy)]
struct Flags(u16);

impl Flags {
    fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }

    fn check(self, kind: OperationKind) -> Result<(), Refusal> {
        if self.0 & !kind.flags() == 0 {
            Ok(())
        } else {
            Err(Refusal::InvalidArgument(ArgumentFault::UnexpectedFlag))
        }
    }

    fn returning(self) -> Returning {
        Returning {
            key: self.has(flag::RETURN_KEY),
            old_value: self.has(flag::RETURN_OLD_VALUE),
        }
    }

    fn precondition(self, version: Version) -> Result<Precondition, Refusal> {
        let (create, modify, at) = (self.has(flag::CREATE_ONLY), self.has(flag::MODIFY_ONLY), self.has(flag::AT_VERSION));
        match (create, modify, at) {
            (true, true, _) => Err(Refusal::InvalidArgument(ArgumentFault::CreateAndModify)),
            (true, false, true) => Err(Refusal::InvalidArgument(ArgumentFault::CreateAtVersion)),
            (true, false, false) => Ok(Precondition::Absent),
            // At a version a key exists, so `modify_only` adds nothing.
            (false, _, true) => Ok(Precondition::AtVersion(version)),
            (false, true, false) => Ok(Precondition::Present),
            (false, false, false) => Ok(Precondition::Always),
        }
    }

    fn read_version(self, version: Version) -> ReadVersion {
        if self.has(flag::AT_VERSION) {
            ReadVersion::Exact(version)
        } else {
            ReadVersion::Latest
        }
    }

    fn consistency(self) -> Consistency {
        if self.has(flag::STALE) {
            Consistency::Stale
        } else {
            Consistency::Linearizable
        }
    }

    fn direction(self) -> Direction {
        if self.has(flag::REVERSE) {
            Direction::Reverse
        } else {
            Direction::Forward
        }
    }

    fn projection(self) -> Projection {
        if self.has(flag::KEYS_ONLY) {
            Projection::KeysOnly
        } else {
            Projection::KeysAndValues
        }
    }
}

impl OperationKind {
    fn from_wire(code: u8) -> Option<Self> {
        [Self::Set, Self::Get, Self::Delete, Self::CompareExchange, Self::Size, Self::List]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }

    /// The flags it takes.
    fn flags(self) -> u16 {
        match self {
            Self::Set => flag::RETURN_KEY | flag::RETURN_OLD_VALUE | flag::CREATE_ONLY | flag::MODIFY_ONLY | flag::AT_VERSION,
            Self::Get | Self::Size => flag::RETURN_KEY | flag::AT_VERSION | flag::STALE,
            Self::Delete => flag::RETURN_KEY | flag::RETURN_OLD_VALUE | flag::AT_VERSION,
            Self::CompareExchange => flag::RETURN_KEY | flag::RETURN_OLD_VALUE,
            Self::List => flag::STALE | flag::REVERSE | flag::KEYS_ONLY,
        }
    }

    /// How many pieces it has.
    fn pieces(self) -> usize {
        match self {
            Self::Get | Self::Delete | Self::Size => 1,
            Self::Set | Self::List => 2,
            Self::CompareExchange => 3,
        }
    }
}

impl<'a> RawRequest<'a> {
    /// The wire form of a valid operation.
    #[must_use]
    pub fn of(request: &'a Request) -> Self {
        let bare = Self {
            id: request.id,
            shard: request.shard.0,
            range_epoch: request.range_epoch.0,
            timeout_ms: request.timeout_ms,
            kind: 0,
            flags: 0,
            version: 0,
            limit: 0,
            pieces: [&[], &[], &[]],
        };
        match &request.operation {
            Operation::Set {
                key,
                value,
                precondition,
                returning,
            } => bare
                .kind(OperationKind::Set, [key, value, &[]])
                .returning(*returning)
                .when(*precondition),
            Operation::Get {
                key,
                version,
                consistency,
                returning,
            } => bare
                .kind(OperationKind::Get, [key, &[], &[]])
                .returning(*returning)
                .reading(*version, *consistency),
            Operation::Delete {
                key,
                at_version,
                returning,
            } => bare
                .kind(OperationKind::Delete, [key, &[], &[]])
                .returning(*returning)
                .at(*at_version),
            Operation::CompareExchange {
                key,
                expected,
                value,
                returning,
            } => bare
                .kind(OperationKind::CompareExchange, [key, expected, value])
                .returning(*returning),
            Operation::Size {
                key,
                version,
                consistency,
                returning,
            } => bare
                .kind(OperationKind::Size, [key, &[], &[]])
                .returning(*returning)
                .reading(*version, *consistency),
            Operation::List {
                low,
                high,
                limit,
                direction,
                projection,
                consistency,
            } => Self { limit: *limit, ..bare }
                .kind(OperationKind::List, [low, high, &[]])
                .flag(*direction == Direction::Reverse, flag::REVERSE)
                .flag(*projection == Projection::KeysOnly, flag::KEYS_ONLY)
                .reading(ReadVersion::Latest, *consistency),
        }
    }

    fn kind(self, kind: OperationKind, pieces: [&'a [u8]; 3]) -> Self {
        Self {
            kind: kind as u8,
            pieces,
            ..self
        }
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
