//! Signals: which ones stop us, even when whoever started us had them ignored or blocked.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks of a process that runs until it is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Stop, nothing lost.
    Stop,
    /// Stop at once.
    Kill,
    /// What is already under way.
    Nothing,
}

/// Tells the first ctrl-c from the second.
#[derive(Debug, Default)]
pub(crate) struct Stopping {
    since: Option<Instant>,
}

impl Stopping {
    /// What `signal`, one of SIGINT and SIGTERM, asks for at `now`.
    pub(crate) fn take(&mut self, signal: i32, now: Instant) -> Ask {
        let Some(since) = self.since else {
            self.since = Some(now);
            return Ask::Stop;
        };
        if signal == SIGINT && now.duration_since(since) >= SECOND_INTERRUPT_AFTER {
            Ask::Kill
        } else {
            Ask::Nothing
        }
    }
}

/// Catches SIGINT, SIGTERM and `more`, also when they were inherited as ignored or blocked. Call it before
/// any thread is started: threads inherit what is blocked.
pub(crate) fn catch(more: &[i32]) -> io::Result<Signals> {
    let wanted: Vec<i32> = [SIGINT, SIGTERM].iter().chain(more).copied().collect();
    let signals = Signals::new(&wanted)?;
    unblock(&wanted)?;
    Ok(signals)
}

/// Lets a write beyond the limit on file sizes (`ulimit -f`) fail, so that the node says what failed where; the signal
/// would end it without a word.
pub(crate) fn let_writes_fail() -> io::Result<()> {
    // SAFETY: ignoring a signal installs no handler, so no code of ours ever runs in one.
    let former = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if former == libc::SIG_ERR {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Lets ctrl-c end a short command with code 130, also where SIGINT was inherited as ignored.
pub(crate) fn end_on_interrupt() -> io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(SIGINT, i32::from(crate::exit::Exit::Interrupted as u8), always).map(|_| ())
}

fn unblock(signals: &[i32]) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set it is given; the set outlives every call here, and the old
    // mask is not asked for, which a null pointer says.
    let failed = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut())
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(failed))
    }
}

/// Some wrappers (timeout, terminals with a process group) deliver one ctrl-c twice; that is not a second one.
const SECOND_INTERRUPT_AFTER: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_second_interrupt_kills() {
        let start = Instant::now();
        let later = start + SECOND_INTERRUPT_AFTER;
        let mut stopping = Stopping::default();
        assert_eq!(stopping.take(SIGINT, start), Ask::Stop);
        assert_eq!(stopping.take(SIGINT, start), Ask::Nothing);
        assert_eq!(stopping.take(SIGTERM, later), Ask::Nothing);
        assert_eq!(stopping.take(SIGINT, later), Ask::Kill);
    }
}
