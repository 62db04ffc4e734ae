//! Waiting for an instant, nearer than the runtime's timers come: those go by whole milliseconds.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::consume_budget;

/// Waits are not shorter than this: a load generator that is woken for each of many operations takes the CPU from the
/// system it measures. An operation begins up to this late, which its latency counts.
const GRAIN: Duration = Duration::from_micros(500);

/// A timer of the kernel.
pub(super) struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// Makes one.
    ///
    /// # Errors
    /// The process has too many files open.
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the timer owns its descriptor, is moved in here and never lent out to be changed.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Self { timer })
    }

    /// Returns at that instant or soon after it; at once if it is past, but for letting others run now and then.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) async fn wait_until(&self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            consume_budget().await;
            return Ok(());
        }
        let left = left.max(GRAIN);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        let rings = |timer: &OwnedFd| Ok(rustix::io::read(timer, &mut [0; size_of::<u64>()])?);
        self.timer.async_io(Interest::READABLE, rings).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_never_rings_early_and_can_be_set_again() {
        let alarm = Alarm::new().expect("a file can be opened");
        for micros in [1, 700, 2_000, 150] {
            let due = Instant::now() + Duration::from_micros(micros);
            alarm.wait_until(due).await.expect("the timer works");
            assert!(Instant::now() >= due, "{micros} us");
            alarm.wait_until(due).await.expect("what is past needs no timer");
        }
    }
}
