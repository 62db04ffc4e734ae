//! Records of copies on their way to the log: reclaim's and mended values, which go ahead of all that is queued, and rows of images, which
//! take their turn. Who asked for them hears where they lie once they are durable, in the order in which they were queued.

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
    /// A value that another member gave.
    Repair,
}

/// A value that was copied.
#[derive(Clone, Debug)]
pub(super) struct CopiedRow {
    pub(super) key: Bytes,
    /// Its row; before the copy is placed, its position counts from the beginning of the record's data.
    pub(super) row: Row,
    /// Where the index pointed before; nothing for rows of an image.
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
    /// Reclaim's and mended values: all of them are in the next batch, before the others.
    ahead: VecDeque<Copied>,
    /// Those of images.
    queued: VecDeque<Copied>,
    placed: Vec<Copied>,
}

impl Copies {
    /// Queues a record: what it is for, and its data.
    pub(super) fn push(&mut self, log: &mut LogWriter, copied: Copied, data: Bytes, timestamp: Nanos) {
        let record = Record::Relocation {
            name: copied.name,
            space: copied.space,
            data,
            timestamp,
        };
        match copied.purpose {
            Purpose::Image { .. } => {
                log.push(record);
                self.queued.push_back(copied);
            }
            Purpose::Reclaim | Purpose::Repair => {
                log.push_ahead(record);
                self.ahead.push_back(copied);
            }
        }
    }

    /// Whether reclaim has some under way.
    pub(super) fn has_of_reclaim(&self) -> bool {
        let mut under_way = self.ahead.iter().chain(&self.placed);
        under_way.any(|copied| copied.purpose == Purpose::Reclaim)
    }

    /// The batch that is about to be written holds the next of them, at these places.
    pub(super) fn placed(&mut self, places: &[Position]) {
        for at in places {
            let next = self.ahead.pop_front().or_else(|| self.queued.pop_front());
            let mut copied = next.expect("every copy in a batch was queued here");
            for copy in &mut copied.rows {
                copy.row.position.segment = at.segment;
                copy.row.position.offset += at.offset;
            }
            self.placed.push(copied);
        }
    }

    /// That batch is durable.
    pub(super) fn durable(&mut self) -> Vec<Copied> {
        std::mem::take(&mut self.placed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::fixture;
    use crate::log::effects::EntryDataBuilder;
    use crate::log::segment::{ReadySegment, first_batch};
    use crate::log::writer::{FlushStep, Resume};
    use crate::types::ValueHash;
    use margate_net::ids::{ReplicaId, Version};
    use proptest::prelude::*;

    const NAME: ReplicaName = ReplicaName {
        shard: ShardId(1),
        replica: ReplicaId(1),
    };

    /// A record that sets two keys, told apart by their versions.
    fn data(version: u64, length: usize) -> Bytes {
        let mut data = EntryDataBuilder::new(fixture::CLUSTER, NAME.shard, Nanos(0));
        let value = vec![7; length];
        for (key, version) in [(b"a", 2 * version), (b"b", 2 * version + 1)] {
            data.put(key, &value, Version(version), ValueHash::of(&value));
        }
        data.finish().into()
    }

    fn push(copies: &mut Copies, log: &mut LogWriter, at: u64, purpose: Purpose, length: usize) {
        let data = data(at, length);
        let copied = Copied {
            purpose,
            name: NAME,
            space: Space(1),
            rows: rows_of(&EntryData::parse(&data).expect("just built")),
        };
        copies.push(log, copied, data, Nanos(0));
    }

    #[test]
    fn only_puts_are_rows() {
        let mut data = EntryDataBuilder::new(fixture::CLUSTER, NAME.shard, Nanos(0));
        data.put(b"a", b"1", Version(1), ValueHash::of(b"1"));
        data.delete(b"b", Version(2));
        data.put(b"c", b"", Version(3), ValueHash::of(b""));
        let data = data.finish();
        let rows = rows_of(&EntryData::parse(&data).expect("just built"));
        let keys: Vec<_> = rows.iter().map(|row| (row.key.as_ref(), row.row.version.0, row.row.size)).collect();
        assert_eq!(keys, [(&b"a"[..], 1, 1), (b"c", 3, 0)]);
    }

    proptest! {
        /// However many fit a batch, and whatever is queued while one is written: each comes back once, those of each purpose in the
        /// order they were queued, after the flush that holds them, with the place where their bytes are; reclaim's after the next flush.
        #[test]
        fn copies_come_back_in_order_with_their_places(
            records in proptest::collection::vec((any::<bool>(), 0..3_000usize), 1..40), between in proptest::collection::vec(1..6usize, 1..40),
        ) {
            let config = fixture::config(1, &[], 16 << 10);
            let (mut log, mut copies) = (LogWriter::new(config.log, Resume::fresh()), Copies::default());
            let (mut waiting, mut back) = (records.iter().zip(0u64..).peekable(), Vec::new());
            let (mut bytes, mut turns) = (Vec::new(), between.iter().cycle());
            while back.len() < records.len() {
                for _ in 0..*turns.next().expect("a cycle") {
                    let may_go = |of_reclaim: bool| !of_reclaim || log.room_ahead(2) > 2 * 3_100 || log.room_ahead(2) > 0 && log.nothing_ahead();
                    let Some(((of_reclaim, length), at)) = waiting.next_if(|((of_reclaim, _), _)| may_go(*of_reclaim)) else { break };
                    let image = Purpose::Image { shard: NAME.shard, number: at };
                    push(&mut copies, &mut log, at, if *of_reclaim { Purpose::Reclaim } else { image }, *length);
                }
                for number in log.segments_wanted(usize::MAX) {
                    log.segment_ready(ReadySegment { number, salt: u64::from(number), life: 1 });
                }
                let FlushStep::Write(flush) = log.flush(Nanos(1), Nanos(1)) else { continue };
                let mut batch = vec![0; flush.length];
                flush.encode_into(&mut batch);
                bytes.push((Position { segment: flush.segment, offset: flush.offset }, batch));
                let of_reclaim = copies.ahead.len();
                copies.placed(&flush.relocations);
                prop_assert_eq!(copies.has_of_reclaim(), of_reclaim > 0);
                log.flushed(flush.sequence, Nanos(1));
                let durable = copies.durable();
                prop_assert_eq!(durable.iter().filter(|copied| copied.purpose == Purpose::Reclaim).count(), of_reclaim);
                back.extend(durable);
                prop_assert!(!copies.has_of_reclaim() && copies.durable().is_empty(), "once");
            }
            // Sorting keeps the order of those that are equal.
            back.sort_by_key(|copied| copied.purpose == Purpose::Reclaim);
            let (of_images, of_reclaim): (Vec<_>, Vec<_>) = records.iter().zip(0u64..).partition(|((of_reclaim, _), _)| !of_reclaim);
            prop_assert!(bytes.first().is_none_or(|(at, _)| *at >= first_batch(1)));
            for (copied, ((of_reclaim, length), at)) in back.iter().zip(of_images.into_iter().chain(of_reclaim)) {
                prop_assert_eq!(copied.purpose == Purpose::Reclaim, *of_reclaim);
                let versions: Vec<_> = copied.rows.iter().map(|row| row.row.version.0).collect();
                prop_assert_eq!(versions, [2 * at, 2 * at + 1]);
                for row in &copied.rows {
                    let place = row.row.position;
                    let inside = |(batch, bytes): &&(Position, Vec<u8>)| {
                        batch.segment == place.segment && (batch.offset..batch.offset + u32::try_from(bytes.len()).expect("small")).contains(&place.offset)
                    };
                    let (batch, bytes) = bytes.iter().find(inside).expect("it lies in a batch");
                    let expected = crate::log::effects::ExpectedEffect {
                        cluster: fixture::CLUSTER, shard: NAME.shard, key: &row.key, version: row.row.version,
                    };
                    let found = crate::log::effects::read_effect(&bytes[(place.offset - batch.offset) as usize..], &expected);
                    prop_assert_eq!(found.map(|effect| effect.value.len()), Ok(*length));
                }
            }
        }
    }
}
