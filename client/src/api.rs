//! What callers get: one type per kind of answer, and what is refused before anything is sent.
//!
//! Keys and values in answers are slices of what came from the socket, nothing is copied; an answer that
//! is kept for long keeps up to the whole receive buffer it came in, so copy what must live on.
//!
//! Not here, on purpose: the calls themselves (`runtime/`).

use std::net::SocketAddr;

use bytes::Bytes;
use margate_net::error::{ArgumentFault, Refusal};
use margate_net::ids::{CoreId, LogIndex, NodeId, Version};
use margate_net::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use margate_net::message::{CoreStatus, Operation, Precondition, Row, Success};

use crate::batch::Change;
use crate::error::{Error, ProtocolFault, UnknownCause};

pub use summary::{FailedWrite, WriteSummary};

mod summary;

/// A set wrote its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Version of the value written.
    pub version: Version,
    /// The key, if asked for.
    pub key: Option<Bytes>,
    /// The value that stood before, if asked for and there was one.
    pub old_value: Option<Bytes>,
}

/// A delete took the key away, or found nothing to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Version of the deletion; `None` where nothing was deleted.
    pub version: Option<Version>,
    /// The key, if asked for.
    pub key: Option<Bytes>,
    /// The value that stood before, if asked for and there was one.
    pub old_value: Option<Bytes>,
}

/// A compare-exchange was done, or met another value than the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Version of the new value; `None` where another value stood, or none.
    pub version: Option<Version>,
    /// The key, if asked for.
    pub key: Option<Bytes>,
    /// The value that stood before, if asked for and there was one.
    pub old_value: Option<Bytes>,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its version.
    pub version: Version,
    /// The value.
    pub value: Bytes,
    /// The key, if asked for.
    pub key: Option<Bytes>,
    /// Highest log index the answering replica had applied.
    pub applied: LogIndex,
}

/// The size of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The value's version.
    pub version: Version,
    /// Bytes in the value.
    pub size: u64,
    /// The key, if asked for.
    pub key: Option<Bytes>,
    /// Highest log index the answering replica had applied.
    pub applied: LogIndex,
}

/// Rows of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for. Those of one shard are consistent with each other.
    pub rows: Vec<Row>,
    /// Where the next page starts: the low bound of a forward list, the high bound of a reverse one.
    /// `None` at the end.
    pub resume: Option<Bytes>,
}

/// What one core says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreStatusReply {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its node, by the map.
    pub node: NodeId,
    /// The core, by the map.
    pub core: CoreId,
    /// Its status, or why there is none.
    pub status: Result<CoreStatus, Error>,
}

/// How an operation ended, before it is put into the type its caller wants.
pub(crate) type Outcome = Result<Success, Error>;

/// The answer to a set.
pub(crate) fn written(outcome: Outcome) -> Result<Written, Error> {
    let Success::Written { version, key, old_value } = outcome? else {
        return Err(MISANSWERED_WRITE);
    };
    Ok(Written { version, key, old_value })
}

/// The answer to a delete.
pub(crate) fn deleted(outcome: Outcome) -> Result<Deleted, Error> {
    let Success::Deleted { version, key, old_value } = outcome? else {
        return Err(MISANSWERED_WRITE);
    };
    Ok(Deleted { version, key, old_value })
}

/// The answer to a compare-exchange.
pub(crate) fn exchanged(outcome: Outcome) -> Result<Exchanged, Error> {
    let Success::Exchanged { version, key, old_value } = outcome? else {
        return Err(MISANSWERED_WRITE);
    };
    Ok(Exchanged { version, key, old_value })
}

/// The answer to a get; a missing key is an answer too.
pub(crate) fn found(outcome: Outcome) -> Result<Option<Found>, Error> {
    let Some(success) = unless_missing(outcome)? else {
        return Ok(None);
    };
    let Success::Found {
        version,
        value,
        key,
        applied,
    } = success
    else {
        return Err(ProtocolFault::AnswerOfOtherKind.into());
    };
    Ok(Some(Found {
        version,
        value,
        key,
        applied,
    }))
}

/// The answer to a size; a missing key is an answer too.
pub(crate) fn measured(outcome: Outcome) -> Result<Option<Measured>, Error> {
    let Some(success) = unless_missing(outcome)? else {
        return Ok(None);
    };
    let Success::Sized {
        version,
        size,
        key,
        applied,
    } = success
    else {
        return Err(ProtocolFault::AnswerOfOtherKind.into());
    };
    Ok(Some(Measured {
        version,
        size,
        key,
        applied,
    }))
}

/// The rows and the resume of one part of a list.
pub(crate) fn listed(success: Success) -> Result<(Vec<Row>, Option<Bytes>), Error> {
    let Success::Listed { rows, resume, .. } = success else {
        return Err(ProtocolFault::AnswerOfOtherKind.into());
    };
    Ok((rows, resume))
}

fn unless_missing(outcome: Outcome) -> Result<Option<Success>, Error> {
    match outcome {
        Ok(success) => Ok(Some(success)),
        Err(Error::Refused(Refusal::NotFound)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The conditions of a set as they were called for, perhaps contradicting each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// `create_only` was called.
    pub(crate) create_only: bool,
    /// `modify_only` was called.
    pub(crate) modify_only: bool,
    /// `at_version` was called.
    pub(crate) at_version: Option<Version>,
}

impl Conditions {
    /// The one condition they come down to.
    ///
    /// # Errors
    /// [`Refusal::InvalidArgument`] if they exclude each other, as a server would say it.
    pub(crate) fn precondition(self) -> Result<Precondition, Refusal> {
        match self {
            Self {
                create_only: true,
                modify_only: true,
                ..
            } => Err(Refusal::InvalidArgument(ArgumentFault::CreateAndModify)),
            Self {
                create_only: true,
                at_version: Some(_),
                ..
            } => Err(Refusal::InvalidArgument(ArgumentFault::CreateAtVersion)),
            Self {
                at_version: Some(version), ..
            } => Ok(Precondition::AtVersion(version)),
            Self { create_only: true, .. } => Ok(Precondition::Absent),
            Self { modify_only: true, .. } => Ok(Precondition::Present),
            Self { .. } => Ok(Precondition::Always),
        }
    }
}

/// Refuses what no server takes, so that it need not be sent.
///
/// # Errors
/// The refusal a server would answer with.
pub(crate) fn check(operation: &Operation) -> Result<(), Refusal> {
    match operation {
        Operation::CompareExchange { key, expected, value, .. } => {
            check_key(key)?;
            check_value(expected)?;
            check_value(value)
        }
        Operation::Delete { key, .. } | Operation::Get { key, .. } | Operation::Size { key, .. } => check_key(key),
        Operation::List { low, high, limit, .. } => {
            check_key(low)?;
            check_key(high)?;
            if *limit == 0 { Err(ZERO_LIMIT) } else { Ok(()) }
        }
        Operation::Set { key, value, .. } => {
            check_key(key)?;
            check_value(value)
        }
    }
}

/// What [`check`] checks, of what a batch writer is handed.
///
/// # Errors
/// [`Refusal::InvalidKey`], [`Refusal::ValueTooLarge`].
pub(crate) fn check_change(change: &Change) -> Result<(), Refusal> {
    check_key(&change.key)?;
    change.value.as_ref().map_or(Ok(()), check_value)
}

fn check_key(key: &Bytes) -> Result<(), Refusal> {
    let (length, max) = (key.len() as u64, KEY_BYTES_MAX as u64);
    if length > max {
        Err(Refusal::InvalidKey { length, max })
    } else {
        Ok(())
    }
}

fn check_value(value: &Bytes) -> Result<(), Refusal> {
    let (length, max) = (value.len() as u64, VALUE_BYTES_MAX as u64);
    if length > max {
        Err(Refusal::ValueTooLarge { length, max })
    } else {
        Ok(())
    }
}

/// A list of no rows is refused.
pub(crate) const ZERO_LIMIT: Refusal = Refusal::InvalidArgument(ArgumentFault::ZeroLimit);

/// The write was answered, so something happened, but not what was asked.
pub(crate) const MISANSWERED_WRITE: Error = Error::OutcomeUnknown {
    cause: UnknownCause::Protocol(ProtocolFault::AnswerOfOtherKind),
};

#[cfg(test)]
mod tests;
