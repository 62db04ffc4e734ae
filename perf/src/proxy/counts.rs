//! How often what was done to links.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters that pumps and dice add to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: AtomicU64,
    pub(super) drops: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) delays: AtomicU64,
    pub(super) one_way: AtomicU64,
    pub(super) half_open: AtomicU64,
    pub(super) flips: AtomicU64,
}

/// What was done up to some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FaultCounts {
    /// Links there were: who dialled whom.
    pub(crate) links: usize,
    /// Connections made.
    pub(crate) connections: u64,
    /// Times a link's connections were closed.
    pub(crate) drops: u64,
    /// Connections closed by that.
    pub(crate) closed: u64,
    /// Times a link was slow.
    pub(crate) delays: u64,
    /// Times one direction of a link was cut.
    pub(crate) one_way: u64,
    /// Times both were, with connections left open.
    pub(crate) half_open: u64,
    /// Bytes flipped.
    pub(crate) flips: u64,
}

impl Counts {
    pub(super) fn read(&self, links: usize) -> FaultCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FaultCounts {
            links,
            connections: read(&self.connections),
            drops: read(&self.drops),
            closed: read(&self.closed),
            delays: read(&self.delays),
            one_way: read(&self.one_way),
            half_open: read(&self.half_open),
            flips: read(&self.flips),
        }
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "links {}  connections {}  drops {} (closed {})  delays {}  one-way {}  half-open {}  flips {}",
            self.links, self.connections, self.drops, self.closed, self.delays, self.one_way, self.half_open, self.flips,
        )
    }
}
