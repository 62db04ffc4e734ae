//! Which replica's raft is being called on this thread, for whoever hears of a panic: the raft crate has no other way to say that
//! something cannot be.
//!
//! Not here, on purpose: what becomes of it (`runtime/panics.rs`).

use std::cell::Cell;

use crate::types::ReplicaName;

thread_local! {
    static CALLED: Cell<Option<ReplicaName>> = const { Cell::new(None) };
}

/// While it lives, what happens on this thread happens to its replica.
#[must_use]
#[derive(Debug)]
pub(crate) struct Calling {
    outer: Option<ReplicaName>,
}

impl Calling {
    /// This replica's raft is about to be called.
    pub(crate) fn new(name: ReplicaName) -> Self {
        Self {
            outer: CALLED.replace(Some(name)),
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        CALLED.set(self.outer);
    }
}

/// The replica whose raft is being called on this thread, if any is.
#[must_use]
pub(crate) fn called() -> Option<ReplicaName> {
    CALLED.get()
}

#[cfg(test)]
mod tests {
    use margate_net::ids::{ReplicaId, ShardId};

    use super::*;

    fn name(shard: u64) -> ReplicaName {
        ReplicaName {
            shard: ShardId(shard),
            replica: ReplicaId(1),
        }
    }

    #[test]
    fn the_innermost_call_counts_and_a_panic_ends_it() {
        assert_eq!(called(), None);
        let outer = Calling::new(name(1));
        {
            let _inner = Calling::new(name(2));
            assert_eq!(called(), Some(name(2)));
        }
        assert_eq!(called(), Some(name(1)));
        drop(outer);
        let unwound = std::panic::catch_unwind(|| {
            let _calling = Calling::new(name(3));
            panic!("as raft does");
        });
        assert!(unwound.is_err());
        assert_eq!(called(), None);
    }
}
