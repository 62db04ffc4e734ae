//! The parts of the data path, each by itself, with nothing around it that waits: what a change of one of them costs.
//!
//! Each part is defined once, here, and used three times. The tests run all of them tiny and check what they did, so that none
//! rots. `timed` runs one for a while and says how long an operation takes. `counted` runs one under callgrind, which counts
//! instructions: those hardly vary, so a regression of a few percent shows on any machine. `recorded` compares with the
//! counts that are kept in `perf/parts.toml`.
//!
//! Not here, on purpose: what waits for a disk, a network or another thread. The other benches measure that.

pub(crate) mod arguments;
pub(crate) mod counted;
pub(crate) mod recorded;
pub(crate) mod timed;

mod consensus;
mod index;
mod log;
mod resolve;
mod sample;
mod wire;

use std::hint::black_box;
use std::path::Path;

use margate_engine::index::IndexError;

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Operations that one run carries out.
    pub(crate) operations: usize,
    /// Rows that an index, or an overlay, has before.
    pub(crate) rows: u64,
}

impl Scale {
    /// As it is measured: what a shard resolves at once under load, an index whose tree has three levels.
    pub(crate) const MEASURED: Self = Self {
        operations: 256,
        rows: 30_000,
    };
}

/// A part that is ready to be run, many times.
pub(crate) trait Part {
    /// Makes what the next run uses up.
    ///
    /// # Errors
    /// The index of some parts is on a disk.
    fn prepare(&mut self) -> Result<(), IndexError>;

    /// What is measured: the operations it carried out, as they should be.
    ///
    /// # Errors
    /// As [`Part::prepare`].
    fn run(&mut self) -> Result<usize, IndexError>;
}

/// A part by its name.
pub(crate) struct Named {
    /// Its name on the command line and in the record.
    pub(crate) name: &'static str,
    make: Make,
}

/// Makes a part; a folder is there for what it keeps on disk.
type Make = fn(Scale, &Path) -> Result<Box<dyn Part>, IndexError>;

/// All of them, in the order of a put's way, then that of a get.
pub(crate) const PARTS: [Named; 8] = [
    // One frame of sets: taken off the stream, checksums and flatbuffer verified, operations made of it.
    Named {
        name: "frame",
        make: |scale, _| Ok(Box::new(wire::FrameOfSets::new(scale))),
    },
    // Sets, of which half have a condition, become changes.
    Named {
        name: "resolve",
        make: |scale, _| Ok(Box::new(resolve::Writes::new(scale))),
    },
    // Changes become the data of one entry, each with its checksum.
    Named {
        name: "entry",
        make: |scale, _| Ok(Box::new(log::EntryOfPuts::new(scale))),
    },
    // One entry through the Raft of three members, in one thread: proposed, appended, acknowledged, committed.
    Named {
        name: "raft",
        make: |scale, _| Ok(Box::new(consensus::ThreeMembers::new(scale))),
    },
    // Four shards' entries become one batch, checksummed, in the buffer to write.
    Named {
        name: "batch",
        make: |scale, _| Ok(Box::new(log::BatchOfEntries::new(scale))),
    },
    // Rows in no order go into an overlay that has others.
    Named {
        name: "overlay",
        make: |scale, _| Ok(Box::new(index::OverlayInsert::new(scale))),
    },
    // An overlay becomes a generation of the index in LMDB.
    Named {
        name: "index-commit",
        make: |scale, folder| Ok(Box::new(index::Commit::new(scale, folder)?)),
    },
    // Keys are looked up in LMDB.
    Named {
        name: "index-get",
        make: |scale, folder| Ok(Box::new(index::Get::new(scale, folder)?)),
    },
];

impl Named {
    /// Makes the part; a folder is there for what it keeps on disk.
    ///
    /// # Errors
    /// The index cannot be made.
    pub(crate) fn make(&self, scale: Scale, folder: &Path) -> Result<Box<dyn Part>, IndexError> {
        (self.make)(scale, folder)
    }
}

/// Runs a part once. `counted` tells callgrind to look into this function and no other, so it must stay one: never inlined, and
/// not left before the run is over.
#[inline(never)]
pub(crate) fn measured(part: &mut dyn Part) -> Result<usize, IndexError> {
    black_box(part.run())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: Scale = Scale { operations: 16, rows: 200 };

    #[test]
    fn every_part_does_all_it_should_again_and_again() {
        for named in &PARTS {
            let folder = tempfile::tempdir_in(".").expect("the crate's folder is writable");
            let mut part = named.make(TINY, folder.path()).expect("the disk takes a small index");
            for run in 0..5 {
                part.prepare().expect("the disk takes a small index");
                let done = measured(part.as_mut()).expect("the disk takes a small index");
                assert_eq!(done, TINY.operations, "{}, run {run}", named.name);
            }
        }
    }
}
