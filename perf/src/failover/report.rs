//! What `failover` and `probe` say at their end.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The outages of a run of kills.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailoverReport {
    /// Leaders killed.
    pub(crate) kills: u32,
    /// Outages: one of each shard that a killed node led.
    pub(crate) outages: usize,
    /// Half of them were not longer, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99 % of them were not longer, in milliseconds.
    pub(crate) p99_ms: f64,
    /// The longest, in milliseconds.
    pub(crate) max_ms: f64,
    /// Puts begun per second, all shards together, in the run's slowest round.
    pub(crate) probes_per_s: f64,
    /// What acknowledged writes rest on, as read from the processes.
    pub(crate) durability: String,
    /// What the system says it is.
    pub(crate) version: String,
}

impl FailoverReport {
    /// Whether the outages are as short as was asked for.
    pub(crate) fn is_within(&self, p50_max_ms: Option<u32>, max_ms: Option<u32>) -> bool {
        within(self.p50_ms, p50_max_ms) && within(self.max_ms, max_ms)
    }
}

impl fmt::Display for FailoverReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kills {}  outages {}  p50 {:.0} ms  p99 {:.0} ms  max {:.0} ms  probes {:.0}/s or more",
            self.kills, self.outages, self.p50_ms, self.p99_ms, self.max_ms, self.probes_per_s
        )
    }
}

/// What a running deployment acknowledged.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProbeReport {
    /// Seconds of probes.
    pub(crate) secs: f64,
    /// Shards probed.
    pub(crate) shards: usize,
    /// Puts begun.
    pub(crate) begun: u64,
    /// Puts acknowledged.
    pub(crate) acknowledged: u64,
    /// The longest time in which a shard acknowledged nothing, in milliseconds.
    pub(crate) longest_ms: f64,
}

impl ProbeReport {
    /// Whether every shard acknowledged something, and its longest gap is as short as was asked for.
    pub(crate) fn is_within(&self, max_ms: Option<u32>) -> bool {
        self.acknowledged > 0 && within(self.longest_ms, max_ms)
    }
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "probed {} shards for {:.1} s  begun {}  acknowledged {}  longest time without an acknowledged write {:.0} ms",
            self.shards, self.secs, self.begun, self.acknowledged, self.longest_ms
        )
    }
}

fn within(millis: f64, max: Option<u32>) -> bool {
    max.is_none_or(|max| millis <= f64::from(max))
}

/// The smallest of the sorted durations that `per_cent` of 100 are not above; zero of none.
pub(crate) fn percentile(sorted: &[Duration], per_cent: usize) -> Duration {
    let rank = (sorted.len() * per_cent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// In milliseconds, to the tenth.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_durations_that_were_seen() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let at = |per_cent| percentile(&sorted, per_cent).as_millis();
        assert_eq!((at(0), at(50), at(99), at(100)), (1, 100, 198, 200));
        assert_eq!(percentile(&sorted[..1], 50), Duration::from_millis(1));
        assert_eq!(percentile(&sorted[..3], 50), Duration::from_millis(2));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn a_run_is_judged_only_by_what_was_asked_for() {
        let report = FailoverReport {
            kills: 1,
            outages: 1,
            p50_ms: 600.0,
            p99_ms: 900.0,
            max_ms: 900.1,
            probes_per_s: 600.0,
            durability: String::new(),
            version: String::new(),
        };
        assert!(report.is_within(None, None) && report.is_within(Some(600), Some(901)));
        assert!(!report.is_within(Some(599), None) && !report.is_within(None, Some(900)));
    }

    #[test]
    fn a_deployment_that_acknowledged_nothing_is_never_well() {
        let report = |acknowledged| ProbeReport {
            secs: 1.0,
            shards: 1,
            begun: 600,
            acknowledged,
            longest_ms: 0.0,
        };
        assert!(report(1).is_within(None) && !report(0).is_within(None));
    }
}
