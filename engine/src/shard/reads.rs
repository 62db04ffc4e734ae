//! Reads, and answers that reveal state, waiting for proof that this replica still leads.
//!
//! ```text
//!   waiting ──(one round at a time)──► confirming ──(quorum echoes)──► confirmed at an index ──(applied)──► answered
//! ```
//! A leader with tenure answers alone what has arrived ([`ReadQueue::serve_alone`]). Otherwise one ReadIndex round
//! serves everything that waited when it started; while it runs the next ones gather, so a round is paid per batch.
//! What was lost on the way (leadership, a crash) is refused, never answered.

use std::collections::VecDeque;

use margate_net::error::{Queue, Refusal};
use margate_net::ids::LogIndex;
use margate_net::message::Operation;

use super::answer::{Answer, Ticket};
use super::tally::ReadCounts;
use crate::limits;
use crate::types::Nanos;

/// What waits.
#[derive(Debug)]
pub enum Waiting {
    /// An answer already found; it needs only the proof.
    Observed {
        /// It.
        answer: Answer,
        /// The newest entry it may rest on: until that is applied nobody may learn of it.
        rests_on: LogIndex,
    },
    /// A read, to be looked up once the proof is there.
    Read {
        /// Who asked.
        ticket: Ticket,
        /// What for.
        operation: Operation,
        /// Monotonic time after which nobody waits for it.
        deadline: Nanos,
        /// Monotonic time at which it was taken.
        routed: Nanos,
    },
}

/// A ReadIndex round under way.
#[derive(Debug)]
struct Round {
    number: u64,
    /// Monotonic time before its heartbeats left.
    began: Nanos,
    reads: Vec<Waiting>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct ReadQueue {
    waiting: Vec<Waiting>,
    confirming: Option<Round>,
    confirmed: VecDeque<(LogIndex, Vec<Waiting>)>,
    /// What is confirmed and waits only for the entry it rests on.
    resting: Vec<(LogIndex, Waiting)>,
    held: usize,
    last_round: u64,
    counts: ReadCounts,
}

impl ReadQueue {
    /// Takes a read.
    ///
    /// # Errors
    /// [`Refusal::Busy`]: too many wait already.
    pub fn push(&mut self, waiting: Waiting) -> Result<(), Refusal> {
        if self.held >= limits::READS_WAITING_MAX {
            return Err(Refusal::Busy {
                queue: Queue::Reads,
                retry_after_ms: limits::BUSY_RETRY_MS,
            });
        }
        self.held += 1;
        self.waiting.push(waiting);
        Ok(())
    }

    /// This replica has tenure: what waits needs no round, only what it rests on.
    pub fn serve_alone(&mut self) {
        self.counts.by_tenure += self.waiting.len() as u64;
        self.resting
            .extend(self.waiting.drain(..).map(|waiting| (waiting.rests_on(), waiting)));
    }

    /// Whether a round could begin and something waits for one.
    #[must_use]
    pub fn wants_round(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether an answer that waits needs a value from a segment.
    #[must_use]
    pub fn needs_segment(&self, segment: u32) -> bool {
        let confirming = self.confirming.iter().flat_map(|round| &round.reads);
        let confirmed = self.confirmed.iter().flat_map(|(_, reads)| reads);
        let resting = self.resting.iter().map(|(_, waiting)| waiting);
        let mut all = self.waiting.iter().chain(confirming).chain(confirmed).chain(resting);
        all.any(|waiting| match waiting {
            Waiting::Observed { answer, .. } => answer.needs_segment(segment),
            Waiting::Read { .. } => false,
        })
    }

    /// Starts a round for all that waits, unless one runs; the number is new in every attempt. `now` is monotonic.
    pub fn start_round(&mut self, now: Nanos) -> Option<u64> {
        if self.confirming.is_some() {
            return None;
        }
        self.last_round += 1;
        self.counts.rounds += 1;
        self.confirming = Some(Round {
            number: self.last_round,
            began: now,
            reads: std::mem::take(&mut self.waiting),
        });
        Some(self.last_round)
    }

    /// The round is confirmed: its reads may be answered once `index` is applied. Returns when it began, if it was running.
    pub fn confirmed(&mut self, round: u64, index: LogIndex) -> Option<Nanos> {
        let Round { began, reads, .. } = self.confirming.take_if(|running| running.number == round)?;
        self.counts.by_round += reads.len() as u64;
        let (resting, reads): (Vec<_>, Vec<_>) = reads.into_iter().partition(|waiting| waiting.rests_on() > index);
        self.confirmed.push_back((index, reads));
        self.resting
            .extend(resting.into_iter().map(|waiting| (waiting.rests_on(), waiting)));
        Some(began)
    }

    /// How many it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> ReadCounts {
        std::mem::take(&mut self.counts)
    }

    /// What may be answered now.
    pub fn take_answerable(&mut self, applied: LogIndex) -> Vec<Waiting> {
        let mut answerable = Vec::new();
        while self.confirmed.front().is_some_and(|(index, _)| *index <= applied) {
            if let Some((_, reads)) = self.confirmed.pop_front() {
                answerable.extend(reads);
            }
        }
        let rested = self.resting.extract_if(.., |(rests_on, _)| *rests_on <= applied);
        answerable.extend(rested.map(|(_, waiting)| waiting));
        self.held -= answerable.len();
        answerable
    }

    /// Takes out reads nobody waits for any more. Those in a running round stay until it ends.
    pub fn expire(&mut self, now: Nanos) -> Vec<Ticket> {
        let mut expired = Vec::new();
        self.waiting.retain(|waiting| match waiting {
            Waiting::Read { ticket, deadline, .. } if *deadline <= now => {
                expired.push(*ticket);
                false
            }
            Waiting::Read { .. } | Waiting::Observed { .. } => true,
        });
        self.held -= expired.len();
        expired
    }

    /// Leadership is lost: takes everything out, unanswered.
    pub fn drain(&mut self) -> Vec<Ticket> {
        let confirming = self.confirming.take().map(|round| round.reads).unwrap_or_default();
        let confirmed = self.confirmed.drain(..).flat_map(|(_, reads)| reads);
        let tickets = self
            .waiting
            .drain(..)
            .chain(confirming)
            .chain(confirmed)
            .chain(self.resting.drain(..).map(|(_, waiting)| waiting))
            .map(|waiting| waiting.ticket())
            .collect();
        self.held = 0;
        tickets
    }
}

impl Waiting {
    /// The entry that must be applied before it may be answered, whatever its round says.
    fn rests_on(&self) -> LogIndex {
        match self {
            Self::Observed { rests_on, .. } => *rests_on,
            Self::Read { .. } => LogIndex(0),
        }
    }

    /// Who waits.
    fn ticket(&self) -> Ticket {
        match self {
            Self::Observed { answer, .. } => answer.ticket,
            Self::Read { ticket, .. } => *ticket,
        }
    }
}
