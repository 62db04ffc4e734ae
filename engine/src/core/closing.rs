//! What reclaim writes before a segment may go: with it a rebuild of the index begins.
//!
//! Not here, on purpose: when (`reclaim`), what replay makes of it (`rebuilding`).

use super::durability::Durability;
use super::machine::Running;
use super::pace::batch_parts;
use super::reclaim::Ground;
use crate::index::error::IndexError;
use crate::index::store::{IndexReader, ReplicaMarks};
use crate::log::record::Record;
use crate::log::writer::LogWriter;
use crate::types::Nanos;

/// Bytes of a hard state and of a checkpoint without its state, as records: what they take is far less.
const CLOSING_BYTES: usize = 512;

/// Where checkpoints went.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closed {
    /// Into the batch of this number.
    Ahead { batch: u64 },
    /// Behind so many records.
    Queued { records: u64 },
}

impl Closed {
    pub(super) fn is_durable(self, log: &LogWriter, durability: &Durability) -> bool {
        match self {
            Self::Ahead { batch } => log.last_sequence() >= batch,
            Self::Queued { records } => durability.reached(false) >= records,
        }
    }
}

/// Hard states and checkpoints to the log's end: what a rebuild begins with once the segment is gone. They go ahead of the queue, whose
/// length would be added to the time that each segment takes, unless they are long. No beginning of a replica is in the queue then: the
/// index knows only those whose creation is durable. `kept_from` is the first segment that stays.
pub(super) fn close<R: IndexReader>(timestamp: Nanos, kept_from: u32, ground: &mut Ground<'_, R>) -> Result<Closed, IndexError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for marks in ground.index.reader().replica_marks()? {
        if let Some(running) = ground.running.get(&marks.name.shard)
            && running.replica.name() == marks.name
        {
            bytes += CLOSING_BYTES + marks.state.len();
            closing_records(running, marks, (timestamp, kept_from), ground, &mut records);
        }
    }
    // Ahead means in the next batch; where nothing is written there may never be one.
    let ahead = !records.is_empty() && bytes <= ground.log.room_ahead(batch_parts(ground.pressed));
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
    (timestamp, kept_from): (Nanos, u32),
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
        kept_from,
        state,
        timestamp,
    });
}
