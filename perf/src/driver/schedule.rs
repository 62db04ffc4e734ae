//! When the operations of an open loop are due: at fixed intervals from its start.
//!
//! Fixed, and not at random intervals as Poisson would have it: what is due is then known beforehand, the same for
//! every system and every run, and no part of the tail comes from chance in the load. Bursts of independent clients are
//! not shown by this; a rate to be borne with bursts is to be measured as a higher one.

use std::time::{Duration, Instant};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A start and a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    began: Instant,
    rate: u32,
}

impl Schedule {
    /// So many per second, at least one, the first at the start.
    pub(super) fn new(began: Instant, rate: u32) -> Self {
        Self { began, rate: rate.max(1) }
    }

    /// When the operation of this number is due, counted from the start, so that roundings never add up.
    pub(super) fn due(&self, number: u64) -> Instant {
        let nanos = u128::from(number) * NANOS_PER_SECOND / u128::from(self.rate);
        self.began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_due_in_a_second_as_the_rate_says() {
        let began = Instant::now();
        for rate in [1, 3, 7, 1000, 333_333, 10_000_000] {
            let schedule = Schedule::new(began, rate);
            for seconds in [0, 1, 10, 86_400] {
                let (first, at) = (seconds * u64::from(rate), began + Duration::from_secs(seconds));
                assert_eq!(schedule.due(first), at, "{rate} {seconds}");
                assert!(first == 0 || schedule.due(first - 1) < at, "{rate} {seconds}");
            }
        }
    }

    #[test]
    fn a_number_that_is_never_reached_is_due_late_and_not_never() {
        let began = Instant::now();
        assert!(Schedule::new(began, 1).due(u64::MAX) > began + Duration::from_hours(24));
    }
}
