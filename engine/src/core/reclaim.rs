//! Reclaim: the oldest segment is read once more, what still lives in it is copied to the log's end, and its file comes free.
//!
//! ```text
//!   idle ─(log longer than what lives deserves)─► scanning ─► settling ─► closing ─► releasing ─► idle
//!                                                 copies      index       checkpoints  the file is
//!                                                 queued      durable     durable      used again or deleted
//! ```
//! Invariants: only a segment that replay no longer needs is begun, so its entries are applied and durable in the index;
//! whether an effect lives is looked up in the turn that queues its copy, and the copy is in that turn's batch (so in the log a
//! copy stands before the commit of anything newer, and rebuilding an index in log order is right); a pointer moves only
//! to a durable copy, and only if it still points to the original; checkpoints are written once the index holds all of it.
//!
//! A delete is copied once: an older value of its key may have been copied behind it while it was not yet applied. Met
//! again, as a copy, nothing older can follow any more.
//!
//! A damaged batch gives what is sound in it. Where only values are lost the segment stays until all of them that live are mended from
//! other members (`sweep`, `repair`). Where anything else may be, a delete say, the segment is kept with all after it, and reclaim ends.
//!
//! Not here, on purpose: files (`runtime`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::ids::{ClusterId, LogIndex, ShardId, Space};

use super::copies::{Copied, CopiedRow, Copies, Purpose};
use super::durability::Durability;
use super::event::{Effect, Effects, LogReadFault, Moment, ReadTicket};
use super::generations::Generations;
use super::machine::Running;
use super::repair::Repairs;
use super::sweep::Sweep;
use super::values::{Tickets, Values};
use crate::index::error::IndexError;
use crate::index::row::{Row, RowFlags, Slot};
use crate::index::store::{IndexReader, ReplicaMarks};
use crate::index::view::Index;
use crate::limits;
use crate::log::effects::{EffectKind, EntryData, EntryDataBuilder, effect_bytes, effect_is_sound};
use crate::log::fetch::{Salvage, salvage_batch, walk_chunk};
use crate::log::limits::BATCH_BYTES_MAX;
use crate::log::record::{Record, RecordBody, ScannedRecord};
use crate::log::segment::{LogConfig, first_batch, further};
use crate::log::writer::LogWriter;
use crate::planted::Planted;
use crate::types::{Nanos, Position, ReplicaName, ValueHash};
use margate_net::ids::Version;

/// What reclaim works on: its core's parts.
pub(super) struct Ground<'a, R: IndexReader> {
    pub(super) cluster: ClusterId,
    pub(super) config: &'a LogConfig,
    pub(super) log: &'a mut LogWriter,
    pub(super) index: &'a mut Index<R>,
    pub(super) running: &'a mut BTreeMap<ShardId, Running>,
    pub(super) generations: &'a mut Generations,
    pub(super) copies: &'a mut Copies,
    pub(super) repairs: &'a mut Repairs,
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
    /// Values met whose record is damaged: those that live are mended before their segment goes.
    pub damaged: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    state: State,
    /// The generation, the newest segment and the pressure for which nothing was due: none has changed, nothing is.
    checked: Option<(u64, u32, bool)>,
    /// Whether something was due then.
    due: bool,
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
    /// Until what the index still points to in the segment is mended.
    Mending(Scan, Sweep),
    /// Until this generation is durable.
    Settling {
        generation: u64,
    },
    /// Until so many records are durable.
    Closing {
        records: u64,
    },
    /// Until the driver says that the file is gone, or ready under another number: this one.
    Releasing {
        to: Option<u32>,
    },
}

/// How far the segment is read.
#[derive(Debug)]
struct Scan {
    segment: u32,
    at: Position,
    length: usize,
    /// Whether `at` follows a piece of the same segment.
    continued: bool,
    /// Where the last batch met ends.
    end: Position,
    /// Whether the batch at `end` is damaged: of what it held only what is sound counts.
    salvaging: bool,
    /// Whether values were lost that may live.
    lost: bool,
    ticket: Option<ReadTicket>,
    /// The last batch met; 0 before the first.
    sequence: u64,
    ended: bool,
    candidates: VecDeque<Candidate>,
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

impl Reclaim {
    /// What it has done since the start.
    pub(super) fn done(&self) -> Reclaimed {
        self.done
    }

    /// Whether a turn without an event would get it further.
    pub(super) fn is_hungry(&self, log: &LogWriter) -> bool {
        match &self.state {
            State::Scanning(scan) => !scan.candidates.is_empty() && !log.in_flight() && log.fits_next(1),
            State::Mending(_, sweep) => sweep.is_hungry(),
            State::Idle | State::Settling { .. } | State::Closing { .. } | State::Releasing { .. } => false,
        }
    }

    /// Whether no segment should go though the disk is low.
    pub(super) fn has_nothing_to_free(&self) -> bool {
        let pressed = self.checked.is_some_and(|(_, _, pressed)| pressed);
        self.damaged.is_some() || (matches!(self.state, State::Idle) && pressed && !self.due)
    }

    /// Whether a read is its own.
    pub(super) fn reads_with(&self, ticket: ReadTicket) -> bool {
        matches!(&self.state, State::Scanning(scan) if scan.ticket == Some(ticket))
    }

    /// One bounded step. To be called before the turn's flush is made.
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
                    self.copied_all(ground);
                }
            }
            State::Mending(scan, sweep) => {
                if sweep.step(moment.now, ground.index, ground.running, ground.repairs)? {
                    let generation = scan.settle(ground);
                    self.state = State::Settling { generation };
                }
            }
            State::Settling { generation } => {
                if ground.generations.durable() >= *generation {
                    close(moment.wall, ground)?;
                    self.state = State::Closing {
                        records: ground.log.pushed(),
                    };
                }
            }
            State::Closing { records } => {
                let oldest = ground.log.oldest_segment();
                if ground.durability.reached(false) >= *records && !ground.held && !is_needed(oldest, ground) {
                    self.release(ground, out)?;
                }
            }
            State::Releasing { .. } => {}
        }
        Ok(())
    }

    /// A piece of the segment was read.
    pub(super) fn read_done<R: IndexReader>(&mut self, result: Result<Bytes, LogReadFault>, ground: &mut Ground<'_, R>) {
        let State::Scanning(scan) = &mut self.state else { return };
        scan.ticket = None;
        let whole = match result {
            Ok(chunk) if scan.salvaging => scan.salvage(&chunk, ground, &mut self.done),
            Ok(chunk) => scan.take(&chunk, ground),
            Err(fault) => {
                tracing::error!(%fault, "a segment cannot be read for reclaim");
                false
            }
        };
        if !whole && !scan.salvage_next(ground.config) {
            tracing::error!(
                segment = scan.segment,
                "the log is damaged: this segment and all after it are kept, so the log only grows; replace this node's replicas"
            );
            self.damaged = Some(scan.segment);
            self.state = State::Idle;
        }
    }

    /// All that could be copied is; what lives and could not be is mended first.
    fn copied_all<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) {
        self.state = match std::mem::take(&mut self.state) {
            State::Scanning(scan) if scan.lost => {
                let sweep = Sweep::new(scan.segment);
                State::Mending(scan, sweep)
            }
            State::Scanning(scan) => State::Settling {
                generation: scan.settle(ground),
            },
            state @ (State::Idle | State::Mending(..) | State::Settling { .. } | State::Closing { .. } | State::Releasing { .. }) => state,
        };
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
        self.due = is_due(segment, self.barren, ground)?;
        if !self.due {
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
            end: first_batch(segment),
            salvaging: false,
            lost: false,
            ticket: None,
            sequence: 0,
            ended: false,
            candidates: VecDeque::new(),
            last: BTreeMap::new(),
        }
    }

    fn is_done(&self, copies: &Copies) -> bool {
        self.ended && self.candidates.is_empty() && !copies.has_of_reclaim()
    }

    fn read_on<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>, out: &mut Effects) {
        if self.ended || self.ticket.is_some() || !self.candidates.is_empty() {
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
            if fits {
                self.sequence = batch.sequence;
            }
            // The first batch of the next segment proves that this one was read to its end.
            self.ended = batch.position.segment != self.segment;
            if fits && !self.ended {
                self.end = further(batch.position, batch.padded).unwrap_or(batch.position);
                batch.records().for_each(|record| self.collect(&record, chunk, ground));
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

    /// What does not read whole begins where the last batch ended: it is looked at once more, record by record. Whether there is
    /// anything left to try.
    fn salvage_next(&mut self, config: &LogConfig) -> bool {
        let again = !self.salvaging;
        (self.continued, self.salvaging, self.ended) = (false, true, false);
        self.at = self.end;
        if self.end.offset >= config.segment_bytes {
            self.at = first_batch(self.segment + 1);
        }
        self.length = limits::RECLAIM_READ_BYTES;
        again
    }

    /// Collects what is sound in a damaged batch. Whether all that it held is known, but for values: those that live are found by
    /// the index. A delete that is lost, or may be, keeps the segment.
    fn salvage<R: IndexReader>(&mut self, chunk: &Bytes, ground: &Ground<'_, R>, done: &mut Reclaimed) -> bool {
        let follows = |batch: &Salvage<'_>| self.sequence == 0 || batch.sequence == self.sequence + 1;
        let batch = match salvage_batch(chunk, self.at) {
            Ok(batch) => batch.filter(follows),
            Err(needs) => {
                let room = ground.config.segment_bytes.saturating_sub(self.at.offset) as usize;
                let more = needs > self.length && needs <= BATCH_BYTES_MAX.min(room);
                self.length = needs;
                return more;
            }
        };
        let here = self.at.segment == self.segment;
        match batch {
            // The segment ends here, and what is damaged is the proof of it, the first batch of the next one. Of a segment of which
            // nothing was read that proves nothing.
            None if here && self.sequence > 0 => {
                self.at = first_batch(self.segment + 1);
                self.length = limits::RECLAIM_READ_BYTES;
                true
            }
            None => false,
            Some(_) if !here => {
                self.ended = true;
                true
            }
            Some(batch) => self.take_salvage(&batch, chunk, ground, done),
        }
    }

    fn take_salvage<R: IndexReader>(&mut self, batch: &Salvage<'_>, chunk: &Bytes, ground: &Ground<'_, R>, done: &mut Reclaimed) -> bool {
        let Some(records) = &batch.records else { return false };
        for (record, sound) in records {
            if !sound {
                let Some(lost) = lost_values(record) else { return false };
                done.damaged += lost;
                self.lost = true;
            }
            self.collect(record, chunk, ground);
        }
        tracing::warn!(segment = self.segment, at = %self.at, "a batch is damaged: what lives in it is copied or mended before its segment goes");
        self.sequence = batch.sequence;
        let next = further(self.at, batch.padded).filter(|next| next.offset < ground.config.segment_bytes);
        (self.continued, self.salvaging) = (next.is_some(), false);
        self.end = further(self.at, batch.padded).unwrap_or(self.at);
        self.at = next.unwrap_or(first_batch(self.segment + 1));
        self.length = limits::RECLAIM_READ_BYTES;
        true
    }

    fn collect<R: IndexReader>(&mut self, record: &ScannedRecord<'_>, chunk: &Bytes, ground: &Ground<'_, R>) {
        let Some(replica) = ground.running.get(&record.name.shard).map(|running| &running.replica) else {
            return;
        };
        if replica.name() != record.name || replica.space != record.space {
            return;
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
                Some(_) | None => return,
            },
            RecordBody::Relocation { data, data_position } => (data, data_position, true),
            RecordBody::HardState(_) | RecordBody::Checkpoint { .. } | RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => return,
        };
        let Ok(entry) = EntryData::parse(data) else { return };
        let sound = entry.effects().filter(|(offset, _)| effect_is_sound(data, *offset));
        self.candidates.extend(sound.map(|(offset, effect)| Candidate {
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
        }));
    }

    /// Looks at some candidates and queues copies of those that live. Bytes of them.
    fn copy<R: IndexReader>(&mut self, wall: Nanos, ground: &mut Ground<'_, R>, done: &mut Reclaimed) -> Result<u64, IndexError> {
        let (mut budget, mut copied) = (budget(ground)?, 0);
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
                let bytes = effect_bytes(next.key.len(), next.value.len() as u64);
                let length = data.len() + usize::try_from(bytes).unwrap_or(usize::MAX);
                let too_long = length > record_bytes && !data.is_empty();
                full = !ground.log.fits_next(length);
                if too_long || full || budget.effects == 0 {
                    break;
                }
                budget.effects -= 1;
                budget.bytes = budget.bytes.saturating_sub(bytes);
                if next.lives(ground)? {
                    next.add(&mut data, &mut rows, done);
                    copied += bytes;
                }
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

/// How many values a record has lost that does not match its checksum; `None` unless that explains it and nothing else is lost.
fn lost_values(record: &ScannedRecord<'_>) -> Option<u64> {
    let data = match record.body {
        RecordBody::Entry { data, .. } | RecordBody::Relocation { data, .. } => data,
        RecordBody::HardState(_) | RecordBody::Checkpoint { .. } | RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => return None,
    };
    let entry = EntryData::parse(data).ok()?;
    let rotten = entry.effects().filter(|(offset, _)| !effect_is_sound(data, *offset));
    let mut lost = 0;
    for (_, effect) in rotten {
        // A delete has no value, so what has one never was a delete.
        if effect.kind != EffectKind::Put || effect.value.is_empty() {
            return None;
        }
        lost += 1;
    }
    (lost > 0).then_some(lost)
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
    let step = match excess {
        _ if ground.pressed => 16,
        0..1_100 => 1,
        1_100..1_250 => 4,
        _ => 16,
    };
    Ok(Budget {
        effects: limits::RECLAIM_EFFECTS_PER_TURN * step,
        bytes: limits::RECLAIM_BYTES_PER_TURN * step as u64,
    })
}

/// Hard states and checkpoints to the log's end: what a rebuild begins with once the segment is gone.
fn close<R: IndexReader>(timestamp: Nanos, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
    let kept_from = ground.log.oldest_segment() + 1;
    for marks in ground.index.reader().replica_marks()? {
        let Some(running) = ground
            .running
            .get(&marks.name.shard)
            .filter(|running| running.replica.name() == marks.name)
        else {
            continue;
        };
        let ReplicaMarks {
            name,
            space,
            applied,
            applied_term,
            state,
            ..
        } = marks;
        ground.log.push(Record::HardState {
            name,
            space: running.replica.space,
            state: running.durable_hard_state,
            timestamp,
        });
        // Where an image came into force since, its own checkpoint is the newer one.
        if running.replica.space != space || ground.planted.checkpoint_forgotten() {
            continue;
        }
        ground.log.push(Record::Checkpoint {
            name,
            space,
            applied,
            applied_term,
            kept_from,
            state,
            timestamp,
        });
    }
    Ok(())
}
