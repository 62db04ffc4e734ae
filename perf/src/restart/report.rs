//! What `restart` prints: a line for each way in which nodes ended.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::failover::report::millis;
use crate::report::versus::median;
use crate::units::in_words;

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    /// It was asked to, while nobody asked for anything else.
    Graceful,
    /// It was killed under load.
    Killed,
}

/// One restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Back {
    /// From the signal until the process was gone.
    pub(crate) ended: Duration,
    /// From exec until the node answered.
    pub(crate) answers: Duration,
    /// From exec until it served.
    pub(crate) serves: Duration,
    /// Bytes of log that were there when it was executed.
    pub(crate) log_bytes: u64,
}

/// All restarts of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RestartReport {
    /// Always `restart`.
    pub(crate) bench: &'static str,
    /// How the nodes ended.
    pub(crate) end: End,
    /// Restarts.
    pub(crate) rounds: usize,
    /// Bytes of log a node had at least, those of segments that wait empty not counted.
    pub(crate) log_bytes_min: u64,
    /// Median time from the signal until the process was gone, in milliseconds.
    pub(crate) ended_p50_ms: f64,
    /// Median time from exec until the node answered, in milliseconds.
    pub(crate) answers_p50_ms: f64,
    /// Median time from exec until it served, in milliseconds.
    pub(crate) serves_p50_ms: f64,
    /// The longest such time, in milliseconds.
    pub(crate) serves_max_ms: f64,
}

impl RestartReport {
    /// Of these restarts.
    pub(crate) fn of(end: End, backs: &[Back]) -> Self {
        let p50 = |time: fn(&Back) -> Duration| median(backs.iter().map(|back| millis(time(back)))).unwrap_or(0.0);
        Self {
            bench: "restart",
            end,
            rounds: backs.len(),
            log_bytes_min: backs.iter().map(|back| back.log_bytes).min().unwrap_or(0),
            ended_p50_ms: p50(|back| back.ended),
            answers_p50_ms: p50(|back| back.answers),
            serves_p50_ms: p50(|back| back.serves),
            serves_max_ms: backs.iter().map(|back| millis(back.serves)).fold(0.0, f64::max),
        }
    }

    /// Whether no restart took longer than was asked for.
    pub(crate) fn is_within(&self, max_ms: Option<u32>) -> bool {
        max_ms.is_none_or(|max| self.serves_max_ms <= f64::from(max))
    }
}

impl fmt::Display for RestartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Graceful => "stopped in good order",
            End::Killed => "killed under load",
        };
        write!(
            f,
            "{end}, {} rounds, {} of log: gone after {:.0} ms; answers {:.0} ms and serves {:.0} ms after exec (medians), at most {:.0} ms",
            self.rounds,
            in_words(self.log_bytes_min),
            self.ended_p50_ms,
            self.answers_p50_ms,
            self.serves_p50_ms,
            self.serves_max_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_medians_and_the_longest_decides() {
        let back = |serves, log_bytes| Back {
            ended: Duration::from_millis(10),
            answers: Duration::from_millis(serves / 2),
            serves: Duration::from_millis(serves),
            log_bytes,
        };
        let report = RestartReport::of(End::Killed, &[back(100, 2 << 30), back(300, 3 << 30), back(200, 4 << 30)]);
        assert_eq!(
            (report.serves_p50_ms, report.serves_max_ms, report.log_bytes_min),
            (200.0, 300.0, 2 << 30)
        );
        assert!(report.is_within(None) && report.is_within(Some(300)) && !report.is_within(Some(299)));
        assert!(
            report.to_string().starts_with("killed under load, 3 rounds, 2 GiB of log"),
            "{report}"
        );
    }
}
