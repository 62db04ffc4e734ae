//! What is durable on a node, as its core was told, or as a scan finds it.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use margate_engine::core::replay::CoreConfig;
use margate_engine::log::flush::Flush;
use margate_engine::log::scan::{ReadSegments, scan};
use margate_engine::runtime::segments::SegmentFiles;
use margate_engine::types::{Position, ReplicaName};
use margate_net::ids::LogIndex;

use super::node::{Deed, Folders};

/// Bytes of a block.
const BLOCK_BYTES: usize = 4_096;

/// A batch that was handed to the disk.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) sequence: u64,
    pub(crate) position: Position,
    pub(crate) bytes: Bytes,
}

/// What is durable on a node, as its core was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) batches: Vec<Batch>,
    /// The last entry of each replica that was ever among them.
    pub(crate) last: BTreeMap<ReplicaName, LogIndex>,
    /// The index's generation; 0 before the first.
    pub(crate) generation: u64,
}

impl Batch {
    pub(crate) fn of(flush: &Flush) -> Self {
        let mut bytes = vec![0; flush.length];
        flush.encode_into(&mut bytes);
        // A write that was cut in the padding is whole.
        bytes.truncate(flush.used);
        Self {
            sequence: flush.sequence,
            position: Position {
                segment: flush.segment,
                offset: flush.offset,
            },
            bytes: bytes.into(),
        }
    }
}

impl Ledger {
    /// What it will say once a deed is done.
    pub(crate) fn with(&self, deed: &Deed) -> Self {
        let mut ledger = self.clone();
        match deed {
            Deed::Commit(generation) => ledger.generation = generation.number,
            Deed::Delete(gone) | Deed::Recycle(gone, _) => ledger.batches.retain(|batch| batch.position.segment != *gone),
            Deed::Prepare(_) => {}
            Deed::Write(flush) => {
                ledger.batches.push(Batch::of(flush));
                ledger.last.extend(flush.entries.iter().map(|entry| (entry.name, entry.index)));
            }
        }
        ledger
    }
}

/// What a log holds, as a scan finds it.
pub(crate) fn found(root: &Path, config: &CoreConfig) -> Result<Ledger, String> {
    Ok(found_and_torn(root, config)?.0)
}

/// The same, and the bytes of a torn tail.
pub(crate) fn found_and_torn(root: &Path, config: &CoreConfig) -> Result<(Ledger, u64), String> {
    let mut files = SegmentFiles::list(&Folders { root: root.to_owned() }.log()).map_err(|error| error.to_string())?;
    let mut batches = Vec::new();
    let end = scan(&mut files, &config.log, None, &mut |batch| {
        batches.push((batch.sequence, batch.position, batch.padded));
    });
    let end = end.map_err(|error| error.to_string())?;
    if !end.damage.is_empty() {
        return Err(format!("a scan takes the log for damaged: {:?}", end.damage));
    }
    let batches = batches.into_iter().map(|(sequence, position, padded)| Batch {
        sequence,
        position,
        bytes: read(&mut files, position, padded).into(),
    });
    let ledger = Ledger {
        batches: batches.collect(),
        ..Ledger::default()
    };
    Ok((ledger, end.torn.map_or(0, |torn| torn.bytes)))
}

fn read(files: &mut SegmentFiles, at: Position, bytes: usize) -> Vec<u8> {
    let mut whole = vec![0; bytes];
    let blocks = whole.chunks_mut(BLOCK_BYTES).zip((at.offset..).step_by(BLOCK_BYTES));
    for (block, offset) in blocks {
        files.read(at.segment, offset, block).expect("the scan read it");
    }
    whole
}
