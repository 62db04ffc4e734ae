//! One entry through the Raft of three members. Disk and network take no time and lose nothing.

use std::collections::VecDeque;

use margate_engine::consensus::group::{Group, GroupConfig, RaftTicks, Role};
use margate_engine::consensus::window::RestoredLog;
use margate_engine::index::IndexError;
use margate_engine::shard::members::Members;
use margate_net::ids::{LogIndex, ReplicaId};
use margate_net::message::PeerMessage;

use super::log::EntryOfPuts;
use super::{Part, Scale, sample};

const MEMBERS: u64 = 3;
const ELECTION_TICKS: u32 = 10;

/// The first member leads.
pub(super) struct ThreeMembers {
    members: Vec<Group>,
    under_way: VecDeque<PeerMessage>,
    entry: EntryOfPuts,
    operations: usize,
    data: Vec<u8>,
}

impl ThreeMembers {
    pub(super) fn new(scale: Scale) -> Self {
        let ids: Vec<ReplicaId> = (1..=MEMBERS).map(ReplicaId).collect();
        let member = |id: &ReplicaId| {
            let config = GroupConfig {
                name: sample::replica(1, id.0),
                members: Members::of(ids.clone()),
                ticks: RaftTicks::of_election(ELECTION_TICKS),
                quiet_start: false,
                keeps_promises: true,
                steps_lost: false,
                preferred: *id == ReplicaId(1),
                seed: id.0,
            };
            Group::new(&config, RestoredLog::default())
        };
        let mut three = Self {
            members: ids.iter().map(member).collect(),
            under_way: VecDeque::new(),
            entry: EntryOfPuts::new(scale),
            operations: scale.operations,
            data: Vec::new(),
        };
        while three.members[0].role() != Role::Leader {
            three.members[0].tick();
            three.settle();
        }
        three
    }

    /// Until nobody has anything more to say.
    fn settle(&mut self) {
        loop {
            for member in &mut self.members {
                while let Some(progress) = member.progress() {
                    member.persisted(progress.number);
                    if let Some(last) = progress.committed.last() {
                        member.applied(LogIndex(last.index));
                    }
                    self.under_way.extend(progress.now.into_iter().chain(progress.once_durable));
                }
            }
            let Some(message) = self.under_way.pop_front() else { return };
            let to = usize::try_from(message.to.0 - 1).expect("there are three");
            self.members[to].step(message).expect("a member's message is sane");
        }
    }
}

impl Part for ThreeMembers {
    fn prepare(&mut self) -> Result<(), IndexError> {
        self.data = self.entry.data();
        Ok(())
    }

    fn run(&mut self) -> Result<usize, IndexError> {
        let data = std::mem::take(&mut self.data);
        let proposed = self.members[0].propose(data).expect("it leads, and nothing is under way");
        self.settle();
        let everywhere = self.members.iter().all(|member| member.last() == proposed);
        let done = everywhere && self.members[0].commit() == proposed;
        Ok(if done { self.operations } else { 0 })
    }
}
