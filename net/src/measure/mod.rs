//! What a core counts and measures, in the words that node and watcher share.
//!
//! ```text
//!   numbers     one u64 each: counts that only grow, and levels
//!   outcomes    operations answered, by kind and by what the answer was
//!   times       one histogram for each span: the gaps between stages, flushes, turns
//!   traffic     frames and bytes to and from each peer's core
//! ```
//! All of it is plain memory, written by the one thread of its core and copied out between two turns: nothing here is shared,
//! so nothing here is atomic. A watcher takes differences of two copies ([`Measures::since`]).
//!
//! - [`stage`]: the stages of a write and of a read. [`span`]: everything that takes time, those gaps among it.
//! - [`histogram`]: how durations are kept. [`number`], [`outcome`]: what is counted.
//!
//! Not here, on purpose: clocks (durations come from whoever has one), names of any monitoring system (`margate_tools`).

pub mod histogram;
pub mod number;
pub mod outcome;
pub mod span;
pub mod stage;

use crate::ids::{CoreId, NodeId};

pub use histogram::Histogram;
pub use number::{Number, Numbers};
pub use outcome::{Outcomes, result_name};
pub use span::{Span, Times};
pub use stage::{ReadStage, Stage};

/// Everything a core has counted and measured since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Counts and levels.
    pub numbers: Numbers,
    /// Operations answered.
    pub outcomes: Outcomes,
    /// How long things took.
    pub times: Times,
    /// What went to and came from each peer's core, in their order.
    pub traffic: Vec<Traffic>,
}

/// What went to and came from a peer's core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Its node.
    pub node: NodeId,
    /// Its core.
    pub core: CoreId,
    /// Frames handed to its connections.
    pub frames_sent: u64,
    /// Bytes of them.
    pub bytes_sent: u64,
    /// Frames dropped, since it could not be reached or took nothing.
    pub frames_dropped: u64,
    /// Frames that came from it.
    pub frames_received: u64,
    /// Bytes of their bodies and payloads.
    pub bytes_received: u64,
}

impl Traffic {
    /// Nothing yet.
    #[must_use]
    pub const fn none(node: NodeId, core: CoreId) -> Self {
        Self {
            node,
            core,
            frames_sent: 0,
            bytes_sent: 0,
            frames_dropped: 0,
            frames_received: 0,
            bytes_received: 0,
        }
    }

    /// What went since an earlier look; of another peer, or from before a restart, all of it.
    #[must_use]
    fn since(&self, earlier: &Self) -> Self {
        let less = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            frames_sent: less(self.frames_sent, earlier.frames_sent),
            bytes_sent: less(self.bytes_sent, earlier.bytes_sent),
            frames_dropped: less(self.frames_dropped, earlier.frames_dropped),
            frames_received: less(self.frames_received, earlier.frames_received),
            bytes_received: less(self.bytes_received, earlier.bytes_received),
            ..*self
        }
    }
}

impl Measures {
    /// What was counted and measured since an earlier look at the same core; levels are as they are now. If the core was started
    /// again in between, that is all since then.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.is_before(earlier) {
            return self.clone();
        }
        let before = |one: &Traffic| {
            earlier
                .traffic
                .iter()
                .find(|other| (other.node, other.core) == (one.node, one.core))
        };
        Self {
            numbers: self.numbers.since(&earlier.numbers),
            outcomes: self.outcomes.since(&earlier.outcomes),
            times: self.times.since(&earlier.times),
            traffic: self
                .traffic
                .iter()
                .map(|one| before(one).map_or(*one, |before| one.since(before)))
                .collect(),
        }
    }

    /// Whether something that only grows is less than it was: another process counts now.
    fn is_before(&self, earlier: &Self) -> bool {
        self.times.get(Span::Turn).count() < earlier.times.get(Span::Turn).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_what_happened_in_between_and_levels_are_as_they_are() {
        let mut before = Measures::default();
        before.times.record(Span::Turn, 1_000, 5);
        before.numbers.set(Number::LogBatches, 3);
        before.numbers.set(Number::Connections, 9);
        before.traffic.push(Traffic {
            bytes_sent: 100,
            ..Traffic::none(NodeId(2), CoreId(0))
        });
        let mut now = before.clone();
        now.times.record(Span::Turn, 1_000, 2);
        now.numbers.set(Number::LogBatches, 10);
        now.numbers.set(Number::Connections, 4);
        now.traffic[0].bytes_sent = 150;
        let between = now.since(&before);
        assert_eq!(between.times.get(Span::Turn).count(), 2);
        assert_eq!(
            (between.numbers.get(Number::LogBatches), between.numbers.get(Number::Connections)),
            (7, 4)
        );
        assert_eq!(between.traffic[0].bytes_sent, 50);
    }

    #[test]
    fn after_a_restart_all_is_new() {
        let mut before = Measures::default();
        before.times.record(Span::Turn, 1_000, 5);
        before.numbers.set(Number::LogBatches, 3);
        let mut now = Measures::default();
        now.times.record(Span::Turn, 1_000, 1);
        now.numbers.set(Number::LogBatches, 30);
        assert_eq!(now.since(&before), now);
    }
}
