//! What waits for which flush: durability as a value.
//!
//! Records are counted as they are queued for the log and as they become durable. Whatever must wait says
//! after how many records; since batches become durable in order, a queue is enough. A progress without
//! records waits for nothing of its own but keeps its turn, because raft wants them persisted in order.

use std::collections::VecDeque;

use margate_net::ids::ShardId;
use margate_net::message::PeerMessage;

use crate::types::HardState;

/// Something that may happen once enough records are durable.
#[derive(Debug)]
pub struct Waiting {
    /// Durable once this many records are.
    pub after: u64,
    /// The shard whose progress it is.
    pub shard: ShardId,
    /// The progress's number.
    pub number: u64,
    /// The hard state among its records.
    pub hard_state: Option<HardState>,
    /// Messages that may leave then.
    pub messages: Vec<PeerMessage>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Durability {
    queued: u64,
    durable: u64,
    in_flight: Option<(u64, u64)>,
    waiting: VecDeque<Waiting>,
}

impl Durability {
    /// Records were queued for the log.
    pub fn queued(&mut self, records: u64) {
        self.queued += records;
    }

    /// How many records must be durable for all queued so far to be.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.queued
    }

    /// Something waits.
    pub fn wait(&mut self, waiting: Waiting) {
        debug_assert!(
            self.waiting.back().is_none_or(|last| last.after <= waiting.after),
            "waiting is in order"
        );
        self.waiting.push_back(waiting);
    }

    /// A flush with this many records has left.
    pub fn flushing(&mut self, sequence: u64, records: u64) {
        assert!(self.in_flight.is_none(), "one flush in flight per core");
        self.in_flight = Some((sequence, records));
    }

    /// That flush is durable.
    pub fn flushed(&mut self, sequence: u64) {
        let (in_flight, records) = self.in_flight.take().expect("a flush is durable that never left");
        assert_eq!(in_flight, sequence, "flushes return in order");
        self.durable += records;
    }

    /// The next thing that need not wait any more. With a planted bug it is enough that its flush has left.
    pub fn take_ready(&mut self, flight_counts: bool) -> Option<Waiting> {
        let flight = self.in_flight.filter(|_| flight_counts).map_or(0, |(_, records)| records);
        let ready = self.waiting.front().is_some_and(|first| first.after <= self.durable + flight);
        if ready { self.waiting.pop_front() } else { None }
    }

    /// Whether anything waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_none()
    }
}
