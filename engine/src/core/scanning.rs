//! One segment read once more: what in it may live, and copies of what does.
//!
//! Not here, on purpose: when and how much (`pace`), what follows when all is copied (`reclaim`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::ids::{Space, Version};

use super::copies::{Copied, CopiedRow, Copies, Purpose};
use super::event::{Effects, ReadTicket};
use super::ledger::LastEntries;
use super::pace::{Budget, budget, fits_ahead};
use super::reclaim::{Ground, Reclaimed};
use crate::index::error::IndexError;
use crate::index::overlay::WARMED_KEYS;
use crate::index::row::{Row, RowFlags, Slot};
use crate::index::store::IndexReader;
use crate::limits;
use crate::log::effects::{ENTRY_DATA_HEADER_BYTES, EffectKind, EntryData, EntryDataBuilder, effect_bytes, effect_is_sound};
use crate::log::fetch::{Cursor, walk_chunk};
use crate::log::record::{RecordBody, ScannedRecord};
use crate::log::segment::{first_batch, further};
use crate::log::writer::LogWriter;
use crate::types::{Nanos, Position, ReplicaName, ValueHash};

/// How far the segment is read.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) segment: u32,
    pub(super) cursor: Cursor,
    /// Where the last batch met ends.
    pub(super) end: Position,
    /// Whether the batch at `end` is damaged: of what it held only what is sound counts.
    pub(super) salvaging: bool,
    /// Values that were lost and may live.
    pub(super) lost: u64,
    pub(super) ticket: Option<ReadTicket>,
    /// The last batch met; 0 before the first.
    pub(super) sequence: u64,
    pub(super) ended: bool,
    candidates: VecDeque<Candidate>,
    /// Bytes of them.
    candidate_bytes: u64,
    /// How much of them there should be: what the last turn might have looked at.
    ahead: Budget,
    /// The last entry of each replica in the segment.
    pub(super) last: LastEntries,
    /// Bytes copied out of it.
    pub(super) copied: u64,
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

impl Scan {
    /// To read it so many bytes at a time.
    pub(super) fn new(segment: u32, read_bytes: usize) -> Self {
        Self {
            segment,
            cursor: Cursor::new(first_batch(segment), read_bytes),
            end: first_batch(segment),
            salvaging: false,
            lost: 0,
            ticket: None,
            sequence: 0,
            ended: false,
            candidates: VecDeque::new(),
            candidate_bytes: 0,
            ahead: Budget::steps(1),
            last: BTreeMap::new(),
            copied: 0,
        }
    }

    /// Whether something that was read waits to be looked at.
    pub(super) fn has_candidates(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// Whether something does, and the next batch has room for a copy of it.
    pub(super) fn may_copy(&self, log: &LogWriter, pressed: bool) -> bool {
        self.candidates
            .front()
            .is_some_and(|next| next.fits(ENTRY_DATA_HEADER_BYTES, log, pressed))
    }

    pub(super) fn is_done(&self, copies: &Copies) -> bool {
        self.ended && self.candidates.is_empty() && !copies.has_of_reclaim()
    }

    pub(super) fn read_on<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>, out: &mut Effects) {
        let enough = self.candidates.len() >= self.ahead.effects || self.candidate_bytes >= self.ahead.bytes;
        if self.ended || self.ticket.is_some() || enough {
            return;
        }
        let length = self.cursor.length(ground.config.segment_bytes);
        let (effect, ticket) = ground.tickets.read(self.cursor.at, length);
        self.ticket = Some(ticket);
        out.push(effect);
    }

    /// Collects what may live in a piece. Whether the piece fits what came before.
    pub(super) fn take<R: IndexReader>(&mut self, chunk: &Bytes, ground: &Ground<'_, R>) -> bool {
        let (mut fits, at) = (true, self.cursor.at);
        let walked = walk_chunk(chunk, at, &mut |batch| {
            if self.ended || !fits {
                return;
            }
            fits = match self.sequence {
                // The next segment's first batch proves nothing of a segment of which nothing was read.
                0 => batch.position.segment == self.segment,
                last => batch.sequence == last + 1,
            };
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
            Ok(walked) => self.cursor.follow(walked, ground.config.segment_bytes) && fits && self.cursor.at.segment <= self.segment + 1,
            // What a piece ended before may be the unused tail of its segment.
            Err(_) if self.cursor.skip_tail() => true,
            Err(fault) => {
                tracing::error!(%fault, "a segment does not read whole");
                false
            }
        }
    }

    /// Collects what may live in a record, of one that does not match its checksum only what does by itself.
    pub(super) fn collect<R: IndexReader>(&mut self, record: &ScannedRecord<'_>, chunk: &Bytes, ground: &Ground<'_, R>) {
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
        for (offset, effect) in entry.effects().filter(|(offset, _)| effect_is_sound(data, *offset)) {
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

    /// Looks at some candidates and queues copies of those that live.
    pub(super) fn copy<R: IndexReader>(&mut self, wall: Nanos, ground: &mut Ground<'_, R>, done: &mut Reclaimed) -> Result<(), IndexError> {
        let mut budget = budget(self.segment, ground)?;
        self.ahead = budget;
        while budget.effects > 0
            && budget.bytes > 0
            && let Some(first) = self.candidates.front()
        {
            let (name, space) = (first.name, first.space);
            let record_bytes = limits::RELOCATION_RECORD_BYTES.min(ground.log.data_bytes_max());
            let mut data = EntryDataBuilder::new(ground.cluster, name.shard, Nanos(0));
            let mut rows = Vec::new();
            let (mut full, mut looked) = (false, 0usize);
            while let Some(next) = self.candidates.front().filter(|next| (next.name, next.space) == (name, space)) {
                let bytes = next.bytes();
                full = !next.fits(data.len(), ground.log, ground.pressed);
                let too_long = next.after(data.len()) > record_bytes && !data.is_empty();
                if too_long || full || budget.effects == 0 {
                    break;
                }
                if looked.is_multiple_of(WARMED_KEYS) {
                    self.warm(space, ground);
                }
                looked += 1;
                budget.effects -= 1;
                budget.bytes = budget.bytes.saturating_sub(bytes);
                if next.lives(ground)? {
                    next.add(&mut data, &mut rows, done);
                    self.copied += bytes;
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
        Ok(())
    }

    /// Prepares for looking at the next candidates, most of which no cache holds: written long ago, and not since.
    fn warm<R: IndexReader>(&self, space: Space, ground: &Ground<'_, R>) {
        let mut next = [&[][..]; WARMED_KEYS];
        let keys = self.candidates.iter().take_while(|candidate| candidate.space == space);
        let mut found = 0;
        for (next, candidate) in next.iter_mut().zip(keys) {
            *next = &candidate.key;
            found += 1;
        }
        // A few are waited for as soon one by one.
        if found > WARMED_KEYS / 4 {
            ground.index.warm_reads(space, &next);
        }
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
        fits_ahead(log, self.after(data_bytes), data_bytes == ENTRY_DATA_HEADER_BYTES, pressed)
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
            // One that was replaced may carry a version that is still to come, and would hide what is written with a lower one then.
            (EffectKind::Delete, None) => ground
                .running
                .get(&self.name.shard)
                .is_some_and(|running| self.version <= running.replica.state().version_high),
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
