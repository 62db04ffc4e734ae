//! What a window of time has seen: how many operations ended in it, and how long those took that began in it.
//!
//! Not here, on purpose: the load itself. Whoever makes it says when each operation began and ended.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Nanoseconds the histogram can tell apart from longer ones.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;

/// A window, open from some instant on.
#[derive(Clone)]
pub(crate) struct Meter {
    opens: Instant,
    window: Duration,
    ops: u64,
    latency: Histogram<u64>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Reading {
    /// Operations that ended in the window.
    pub(crate) ops: u64,
    /// The same per second.
    pub(crate) ops_per_s: f64,
    /// Median latency in microseconds.
    pub(crate) p50_us: f64,
    /// 99 % are not slower, in microseconds.
    pub(crate) p99_us: f64,
    /// 99.9 % are not slower, in microseconds.
    pub(crate) p999_us: f64,
    /// The slowest, in microseconds.
    pub(crate) max_us: f64,
}

impl Meter {
    /// A window of this length that opens after `warmup`.
    pub(crate) fn opening_in(warmup: Duration, window: Duration) -> Self {
        Self {
            opens: Instant::now() + warmup,
            window,
            ops: 0,
            latency: no_latency(),
        }
    }

    /// Whether the window has closed by then.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.opens + self.window
    }

    /// An operation has ended.
    pub(crate) fn record(&mut self, began: Instant, ended: Instant) {
        self.record_all(began, ended, 1);
    }

    /// So many operations that began together have ended together.
    pub(crate) fn record_all(&mut self, began: Instant, ended: Instant, ops: u64) {
        if self.holds(ended) {
            self.ops += ops;
        }
        if self.holds(began) {
            let nanos = u64::try_from((ended - began).as_nanos()).unwrap_or(u64::MAX);
            self.latency.saturating_record_n(nanos, ops);
        }
    }

    fn holds(&self, instant: Instant) -> bool {
        instant >= self.opens && !self.is_over(instant)
    }

    /// What another one of the same window has seen, too.
    pub(crate) fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
    }

    /// What it has seen so far.
    pub(crate) fn reading(&self) -> Reading {
        Reading::of(self.ops, self.window, &self.latency)
    }
}

impl Reading {
    /// So many operations ended in a window of this length; latencies are in nanoseconds.
    pub(crate) fn of(ops: u64, window: Duration, latency: &Histogram<u64>) -> Self {
        let micros = |quantile| rounded(latency.value_at_quantile(quantile) as f64 / 1000.0);
        Self {
            ops,
            ops_per_s: rounded(ops as f64 / window.as_secs_f64()),
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            max_us: micros(1.0),
        }
    }
}

/// A histogram of latencies in nanoseconds, as all that are added up have them.
pub(crate) fn no_latency() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS).expect("the bounds are in order")
}

/// To a tenth.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_the_window_counts_and_what_begins_in_it_is_timed() {
        let second = Duration::from_secs(1);
        let mut meter = Meter::opening_in(second, second);
        let at = |tenths: u32| meter.opens - second + second * tenths / 10;
        let [before, first, inside, last, after] = [5, 10, 15, 19, 25].map(at);
        assert!(!meter.is_over(last) && meter.is_over(after));
        meter.record(before, first);
        meter.record(inside, last);
        meter.record(last, after);
        let mut sum = meter.clone();
        sum.add(&meter);
        let reading = meter.reading();
        assert_eq!(reading.ops, 2);
        assert!(reading.p50_us < reading.max_us && reading.max_us >= 600_000.0, "{reading:?}");
        assert_eq!(sum.reading().ops, 4);
    }
}
