//! A thread that wakes its core's executor every [`EVERY`], whatever the executor believes.
//!
//! glommio 0.9 looks whether the preemption timer has fired before it runs the first task of a round, too. If it has, since the
//! system took the CPU away for that long, "nothing was run" is taken for "there is nothing to run", and the executor sleeps although
//! tasks are ready. The tasks that would set a timer or accept a connection are among them, so nothing wakes it again. A wake from
//! another thread does, and it needs no task to have run in between.
//!
//! Not here, on purpose: judging whether an executor sleeps rightly. One wake too many costs microseconds.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use margate_net::ids::CoreId;

/// How long an executor may sleep wrongly: shorter than a tick, so that no election comes of it.
const EVERY: Duration = Duration::from_millis(20);

/// The thread; ends when dropped.
pub(super) struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// While it lives, the task it was made in is woken, and its executor with it. To be dropped there, before the executor ends.
pub(super) struct Attached(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    stop: bool,
}

impl Pulse {
    /// Starts the thread, which wakes nobody yet.
    ///
    /// # Errors
    /// The system makes no thread.
    pub(super) fn start(core: CoreId) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let beaten = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(format!("mgt-pulse-{core}"));
        Ok(Self {
            shared,
            thread: Some(thread.spawn(move || beaten.beat())?),
        })
    }

    /// Wakes the task that this is called in from now on.
    pub(super) async fn attach(&self) -> Attached {
        poll_fn(|cx| {
            self.shared.lock().waker = Some(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
        Attached(Arc::clone(&self.shared))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.stopped.notify_all();
        // It only waits and wakes; there is nothing in it that fails.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let waker = self.0.lock().waker.take();
        drop(waker);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        let mut state = self.lock();
        while !state.stop {
            if let Some(waker) = &state.waker {
                waker.wake_by_ref();
            }
            let waited = self.stopped.wait_timeout(state, EVERY).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::sync::mpsc::channel;

    #[test]
    fn an_executor_that_sleeps_and_waits_for_nothing_is_woken() {
        let (sender, done) = channel();
        std::thread::spawn(move || {
            let pulse = Pulse::start(CoreId(0)).expect("a thread");
            let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 << 10).make();
            executor.expect("an executor").run(async {
                let _attached = pulse.attach().await;
                let mut polls = 0;
                // Nobody keeps its waker: only a wake from outside can poll it again.
                poll_fn(|_| {
                    polls += 1;
                    if polls > 5 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            });
            drop(pulse);
            sender.send(()).expect("somebody waits");
        });
        done.recv_timeout(Duration::from_secs(30))
            .expect("it was woken, and both threads have ended");
    }
}
