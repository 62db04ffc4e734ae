//! What a core's disk has lost of what was durable, as only the simulation knows it: whom a start may take for
//! damaged, whom it must, and how often a client may hear of damage that is none.
//!
//! Not here, on purpose: losing it (`rot`), and what follows for clients (`client`).

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hurt {
    /// Reads that failed and that no client has heard of yet.
    failed_reads: u64,
}

impl Hurt {
    /// A read from the log failed, though nothing is lost.
    pub(crate) fn read_failed(&mut self) {
        self.failed_reads += 1;
    }

    /// A client hears of damage. Whether a read that failed explains it; one explains one answer.
    pub(crate) fn explain_by_read(&mut self) -> bool {
        let explained = self.failed_reads > 0;
        self.failed_reads = self.failed_reads.saturating_sub(1);
        explained
    }
}
