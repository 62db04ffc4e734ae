//! Durations in buckets of fixed bounds: eight to each doubling, so that a quantile is at most an eighth too high.
//!
//! A histogram is 192 counters and a sum, 1.5 KiB; recording is a shift and three additions. Bounds are the same everywhere, so
//! histograms of two cores, or of two moments, are added and subtracted counter by counter.
//!
//! ```text
//!   unit      1.024 µs
//!   0 ..< 8   one unit each
//!   8 ..< 16  one unit each: the first doubling in eight parts
//!   16 ..     two units each, then four, ... up to 68 s; the last takes what is longer
//! ```

/// Counters of a histogram.
pub const BUCKETS: usize = 192;
/// Buckets that share a power of two.
pub const BUCKETS_PER_DOUBLING: usize = 8;
/// The shortest span told from nothing, as a power of two of nanoseconds.
const UNIT_BITS: u32 = 10;
const PARTS_BITS: u32 = 3;

/// How often spans of which length were measured.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum: u64,
}

impl Histogram {
    /// Counts a span of so many nanoseconds, so many times.
    pub fn record(&mut self, nanos: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket_of(nanos)) {
            *count = count.saturating_add(times);
        }
        // Wraps after 584 years of spans; who watches takes that for a restart.
        self.sum = self.sum.wrapping_add(nanos.wrapping_mul(times));
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Nanoseconds of all of them together; wraps.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Nanoseconds of one in the mean, if there are any.
    #[must_use]
    pub fn mean(&self) -> Option<u64> {
        self.sum.checked_div(self.count())
    }

    /// The length in nanoseconds that a share of them, in thousandths, does not exceed, if there are any: the upper bound of the bucket
    /// that holds it.
    #[must_use]
    pub fn per_mille(&self, share: u64) -> Option<u64> {
        let count = u128::from(self.count());
        let wanted = (count * u128::from(share)).div_ceil(1_000).max(1);
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += u128::from(*count);
            seen >= wanted
        };
        self.counts.iter().position(reached).map(upper_bound)
    }

    /// Buckets that have counted something, in order: which, and how often.
    pub fn filled(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let numbered = (0u16..).zip(&self.counts);
        numbered.filter(|(_, count)| **count > 0).map(|(at, count)| (at, *count))
    }

    /// How many were counted up to each doubling, as nanoseconds and how many took less; the last counter's are in none of them.
    pub fn doublings(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let groups = self.counts.chunks(BUCKETS_PER_DOUBLING).zip(1..);
        groups
            .take(BUCKETS / BUCKETS_PER_DOUBLING - 1)
            .scan(0u64, |seen, (group, doublings)| {
                *seen = group.iter().fold(*seen, |sum, count| sum.saturating_add(*count));
                Some((upper_bound(doublings * BUCKETS_PER_DOUBLING - 1), *seen))
            })
    }

    /// One from what [`Histogram::filled`] and [`Histogram::sum`] said; nothing if a bucket does not exist.
    #[must_use]
    pub fn from_filled(filled: impl IntoIterator<Item = (u16, u64)>, sum: u64) -> Option<Self> {
        let mut made = Self { sum, ..Self::default() };
        for (at, count) in filled {
            *made.counts.get_mut(usize::from(at))? = count;
        }
        Some(made)
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What was counted since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut between = self.clone();
        for (count, before) in between.counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        between.sum = self.sum.wrapping_sub(earlier.sum);
        between
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            sum: 0,
        }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Histogram {{ sum: {}, filled: ", self.sum)?;
        f.debug_map().entries(self.filled()).finish()?;
        write!(f, " }}")
    }
}

fn bucket_of(nanos: u64) -> usize {
    let units = nanos >> UNIT_BITS;
    // Below eight units a unit is a bucket: as if the doublings began there.
    let doubling = (u64::BITS - units.leading_zeros()).saturating_sub(PARTS_BITS + 1);
    let part = units >> doubling;
    let at = u64::from(doubling) * BUCKETS_PER_DOUBLING as u64 + part;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The first nanosecond that is too long for a bucket.
fn upper_bound(at: usize) -> u64 {
    let (doubling, part) = (at / BUCKETS_PER_DOUBLING, at as u64 % BUCKETS_PER_DOUBLING as u64);
    // The first two groups have buckets of one unit.
    let (doubling, part) = match doubling.checked_sub(1) {
        None => (0, part),
        Some(doubling) => (doubling, part + BUCKETS_PER_DOUBLING as u64),
    };
    (part + 1) << (doubling + UNIT_BITS as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_follow_each_other_without_a_gap() {
        assert_eq!((bucket_of(0), bucket_of(1_023), bucket_of(1_024)), (0, 0, 1));
        for at in 0..BUCKETS - 1 {
            assert_eq!((bucket_of(upper_bound(at) - 1), bucket_of(upper_bound(at))), (at, at + 1));
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_bound(BUCKETS - 1), 1 << 36, "68 s");
    }

    #[test]
    fn doublings_are_powers_of_two_and_grow() {
        let mut times = Histogram::default();
        for nanos in [0, 5_000, 8_191, 8_192, 20_000, u64::MAX] {
            times.record(nanos, 1);
        }
        let doublings: Vec<_> = times.doublings().collect();
        assert_eq!(doublings.len(), 23);
        assert_eq!(doublings[..3], [(8_192, 3), (16_384, 4), (32_768, 5)]);
        assert!(doublings.iter().all(|(bound, _)| bound.is_power_of_two()));
        assert_eq!(doublings.last(), Some(&(1 << 35, 5)), "what is longer is in none");
    }

    #[test]
    fn nothing_has_no_quantile() {
        let empty = Histogram::default();
        assert_eq!((empty.per_mille(500), empty.mean(), empty.count()), (None, None, 0));
    }

    proptest! {
        #[test]
        fn quantiles_are_an_eighth_too_high_at_most(mut spans in prop::collection::vec(0u64..60_000_000_000, 1..200), share in 1usize..=1_000) {
            let mut times = Histogram::default();
            spans.iter().for_each(|span| times.record(*span, 1));
            spans.sort_unstable();
            let exact = spans[(spans.len() * share).div_ceil(1_000) - 1];
            let told = times.per_mille(share as u64).expect("there are some");
            prop_assert!(exact < told && told <= exact + exact / 8 + 1_024, "{exact} is told as {told}");
            prop_assert_eq!(times.sum(), spans.iter().sum::<u64>());
        }

        #[test]
        fn what_is_filled_says_all(spans in prop::collection::vec((any::<u64>(), 0u64..1_000), 0..50)) {
            let mut times = Histogram::default();
            spans.iter().for_each(|(span, count)| times.record(*span, *count));
            prop_assert_eq!(Histogram::from_filled(times.filled(), times.sum()), Some(times.clone()));
            let mut twice = times.clone();
            twice.add(&times);
            prop_assert_eq!(twice.since(&times), times);
        }

        #[test]
        fn buckets_that_do_not_exist_are_refused(at in 192u16.., count: u64) {
            prop_assert_eq!(Histogram::from_filled([(at, count)], 0), None);
        }
    }
}
