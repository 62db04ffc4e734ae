//! Segment files through memory maps: read-only, whole logs at a time, also single records anywhere in them.
//!
//! Pages are asked for before they are touched, so that a disk that fails is an error and not a signal.
//!
//! Not here, on purpose: what the bytes mean; the engine's scan reads them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use margate_engine::log::limits::BLOCK_BYTES;
use margate_engine::log::scan::{ReadFault, ReadSegments};
use margate_engine::log::segment::SegmentHeader;
use margate_engine::runtime::segments;
use margate_engine::types::Position;
use memmap2::{Advice, Mmap};

/// Maps kept at a time; a process may have about twice as many.
const MAPS_MAX: usize = 32_768;

/// The segments of one core's log.
#[derive(Debug)]
pub(super) struct MappedSegments {
    log: PathBuf,
    numbers: Vec<u32>,
    maps: BTreeMap<u32, Mmap>,
    stopped: Rc<Cell<bool>>,
}

impl MappedSegments {
    /// Looks what segments there are.
    pub(super) fn open(log: &Path) -> io::Result<Self> {
        let mut numbers = segments::numbers(log)?;
        numbers.sort_unstable();
        Ok(Self {
            log: log.to_owned(),
            numbers,
            maps: BTreeMap::new(),
            stopped: Rc::default(),
        })
    }

    /// Set to true it makes the scan that reads these end with an error.
    pub(super) fn stop(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.stopped)
    }

    /// Bytes of the first segment, the size all were made with.
    pub(super) fn segment_size(&self) -> u64 {
        self.numbers.first().map_or(0, |first| self.segment_bytes(*first))
    }

    /// Which life of its file a segment is; 1 if its header says nothing.
    pub(super) fn life(&mut self, segment: u32) -> u32 {
        let header = self.slice(Position { segment, offset: 0 }, BLOCK_BYTES);
        header.map_or(1, SegmentHeader::life_in)
    }

    /// At most so many bytes at a position; fewer where the file ends.
    pub(super) fn slice(&mut self, at: Position, bytes: usize) -> Result<&[u8], ReadFault> {
        let fault = |error: &io::Error| ReadFault::System {
            segment: at.segment,
            offset: at.offset,
            code: error.raw_os_error().unwrap_or(0),
        };
        let map = self.map(at.segment).map_err(|error| fault(&error))?;
        let from = at.offset as usize;
        let bytes = bytes.min(map.len().saturating_sub(from));
        if bytes > 0 {
            populate(map, from, bytes).map_err(|error| fault(&error))?;
        }
        Ok(map.get(from..).and_then(|rest| rest.get(..bytes)).unwrap_or_default())
    }

    fn map(&mut self, segment: u32) -> io::Result<&Mmap> {
        if !self.maps.contains_key(&segment) {
            if self.maps.len() >= MAPS_MAX {
                self.maps.clear();
            }
            let file = File::open(segments::path(&self.log, segment))?;
            // SAFETY: the data directory is held, so no node writes or cuts the file; bytes are parsed as if they came from a
            // stranger in any case.
            let map = unsafe { Mmap::map(&file) }?;
            self.maps.insert(segment, map);
        }
        self.maps.get(&segment).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl ReadSegments for MappedSegments {
    fn segments(&self) -> Vec<u32> {
        self.numbers.clone()
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        fs::metadata(segments::path(&self.log, segment)).map_or(0, |metadata| metadata.len())
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        let wanted = if self.stopped.get() { 0 } else { buffer.len() };
        let found = self.slice(Position { segment, offset }, wanted)?;
        if found.len() < buffer.len() {
            let (wanted, got) = (buffer.len(), found.len());
            return Err(ReadFault::Short {
                segment,
                offset,
                wanted,
                got,
            });
        }
        buffer.copy_from_slice(found);
        Ok(())
    }
}

/// Brings pages in. A kernel before 5.14 cannot be asked; there a failing disk ends the process.
fn populate(map: &Mmap, from: usize, bytes: usize) -> io::Result<()> {
    match map.advise_range(Advice::PopulateRead, from, bytes) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_end_is_short_and_no_signal() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(segments::path(folder.path(), 2), vec![7; 5_000]).expect("written");
        fs::write(segments::path(folder.path(), 3), b"").expect("written");
        fs::write(folder.path().join("notes.txt"), b"").expect("written");
        let mut log = MappedSegments::open(folder.path()).expect("a folder");
        assert_eq!((log.segments(), log.segment_size()), (vec![2, 3], 5_000));
        let at = |segment, offset| Position { segment, offset };
        assert_eq!(log.slice(at(2, 4_990), 100).expect("readable"), [7; 10]);
        assert_eq!(log.slice(at(2, 9_000), 100).expect("readable"), [0; 0]);
        assert_eq!(log.slice(at(3, 0), 100).expect("readable"), [0; 0]);
        let mut buffer = [0; 4_096];
        log.read(2, 0, &mut buffer).expect("inside");
        assert_eq!(buffer, [7; 4_096]);
        assert!(matches!(log.read(2, 4_096, &mut buffer), Err(ReadFault::Short { got: 904, .. })));
        assert!(matches!(
            log.read(9, 0, &mut buffer),
            Err(ReadFault::System { code: libc::ENOENT, .. })
        ));
    }
}
