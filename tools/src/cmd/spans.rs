//! What was measured of each span, in numbers that people and programs read: used by `status --stages` and `top`.

use margate_net::measure::{Histogram, Span, Times};
use serde_json::Value;

use crate::output::Object;

/// Columns of a table of what was measured.
pub(crate) const COLUMNS: [&str; 7] = ["of", "until", "count", "mean", "p50", "p99", "p99.9"];

/// A span and what it is called: what it belongs to, and its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// `write`, `read`, `operation` or `core`.
    pub(crate) of: &'static str,
    /// The stage that it leads to, the operation, or what the core does.
    pub(crate) name: &'static str,
    /// It.
    pub(crate) span: Span,
}

/// How long something took, in nanoseconds; quantiles are at most an eighth too high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) mean_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
}

/// Every span, in the order in which an operation meets them.
pub(crate) fn all() -> impl Iterator<Item = Named> {
    Span::all().map(|span| {
        let (of, name) = match span {
            Span::Write(stage) => ("write", stage.name()),
            Span::Read(stage) => ("read", stage.name()),
            Span::Operation(kind) => ("operation", kind.name()),
            Span::LogFlush => ("core", "log flush"),
            Span::IndexCommit => ("core", "index commit"),
            Span::Turn => ("core", "turn"),
        };
        Named { of, name, span }
    })
}

impl Latency {
    /// Of what was measured; nothing if nothing was.
    pub(crate) fn of(times: &Histogram) -> Option<Self> {
        Some(Self {
            count: times.count(),
            mean_ns: times.mean()?,
            p50_ns: times.per_mille(500)?,
            p99_ns: times.per_mille(990)?,
            p999_ns: times.per_mille(999)?,
        })
    }

    fn object(&self, named: &Named) -> Object {
        Object::default()
            .field("of", named.of)
            .field("name", named.name)
            .field("count", self.count)
            .field("mean_ns", self.mean_ns)
            .field("p50_ns", self.p50_ns)
            .field("p99_ns", self.p99_ns)
            .field("p999_ns", self.p999_ns)
    }

    /// How many, the mean and the quantiles.
    fn columns(&self) -> [String; 5] {
        let spans = [self.mean_ns, self.p50_ns, self.p99_ns, self.p999_ns].map(show_nanos);
        let [mean, p50, p99, p999] = spans;
        [self.count.to_string(), mean, p50, p99, p999]
    }
}

/// A span that was measured, and how long it took.
pub(crate) type Measured = (Named, Latency);

/// Everything that was measured, with its name.
pub(crate) fn measured(times: &Times) -> Vec<Measured> {
    let measured = all().filter_map(|named| Some((named, Latency::of(times.get(named.span))?)));
    measured.collect()
}

/// For programs.
pub(crate) fn objects(measured: &[Measured]) -> Vec<Value> {
    let objects = measured.iter().map(|(named, latency)| latency.object(named).into());
    objects.collect()
}

/// A row for people; see [`COLUMNS`].
pub(crate) fn cells((named, latency): &Measured) -> [String; COLUMNS.len()] {
    let [count, mean, p50, p99, p999] = latency.columns();
    [named.of.to_owned(), named.name.to_owned(), count, mean, p50, p99, p999]
}

/// A span of time in the largest unit that leaves at least one whole, with three digits at most.
pub(crate) fn show_nanos(nanos: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000), ("ns", 1)];
    let fits = UNITS.into_iter().find(|(_, size)| nanos >= *size);
    let (unit, size) = fits.unwrap_or(("ns", 1));
    let (whole, rest) = (nanos / size, nanos % size);
    match whole {
        0..10 if size > 1 => format!("{whole}.{:02} {unit}", rest * 100 / size),
        10..100 if size > 1 => format!("{whole}.{} {unit}", rest * 10 / size),
        _ => format!("{whole} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_with_three_digits() {
        for (nanos, shown) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_024, "1.02 µs"),
            (12_345, "12.3 µs"),
            (123_999, "123 µs"),
            (1_500_000, "1.50 ms"),
            (68_719_476_736, "68.7 s"),
            (120_000_000_000, "120 s"),
        ] {
            assert_eq!(show_nanos(nanos), shown);
        }
    }

    #[test]
    fn every_span_is_named_once() {
        let named: Vec<_> = all().collect();
        assert_eq!(named.len(), Span::COUNT);
        for one in &named {
            let same = named.iter().filter(|other| (other.of, other.name) == (one.of, one.name));
            assert_eq!(same.count(), 1, "{one:?}");
        }
    }

    #[test]
    fn what_was_not_measured_is_not_told() {
        let mut times = Times::default();
        times.record(Span::LogFlush, 250_000, 9);
        times.record(Span::LogFlush, 9_000_000, 1);
        let told = measured(&times);
        assert_eq!(told.len(), 1);
        let (named, latency) = told[0];
        assert_eq!((named.of, named.name), ("core", "log flush"));
        assert_eq!(latency.columns(), ["10", "1.12 ms", "262 µs", "9.43 ms", "9.43 ms"]);
        let object = Value::from(latency.object(&named));
        assert_eq!((&object["count"], &object["p50_ns"]), (&Value::from(10), &Value::from(262_144)));
    }
}
