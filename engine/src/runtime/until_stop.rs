//! A log whose scan ends when the node is told to stop: a long replay must not outlive the patience of who asked.
//!
//! Nothing is lost by it: what replay has committed to the index stays, the rest is replayed by the next start.
//!
//! Not here, on purpose: a stop while the node serves (`core_loop`).

use super::node::{NodeError, StopHandle};
use crate::core::replay::ReplayError;
use crate::log::scan::{ReadFault, ReadSegments, ScanError, SyncFault, SyncSegments};

/// No file system says this of a read.
const STOPPED: i32 = libc::ECANCELED;

/// Segments that are read until the stop.
#[derive(Debug)]
pub(super) struct UntilStop<'a, S> {
    segments: &'a mut S,
    stop: &'a StopHandle,
}

impl<'a, S: ReadSegments> UntilStop<'a, S> {
    pub(super) const fn new(segments: &'a mut S, stop: &'a StopHandle) -> Self {
        Self { segments, stop }
    }
}

impl<S: ReadSegments> ReadSegments for UntilStop<'_, S> {
    fn segments(&self) -> Vec<u32> {
        self.segments.segments()
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        self.segments.segment_bytes(segment)
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        if self.stop.is_requested() {
            let code = STOPPED;
            return Err(ReadFault::System { segment, offset, code });
        }
        self.segments.read(segment, offset, buffer)
    }
}

impl<S: SyncSegments> SyncSegments for UntilStop<'_, S> {
    fn sync(&mut self) -> Result<(), SyncFault> {
        self.segments.sync()
    }
}

/// Whether a core ended because its replay was told to stop.
#[must_use]
pub(super) const fn is_stopped_replay(error: &NodeError) -> bool {
    matches!(
        error,
        NodeError::Replay {
            source: ReplayError::Scan(ScanError::Read(ReadFault::System { code: STOPPED, .. })),
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use margate_net::ids::CoreId;

    use super::*;

    /// One segment of zeros.
    struct Zeros;

    impl ReadSegments for Zeros {
        fn segments(&self) -> Vec<u32> {
            vec![1]
        }

        fn segment_bytes(&self, _: u32) -> u64 {
            4_096
        }

        fn read(&mut self, _: u32, _: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
            buffer.fill(0);
            Ok(())
        }
    }

    #[test]
    fn a_stop_ends_the_scan_and_is_told_from_a_failing_disk() {
        let (stop, mut zeros, mut buffer) = (StopHandle::default(), Zeros, [1; 8]);
        let mut log = UntilStop::new(&mut zeros, &stop);
        assert_eq!((log.segments(), log.segment_bytes(1)), (vec![1], 4_096));
        log.read(1, 0, &mut buffer).expect("nobody has stopped it");
        assert_eq!(buffer, [0; 8]);
        stop.stop();
        let fault = log.read(1, 0, &mut buffer).expect_err("it was stopped");
        let ended = |fault| NodeError::Replay {
            core: CoreId(0),
            source: ReplayError::Scan(ScanError::Read(fault)),
        };
        assert!(is_stopped_replay(&ended(fault)));
        let (segment, offset, code) = (1, 0, libc::EIO);
        assert!(!is_stopped_replay(&ended(ReadFault::System { segment, offset, code })));
    }
}
