//! A thread that looks every 20 ms whether its executor comes round (`vigil`), wakes it if not, whatever it believes, and says so if that does
//! not help.
//!
//! glommio 0.9 looks whether the preemption timer has fired before it runs the first task of a round, too. If it has, since the
//! system took the CPU away for that long, "nothing was run" is taken for "there is nothing to run", and the executor sleeps although
//! tasks are ready. The tasks that would set a timer or accept a connection are among them, so nothing wakes it again. A wake from
//! another thread does, and it needs no task to have run in between.
//!
//! A wake needs a task that has run once, and the first round of all may be that one. Until then a signal ends the sleep: the kernel
//! returns from it early, and the executor looks for tasks again.
//!
//! Not here, on purpose: judging whether an executor sleeps rightly; one wake too many costs microseconds. Judging whether it comes round.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::LocalExecutor;

use super::vigil::{Beat, EVERY, Stuck, Vigil, Watchman};
use crate::types::Nanos;

/// What ends the sleep of a thread; ignored by whoever does not ask for it.
const SIGNAL: libc::c_int = libc::SIGURG;

/// The thread; ends when dropped.
pub(super) struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// While it lives, a thread or a task is woken. To be dropped on that thread, before its executor ends.
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
    sleeper: Option<Sleeper>,
    /// What CPU time the executor's thread has used.
    cpu: Option<libc::clockid_t>,
    stop: bool,
}

/// Who may sleep wrongly.
enum Sleeper {
    /// A thread whose executor has not run a task yet.
    Thread(libc::pthread_t),
    /// A task of the executor.
    Task(Waker),
}

impl Pulse {
    /// Starts the thread, with a name of at most 15 bytes. It wakes nobody yet. It will tell of an executor that does not come round for
    /// `bound`, if that is not zero.
    ///
    /// # Errors
    /// The system makes no thread, or takes no handler for the signal.
    pub(super) fn start(name: &str, vigil: Arc<Vigil>, bound: Duration) -> io::Result<Self> {
        take_signal()?;
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
    pub(super) fn run<T>(&self, executor: &LocalExecutor, future: impl Future<Output = T>) -> T {
        let _thread = self.attach_thread();
        executor.run(async {
            let _task = self.attach_task().await;
            let mut future = pin!(future);
            poll_fn(|cx| {
                self.shared.vigil.note();
                future.as_mut().poll(cx)
            })
            .await
        })
    }

    fn attach_thread(&self) -> Attached<'_> {
        let mut signals = std::mem::MaybeUninit::uninit();
        // SAFETY: the set is made before it is used; the rest has no conditions. Whoever started this process may have blocked the signal.
        let thread = unsafe {
            libc::sigemptyset(signals.as_mut_ptr());
            libc::sigaddset(signals.as_mut_ptr(), SIGNAL);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, signals.as_ptr(), std::ptr::null_mut());
            libc::pthread_self()
        };
        let mut cpu = 0;
        // SAFETY: both are valid: this thread, and a place for the answer.
        let known = unsafe { libc::pthread_getcpuclockid(thread, &raw mut cpu) } == 0;
        let mut state = self.shared.lock();
        (state.sleeper, state.cpu) = (Some(Sleeper::Thread(thread)), known.then_some(cpu));
        drop(state);
        Attached(&self.shared)
    }

    async fn attach_task(&self) -> Attached<'_> {
        poll_fn(|cx| {
            self.shared.lock().sleeper = Some(Sleeper::Task(cx.waker().clone()));
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

impl Sleeper {
    /// Wakes it; to be called with the lock under which it is known.
    fn wake(&self) {
        match self {
            Self::Task(waker) => waker.wake_by_ref(),
            // SAFETY: the thread lives: it takes itself out, with the lock that is held here, before it ends (`Attached`).
            Self::Thread(thread) => _ = unsafe { libc::pthread_kill(*thread, SIGNAL) },
        }
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
                    sleeper.wake();
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

/// Makes the signal arrive: one that is ignored ends no sleep.
fn take_signal() -> io::Result<()> {
    static TAKEN: Mutex<bool> = Mutex::new(false);
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !*taken {
        // Nobody asks whether it came.
        signal_hook::flag::register(SIGNAL, Arc::<AtomicBool>::default())?;
        *taken = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::vigil::Doing;
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::sync::mpsc::channel;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn pulse(vigil: Arc<Vigil>) -> Pulse {
        Pulse::start("mgt-pulse-test", vigil, Duration::from_millis(50)).expect("a thread")
    }

    fn on_an_executor<T: Send + 'static>(preempt_timer: Duration, future: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, done) = channel();
        std::thread::spawn(move || {
            let pulse = pulse(Arc::default());
            let executor = LocalExecutorBuilder::new(Placement::Unbound)
                .io_memory(64 << 10)
                .preempt_timer(preempt_timer)
                .make()
                .expect("an executor");
            let output = pulse.run(&executor, future);
            drop(pulse);
            sender.send(output).expect("somebody waits");
        });
        done.recv_timeout(PATIENCE).expect("it was woken, and both threads have ended")
    }

    #[test]
    fn an_executor_that_sleeps_and_waits_for_nothing_is_woken() {
        let mut polls = 0;
        // Nobody keeps its waker: only a wake from outside can poll it again.
        let polled = on_an_executor(
            Duration::from_millis(2),
            poll_fn(move |_| {
                polls += 1;
                if polls > 5 { Poll::Ready(polls) } else { Poll::Pending }
            }),
        );
        assert_eq!(polled, 6);
    }

    /// So short a timer has often fired before the first task is run, as a long one does when the system takes the CPU away.
    #[test]
    fn an_executor_that_sleeps_before_its_first_task_is_woken() {
        for _ in 0..20 {
            assert_eq!(on_an_executor(Duration::from_micros(20), async { 7 }), 7);
        }
    }

    #[test]
    fn a_thread_is_interrupted_until_it_is_attached_no_more() {
        let pulse = pulse(Arc::default());
        let wait = |millis| {
            // SAFETY: no descriptors, so nothing is read or written.
            let waited = unsafe { libc::poll(std::ptr::null_mut(), 0, millis) };
            (waited, io::Error::last_os_error().kind())
        };
        let attached = pulse.attach_thread();
        assert_eq!(wait(60_000), (-1, io::ErrorKind::Interrupted));
        drop(attached);
        assert_eq!(wait(100).0, 0, "nobody interrupts it");
    }

    /// It is on its thread for as long as it does not come round, and says what it does.
    #[test]
    fn an_executor_that_does_not_come_round_is_noticed_while_it_does_not() {
        let vigil = Arc::<Vigil>::default();
        let (sender, done) = channel();
        let watched = Arc::clone(&vigil);
        std::thread::spawn(move || {
            let pulse = pulse(Arc::clone(&watched));
            let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 << 10).make();
            pulse.run(&executor.expect("an executor"), async {
                watched.doing(Doing::EndTurn);
                let noticed = Instant::now() + PATIENCE;
                while watched.stuck_for().is_none() && Instant::now() < noticed {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let stuck = (watched.stuck_for(), watched.does());
                // It comes round again, and that is noticed too.
                while watched.stuck_for().is_some() {
                    glommio::timer::sleep(Duration::from_millis(1)).await;
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
