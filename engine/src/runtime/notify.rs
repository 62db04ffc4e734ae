//! Waking one task of the same executor: a flag and a waker, no atomics.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// One waiter, any number of notifiers, all on one thread. A notice given while nobody waits is kept.
#[derive(Debug, Default)]
pub struct Notify {
    noticed: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Notify {
    /// Wakes the waiter, now or at its next wait.
    pub fn notify(&self) {
        if !self.noticed.replace(true)
            && let Some(waker) = self.waiter.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Waits for a notice and takes it.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.noticed.take() {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
