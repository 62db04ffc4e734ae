//! What is wrong with a link right now.

use std::sync::atomic::{AtomicBool, Ordering};
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
    flip_forth: AtomicBool,
    flip_back: AtomicBool,
}

impl Link {
    /// The next piece in this direction gets a byte flipped.
    pub(super) fn flip_next(&self, direction: Direction) {
        self.flip(direction).store(true, Ordering::Relaxed);
    }

    /// Whether the piece at hand is the one.
    pub(super) fn take_flip(&self, direction: Direction) -> bool {
        self.flip(direction).swap(false, Ordering::Relaxed)
    }

    /// Nothing is to be flipped any more.
    pub(super) fn forget_flips(&self) {
        self.flip_forth.store(false, Ordering::Relaxed);
        self.flip_back.store(false, Ordering::Relaxed);
    }

    fn flip(&self, direction: Direction) -> &AtomicBool {
        match direction {
            Direction::Forth => &self.flip_forth,
            Direction::Back => &self.flip_back,
        }
    }
}
