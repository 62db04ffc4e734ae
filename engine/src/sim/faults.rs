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
    /// Bytes of a live value changed in a log.
    ValueRot,
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
    /// Reached: a core that may have lost a replica without a trace did not begin under the first id that it was given.
    IdDoubted,
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
    /// Reached: reclaim freed a segment without reading it.
    SegmentUnread,
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
    /// Reached: a member was asked for a value whose record is damaged.
    RepairAsked,
    /// Reached: a damaged value was mended with what a member gave.
    RepairTaken,
    /// Reached: reclaim met a value that is damaged.
    ReclaimMetDamage,
    /// Reached: a client could not learn what became of its operation.
    OutcomeUnknown,
}

/// How often each happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<Fault, u64>);

/// All of them, in the order of reports, with their names there.
const NAMED: [(Fault, &str); 76] = [
    (Fault::Kill, "kill"),
    (Fault::KillAll, "kill-all"),
    (Fault::Stop, "stop"),
    (Fault::StopUnheard, "stop-unheard"),
    (Fault::BridgeKill, "bridge-kill"),
    (Fault::Restart, "restart"),
    (Fault::Pause, "pause"),
    (Fault::Partition, "partition"),
    (Fault::PartitionOneWay, "partition-one-way"),
    (Fault::Strand, "strand"),
    (Fault::LateBallots, "late-ballots"),
    (Fault::ClientCut, "client-cut"),
    (Fault::Clog, "clog"),
    (Fault::Drop, "drop"),
    (Fault::Duplicate, "duplicate"),
    (Fault::Delay, "delay"),
    (Fault::ClockJump, "clock-jump"),
    (Fault::ClockDrift, "clock-drift"),
    (Fault::ClocksApart, "clocks-apart"),
    (Fault::SlowDisk, "slow-disk"),
    (Fault::SlowIndex, "slow-index"),
    (Fault::WriteLost, "write-lost"),
    (Fault::WriteTorn, "write-torn"),
    (Fault::WriteSurvived, "write-survived"),
    (Fault::IndexTorn, "index-torn"),
    (Fault::IndexLost, "index-lost"),
    (Fault::IndexLostReclaiming, "index-lost-reclaiming"),
    (Fault::IndexReverted, "index-reverted"),
    (Fault::IndexStale, "index-stale"),
    (Fault::LogLost, "log-lost"),
    (Fault::WriteError, "write-eio"),
    (Fault::SegmentError, "segment-eio"),
    (Fault::CommitError, "commit-eio"),
    (Fault::ReadError, "read-eio"),
    (Fault::StartError, "start-eio"),
    (Fault::RotAtRest, "rot-at-rest"),
    (Fault::RotAtEnd, "rot-at-end"),
    (Fault::RotRunning, "rot-running"),
    (Fault::ValueRot, "value-rot"),
    (Fault::Misdirected, "misdirected"),
    (Fault::DiskFull, "disk-full"),
    (Fault::SegmentRefused, "segment-refused"),
    (Fault::CommitPaused, "commit-paused"),
    (Fault::WriteRefusedFull, "write-refused-full"),
    (Fault::AppendDroppedFull, "append-dropped-full"),
    (Fault::FullDiskFled, "full-disk-fled"),
    (Fault::LeaderChanged, "leader-changed"),
    (Fault::IndexCommitted, "index-committed"),
    (Fault::TailDropped, "tail-dropped"),
    (Fault::SegmentDiscarded, "segment-discarded"),
    (Fault::EntriesFetched, "entries-fetched"),
    (Fault::Wipe, "wipe"),
    (Fault::OldDisk, "old-disk"),
    (Fault::TailLost, "tail-lost"),
    (Fault::RemovedTold, "removed-told"),
    (Fault::IdDoubted, "id-doubted"),
    (Fault::LossNoticed, "loss-noticed"),
    (Fault::Admitted, "admitted"),
    (Fault::ImageSent, "image-sent"),
    (Fault::ImageInstalled, "image-installed"),
    (Fault::ImageGivenUp, "image-given-up"),
    (Fault::SegmentReclaimed, "segment-reclaimed"),
    (Fault::SegmentUnread, "segment-unread"),
    (Fault::SegmentRecycled, "segment-recycled"),
    (Fault::ValueRelocated, "value-relocated"),
    (Fault::DeleteCopied, "delete-copied"),
    (Fault::SegmentWaited, "segment-waited"),
    (Fault::SlowDiskFled, "slow-disk-fled"),
    (Fault::ValueRead, "value-read"),
    (Fault::DamageFound, "damage-found"),
    (Fault::DamageTold, "damage-told"),
    (Fault::ValueLost, "value-lost"),
    (Fault::RepairAsked, "repair-asked"),
    (Fault::RepairTaken, "repair-taken"),
    (Fault::ReclaimMetDamage, "reclaim-met-damage"),
    (Fault::OutcomeUnknown, "outcome-unknown"),
];

impl Fault {
    /// All of them.
    pub const ALL: [Self; NAMED.len()] = {
        let (mut all, mut at) = ([Self::Kill; NAMED.len()], 0);
        while at < all.len() {
            all[at] = NAMED[at].0;
            at += 1;
        }
        all
    };

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        let named = NAMED.iter().find(|(fault, _)| *fault == self);
        named.map_or("unnamed", |(_, name)| name)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_is_named_once() {
        // The last one's number.
        assert_eq!(NAMED.len(), Fault::OutcomeUnknown as usize + 1);
        let (faults, names): (BTreeSet<Fault>, BTreeSet<&str>) = NAMED.into_iter().unzip();
        assert_eq!((faults.len(), names.len()), (NAMED.len(), NAMED.len()));
    }
}
