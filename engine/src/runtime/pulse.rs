//! A thread that looks every 20 ms whether its executor comes round (`vigil`): it wakes one that has not, for an idle one has no reason
//! to, and says so if that does not help.
//!
//! Not here, on purpose: judging whether an executor comes round (`vigil`).

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use margate_net::runtime::executor::Executor;

use super::vigil::{Beat, EVERY, Stuck, Vigil, Watchman};
use crate::types::Nanos;

/// The thread; ends when dropped.
pub(super) struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// While it lives, a future is woken.
struct Attached<'a>(&'a Shared);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
    vigil: Arc<Vigil>,
    /// How long its executor may not come round before that is told; zero for ever.
    bound: Duration,
}

#[derive(Default)]
struct State {
    sleeper: Option<Waker>,
    /// What CPU time the executor's thread has used.
    cpu: Option<libc::clockid_t>,
    stop: bool,
}

impl Pulse {
    /// Starts the thread, with a name of at most 15 bytes. It wakes nobody yet. It will tell of an executor that does not come round for
    /// `bound`, if that is not zero.
    ///
    /// # Errors
    /// The system makes no thread.
    pub(super) fn start(name: &str, vigil: Arc<Vigil>, bound: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            vigil,
            bound,
            ..Shared::default()
        });
        let beaten = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned());
        Ok(Self {
            shared,
            thread: Some(thread.spawn(move || beaten.beat())?),
        })
    }

    /// Runs a future on an executor of this thread, which is woken all the while.
    pub(super) fn run<T>(&self, executor: &Executor, future: impl Future<Output = T>) -> T {
        executor.run(async {
            let _attached = self.attach().await;
            let mut future = pin!(future);
            poll_fn(|cx| {
                self.shared.vigil.note();
                future.as_mut().poll(cx)
            })
            .await
        })
    }

    async fn attach(&self) -> Attached<'_> {
        let mut cpu = 0;
        // SAFETY: both are valid: this thread, and a place for the answer.
        let known = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut cpu) } == 0;
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            (state.sleeper, state.cpu) = (Some(cx.waker().clone()), known.then_some(cpu));
            Poll::Ready(())
        })
        .await;
        Attached(&self.shared)
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

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let sleeper = self.0.lock().sleeper.take();
        drop(sleeper);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        let (mut state, mut watchman) = (self.lock(), Watchman::default());
        while !state.stop {
            // A thread that waits to be attached does not run a core yet.
            if let Some(sleeper) = &state.sleeper {
                let beat = self.vigil.beat(&mut watchman, self.bound, || cpu_time(state.cpu));
                if let Beat::Stuck(stuck) = &beat {
                    tell(stuck);
                }
                if beat != Beat::Noted {
                    sleeper.wake_by_ref();
                }
            }
            let waited = self.stopped.wait_timeout(state, EVERY).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
        }
    }
}

fn tell(stuck: &Stuck) {
    tracing::warn!(
        thread = std::thread::current().name(),
        stuck_ms = stuck.for_at_least.as_millis(),
        cpu_ms = stuck.cpu.0 / 1_000_000,
        doing = %stuck.doing,
        times_before = stuck.untold,
        "the core that this thread wakes does not come round: it hears nobody"
    );
}

/// CPU time that a thread has used; nothing where that cannot be told any more.
fn cpu_time(of: Option<libc::clockid_t>) -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let known = of.is_some_and(|clock| {
        // SAFETY: a place for the answer; the kernel refuses the clock of a thread that is gone.
        unsafe { libc::clock_gettime(clock, &raw mut time) == 0 }
    });
    if known {
        Nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
    } else {
        Nanos(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::vigil::Doing;
    use super::*;
    use margate_net::runtime::executor::sleep;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn pulse(vigil: Arc<Vigil>) -> Pulse {
        Pulse::start("mgt-pulse-test", vigil, Duration::from_millis(50)).expect("a thread")
    }

    #[test]
    fn an_executor_that_sleeps_and_waits_for_nothing_is_woken_until_its_future_ends() {
        let (sender, done) = channel();
        std::thread::spawn(move || {
            let pulse = pulse(Arc::default());
            let mut polls = 0;
            // Nobody keeps its waker: only a wake from outside can poll it again.
            let future = poll_fn(move |_| {
                polls += 1;
                if polls > 5 { Poll::Ready(polls) } else { Poll::Pending }
            });
            let polled = pulse.run(&Executor::new().expect("an executor"), future);
            let attached = pulse.shared.lock().sleeper.is_some();
            sender.send((polled, attached)).expect("somebody waits");
        });
        let woken = done.recv_timeout(PATIENCE).expect("it was woken, and both threads have ended");
        assert_eq!(woken, (6, false));
    }

    /// It is on its thread for as long as it does not come round, and says what it does.
    #[test]
    fn an_executor_that_does_not_come_round_is_noticed_while_it_does_not() {
        let vigil = Arc::<Vigil>::default();
        let (sender, done) = channel();
        let watched = Arc::clone(&vigil);
        std::thread::spawn(move || {
            let pulse = pulse(Arc::clone(&watched));
            pulse.run(&Executor::new().expect("an executor"), async {
                watched.doing(Doing::EndTurn);
                let noticed = Instant::now() + PATIENCE;
                while watched.stuck_for().is_none() && Instant::now() < noticed {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let stuck = (watched.stuck_for(), watched.does());
                // It comes round again, and that is noticed too.
                while watched.stuck_for().is_some() {
                    sleep(Duration::from_millis(1)).await;
                }
                sender.send(stuck).expect("somebody waits");
            });
        });
        let (stuck, doing) = done.recv_timeout(2 * PATIENCE).expect("it ends");
        assert!(stuck.is_some_and(|span| span >= Nanos::from_millis(60)), "{stuck:?}");
        assert_eq!((doing, vigil.stuck_times() >= 1), (Doing::EndTurn, true));
    }

    #[test]
    fn the_cpu_time_of_a_thread_is_known_while_it_lives() {
        assert_eq!(cpu_time(None), Nanos(0));
        let mut own = 0;
        // SAFETY: both are valid: this thread, and a place for the answer.
        assert_eq!(unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut own) }, 0);
        let before = cpu_time(Some(own));
        while cpu_time(Some(own)) == before {}
        assert!(before > Nanos(0));
    }
}
