//! From consensus' progress to records and messages, and from durable records back to consensus: the second half of a turn.
//!
//! Not here, on purpose: what is proposed (`machine`), when the overlay goes to the index (`generations`).

use margate_net::ids::Space;
use margate_net::measure::Span;

use super::event::{Effect, Effects, Halt, Moment, PeerName};
use super::generations::{Conditions, Contribution};
use super::machine::{Core, contribution, owner};
use crate::consensus::group::{Progress, entry_parts};
use crate::consensus::window::{BatchPlace, Place};
use crate::image::receive::Receiving;
use crate::index::store::IndexReader;
use crate::log::flush::Flush;
use crate::log::record::Record;
use crate::log::writer::{FlushStep, LogWriter};
use crate::shard::answer::Answer;
use crate::types::{Nanos, ReplicaName};

/// Progress taken from one replica in one turn; what is left comes with the next.
const PROGRESS_PER_TURN_MAX: usize = 4;

impl<R: IndexReader> Core<R> {
    /// Takes every replica's progress, applies what is committed and answers.
    pub(super) fn collect(&mut self, moment: Moment, out: &mut Effects) -> Result<(), Halt> {
        let mut answers: Vec<Answer> = Vec::new();
        let mut unfit = Vec::new();
        for running in self.running.values_mut() {
            let replica = &mut running.replica;
            replica.confirm_reads(moment.now);
            for _ in 0..PROGRESS_PER_TURN_MAX {
                let Some(progress) = replica.progress(moment.now, &mut answers) else {
                    break;
                };
                if progress.installed.is_some() {
                    let image = self.transfers.installing(replica.name().shard);
                    self.log.push(installation(image, moment.wall));
                    running.waiting.queued(self.log.pushed());
                    running.installing = Some(progress.number);
                }
                let vote_kept = !self.planted.vote_not_persisted();
                // What follows an image is in its space, though that is not in force before all of this is durable.
                let space = match running.installing {
                    Some(_) => self.transfers.installing(replica.name().shard).space,
                    None => replica.space,
                };
                let to = (replica.name(), space, moment.wall);
                log_progress(to, &progress, vote_kept, &mut self.log, |pushed| running.waiting.queued(pushed));
                let mut once_durable = progress.once_durable;
                if progress.installed.is_some() && self.planted.image_acknowledged_early() {
                    once_durable.drain(..).for_each(|message| self.peers.send(message));
                }
                running.waiting.wait(progress.number, progress.hard_state, once_durable);
                progress.now.into_iter().for_each(|message| self.peers.send(message));
            }
            replica.serve_under_tenure(moment.now);
            match replica.apply(moment.now, &mut self.index, &mut self.values, &mut self.tally, &mut answers) {
                Ok(deleted_in) => deleted_in.into_iter().for_each(|segment| self.ledger.deleted(segment)),
                Err(fault) => {
                    tracing::error!(name = %replica.name(), %fault, "a committed entry makes no sense: this replica is stopped");
                    unfit.push(replica.name().shard);
                }
            }
            let (shard, state) = (replica.name().shard, replica.state());
            if running.homes_of != Some(state.member_epoch) {
                running.homes_of = Some(state.member_epoch);
                let elsewhere = state.members.homes.iter().filter(|home| home.node != self.log_config.node);
                elsewhere.for_each(|home| {
                    let peer = PeerName {
                        node: home.node,
                        core: home.core,
                    };
                    self.peers.settle(shard, home.replica, peer);
                });
            }
            replica.answer_reads(moment.now, &self.index, &mut self.tally, &mut answers)?;
            let stands = replica.group().stands();
            self.counters.ballots.saw(std::mem::replace(&mut running.stood, stands), stands);
            // What is applied is durable here; that no more is noted is what reclaim's copies rest on.
            self.log.note_commit(replica.name(), replica.applied());
            let owner = owner(replica);
            answers
                .drain(..)
                .for_each(|answer| self.values.deliver(owner, answer, &mut self.tickets, out));
            let log = (&self.log_config, &mut self.tickets);
            self.laggards.start(replica, &self.positions, &self.index, log, out)?;
        }
        unfit.into_iter().for_each(|shard| self.retire(shard, moment.wall, out));
        self.release();
        Ok(())
    }

    pub(super) fn nothing_waits(&self) -> bool {
        self.durability.is_idle() && self.running.values().all(|running| running.waiting.is_empty())
    }

    /// Lets go what has waited for records that are durable now.
    fn release(&mut self) {
        let reached = self.durability.reached(self.planted.ack_before_flush());
        for (shard, running) in &mut self.running {
            while let Some(waiting) = running.waiting.take_ready(reached) {
                let installed = running.installing.take_if(|number| *number == waiting.number);
                if installed.is_some() {
                    let image = self.transfers.take_installed(*shard);
                    self.generations.clear(running.replica.space);
                    running.replica.install(image.space, image.state, image.applied);
                    running.homes_of = None;
                }
                running.replica.group.persisted(waiting.number);
                if installed.is_some() {
                    running.replica.group.applied(running.replica.applied());
                }
                running.durable_hard_state = waiting.hard_state.unwrap_or(running.durable_hard_state);
                waiting.messages.into_iter().for_each(|message| self.peers.send(message));
            }
        }
    }

    pub(super) fn flush(&mut self, moment: Moment, out: &mut Effects) {
        if self.stopping && self.nothing_waits() {
            self.log.force_seal();
        }
        match self.log.flush(moment.now, moment.wall) {
            // A wait for a segment is counted by the log and ends with `SegmentReady`.
            FlushStep::Nothing | FlushStep::WaitForSegment => {}
            FlushStep::Write(flush) => {
                self.flushing_since.get_or_insert(moment.now);
                self.place(&flush);
                self.copies.placed(&flush.relocations);
                self.durability.flushing(flush.sequence, flush.records);
                self.counters.batches += 1;
                self.counters.batch_bytes += flush.length as u64;
                self.counters.batch_records += flush.records;
                out.push(Effect::Write(flush));
            }
        }
        // Only a planted bug finds anything here.
        self.release();
    }

    fn place(&mut self, flush: &Flush) {
        self.writing.clear();
        for placed in &flush.entries {
            if let Some(running) = self.running.get_mut(&placed.name.shard) {
                if running.replica.leads() {
                    self.writing.push((placed.name.shard, placed.index));
                }
                let batch = BatchPlace {
                    sequence: flush.sequence,
                    position: placed.batch,
                };
                running
                    .replica
                    .group
                    .place(placed.index, placed.term, Place { data: placed.data, batch });
                self.positions.note(placed.name, placed.index, placed.batch);
                self.ledger.wrote(placed.data.segment, placed.name, placed.index);
            }
        }
    }

    pub(super) fn flushed(&mut self, moment: Moment, (sequence, lasted): (u64, (Nanos, Nanos)), out: &mut Effects) -> Result<(), Halt> {
        self.tally.lasted(Span::LogFlush, lasted, 1);
        for (shard, newest) in self.writing.drain(..) {
            if let Some(running) = self.running.get_mut(&shard) {
                running.replica.written(newest, lasted);
            }
        }
        self.log.flushed(sequence, moment.now);
        let durable = self.copies.durable();
        self.copies_durable(durable, out)?;
        self.flushing_since = None;
        self.durability.flushed(sequence);
        self.release();
        Ok(())
    }

    pub(super) fn commit_index(&mut self, moment: Moment, out: &mut Effects) {
        let conditions = Conditions {
            now: moment.now,
            pace: self.commits,
            low: self.room.is_low(),
        };
        // Between raft's word and the log's an image has replaced what replay would need, and is not yet in force itself.
        let installing = self.running.values().any(|running| running.installing.is_some());
        if !installing
            && self
                .generations
                .is_due(conditions, &self.index, &self.log, self.log_config.segment_bytes)
        {
            let running = self
                .running
                .values()
                .map(|running| contribution(&running.replica, running.durable_hard_state));
            let damaged = self.damaged.values().map(|marks| Contribution {
                marks: marks.clone(),
                replay: None,
            });
            let contributions = running.chain(damaged).chain(self.suspects.values().cloned()).collect();
            let last_batch = BatchPlace {
                sequence: self.log.last_sequence(),
                position: self.log.last_batch(),
            };
            self.generations
                .freeze(&mut self.index, contributions, &mut self.positions, last_batch);
        }
        if self.durability.reached(false) >= self.last_turnover {
            let sent = self.generations.advance(&mut self.log, out);
            if let Some(rows) = sent {
                self.commit_began(moment, rows);
            }
        }
    }
}

fn log_progress(
    (name, space, timestamp): (ReplicaName, Space, Nanos),
    progress: &Progress,
    vote_kept: bool,
    log: &mut LogWriter,
    mut queued: impl FnMut(u64),
) {
    if let Some(state) = progress.hard_state.filter(|_| vote_kept) {
        log.push(Record::HardState {
            name,
            space,
            state,
            timestamp,
        });
        queued(log.pushed());
    }
    for entry in &progress.entries {
        let (term, index, kind, data) = entry_parts(entry);
        log.push(Record::Entry {
            name,
            space,
            term,
            index,
            kind,
            data,
            timestamp,
        });
        queued(log.pushed());
    }
}

/// What the log says when an image comes into force: a checkpoint in the image's space.
fn installation(image: &Receiving, timestamp: Nanos) -> Record {
    Record::Checkpoint {
        name: image.name,
        space: image.space,
        applied: image.applied.0,
        applied_term: image.applied.1,
        kept_from: 1,
        state: image.state.encode(),
        timestamp,
    }
}
