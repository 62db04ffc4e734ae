//! From queued operations to entries: resolve, number, propose.
//!
//! One entry carries every operation that is queued, up to [`ENTRY_DATA_BYTES_TARGET`] or one larger operation, so
//! that consensus is paid per batch. An answer that reveals state travels with the entry it was found beside: if that
//! commits in this term, this replica led when it looked, for the entry was proposed afterwards. Where no entry
//! follows it takes a ReadIndex round. An entry proposed before proves nothing: a quorum may have taken it long ago,
//! and elected another leader since.

use bytes::Bytes;
use margate_net::error::{Queue, Refusal};
use margate_net::limits::OPERATIONS_PER_FRAME_MAX;
use margate_net::measure::{Span, Stage};
use margate_net::message::Operation;

use super::answer::Answer;
use super::pending::PendingSlot;
use super::replica::{InFlight, Replica};
use super::resolve::{Change, Resolution, Resolver};
use super::tally::{Life, Runs, Tally};
use crate::index::error::IndexError;
use crate::index::store::IndexReader;
use crate::index::view::Index;
use crate::limits;
use crate::log::effects::EntryDataBuilder;
use crate::log::limits::ENTRY_DATA_BYTES_TARGET;
use crate::types::Nanos;

impl Replica {
    /// Proposes what is queued, as far as the windows allow. `now` is monotonic, `wall` is for the shard clock.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    pub fn propose_queued<R: IndexReader>(
        &mut self,
        now: Nanos,
        wall: Nanos,
        index: &Index<R>,
        tally: &mut Tally,
        out: &mut Vec<Answer>,
    ) -> Result<(), IndexError> {
        while self.may_propose() {
            let (builder, answers) = self.build_entry((now, wall), index, tally, out)?;
            if builder.is_empty() {
                self.prove(answers, out);
            } else {
                self.propose_entry(now, (builder, answers), tally, out);
            }
        }
        Ok(())
    }

    fn may_propose(&self) -> bool {
        self.is_ready()
            && !self.queue.is_empty()
            && !self.group.handing_over()
            && self.in_flight.len() < limits::UNCOMMITTED_ENTRIES_MAX
            && self.in_flight_bytes < limits::UNCOMMITTED_BYTES_MAX
    }

    fn build_entry<R: IndexReader>(
        &mut self,
        (now, wall): (Nanos, Nanos),
        index: &Index<R>,
        tally: &mut Tally,
        out: &mut Vec<Answer>,
    ) -> Result<(EntryDataBuilder, Vec<Answer>), IndexError> {
        // The shard clock never goes back, whatever the wall clock does.
        self.clock_next = wall.max(Nanos(self.clock_next.0 + 1)).max(self.state.clock);
        let room = self.queue.effect_bytes().min(ENTRY_DATA_BYTES_TARGET);
        let mut builder = EntryDataBuilder::new(self.cluster, self.name.shard, self.clock_next).with_room(room);
        let mut answers = Vec::with_capacity(self.queue.len().min(OPERATIONS_PER_FRAME_MAX));
        let mut resolved = Runs::ending(Span::Write(Stage::Resolved), now);
        while let Some(next) = self.queue.peek() {
            if !builder.is_empty() && builder.len() + record_bytes(&next.operation) > ENTRY_DATA_BYTES_TARGET {
                break;
            }
            let Some(queued) = self.queue.pop() else { break };
            if queued.deadline <= now {
                out.push(Answer::refused(queued.ticket, Refusal::DeadlineExceeded));
                continue;
            }
            resolved.add(queued.routed, tally);
            let mut resolver = Resolver {
                pending: &mut self.pending,
                index,
                space: self.space,
                planted: self.planted,
            };
            match resolver.resolve(queued.ticket, queued.operation, self.version_next)? {
                Resolution::Observed(answer) if self.planted.refusal_unproven() => out.push(answer),
                Resolution::Observed(answer) => answers.push(answer),
                Resolution::Write(change, answer) => {
                    self.add_change(&mut builder, change);
                    answers.push(answer);
                }
            }
        }
        resolved.end(tally);
        Ok((builder, answers))
    }

    fn add_change(&mut self, builder: &mut EntryDataBuilder, change: Change) {
        let version = self.version_next;
        self.version_next = version.next();
        let (key, slot) = match change {
            Change::Delete { key } => {
                builder.delete(&key, version);
                (key, PendingSlot::Deleted { version })
            }
            Change::Put { key, value } => {
                builder.write(&key, &value, version);
                (key, PendingSlot::Put { version, value })
            }
        };
        self.pending.add(key, slot);
    }

    fn propose_entry(&mut self, now: Nanos, (builder, answers): (EntryDataBuilder, Vec<Answer>), tally: &mut Tally, out: &mut Vec<Answer>) {
        let data = builder.finish();
        let bytes = data.len();
        match self.group.propose(data) {
            Ok(index) => {
                self.pending.proposed(index);
                tally.entries_proposed += 1;
                let life = Life {
                    resolved: now,
                    ..Life::default()
                };
                self.in_flight.push_back(InFlight {
                    index,
                    bytes,
                    answers,
                    life,
                });
                self.in_flight_bytes += bytes;
            }
            Err(_dropped) => {
                self.pending.dropped();
                tally.entries_dropped += 1;
                let refusal = Refusal::Busy {
                    queue: Queue::Proposals,
                    retry_after_ms: limits::BUSY_RETRY_MS,
                };
                out.extend(answers.into_iter().map(|answer| Answer::refused(answer.ticket, refusal)));
            }
        }
    }

    /// Answers found beside no effect: they wait for what they saw to be applied, and for a round of their own.
    fn prove(&mut self, answers: Vec<Answer>, out: &mut Vec<Answer>) {
        let rests_on = self.in_flight.back().map_or(self.applied, |newest| newest.index);
        answers.into_iter().for_each(|answer| self.observe(answer, rests_on, out));
    }
}

fn record_bytes(operation: &Operation) -> usize {
    let empty = Bytes::new();
    let (key, value) = match operation {
        Operation::CompareExchange { key, value, .. } | Operation::Set { key, value, .. } => (key, value),
        Operation::Delete { key, .. } | Operation::Get { key, .. } | Operation::Size { key, .. } => (key, &empty),
        Operation::List { low, .. } => (low, &empty),
    };
    EntryDataBuilder::put_bytes(key.len(), value.len())
}

#[cfg(test)]
#[path = "propose_tests.rs"]
mod tests;
