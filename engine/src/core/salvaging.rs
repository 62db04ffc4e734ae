//! A damaged batch of a segment that is reclaimed: what is sound in it counts, and whether only values are lost.
//!
//! Not here, on purpose: mending them (`sweep`, `repair`).

use bytes::Bytes;

use super::reclaim::Ground;
use super::scanning::Scan;
use crate::index::store::IndexReader;
use crate::limits;
use crate::log::effects::{EffectKind, EntryData, effect_is_sound};
use crate::log::fetch::{Cursor, Salvage, Walked, salvage_batch};
use crate::log::record::{RecordBody, ScannedRecord};
use crate::log::segment::{LogConfig, first_batch, further};

impl Scan {
    /// What does not read whole begins where the last batch ended: it is looked at once more, record by record. Whether there is
    /// anything left to try.
    pub(super) fn salvage_next(&mut self, config: &LogConfig) -> bool {
        let again = !self.salvaging;
        (self.salvaging, self.ended) = (true, false);
        let at = if self.end.offset < config.segment_bytes {
            self.end
        } else {
            first_batch(self.segment + 1)
        };
        self.cursor = Cursor::new(at, limits::RECLAIM_READ_BYTES);
        again
    }

    /// Collects what is sound in a damaged batch. Whether all that it held is known, but for values: those that live are found by
    /// the index. A delete that is lost, or may be, keeps the segment.
    pub(super) fn salvage<R: IndexReader>(&mut self, chunk: &Bytes, ground: &Ground<'_, R>) -> bool {
        let follows = |batch: &Salvage<'_>| self.sequence == 0 || batch.sequence == self.sequence + 1;
        let at = self.cursor.at;
        let batch = match salvage_batch(chunk, at) {
            Ok(batch) => batch.filter(follows),
            Err(needs) => return self.cursor.lengthen(needs, ground.config.segment_bytes),
        };
        let here = at.segment == self.segment;
        match batch {
            // The segment ends here, and what is damaged is the proof of it, the first batch of the next one. Of a segment of which
            // nothing was read that proves nothing.
            None if here && self.sequence > 0 => {
                self.cursor = Cursor::new(first_batch(self.segment + 1), limits::RECLAIM_READ_BYTES);
                true
            }
            None => false,
            Some(_) if !here => {
                self.ended = true;
                true
            }
            Some(batch) => self.take_salvage(&batch, chunk, ground),
        }
    }

    fn take_salvage<R: IndexReader>(&mut self, batch: &Salvage<'_>, chunk: &Bytes, ground: &Ground<'_, R>) -> bool {
        let Some(records) = &batch.records else { return false };
        for (record, sound) in records {
            if !sound {
                let Some(lost) = lost_values(record) else { return false };
                self.lost += lost;
            }
            self.collect(record, chunk, ground);
        }
        let at = self.cursor.at;
        tracing::warn!(segment = self.segment, %at, "a batch is damaged: what lives in it is copied or mended before its segment goes");
        self.sequence = batch.sequence;
        self.salvaging = false;
        self.end = further(at, batch.padded).unwrap_or(at);
        let walked = Walked {
            next: further(at, batch.padded).unwrap_or(first_batch(self.segment + 1)),
            needs: None,
        };
        self.cursor.follow(walked, ground.config.segment_bytes)
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
