//! One slot of a window's slab, the ticket that names what is in it, and who listens for its end.

use std::task::Waker;
use std::time::Duration;

use margate_net::ids::{RangeEpoch, ShardId};
use margate_net::message::{Operation, Request, Success};

use crate::moment::Moment;
use crate::retry::Failure;

use super::Submission;
use super::outbox::{Effect, Returned};

/// Names an operation in its window, until its end is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// Who is told that an operation has ended.
#[derive(Debug)]
pub(crate) enum Listener {
    /// Nobody any more, or not yet.
    Nobody,
    /// A task, which is woken to take the end out of the slot.
    Task(Waker),
    /// A batch writer, in whose outbox the end is put at once.
    Writer {
        /// Ordinal of its outbox in the window.
        outbox: usize,
        /// Its own name of the operation.
        number: u32,
    },
}

/// Room for one operation. Its generation grows whenever it becomes free.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) stage: Stage,
    /// Away only while its frame is being written.
    pub(super) operation: Option<Operation>,
    pub(super) listener: Listener,
    /// Whether it belongs to a batch writer, even one that is gone: it holds no permit.
    pub(super) is_writers: bool,
    pub(super) expires: Moment,
    pub(super) shard: ShardId,
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
            listener: Listener::Nobody,
            is_writers: false,
            expires: Moment::NEVER,
            shard: ShardId(0),
            deadline: Moment::NEVER,
            range_epoch: RangeEpoch(0),
        }
    }

    /// Free to queued.
    pub(super) fn fill(&mut self, submission: Submission, listener: Listener) {
        let Submission {
            shard,
            range_epoch,
            operation,
            deadline,
            expires,
        } = submission;
        self.stage = Stage::Queued;
        self.operation = Some(operation);
        self.is_writers = matches!(listener, Listener::Writer { .. });
        self.listener = listener;
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
        self.listener = Listener::Nobody;
        self.operation = None;
    }

    /// To free, under a new generation, so that nothing that names the old one hits it.
    pub(super) fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.stage = Stage::Free;
        self.operation = None;
        self.listener = Listener::Nobody;
    }

    /// The task to wake at the end, if there is one.
    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        match std::mem::replace(&mut self.listener, Listener::Nobody) {
            Listener::Task(waker) => Some(waker),
            Listener::Nobody | Listener::Writer { .. } => None,
        }
    }

    /// An outcome as a batch writer gets it.
    ///
    /// # Panics
    /// Never: a frame's operations are given back before they can end.
    pub(super) fn result(&mut self, outcome: Result<Success, Failure>) -> Result<Effect, Box<Returned>> {
        outcome.map(|success| Effect::of(&success)).map_err(|failure| {
            Box::new(Returned {
                failure,
                operation: self
                    .operation
                    .take()
                    .expect("a frame's operations are given back before they can end"),
                shard: self.shard,
            })
        })
    }

    /// Leaves the waker to call at the end.
    pub(super) fn wake_later(&mut self, waker: &Waker) {
        match &mut self.listener {
            Listener::Task(present) => present.clone_from(waker),
            Listener::Nobody | Listener::Writer { .. } => self.listener = Listener::Task(waker.clone()),
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

    /// Whether it names an earlier life of the slot, not one to come.
    pub(super) fn is_before(self, generation: u32) -> bool {
        generation.wrapping_sub(self.generation) < GENERATIONS_REMEMBERED
    }
}

/// Milliseconds a server gets: a little less than the caller waits, so that a server's word that it did
/// not execute the operation arrives while somebody listens.
fn time_for_server(left: Duration) -> u32 {
    let left = left - left / 16;
    u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Half of all: what is further away lies in the future.
const GENERATIONS_REMEMBERED: u32 = 1 << 31;
