//! All that a core has counted and measured, as one copy.
//!
//! Not here, on purpose: what only its driver sees (connections, sockets, links): the driver adds that (`runtime`).

use margate_net::measure::{Measures, Number, Numbers, Span, Times};

use super::event::Moment;
use super::machine::Core;
use super::turn::Stall;
use crate::index::store::IndexReader;
use crate::types::Nanos;

impl<R: IndexReader> Core<R> {
    /// A copy of all it has counted and measured since its start.
    #[must_use]
    pub fn measures(&self) -> Measures {
        Measures {
            numbers: self.numbers(),
            outcomes: self.values.answered.outcomes().clone(),
            times: self.times(),
            traffic: Vec::new(),
        }
    }

    /// The effects of a turn are carried out; it handled its last event at `handled`. A stall, if it lasted longer than `bound` (zero:
    /// for ever) and should be told.
    pub fn turn_ended(&mut self, handled: Nanos, now: Nanos, bound: Nanos) -> Option<Stall> {
        let (began, proposed) = self.turn.take();
        for shard in proposed {
            if let Some(running) = self.running.get_mut(&shard) {
                running.replica.proposed(now);
            }
        }
        self.tally.lasted(Span::Turn, (began, now), 1);
        self.turn.judge(handled, now, bound)
    }

    /// A generation leaves for the index.
    pub(super) fn commit_began(&mut self, moment: Moment, rows: u64) {
        self.counters.index_rows += rows;
        self.committing_since = moment.now;
    }

    /// The index holds it.
    pub(super) fn commit_ended(&mut self, moment: Moment) {
        self.counters.index_commits += 1;
        self.tally.lasted(Span::IndexCommit, (self.committing_since, moment.now), 1);
    }

    fn times(&self) -> Times {
        let mut times = self.tally.times.clone();
        self.values.answered.add_to(&mut times);
        times
    }

    fn numbers(&self) -> Numbers {
        let mut numbers = Numbers::default();
        let (counts, levels) = (self.counts(), self.levels());
        for (number, value) in counts.into_iter().chain(levels) {
            numbers.set(number, value);
        }
        numbers
    }

    fn counts(&self) -> impl IntoIterator<Item = (Number, u64)> + use<R> {
        let (counters, tally) = (self.counters(), &self.tally);
        let (log_reads, log_read_bytes) = self.tickets.given();
        [
            (Number::LogBatches, counters.batches),
            (Number::LogBytes, counters.batch_bytes),
            (Number::LogRecords, counters.batch_records),
            (Number::LogReads, log_reads),
            (Number::LogReadBytes, log_read_bytes),
            (Number::CacheHits, self.values.answered.cache_hits),
            (Number::CacheMisses, self.values.answered.cache_misses),
            (Number::IndexCommits, counters.index_commits),
            (Number::IndexRows, counters.index_rows),
            (Number::EntriesProposed, tally.entries_proposed),
            (Number::EntriesDropped, tally.entries_dropped),
            (Number::EntriesApplied, tally.entries_applied),
            (Number::EntriesFetched, counters.entries_fetched),
            (Number::ElectionsBegun, counters.ballots.begun),
            (Number::LeadershipsWon, counters.ballots.won),
            (Number::LeadershipsLost, counters.ballots.lost),
            (Number::ReadRounds, tally.reads.rounds),
            (Number::ReadsByTenure, tally.reads.by_tenure),
            (Number::ReadsByRound, tally.reads.by_round),
            (Number::SegmentsReclaimed, counters.reclaimed.segments),
            (Number::SegmentsUnread, counters.reclaimed.unread),
            (Number::ValuesCopied, counters.reclaimed.values),
            (Number::ValueBytesCopied, counters.reclaimed.bytes),
            (Number::DeletesCopied, counters.reclaimed.deletes),
            (Number::ValuesDamaged, counters.reclaimed.damaged),
            (Number::ImagesSent, counters.transferred.images_sent),
            (Number::ImagesInstalled, counters.transferred.images_installed),
            (Number::ImagesGivenUp, counters.transferred.images_given_up),
            (Number::ReplicasAdmitted, counters.transferred.admitted),
            (Number::RepairsAsked, counters.repaired.asked),
            (Number::RepairsGiven, counters.repaired.given),
            (Number::RepairsTaken, counters.repaired.taken),
            (Number::RepairsGivenUp, counters.repaired.given_up),
            (Number::SlowDiskHandovers, counters.slow_disk_handovers),
            (Number::FullDiskHandovers, counters.full_disk_handovers),
            (Number::AppendsDropped, counters.appends_dropped),
            (Number::Stalls, self.turn.stalls()),
            (Number::RequestsMalformed, counters.malformed),
        ]
    }

    fn levels(&self) -> impl IntoIterator<Item = (Number, u64)> + use<R> {
        let waiting = self.running.values().map(|running| running.replica.waiting());
        let (writes, reads, entries) = waiting.fold((0, 0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1, sum.2 + of.2));
        [
            (Number::OperationsQueued, writes as u64),
            (Number::ReadsWaiting, reads as u64),
            (Number::EntriesInFlight, entries as u64),
            (Number::OverlayBytes, self.index.active_bytes() as u64),
            (Number::LogQueuedBytes, self.log.queued_bytes() as u64),
        ]
    }
}
