//! Operations waiting to be resolved, in order of arrival, within caps of count and bytes.

use std::collections::VecDeque;

use margate_net::error::{Queue, Refusal};
use margate_net::message::Operation;

use super::answer::Ticket;
use crate::limits;
use crate::log::effects::EFFECT_HEADER_BYTES;
use crate::types::Nanos;

/// An operation and how long its client waits.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Who asked.
    pub ticket: Ticket,
    /// What for.
    pub operation: Operation,
    /// Monotonic time after which nobody waits for it.
    pub deadline: Nanos,
    /// Monotonic time at which it was queued.
    pub routed: Nanos,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct OperationQueue {
    waiting: VecDeque<Queued>,
    bytes: usize,
}

impl OperationQueue {
    /// Takes an operation, or says that the queue is full.
    ///
    /// # Errors
    /// [`Refusal::Busy`]: nothing was queued.
    pub fn push(&mut self, queued: Queued) -> Result<(), Refusal> {
        let bytes = queued.operation.payload_bytes();
        if self.waiting.len() >= limits::QUEUED_OPERATIONS_MAX || self.bytes + bytes > limits::QUEUED_BYTES_MAX {
            return Err(Refusal::Busy {
                queue: Queue::Operations,
                retry_after_ms: limits::BUSY_RETRY_MS,
            });
        }
        self.bytes += bytes;
        self.waiting.push_back(queued);
        Ok(())
    }

    /// The operation that came first.
    pub fn pop(&mut self) -> Option<Queued> {
        let queued = self.waiting.pop_front()?;
        self.bytes -= queued.operation.payload_bytes();
        Some(queued)
    }

    /// The operation that [`OperationQueue::pop`] would take.
    #[must_use]
    pub fn peek(&self) -> Option<&Queued> {
        self.waiting.front()
    }

    /// Takes out all operations nobody waits for any more.
    pub fn expire(&mut self, now: Nanos) -> Vec<Ticket> {
        self.take_out(|queued| queued.deadline <= now)
    }

    /// Takes out all operations of some kind.
    pub fn take_where(&mut self, which: impl Fn(&Operation) -> bool) -> Vec<Ticket> {
        self.take_out(|queued| which(&queued.operation))
    }

    fn take_out(&mut self, which: impl Fn(&Queued) -> bool) -> Vec<Ticket> {
        let mut taken = Vec::new();
        let bytes = &mut self.bytes;
        self.waiting.retain(|queued| {
            let out = which(queued);
            if out {
                *bytes -= queued.operation.payload_bytes();
                taken.push(queued.ticket);
            }
            !out
        });
        taken
    }

    /// Takes out all operations.
    pub fn drain(&mut self) -> impl Iterator<Item = Queued> + '_ {
        self.bytes = 0;
        self.waiting.drain(..)
    }

    /// How many operations wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes that all of them would take in entries, at most.
    #[must_use]
    pub fn effect_bytes(&self) -> usize {
        self.bytes + self.waiting.len() * EFFECT_HEADER_BYTES
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
