//! What `overload` prints at its end.

use std::fmt;

use serde::Serialize;

use crate::proc::memory::Held;

/// The least share of the peak that is good.
const GOODPUT_RATIO_MIN: f64 = 0.8;
/// The most memory of a node that is good, in KiB.
const HELD_KIB_MAX: u64 = 768 << 10;
/// The longest time to an ordinary tail that is good, in milliseconds.
const CALM_MS_MAX: u64 = 2_000;

/// An overload, what came before it and after it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OverloadReport {
    /// Always `overload`.
    pub(crate) bench: &'static str,
    /// Writes under way that gave most.
    pub(crate) peak_in_flight: usize,
    /// Writes per second then, with one client.
    pub(crate) peak_one_client_per_s: f64,
    /// The same with as many patient clients as there are connections in the overload.
    pub(crate) peak_all_clients_per_s: f64,
    /// Writes under way in the overload.
    pub(crate) in_flight: usize,
    /// Connections to each core.
    pub(crate) connections: usize,
    /// Of those, connections of clients that come back at once.
    pub(crate) impatient: usize,
    /// Seconds of overload.
    pub(crate) secs: f64,
    /// Writes acknowledged per second.
    pub(crate) goodput_per_s: f64,
    /// Those per second of the higher of both peaks.
    pub(crate) goodput_ratio: f64,
    /// 99 % of the acknowledged writes were not slower, in microseconds, patience included.
    pub(crate) p99_us: f64,
    /// Times a core asked for patience and got none.
    pub(crate) hints_ignored: u64,
    /// Writes that failed without effect.
    pub(crate) errors: u64,
    /// Writes whose outcome is unknown.
    pub(crate) unknown: u64,
    /// The most that any node held at once.
    pub(crate) held_max: Held,
    /// 99 % of the writes under ordinary load were not slower before, in microseconds.
    pub(crate) ordinary_p99_us: f64,
    /// Milliseconds from the end of the overload until the tail was ordinary again for a second: no longer than 1.5 times as before.
    pub(crate) calm_after_ms: Option<u64>,
    /// What acknowledged writes rest on, as read from the processes during the overload.
    pub(crate) durability: String,
    /// What the system says it is.
    pub(crate) version: String,
}

impl OverloadReport {
    /// Whether it stayed steady.
    pub(crate) fn is_steady(&self) -> bool {
        self.goodput_ratio >= GOODPUT_RATIO_MIN
            && self.held_max.sum_kib() <= HELD_KIB_MAX
            && self.calm_after_ms.is_some_and(|millis| millis <= CALM_MS_MAX)
    }
}

impl fmt::Display for OverloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "peak: {} in flight, one client {:.0} ops/s, {} clients {:.0} ops/s",
            self.peak_in_flight, self.peak_one_client_per_s, self.connections, self.peak_all_clients_per_s
        )?;
        writeln!(
            f,
            "overload: {} in flight on {} connections to each core, {} of them impatient, {} s: {:.0} ops/s, {:.2} of the peak; \
             p99 {:.1} ms, hints ignored {}, failed {}, unknown {}",
            self.in_flight,
            self.connections,
            self.impatient,
            self.secs,
            self.goodput_per_s,
            self.goodput_ratio,
            self.p99_us / 1000.0,
            self.hints_ignored,
            self.errors,
            self.unknown
        )?;
        let held = self.held_max;
        writeln!(
            f,
            "memory of the largest node: {} MiB anonymous, {} MiB locked or pinned",
            held.anonymous_kib >> 10,
            held.locked_kib >> 10
        )?;
        let ordinary = self.ordinary_p99_us / 1000.0;
        match self.calm_after_ms {
            Some(millis) => write!(
                f,
                "ordinary load: p99 {ordinary:.1} ms before, and again {millis} ms after the overload"
            )?,
            None => write!(
                f,
                "ordinary load: p99 {ordinary:.1} ms before, and not again in the time it was watched"
            )?,
        }
        write!(f, "; {}", self.durability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> OverloadReport {
        OverloadReport {
            bench: "overload",
            peak_in_flight: 768,
            peak_one_client_per_s: 100.0,
            peak_all_clients_per_s: 90.0,
            in_flight: 7680,
            connections: 64,
            impatient: 32,
            secs: 60.0,
            goodput_per_s: 85.0,
            goodput_ratio: 0.85,
            p99_us: 1000.0,
            hints_ignored: 5,
            errors: 0,
            unknown: 0,
            held_max: Held::default(),
            ordinary_p99_us: 1000.0,
            calm_after_ms: Some(300),
            durability: String::new(),
            version: String::new(),
        }
    }

    #[test]
    fn each_of_the_three_limits_must_hold() {
        let good = report();
        assert!(good.is_steady());
        let slow = OverloadReport {
            goodput_ratio: 0.79,
            ..good.clone()
        };
        let held_max = Held {
            anonymous_kib: HELD_KIB_MAX,
            locked_kib: 1,
        };
        let large = OverloadReport { held_max, ..good.clone() };
        let late = OverloadReport {
            calm_after_ms: Some(2_001),
            ..good.clone()
        };
        let never = OverloadReport {
            calm_after_ms: None,
            ..good
        };
        assert!([slow, large, late, never.clone()].iter().all(|report| !report.is_steady()));
        assert!(never.to_string().contains("not again"), "{never}");
    }
}
