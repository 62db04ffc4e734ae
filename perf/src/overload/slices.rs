//! A run cut into short slices, each with the latencies of what began in it: how the tail moves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::target::{Failure, Row, Target};

/// Length of a slice.
pub(crate) const SLICE: Duration = Duration::from_millis(100);
/// Slices that are looked at together, so that there are enough operations for a tail: the latency is as before once all of these are.
const TOGETHER: usize = 10;
/// Nanoseconds that can be told apart from longer ones.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 2;

/// A target that notes how long each write takes.
pub(crate) struct Sliced<T> {
    inner: Arc<T>,
    began: Instant,
    slices: Mutex<Vec<Histogram<u64>>>,
}

impl<T> Sliced<T> {
    /// Slices for so long from now on; what begins later is not noted.
    pub(crate) fn new(inner: Arc<T>, length: Duration) -> Self {
        let count = length.as_nanos().div_ceil(SLICE.as_nanos());
        let empty = Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS).expect("the bounds are in order");
        Self {
            inner,
            began: Instant::now(),
            slices: Mutex::new((0..count).map(|_| empty.clone()).collect()),
        }
    }

    /// 99 % of all writes were not slower, in microseconds.
    pub(crate) fn p99_us(&self) -> f64 {
        let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        p99_us(&slices)
    }

    /// Time from the beginning to the first slice from which on, for a while, writes begin all the time and the tail is no longer than this.
    pub(crate) fn calm_after(&self, p99_us_max: f64) -> Option<Duration> {
        let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let calm = |together: &[Histogram<u64>]| together.iter().all(|slice| !slice.is_empty()) && p99_us(together) <= p99_us_max;
        let first = slices.windows(TOGETHER.min(slices.len()).max(1)).position(calm)?;
        Some(SLICE * u32::try_from(first).unwrap_or(u32::MAX))
    }

    fn note(&self, began: Instant, ended: Instant) {
        let at = (began - self.began).as_nanos() / SLICE.as_nanos();
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = usize::try_from(at).ok().and_then(|at| slices.get_mut(at)) {
            slice.saturating_record(u64::try_from((ended - began).as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

fn p99_us(slices: &[Histogram<u64>]) -> f64 {
    let Some((first, rest)) = slices.split_first() else { return 0.0 };
    let mut sum = first.clone();
    for slice in rest {
        sum.add(slice).expect("all histograms have the same bounds");
    }
    sum.value_at_quantile(0.99) as f64 / 1000.0
}

impl<T: Target> Target for Sliced<T> {
    async fn put(&self, worker: usize, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let began = Instant::now();
        let written = self.inner.put(worker, key, value).await;
        // One that failed is as slow as it was: the caller waited.
        self.note(began, Instant::now());
        written
    }

    async fn get(&self, worker: usize, key: Bytes) -> Result<Option<Bytes>, Failure> {
        self.inner.get(worker, key).await
    }

    async fn scan(&self, worker: usize, low: Bytes, rows: usize) -> Result<Vec<Row>, Failure> {
        self.inner.scan(worker, low, rows).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sliced(latencies_ms: &[u64]) -> Sliced<()> {
        let sliced = Sliced::new(Arc::new(()), SLICE * 40);
        for (slice, millis) in (0..).zip(latencies_ms) {
            let began = sliced.began + SLICE * slice;
            sliced.note(began, began + Duration::from_millis(*millis));
        }
        sliced
    }

    #[test]
    fn calm_begins_where_a_second_of_slices_is_calm() {
        let mut latencies = vec![500, 300, 1, 200];
        latencies.extend([2; 20]);
        let sliced = sliced(&latencies);
        assert_eq!(sliced.calm_after(5_000.0), Some(SLICE * 4));
        assert_eq!(sliced.calm_after(1_000_000.0), Some(Duration::ZERO));
        assert_eq!(sliced.calm_after(500.0), None);
        assert!(sliced.p99_us() > 400_000.0);
    }

    #[test]
    fn silence_is_not_calm_and_what_begins_late_is_not_noted() {
        assert_eq!(sliced(&[]).calm_after(1.0), None);
        let stalled = sliced(&[900]);
        for slice in 9..40 {
            let began = stalled.began + SLICE * slice;
            stalled.note(began, began + Duration::from_millis(2));
        }
        assert_eq!(stalled.calm_after(5_000.0), Some(SLICE * 9), "nobody was answered before");
        let full = sliced(&[7; 60]);
        assert_eq!(full.slices.lock().expect("nobody panicked").len(), 40);
    }
}
