//! The numbers a core keeps: counts that only grow while it runs, and levels that rise and fall.

/// A number. Its code is its place in [`Number::ALL`]; a new one goes to the end of its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Number {
    /// Batches written to the log.
    LogBatches = 0,
    /// Bytes of them, padding included.
    LogBytes = 1,
    /// Records in them that waited in the queue.
    LogRecords = 2,
    /// Reads from the log.
    LogReads = 3,
    /// Bytes asked for by them.
    LogReadBytes = 4,
    /// Values found in the cache.
    CacheHits = 5,
    /// Values that had to be read from the log.
    CacheMisses = 6,
    /// Generations committed to the index.
    IndexCommits = 7,
    /// Rows in them.
    IndexRows = 8,
    /// Entries that consensus took from here.
    EntriesProposed = 9,
    /// Entries that consensus did not take; their operations were refused.
    EntriesDropped = 10,
    /// Committed entries applied, as leader or follower.
    EntriesApplied = 11,
    /// Old entries fetched from the log for members that lag.
    EntriesFetched = 12,
    /// Elections begun here, pre-votes included.
    ElectionsBegun = 13,
    /// Times a replica here began to lead.
    LeadershipsWon = 14,
    /// Times a replica here ceased to lead.
    LeadershipsLost = 15,
    /// ReadIndex rounds begun, those for tenure included.
    ReadRounds = 16,
    /// Reads answered under tenure.
    ReadsByTenure = 17,
    /// Reads answered by a round.
    ReadsByRound = 18,
    /// Segments of the log that came free.
    SegmentsReclaimed = 19,
    /// Of them, those that nobody had to read.
    SegmentsUnread = 20,
    /// Values that reclaim copied.
    ValuesCopied = 21,
    /// Bytes of them.
    ValueBytesCopied = 22,
    /// Deletes that reclaim copied.
    DeletesCopied = 23,
    /// Damaged values that reclaim met.
    ValuesDamaged = 24,
    /// Images that a member took whole from here.
    ImagesSent = 25,
    /// Images that came into force here.
    ImagesInstalled = 26,
    /// Images given up here, on either side.
    ImagesGivenUp = 27,
    /// Replicas made here because a leader admitted this core.
    ReplicasAdmitted = 28,
    /// Questions to members for values that are damaged here.
    RepairsAsked = 29,
    /// Values given to members that asked.
    RepairsGiven = 30,
    /// Values taken from members.
    RepairsTaken = 31,
    /// Repairs given up, for nobody had the value.
    RepairsGivenUp = 32,
    /// Leaderships handed over because the disk did not answer.
    SlowDiskHandovers = 33,
    /// Leaderships handed over because the disk was nearly full.
    FullDiskHandovers = 34,
    /// Messages with entries dropped because the disk was full.
    AppendsDropped = 35,
    /// Turns longer than the bound for that.
    Stalls = 36,
    /// Connections of clients accepted.
    ConnectionsAccepted = 37,
    /// Frames of operations that came from clients.
    RequestFrames = 38,
    /// Bytes of their bodies and payloads.
    RequestBytes = 39,
    /// Operations refused because their arguments make no sense.
    RequestsMalformed = 40,
    /// Writes of answers to sockets.
    ReplyWrites = 41,
    /// Bytes of them.
    ReplyBytes = 42,
    /// Connections of clients that are open.
    Connections = 43,
    /// Bytes that came from sockets and wait for the next turn.
    InboxBytes = 44,
    /// Writes that wait to be proposed.
    OperationsQueued = 45,
    /// Reads that wait to be confirmed.
    ReadsWaiting = 46,
    /// Entries proposed here and not yet applied.
    EntriesInFlight = 47,
    /// Bytes of rows applied and not yet handed to the index.
    OverlayBytes = 48,
    /// Bytes of records that wait for a batch.
    LogQueuedBytes = 49,
}

impl Number {
    /// All of them: counts first.
    pub const ALL: [Self; 50] = [
        Self::LogBatches,
        Self::LogBytes,
        Self::LogRecords,
        Self::LogReads,
        Self::LogReadBytes,
        Self::CacheHits,
        Self::CacheMisses,
        Self::IndexCommits,
        Self::IndexRows,
        Self::EntriesProposed,
        Self::EntriesDropped,
        Self::EntriesApplied,
        Self::EntriesFetched,
        Self::ElectionsBegun,
        Self::LeadershipsWon,
        Self::LeadershipsLost,
        Self::ReadRounds,
        Self::ReadsByTenure,
        Self::ReadsByRound,
        Self::SegmentsReclaimed,
        Self::SegmentsUnread,
        Self::ValuesCopied,
        Self::ValueBytesCopied,
        Self::DeletesCopied,
        Self::ValuesDamaged,
        Self::ImagesSent,
        Self::ImagesInstalled,
        Self::ImagesGivenUp,
        Self::ReplicasAdmitted,
        Self::RepairsAsked,
        Self::RepairsGiven,
        Self::RepairsTaken,
        Self::RepairsGivenUp,
        Self::SlowDiskHandovers,
        Self::FullDiskHandovers,
        Self::AppendsDropped,
        Self::Stalls,
        Self::ConnectionsAccepted,
        Self::RequestFrames,
        Self::RequestBytes,
        Self::RequestsMalformed,
        Self::ReplyWrites,
        Self::ReplyBytes,
        Self::Connections,
        Self::InboxBytes,
        Self::OperationsQueued,
        Self::ReadsWaiting,
        Self::EntriesInFlight,
        Self::OverlayBytes,
        Self::LogQueuedBytes,
    ];

    /// Whether it rises and falls.
    #[must_use]
    pub const fn is_level(self) -> bool {
        self as u8 >= Self::Connections as u8
    }
}

/// Every number's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers([u64; Number::ALL.len()]);

impl Numbers {
    /// A number's value.
    #[must_use]
    pub const fn get(&self, number: Number) -> u64 {
        self.0[number as usize]
    }

    /// Notes a number's value.
    pub const fn set(&mut self, number: Number, value: u64) {
        self.0[number as usize] = value;
    }

    /// All values, in the order of [`Number::ALL`].
    #[must_use]
    pub const fn values(&self) -> &[u64] {
        &self.0
    }

    /// From values in that order; nothing if there are more or fewer.
    #[must_use]
    pub fn from_values(values: impl ExactSizeIterator<Item = u64>) -> Option<Self> {
        let mut made = Self::default();
        if values.len() != made.0.len() {
            return None;
        }
        made.0.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        Some(made)
    }

    /// How far counts have grown since an earlier look; levels as they are now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut between = self.clone();
        for number in Number::ALL.into_iter().filter(|number| !number.is_level()) {
            between.set(number, self.get(number).saturating_sub(earlier.get(number)));
        }
        between
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self([0; Number::ALL.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_stands_at_its_place() {
        for (number, place) in Number::ALL.into_iter().zip(0..) {
            assert_eq!(number as usize, place, "{number:?}");
        }
        let levels = Number::ALL.into_iter().skip_while(|number| !number.is_level());
        assert!(levels.clone().all(Number::is_level) && levels.count() == 7);
    }
}
