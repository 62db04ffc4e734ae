//! The client's clock and dice, on which the pure core never lays hands.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::moment::Moment;

/// Tells the time since it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(super) fn now(&self) -> Moment {
        Moment(0).plus(self.origin.elapsed())
    }

    /// The same moment in the runtime's words.
    pub(super) fn instant(&self, moment: Moment) -> Instant {
        let span = Moment(0).until(moment);
        // A moment too far for the runtime's clock is as good as a year away.
        self.origin.checked_add(span.min(FAR)).unwrap_or(self.origin)
    }
}

/// Random enough to spread retries; nothing secret depends on it.
#[derive(Debug)]
pub(super) struct Dice {
    state: AtomicU64,
}

impl Dice {
    /// Seeded by the standard library's own randomness, differently in every client.
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU64::new(RandomState::new().hash_one(0)),
        }
    }

    /// The next number (splitmix64).
    pub(super) fn roll(&self) -> u64 {
        let mut mixed = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

const FAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3_600);
