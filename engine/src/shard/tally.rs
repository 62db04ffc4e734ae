//! What the replicas of a core count and measure together: plain memory that only their core's thread touches.
//!
//! An entry is measured once, when its life ends: the gaps between its stages are counted for all its operations together, so that an
//! operation costs nothing here. What operations of one entry do not share, their way until they are resolved, is counted in runs: those
//! that came in one frame have it in common.
//!
//! Not here, on purpose: the stages themselves (`margate_net::measure`), clocks.

use margate_net::ids::LogIndex;
use margate_net::measure::{Span, Stage, Times};

use super::replica::Replica;
use crate::types::Nanos;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Tally {
    /// How long things took.
    pub times: Times,
    /// Entries that consensus took.
    pub entries_proposed: u64,
    /// Entries that it did not take.
    pub entries_dropped: u64,
    /// Committed entries applied.
    pub entries_applied: u64,
    /// Of reads.
    pub reads: ReadCounts,
}

/// How reads were allowed to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// ReadIndex rounds begun.
    pub rounds: u64,
    /// Reads that tenure allowed.
    pub by_tenure: u64,
    /// Reads that a round allowed.
    pub by_round: u64,
}

impl ReadCounts {
    /// Adds what another has counted.
    pub const fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.by_tenure += other.by_tenure;
        self.by_round += other.by_round;
    }
}

impl Tally {
    /// Something lasted from one moment to another, so many times.
    pub fn lasted(&mut self, span: Span, (from, to): (Nanos, Nanos), times: u64) {
        self.times.record(span, to.since(from).0, times);
    }
}

/// Spans of one kind that end now. Those that began together are counted together.
#[derive(Debug)]
pub(crate) struct Runs {
    span: Span,
    now: Nanos,
    run: (Nanos, u64),
}

impl Runs {
    /// None yet; they end at `now`.
    pub(crate) const fn ending(span: Span, now: Nanos) -> Self {
        Self {
            span,
            now,
            run: (Nanos(0), 0),
        }
    }

    /// One that began then.
    pub(crate) fn add(&mut self, began: Nanos, tally: &mut Tally) {
        if self.run.0 == began {
            self.run.1 += 1;
        } else {
            self.count(tally);
            self.run = (began, 1);
        }
    }

    /// That was the last.
    pub(crate) fn end(mut self, tally: &mut Tally) {
        self.count(tally);
    }

    fn count(&mut self, tally: &mut Tally) {
        if self.run.1 > 0 {
            tally.lasted(self.span, (self.run.0, self.now), self.run.1);
        }
    }
}

/// When an entry of this leader reached each stage; zero where it has not, or nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) resolved: Nanos,
    pub(crate) proposed: Nanos,
    pub(crate) appended: Nanos,
    pub(crate) durable: Nanos,
    pub(crate) committed: Nanos,
}

impl Life {
    /// It is committed.
    pub(crate) fn commits(&mut self, now: Nanos) {
        note(&mut self.committed, now);
    }

    /// It is applied: counts its gaps for all its operations. A stage nobody told of counts as reached with the one before.
    pub(crate) fn end(self, applied: Nanos, operations: u64, tally: &mut Tally) {
        let stages = [
            (Stage::Proposed, self.proposed),
            (Stage::Appended, self.appended),
            (Stage::Durable, self.durable),
            (Stage::Committed, self.committed),
            (Stage::Applied, applied),
        ];
        let mut before = self.resolved;
        for (stage, reached) in stages {
            let reached = reached.max(before);
            tally.lasted(Span::Write(stage), (before, reached), operations);
            before = reached;
        }
    }
}

impl Replica {
    /// Entries of this leader, up to one, have come further.
    pub(super) fn passed(&mut self, up_to: LogIndex, further: impl Fn(&mut Life)) {
        let entries = self.in_flight.iter_mut().take_while(|entry| entry.index <= up_to);
        entries.for_each(|entry| further(&mut entry.life));
    }

    /// The turn in which entries were proposed is over.
    pub(crate) fn proposed(&mut self, now: Nanos) {
        let newest = self.in_flight.iter_mut().rev();
        let fresh = newest.take_while(|entry| entry.life.proposed == Nanos(0));
        fresh.for_each(|entry| entry.life.proposed = now);
    }

    /// The write of a batch that holds entries up to this one has lasted so long.
    pub(crate) fn written(&mut self, up_to: LogIndex, (began, ended): (Nanos, Nanos)) {
        self.passed(up_to, |life| {
            note(&mut life.appended, began);
            note(&mut life.durable, ended);
        });
    }
}

/// A stage is reached once.
fn note(stage: &mut Nanos, now: Nanos) {
    if *stage == Nanos(0) {
        *stage = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(tally: &Tally, span: Span) -> (u64, u64) {
        let times = tally.times.get(span);
        (times.count(), times.sum())
    }

    #[test]
    fn the_gaps_of_a_life_add_up_to_it() {
        let mut tally = Tally::default();
        let life = Life {
            resolved: Nanos(100),
            proposed: Nanos(130),
            appended: Nanos(150),
            durable: Nanos(900),
            // A quorum had it before this disk.
            committed: Nanos(700),
        };
        life.end(Nanos(1_000), 3, &mut tally);
        let gaps = [Stage::Proposed, Stage::Appended, Stage::Durable, Stage::Committed, Stage::Applied];
        let gaps = gaps.map(|stage| counted(&tally, Span::Write(stage)));
        assert_eq!(gaps, [(3, 90), (3, 60), (3, 2_250), (3, 0), (3, 300)]);
    }

    #[test]
    fn what_began_together_is_counted_together() {
        let mut tally = Tally::default();
        let mut runs = Runs::ending(Span::Write(Stage::Resolved), Nanos(10));
        for began in [4, 4, 4, 6, 4] {
            runs.add(Nanos(began), &mut tally);
        }
        runs.end(&mut tally);
        assert_eq!(counted(&tally, Span::Write(Stage::Resolved)), (5, 4 * 6 + 4));
        Runs::ending(Span::Turn, Nanos(10)).end(&mut tally);
        assert_eq!(counted(&tally, Span::Turn), (0, 0));
    }
}
