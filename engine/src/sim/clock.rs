//! A node's clocks: a monotonic one that may run fast or slow, a wall clock that may also jump.
//!
//! Not here, on purpose: when they do (`nemesis`).

use crate::types::Nanos;

/// Wall time of a node whose clock is right, at virtual time zero.
const WALL_AT_START: u64 = 1_700_000_000_000_000_000;
/// A rate of one: local nanoseconds per million real ones.
pub(crate) const MILLION: u64 = 1_000_000;

/// One node's clocks.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Real and local time of the last change of rate.
    since: Nanos,
    local: Nanos,
    /// Local nanoseconds per million real ones.
    rate: u64,
    wall_at_zero: u64,
}

impl Clock {
    /// Clocks that run at a rate: local nanoseconds per million real ones.
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            since: Nanos(0),
            local: Nanos(0),
            rate,
            wall_at_zero: WALL_AT_START,
        }
    }

    /// The monotonic clock.
    pub(crate) fn monotonic(&self, now: Nanos) -> Nanos {
        self.local.plus(scaled(now.since(self.since), self.rate, MILLION))
    }

    /// The wall clock.
    pub(crate) fn wall(&self, now: Nanos) -> Nanos {
        Nanos(self.wall_at_zero).plus(self.monotonic(now))
    }

    /// The real time at which the monotonic clock shows this.
    pub(crate) fn real(&self, local: Nanos) -> Nanos {
        // One nanosecond more, so that rounding never wakes anybody too early.
        self.since.plus(scaled(local.since(self.local), MILLION, self.rate)).plus(Nanos(1))
    }

    /// From now on the clocks run at another rate: local nanoseconds per million real ones.
    pub(crate) fn set_rate(&mut self, now: Nanos, rate: u64) {
        (self.local, self.since) = (self.monotonic(now), now);
        self.rate = rate;
    }

    /// The wall clock jumps.
    pub(crate) fn jump(&mut self, forward: bool, by: Nanos) {
        self.wall_at_zero = if forward {
            self.wall_at_zero.saturating_add(by.0)
        } else {
            self.wall_at_zero.saturating_sub(by.0)
        };
    }
}

fn scaled(span: Nanos, by: u64, over: u64) -> Nanos {
    let wide = u128::from(span.0) * u128::from(by) / u128::from(over);
    Nanos(u64::try_from(wide).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_rate_never_moves_the_present() {
        let mut clock = Clock::new(MILLION);
        clock.set_rate(Nanos(1_000_000), 1_100_000);
        assert_eq!(clock.monotonic(Nanos(1_000_000)), Nanos(1_000_000));
        assert_eq!(clock.monotonic(Nanos(2_000_000)), Nanos(2_100_000));
        clock.set_rate(Nanos(2_000_000), 900_000);
        assert_eq!(clock.monotonic(Nanos(2_000_000)), Nanos(2_100_000));
    }

    #[test]
    fn real_time_is_when_the_clock_shows_it() {
        let mut clock = Clock::new(MILLION);
        clock.set_rate(Nanos(7), 950_001);
        for local in [100, 12_345, 99_999_999] {
            assert!(clock.monotonic(clock.real(Nanos(local))) >= Nanos(local));
        }
    }
}
