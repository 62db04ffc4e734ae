//! Records of copies on their way to the log: reclaim's, and rows of images. Who asked for them hears where they lie once they are
//! durable, in the order in which they were queued.

use std::collections::VecDeque;

use bytes::Bytes;
use margate_net::ids::{ShardId, Space};

use crate::index::row::{Row, RowFlags};
use crate::log::effects::EffectKind;
use crate::log::effects::EntryData;
use crate::log::record::Record;
use crate::log::writer::LogWriter;
use crate::types::{Nanos, Position, ReplicaName};

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An image of this shard, its rows of this number.
    Image {
        /// The shard.
        shard: ShardId,
        /// The rows' number.
        number: u64,
    },
    /// Reclaim.
    Reclaim,
}

/// A value that was copied.
#[derive(Clone, Debug)]
pub(super) struct CopiedRow {
    pub(super) key: Bytes,
    /// Its row; before the copy is placed, its position counts from the beginning of the record's data.
    pub(super) row: Row,
    /// Where it was copied from; nothing where it came from another node.
    pub(super) from: Position,
}

/// A record of copies.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) purpose: Purpose,
    pub(super) name: ReplicaName,
    pub(super) space: Space,
    pub(super) rows: Vec<CopiedRow>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Copies {
    queued: VecDeque<Copied>,
    placed: Vec<Copied>,
    /// Records of reclaim under way.
    of_reclaim: usize,
}

impl Copies {
    /// Queues a record. `from` says where a copied value was, by its key's place in the data.
    pub(super) fn push(&mut self, log: &mut LogWriter, copied: Copied, data: Bytes, timestamp: Nanos) {
        log.push(Record::Relocation {
            name: copied.name,
            space: copied.space,
            data,
            timestamp,
        });
        self.of_reclaim += usize::from(copied.purpose == Purpose::Reclaim);
        self.queued.push_back(copied);
    }

    /// Whether reclaim has some under way.
    pub(super) fn has_of_reclaim(&self) -> bool {
        self.of_reclaim > 0
    }

    /// The batch that is about to be written holds the next of them, at these places.
    pub(super) fn placed(&mut self, places: &[Position]) {
        for at in places {
            let mut copied = self.queued.pop_front().expect("every copy in a batch was queued here");
            for copy in &mut copied.rows {
                copy.row.position.segment = at.segment;
                copy.row.position.offset += at.offset;
            }
            self.placed.push(copied);
        }
    }

    /// That batch is durable.
    pub(super) fn durable(&mut self) -> Vec<Copied> {
        let durable = std::mem::take(&mut self.placed);
        self.of_reclaim -= durable.iter().filter(|copied| copied.purpose == Purpose::Reclaim).count();
        durable
    }
}

/// The rows of some effects whose keys and values were checked; positions count from the beginning of the data.
pub(super) fn rows_of(data: &EntryData<'_>) -> Vec<CopiedRow> {
    let puts = data.effects().filter(|(_, effect)| effect.kind == EffectKind::Put);
    puts.map(|(offset, effect)| CopiedRow {
        key: Bytes::copy_from_slice(effect.key),
        row: Row {
            version: effect.version,
            position: Position { segment: 0, offset },
            size: effect.value.len() as u64,
            flags: RowFlags::default(),
            hash: effect.hash,
        },
        from: Position::default(),
    })
    .collect()
}
