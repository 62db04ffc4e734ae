//! What each number of a core is called by monitoring systems.
//!
//! The unit and, of counts, `_total` are put behind the name: `margate_log_written_bytes_total`.

use margate_net::measure::Number;

/// What a number counts, if not things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    Things,
    Bytes,
}

/// Every number, in the order of [`Number::ALL`], with its name and what it tells.
pub(super) const NUMBERS: [(Number, &str, Measured, &str); Number::ALL.len()] = [
    (Number::LogBatches, "log_batches", Measured::Things, "Batches written to the log"),
    (
        Number::LogBytes,
        "log_written",
        Measured::Bytes,
        "Bytes of batches written to the log, padding included",
    ),
    (
        Number::LogRecords,
        "log_records",
        Measured::Things,
        "Records in batches that waited in the queue",
    ),
    (Number::LogReads, "log_reads", Measured::Things, "Reads from the log"),
    (Number::LogReadBytes, "log_read", Measured::Bytes, "Bytes asked of the log by reads"),
    (
        Number::CacheHits,
        "cache_hits",
        Measured::Things,
        "Values for answers that were found in the cache",
    ),
    (
        Number::CacheMisses,
        "cache_misses",
        Measured::Things,
        "Values for answers that had to be read from the log",
    ),
    (
        Number::IndexCommits,
        "index_commits",
        Measured::Things,
        "Generations committed to the index",
    ),
    (
        Number::IndexRows,
        "index_rows",
        Measured::Things,
        "Rows in generations committed to the index",
    ),
    (
        Number::EntriesProposed,
        "raft_entries_proposed",
        Measured::Things,
        "Entries that consensus took from leaders here",
    ),
    (
        Number::EntriesDropped,
        "raft_entries_dropped",
        Measured::Things,
        "Entries that consensus did not take",
    ),
    (
        Number::EntriesApplied,
        "raft_entries_applied",
        Measured::Things,
        "Committed entries applied here",
    ),
    (
        Number::EntriesFetched,
        "raft_entries_fetched",
        Measured::Things,
        "Old entries fetched from the log for members that lag",
    ),
    (
        Number::ElectionsBegun,
        "raft_elections_begun",
        Measured::Things,
        "Elections begun here, pre-votes counted apart",
    ),
    (
        Number::LeadershipsWon,
        "raft_leaderships_won",
        Measured::Things,
        "Times a replica here began to lead",
    ),
    (
        Number::LeadershipsLost,
        "raft_leaderships_lost",
        Measured::Things,
        "Times a replica here ceased to lead",
    ),
    (
        Number::ReadRounds,
        "read_rounds",
        Measured::Things,
        "ReadIndex rounds begun, those that prolong tenure included",
    ),
    (
        Number::ReadsByTenure,
        "reads_by_tenure",
        Measured::Things,
        "Reads that tenure allowed to answer",
    ),
    (
        Number::ReadsByRound,
        "reads_by_round",
        Measured::Things,
        "Reads that a ReadIndex round allowed to answer",
    ),
    (
        Number::SegmentsReclaimed,
        "reclaim_segments",
        Measured::Things,
        "Segments of the log that came free",
    ),
    (
        Number::SegmentsUnread,
        "reclaim_segments_unread",
        Measured::Things,
        "Segments that came free without being read",
    ),
    (
        Number::ValuesCopied,
        "reclaim_values_copied",
        Measured::Things,
        "Values that reclaim copied",
    ),
    (
        Number::ValueBytesCopied,
        "reclaim_copied",
        Measured::Bytes,
        "Bytes of values that reclaim copied",
    ),
    (
        Number::DeletesCopied,
        "reclaim_deletes_copied",
        Measured::Things,
        "Deletes that reclaim copied",
    ),
    (
        Number::ValuesDamaged,
        "reclaim_values_damaged",
        Measured::Things,
        "Damaged values that reclaim met",
    ),
    (
        Number::ImagesSent,
        "images_sent",
        Measured::Things,
        "Images that a member took whole from here",
    ),
    (
        Number::ImagesInstalled,
        "images_installed",
        Measured::Things,
        "Images that came into force here",
    ),
    (
        Number::ImagesGivenUp,
        "images_given_up",
        Measured::Things,
        "Images given up here, on either side",
    ),
    (
        Number::ReplicasAdmitted,
        "replicas_admitted",
        Measured::Things,
        "Replicas made here because a leader admitted this core",
    ),
    (
        Number::RepairsAsked,
        "repairs_asked",
        Measured::Things,
        "Questions to members for values that are damaged here",
    ),
    (
        Number::RepairsGiven,
        "repairs_given",
        Measured::Things,
        "Values given to members that asked",
    ),
    (Number::RepairsTaken, "repairs_taken", Measured::Things, "Values taken from members"),
    (
        Number::RepairsGivenUp,
        "repairs_given_up",
        Measured::Things,
        "Repairs given up, for nobody had the value",
    ),
    (
        Number::SlowDiskHandovers,
        "slow_disk_handovers",
        Measured::Things,
        "Leaderships handed over because the disk did not answer",
    ),
    (
        Number::FullDiskHandovers,
        "full_disk_handovers",
        Measured::Things,
        "Leaderships handed over because the disk was nearly full",
    ),
    (
        Number::AppendsDropped,
        "raft_appends_dropped",
        Measured::Things,
        "Messages with entries dropped because the disk was full",
    ),
    (Number::Stalls, "stalls", Measured::Things, "Turns longer than admin.stall"),
    (
        Number::ConnectionsAccepted,
        "connections_accepted",
        Measured::Things,
        "Connections of clients accepted",
    ),
    (
        Number::RequestFrames,
        "request_frames",
        Measured::Things,
        "Frames of operations that came from clients",
    ),
    (Number::RequestBytes, "request", Measured::Bytes, "Bytes of frames of operations"),
    (
        Number::RequestsMalformed,
        "requests_malformed",
        Measured::Things,
        "Operations refused because their arguments make no sense",
    ),
    (
        Number::ReplyWrites,
        "reply_writes",
        Measured::Things,
        "Writes of answers to sockets",
    ),
    (Number::ReplyBytes, "reply", Measured::Bytes, "Bytes of answers written to sockets"),
    (
        Number::Connections,
        "connections",
        Measured::Things,
        "Connections of clients that are open",
    ),
    (
        Number::InboxBytes,
        "inbox",
        Measured::Bytes,
        "Bytes that came from sockets and wait for the next turn",
    ),
    (
        Number::OperationsQueued,
        "operations_queued",
        Measured::Things,
        "Writes that wait to be proposed",
    ),
    (
        Number::ReadsWaiting,
        "reads_waiting",
        Measured::Things,
        "Reads that wait to be confirmed",
    ),
    (
        Number::EntriesInFlight,
        "raft_entries_pending",
        Measured::Things,
        "Entries proposed here and not yet applied",
    ),
    (
        Number::OverlayBytes,
        "overlay",
        Measured::Bytes,
        "Bytes of rows applied and not yet handed to the index",
    ),
    (
        Number::LogQueuedBytes,
        "log_queued",
        Measured::Bytes,
        "Bytes of records that wait for a batch",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_name() {
        let named: Vec<_> = NUMBERS.iter().map(|(number, _, _, _)| *number).collect();
        assert_eq!(named, Number::ALL);
    }
}
