//! How many bytes a disk takes for each byte of a value, on each replica.
//!
//! ```text
//!   start ── fill: every key once ── rest ── overwrites until all that was there is reclaimed, twice ── overwrites, twice for each key
//!   └────────────── first fill ─────────┘                                                           └─────────── steady ───────────┘
//! ```
//! The first time makes the log as large as it gets, the second leaves it in recycled files only.
//!
//! All file systems are synced before both ends of a phase: padding, index commits, reclaim's copies and what the file system writes for itself are
//! in the count, prewriting where it happens. After the fill every row is in the index. The steady phase is cut out of a load that goes on before and
//! after: a rest would let the log become shorter, and what follows it make it longer again.
//!
//! The kernel counts a disk's bytes whoever writes them. So nothing else should run; what others wrote while nobody of ours ran is
//! printed, and so is what the nodes' own threads had written, which nobody else's writes can spoil.
//!
//! Not here, on purpose: running it (`commands/amplification.rs`).

pub(crate) mod arguments;
pub(crate) mod report;
pub(crate) mod turnover;

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::target::{Failure, Row, Target};

/// A target that counts what it acknowledges, exactly.
pub(crate) struct Counted<T> {
    inner: std::sync::Arc<T>,
    puts: AtomicU64,
}

impl<T> Counted<T> {
    /// Has acknowledged nothing yet.
    pub(crate) fn new(inner: std::sync::Arc<T>) -> Self {
        let puts = AtomicU64::new(0);
        Self { inner, puts }
    }

    /// Writes acknowledged since the last call.
    pub(crate) fn take_puts(&self) -> u64 {
        self.puts.swap(0, Ordering::Relaxed)
    }
}

impl<T: Target> Target for Counted<T> {
    async fn put(&self, worker: usize, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let written = self.inner.put(worker, key, value).await;
        self.puts.fetch_add(u64::from(written.is_ok()), Ordering::Relaxed);
        written
    }

    async fn get(&self, worker: usize, key: Bytes) -> Result<Option<Bytes>, Failure> {
        self.inner.get(worker, key).await
    }

    async fn scan(&self, worker: usize, low: Bytes, rows: usize) -> Result<Vec<Row>, Failure> {
        self.inner.scan(worker, low, rows).await
    }
}
