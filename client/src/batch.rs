//! The window of one connection: its open operations, and the queue from which frames are filled.
//!
//! ```text
//!   insert        take_frame        complete | lose | sweep          take
//! ────────► Queued ────────► Sent ─────────────────────────► Done ────────► (slot free)
//!              │ abandon       │ abandon                        │ abandon
//!              ▼               ▼      complete | lose | sweep   ▼
//!           (free)         Abandoned ───────────────────────► (free)
//! ```
//!
//! Operations live in a slab; the id of such a request is its slot and the slot's generation, so an answer that
//! comes after its slot has moved on is known to be late and is dropped. Whoever waits for room or is to
//! be woken is the runtime's: it collects [`Window::take_released`] and the wakers after each call.
//!
//! Operations of batch writers have no tasks that wait for them: they are not in slots but in `bundles`, and their ends go into the
//! writers' outboxes, which the runtime empties after each call.
//!
//! Invariants: `open` counts the slots that are Queued, Sent or Abandoned; each Queued slot is in the
//! queue once; `earliest` is not after the expiry of any open operation.
//!
//! Not here, on purpose: how many operations may be open (the runtime holds a permit for each slot, a batch
//! writer has its own bound), and bytes (`margate_net::codec`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use margate_net::error::Refusal;
use margate_net::ids::{RangeEpoch, ShardId};
use margate_net::limits::{OPERATIONS_PER_FRAME_MAX, PAYLOAD_BYTES_MAX};
use margate_net::message::{Operation, Request, Success};

use crate::error::Obstacle;
use crate::moment::Moment;
use crate::retry::Failure;

use bundles::{BUNDLED, Bundles, Ends, is_bundled};
pub(crate) use bundles::{Consignment, Load, Run};
pub(crate) use change::Change;
pub(crate) use outbox::{Effect, Ending, Withdrawn};
pub(crate) use slot::Ticket;
use slot::{Slot, Stage, is_before};

mod bundles;
mod change;
mod outbox;
mod slot;

/// Open operations of one connection.
#[derive(Debug)]
pub(crate) struct Window {
    slots: Vec<Slot>,
    /// In the order in which they became free, so that those of one frame lie side by side, as its answers will need them.
    free: VecDeque<u32>,
    queue: VecDeque<Ticket>,
    bundles: Bundles,
    earliest: Moment,
    silent_since: Option<Moment>,
    open: usize,
    released: usize,
}

/// An operation as it is put into the window.
#[derive(Debug)]
pub(crate) struct Submission {
    /// The shard that owns its key.
    pub(crate) shard: ShardId,
    /// The shard's range epoch in the client's map.
    pub(crate) range_epoch: RangeEpoch,
    /// What to do.
    pub(crate) operation: Operation,
    /// When the caller stops waiting; the server is told how long that is.
    pub(crate) deadline: Moment,
    /// When this attempt ends, at the deadline or before.
    pub(crate) expires: Moment,
}

/// How an attempt ended. The operation comes back for a next one.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The answer, or why there is none.
    pub(crate) outcome: Result<Success, Failure>,
    /// The operation as it was sent.
    pub(crate) operation: Operation,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// It answers an open operation.
    Accepted,
    /// It answers what was never asked: the peer is broken.
    Impossible,
    /// It answers an operation that has been given up.
    Late,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// When to sweep again; [`Moment::NEVER`] if nothing is open.
    pub(crate) next: Moment,
    /// How long the peer has been silent while operations wait for it.
    pub(crate) silence: Duration,
}

impl Window {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: VecDeque::new(),
            queue: VecDeque::new(),
            bundles: Bundles::default(),
            earliest: Moment::NEVER,
            silent_since: None,
            open: 0,
            released: 0,
        }
    }

    /// Adds an operation to the queue; the task is woken by its end.
    pub(crate) fn insert(&mut self, submission: Submission, waker: Waker) -> Ticket {
        self.earliest = self.earliest.min(submission.expires);
        let ordinal = self.free.pop_front().unwrap_or_else(|| self.grow());
        let slot = self.slot_mut(ordinal);
        slot.fill(submission, waker);
        let ticket = Ticket {
            slot: ordinal,
            generation: slot.generation,
        };
        self.queue.push_back(ticket);
        self.open += 1;
        ticket
    }

    /// Takes in what a batch writer sends, whose ends go into this outbox. What there is no room for stays in the load.
    pub(crate) fn insert_all(&mut self, outbox: usize, load: &mut Load) {
        self.earliest = self.earliest.min(self.bundles.insert(outbox, load));
    }

    /// The ends in the outbox of this ordinal, which begins to exist when it is first asked for.
    pub(crate) fn outbox(&mut self, ordinal: usize) -> &mut Vec<Ending> {
        self.bundles.outbox(ordinal)
    }

    /// The writer of this outbox is gone. What is queued is not sent any more, what was sent stays open as
    /// if abandoned; nothing more comes into the outbox, and what is in it is lost.
    pub(crate) fn withdraw(&mut self, outbox: usize, tell: impl FnMut(u32, Withdrawn)) {
        self.bundles.withdraw(outbox, tell);
    }

    /// Whether operations wait to be sent.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty() || self.bundles.has_queued()
    }

    /// Operations queued or sent whose answer has not come.
    pub(crate) fn open(&self) -> usize {
        self.open + self.bundles.open()
    }

    /// Slots that hold anything at all.
    #[cfg(test)]
    pub(crate) fn occupied(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// No attempt ends before this; [`Moment::NEVER`] if nothing is open.
    pub(crate) fn earliest(&self) -> Moment {
        self.earliest
    }

    /// Moves operations from the front of the queue into one frame's worth of requests, in order, and
    /// counts them as sent. [`Window::give_back`] must follow before anything can end them.
    pub(crate) fn take_frame(&mut self, now: Moment, out: &mut Vec<Request>) {
        let mut payload = 0;
        while out.len() < OPERATIONS_PER_FRAME_MAX {
            let Some(ticket) = self.queue.front().copied() else { break };
            if let Some(slot) = self.queued_mut(ticket) {
                payload += slot.operation.as_ref().map_or(0, Operation::payload_bytes);
                if payload > PAYLOAD_BYTES_MAX && !out.is_empty() {
                    break;
                }
                out.extend(slot.start(now, ticket));
            }
            self.queue.pop_front();
        }
        if !out.is_empty() {
            self.silent_since.get_or_insert(now);
        }
    }

    /// Takes one frame's worth of a batch writer's operations and counts them as sent. They must be written, and
    /// [`Window::give_run_back`] must follow, before anything can end them.
    pub(crate) fn take_run(&mut self, now: Moment) -> Option<Run> {
        let run = self.bundles.take(now)?;
        self.silent_since.get_or_insert(now);
        Some(run)
    }

    /// Keeps the frame of a batch writer's operations, for a next attempt, and gives it out to be sent.
    pub(crate) fn give_run_back(&mut self, run: Run) -> Arc<Vec<u8>> {
        self.bundles.give_back(run)
    }

    /// Puts the operations of a frame back into their slots, for a next attempt.
    pub(crate) fn give_back(&mut self, requests: &mut Vec<Request>) {
        for request in requests.drain(..) {
            if let Some(slot) = self.live_mut(Ticket::from_id(request.id))
                && matches!(slot.stage, Stage::Sent)
            {
                slot.operation = Some(request.operation);
            }
        }
    }

    /// Looks at what [`Window::complete`] will look at for those of these ids that are in slots, so that what no cache holds is waited for
    /// together and not one by one. (Marks of a bundle lie side by side, and come that way.) Changes nothing.
    pub(crate) fn warm(&self, ids: impl Iterator<Item = u64>) {
        let in_slots = ids.filter(|id| !is_bundled(*id));
        let slots = in_slots.filter_map(|id| self.slots.get(Ticket::from_id(id).index()));
        std::hint::black_box(slots.fold(0, |all, slot| all ^ slot.generation));
    }

    /// Takes in an answer.
    pub(crate) fn complete(&mut self, id: u64, outcome: Result<Success, Refusal>, wakers: &mut Vec<Waker>) -> Completion {
        if is_bundled(id) {
            return self.bundles.complete(id, outcome);
        }
        let ticket = Ticket::from_id(id);
        let Some(slot) = self.slots.get(ticket.index()) else {
            return Completion::Impossible;
        };
        if slot.generation != ticket.generation {
            return if is_before(ticket.generation, slot.generation) {
                Completion::Late
            } else {
                Completion::Impossible
            };
        }
        match slot.stage {
            Stage::Abandoned => self.release(ticket.slot),
            Stage::Done(Err(Failure::Silent)) => return Completion::Late,
            Stage::Done(_) | Stage::Free | Stage::Queued => return Completion::Impossible,
            Stage::Sent => self.end(ticket.slot, outcome.map_err(Failure::Refused), wakers),
        }
        Completion::Accepted
    }

    /// The peer said something: if operations are still open, its silence counts from now.
    pub(crate) fn heard(&mut self, now: Moment) {
        self.silent_since = (self.open() > 0).then_some(now);
    }

    /// The connection is gone, or could not be made: ends every operation, sent ones as `sent`, queued
    /// ones as never sent because of `queued`.
    pub(crate) fn lose(&mut self, sent: Failure, queued: Obstacle, wakers: &mut Vec<Waker>) {
        let unsent = Failure::NotSent(queued);
        self.bundles.lose(Ends { sent, queued: unsent });
        self.queue.clear();
        self.silent_since = None;
        self.earliest = Moment::NEVER;
        for ordinal in self.ordinals() {
            match self.slot_mut(ordinal).stage {
                Stage::Abandoned => self.release(ordinal),
                Stage::Queued => self.end(ordinal, Err(unsent), wakers),
                Stage::Sent => self.end(ordinal, Err(sent), wakers),
                Stage::Done(_) | Stage::Free => {}
            }
        }
    }

    /// Ends the attempts whose time is over: sent ones were met with silence, queued ones with `queued`.
    /// Walks the slots only when one may be over.
    pub(crate) fn sweep(&mut self, now: Moment, queued: Obstacle, wakers: &mut Vec<Waker>) -> Swept {
        if self.earliest <= now {
            let ends = Ends {
                sent: Failure::Silent,
                queued: Failure::NotSent(queued),
            };
            self.earliest = self.bundles.sweep(now, ends);
            for ordinal in self.ordinals() {
                self.sweep_slot(ordinal, now, ends, wakers);
            }
        }
        Swept {
            next: self.earliest,
            silence: self.silent_since.map_or(Duration::ZERO, |since| since.until(now)),
        }
    }

    /// Takes an operation's end, or leaves the waker for when it comes.
    ///
    /// # Panics
    /// If the ticket's end was taken before.
    pub(crate) fn take(&mut self, ticket: Ticket, waker: &Waker) -> Option<Ended> {
        let slot = self.live_mut(ticket).expect("a ticket is good until its end is taken");
        let outcome = match std::mem::replace(&mut slot.stage, Stage::Free) {
            Stage::Done(outcome) => outcome,
            open @ (Stage::Abandoned | Stage::Free | Stage::Queued | Stage::Sent) => {
                slot.stage = open;
                slot.wake_later(waker);
                return None;
            }
        };
        let operation = slot
            .operation
            .take()
            .expect("a frame's operations are given back before they can end");
        self.recycle(ticket.slot);
        Some(Ended { outcome, operation })
    }

    /// Nobody waits any longer. What was sent stays open until its answer comes, its time is over or the
    /// connection goes.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        let Some(slot) = self.live_mut(ticket) else { return };
        match slot.stage {
            Stage::Done(_) => self.recycle(ticket.slot),
            Stage::Queued => {
                self.release(ticket.slot);
                self.trim_queue();
            }
            Stage::Sent => slot.abandon(),
            Stage::Abandoned | Stage::Free => {}
        }
    }

    /// How many slots have ceased to be open since the last call.
    pub(crate) fn take_released(&mut self) -> usize {
        std::mem::take(&mut self.released)
    }

    fn sweep_slot(&mut self, ordinal: u32, now: Moment, ends: Ends, wakers: &mut Vec<Waker>) {
        let Slot { expires, ref stage, .. } = *self.slot_mut(ordinal);
        match stage {
            Stage::Done(_) | Stage::Free => {}
            Stage::Abandoned | Stage::Queued | Stage::Sent if expires > now => self.earliest = self.earliest.min(expires),
            Stage::Abandoned => self.release(ordinal),
            Stage::Queued => self.end(ordinal, Err(ends.queued), wakers),
            Stage::Sent => self.end(ordinal, Err(ends.sent), wakers),
        }
    }

    /// Open to done: the caller is woken to take it.
    fn end(&mut self, ordinal: u32, outcome: Result<Success, Failure>, wakers: &mut Vec<Waker>) {
        let slot = self.slot_mut(ordinal);
        slot.stage = Stage::Done(outcome);
        wakers.extend(slot.take_waker());
        self.open -= 1;
        self.released += 1;
    }

    /// Open to free.
    fn release(&mut self, ordinal: u32) {
        self.recycle(ordinal);
        self.open -= 1;
        self.released += 1;
    }

    fn recycle(&mut self, ordinal: u32) {
        self.slot_mut(ordinal).clear();
        self.free.push_back(ordinal);
    }

    fn grow(&mut self) -> u32 {
        assert!(
            (self.slots.len() as u64) < BUNDLED,
            "permits keep the window far below 2^31 operations"
        );
        self.slots.push(Slot::new());
        u32::try_from(self.slots.len() - 1).expect("it is below 2^31")
    }

    /// Drops the tickets of abandoned operations once most tickets are theirs, so that a caller who
    /// gives up again and again while nothing can be sent does not fill the memory.
    fn trim_queue(&mut self) {
        if self.queue.len() > 2 * self.open + QUEUE_SLACK {
            let slots = &self.slots;
            self.queue
                .retain(|ticket| slots.get(ticket.index()).is_some_and(|slot| slot.generation == ticket.generation));
        }
    }

    fn live_mut(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        self.slots
            .get_mut(ticket.index())
            .filter(|slot| slot.generation == ticket.generation)
    }

    fn queued_mut(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        self.live_mut(ticket).filter(|slot| matches!(slot.stage, Stage::Queued))
    }

    fn slot_mut(&mut self, ordinal: u32) -> &mut Slot {
        &mut self.slots[ordinal as usize]
    }

    fn ordinals(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }
}

/// Tickets of abandoned operations that are not worth a walk through the queue.
const QUEUE_SLACK: usize = 64;

#[cfg(test)]
mod tests;
