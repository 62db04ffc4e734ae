//! What a core does about disks that are full, its own and its peers', and about its own when it does not answer.
//!
//! A leader takes all writes while a quorum is above its watermarks, deletes while a quorum can append anything, and none beyond that.
//! A member that is full takes no more entries (its leader sends them again) and no image; its reclaim goes on. A leader that is low
//! hands over to a member that is not.
//!
//! Not here, on purpose: when a disk is low or full (`room`), how space comes free (`reclaim`).

use margate_net::ids::ReplicaId;
use margate_net::message::{DiskRoom, DiskState, WritesTaken};

use super::event::{Effect, Effects, PeerName};
use super::machine::{Core, owner};
use crate::index::store::IndexReader;
use crate::shard::members::Members;
use crate::types::Nanos;

impl<R: IndexReader> Core<R> {
    /// The file system has so many free bytes.
    pub(super) fn disk_measured(&mut self, bytes: u64) {
        self.room.measured(bytes, self.log.room());
    }

    /// All that was taken is queued or written; says so if the disk has become shorter of room, or not short any more.
    pub(super) fn settle_room(&mut self) {
        self.room.settle(self.log.room());
        let DiskState { free_bytes, room } = self.room.state();
        let before = std::mem::replace(&mut self.room_told, room);
        if room > before {
            tracing::warn!(free_bytes, ?room, "the disk is nearly full: free space, or delete keys");
        } else if room < before {
            tracing::info!(free_bytes, ?room, "the disk has more room again");
        }
    }

    /// The disk has no space for a segment.
    pub(super) fn segment_refused(&mut self, now: Nanos, number: u32) {
        self.log.segment_refused(number);
        self.reclaim.released(Some(number));
        if !self.room.is_low() {
            tracing::warn!(
                segment = number,
                "the disk has no space for a segment, whatever is free; trying again"
            );
        }
        self.room.refused(now, self.log.room());
    }

    /// Says which writes each leader here takes; those that wait and are no more among them are refused.
    pub(super) fn judge_writes(&mut self, out: &mut Effects) {
        let own = self.room.state();
        let short = own.room != DiskRoom::Ample || self.peers.any_is_short();
        if !short && !std::mem::take(&mut self.writes_limited) {
            return;
        }
        self.writes_limited = short;
        let mut answers = Vec::new();
        for (shard, running) in &mut self.running {
            let replica = &mut running.replica;
            let here = replica.name().replica;
            let disk_of = |member: ReplicaId| {
                if member == here {
                    Some(own)
                } else {
                    self.peers.disk_of(*shard, member)
                }
            };
            let (writes, free) = if replica.leads() {
                writes_taken(own.room, &replica.state().members, disk_of)
            } else {
                (WritesTaken::All, 0)
            };
            replica.take_writes(writes, free, &mut answers);
            let owner = owner(replica);
            answers
                .drain(..)
                .for_each(|answer| self.values.deliver(owner, answer, &mut self.tickets, out));
        }
    }

    /// Judged once per tick and after all events of the turn: the flush may have returned with them.
    pub(super) fn flee_slow_disk(&mut self, now: Nanos) {
        let patience = self.flush_patience;
        let since = self.flushing_since.filter(|since| now.since(*since) >= patience);
        let Some(since) = since.filter(|_| patience > Nanos(0)) else {
            return;
        };
        for (shard, running) in &mut self.running {
            let works = |replica| self.peers.has_written_since(*shard, replica, since);
            if running.replica.flee_disk(works) {
                let name = running.replica.name();
                tracing::warn!(%name, "the disk does not answer: leadership is handed over");
                self.counters.slow_disk_handovers += 1;
            }
        }
    }

    /// What this disk has no room for is led by members that have.
    pub(super) fn flee_full_disk(&mut self) {
        if !self.room.is_low() {
            return;
        }
        for (shard, running) in &mut self.running {
            let ample = |member| self.peers.disk_of(*shard, member).is_some_and(|disk| disk.room == DiskRoom::Ample);
            if running.replica.flee_disk(ample) {
                let name = running.replica.name();
                tracing::warn!(%name, "the disk is nearly full: leadership is handed over");
                self.counters.full_disk_handovers += 1;
            }
        }
    }

    /// Asks for segments as far as the disk has room for them.
    pub(super) fn want_segments(&mut self, now: Nanos, out: &mut Effects) {
        let most = self.room.segments(now);
        if most > 0 && !self.log.lacks_segments() {
            // Whatever was refused, old segments have taken its place.
            self.room.made();
        }
        let wanted = self.log.segments_wanted(most).into_iter();
        wanted.for_each(|number| out.push(Effect::PrepareSegment { number }));
        if most == 0
            && let Some((from, to)) = self.log.close_gap()
        {
            out.push(Effect::RecycleSegment { from, to });
        }
    }

    /// Whether a peer's entries may be appended here.
    pub(super) fn takes_entries(&mut self, bytes: usize) -> bool {
        let takes = bytes == 0 || self.room.take(bytes as u64, self.log.room());
        self.counters.appends_dropped += u64::from(!takes);
        takes
    }

    /// A peer cannot be reached: what it said of its disk is no more known.
    pub(super) fn forget_disk(&mut self, peer: PeerName) {
        self.peers.forget_disk(peer);
    }
}

/// Which writes a leader takes, and the free bytes of the member that has least.
fn writes_taken(own: DiskRoom, members: &Members, disk_of: impl Fn(ReplicaId) -> Option<DiskState>) -> (WritesTaken, u64) {
    let quorums = [&members.voters, &members.outgoing];
    // A member that was not heard of is in nobody's way until another is short; it is no help then.
    let lacks_quorum = |limit: DiskRoom| {
        quorums.iter().filter(|voters| !voters.is_empty()).any(|voters| {
            let rooms = || voters.iter().filter_map(|voter| disk_of(*voter)).map(|disk| disk.room);
            rooms().any(|room| room >= limit) && rooms().filter(|room| *room < limit).count() <= voters.len() / 2
        })
    };
    let writes = if own == DiskRoom::Full || lacks_quorum(DiskRoom::Full) {
        WritesTaken::None
    } else if lacks_quorum(DiskRoom::Low) {
        WritesTaken::Deletes
    } else {
        WritesTaken::All
    };
    let disks = quorums.into_iter().flatten().filter_map(|voter| disk_of(*voter));
    let least = disks.filter(|disk| disk.room != DiskRoom::Ample).map(|disk| disk.free_bytes).min();
    (writes, least.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DiskRoom::{Ample, Full, Low};
    use WritesTaken::{All, Deletes};

    /// Which writes the first of these members takes.
    fn taken(rooms: &[Option<DiskRoom>], outgoing: &[usize]) -> WritesTaken {
        let id = |at: usize| ReplicaId(at as u64 + 1);
        let members = Members {
            voters: (0..rooms.len()).filter(|at| !outgoing.contains(at)).map(id).collect(),
            outgoing: outgoing.iter().map(|at| id(*at)).collect(),
            ..Members::default()
        };
        let disk_of = |member: ReplicaId| {
            let room = rooms.iter().zip(1..).find(|(_, id)| *id == member.0).and_then(|(room, _)| *room)?;
            Some(DiskState {
                free_bytes: member.0,
                room,
            })
        };
        writes_taken(rooms[0].expect("a leader knows its own disk"), &members, disk_of).0
    }

    #[test]
    fn a_quorum_decides() {
        let known = |rooms: &[DiskRoom]| taken(&rooms.iter().copied().map(Some).collect::<Vec<_>>(), &[]);
        assert_eq!(known(&[Ample, Ample, Ample]), All);
        assert_eq!(known(&[Ample, Full, Ample]), All);
        assert_eq!(known(&[Low, Ample, Ample]), All);
        assert_eq!(known(&[Ample, Low, Low]), Deletes);
        assert_eq!(known(&[Low, Full, Ample]), Deletes);
        assert_eq!(known(&[Low, Full, Full]), WritesTaken::None);
        assert_eq!(
            known(&[Full, Ample, Ample]),
            WritesTaken::None,
            "a leader appends to its own log first"
        );
        assert_eq!(known(&[Low]), Deletes);
    }

    #[test]
    fn a_member_nobody_hears_is_in_the_way_only_when_another_is_short() {
        assert_eq!(taken(&[Some(Ample), None, None], &[]), All);
        assert_eq!(taken(&[Some(Ample), Some(Low), None], &[]), Deletes);
        assert_eq!(taken(&[Some(Ample), Some(Full), None], &[]), WritesTaken::None);
        assert_eq!(taken(&[Some(Ample), Some(Ample), None], &[]), All);
    }

    #[test]
    fn a_joint_configuration_needs_both_quorums() {
        let rooms = [Some(Ample), Some(Ample), Some(Ample), Some(Low)];
        assert_eq!(taken(&rooms, &[3]), Deletes);
        assert_eq!(taken(&[Some(Ample), Some(Ample), Some(Low), Some(Ample)], &[3]), All);
    }
}
