//! The result line: one JSON object per run, with these names for ever.

use std::fmt;

use serde::Serialize;

use crate::driver::{Measured, Plan};
use crate::workload::{Bench, Workload};

/// One run of one system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ResultLine {
    /// `margate`, or the peer.
    pub(crate) system: &'static str,
    /// `put`, `get`, `mixed` or `batch`.
    pub(crate) bench: Bench,
    /// Clients: margate's client objects, a peer's connections.
    pub(crate) clients: usize,
    /// Operations under way at any instant.
    pub(crate) in_flight: usize,
    /// Keys that were loaded.
    pub(crate) keys: u64,
    /// How keys are drawn.
    pub(crate) dist: &'static str,
    /// Bytes in each value.
    pub(crate) value_bytes: usize,
    /// Seconds that count.
    pub(crate) secs: f64,
    /// Operations acknowledged in them.
    pub(crate) ops: u64,
    /// Operations per second.
    pub(crate) ops_per_s: f64,
    /// Median latency in microseconds.
    pub(crate) p50_us: f64,
    /// 99 % are not slower, in microseconds.
    pub(crate) p99_us: f64,
    /// 99.9 % are not slower, in microseconds.
    pub(crate) p999_us: f64,
    /// The slowest, in microseconds.
    pub(crate) max_us: f64,
    /// Operations that failed without effect, and wrong reads.
    pub(crate) errors: u64,
    /// Writes that may have happened.
    pub(crate) unknown: u64,
    /// What an acknowledged write rests on, as read from the processes.
    pub(crate) durability: String,
    /// How fresh reads are; `null` where nothing is read.
    pub(crate) read_mode: Option<&'static str>,
    /// The seed of the operations.
    pub(crate) seed: u64,
    /// What the system says it is.
    pub(crate) version: String,
}

/// What a line says about the system, apart from the numbers.
#[derive(Clone, Debug)]
pub(crate) struct SystemFacts {
    /// `margate`, or the peer.
    pub(crate) system: &'static str,
    /// Clients, or a peer's connections.
    pub(crate) clients: usize,
    /// What an acknowledged write rests on.
    pub(crate) durability: String,
    /// What the system says it is.
    pub(crate) version: String,
}

impl ResultLine {
    /// The line of one run.
    pub(crate) fn new(facts: SystemFacts, workload: &Workload, plan: &Plan, measured: &Measured) -> Self {
        Self {
            system: facts.system,
            bench: plan.bench,
            clients: facts.clients,
            in_flight: plan.in_flight,
            keys: workload.keys,
            dist: "uniform",
            value_bytes: workload.values.bytes(),
            secs: rounded(measured.window.as_secs_f64(), 1000.0),
            ops: measured.ops,
            ops_per_s: rounded(measured.rate(), 10.0),
            p50_us: rounded(measured.micros_at(0.5), 10.0),
            p99_us: rounded(measured.micros_at(0.99), 10.0),
            p999_us: rounded(measured.micros_at(0.999), 10.0),
            max_us: rounded(measured.micros_at(1.0), 10.0),
            errors: measured.errors,
            unknown: measured.unknown,
            durability: facts.durability,
            read_mode: match plan.bench {
                Bench::Put | Bench::Batch => None,
                Bench::Get | Bench::Mixed => Some("linearizable"),
            },
            seed: workload.seed,
            version: facts.version,
        }
    }

    /// Whether every operation was acknowledged, and there were some.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors == 0 && self.unknown == 0 && self.ops > 0
    }
}

impl fmt::Display for ResultLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<8} {:<5} {:>4} in flight  {:>9.0} ops/s  p50 {:>7.0}  p99 {:>7.0}  p99.9 {:>7.0}  max {:>7.0} us  errors {}  unknown {}",
            self.system,
            self.bench.word(),
            self.in_flight,
            self.ops_per_s,
            self.p50_us,
            self.p99_us,
            self.p999_us,
            self.max_us,
            self.errors,
            self.unknown,
        )
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A line with only the numbers that ratios look at.
    pub(crate) fn line(system: &'static str, ops_per_s: f64, p50_us: f64) -> ResultLine {
        ResultLine {
            system,
            bench: Bench::Put,
            clients: 1,
            in_flight: 8,
            keys: 10,
            dist: "uniform",
            value_bytes: 256,
            secs: 1.0,
            ops: 1,
            ops_per_s,
            p50_us,
            p99_us: 2.0,
            p999_us: 3.0,
            max_us: 4.0,
            errors: 0,
            unknown: 0,
            durability: String::new(),
            read_mode: None,
            seed: 1,
            version: String::new(),
        }
    }

    #[test]
    fn the_json_has_exactly_the_promised_names_in_order() {
        let json = serde_json::to_string(&line("margate", 1.0, 1.0)).expect("plain data");
        let names = "system bench clients in_flight keys dist value_bytes secs ops ops_per_s p50_us p99_us p999_us max_us \
                     errors unknown durability read_mode seed version";
        let mut rest = json.as_str();
        for name in names.split_whitespace() {
            let at = rest.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {json}"));
            rest = &rest[at..];
        }
        assert_eq!(json.matches("\":").count(), names.split_whitespace().count());
    }

    #[test]
    fn a_line_with_a_failure_or_without_operations_is_not_clean() {
        let clean = line("margate", 1.0, 1.0);
        assert!(clean.is_clean());
        assert!(
            !ResultLine {
                errors: 1,
                ..clean.clone()
            }
            .is_clean()
        );
        assert!(
            !ResultLine {
                unknown: 1,
                ..clean.clone()
            }
            .is_clean()
        );
        assert!(!ResultLine { ops: 0, ..clean }.is_clean());
    }
}
