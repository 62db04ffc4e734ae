//! How long a shard acknowledges nothing while workers want it to.

use std::time::{Duration, Instant};

/// The last acknowledgement of each shard and the longest gap of any.
pub(crate) struct Outages {
    last: Vec<Option<Instant>>,
    longest: Duration,
}

impl Outages {
    /// Watches `shards` shards; a shard's gaps count from its first acknowledgement.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            last: vec![None; shards],
            longest: Duration::ZERO,
        }
    }

    /// The shard acknowledged something.
    pub(crate) fn acknowledged(&mut self, shard: usize, now: Instant) {
        if let Some(last) = self.last[shard].replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
    }

    /// The workers paused and go on now: the pause is nobody's outage. What was out before it still counts.
    pub(crate) fn resumed(&mut self, now: Instant) {
        self.last.iter_mut().flatten().for_each(|last| *last = now);
    }

    /// The workers pause now: a gap that lasts until now counts.
    pub(crate) fn paused(&mut self, now: Instant) {
        for last in self.last.iter().flatten() {
            self.longest = self.longest.max(now.saturating_duration_since(*last));
        }
    }

    /// The longest gap.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_of_any_shard_counts_and_pauses_do_not() {
        let start = Instant::now();
        let second = |seconds| start + Duration::from_secs(seconds);
        let mut outages = Outages::new(2);
        outages.acknowledged(0, second(0));
        outages.acknowledged(1, second(0));
        outages.acknowledged(0, second(1));
        outages.acknowledged(1, second(3));
        assert_eq!(outages.longest(), Duration::from_secs(3));
        outages.paused(second(5));
        assert_eq!(outages.longest(), Duration::from_secs(4));
        outages.resumed(second(60));
        outages.acknowledged(0, second(61));
        assert_eq!(outages.longest(), Duration::from_secs(4));
    }

    #[test]
    fn a_shard_nobody_has_reached_yet_is_not_out() {
        let mut outages = Outages::new(1);
        outages.paused(Instant::now() + Duration::from_secs(9));
        outages.acknowledged(0, Instant::now());
        assert_eq!(outages.longest(), Duration::ZERO);
    }
}
