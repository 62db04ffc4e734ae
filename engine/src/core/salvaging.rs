//! A damaged batch of a segment that is reclaimed: what is sound in it counts, and whether only values are lost.
//!
//! Not here, on purpose: mending them (`sweep`, `repair`).

use bytes::Bytes;

use super::reclaim::{Ground, Reclaimed};
use super::scanning::Scan;
use crate::index::store::IndexReader;
use crate::limits;
use crate::log::effects::{EffectKind, EntryData, effect_is_sound};
use crate::log::fetch::{Salvage, salvage_batch};
use crate::log::limits::BATCH_BYTES_MAX;
use crate::log::record::{RecordBody, ScannedRecord};
use crate::log::segment::{LogConfig, first_batch, further};

impl Scan {
    /// What does not read whole begins where the last batch ended: it is looked at once more, record by record. Whether there is
    /// anything left to try.
    pub(super) fn salvage_next(&mut self, config: &LogConfig) -> bool {
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
    pub(super) fn salvage<R: IndexReader>(&mut self, chunk: &Bytes, ground: &Ground<'_, R>, done: &mut Reclaimed) -> bool {
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
            self.collect((record, *sound), chunk, ground);
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
}

/// How many values a record has lost that does not match its checksum; `None` unless that explains it and nothing but values can be
/// lost. Whose record it is may have rotted too: it may then be passed over, so it must hold nothing but values, which the index knows.
fn lost_values(record: &ScannedRecord<'_>) -> Option<u64> {
    let data = match record.body {
        RecordBody::Entry { data, .. } | RecordBody::Relocation { data, .. } => data,
        RecordBody::HardState(_) | RecordBody::Checkpoint { .. } | RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => return None,
    };
    let mut lost = 0;
    for (offset, effect) in EntryData::parse(data).ok()?.effects() {
        let rotten = !effect_is_sound(data, offset);
        // A delete has no value, so what has one never was a delete.
        if effect.kind != EffectKind::Put || rotten && effect.value.is_empty() {
            return None;
        }
        lost += u64::from(rotten);
    }
    (lost > 0).then_some(lost)
}
