//! What a recording says at its end.

use std::fmt;

use serde::Serialize;

use super::disturb::Disturbances;
use super::worker::Book;
use crate::proxy::counts::FaultCounts;

/// The counts of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HistoryReport {
    /// Operations recorded.
    pub(crate) operations: u64,
    /// Operations that were answered.
    pub(crate) answered: u64,
    /// Writes whose outcome nobody knows.
    pub(crate) unknown: u64,
    /// Operations that were not executed and reads without answer.
    pub(crate) failed: u64,
    /// Failures that no disturbance explains.
    pub(crate) errors: u64,
    /// Clients at work at the same time.
    pub(crate) clients: u16,
    /// Keys they fought for.
    pub(crate) keys: u64,
    /// What was done to the nodes.
    #[serde(flatten)]
    pub(crate) disturbances: Disturbances,
    /// What was done to the network, if there was a proxy.
    pub(crate) proxy: Option<FaultCounts>,
    /// Seconds it took.
    pub(crate) secs: f64,
    /// The seed.
    pub(crate) seed: u64,
    /// Where the history is.
    pub(crate) file: String,
}

impl HistoryReport {
    /// Takes the counts from the book.
    pub(crate) fn count(&mut self, book: &Book) {
        self.operations = book.writer.written();
        (self.answered, self.unknown, self.failed, self.errors) = (book.answered, book.unknown, book.failed, book.errors);
    }

    /// Whether something was recorded and every failure is explained.
    pub(crate) fn is_clean(&self) -> bool {
        self.answered > 0 && self.errors == 0
    }
}

impl fmt::Display for HistoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "operations {}  answered {}  unknown {}  failed {}  errors {}  clients {}  keys {}  {}  {:.1} s  in {}",
            self.operations,
            self.answered,
            self.unknown,
            self.failed,
            self.errors,
            self.clients,
            self.keys,
            self.disturbances,
            self.secs,
            self.file,
        )?;
        self.proxy.map_or(Ok(()), |counts| write!(f, "\nproxy: {counts}"))
    }
}
