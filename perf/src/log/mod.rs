//! The log alone, beside another log and beside the bare disk.
//!
//! Each system keeps so many writers busy with one append each, every append durable before its writer's next one. Our log's writers are
//! appends under way on its one executor, as operations are on a core; raft-engine's are threads, as it is made for. Both logs lie in
//! files that were written full before the first append, and recycle them.
//!
//! `ours` drives our log, `peers/raft_engine.rs` the other one, `line` is what a turn prints.
//!
//! Not here, on purpose: whose turn it is (`commands/log.rs`), a write path of our own: it is the engine's.

pub(crate) mod arguments;
pub(crate) mod line;
pub(crate) mod ours;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Full files of a log that are kept before the oldest is recycled.
pub(crate) const FILES_KEPT: u32 = 2;
/// Bytes that values are cut from: far more than any compressor's window of a block.
const POOL_BYTES: usize = 4 << 20;

/// One turn of one system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    /// A new folder.
    pub(crate) folder: &'a Path,
    /// Appends under way at any instant.
    pub(crate) writers: usize,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// Bytes of each file of the log.
    pub(crate) file_bytes: u32,
    /// Time before counting starts.
    pub(crate) warmup: Duration,
    /// Time that counts.
    pub(crate) window: Duration,
}

/// Values that do not compress, cut from one pool: making one costs next to nothing, to both systems the same.
pub(crate) struct ValuePool {
    pool: Bytes,
    bytes: usize,
    dice: StdRng,
}

impl ValuePool {
    /// Values of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut dice = StdRng::seed_from_u64(1);
        let mut pool = vec![0; POOL_BYTES + bytes];
        dice.fill_bytes(&mut pool);
        Self {
            pool: pool.into(),
            bytes,
            dice,
        }
    }

    /// One of them.
    pub(crate) fn draw(&mut self) -> Bytes {
        let at = self.dice.random_range(0..POOL_BYTES);
        self.pool.slice(at..at + self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_differ() {
        let mut pool = ValuePool::new(256);
        let (one, other) = (pool.draw(), pool.draw());
        assert_eq!((one.len(), other.len()), (256, 256));
        assert_ne!(one, other);
    }
}
