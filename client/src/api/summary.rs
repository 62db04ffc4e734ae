//! What a batch writer says of many writes at once.

use bytes::Bytes;

use crate::error::Error;

/// How the writes ended that a batch writer was handed. Each is counted in one summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSummary {
    /// Writes that were executed: a quorum has them on disk.
    pub acknowledged: u64,
    /// Writes that were not executed and never will be.
    pub failed: u64,
    /// Writes that may have been executed, or may yet be.
    pub unknown: u64,
    /// The first of those that failed or are unknown, at most
    /// [`failures_max`](crate::BatchWriterConfig::failures_max) of them.
    pub failures: Vec<FailedWrite>,
}

/// A write that was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedWrite {
    /// Its key.
    pub key: Bytes,
    /// Why; [`Error::OutcomeUnknown`] if it may have been executed.
    pub error: Error,
}

impl WriteSummary {
    /// Whether every write was acknowledged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.unknown == 0
    }

    /// How many writes it speaks of.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.acknowledged + self.failed + self.unknown
    }

    /// Counts a failure, and names it if fewer than `failures_max` are and its key is known.
    pub(crate) fn fail(&mut self, key: Option<&Bytes>, error: &Error, failures_max: usize) {
        match error {
            Error::OutcomeUnknown { .. } => self.unknown += 1,
            Error::Abandoned
            | Error::Closed
            | Error::OutOfOrder(_)
            | Error::Protocol(_)
            | Error::Refused(_)
            | Error::Timeout { .. }
            | Error::Unavailable { .. } => self.failed += 1,
        }
        if let Some(key) = key
            && self.failures.len() < failures_max
        {
            self.failures.push(FailedWrite {
                key: key.clone(),
                error: error.clone(),
            });
        }
    }

    /// Adds what came later.
    pub(crate) fn add(&mut self, later: Self, failures_max: usize) {
        self.acknowledged += later.acknowledged;
        self.failed += later.failed;
        self.unknown += later.unknown;
        let room = failures_max.saturating_sub(self.failures.len());
        self.failures.extend(later.failures.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::UnknownCause;

    #[test]
    fn failures_are_all_counted_and_the_first_are_named() {
        let (mut first, mut later) = (WriteSummary::default(), WriteSummary::default());
        let unknown = Error::OutcomeUnknown {
            cause: UnknownCause::ConnectionLost,
        };
        first.fail(Some(&Bytes::from_static(b"a")), &unknown, 2);
        first.fail(None, &Error::Abandoned, 2);
        assert!(later.is_clean());
        for key in [b"b".as_slice(), b"c"] {
            later.fail(Some(&Bytes::copy_from_slice(key)), &Error::Closed, 2);
        }
        first.add(later, 2);
        let named: Vec<&[u8]> = first.failures.iter().map(|failure| failure.key.as_ref()).collect();
        assert_eq!((first.failed, first.unknown, first.writes()), (3, 1, 4));
        assert_eq!(named, [b"a", b"b"]);
        assert!(!first.is_clean());
    }
}
