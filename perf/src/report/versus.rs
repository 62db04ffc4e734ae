//! Two systems measured in turn, by one number: their medians, and how many times the one is the other.

use std::fmt;

use serde::Serialize;

/// The medians of all rounds and the ratio between them, with the smallest and the largest of any round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// Margate's median.
    pub(crate) ours: f64,
    /// The other's median.
    pub(crate) theirs: f64,
    /// Median over median.
    pub(crate) ratio: f64,
    /// The smallest ratio of one round.
    pub(crate) min: f64,
    /// The largest ratio of one round.
    pub(crate) max: f64,
}

/// One number of two systems, over all rounds of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Versus {
    /// What was done.
    pub(crate) bench: String,
    /// Which number: what it counts and its unit.
    pub(crate) number: &'static str,
    /// The other system.
    pub(crate) peer: &'static str,
    /// Turns of each.
    pub(crate) rounds: usize,
    /// The numbers.
    #[serde(flatten)]
    pub(crate) ratio: Ratio,
}

impl Ratio {
    /// Of two series in the order of their rounds; `None` before both have begun.
    pub(crate) fn of(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let (our, their) = (median(ours.iter().copied())?, median(theirs.iter().copied())?);
        let by_round = || ours.iter().zip(theirs).map(|(our, their)| our / their);
        Some(Self {
            ours: our,
            theirs: their,
            ratio: our / their,
            min: by_round().fold(f64::INFINITY, f64::min),
            max: by_round().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} (min {:.2}, max {:.2})", self.ratio, self.min, self.max)
    }
}

impl fmt::Display for Versus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, theirs) = (self.ratio.ours, self.ratio.theirs);
        write!(
            f,
            "{}, {} rounds, medians: margate {ours:.0}, {} {theirs:.0} {}, ratio {}",
            self.bench, self.rounds, self.peer, self.number, self.ratio
        )
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0].into_iter()), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([9.0, 1.0, 2.0, 4.0].into_iter()), Some(3.0));
    }

    #[test]
    fn the_line_holds_the_names_and_the_numbers() {
        let versus = Versus {
            bench: "log append of 256 B, 8 writers".to_owned(),
            number: "appends/s",
            peer: "raft-engine",
            rounds: 2,
            ratio: Ratio::of(&[300.0, 500.0], &[100.0, 100.0]).expect("both were measured"),
        };
        assert_eq!(
            versus.to_string(),
            "log append of 256 B, 8 writers, 2 rounds, medians: margate 400, raft-engine 100 appends/s, ratio 4.00 (min 3.00, max 5.00)"
        );
        let json = serde_json::to_string(&versus).expect("plain data");
        assert!(json.contains("\"ratio\":4.0,\"min\":3.0,\"max\":5.0"), "{json}");
        assert!(Ratio::of(&[], &[1.0]).is_none());
    }
}
