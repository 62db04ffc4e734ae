//! How operations of batch writers end: put into their writer's outbox at once, many at a time.

use margate_net::ids::{ShardId, Version};
use margate_net::message::Success;

use crate::retry::Failure;

use super::change::Change;

/// The end of one attempt of a batch writer.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The writer's name of the operation.
    pub(crate) number: u32,
    /// What came of it.
    pub(crate) outcome: Result<Effect, Box<Returned>>,
}

/// What a batch writer is told of an answer: it asks for nothing back but versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A delete took the key away, or found nothing to take.
    Deleted(Option<Version>),
    /// An answer to another kind of operation.
    Senseless,
    /// A set wrote its value.
    Written(Version),
}

/// An operation without an answer comes back, for a next attempt.
#[derive(Debug)]
pub(crate) struct Returned {
    /// Why there is no answer.
    pub(crate) failure: Failure,
    /// What was to be done.
    pub(crate) change: Change,
    /// The shard it was sent to.
    pub(crate) shard: ShardId,
}

/// An operation whose writer is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// It will never be sent.
    Queued(Change),
    /// It was sent, or may have been; nobody can say what it was while its frame is being put together.
    Sent(Option<Change>),
}

impl Effect {
    /// What an answer says.
    pub(super) fn of(success: &Success) -> Self {
        match success {
            Success::Deleted { version, .. } => Self::Deleted(*version),
            Success::Written { version, .. } => Self::Written(*version),
            Success::Exchanged { .. } | Success::Found { .. } | Success::Listed { .. } | Success::Sized { .. } => Self::Senseless,
        }
    }
}
