//! Tasks that are ready, and all there are.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::Instant;

use async_task::{Runnable, Task};
use slab::Slab;

use super::wake::Remote;
use super::{FINISH_WITHIN, Reactor};

/// The tasks of one executor.
#[derive(Default)]
pub(super) struct Queue {
    ready: RefCell<VecDeque<Runnable>>,
    /// All that have not ended, to be dropped on this thread with their executor.
    living: RefCell<Slab<Waker>>,
}

/// Strikes a task from the living when its future is dropped, at its end or before.
struct Living {
    reactor: Rc<Reactor>,
    key: usize,
}

/// Starts a task on the executor that runs on this thread. Dropping the handle cancels it; `detach` lets it run on.
///
/// # Panics
/// If no executor runs on this thread.
pub fn spawn_local<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    let reactor = Reactor::current();
    let key = reactor.queue.living.borrow_mut().insert(Waker::noop().clone());
    let living = Living {
        reactor: Rc::clone(&reactor),
        key,
    };
    let remote = Arc::clone(&reactor.remote);
    let (runnable, task) = async_task::spawn_local(
        async move {
            let _living = living;
            future.await
        },
        move |runnable| remote.schedule(runnable),
    );
    if let Some(waker) = reactor.queue.living.borrow_mut().get_mut(key) {
        *waker = runnable.waker();
    }
    runnable.schedule();
    task
}

impl Queue {
    pub(super) fn push(&self, task: Runnable) {
        self.ready.borrow_mut().push_back(task);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.borrow().is_empty()
    }

    /// Runs those that are ready now, each once; those that become ready meanwhile wait for the next round.
    pub(super) fn run_ready(&self) {
        let count = self.ready.borrow().len();
        for _ in 0..count {
            let task = self.ready.borrow_mut().pop_front();
            if let Some(task) = task {
                task.run();
            }
        }
    }

    /// Drops every task, ready or waiting.
    pub(super) fn drop_tasks(&self, remote: &Remote) {
        let limit = Instant::now() + FINISH_WITHIN;
        while !self.living.borrow().is_empty() && Instant::now() < limit {
            let living: Vec<Waker> = self.living.borrow().iter().map(|(_, waker)| waker.clone()).collect();
            // A task that is woken comes into the queue, where it can be dropped instead of run.
            living.into_iter().for_each(Waker::wake);
            let ready = std::mem::take(&mut *self.ready.borrow_mut());
            let foreign = remote.take();
            if ready.is_empty() && foreign.is_empty() {
                // Another thread has begun to wake one, and has yet to put it into the queue.
                thread::yield_now();
            }
        }
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let waker = self.reactor.queue.living.borrow_mut().try_remove(self.key);
        drop(waker);
    }
}
