//! The present.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::core::event::Moment;
use crate::types::Nanos;

/// Monotonic time that goes on while the machine sleeps (CLOCK_BOOTTIME), and wall time.
#[must_use]
pub fn moment() -> Moment {
    Moment {
        now: monotonic(),
        wall: wall(),
    }
}

/// CLOCK_BOOTTIME, in nanoseconds.
#[must_use]
pub fn monotonic() -> Nanos {
    let time = clock_gettime(ClockId::Boottime);
    // Neither field is ever negative on this clock.
    Nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// Nanoseconds since 1970; 0 before.
#[must_use]
pub fn wall() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
