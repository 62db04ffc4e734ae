//! Two systems measured in turn: their medians, and how many times the one beats the other.

use std::fmt;

use super::line::ResultLine;
use super::versus::Ratio;

/// Rounds of two systems, in the order they were run.
#[derive(Default)]
pub(crate) struct Rounds {
    /// Margate's lines.
    pub(crate) ours: Vec<ResultLine>,
    /// The peer's lines.
    pub(crate) theirs: Vec<ResultLine>,
}

impl Rounds {
    /// Compares a number of the lines; `None` before both systems have one.
    pub(crate) fn ratio(&self, number: impl Fn(&ResultLine) -> f64) -> Option<Ratio> {
        let series = |lines: &[ResultLine]| lines.iter().map(&number).collect::<Vec<_>>();
        Ratio::of(&series(&self.ours), &series(&self.theirs))
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(rate), Some(our), Some(their)) = (self.ratio(|line| line.reading.ops_per_s), self.ours.first(), self.theirs.first())
        else {
            return f.write_str("nothing was measured");
        };
        writeln!(
            f,
            "{} at {} in flight, {} rounds, medians: {} {:.0} ops/s, {} {:.0} ops/s, ratio {}",
            our.bench.word(),
            our.in_flight,
            self.ours.len().min(self.theirs.len()),
            our.system,
            rate.ours,
            their.system,
            rate.theirs,
            rate
        )?;
        let latencies: [(&str, OfLine); 2] = [("p50", |line| line.reading.p50_us), ("p99", |line| line.reading.p99_us)];
        for (name, latency) in latencies {
            if let Some(ratio) = self.ratio(latency) {
                writeln!(f, "  {name} {:.0} us against {:.0} us, ratio {ratio}", ratio.ours, ratio.theirs)?;
            }
        }
        write!(f, "  {}: {}; {}: {}", our.system, our.durability, their.system, their.durability)
    }
}

/// A number of a result line.
type OfLine = fn(&ResultLine) -> f64;

#[cfg(test)]
mod tests {
    use super::super::line::tests::line;
    use super::*;

    #[test]
    fn the_ratio_is_of_medians_and_its_bounds_are_of_rounds() {
        let rounds = Rounds {
            ours: vec![line("margate", 300.0, 1.0), line("margate", 500.0, 1.0)],
            theirs: vec![line("etcd", 100.0, 2.0), line("etcd", 100.0, 4.0)],
        };
        let ratio = rounds.ratio(|line| line.reading.ops_per_s).expect("both were measured");
        assert_eq!(
            (ratio.ours, ratio.theirs, ratio.ratio, ratio.min, ratio.max),
            (400.0, 100.0, 4.0, 3.0, 5.0)
        );
        let text = rounds.to_string();
        assert!(text.contains("ratio 4.00 (min 3.00, max 5.00)"), "{text}");
        assert!(text.contains("p50 1 us against 3 us, ratio 0.33 (min 0.25, max 0.50)"), "{text}");
        assert!(text.contains("p99 2 us against 2 us, ratio 1.00 (min 1.00, max 1.00)"), "{text}");
    }

    #[test]
    fn it_is_said_what_each_systems_acknowledgement_rests_on() {
        let durable = |system, durability: &str| ResultLine {
            durability: durability.to_owned(),
            ..line(system, 1.0, 1.0)
        };
        let rounds = Rounds {
            ours: vec![durable("margate", "a quorum")],
            theirs: vec![durable("redis", "one node, not replicated")],
        };
        let text = rounds.to_string();
        assert!(text.ends_with("margate: a quorum; redis: one node, not replicated"), "{text}");
    }

    #[test]
    fn nothing_measured_says_so() {
        assert_eq!(Rounds::default().to_string(), "nothing was measured");
    }
}
