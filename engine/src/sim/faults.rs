//! The kinds of faults, and the rare branches they should lead to, with how often each really happened.
//!
//! Not here, on purpose: doing them (`nemesis`, `network`, `disk`, `disk_faults`, `rot`).

use std::collections::BTreeMap;
use std::fmt;

/// What can go wrong, and what should have been reached by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The only peer a node could talk to was killed and came back at once.
    BridgeKill,
    /// A client lost its link to a node.
    ClientCut,
    /// Messages of a link were held back and came all at once.
    Clog,
    /// A monotonic clock ran at another rate.
    ClockDrift,
    /// The clock of a leader ran as slowly as may be and the others' as fast, and it was cut off.
    ClocksApart,
    /// A wall clock jumped.
    ClockJump,
    /// A message was held back long enough to be overtaken.
    Delay,
    /// A message was dropped.
    Drop,
    /// A message came twice.
    Duplicate,
    /// A node came back without its index, which is rebuilt from the log.
    IndexLost,
    /// A node was killed when it had just reclaimed a segment, and came back without its index.
    IndexLostReclaiming,
    /// A crash came while a generation was being committed, which is lost.
    IndexTorn,
    /// A node was killed.
    Kill,
    /// All nodes were killed at once.
    KillAll,
    /// A node was stopped and went on later as if nothing had happened.
    Pause,
    /// Links were cut one way.
    PartitionOneWay,
    /// Links were cut both ways.
    Partition,
    /// A node came back.
    Restart,
    /// Index commits of a node were slow.
    SlowIndex,
    /// Writes of a node were slow.
    SlowDisk,
    /// A node was stopped gracefully.
    Stop,
    /// A node was stopped gracefully and did not hear what came of it.
    StopUnheard,
    /// What a node said was cut off, and what it was told came late.
    Strand,
    /// Votes and refusals of votes came when those they were about followed their old leader again.
    LateBallots,
    /// A crash left some sectors of a batch in flight.
    WriteTorn,
    /// A crash left nothing of a batch in flight.
    WriteLost,
    /// A crash left all of a batch that was never acknowledged.
    WriteSurvived,
    /// The newest generations of an index were lost, older ones found.
    IndexReverted,
    /// An index that went back so far that the log no longer held what came after it.
    IndexStale,
    /// A node whose log had lost so much that its data directory was deleted.
    LogLost,
    /// A write of the log failed: its node stopped.
    WriteError,
    /// A segment could not be prewritten: its node stopped.
    SegmentError,
    /// A commit of the index failed: its node stopped.
    CommitError,
    /// A read from the log failed.
    ReadError,
    /// A read failed while a node started: the start was refused.
    StartError,
    /// Durable bytes of a log changed while their node was down.
    RotAtRest,
    /// The last durable batch that has a successor changed while its node was down.
    RotAtEnd,
    /// Durable bytes of a log changed under a running node.
    RotRunning,
    /// A batch was found to have been written elsewhere, over what lay there.
    Misdirected,
    /// A disk was full for a while.
    DiskFull,
    /// Reached: a segment was refused by a full disk.
    SegmentRefused,
    /// Reached: a commit of the index waited for space.
    CommitPaused,
    /// Reached: a write was refused because disks were full.
    WriteRefusedFull,
    /// Reached: a follower dropped entries because its disk was full.
    AppendDroppedFull,
    /// Reached: leadership was handed over because a disk was nearly full.
    FullDiskFled,
    /// Reached: a shard got another leader.
    LeaderChanged,
    /// Reached: a generation of the index was committed.
    IndexCommitted,
    /// Reached: a start dropped a torn tail.
    TailDropped,
    /// Reached: a start deleted a segment that was not fully prewritten.
    SegmentDiscarded,
    /// Reached: entries older than the window were fetched from the log for a follower.
    EntriesFetched,
    /// Reached: leadership was handed over because a disk did not answer.
    SlowDiskFled,
    /// A node lost its data directory and got an empty one.
    Wipe,
    /// A node that was wiped got the disks back that it had before.
    OldDisk,
    /// The end of a log was lost with what it held, which all others had.
    TailLost,
    /// Reached: a replica that was a member no more was told so.
    RemovedTold,
    /// Reached: a replica heard from its leader that it had lost entries.
    LossNoticed,
    /// Reached: a core was admitted as a member.
    Admitted,
    /// Reached: an image was sent whole.
    ImageSent,
    /// Reached: an image came into force.
    ImageInstalled,
    /// Reached: an image was given up.
    ImageGivenUp,
    /// Reached: reclaim freed a segment.
    SegmentReclaimed,
    /// Reached: a segment got a new life.
    SegmentRecycled,
    /// Reached: reclaim copied a value.
    ValueRelocated,
    /// Reached: reclaim copied a delete.
    DeleteCopied,
    /// Reached: a flush waited for a segment.
    SegmentWaited,
    /// Reached: a value was read from the log.
    ValueRead,
    /// Reached: a start found damage and left replicas out.
    DamageFound,
    /// Reached: a client was told that a value or a replica is damaged.
    DamageTold,
    /// Reached: a client was refused a value that its replica has lost.
    ValueLost,
    /// Reached: a client could not learn what became of its operation.
    OutcomeUnknown,
}

/// How often each happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<Fault, u64>);

impl Fault {
    /// All of them.
    pub const ALL: [Self; 70] = [
        Self::Kill,
        Self::KillAll,
        Self::Stop,
        Self::StopUnheard,
        Self::BridgeKill,
        Self::Restart,
        Self::Pause,
        Self::Partition,
        Self::PartitionOneWay,
        Self::Strand,
        Self::LateBallots,
        Self::ClientCut,
        Self::Clog,
        Self::Drop,
        Self::Duplicate,
        Self::Delay,
        Self::ClockJump,
        Self::ClockDrift,
        Self::ClocksApart,
        Self::SlowDisk,
        Self::SlowIndex,
        Self::WriteLost,
        Self::WriteTorn,
        Self::WriteSurvived,
        Self::IndexTorn,
        Self::IndexLost,
        Self::IndexLostReclaiming,
        Self::IndexReverted,
        Self::IndexStale,
        Self::LogLost,
        Self::WriteError,
        Self::SegmentError,
        Self::CommitError,
        Self::ReadError,
        Self::StartError,
        Self::RotAtRest,
        Self::RotAtEnd,
        Self::RotRunning,
        Self::Misdirected,
        Self::DiskFull,
        Self::SegmentRefused,
        Self::CommitPaused,
        Self::WriteRefusedFull,
        Self::AppendDroppedFull,
        Self::FullDiskFled,
        Self::LeaderChanged,
        Self::IndexCommitted,
        Self::TailDropped,
        Self::SegmentDiscarded,
        Self::EntriesFetched,
        Self::Wipe,
        Self::OldDisk,
        Self::TailLost,
        Self::RemovedTold,
        Self::LossNoticed,
        Self::Admitted,
        Self::ImageSent,
        Self::ImageInstalled,
        Self::ImageGivenUp,
        Self::SegmentReclaimed,
        Self::SegmentRecycled,
        Self::ValueRelocated,
        Self::DeleteCopied,
        Self::SegmentWaited,
        Self::SlowDiskFled,
        Self::ValueRead,
        Self::DamageFound,
        Self::DamageTold,
        Self::ValueLost,
        Self::OutcomeUnknown,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BridgeKill => "bridge-kill",
            Self::ClientCut => "client-cut",
            Self::Clog => "clog",
            Self::ClockDrift => "clock-drift",
            Self::ClocksApart => "clocks-apart",
            Self::ClockJump => "clock-jump",
            Self::Delay => "delay",
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::IndexLost => "index-lost",
            Self::IndexLostReclaiming => "index-lost-reclaiming",
            Self::IndexReverted => "index-reverted",
            Self::IndexStale => "index-stale",
            Self::LogLost => "log-lost",
            Self::IndexTorn => "index-torn",
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Pause => "pause",
            Self::PartitionOneWay => "partition-one-way",
            Self::Partition => "partition",
            Self::Restart => "restart",
            Self::SlowIndex => "slow-index",
            Self::SlowDisk => "slow-disk",
            Self::Stop => "stop",
            Self::StopUnheard => "stop-unheard",
            Self::Strand => "strand",
            Self::LateBallots => "late-ballots",
            Self::WriteTorn => "write-torn",
            Self::WriteLost => "write-lost",
            Self::WriteSurvived => "write-survived",
            Self::WriteError => "write-eio",
            Self::SegmentError => "segment-eio",
            Self::CommitError => "commit-eio",
            Self::ReadError => "read-eio",
            Self::StartError => "start-eio",
            Self::LeaderChanged => "leader-changed",
            Self::IndexCommitted => "index-committed",
            Self::TailDropped => "tail-dropped",
            Self::SegmentDiscarded => "segment-discarded",
            Self::EntriesFetched => "entries-fetched",
            Self::SlowDiskFled => "slow-disk-fled",
            Self::Wipe => "wipe",
            Self::OldDisk => "old-disk",
            Self::TailLost => "tail-lost",
            Self::RemovedTold => "removed-told",
            Self::LossNoticed => "loss-noticed",
            Self::Admitted => "admitted",
            Self::ImageSent => "image-sent",
            Self::ImageInstalled => "image-installed",
            Self::ImageGivenUp => "image-given-up",
            Self::SegmentReclaimed => "segment-reclaimed",
            Self::SegmentRecycled => "segment-recycled",
            Self::ValueRelocated => "value-relocated",
            Self::DeleteCopied => "delete-copied",
            Self::SegmentWaited => "segment-waited",
            Self::ValueRead => "value-read",
            Self::RotAtRest => "rot-at-rest",
            Self::RotAtEnd => "rot-at-end",
            Self::RotRunning => "rot-running",
            Self::Misdirected => "misdirected",
            Self::DamageFound => "damage-found",
            Self::DamageTold => "damage-told",
            Self::ValueLost => "value-lost",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::DiskFull => "disk-full",
            Self::SegmentRefused => "segment-refused",
            Self::CommitPaused => "commit-paused",
            Self::WriteRefusedFull => "write-refused-full",
            Self::AppendDroppedFull => "append-dropped-full",
            Self::FullDiskFled => "full-disk-fled",
        }
    }
}

impl FaultCounts {
    /// One more.
    pub(crate) fn count(&mut self, fault: Fault) {
        self.add(fault, 1);
    }

    /// Some more.
    pub(crate) fn add(&mut self, fault: Fault, times: u64) {
        *self.0.entry(fault).or_default() += times;
    }

    /// All of another run's.
    pub fn absorb(&mut self, other: &Self) {
        other.0.iter().for_each(|(fault, times)| self.add(*fault, *times));
    }

    /// How often it happened.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for fault in Fault::ALL {
            write!(f, "{space}{}={}", fault.name(), self.of(fault))?;
            space = " ";
        }
        Ok(())
    }
}
