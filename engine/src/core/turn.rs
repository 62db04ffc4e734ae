//! One turn: what it is made of, how long it lasted, and whether that was too long.
//!
//! A turn that lasts longer than a bound is a stall: while it runs, the core hears nobody. Each is counted; told is one in
//! `TELL_EVERY`, with what it was made of, so that a sick disk does not fill the journal.
//!
//! Not here, on purpose: noticing a turn that does not end (`runtime`), logging.

use std::fmt;

use margate_net::ids::ShardId;

use super::event::{Event, EventKind};
use crate::types::Nanos;

/// Time between two stalls that are told.
const TELL_EVERY: Nanos = Nanos::from_millis(10_000);

/// See the module's text.
#[derive(Debug, Default)]
pub struct Turn {
    began: Nanos,
    work: Work,
    /// Shards for which an entry was proposed.
    proposed: Vec<ShardId>,
    stalls: u64,
    /// When one was told last, and how many were not since.
    told: Option<Nanos>,
    untold: u64,
}

/// How many events of each kind a turn has handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work([u32; EventKind::ALL.len()]);

/// A turn that lasted too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// How long it took until its last event was handled.
    pub handling: Nanos,
    /// How long it lasted in all.
    pub lasted: Nanos,
    /// What it was made of.
    pub work: Work,
    /// Others since one was told last.
    pub untold: u64,
}

impl Turn {
    /// It handles an event.
    pub(super) fn saw(&mut self, event: &Event) {
        if let Some(count) = self.work.0.get_mut(event.kind() as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// It began at this moment.
    pub(super) fn began(&mut self, now: Nanos) {
        self.began = now;
        self.proposed.clear();
    }

    /// It has proposed an entry.
    pub(super) fn proposed(&mut self, shard: ShardId) {
        self.proposed.push(shard);
    }

    /// It is over: when it began, and the shards for which it has proposed.
    pub(super) fn take(&mut self) -> (Nanos, impl Iterator<Item = ShardId> + '_) {
        (self.began, self.proposed.drain(..))
    }

    /// It is over, and has handled its last event at `handled`. A stall, if it lasted longer than `bound` (zero: for ever) and should
    /// be told.
    pub(super) fn judge(&mut self, handled: Nanos, now: Nanos, bound: Nanos) -> Option<Stall> {
        let (work, lasted) = (std::mem::take(&mut self.work), now.since(self.began));
        if bound == Nanos(0) || lasted <= bound {
            return None;
        }
        self.stalls += 1;
        if self.told.is_some_and(|told| now.since(told) < TELL_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(Stall {
            handling: handled.since(self.began),
            lasted,
            work,
            untold: std::mem::take(&mut self.untold),
        })
    }

    /// Stalls since the start.
    pub(super) const fn stalls(&self) -> u64 {
        self.stalls
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = EventKind::ALL.into_iter().zip(self.0);
        let mut before = false;
        for (kind, count) in kinds.filter(|(_, count)| *count > 0) {
            write!(f, "{}{count} {}", if before { ", " } else { "" }, kind.name())?;
            before = true;
        }
        if before { Ok(()) } else { f.write_str("no events") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Nanos = Nanos::from_millis(50);

    fn lasting(turn: &mut Turn, (began_ms, lasted_ms): (u64, u64), bound: Nanos) -> Option<Stall> {
        turn.began(Nanos::from_millis(began_ms));
        turn.saw(&Event::Tick);
        turn.saw(&Event::SegmentDeleted);
        turn.saw(&Event::Tick);
        let ended = Nanos::from_millis(began_ms + lasted_ms);
        turn.judge(Nanos::from_millis(began_ms + 1), ended, bound)
    }

    #[test]
    fn what_lasts_too_long_is_counted_and_now_and_then_told() {
        let mut turn = Turn::default();
        assert_eq!(lasting(&mut turn, (1_000, 50), BOUND), None);
        let stall = lasting(&mut turn, (2_000, 51), BOUND).expect("it lasted too long");
        assert_eq!((stall.handling, stall.lasted), (Nanos::from_millis(1), Nanos::from_millis(51)));
        assert_eq!(stall.work.to_string(), "1 segment deleted, 2 tick");
        for soon in [(3_000, 60), (11_000, 700)] {
            assert_eq!(lasting(&mut turn, soon, BOUND), None);
        }
        let next = lasting(&mut turn, (12_000, 60), BOUND).expect("ten seconds have passed");
        assert_eq!((next.untold, turn.stalls()), (2, 4));
        // What a turn is made of is not carried into the next one.
        assert_eq!(next.work, stall.work);
    }

    #[test]
    fn without_a_bound_nothing_is_a_stall() {
        let mut turn = Turn::default();
        assert_eq!(lasting(&mut turn, (1, 1_000_000), Nanos(0)), None);
        assert_eq!(turn.stalls(), 0);
        assert_eq!(Work::default().to_string(), "no events");
    }
}
