//! What a point of `scale` prints.

use std::fmt;

use serde::Serialize;

use super::arguments::ScaleArguments;
use super::points::{Order, Point};
use crate::driver::measured::Measured;
use crate::margate::sizes::Sizes;
use crate::meter::rounded;
use crate::units::in_words;

/// One point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ScaleLine {
    /// Always `scale`.
    pub(crate) bench: &'static str,
    /// In which order keys were overwritten.
    pub(crate) order: Order,
    /// Keys there are.
    pub(crate) keys: u64,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// Writes under way at any instant.
    pub(crate) in_flight: u16,
    /// Cores of each node.
    pub(crate) cores: u16,
    /// Shards.
    pub(crate) shards: u16,
    /// Seconds that count.
    pub(crate) secs: f64,
    /// Writes acknowledged in them, per second.
    pub(crate) ops_per_s: f64,
    /// Times the rate of the point it is compared with: the first of its order, or else the first of all.
    pub(crate) ratio: f64,
    /// Median latency in microseconds.
    pub(crate) p50_us: f64,
    /// 99 % are not slower, in microseconds.
    pub(crate) p99_us: f64,
    /// Commits of the index that committed least, at least.
    pub(crate) commits: u32,
    /// Writes that failed, and those whose outcome is unknown.
    pub(crate) failed: u64,
    /// The latter alone.
    pub(crate) unknown: u64,
    /// What the nodes say at the end, together.
    #[serde(flatten)]
    pub(crate) sizes: Sizes,
}

impl ScaleLine {
    /// The line of a point, beside those measured before it.
    pub(crate) fn new(point: Point, arguments: &ScaleArguments, measured: &Measured, commits: u32, sizes: Sizes, before: &[Self]) -> Self {
        let total = measured.total();
        let ops_per_s = measured.rate(&total);
        let same_order = before.iter().find(|line| line.order == point.order);
        let base = same_order.map_or(ops_per_s, |line| line.ops_per_s);
        Self {
            bench: "scale",
            order: point.order,
            keys: point.keys,
            value_bytes: arguments.values.value_bytes,
            in_flight: arguments.in_flight,
            cores: point.cores,
            shards: point.shards,
            secs: measured.window.as_secs_f64(),
            ops_per_s: rounded(ops_per_s),
            ratio: (1000.0 * ops_per_s / base).round() / 1000.0,
            p50_us: rounded(total.micros_at(0.5)),
            p99_us: rounded(total.micros_at(0.99)),
            commits,
            failed: total.errors + total.unknown,
            unknown: total.unknown,
            sizes,
        }
    }
}

impl fmt::Display for ScaleLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "put {:<10} {:>9} keys  {:>2} cores  {:>4} shards  {:>8.0} ops/s, {:.3} times the first  p50 {:>6.0}  p99 {:>6.0} us  \
             {} commits in {:.0} s  failed {}, of which unknown {}  logs {}  indexes {}",
            self.order.word(),
            self.keys,
            self.cores,
            self.shards,
            self.ops_per_s,
            self.ratio,
            self.p50_us,
            self.p99_us,
            self.commits,
            self.secs,
            self.failed,
            self.unknown,
            in_words(self.sizes.log_bytes),
            in_words(self.sizes.index_bytes),
        )
    }
}
