//! A link as batch writers see it: many operations put in under one lock, their ends posted together.
//!
//! Not here, on purpose: room. A batch writer bounds what it has under way over all links.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::batch::{Ending, Load, Run, Withdrawn};
use crate::error::Obstacle;
use crate::retry::Failure;
use crate::route::Place;

use super::{Desk, Link};

/// Where links put ends for one batch writer. Its lock is the last that anyone takes.
pub(in super::super) struct Mailbox {
    parcels: Mutex<VecDeque<Parcel>>,
    /// Rings when something was posted, and when the writer has something to do.
    pub(in super::super) bell: Notify,
}

/// Ends of attempts that were made at one core.
pub(in super::super) struct Parcel {
    pub(in super::super) place: Place,
    pub(in super::super) endings: Vec<Ending>,
}

impl Mailbox {
    pub(in super::super) fn new() -> Self {
        Self {
            parcels: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// The parcel that came first.
    pub(in super::super) fn take(&self) -> Option<Parcel> {
        self.parcels().pop_front()
    }

    fn post(&self, place: Place, endings: Vec<Ending>) {
        self.parcels().push_back(Parcel { place, endings });
        self.bell.notify_one();
    }

    fn parcels(&self) -> MutexGuard<'_, VecDeque<Parcel>> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Puts a batch writer's operations into the window, in order and with nothing in between, or posts
    /// them back if the link takes none.
    pub(in super::super) fn submit_all(self: &Arc<Self>, mailbox: &Arc<Mailbox>, load: &mut Load) {
        let mut desk = self.desk();
        let takes = desk.takes_operations(|| self.dialer.clock.now());
        let obstacle = if takes {
            let outbox = desk.outbox_of(mailbox);
            desk.window.insert_all(outbox, load);
            let address = self.place.address;
            Obstacle::WindowFull { address }
        } else {
            self.why_unsent(&desk)
        };
        if !load.is_empty() {
            let failure = Failure::NotSent(obstacle);
            let back = load.0.drain(..).map(|consignment| consignment.sent_back(failure));
            mailbox.post(self.place, back.collect());
        }
        if takes {
            self.rouse(desk);
        }
    }

    /// See [`Window::take_run`](crate::batch::Window::take_run).
    pub(in super::super) fn take_run(&self) -> Option<Run> {
        let now = self.dialer.clock.now();
        self.desk().window.take_run(now)
    }

    /// See [`Window::give_run_back`](crate::batch::Window::give_run_back).
    pub(in super::super) fn give_run_back(&self, run: Run) -> Arc<Vec<u8>> {
        self.desk().window.give_run_back(run)
    }

    /// The writer of this mailbox is gone: what is queued for it is not sent any more.
    pub(in super::super) fn withdraw(&self, mailbox: &Arc<Mailbox>, tell: impl FnMut(u32, Withdrawn)) {
        let mut desk = self.desk();
        let Some(outbox) = desk.mailboxes.iter().position(|known| is_same(known, mailbox)) else {
            return;
        };
        desk.window.withdraw(outbox, tell);
        desk.mailboxes[outbox] = None;
        self.settle(desk);
    }
}

impl Desk {
    /// Posts the ends of writers' operations. With the lock held: a writer that has withdrawn finds each of
    /// its operations either in the window or in its mailbox.
    pub(super) fn post(&mut self, place: Place) {
        for (outbox, mailbox) in self.mailboxes.iter().enumerate() {
            let endings = self.window.outbox(outbox);
            if let Some(mailbox) = mailbox
                && !endings.is_empty()
            {
                let as_many_again = Vec::with_capacity(endings.len());
                mailbox.post(place, std::mem::replace(endings, as_many_again));
            }
        }
    }

    fn outbox_of(&mut self, mailbox: &Arc<Mailbox>) -> usize {
        let known = self.mailboxes.iter().position(|known| is_same(known, mailbox));
        known.unwrap_or_else(|| {
            let free = self.mailboxes.iter().position(Option::is_none);
            let outbox = free.unwrap_or_else(|| {
                self.mailboxes.push(None);
                self.mailboxes.len() - 1
            });
            self.mailboxes[outbox] = Some(Arc::clone(mailbox));
            outbox
        })
    }
}

fn is_same(known: &Option<Arc<Mailbox>>, mailbox: &Arc<Mailbox>) -> bool {
    known.as_ref().is_some_and(|known| Arc::ptr_eq(known, mailbox))
}
