//! Draws that more than one part needs.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// A time between two numbers of seconds, its logarithm drawn uniformly: short ones are as frequent as long ones.
pub(crate) fn logarithmic((low, high): (f64, f64), dice: &mut StdRng) -> Duration {
    Duration::from_secs_f64(low * (high / low).powf(dice.random_range(0.0..1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn times_are_short_and_long_and_within_their_bounds() {
        let mut dice = StdRng::seed_from_u64(1);
        let drawn: Vec<f64> = (0..1000).map(|_| logarithmic((0.1, 10.0), &mut dice).as_secs_f64()).collect();
        assert!(drawn.iter().all(|secs| (0.1..10.0).contains(secs)));
        let short = drawn.iter().filter(|secs| **secs < 1.0).count();
        assert!((400..600).contains(&short), "{short} of 1000 are below a second");
    }
}
