//! What nodes say of the room they take.

use margate_net::message::CoreStatus;
use serde::Serialize;

/// What nodes say of their disks, all cores together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sizes {
    /// Bytes in segments, those that are ready included.
    pub(crate) log_bytes: u64,
    /// Bytes in segments that are ready.
    pub(crate) log_ready_bytes: u64,
    /// Bytes of the indexes.
    pub(crate) index_bytes: u64,
    /// Times a log had to wait for a segment.
    pub(crate) segment_waits: u64,
}

impl Sizes {
    /// Of these cores.
    pub(crate) fn of(cores: &[CoreStatus]) -> Self {
        let sum = |number: fn(&CoreStatus) -> u64| cores.iter().map(number).sum();
        Self {
            log_bytes: sum(|core| core.log_bytes),
            log_ready_bytes: sum(|core| core.log_ready_bytes),
            index_bytes: sum(|core| core.index_bytes),
            segment_waits: sum(|core| core.segment_waits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::margate::cores::tests::core;

    #[test]
    fn cores_are_added_up() {
        let sized = |log_bytes| CoreStatus {
            log_bytes,
            index_bytes: 1,
            ..core(1, Vec::new())
        };
        let sizes = Sizes::of(&[sized(3), sized(4)]);
        assert_eq!((sizes.log_bytes, sizes.index_bytes, sizes.segment_waits), (7, 2, 0));
    }
}
