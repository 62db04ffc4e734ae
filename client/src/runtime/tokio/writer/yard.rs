//! What a batch writer, its receipts and its pump share: the schedule behind a lock, and the mailbox.
//!
//! Locks are taken in this order: the yard's, the board's, a link's, a mailbox's. Who holds the yard's has
//! every write either in the schedule, in a link's window or in the mailbox, and nowhere in between.
//!
//! Not here, on purpose: waiting (`pump.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::api::WriteSummary;
use crate::batch::Change;
use crate::config::BatchWriterConfig;
use crate::error::{Error, NotTaken};
use crate::moment::Moment;
use crate::schedule::{FlushTicket, LinePlace, Loads, ReceiptName, Schedule, WriteResult};

use super::super::Client;
use super::super::link::{Link, Mailbox, Parcel};

/// See the module's text.
pub(super) struct Yard {
    state: Mutex<State>,
    pub(super) mailbox: Arc<Mailbox>,
}

struct State {
    schedule: Schedule,
    /// Links that may have writes of this writer.
    links: Vec<Arc<Link>>,
    /// The pump has nothing to do until it is rung for.
    pump_waits: bool,
    /// Writes handed over since a caller was last made to give others their turn.
    handed_over: usize,
}

/// What the pump has to wait for.
pub(super) struct Outlook {
    /// Nothing: there is more to send.
    pub(super) more: bool,
    /// The moment at which something is to be sent again.
    pub(super) due: Moment,
    /// The map.
    pub(super) wants_map: bool,
}

impl Yard {
    pub(super) fn new(config: &BatchWriterConfig) -> Self {
        Self {
            state: Mutex::new(State {
                schedule: Schedule::new(config),
                links: Vec::new(),
                pump_waits: false,
                handed_over: 0,
            }),
            mailbox: Arc::new(Mailbox::new()),
        }
    }

    /// Hands over a write if there is room.
    pub(super) fn try_hand_over(&self, change: Change) -> Result<ReceiptName, NotTaken> {
        let mut state = self.state();
        if state.schedule.is_closed() {
            return Err(NotTaken::Refused(Error::Closed));
        }
        if !state.schedule.try_take_room(change.bytes()) {
            let (writes, bytes) = state.schedule.under_way();
            return Err(NotTaken::NoRoom { writes, bytes });
        }
        let name = state.schedule.hand_over(change);
        self.ring(state);
        Ok(name)
    }

    /// Hands over a write once there is room.
    pub(super) fn poll_hand_over(
        &self,
        write: &mut Option<Change>,
        place: &mut Option<LinePlace>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReceiptName, Error>> {
        let Some(change) = write.as_ref() else {
            return Poll::Pending;
        };
        let mut state = self.state();
        if state.schedule.is_closed() {
            return Poll::Ready(Err(Error::Closed));
        }
        // One who never waits for room would leave no turn to the pump and the drivers, where all share a thread. Nobody overtakes it.
        if state.handed_over >= HAND_OVERS_PER_TURN {
            state.handed_over = 0;
            state.schedule.wait_in_line(place, change.bytes(), cx.waker());
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !state.schedule.take_room(place, change.bytes(), cx.waker()) {
            state.handed_over = 0;
            return Poll::Pending;
        }
        let Some(change) = write.take() else {
            return Poll::Pending;
        };
        let name = state.schedule.hand_over(change);
        state.handed_over += 1;
        self.ring(state);
        Poll::Ready(Ok(name))
    }

    /// Gives up a place in the line for room.
    pub(super) fn leave_line(&self, place: LinePlace) {
        let mut state = self.state();
        state.schedule.leave_line(place);
        release(state, &mut Vec::new());
    }

    /// See [`Schedule::take_result`].
    pub(super) fn take_result(&self, name: ReceiptName, waker: &Waker) -> Option<WriteResult> {
        self.state().schedule.take_result(name, waker)
    }

    /// See [`Schedule::give_up`].
    pub(super) fn give_up(&self, name: ReceiptName) {
        self.state().schedule.give_up(name);
    }

    /// Begins a flush at its first call.
    pub(super) fn poll_flush(&self, ticket: &mut Option<FlushTicket>, cx: &mut Context<'_>) -> Poll<WriteSummary> {
        let mut state = self.state();
        let begun = *ticket.get_or_insert_with(|| state.schedule.begin_flush());
        let summary = state.schedule.take_flush(begun, cx.waker());
        release(state, &mut Vec::new());
        match summary {
            Some(summary) => {
                *ticket = None;
                Poll::Ready(summary)
            }
            None => Poll::Pending,
        }
    }

    /// See [`Schedule::forget_flush`].
    pub(super) fn forget_flush(&self, ticket: FlushTicket) {
        self.state().schedule.forget_flush(ticket);
    }

    /// See [`Schedule::map_asked`].
    pub(super) fn map_asked(&self) {
        self.state().schedule.map_asked();
    }

    /// Takes in what has ended, then sends some of what is ready.
    pub(super) fn turn(&self, client: &Client, loads: &mut Loads, wakers: &mut Vec<Waker>) -> Outlook {
        loop {
            let mut state = self.state();
            let Some(parcel) = self.mailbox.take() else { break };
            state.take_in(client, parcel);
            release(state, wakers);
        }
        let mut state = self.state();
        let now = client.clock().now();
        let more = client.shared.with_board(|table, links| {
            let more = state.schedule.dispatch(now, table, WRITES_PER_TURN, loads);
            for (link, load) in links.iter().zip(&mut loads.0).filter(|(_, load)| !load.is_empty()) {
                state.remember(link);
                link.submit_all(&self.mailbox, load);
            }
            more
        });
        state.pump_waits = !more;
        let outlook = Outlook {
            more,
            due: state.schedule.due(),
            wants_map: state.schedule.wants_map(),
        };
        release(state, wakers);
        outlook
    }

    /// The writer is gone: everything ends now, and this is what no flush has told of.
    pub(super) fn abandon(&self, client: &Client) -> WriteSummary {
        self.end_all(client);
        self.state().schedule.take_untold()
    }

    /// The writer is gone, or its pump: everything ends now.
    pub(super) fn end_all(&self, client: &Client) {
        let mut state = self.state();
        for link in std::mem::take(&mut state.links) {
            link.withdraw(&self.mailbox, |number, how| state.schedule.withdrawn(number, how));
        }
        while let Some(parcel) = self.mailbox.take() {
            state.take_in(client, parcel);
        }
        state.schedule.end_all();
        release(state, &mut Vec::new());
    }

    /// Gives up the lock, and rings for the pump if it waits.
    fn ring(&self, mut state: MutexGuard<'_, State>) {
        let waits = std::mem::take(&mut state.pump_waits);
        release(state, &mut Vec::new());
        if waits {
            self.mailbox.bell.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way but a broken invariant, and that caller has its panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_in(&mut self, client: &Client, parcel: Parcel) {
        let Parcel { place, endings } = parcel;
        // Writes that were refused together come back together: clients are told apart, not the writes of one.
        let (now, dice) = (client.clock().now(), client.roll());
        let mut endings = endings.into_iter();
        while !endings.as_slice().is_empty() {
            self.schedule.warm(endings.as_slice().iter().take(WARMED_WRITES));
            for ending in endings.by_ref().take(WARMED_WRITES) {
                if let Err(returned) = &ending.outcome {
                    client.shared.learn(returned.shard, place.node, &returned.failure);
                }
                self.schedule.ended(ending, place.address, now, dice);
            }
        }
    }

    fn remember(&mut self, link: &Arc<Link>) {
        if !self.links.iter().any(|known| Arc::ptr_eq(known, link)) {
            // Links that nobody else holds have ended: the map has no such core any more.
            self.links.retain(|known| Arc::strong_count(known) > 1);
            self.links.push(Arc::clone(link));
        }
    }
}

/// Gives up the lock, and wakes those whom what was done under it concerns.
fn release(mut state: MutexGuard<'_, State>, wakers: &mut Vec<Waker>) {
    state.schedule.take_wakers(wakers);
    drop(state);
    wakers.drain(..).for_each(Waker::wake);
}

/// Writes the pump sends under one lock, at most a bundle for each link: callers wait for less than a millisecond, and the first of many are
/// on their way while it looks at the others.
const WRITES_PER_TURN: usize = 1_024;
/// Writes that may be handed over without a wait before others get their turn.
const HAND_OVERS_PER_TURN: usize = 1_024;
/// As many ends as a CPU can wait for at a time, and some more.
const WARMED_WRITES: usize = 16;
