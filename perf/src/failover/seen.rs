//! What the puts of one shard showed.

use std::time::{Duration, Instant};

/// Counts, the longest gap between two acknowledgements, and when an outage ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    begun: u64,
    acknowledged: u64,
    last: Option<Instant>,
    longest: Duration,
    gone: Option<Instant>,
    back: Option<Instant>,
}

impl Seen {
    /// A put begins.
    pub(crate) fn begin(&mut self) {
        self.begun += 1;
    }

    /// A put that began at `began` is acknowledged.
    pub(crate) fn acknowledged(&mut self, began: Instant, now: Instant) {
        self.acknowledged += 1;
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
        if self.gone.is_some_and(|gone| began >= gone) {
            self.back.get_or_insert(now);
        }
    }

    /// Whoever led is gone now: the next acknowledgement of a put that begins after this ends the outage.
    pub(crate) fn leader_gone(&mut self, now: Instant) {
        (self.gone, self.back) = (Some(now), None);
    }

    /// When the outage ended, if it has.
    pub(crate) fn back(&self) -> Option<Instant> {
        self.back
    }

    /// No more puts are made: a gap that lasts until now counts.
    pub(crate) fn end(&mut self, now: Instant) {
        if let Some(last) = self.last {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
    }

    /// The longest time in which nothing was acknowledged, since the first acknowledgement.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// Puts begun.
    pub(crate) fn count_begun(&self) -> u64 {
        self.begun
    }

    /// Puts acknowledged.
    pub(crate) fn count_acknowledged(&self) -> u64 {
        self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milli(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn an_answer_to_what_began_before_the_leader_was_gone_does_not_end_the_outage() {
        let start = Instant::now();
        let at = |millis| milli(start, millis);
        let mut seen = Seen::default();
        seen.acknowledged(at(0), at(1));
        seen.leader_gone(at(10));
        assert_eq!(seen.back(), None);
        seen.acknowledged(at(9), at(12));
        assert_eq!(seen.back(), None, "it may be the dead leader's answer");
        seen.acknowledged(at(11), at(500));
        seen.acknowledged(at(12), at(501));
        assert_eq!(seen.back(), Some(at(500)), "the first one counts");
        seen.leader_gone(at(600));
        assert_eq!(seen.back(), None, "the next outage is another one");
    }

    #[test]
    fn the_longest_gap_runs_from_the_first_acknowledgement_to_the_end() {
        let start = Instant::now();
        let at = |millis| milli(start, millis);
        let mut seen = Seen::default();
        seen.begin();
        seen.end(at(5));
        assert_eq!(seen.longest(), Duration::ZERO, "nothing was acknowledged yet");
        seen.acknowledged(at(5), at(10));
        seen.acknowledged(at(11), at(40));
        assert_eq!(seen.longest(), Duration::from_millis(30));
        seen.end(at(100));
        assert_eq!(seen.longest(), Duration::from_millis(60));
        assert_eq!((seen.count_begun(), seen.count_acknowledged()), (1, 2));
    }
}
