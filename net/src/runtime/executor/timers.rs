//! Who waits for which time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{NEVER, Reactor};

/// In the order of their times; equal ones in the order in which they were set.
#[derive(Default)]
pub(super) struct Timers {
    set: BTreeMap<(Instant, u64), Waker>,
    numbered: u64,
}

/// Ends when its time has come; made by [`sleep`].
pub struct Sleep {
    due: Instant,
    /// Its number among the timers, once it was polled, and whose timers those are.
    set: Option<(u64, Rc<Reactor>)>,
}

/// Waits so long, and then until the executor comes round.
#[must_use]
pub fn sleep(span: Duration) -> Sleep {
    Sleep {
        due: Instant::now() + span.min(NEVER),
        set: None,
    }
}

impl Timers {
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.set.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        let mut taken = Vec::new();
        while let Some(first) = self.set.first_entry().filter(|first| first.key().0 <= now) {
            taken.push(first.remove());
        }
        taken
    }

    fn set(&mut self, due: Instant, waker: Waker) -> u64 {
        self.numbered += 1;
        self.set.insert((due, self.numbered), waker);
        self.numbered
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.due {
            return Poll::Ready(());
        }
        let due = self.due;
        match &self.set {
            Some((number, reactor)) => {
                let before = reactor.timers.borrow_mut().set.insert((due, *number), cx.waker().clone());
                // When nothing is borrowed: a waker may be the last that knows its task.
                drop(before);
            }
            None => {
                let reactor = Reactor::current();
                let number = reactor.timers.borrow_mut().set(due, cx.waker().clone());
                self.set = Some((number, reactor));
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((number, reactor)) = self.set.take() {
            let waker = reactor.timers.borrow_mut().set.remove(&(self.due, number));
            drop(waker);
        }
    }
}
