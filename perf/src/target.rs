//! A system under load, seen through its public client: one operation, one reply.
//!
//! Not here, on purpose: calls that carry several operations. A client may put what is queued into one
//! packet, but each operation here waits for its own answer.

use std::error::Error;
use std::fmt;
use std::future::Future;

use bytes::Bytes;

/// What margate, a peer and the tests' memory all can do.
pub(crate) trait Target: Send + Sync + 'static {
    /// Writes; durable on a quorum when it returns `Ok`. `worker` may choose a connection.
    fn put(&self, worker: usize, key: Bytes, value: Bytes) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads the value that stands, linearizably.
    fn get(&self, worker: usize, key: Bytes) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;

    /// Lists at most so many rows from the key `low` on, in the order of their keys.
    fn scan(&self, worker: usize, low: Bytes, rows: usize) -> impl Future<Output = Result<Vec<Row>, Failure>> + Send;
}

/// A key and its value.
pub(crate) type Row = (Bytes, Bytes);

/// An operation that was not acknowledged.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is known about its effect.
    pub(crate) effect: Effect,
    /// The client's own error.
    pub(crate) cause: Box<dyn Error + Send + Sync>,
}

/// What an unacknowledged operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, for certain.
    None,
    /// A write that may have happened.
    Unknown,
}

impl Failure {
    /// It changed nothing.
    pub(crate) fn none(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            effect: Effect::None,
            cause: Box::new(cause),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.effect {
            Effect::None => write!(f, "{}", self.cause)?,
            Effect::Unknown => write!(f, "outcome unknown: {}", self.cause)?,
        }
        let mut source = self.cause.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// A read that came back with something nobody wrote there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongRead {
    /// The key was loaded and is gone.
    #[error("key number {number} was loaded and is missing")]
    Missing {
        /// Which key.
        number: u64,
    },
    /// The value has another size or belongs to another key.
    #[error("key number {number} came back with {length} bytes that were not written to it")]
    Foreign {
        /// Which key.
        number: u64,
        /// Bytes that came.
        length: usize,
    },
    /// A list does not begin with its first key, although that was loaded.
    #[error("a scan from key number {number}, which was loaded, does not begin with it")]
    ScanBeginsElsewhere {
        /// Of which key.
        number: u64,
    },
    /// More rows than were asked for, or keys that do not rise.
    #[error("a scan of {asked} rows from key number {number} came back with {length} rows, or with keys that do not rise")]
    ScanOutOfOrder {
        /// From which key.
        number: u64,
        /// Rows asked for, at most.
        asked: usize,
        /// Rows that came.
        length: usize,
    },
}
