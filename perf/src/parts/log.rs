//! From changes to the bytes of a batch.

use std::hint::black_box;

use bytes::Bytes;
use margate_engine::index::IndexError;
use margate_engine::log::effects::EntryDataBuilder;
use margate_engine::log::limits::BATCH_BYTES_MAX;
use margate_engine::log::record::Record;
use margate_engine::log::segment::{LogConfig, ReadySegment};
use margate_engine::log::writer::{FlushStep, LogWriter, Resume};
use margate_engine::types::Nanos;
use margate_net::ids::{ClusterId, CoreId, DirectoryId, LogIndex, NodeId, ShardId, Term, Version};
use margate_net::message::EntryKind;

use super::{Part, Scale, sample};
use crate::workload::keys::key;

const CLUSTER: ClusterId = ClusterId(1);
/// Shards that share a batch.
const SHARDS: u64 = 4;

/// The puts of one entry.
pub(super) struct EntryOfPuts {
    puts: Vec<(Bytes, Bytes)>,
}

impl EntryOfPuts {
    pub(super) fn new(scale: Scale) -> Self {
        let values = sample::values(0..scale.operations as u64);
        let put = |(number, value): (u64, Bytes)| (key(number), value);
        Self {
            puts: (0..).zip(values).map(put).collect(),
        }
    }

    /// The entry's data.
    pub(super) fn data(&self) -> Vec<u8> {
        let effects = self.puts.iter();
        let bytes = effects
            .map(|(key, value)| EntryDataBuilder::put_bytes(key.len(), value.len()))
            .sum();
        let mut builder = EntryDataBuilder::new(CLUSTER, ShardId(1), Nanos(1)).with_room(bytes);
        for ((key, value), version) in self.puts.iter().zip(1..) {
            builder.write(key, value, Version(version));
        }
        builder.finish()
    }
}

impl Part for EntryOfPuts {
    fn prepare(&mut self) -> Result<(), IndexError> {
        Ok(())
    }

    fn run(&mut self) -> Result<usize, IndexError> {
        black_box(self.data());
        Ok(self.puts.len())
    }
}

/// One entry of each shard.
pub(super) struct BatchOfEntries {
    log: LogWriter,
    data: Bytes,
    operations: usize,
    index: u64,
    buffer: Vec<u8>,
}

impl BatchOfEntries {
    pub(super) fn new(scale: Scale) -> Self {
        let config = LogConfig {
            cluster: CLUSTER,
            directory: DirectoryId(1),
            node: NodeId(1),
            core: CoreId(0),
            segment_bytes: 64 << 20,
            ready_min: 1,
        };
        let shards = usize::try_from(SHARDS).expect("it is small");
        let entry = EntryOfPuts::new(Scale {
            operations: scale.operations / shards,
            ..scale
        });
        Self {
            log: LogWriter::new(config, Resume::fresh()),
            operations: entry.puts.len() * shards,
            data: entry.data().into(),
            index: 0,
            buffer: vec![0; BATCH_BYTES_MAX],
        }
    }
}

impl Part for BatchOfEntries {
    fn prepare(&mut self) -> Result<(), IndexError> {
        if self.log.in_flight() {
            self.log.flushed(self.log.next_sequence(), Nanos(self.index));
        }
        for number in self.log.segments_wanted(usize::MAX) {
            let salt = u64::from(number);
            self.log.segment_ready(ReadySegment { number, salt, life: 1 });
        }
        self.index += 1;
        for shard in 0..SHARDS {
            self.log.push(Record::Entry {
                name: sample::replica(shard, 1),
                space: sample::SPACE,
                term: Term(1),
                index: LogIndex(self.index),
                kind: EntryKind::Normal,
                data: self.data.clone(),
                timestamp: Nanos(self.index),
            });
        }
        Ok(())
    }

    fn run(&mut self) -> Result<usize, IndexError> {
        match self.log.flush(Nanos(self.index), Nanos(self.index)) {
            FlushStep::Write(flush) => {
                flush.encode_into(&mut self.buffer[..flush.length]);
                black_box(&self.buffer);
                Ok(self.operations)
            }
            FlushStep::Nothing | FlushStep::WaitForSegment => Ok(0),
        }
    }
}
