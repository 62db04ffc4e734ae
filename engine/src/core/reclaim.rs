//! Reclaim: the oldest segment is read once more, what still lives in it is copied to the log's end, and its file comes free.
//!
//! ```text
//!   idle ─(log longer than what lives deserves)─► scanning ─► settling ─► closing ─► releasing ─► idle
//!                                                 copies      index       checkpoints  the file is
//!                                                 queued      durable     durable      used again or deleted
//! ```
//! Invariants: only a segment that replay no longer needs is begun, so its entries are applied and durable in the index;
//! whether an effect lives is looked up in the turn that queues its copy, and the copy is in the next batch (so in the log a
//! copy stands before the commit of anything newer, and rebuilding an index in log order is right); a pointer moves only
//! to a durable copy, and only if it still points to the original; checkpoints are written once the index holds all of it.
//!
//! Copies go ahead of what is queued, and take a share of each batch and no more: under a load that always fills the next batch the log
//! stays bounded, and so do clients' waits. Reading goes on while a flush is under way, so that there is something to copy after it.
//!
//! A delete is copied once: an older value of its key may have been copied behind it while it was not yet applied. Met
//! again, as a copy, nothing older can follow any more.
//!
//! Not here, on purpose: files (`runtime`), and damage: a segment that does not read whole is kept, and reclaim ends.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::ids::{ClusterId, LogIndex, ShardId, Space};

use super::copies::{Copied, CopiedRow, Copies, Purpose};
use super::durability::Durability;
use super::event::{Effect, Effects, LogReadFault, Moment, ReadTicket};
use super::generations::Generations;
use super::machine::Running;
use super::values::{Tickets, Values};
use crate::index::error::IndexError;
use crate::index::row::{Row, RowFlags, Slot};
use crate::index::store::{IndexReader, ReplicaMarks};
use crate::index::view::Index;
use crate::limits;
use crate::log::batch::ScannedBatch;
use crate::log::effects::{ENTRY_DATA_HEADER_BYTES, EffectKind, EntryData, EntryDataBuilder, effect_bytes};
use crate::log::fetch::walk_chunk;
use crate::log::limits::BATCH_BYTES_MAX;
use crate::log::record::{Record, RecordBody};
use crate::log::segment::{LogConfig, first_batch};
use crate::log::writer::LogWriter;
use crate::planted::Planted;
use crate::types::{Nanos, Position, ReplicaName, ValueHash};
use margate_net::ids::Version;

/// Bytes of a hard state and of a checkpoint without its state, as records: what they take is far less.
const CLOSING_BYTES: usize = 512;

/// What reclaim works on: its core's parts.
pub(super) struct Ground<'a, R: IndexReader> {
    pub(super) cluster: ClusterId,
    pub(super) config: &'a LogConfig,
    pub(super) log: &'a mut LogWriter,
    pub(super) index: &'a mut Index<R>,
    pub(super) running: &'a mut BTreeMap<ShardId, Running>,
    pub(super) generations: &'a mut Generations,
    pub(super) copies: &'a mut Copies,
    pub(super) tickets: &'a mut Tickets,
    pub(super) values: &'a Values,
    pub(super) durability: &'a Durability,
    /// Whether something else still reads from old segments.
    pub(super) held: bool,
    /// Whether the disk is low, so that less garbage is worth the copying.
    pub(super) pressed: bool,
    pub(super) planted: Planted,
}

/// What it has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Segments that came free.
    pub segments: u64,
    /// Values copied.
    pub values: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Deletes copied.
    pub deletes: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    state: State,
    /// The generation, the newest segment and the pressure for which nothing was due: none has changed, nothing is.
    checked: Option<(u64, u32, bool)>,
    /// The newest segment when a generation was asked for, so that one that cannot help is not asked for again and again.
    hurried: u32,
    /// A segment that did not read whole: it is kept, with all after it.
    damaged: Option<u32>,
    /// Bytes copied out of the segment that is being reclaimed.
    copied: u64,
    barren: Barren,
    done: Reclaimed,
}

/// Segments reclaimed one after the other that freed next to nothing. Under pressure only a whole round of the log is worth that.
#[derive(Clone, Copy, Debug, Default)]
struct Barren {
    segments: u32,
    /// Bytes that lived when the last of them was met.
    live: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Scanning(Scan),
    /// Until this generation is durable.
    Settling {
        generation: u64,
    },
    /// Until what it wrote last is durable.
    Closing(Closed),
    /// Until the driver says that the file is gone, or ready under another number: this one.
    Releasing {
        to: Option<u32>,
    },
}

/// Where checkpoints went.
#[derive(Clone, Copy, Debug)]
enum Closed {
    /// Into the batch of this number.
    Ahead { batch: u64 },
    /// Behind so many records.
    Queued { records: u64 },
}

/// How far the segment is read.
#[derive(Debug)]
struct Scan {
    segment: u32,
    at: Position,
    length: usize,
    /// Whether `at` follows a piece of the same segment.
    continued: bool,
    ticket: Option<ReadTicket>,
    /// The last batch met; 0 before the first.
    sequence: u64,
    ended: bool,
    candidates: VecDeque<Candidate>,
    /// Bytes of them.
    candidate_bytes: u64,
    /// How much of them there should be: what the last turn might have looked at.
    ahead: Budget,
    /// The last entry of each replica in the segment.
    last: BTreeMap<ReplicaName, LogIndex>,
}

/// An effect that may live.
#[derive(Clone, Debug)]
struct Candidate {
    name: ReplicaName,
    space: Space,
    kind: EffectKind,
    key: Bytes,
    value: Bytes,
    version: Version,
    hash: ValueHash,
    position: Position,
    /// Whether it is a copy already.
    second: bool,
}

/// How much to look at in one turn.
#[derive(Clone, Copy, Debug)]
struct Budget {
    effects: usize,
    bytes: u64,
}

impl Budget {
    const fn steps(count: usize) -> Self {
        Self {
            effects: limits::RECLAIM_EFFECTS_PER_TURN * count,
            bytes: limits::RECLAIM_BYTES_PER_TURN * count as u64,
        }
    }
}

impl Reclaim {
    /// What it has done since the start.
    pub(super) fn done(&self) -> Reclaimed {
        self.done
    }

    /// Whether a turn without an event would get it further.
    pub(super) fn is_hungry(&self, log: &LogWriter, pressed: bool) -> bool {
        match &self.state {
            State::Scanning(scan) => scan
                .candidates
                .front()
                .is_some_and(|next| next.fits(ENTRY_DATA_HEADER_BYTES, log, pressed)),
            State::Idle | State::Settling { .. } | State::Closing(_) | State::Releasing { .. } => false,
        }
    }

    /// Whether something that it has read waits to be looked at.
    #[cfg(test)]
    pub(super) fn has_candidates(&self) -> bool {
        matches!(&self.state, State::Scanning(scan) if !scan.candidates.is_empty())
    }

    /// Whether a read is its own.
    pub(super) fn reads_with(&self, ticket: ReadTicket) -> bool {
        matches!(&self.state, State::Scanning(scan) if scan.ticket == Some(ticket))
    }

    /// One bounded step. To be called before the turn's flush is made, if none is in flight.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    pub(super) fn turn<R: IndexReader>(&mut self, moment: Moment, ground: &mut Ground<'_, R>, out: &mut Effects) -> Result<(), IndexError> {
        match &mut self.state {
            State::Idle => self.begin(ground)?,
            State::Scanning(scan) => {
                if !scan.candidates.is_empty() {
                    self.copied += scan.copy(moment.wall, ground, &mut self.done)?;
                }
                scan.read_on(ground, out);
                if scan.is_done(ground.copies) {
                    let generation = scan.settle(ground);
                    self.state = State::Settling { generation };
                }
            }
            State::Settling { generation } => {
                if ground.generations.durable() >= *generation {
                    self.state = State::Closing(close(moment.wall, ground)?);
                }
            }
            State::Closing(closed) => {
                let oldest = ground.log.oldest_segment();
                if closed.is_durable(ground.log, ground.durability) && !ground.held && !is_needed(oldest, ground) {
                    self.release(ground, out)?;
                }
            }
            State::Releasing { .. } => {}
        }
        Ok(())
    }

    /// Reads on, which it does while a flush is in flight too.
    pub(super) fn read_on<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>, out: &mut Effects) {
        if let State::Scanning(scan) = &mut self.state {
            scan.read_on(ground, out);
        }
    }

    /// A piece of the segment was read.
    pub(super) fn read_done<R: IndexReader>(&mut self, result: Result<Bytes, LogReadFault>, ground: &mut Ground<'_, R>) {
        let State::Scanning(scan) = &mut self.state else { return };
        scan.ticket = None;
        let whole = match result {
            Ok(chunk) => scan.take(&chunk, ground),
            Err(fault) => {
                tracing::error!(%fault, "a segment cannot be read for reclaim");
                false
            }
        };
        if !whole {
            tracing::error!(
                segment = scan.segment,
                "the log is damaged: this segment and all after it are kept, so the log only grows; replace this node's replicas"
            );
            self.damaged = Some(scan.segment);
            self.state = State::Idle;
        }
    }

    /// The driver is done with a file: it is gone, or it has, or should have had, this number.
    pub(super) fn released(&mut self, number: Option<u32>) {
        if matches!(self.state, State::Releasing { to } if to == number) {
            (self.state, self.checked) = (State::Idle, None);
        }
    }

    fn begin<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        let newest = ground.log.position().segment;
        let seen = (ground.generations.durable(), newest, ground.pressed);
        if self.damaged.is_some() || ground.held || self.checked == Some(seen) {
            return Ok(());
        }
        self.checked = Some(seen);
        let segment = ground.log.oldest_segment();
        if !is_due(segment, self.barren, ground)? {
            return Ok(());
        }
        let needed_from = ground.index.reader().core_marks()?.map_or(0, |marks| marks.replay.segment);
        if needed_from <= segment {
            // Nothing may have been applied for long, so that no generation was due.
            if self.hurried < newest {
                self.hurried = newest;
                ground.generations.hurry();
            }
            return Ok(());
        }
        (self.state, self.copied) = (State::Scanning(Scan::new(segment)), 0);
        Ok(())
    }

    fn release<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>, out: &mut Effects) -> Result<(), IndexError> {
        let from = ground.log.oldest_segment();
        let to = ground.log.release_oldest();
        out.push(match to {
            Some(to) => Effect::RecycleSegment { from, to },
            None => Effect::DeleteSegment { number: from },
        });
        self.done.segments += 1;
        self.barren = if self.copied >= u64::from(ground.config.segment_bytes) / 8 * 7 {
            Barren {
                segments: self.barren.segments.saturating_add(1),
                live: ground.index.reader().live_bytes()?,
            }
        } else {
            Barren::default()
        };
        self.state = State::Releasing { to };
        Ok(())
    }
}

impl Scan {
    fn new(segment: u32) -> Self {
        Self {
            segment,
            at: first_batch(segment),
            length: limits::RECLAIM_READ_BYTES,
            continued: false,
            ticket: None,
            sequence: 0,
            ended: false,
            candidates: VecDeque::new(),
            candidate_bytes: 0,
            ahead: Budget::steps(1),
            last: BTreeMap::new(),
        }
    }

    fn is_done(&self, copies: &Copies) -> bool {
        self.ended && self.candidates.is_empty() && !copies.has_of_reclaim()
    }

    fn read_on<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>, out: &mut Effects) {
        let enough = self.candidates.len() >= self.ahead.effects || self.candidate_bytes >= self.ahead.bytes;
        if self.ended || self.ticket.is_some() || enough {
            return;
        }
        let room = ground.config.segment_bytes.saturating_sub(self.at.offset) as usize;
        let (effect, ticket) = ground.tickets.read(self.at, self.length.min(room));
        self.ticket = Some(ticket);
        out.push(effect);
    }

    /// Collects what may live in a piece. Whether the piece fits what came before.
    fn take<R: IndexReader>(&mut self, chunk: &Bytes, ground: &Ground<'_, R>) -> bool {
        let (mut fits, at) = (true, self.at);
        let walked = walk_chunk(chunk, at, &mut |batch| {
            if self.ended || !fits {
                return;
            }
            fits = self.sequence == 0 || batch.sequence == self.sequence + 1;
            self.sequence = batch.sequence;
            // The first batch of the next segment proves that this one was read to its end.
            self.ended = batch.position.segment != self.segment;
            if !self.ended {
                self.collect(batch, chunk, ground);
            }
        });
        match walked {
            // How far the piece went into the next segment, and whether that ends in it, is nothing to this one.
            Ok(_) if self.ended => fits,
            Ok(walked) => {
                let next = if walked.next.offset < ground.config.segment_bytes {
                    walked.next
                } else {
                    first_batch(walked.next.segment + 1)
                };
                (self.at, self.continued) = (next, next.segment == at.segment);
                self.length = walked.needs.unwrap_or(limits::RECLAIM_READ_BYTES);
                let room = ground.config.segment_bytes.saturating_sub(next.offset) as usize;
                fits && next.segment <= self.segment + 1 && walked.needs.is_none_or(|needs| needs <= BATCH_BYTES_MAX.min(room))
            }
            // What a piece ended before may be the unused tail of its segment.
            Err(_) if self.continued => {
                (self.at, self.continued) = (first_batch(self.segment + 1), false);
                self.length = limits::RECLAIM_READ_BYTES;
                true
            }
            Err(fault) => {
                tracing::error!(%fault, "a segment does not read whole");
                false
            }
        }
    }

    fn collect<R: IndexReader>(&mut self, batch: &ScannedBatch<'_>, chunk: &Bytes, ground: &Ground<'_, R>) {
        for record in batch.records() {
            let Some(replica) = ground.running.get(&record.name.shard).map(|running| &running.replica) else {
                continue;
            };
            if replica.name() != record.name || replica.space != record.space {
                continue;
            }
            let (data, data_position, second) = match record.body {
                RecordBody::Entry {
                    term,
                    index,
                    data,
                    data_position,
                    ..
                } => match replica.group().term_at(index) {
                    Some(known) if known == term => {
                        let last = self.last.entry(record.name).or_default();
                        *last = index.max(*last);
                        (data, data_position, false)
                    }
                    // Its term is forgotten, but what the index points to still lives.
                    None if index <= replica.group().truncated() => (data, data_position, false),
                    // It was replaced: it never happened.
                    Some(_) | None => continue,
                },
                RecordBody::Relocation { data, data_position } => (data, data_position, true),
                RecordBody::HardState(_) | RecordBody::Checkpoint { .. } | RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => continue,
            };
            let Ok(entry) = EntryData::parse(data) else { continue };
            for (offset, effect) in entry.effects() {
                let candidate = Candidate {
                    name: record.name,
                    space: record.space,
                    kind: effect.kind,
                    key: chunk.slice_ref(effect.key),
                    value: chunk.slice_ref(effect.value),
                    version: effect.version,
                    hash: effect.hash,
                    position: Position {
                        segment: data_position.segment,
                        offset: data_position.offset + offset,
                    },
                    second,
                };
                self.candidate_bytes += candidate.bytes();
                self.candidates.push_back(candidate);
            }
        }
    }

    /// Looks at some candidates and queues copies of those that live. Bytes of them.
    fn copy<R: IndexReader>(&mut self, wall: Nanos, ground: &mut Ground<'_, R>, done: &mut Reclaimed) -> Result<u64, IndexError> {
        let (mut budget, mut copied) = (budget(ground)?, 0);
        self.ahead = budget;
        while budget.effects > 0
            && budget.bytes > 0
            && let Some(first) = self.candidates.front()
        {
            let (name, space) = (first.name, first.space);
            let record_bytes = limits::RELOCATION_RECORD_BYTES.min(ground.log.data_bytes_max());
            let mut data = EntryDataBuilder::new(ground.cluster, name.shard, Nanos(0));
            let mut rows = Vec::new();
            let mut full = false;
            while let Some(next) = self.candidates.front().filter(|next| (next.name, next.space) == (name, space)) {
                let bytes = next.bytes();
                full = !next.fits(data.len(), ground.log, ground.pressed);
                let too_long = next.after(data.len()) > record_bytes && !data.is_empty();
                if too_long || full || budget.effects == 0 {
                    break;
                }
                budget.effects -= 1;
                budget.bytes = budget.bytes.saturating_sub(bytes);
                if next.lives(ground)? {
                    next.add(&mut data, &mut rows, done);
                    copied += bytes;
                }
                self.candidate_bytes -= bytes;
                self.candidates.pop_front();
            }
            if !data.is_empty() {
                let copied = Copied {
                    purpose: Purpose::Reclaim,
                    name,
                    space,
                    rows,
                };
                ground.copies.push(ground.log, copied, data.finish().into(), wall);
            }
            if full {
                break;
            }
        }
        Ok(copied)
    }

    /// All copies are durable and pointed to. The generation that holds all of it, and what raft may no longer ask for.
    fn settle<R: IndexReader>(&self, ground: &mut Ground<'_, R>) -> u64 {
        for (name, last) in &self.last {
            if let Some(running) = ground.running.get_mut(&name.shard)
                && running.replica.name() == *name
            {
                running.replica.group.truncate(*last);
            }
        }
        ground.generations.hurry();
        ground.generations.next_frozen()
    }
}

impl Candidate {
    /// Bytes of a copy, beside those of the record it stands in.
    fn bytes(&self) -> u64 {
        effect_bytes(self.key.len(), self.value.len() as u64)
    }

    /// Bytes of the data with a copy of this.
    fn after(&self, data_bytes: usize) -> usize {
        data_bytes.saturating_add(usize::try_from(self.bytes()).unwrap_or(usize::MAX))
    }

    /// Whether the next batch has room for a record of so many bytes of data and a copy of this.
    fn fits(&self, data_bytes: usize, log: &LogWriter, pressed: bool) -> bool {
        let room = log.room_ahead(batch_parts(pressed));
        let alone = data_bytes == ENTRY_DATA_HEADER_BYTES && log.nothing_ahead();
        self.after(data_bytes) <= room || alone && room > 0
    }

    fn lives<R: IndexReader>(&self, ground: &Ground<'_, R>) -> Result<bool, IndexError> {
        let held = ground.index.get(self.space, &self.key)?;
        Ok(match (self.kind, held) {
            (EffectKind::Put, Some(Slot::Put(row))) => row.position == self.position,
            (EffectKind::Put, Some(Slot::Deleted(_)) | None) => false,
            (EffectKind::Delete, _) if self.second || ground.planted.delete_forgotten() => false,
            // A delete of a forgotten term may have been replaced, by a put of the same version too.
            (EffectKind::Delete, Some(Slot::Put(_))) => false,
            (EffectKind::Delete, Some(Slot::Deleted(version))) => version == self.version,
            (EffectKind::Delete, None) => true,
        })
    }

    fn add(&self, data: &mut EntryDataBuilder, rows: &mut Vec<CopiedRow>, done: &mut Reclaimed) {
        match self.kind {
            EffectKind::Put => {
                let offset = u32::try_from(data.len()).expect("a record is shorter than a batch");
                let row = Row {
                    version: self.version,
                    position: Position { segment: 0, offset },
                    size: self.value.len() as u64,
                    flags: RowFlags::default(),
                    hash: self.hash,
                };
                // The key's own bytes, so that the whole piece it was read in need not stay.
                rows.push(CopiedRow {
                    key: Bytes::copy_from_slice(&self.key),
                    row,
                    from: self.position,
                });
                data.put(&self.key, &self.value, self.version, self.hash);
                done.values += 1;
                done.bytes += self.value.len() as u64;
            }
            EffectKind::Delete => {
                data.delete(&self.key, self.version);
                done.deletes += 1;
            }
        }
    }
}

/// Whether a segment is being read, or an answer found before the pointers moved has yet to read from it.
fn is_needed<R: IndexReader>(segment: u32, ground: &Ground<'_, R>) -> bool {
    let mut replicas = ground.running.values().map(|running| &running.replica);
    ground.tickets.reads_in(segment) || ground.values.needs_segment(segment) || replicas.any(|replica| replica.needs_segment(segment))
}

/// Whether the log is so much longer than what lives in it that its oldest segment should go.
fn is_due<R: IndexReader>(oldest: u32, barren: Barren, ground: &Ground<'_, R>) -> Result<bool, IndexError> {
    let newest = ground.log.position().segment;
    if newest <= oldest {
        return Ok(false);
    }
    let (length, live) = (log_bytes(ground), ground.index.reader().live_bytes()?);
    // Under pressure too the round after a barren one waits until something was deleted.
    let fruitless = barren.segments > newest - oldest && live.saturating_add(u64::from(ground.config.segment_bytes) / 8) > barren.live;
    Ok(length > target_bytes(live, false, ground) || (ground.pressed && !fruitless && length > target_bytes(live, true, ground)))
}

fn log_bytes<R: IndexReader>(ground: &Ground<'_, R>) -> u64 {
    let segments = ground.log.position().segment.saturating_sub(ground.log.oldest_segment());
    u64::from(segments) * u64::from(ground.config.segment_bytes) + u64::from(ground.log.position().offset)
}

fn target_bytes<R: IndexReader>(live: u64, pressed: bool, ground: &Ground<'_, R>) -> u64 {
    let (segments, per_mille) = if pressed {
        (limits::RECLAIM_PRESSED_SEGMENTS_MIN, limits::RECLAIM_PRESSED_PER_MILLE)
    } else {
        (limits::RECLAIM_SEGMENTS_MIN, limits::RECLAIM_PER_MILLE)
    };
    let least = segments * u64::from(ground.config.segment_bytes);
    least.max(live.saturating_mul(per_mille) / 1_000)
}

/// The further the log is over its target, the more is looked at; most where the disk is low.
fn budget<R: IndexReader>(ground: &Ground<'_, R>) -> Result<Budget, IndexError> {
    let target = target_bytes(ground.index.reader().live_bytes()?, false, ground);
    let excess = log_bytes(ground).saturating_mul(1_000) / target.max(1);
    let steps = match excess {
        0..1_100 => 1,
        1_100..1_250 => 4,
        1_250..1_500 => 16,
        _ => 64,
    };
    Ok(Budget::steps(if ground.pressed { steps.max(16) } else { steps }))
}

impl Closed {
    fn is_durable(self, log: &LogWriter, durability: &Durability) -> bool {
        match self {
            Self::Ahead { batch } => log.last_sequence() >= batch,
            Self::Queued { records } => durability.reached(false) >= records,
        }
    }
}

/// Hard states and checkpoints to the log's end: what a rebuild begins with once the segment is gone. They go ahead of the queue, whose
/// length would be added to the time that each segment takes, unless they are long, or the beginning of a replica is queued itself.
fn close<R: IndexReader>(timestamp: Nanos, ground: &mut Ground<'_, R>) -> Result<Closed, IndexError> {
    let (mut records, mut bytes, mut begins) = (Vec::new(), 0, false);
    for marks in ground.index.reader().replica_marks()? {
        if let Some(running) = ground.running.get(&marks.name.shard)
            && running.replica.name() == marks.name
        {
            bytes += CLOSING_BYTES + marks.state.len();
            begins |= marks.applied == LogIndex(0);
            closing_records(running, marks, timestamp, ground, &mut records);
        }
    }
    let ahead = !begins && bytes <= ground.log.room_ahead(batch_parts(ground.pressed));
    for record in records {
        if ahead {
            ground.log.push_ahead(record);
        } else {
            ground.log.push(record);
        }
    }
    Ok(if ahead {
        Closed::Ahead {
            batch: ground.log.next_sequence(),
        }
    } else {
        Closed::Queued {
            records: ground.log.pushed(),
        }
    })
}

/// A replica's hard state, and its checkpoint.
fn closing_records<R: IndexReader>(
    running: &Running,
    marks: ReplicaMarks,
    timestamp: Nanos,
    ground: &Ground<'_, R>,
    records: &mut Vec<Record>,
) {
    let ReplicaMarks {
        name,
        space,
        applied,
        applied_term,
        state,
        ..
    } = marks;
    records.push(Record::HardState {
        name,
        space: running.replica.space,
        state: running.durable_hard_state,
        timestamp,
    });
    // Where an image came into force since, its own checkpoint is the newer one.
    if running.replica.space != space || ground.planted.checkpoint_forgotten() {
        return;
    }
    records.push(Record::Checkpoint {
        name,
        space,
        applied,
        applied_term,
        kept_from: ground.log.oldest_segment() + 1,
        state,
        timestamp,
    });
}

/// Of so many parts of a batch copies take one.
const fn batch_parts(pressed: bool) -> usize {
    if pressed {
        limits::RECLAIM_PRESSED_BATCH_PARTS
    } else {
        limits::RECLAIM_BATCH_PARTS
    }
}
