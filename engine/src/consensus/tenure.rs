//! The time in which a leader may answer reads alone.
//!
//! ```text
//!   round begins ──heartbeats──► a quorum steps them ──► round confirmed: tenure until begin + length
//! ```
//! It rests on ReadIndex rounds: each has a context of its own, which the raft crate sends with a heartbeat and
//! counts when it comes back in this term, in both halves of a joint configuration. Whoever answered has stepped a
//! message of this leader after the round began, and for one minimum election timeout from then on neither votes
//! for another nor campaigns (check-quorum). So nobody else can lead before that has passed on *its* clock.
//!
//! Raft keeps that promise only while it remembers the leader, and a message of a higher term makes it forget: so
//! [`super::group::Group`] counts it itself, from each message of a leader on.
//!
//! Who restarts forgets what it stepped: the same count refuses votes for a while after a start. Who is told to campaign
//! at once ignores what it stepped: a leader that said so has no tenure in that term any more. A change of members ends
//! it, and it begins only when an entry of the own term is applied ([`crate::shard::replica`]).
//!
//! Not here, on purpose: rounds (`shard/reads.rs`), the proof that a turn's moment is late enough (`core/event.rs`).

use margate_net::ids::Term;

use crate::limits::CLOCK_DRIFT_PER_MILLE;
use crate::planted::Planted;
use crate::types::Nanos;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Tenure {
    length: Nanos,
    /// The term it was won in, and the monotonic time at which it ends.
    until: Option<(Term, Nanos)>,
    forfeited: Option<Term>,
    /// Rounds that began before say nothing about the present members.
    counts_from: Nanos,
    planted: Planted,
}

impl Tenure {
    /// None yet. Each will be as long as a minimum election timeout surely is on every clock; a tick of zero
    /// means that there is never one.
    #[must_use]
    pub fn new(election_ticks: u32, tick: Nanos, planted: Planted) -> Self {
        Self {
            length: length(election_ticks, tick, planted),
            until: None,
            forfeited: None,
            counts_from: Nanos(0),
            planted,
        }
    }

    /// A quorum has answered a round of this term that began then.
    pub fn extend(&mut self, term: Term, began: Nanos) {
        if self.forfeited == Some(term) || began < self.counts_from {
            return;
        }
        let until = began.plus(self.length);
        let later = self.until.is_none_or(|(of, before)| of != term || before < until);
        if later {
            self.until = Some((term, until));
        }
    }

    /// Whether a leader of this term may answer alone what arrived before `now`.
    #[must_use]
    pub fn holds(&self, term: Term, now: Nanos) -> bool {
        self.until.is_some_and(|(of, until)| of == term && now < until)
    }

    /// Whether a round should begin although nobody reads: less than half of it is left.
    #[must_use]
    pub fn wants_round(&self, term: Term, now: Nanos) -> bool {
        let later = now.plus(Nanos(self.length.0 / 2));
        self.length > Nanos(0) && self.forfeited != Some(term) && !self.holds(term, later)
    }

    /// The members changed: only rounds that begin from now on count, for a new majority need not meet an old one.
    pub fn members_changed(&mut self, now: Nanos) {
        if !self.planted.tenure_survives_members() {
            (self.until, self.counts_from) = (None, now);
        }
    }

    /// When the round began that it rests on, if it holds: for checkers.
    pub(crate) fn rests_on(&self, term: Term, now: Nanos) -> Option<Nanos> {
        let (_, until) = self.until.filter(|_| self.holds(term, now))?;
        Some(Nanos(until.0 - self.length.0))
    }

    /// A term begins with it, on nothing; only a planted bug does that.
    pub(crate) fn begin(&mut self, term: Term, now: Nanos) {
        if self.until.is_none_or(|(of, _)| of != term) {
            self.extend(term, now);
        }
    }

    /// The leader of this term told another to campaign at once.
    pub fn forfeit(&mut self, term: Term) {
        if !self.planted.tenure_survives_transfer() {
            (self.until, self.forfeited) = (None, Some(term));
        }
    }
}

/// All but one tick of the minimum election timeout, since the first tick may come at once; less what this clock
/// may be slow and another's fast.
fn length(election_ticks: u32, tick: Nanos, planted: Planted) -> Nanos {
    let ticks = if planted.tenure_too_long() {
        2 * u64::from(election_ticks)
    } else {
        u64::from(election_ticks.saturating_sub(1))
    };
    let whole = tick.0.saturating_mul(ticks);
    Nanos(whole / (1_000 + CLOCK_DRIFT_PER_MILLE) * (1_000 - CLOCK_DRIFT_PER_MILLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenure() -> Tenure {
        Tenure::new(10, Nanos::from_millis(100), Planted::NONE)
    }

    fn ms(millis: u64) -> Nanos {
        Nanos::from_millis(millis)
    }

    #[test]
    fn it_is_shorter_than_nine_ticks_of_the_fastest_clock_on_the_slowest() {
        let mut tenure = tenure();
        tenure.extend(Term(3), ms(1_000));
        let ends = ms(1_000).plus(tenure.length);
        assert!(tenure.holds(Term(3), Nanos(ends.0 - 1)) && !tenure.holds(Term(3), ends));
        let (slow, fast) = (1_000 - CLOCK_DRIFT_PER_MILLE, 1_000 + CLOCK_DRIFT_PER_MILLE);
        assert!(tenure.length.0 * 1_000 / slow <= ms(900).0 * 1_000 / fast, "{:?}", tenure.length);
        assert!(tenure.length > ms(850), "{:?}", tenure.length);
    }

    #[test]
    fn it_is_of_one_term_and_never_gets_shorter() {
        let mut tenure = tenure();
        tenure.extend(Term(3), ms(500));
        tenure.extend(Term(3), ms(100));
        assert!(tenure.holds(Term(3), ms(1_300)) && !tenure.holds(Term(4), ms(600)));
        tenure.extend(Term(4), ms(100));
        assert!(tenure.holds(Term(4), ms(600)) && !tenure.holds(Term(4), ms(1_300)));
    }

    #[test]
    fn who_hands_over_has_none_for_the_rest_of_the_term() {
        let mut tenure = tenure();
        tenure.extend(Term(3), ms(0));
        tenure.forfeit(Term(3));
        tenure.extend(Term(3), ms(100));
        assert!(!tenure.holds(Term(3), ms(200)) && !tenure.wants_round(Term(3), ms(200)));
        tenure.extend(Term(4), ms(200));
        assert!(tenure.holds(Term(4), ms(300)));
    }

    #[test]
    fn a_change_of_members_ends_it_and_rounds_that_began_before_count_no_more() {
        let mut tenure = tenure();
        tenure.extend(Term(3), ms(100));
        assert_eq!(tenure.rests_on(Term(3), ms(200)), Some(ms(100)));
        tenure.members_changed(ms(300));
        tenure.extend(Term(3), ms(250));
        assert!(!tenure.holds(Term(3), ms(310)) && tenure.rests_on(Term(3), ms(310)).is_none());
        tenure.extend(Term(3), ms(320));
        assert_eq!(tenure.rests_on(Term(3), ms(330)), Some(ms(320)));
    }

    #[test]
    fn a_round_is_wanted_when_half_is_gone_and_never_without_ticks() {
        let mut tenure = tenure();
        assert!(tenure.wants_round(Term(1), ms(0)));
        tenure.extend(Term(1), ms(0));
        assert!(!tenure.wants_round(Term(1), ms(400)) && tenure.wants_round(Term(1), ms(450)));
        let mut never = Tenure::new(10, Nanos(0), Planted::NONE);
        never.extend(Term(1), ms(5));
        assert!(!never.wants_round(Term(1), ms(0)) && !never.holds(Term(1), ms(5)));
    }
}
