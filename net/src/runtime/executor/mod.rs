//! One thread's executor on io_uring: tasks, timers, sockets and direct files, with at most one entry into the kernel per round.
//!
//! ```text
//!  spawn_local ─► tasks::Queue ─► Executor::run: tasks ─► timers ─► Ring::enter ─► completions wake tasks ─┐
//!                      ▲                                                                                    │
//!                      └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! A round runs the tasks that are ready, then hands everything they asked for to the kernel and takes what has ended, in one
//! `io_uring_enter`, which is also where the thread sleeps if there is nothing to do. Where only waits for sockets are to be handed over
//! and tasks are ready, a few rounds go without. Other threads wake it through an eventfd,
//! written only if it sleeps. A core is one thread of this kind, so nothing here is `Send` but wakers.
//!
//! Not here, on purpose: preemption (a task runs until it waits, and must be short), threads for blocking calls (their owners have
//! their own), what travels over sockets (`connection`).

mod aligned;
pub mod files;
mod ring;
pub mod sockets;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;
mod wake;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

pub use aligned::AlignedBuffer;
pub use async_task::Task;
pub use futures_lite::future::yield_now;
pub use tasks::spawn_local;
pub use timers::{Sleep, sleep};

use ring::Ring;
use tasks::Queue;
use timers::Timers;
use wake::{MainWaker, Remote};

/// Entries of the submission queue; when it is full what is in it is handed over at once. The completion queue is four times as long.
const RING_ENTRIES: u32 = 256;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// Runs futures on the thread that made it.
pub struct Executor {
    reactor: Rc<Reactor>,
}

/// What the tasks of an executor share.
struct Reactor {
    ring: RefCell<Ring>,
    timers: RefCell<Timers>,
    queue: Queue,
    remote: Arc<Remote>,
}

/// While it lives, this thread's tasks are those of one executor; then those of the one before, if there was one.
struct Entered(Option<Rc<Reactor>>);

impl Executor {
    /// Makes one; it keeps two descriptors.
    ///
    /// # Errors
    /// What the system says: it has no io_uring of Linux 5.11 or later, or no descriptor left.
    pub fn new() -> io::Result<Self> {
        let remote = Arc::new(Remote::new()?);
        let ring = Ring::new(RING_ENTRIES)?;
        let reactor = Reactor {
            ring: RefCell::new(ring),
            timers: RefCell::default(),
            queue: Queue::default(),
            remote,
        };
        Ok(Self { reactor: Rc::new(reactor) })
    }

    /// Runs a future until it ends, and meanwhile every task that is spawned. Those still under way then are dropped with the executor.
    ///
    /// # Panics
    /// If this thread runs an executor already; if the kernel refuses the ring, which nothing can go on without; and with whatever a task
    /// panics.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let entered = Entered::enter(&self.reactor);
        assert!(entered.0.is_none(), "an executor runs on this thread already");
        let main = Arc::new(MainWaker::new(Arc::clone(&self.reactor.remote)));
        let waker = Waker::from(Arc::clone(&main));
        let mut future = pin!(future);
        loop {
            if main.take() {
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                if let std::task::Poll::Ready(output) = polled {
                    return output;
                }
            }
            self.reactor.queue.run_ready();
            self.reactor.turn(|| main.is_woken());
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _entered = Entered::enter(&self.reactor);
        self.reactor.queue.drop_tasks(&self.reactor.remote);
        // Not before: tasks give up what they waited for when they are dropped.
        self.reactor.ring.borrow_mut().finish();
    }
}

impl Reactor {
    /// The executor that runs on this thread.
    ///
    /// # Panics
    /// If there is none: only its tasks may wait.
    fn current() -> Rc<Self> {
        CURRENT
            .with_borrow(|current| current.clone())
            .expect("called by a task of an executor")
    }

    /// Hands over what was asked for, takes what has ended, and sleeps first if nobody is ready.
    fn turn(&self, main_woken: impl Fn() -> bool) {
        self.wake_due();
        self.take_foreign();
        let idle = || !main_woken() && self.queue.is_empty();
        let wait = (idle() && self.remote.prepare_to_sleep()).then(|| self.timers.borrow().next_due());
        let woken = {
            let mut ring = self.ring.borrow_mut();
            // Woken through the eventfd, so it must be watched before the thread sleeps.
            ring.watch(self.remote.descriptor());
            let wait = wait.map(|due| due.map(|due| due.saturating_duration_since(Instant::now())));
            ring.enter(wait).expect("a ring that was made can be entered");
            ring.reap(|| self.remote.drain())
        };
        self.remote.awake();
        woken.into_iter().for_each(Waker::wake);
        self.wake_due();
        self.take_foreign();
    }

    /// Wakes who waits for a time that has come.
    fn wake_due(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let due = self.timers.borrow_mut().take_due(Instant::now());
        due.into_iter().for_each(Waker::wake);
    }

    /// What other threads made ready.
    fn take_foreign(&self) {
        self.remote.take().into_iter().for_each(|task| self.queue.push(task));
    }
}

impl Entered {
    fn enter(reactor: &Rc<Reactor>) -> Self {
        Self(CURRENT.replace(Some(Rc::clone(reactor))))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.replace(self.0.take()));
    }
}

/// How long the end of an executor waits for what is under way.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// A time so far away that nobody waits for it.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
