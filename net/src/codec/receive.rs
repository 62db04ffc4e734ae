//! Operations as they arrive: checked one by one, so that a bad one refuses only itself.
//!
//! Lengths that do not add up refuse the whole frame, since no operation after them can be found.

use bytes::Bytes;

use super::{OperationKind, Pieces, check_count, flag, root};
use crate::error::{ArgumentFault, Refusal};
use crate::frame::{Frame, FrameError, FrameKind};
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
