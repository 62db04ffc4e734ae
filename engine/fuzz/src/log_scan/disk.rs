//! Segments in memory.

use std::collections::BTreeMap;

use margate_engine::log::limits::BLOCK_BYTES;
use margate_engine::log::scan::{ReadFault, ReadSegments};
use margate_engine::log::segment::{LogConfig, ReadySegment};

/// Bytes of a segment: a header and three blocks for batches.
pub(super) const SEGMENT_BYTES: usize = 4 * BLOCK_BYTES;
/// Bytes of a block.
#[expect(clippy::cast_possible_truncation, reason = "4,096 fits")]
pub(super) const BLOCK: u32 = BLOCK_BYTES as u32;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(BTreeMap<u32, Vec<u8>>);

impl Disk {
    /// Makes a segment ready, with a salt of its own.
    pub(super) fn prewrite(&mut self, config: &LogConfig, number: u32) -> ReadySegment {
        let segment = ReadySegment {
            number,
            salt: 0x5a17_0000 + u64::from(number),
            life: 1,
        };
        let mut bytes = config.segment_header(segment).encode().to_vec();
        bytes.resize(SEGMENT_BYTES, 0);
        self.0.insert(number, bytes);
        segment
    }

    /// Writes whole blocks to a segment that is there.
    pub(super) fn write(&mut self, segment: u32, offset: u32, bytes: &[u8]) {
        let place = self.0.get_mut(&segment).expect("batches go to segments that are ready");
        place[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }

    /// Deletes a segment.
    pub(super) fn remove(&mut self, segment: u32) {
        self.0.remove(&segment);
    }

    /// A segment's bytes.
    pub(super) fn bytes(&self, segment: u32) -> &[u8] {
        self.0.get(&segment).map_or(&[], Vec::as_slice)
    }

    /// All segments' files, to be changed.
    pub(super) fn files(&mut self) -> &mut BTreeMap<u32, Vec<u8>> {
        &mut self.0
    }
}

impl ReadSegments for Disk {
    fn segments(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        self.bytes(segment).len() as u64
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        let from = offset as usize;
        let bytes = self.0.get(&segment).and_then(|bytes| bytes.get(from..from + buffer.len()));
        buffer.copy_from_slice(bytes.expect("a scan reads inside segments"));
        Ok(())
    }
}
