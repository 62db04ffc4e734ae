//! The result line: one JSON object per run, with these names for ever. Those of what not every run has stand last,
//! and only where there is something to say.

use std::fmt;

use serde::Serialize;

use crate::driver::measured::{Counted, Measured};
use crate::driver::{Pace, Plan};
use crate::meter::Reading;
use crate::workload::Workload;
use crate::workload::bench::{Bench, Kind};
use crate::workload::drawn::KeysDrawn;

/// One run of one system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ResultLine {
    /// `margate`, or the peer.
    pub(crate) system: &'static str,
    /// `put`, `get`, `mixed`, `batch`, or one of YCSB's.
    pub(crate) bench: Bench,
    /// Clients: margate's client objects, a peer's connections.
    pub(crate) clients: usize,
    /// Operations under way at any instant; in an open loop the most there may be.
    pub(crate) in_flight: usize,
    /// Keys that were loaded.
    pub(crate) keys: u64,
    /// How keys are drawn.
    pub(crate) dist: KeysDrawn,
    /// Bytes in each value.
    pub(crate) value_bytes: usize,
    /// Seconds that count.
    pub(crate) secs: f64,
    /// What was acknowledged in them.
    #[serde(flatten)]
    pub(crate) reading: Reading,
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
    /// The kind of operation that this line is about; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<Kind>,
    /// The share of reads, where it can be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_share: Option<f64>,
    /// An open loop, on the line about all operations.
    #[serde(flatten)]
    pub(crate) open: Option<OpenLoop>,
}

/// What the clock asked for, beside what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OpenLoop {
    /// Operations due per second.
    pub(crate) wanted_per_s: u32,
    /// Operations that were due in the counted time and began late, because as many as may be were under way.
    pub(crate) held_back: u64,
    /// Operations that were due in it and never began. Latencies hold the time they had waited.
    pub(crate) never_begun: u64,
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
    /// The line about all operations of one run.
    pub(crate) fn of_all(facts: &SystemFacts, workload: &Workload, plan: &Plan, measured: &Measured) -> Self {
        let line = Self::of(facts, workload, plan, measured, &measured.total());
        Self {
            open: open_loop(plan, measured),
            ..line
        }
    }

    /// The lines about each kind of operation, for a bench that tells them apart.
    pub(crate) fn of_each_kind(facts: &SystemFacts, workload: &Workload, plan: &Plan, measured: &Measured) -> Vec<Self> {
        if !plan.recipe.bench().tells_kinds() {
            return Vec::new();
        }
        let of_kind = |(kind, counted): (&Kind, &Counted)| Self {
            operation: Some(*kind),
            ..Self::of(facts, workload, plan, measured, counted)
        };
        measured.kinds.iter().map(of_kind).collect()
    }

    fn of(facts: &SystemFacts, workload: &Workload, plan: &Plan, measured: &Measured, counted: &Counted) -> Self {
        Self {
            system: facts.system,
            bench: plan.recipe.bench(),
            clients: facts.clients,
            in_flight: plan.pace.in_flight(),
            keys: workload.keys,
            dist: plan.recipe.keys_drawn(),
            value_bytes: workload.values.bytes(),
            secs: (measured.window.as_secs_f64() * 1000.0).round() / 1000.0,
            reading: measured.reading(counted),
            errors: counted.errors,
            unknown: counted.unknown,
            durability: facts.durability.clone(),
            read_mode: plan.recipe.reads().then_some("linearizable"),
            seed: workload.seed,
            version: facts.version.clone(),
            operation: None,
            read_share: plan.recipe.read_share(),
            open: None,
        }
    }

    /// Whether every operation was acknowledged, and there were some; of an open loop, all that were due.
    pub(crate) fn is_clean(&self) -> bool {
        let none_missing = self.open.is_none_or(|open| open.never_begun == 0);
        self.errors == 0 && self.unknown == 0 && self.reading.ops > 0 && none_missing
    }

    /// The bench, and the kind of operation where the line is about one.
    fn name(&self) -> String {
        let operation = self.operation.map(|kind| format!(" {}", kind.word())).unwrap_or_default();
        format!("{}{operation}", self.bench.word())
    }
}

impl fmt::Display for ResultLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.bench.tells_kinds() { KIND_WIDTH } else { BENCH_WIDTH };
        let reading = &self.reading;
        let wanted = self.open.map(|open| format!(" of {} wanted", open.wanted_per_s));
        write!(
            f,
            "{:<8} {:<width$} {:>4} in flight  {:>9.0} ops/s{}  p50 {:>7.0}  p99 {:>7.0}  p99.9 {:>7.0}  max {:>7.0} us  errors {}  unknown {}",
            self.system,
            self.name(),
            self.in_flight,
            reading.ops_per_s,
            wanted.unwrap_or_default(),
            reading.p50_us,
            reading.p99_us,
            reading.p999_us,
            reading.max_us,
            self.errors,
            self.unknown,
        )?;
        match self.open {
            None => Ok(()),
            Some(open) => write!(f, "  held back {}  never begun {}", open.held_back, open.never_begun),
        }
    }
}

/// Columns of a bench's name.
const BENCH_WIDTH: usize = 5;
/// And of one with a kind of operation, of which `ycsb-f read-modify-write` is the longest.
const KIND_WIDTH: usize = 24;

fn open_loop(plan: &Plan, measured: &Measured) -> Option<OpenLoop> {
    let (Pace::Open { rate, .. }, Some(unmet)) = (plan.pace, &measured.unmet) else {
        return None;
    };
    Some(OpenLoop {
        wanted_per_s: rate,
        held_back: unmet.held_back,
        never_begun: unmet.never_begun.len(),
    })
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
            dist: KeysDrawn::Uniform,
            value_bytes: 256,
            secs: 1.0,
            reading: Reading {
                ops: 1,
                ops_per_s,
                p50_us,
                p99_us: 2.0,
                p999_us: 3.0,
                max_us: 4.0,
            },
            errors: 0,
            unknown: 0,
            durability: String::new(),
            read_mode: None,
            seed: 1,
            version: String::new(),
            operation: None,
            read_share: None,
            open: None,
        }
    }

    /// The names of a line's JSON, in order.
    fn names(line: &ResultLine) -> Vec<String> {
        let json = serde_json::to_string(line).expect("plain data");
        let parts = json.trim_matches(['{', '}']).split(',');
        parts.map(|part| part.split('"').nth(1).unwrap_or_default().to_owned()).collect()
    }

    /// Those that every line has.
    const NAMES: &str = "system bench clients in_flight keys dist value_bytes secs ops ops_per_s p50_us p99_us p999_us max_us \
                         errors unknown durability read_mode seed version";

    #[test]
    fn the_json_has_exactly_the_promised_names_in_order() {
        let plain = line("margate", 1.0, 1.0);
        let promised: Vec<&str> = NAMES.split_whitespace().collect();
        assert_eq!(names(&plain), promised);
        let open = OpenLoop {
            wanted_per_s: 5,
            held_back: 2,
            never_begun: 1,
        };
        let all = ResultLine {
            operation: Some(Kind::ReadModifyWrite),
            read_share: Some(0.5),
            open: Some(open),
            ..plain
        };
        let more = ["operation", "read_share", "wanted_per_s", "held_back", "never_begun"];
        assert_eq!(names(&all), [&promised[..], &more].concat());
        let json = serde_json::to_string(&all).expect("plain data");
        assert!(
            json.contains(r#""dist":"uniform""#) && json.contains(r#""operation":"read-modify-write""#),
            "{json}"
        );
    }

    #[test]
    fn the_text_says_what_the_line_is_about_and_what_the_clock_wanted() {
        let mut line = line("margate", 49_000.0, 1.0);
        line.bench = Bench::YcsbF;
        line.operation = Some(Kind::ReadModifyWrite);
        assert!(line.to_string().contains("ycsb-f read-modify-write "), "{line}");
        assert!(line.to_string().ends_with("unknown 0"), "{line}");
        line.open = Some(OpenLoop {
            wanted_per_s: 50_000,
            held_back: 2,
            never_begun: 1,
        });
        let text = line.to_string();
        assert!(text.contains(" 49000 ops/s of 50000 wanted  p50 "), "{text}");
        assert!(text.ends_with("  held back 2  never begun 1"), "{text}");
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
        let open = |never_begun| ResultLine {
            open: Some(OpenLoop {
                wanted_per_s: 1,
                held_back: 1,
                never_begun,
            }),
            ..clean.clone()
        };
        assert!(open(0).is_clean(), "what was held back was done");
        assert!(!open(1).is_clean());
        assert!(
            !ResultLine {
                reading: Reading::default(),
                ..clean
            }
            .is_clean()
        );
    }
}
