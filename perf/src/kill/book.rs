//! The book all workers write into: ledger, journal and outages behind one lock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use margate_net::ids::Version;

use super::journal::Journal;
use super::ledger::{Before, Begun, Found, Ledger};
use super::outage::Outages;
use super::value::Values;
use super::violation::Standing;

/// What is written down of a run.
pub(crate) struct Book {
    pages: Mutex<Pages>,
    values: Values,
    shard_of_key: Vec<usize>,
}

/// The parts of the book.
pub(crate) struct Pages {
    /// What must be true.
    pub(crate) ledger: Ledger,
    /// What was done.
    pub(crate) journal: Journal,
    /// What was not to be had.
    pub(crate) outages: Outages,
    /// Operations acknowledged, reads too.
    pub(crate) reads: u64,
    /// Failures that no kill explains.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) first_error: Option<margate_client::Error>,
}

impl Book {
    /// An empty book; `shard_of_key` says which shard owns each key.
    pub(crate) fn new(workers: usize, values: Values, shard_of_key: Vec<usize>, journal: Journal) -> Self {
        let shards = shard_of_key.iter().max().map_or(0, |last| last + 1);
        Self {
            pages: Mutex::new(Pages {
                ledger: Ledger::new(shard_of_key.len(), workers),
                journal,
                outages: Outages::new(shards),
                reads: 0,
                errors: 0,
                first_error: None,
            }),
            values,
            shard_of_key,
        }
    }

    /// Opens the book.
    pub(crate) fn open(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.shard_of_key.len()
    }

    /// A worker is about to write; what it writes.
    pub(crate) fn begin(&self, worker: usize, key: usize) -> (Begun, Bytes) {
        let mut pages = self.open();
        let begun = pages.ledger.begin(worker, key);
        pages.journal.begun(begun);
        (begun, self.values.make(key as u64, begun.attempt))
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledged(&self, begun: Begun, value: &[u8], version: Version, before: Before) {
        let mut pages = self.open();
        pages.journal.acknowledged(begun, version, value);
        pages.ledger.acknowledged(begun, version, before);
        pages.outages.acknowledged(self.shard_of_key[begun.key], Instant::now());
    }

    /// A read under load was answered.
    pub(crate) fn read(&self, key: usize, floor: Option<Standing>, found: Found) {
        let mut pages = self.open();
        pages.reads += 1;
        pages.ledger.read_under_load(key, floor, found);
        pages.outages.acknowledged(self.shard_of_key[key], Instant::now());
    }

    /// Whose value this is.
    pub(crate) fn found(&self, key: usize, value: Option<(Version, &[u8])>) -> Found {
        let Some((version, value)) = value else {
            return Found::Missing;
        };
        let attempt = self.values.read(key as u64, value);
        attempt.map_or(Found::Foreign(version), |attempt| Found::Value(Standing { version, attempt }))
    }

    /// Whose value stood before.
    pub(crate) fn before(&self, key: usize, value: Option<&[u8]>) -> Before {
        let Some(value) = value else {
            return Before::Missing;
        };
        self.values.read(key as u64, value).map_or(Before::Foreign, Before::Value)
    }
}
