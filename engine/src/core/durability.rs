//! What waits for which flush: durability as a value.
//!
//! Records are counted as they are queued for the log and as they become durable. Whatever must wait says
//! after how many records; batches become durable in order, so that is enough. Each replica has a queue of its
//! own: a progress without records waits only for the records of the same replica, because raft wants its
//! progresses persisted in order, and not for those of others.

use std::collections::VecDeque;

use margate_net::message::PeerMessage;

use crate::types::HardState;

/// Something of one replica that may happen once enough records are durable.
#[derive(Debug)]
pub struct Waiting {
    /// Durable once this many records are.
    pub after: u64,
    /// The progress's number.
    pub number: u64,
    /// The hard state among its records.
    pub hard_state: Option<HardState>,
    /// Messages that may leave then.
    pub messages: Vec<PeerMessage>,
}

/// How many of the records queued for a core's log are durable.
#[derive(Debug, Default)]
pub struct Durability {
    durable: u64,
    in_flight: Option<(u64, u64)>,
}

/// What one replica waits for, in order.
#[derive(Debug, Default)]
pub struct WaitingQueue {
    waiting: VecDeque<Waiting>,
    own: u64,
}

impl Durability {
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

    /// Whether no flush is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// How many records count as durable. With a planted bug those in flight do too.
    #[must_use]
    pub fn reached(&self, flight_counts: bool) -> u64 {
        self.durable + self.in_flight.filter(|_| flight_counts).map_or(0, |(_, records)| records)
    }
}

impl WaitingQueue {
    /// A record of this replica was queued for the log, the one of this number.
    pub fn queued(&mut self, pushed: u64) {
        self.own = pushed;
    }

    /// A progress waits for all records of this replica that are queued so far.
    pub fn wait(&mut self, number: u64, hard_state: Option<HardState>, messages: Vec<PeerMessage>) {
        let after = self.own;
        self.waiting.push_back(Waiting {
            after,
            number,
            hard_state,
            messages,
        });
    }

    /// The next thing that need not wait any more.
    pub fn take_ready(&mut self, reached: u64) -> Option<Waiting> {
        self.waiting.pop_front_if(|first| first.after <= reached)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
