//! How other threads wake an executor: they leave what is ready in a queue, and write its eventfd if it sleeps.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use async_task::Runnable;
use rustix::event::{EventfdFlags, eventfd};

use super::CURRENT;

/// The part of an executor that other threads may touch.
///
/// Whoever makes something ready sets `pending` and then looks at `sleeping`; the executor sets `sleeping` and then looks at `pending`.
/// All four are sequentially consistent, so at least one of the two sees what the other did, and no wake is lost.
pub(super) struct Remote {
    ready: Mutex<Vec<Runnable>>,
    pending: AtomicBool,
    sleeping: AtomicBool,
    eventfd: OwnedFd,
}

/// Wakes the future that an executor was started with.
pub(super) struct MainWaker {
    remote: Arc<Remote>,
    woken: AtomicBool,
}

impl Remote {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            ready: Mutex::default(),
            pending: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            eventfd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// A task is ready: at the end of its executor's own queue if this is that thread.
    pub(super) fn schedule(self: &Arc<Self>, task: Runnable) {
        let foreign = CURRENT.with_borrow(|current| match current {
            Some(reactor) if Arc::ptr_eq(&reactor.remote, self) => {
                reactor.queue.push(task);
                None
            }
            Some(_) | None => Some(task),
        });
        if let Some(task) = foreign {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(task);
            self.notify();
        }
    }

    fn notify(&self) {
        self.pending.store(true, Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::SeqCst) {
            // It only fails when the counter is full: then it is awake already.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }

    /// Whether the executor may sleep: nothing was made ready before others could see that it does.
    pub(super) fn prepare_to_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        let may = !self.pending.load(Ordering::SeqCst);
        if !may {
            self.awake();
        }
        may
    }

    pub(super) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// What other threads made ready since it was taken last.
    pub(super) fn take(&self) -> Vec<Runnable> {
        if !self.pending.load(Ordering::Relaxed) || !self.pending.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// Makes the eventfd wait for the next write.
    pub(super) fn drain(&self) {
        // Nothing to read means that somebody else's write is what was seen.
        let _ = rustix::io::read(&self.eventfd, &mut [0u8; 8]);
    }
}

impl MainWaker {
    /// It has to be polled a first time.
    pub(super) fn new(remote: Arc<Remote>) -> Self {
        Self {
            remote,
            woken: AtomicBool::new(true),
        }
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    pub(super) fn take(&self) -> bool {
        self.is_woken() && self.woken.swap(false, Ordering::SeqCst)
    }
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        let here = CURRENT.with_borrow(|current| current.as_ref().is_some_and(|reactor| Arc::ptr_eq(&reactor.remote, &self.remote)));
        if !here {
            self.remote.notify();
        }
    }
}
