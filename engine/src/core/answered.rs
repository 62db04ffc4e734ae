//! What is counted of answers on their way out, and of the values they needed.
//!
//! Not here, on purpose: how long an answer then takes to its socket; only who writes to it knows.

use margate_net::error::Refusal;
use margate_net::measure::{Outcomes, ReadStage, Span, Times};
use margate_net::message::Reply;

use super::event::{Effect, Effects};
use crate::shard::answer::{Answer, Ticket, tells};
use crate::types::Nanos;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Answered {
    now: Nanos,
    outcomes: Outcomes,
    times: Times,
    /// Reads that lacked no value.
    at_once: u64,
    /// Values found in the cache.
    pub cache_hits: u64,
    /// Values that had to be read from the log.
    pub cache_misses: u64,
}

impl Answered {
    /// A turn begins, or goes on, at this moment.
    pub const fn turn(&mut self, now: Nanos) {
        self.now = now;
    }

    /// The present, as of the turn.
    #[must_use]
    pub const fn now(&self) -> Nanos {
        self.now
    }

    /// An answer that lacked nothing leaves.
    pub fn at_once(&mut self, answer: Answer, out: &mut Effects) {
        self.at_once += u64::from(is_read(&answer));
        self.reply(answer, out);
    }

    /// An answer leaves that has waited for values since some moment.
    pub fn complete(&mut self, answer: Answer, since: Nanos, out: &mut Effects) {
        if is_read(&answer) {
            self.times.record(Span::Read(ReadStage::Found), self.now.since(since).0, 1);
        }
        self.reply(answer, out);
    }

    /// A request is refused that no replica has seen.
    pub fn refuse(&mut self, ticket: Ticket, refusal: Refusal, out: &mut Effects) {
        self.reply(Answer::refused(ticket, refusal), out);
    }

    /// Operations answered since the start.
    #[must_use]
    pub const fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Adds what was measured since the start.
    pub fn add_to(&self, times: &mut Times) {
        times.add(&self.times);
        times.record(Span::Read(ReadStage::Found), 0, self.at_once);
    }

    fn reply(&mut self, answer: Answer, out: &mut Effects) {
        let Ticket { connection, id, asked } = answer.ticket;
        self.outcomes.count(asked.kind, answer.outcome.as_ref().err());
        let outcome = answer.outcome;
        out.push(Effect::Reply {
            connection,
            reply: Reply { id, outcome },
            asked: Some(asked),
        });
    }
}

/// Whether it answers a read with what the state is.
fn is_read(answer: &Answer) -> bool {
    !answer.ticket.asked.writes() && tells(&answer.outcome)
}
