//! What a core's end says about its index.
//!
//! Only what speaks of rotten bytes counts. What a new index would meet as well (no memory for the map, no file
//! descriptor, a full disk, somebody else's files) does not: to make one anew is a long replay for nothing.
//!
//! Not here, on purpose: counting (`index_trials`).

use std::io;

use heed::MdbError;

use super::core_loop::CoreFailure;
use super::node::NodeError;
use crate::core::event::Halt;
use crate::core::replay::ReplayError;
use crate::index::error::IndexError;

/// What is to be made of a start, or of the run that followed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The index has served: all that was counted is forgotten.
    Acquitted,
    /// Found damaged in use: the next start makes a new one.
    Condemned,
    /// It counts as one failed start.
    Failed,
    /// It says nothing about the index: the count is as if there had been no start.
    Innocent,
}

/// How surely an error is the fault of the index's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// The disk failed, or LMDB did and does not say why: it may pass, and it may be this file.
    Hint,
    /// None.
    Nothing,
    /// The bytes make no sense.
    Proof,
}

/// Judges the index by how the core that used it ended.
#[must_use]
pub(super) fn judge(ended: &Result<(), NodeError>) -> Verdict {
    match ended {
        Ok(()) => Verdict::Acquitted,
        Err(NodeError::Index { source, .. }) => at_start(evidence(source)),
        Err(NodeError::Replay {
            source: ReplayError::IndexStale { .. },
            ..
        }) => Verdict::Condemned,
        Err(NodeError::Replay { source, .. }) => at_start(match source {
            ReplayError::Index(error) => evidence(error),
            // The state came from a checkpoint, which a new index would read again, or from the index.
            ReplayError::State { .. } => Evidence::Hint,
            ReplayError::Scan(_)
            | ReplayError::Sync(_)
            | ReplayError::LogGone
            | ReplayError::LogLost { .. }
            | ReplayError::EndLost { .. }
            | ReplayError::IndexStale { .. } => Evidence::Nothing,
        }),
        Err(NodeError::Core { source, .. }) => in_use(match source {
            CoreFailure::IndexCommit(error) | CoreFailure::Halt(Halt::Index(error)) => evidence(error),
            CoreFailure::LogWrite(_) | CoreFailure::Segment(_) => Evidence::Nothing,
        }),
        Err(
            NodeError::Preflight(_)
            | NodeError::NotListed(_)
            | NodeError::Directory(_)
            | NodeError::Bootstrap(_)
            | NodeError::Bind(_)
            | NodeError::Executor { .. }
            | NodeError::Log { .. }
            | NodeError::SegmentSize { .. }
            | NodeError::IndexTrials { .. }
            | NodeError::Suspects { .. }
            | NodeError::Thread(_)
            | NodeError::Panicked,
        ) => Verdict::Innocent,
    }
}

const fn at_start(evidence: Evidence) -> Verdict {
    match evidence {
        Evidence::Hint | Evidence::Proof => Verdict::Failed,
        Evidence::Nothing => Verdict::Innocent,
    }
}

const fn in_use(evidence: Evidence) -> Verdict {
    match evidence {
        Evidence::Hint => Verdict::Failed,
        Evidence::Nothing => Verdict::Innocent,
        Evidence::Proof => Verdict::Condemned,
    }
}

fn evidence(error: &IndexError) -> Evidence {
    match error {
        IndexError::DamagedRow { .. } | IndexError::DamagedMeta { .. } => Evidence::Proof,
        IndexError::Lmdb { source, .. } => evidence_of_lmdb(*source),
        IndexError::Io { source, .. } => evidence_of_system(source),
        IndexError::Full { .. }
        | IndexError::NoSpace { .. }
        | IndexError::NewerFormat { .. }
        | IndexError::OtherCluster { .. }
        | IndexError::OtherDirectory { .. }
        | IndexError::MarksTooLarge { .. }
        | IndexError::AlreadyOpen => Evidence::Nothing,
    }
}

const fn evidence_of_lmdb(error: MdbError) -> Evidence {
    match error {
        // The last two: a tree deeper, or a page fuller, than LMDB ever makes one.
        MdbError::Corrupted
        | MdbError::PageNotFound
        | MdbError::Invalid
        | MdbError::VersionMismatch
        | MdbError::Incompatible
        | MdbError::CursorFull
        | MdbError::PageFull => Evidence::Proof,
        MdbError::Panic | MdbError::Problem | MdbError::BadTxn => Evidence::Hint,
        MdbError::KeyExist
        | MdbError::NotFound
        | MdbError::MapFull
        | MdbError::DbsFull
        | MdbError::ReadersFull
        | MdbError::TlsFull
        | MdbError::TxnFull
        | MdbError::MapResized
        | MdbError::BadRslot
        | MdbError::BadValSize
        | MdbError::BadDbi
        | MdbError::Other(_) => Evidence::Nothing,
    }
}

/// A sector that cannot be read, or a file system that found itself damaged; all else is about the machine.
fn evidence_of_system(error: &io::Error) -> Evidence {
    match error.raw_os_error() {
        Some(libc::EIO | libc::EUCLEAN | libc::EBADMSG) => Evidence::Hint,
        Some(_) | None => Evidence::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use margate_net::ids::CoreId;

    use super::*;
    use crate::index::marks::MetaItem;

    const CORE: CoreId = CoreId(0);

    fn lmdb(source: MdbError) -> IndexError {
        IndexError::Lmdb { doing: "reading", source }
    }

    fn system(code: i32) -> IndexError {
        IndexError::Io {
            doing: "opening",
            source: io::Error::from_raw_os_error(code),
        }
    }

    fn started(source: IndexError) -> Verdict {
        judge(&Err(NodeError::Index { core: CORE, source }))
    }

    fn ran(source: IndexError) -> Verdict {
        let source = CoreFailure::Halt(Halt::Index(source));
        judge(&Err(NodeError::Core { core: CORE, source }))
    }

    fn committed(source: IndexError) -> Verdict {
        let source = CoreFailure::IndexCommit(source);
        judge(&Err(NodeError::Core { core: CORE, source }))
    }

    #[test]
    fn damage_counts_at_start_and_condemns_in_use() {
        let damaged = || IndexError::DamagedMeta { item: MetaItem::Identity };
        for error in [damaged, || lmdb(MdbError::Corrupted), || lmdb(MdbError::PageNotFound)] {
            assert_eq!(started(error()), Verdict::Failed);
            assert_eq!(ran(error()), Verdict::Condemned);
            assert_eq!(committed(error()), Verdict::Condemned);
        }
        assert_eq!(started(lmdb(MdbError::Invalid)), Verdict::Failed);
        assert_eq!(started(lmdb(MdbError::VersionMismatch)), Verdict::Failed);
    }

    #[test]
    fn a_disk_that_fails_counts_once_whenever_it_does() {
        for error in [|| system(libc::EIO), || system(libc::EUCLEAN), || lmdb(MdbError::Panic)] {
            assert_eq!([started(error()), ran(error()), committed(error())], [Verdict::Failed; 3]);
        }
    }

    #[test]
    fn what_the_machine_lacks_is_not_the_indexs_fault() {
        for code in [libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::EACCES, libc::ENOSPC] {
            assert_eq!([started(system(code)), ran(system(code))], [Verdict::Innocent; 2], "{code}");
        }
        let full = || IndexError::Full { used: 9, map: 10 };
        for error in [full, || lmdb(MdbError::MapFull), || lmdb(MdbError::ReadersFull)] {
            assert_eq!([started(error()), ran(error())], [Verdict::Innocent; 2]);
        }
    }

    /// What it would be brought up to date from is gone for good: no further start can do better.
    #[test]
    fn an_index_older_than_its_log_is_made_anew_by_the_next_start() {
        let source = ReplayError::IndexStale { sequence: 9 };
        let ended = Err(NodeError::Replay { core: CORE, source });
        assert_eq!(judge(&ended), Verdict::Condemned);
    }

    #[test]
    fn what_is_not_about_the_index_says_nothing_of_it() {
        let lost = |core| NodeError::Core {
            core,
            source: CoreFailure::LogWrite(io::Error::from_raw_os_error(libc::EIO)),
        };
        assert_eq!(judge(&Err(lost(CORE))), Verdict::Innocent);
        assert_eq!(judge(&Err(NodeError::Panicked)), Verdict::Innocent);
        assert_eq!(judge(&Ok(())), Verdict::Acquitted);
    }
}
