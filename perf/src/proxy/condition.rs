//! What is wrong with a link right now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the side that dialled.
    Forth,
    /// To it.
    Back,
}

/// Both directions of all connections of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    /// Bytes from the side that dialled stay where they are.
    pub(super) forth_held: bool,
    /// Bytes to it stay where they are.
    pub(super) back_held: bool,
    /// Time every piece waits before it goes on.
    pub(super) delay: Duration,
    /// Connections of an earlier number are closed.
    pub(super) closed: u64,
}

impl Condition {
    /// Whether bytes stay where they are.
    pub(super) fn holds(&self, direction: Direction) -> bool {
        match direction {
            Direction::Forth => self.forth_held,
            Direction::Back => self.back_held,
        }
    }

    /// Nothing wrong; what is closed stays closed.
    pub(super) fn healed(self) -> Self {
        Self {
            closed: self.closed,
            ..Self::default()
        }
    }
}

/// One link.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// What is wrong with it.
    pub(super) condition: watch::Sender<Condition>,
    /// What is flipped in the next piece, see [`Link::flip_next`]; 0 for nothing.
    flip_forth: AtomicU64,
    flip_back: AtomicU64,
}

impl Link {
    /// The next piece in this direction gets a byte flipped; the drawn number says which, and which of its bits.
    pub(super) fn flip_next(&self, direction: Direction, drawn: u64) {
        self.flip(direction).store(drawn, Ordering::Relaxed);
    }

    /// What was drawn, if the piece at hand is the one.
    pub(super) fn take_flip(&self, direction: Direction) -> Option<u64> {
        let drawn = self.flip(direction).swap(0, Ordering::Relaxed);
        (drawn != 0).then_some(drawn)
    }

    /// Nothing is to be flipped any more.
    pub(super) fn forget_flips(&self) {
        self.flip_forth.store(0, Ordering::Relaxed);
        self.flip_back.store(0, Ordering::Relaxed);
    }

    fn flip(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Forth => &self.flip_forth,
            Direction::Back => &self.flip_back,
        }
    }
}
