//! Answers to clients, some of whose values may still lie in the log.

use bytes::Bytes;
use margate_net::codec::OperationKind;
use margate_net::error::{Fault, Refusal};
use margate_net::message::Success;

use crate::index::row::Row;
use crate::types::Nanos;

/// A client's connection, as its core numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Whom an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection the request came on.
    pub connection: ConnectionId,
    /// The request's id on it.
    pub id: u64,
    /// What it asks.
    pub asked: Asked,
}

/// What is remembered of a question for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What for.
    pub kind: OperationKind,
    /// Monotonic time at which its frame was read.
    pub received: Nanos,
}

/// What a client gets, once `fills` are fetched.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whom it is for.
    pub ticket: Ticket,
    /// The answer; values named in `fills` are still empty.
    pub outcome: Result<Success, Refusal>,
    /// Values to read from the log first.
    pub fills: Vec<Fill>,
}

/// A value that an answer still lacks.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Where it belongs.
    pub place: Place,
    /// Its key.
    pub key: Bytes,
    /// Where it stands and what it must be.
    pub row: Row,
}

impl Asked {
    /// Whether it may change state.
    #[must_use]
    pub const fn writes(&self) -> bool {
        match self.kind {
            OperationKind::CompareExchange | OperationKind::Delete | OperationKind::Set => true,
            OperationKind::Get | OperationKind::List | OperationKind::Size => false,
        }
    }
}

/// Whether an answer tells what was done or what the state is; else it says only that this was not the time or the place to ask.
#[must_use]
pub fn tells(outcome: &Result<Success, Refusal>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(refusal) => refusal.fault() == Fault::State,
    }
}

/// Which value of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The value of a get.
    Value,
    /// The value that stood before a write.
    OldValue,
    /// The value of a list's row.
    Listed(usize),
}

impl Answer {
    /// An answer that needs nothing more.
    #[must_use]
    pub fn ready(ticket: Ticket, outcome: Result<Success, Refusal>) -> Self {
        Self {
            ticket,
            outcome,
            fills: Vec::new(),
        }
    }

    /// A refusal.
    #[must_use]
    pub fn refused(ticket: Ticket, refusal: Refusal) -> Self {
        Self::ready(ticket, Err(refusal))
    }

    /// Whether it reports that something was written: then it may not be refused as not executed.
    #[must_use]
    pub fn writes(&self) -> bool {
        match &self.outcome {
            Ok(Success::Deleted { version, .. } | Success::Exchanged { version, .. }) => version.is_some(),
            Ok(Success::Written { .. }) => true,
            Ok(Success::Found { .. } | Success::Listed { .. } | Success::Sized { .. }) | Err(_) => false,
        }
    }

    /// Whether a value it lacks is to be read from a segment.
    #[must_use]
    pub fn needs_segment(&self, segment: u32) -> bool {
        self.fills.iter().any(|fill| fill.row.position.segment == segment)
    }

    /// Puts a fetched value where it belongs.
    pub fn fill(&mut self, place: Place, bytes: Bytes) {
        let Ok(success) = &mut self.outcome else { return };
        match (place, success) {
            (Place::Value, Success::Found { value, .. }) => *value = bytes,
            (
                Place::OldValue,
                Success::Deleted { old_value, .. } | Success::Exchanged { old_value, .. } | Success::Written { old_value, .. },
            ) => *old_value = Some(bytes),
            (Place::Listed(at), Success::Listed { rows, .. }) => {
                if let Some(row) = rows.get_mut(at) {
                    row.value = Some(bytes);
                }
            }
            (place, success) => unreachable!("{place:?} has no room in {success:?}: fills are made with the answer"),
        }
    }
}
