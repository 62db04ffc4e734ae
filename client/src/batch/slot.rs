//! One slot of a window's slab, the ticket that names what is in it, and who is woken by its end.

use std::task::Waker;
use std::time::Duration;

use margate_net::ids::{RangeEpoch, ShardId};
use margate_net::message::{Operation, Request, Success};

use crate::moment::Moment;
use crate::retry::Failure;

use super::Submission;

/// Names an operation in its window, until its end is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// Room for one operation. Its generation grows whenever it becomes free.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) stage: Stage,
    /// Away only while its frame is being written.
    pub(super) operation: Option<Operation>,
    /// The task to wake at the end.
    waker: Option<Waker>,
    pub(super) expires: Moment,
    shard: ShardId,
    deadline: Moment,
    range_epoch: RangeEpoch,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Sent, and nobody waits for it.
    Abandoned,
    /// Ended, and the end not yet taken.
    Done(Result<Success, Failure>),
    /// Empty.
    Free,
    /// Waits to be put into a frame.
    Queued,
    /// Put into a frame.
    Sent,
}

impl Slot {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            generation: 0,
            stage: Stage::Free,
            operation: None,
            waker: None,
            expires: Moment::NEVER,
            shard: ShardId(0),
            deadline: Moment::NEVER,
            range_epoch: RangeEpoch(0),
        }
    }

    /// Free to queued.
    pub(super) fn fill(&mut self, submission: Submission, waker: Waker) {
        let Submission {
            shard,
            range_epoch,
            operation,
            deadline,
            expires,
        } = submission;
        self.stage = Stage::Queued;
        self.operation = Some(operation);
        self.waker = Some(waker);
        self.expires = expires;
        self.deadline = deadline;
        self.range_epoch = range_epoch;
        self.shard = shard;
    }

    /// Queued to sent.
    pub(super) fn start(&mut self, now: Moment, ticket: Ticket) -> Option<Request> {
        self.stage = Stage::Sent;
        Some(Request {
            id: ticket.id(),
            shard: self.shard,
            range_epoch: self.range_epoch,
            timeout_ms: time_for_server(now.until(self.deadline)),
            operation: self.operation.take()?,
        })
    }

    /// Sent to abandoned: only the answer, or the end of the connection, frees it.
    pub(super) fn abandon(&mut self) {
        self.stage = Stage::Abandoned;
        self.waker = None;
        self.operation = None;
    }

    /// To free, under a new generation, so that nothing that names the old one hits it.
    pub(super) fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.stage = Stage::Free;
        self.operation = None;
        self.waker = None;
    }

    /// The task to wake at the end, if there is one.
    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Leaves the waker to call at the end.
    pub(super) fn wake_later(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(present) => present.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

impl Ticket {
    /// The id of the request on the wire.
    pub(super) fn id(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The way back of [`Ticket::id`].
    pub(super) fn from_id(id: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = id.to_be_bytes();
        Self {
            generation: u32::from_be_bytes([a, b, c, d]),
            slot: u32::from_be_bytes([e, f, g, h]),
        }
    }

    pub(super) fn index(self) -> usize {
        self.slot as usize
    }
}

/// Whether a generation is one of the past, not one to come.
pub(super) fn is_before(generation: u32, present: u32) -> bool {
    present.wrapping_sub(generation) < GENERATIONS_REMEMBERED
}

/// Milliseconds a server gets: a little less than the caller waits, so that a server's word that it did
/// not execute the operation arrives while somebody listens.
pub(super) fn time_for_server(left: Duration) -> u32 {
    let left = left - left / 16;
    u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Half of all: what is further away lies in the future.
const GENERATIONS_REMEMBERED: u32 = 1 << 31;
