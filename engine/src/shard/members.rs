//! Who belongs to a shard: replicated with its state, changed only by membership entries.
//!
//! ```text
//!   admit: a learner, under an id never used before ──► replace: in for the one it replaces, jointly ──► leave: alone
//!                                                   └─► dismiss: another was admitted there since
//! ```
//! These are the only changes there are, and a change that does not fit the members at its place in the log changes
//! nothing, on every replica alike.
//!
//! Not here, on purpose: when a leader proposes them (`core::members`), Raft's view of them (`consensus::group`).

use bytes::{Buf, BufMut, Bytes};
use margate_net::ids::{CoreId, DirectoryId, NodeId, ReplicaId};
use margate_net::limits::{COUNTER_MAX, NODES_MAX};
use protobuf::{CodedInputStream, Message};
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use super::state::take_counter;

/// Where a replica lives that was admitted after the shard was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The replica.
    pub replica: ReplicaId,
    /// Its node.
    pub node: NodeId,
    /// Its core there.
    pub core: CoreId,
    /// The data directory it lives in.
    pub directory: DirectoryId,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those that vote, in the map's order: the first should lead when all are well.
    pub voters: Vec<ReplicaId>,
    /// Those that voted before the present change, while it is under way.
    pub outgoing: Vec<ReplicaId>,
    /// Those that only follow.
    pub learners: Vec<ReplicaId>,
    /// Where those live that were admitted later.
    pub homes: Vec<Home>,
    /// The highest replica id ever given out.
    pub highest: ReplicaId,
}

/// A change, as an entry carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new learner.
    Admit(Home),
    /// A learner is one no more.
    Dismiss(ReplicaId),
    /// The present change is done: those who voted before are out.
    Leave,
    /// A learner votes instead of another.
    Replace {
        /// The learner.
        new: ReplicaId,
        /// Who leaves.
        old: ReplicaId,
    },
}

const HOME_BYTES: usize = 8 + 2 + 16;

impl Members {
    /// The first members of a shard.
    #[must_use]
    pub fn of(voters: Vec<ReplicaId>) -> Self {
        let highest = voters.iter().copied().max().unwrap_or_default();
        Self {
            voters,
            highest,
            ..Self::default()
        }
    }

    /// Whether there is nobody: the replica has not heard of its shard yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Whether a change of voters is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The member that was admitted for a data directory, the last if there were several.
    #[must_use]
    pub fn of_directory(&self, directory: DirectoryId) -> Option<ReplicaId> {
        let homes = self.homes.iter().filter(|home| home.directory == directory);
        homes.map(|home| home.replica).max()
    }

    /// Whether it was one once, or was never to be one: its id was given out and it is not among them. No entry to come changes that.
    #[must_use]
    pub fn has_removed(&self, replica: ReplicaId) -> bool {
        replica <= self.highest && !self.contains(replica)
    }

    /// Whether it is one of them, a learner too.
    #[must_use]
    pub fn contains(&self, replica: ReplicaId) -> bool {
        self.all().any(|known| known == replica)
    }

    /// All of them: voters, those of a change under way twice, and learners.
    pub fn all(&self) -> impl Iterator<Item = ReplicaId> + use<'_> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied()
    }

    /// Makes a change, if it fits. Whether it did.
    pub fn change(&mut self, change: &Change) -> bool {
        match *change {
            Change::Admit(home) => {
                let fits = !self.is_joint() && home.replica > self.highest && self.homes.len() < NODES_MAX;
                if fits {
                    self.learners.push(home.replica);
                    self.homes.push(home);
                    self.highest = home.replica;
                }
                fits
            }
            Change::Dismiss(learner) => {
                let fits = !self.is_joint() && self.learners.contains(&learner);
                if fits {
                    self.learners.retain(|known| *known != learner);
                    self.homes.retain(|home| home.replica != learner);
                }
                fits
            }
            Change::Leave => {
                let fits = self.is_joint();
                let gone = std::mem::take(&mut self.outgoing);
                let stays = |replica: &ReplicaId| self.voters.contains(replica) || self.learners.contains(replica);
                self.homes.retain(|home| !gone.contains(&home.replica) || stays(&home.replica));
                fits
            }
            Change::Replace { new, old } => {
                let place = self.voters.iter().position(|voter| *voter == old);
                let Some(place) = place.filter(|_| !self.is_joint() && self.learners.contains(&new)) else {
                    return false;
                };
                self.outgoing = self.voters.clone();
                self.voters[place] = new;
                self.learners.retain(|learner| *learner != new);
                true
            }
        }
    }

    /// Raft's form of them.
    #[must_use]
    pub fn conf_state(&self) -> ConfState {
        let ids = |replicas: &[ReplicaId]| replicas.iter().map(|replica| replica.0).collect::<Vec<u64>>();
        ConfState {
            voters: ids(&self.voters),
            voters_outgoing: ids(&self.outgoing),
            learners: ids(&self.learners),
            ..Default::default()
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_ids(out, &self.voters);
        put_ids(out, &self.outgoing);
        put_ids(out, &self.learners);
        out.put_u64_le(self.highest.0);
        out.put_u32_le(u32::try_from(self.homes.len()).expect("bounded by the map's nodes"));
        for home in &self.homes {
            out.put_u64_le(home.replica.0);
            put_home(out, home);
        }
    }

    /// Whether raft takes them: somebody votes, ids are given out, nobody is twice in a role, nobody a learner who votes.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let roles = [&self.voters, &self.outgoing, &self.learners];
        let given = |id: &ReplicaId| *id > ReplicaId(0) && *id <= self.highest;
        let once = |ids: &[ReplicaId]| ids.iter().enumerate().all(|(at, id)| given(id) && !ids[..at].contains(id));
        let votes = |id: &ReplicaId| self.voters.contains(id) || self.outgoing.contains(id);
        !self.voters.is_empty() && roles.iter().all(|ids| once(ids)) && !self.learners.iter().any(votes)
    }

    pub(super) fn decode(rest: &mut &[u8]) -> Option<Self> {
        let (voters, outgoing, learners) = (take_ids(rest)?, take_ids(rest)?, take_ids(rest)?);
        let highest = ReplicaId(take_counter(rest)?);
        let count = take_count(rest)?;
        let home = |rest: &mut &[u8]| {
            let replica = ReplicaId(rest.try_get_u64_le().ok()?);
            take_home(rest, replica)
        };
        let homes = (0..count).map(|_| home(rest)).collect::<Option<_>>()?;
        Some(Self {
            voters,
            outgoing,
            learners,
            homes,
            highest,
        })
    }
}

impl Change {
    /// As the raft crate takes it.
    #[must_use]
    pub fn to_raft(self) -> ConfChangeV2 {
        let single = |kind, replica: ReplicaId| {
            let mut single = ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = replica.0;
            single
        };
        let mut raft = ConfChangeV2::default();
        match self {
            Self::Admit(home) => {
                let mut context = Vec::with_capacity(HOME_BYTES);
                put_home(&mut context, &home);
                raft.set_changes(vec![single(ConfChangeType::AddLearnerNode, home.replica)].into());
                raft.context = context.into();
            }
            Self::Dismiss(learner) => raft.set_changes(vec![single(ConfChangeType::RemoveNode, learner)].into()),
            Self::Leave => {}
            Self::Replace { new, old } => {
                raft.set_transition(ConfChangeTransition::Explicit);
                raft.set_changes(vec![single(ConfChangeType::AddNode, new), single(ConfChangeType::RemoveNode, old)].into());
            }
        }
        raft
    }

    /// What an entry's data say; nothing for anything [`Change::to_raft`] would not have made.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<(Self, ConfChangeV2)> {
        // Of a slice, or without a limit, the codec believes a length before it checks it, and reserves megabytes for it.
        let data = Bytes::copy_from_slice(data);
        let (mut raft, mut input) = (ConfChangeV2::default(), CodedInputStream::from_carllerche_bytes(&data));
        input.push_limit(data.len() as u64).ok()?;
        raft.merge_from(&mut input).ok()?;
        let kinds: Vec<_> = raft
            .get_changes()
            .iter()
            .map(|single| (single.get_change_type(), ReplicaId(single.node_id)))
            .collect();
        if kinds.iter().any(|(_, id)| id.0 > COUNTER_MAX) {
            return None;
        }
        let change = match *kinds.as_slice() {
            [] => Self::Leave,
            [(ConfChangeType::AddLearnerNode, replica)] => Self::Admit(take_whole_home(&raft.context, replica)?),
            [(ConfChangeType::RemoveNode, learner)] => Self::Dismiss(learner),
            [(ConfChangeType::AddNode, new), (ConfChangeType::RemoveNode, old)] => Self::Replace { new, old },
            _ => return None,
        };
        (change.to_raft() == raft).then_some((change, raft))
    }
}

fn put_home(out: &mut Vec<u8>, home: &Home) {
    out.put_u64_le(home.node.0);
    out.put_u16_le(home.core.0);
    out.put_u128_le(home.directory.0);
}

fn take_home(rest: &mut &[u8], replica: ReplicaId) -> Option<Home> {
    Some(Home {
        replica,
        node: NodeId(rest.try_get_u64_le().ok()?),
        core: CoreId(rest.try_get_u16_le().ok()?),
        directory: DirectoryId(rest.try_get_u128_le().ok()?),
    })
}

fn take_whole_home(mut bytes: &[u8], replica: ReplicaId) -> Option<Home> {
    take_home(&mut bytes, replica).filter(|_| bytes.is_empty())
}

fn put_ids(out: &mut Vec<u8>, ids: &[ReplicaId]) {
    out.put_u32_le(u32::try_from(ids.len()).expect("members are bounded by the map's nodes"));
    ids.iter().for_each(|id| out.put_u64_le(id.0));
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    (count <= NODES_MAX).then_some(count)
}

fn take_ids(rest: &mut &[u8]) -> Option<Vec<ReplicaId>> {
    let count = take_count(rest)?;
    (0..count).map(|_| rest.try_get_u64_le().ok().map(ReplicaId)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn home(replica: u64) -> Home {
        Home {
            replica: ReplicaId(replica),
            node: NodeId(3),
            core: CoreId(1),
            directory: DirectoryId(77),
        }
    }

    fn three() -> Members {
        Members::of(vec![ReplicaId(1), ReplicaId(2), ReplicaId(3)])
    }

    #[test]
    fn a_wiped_member_is_replaced_under_a_new_id() {
        let mut members = three();
        assert!(members.change(&Change::Admit(home(4))));
        let replace = Change::Replace {
            new: ReplicaId(4),
            old: ReplicaId(3),
        };
        assert!(members.change(&replace) && members.is_joint());
        assert!(!members.change(&Change::Admit(home(5))) && !members.change(&replace));
        assert!(members.change(&Change::Leave) && !members.change(&Change::Leave));
        assert_eq!(members.voters, [ReplicaId(1), ReplicaId(2), ReplicaId(4)]);
        assert_eq!(
            (members.of_directory(DirectoryId(77)), members.highest),
            (Some(ReplicaId(4)), ReplicaId(4))
        );
    }

    #[test]
    fn only_an_id_that_was_given_out_can_be_one_of_a_removed_member() {
        let mut members = three();
        let removed = |members: &Members| (1..7).filter(|id| members.has_removed(ReplicaId(*id))).collect::<Vec<_>>();
        assert!(removed(&members).is_empty() && removed(&Members::default()).is_empty());
        assert!(members.change(&Change::Admit(home(4))) && removed(&members).is_empty());
        let (new, old) = (ReplicaId(4), ReplicaId(3));
        assert!(members.change(&Change::Replace { new, old }));
        assert!(removed(&members).is_empty(), "it votes until the change is done");
        assert!(members.change(&Change::Leave));
        assert_eq!(removed(&members), [3]);
        assert!(members.change(&Change::Admit(home(6))));
        assert_eq!(removed(&members), [3, 5], "one that was passed over was never given out to anybody");
    }

    /// Raft ends the process over members of whom none votes.
    #[test]
    fn members_without_a_voter_are_not_sound() {
        let nobody = Members {
            voters: Vec::new(),
            learners: vec![ReplicaId(1)],
            ..three()
        };
        assert!(three().is_sound() && !nobody.is_sound());
    }

    #[test]
    fn an_id_is_never_given_twice() {
        let mut members = three();
        assert!(!members.change(&Change::Admit(home(3))));
        assert!(members.change(&Change::Admit(home(9))) && !members.change(&Change::Admit(home(9))));
    }

    #[test]
    fn raft_agrees_about_every_change() {
        let mut members = three();
        let mut tracker = raft::ProgressTracker::new(8);
        for change in members.voters.clone() {
            let mut add = ConfChangeSingle::default();
            add.set_change_type(ConfChangeType::AddNode);
            add.node_id = change.0;
            let (conf, changes) = raft::Changer::new(&tracker).simple(&[add]).expect("a first voter");
            tracker.apply_conf(conf, changes, 1);
        }
        let (new, old) = (ReplicaId(4), ReplicaId(2));
        let admit = |replica| Change::Admit(home(replica));
        for change in [
            admit(4),
            admit(5),
            Change::Dismiss(ReplicaId(5)),
            Change::Replace { new, old },
            Change::Leave,
        ] {
            let raft = change.to_raft();
            let mut changer = raft::Changer::new(&tracker);
            let next = if raft.leave_joint() {
                changer.leave_joint()
            } else if let Some(auto_leave) = raft.enter_joint() {
                changer.enter_joint(auto_leave, raft.get_changes())
            } else {
                changer.simple(raft.get_changes())
            };
            let (conf, changes) = next.expect("it fits");
            tracker.apply_conf(conf, changes, 1);
            assert!(members.change(&change));
            let (ours, theirs) = (members.conf_state(), tracker.conf().to_conf_state());
            let sorted = |ids: &[u64]| {
                let mut ids = ids.to_vec();
                ids.sort_unstable();
                ids
            };
            assert_eq!(sorted(&ours.voters), sorted(&theirs.voters), "{change:?}");
            assert_eq!(sorted(&ours.voters_outgoing), sorted(&theirs.voters_outgoing), "{change:?}");
            assert_eq!(sorted(&ours.learners), sorted(&theirs.learners), "{change:?}");
            assert!(!theirs.auto_leave && theirs.learners_next.is_empty());
        }
    }

    /// Any change, of few replicas, so that many of them fit.
    fn any_change() -> impl Strategy<Value = Change> {
        let replica = || (1..12u64).prop_map(ReplicaId);
        prop_oneof![
            (1..12u64, 0..4u128).prop_map(|(replica, directory)| Change::Admit(Home {
                directory: DirectoryId(directory),
                ..home(replica)
            })),
            replica().prop_map(Change::Dismiss),
            Just(Change::Leave),
            (replica(), replica()).prop_map(|(new, old)| Change::Replace { new, old }),
        ]
    }

    /// Every set of voters that is a quorum of these members.
    fn quorums(members: &Members) -> Vec<Vec<ReplicaId>> {
        let everyone: Vec<ReplicaId> = members.voters.iter().chain(&members.outgoing).copied().collect();
        let sets = (0u32..1 << everyone.len()).map(|set| {
            let chosen = everyone.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
            chosen.map(|(_, replica)| *replica).collect::<Vec<_>>()
        });
        let most = |of: &[ReplicaId], set: &[ReplicaId]| of.is_empty() || 2 * of.iter().filter(|id| set.contains(id)).count() > of.len();
        sets.filter(|set| most(&members.voters, set) && most(&members.outgoing, set))
            .collect()
    }

    proptest! {
        /// However members change: any two quorums, of before and after, share a member; no change but the joint one touches who
        /// votes, and it takes the place of one; ids are new, and nobody is two things.
        #[test]
        fn quorums_overlap_over_every_change(changes in proptest::collection::vec(any_change(), 1..24)) {
            let mut members = three();
            for change in changes {
                let before = members.clone();
                let fits = members.change(&change);
                prop_assert!(fits || members == before, "{change:?} does not fit and changed something");
                for old in quorums(&before) {
                    for new in quorums(&members) {
                        prop_assert!(old.iter().any(|id| new.contains(id)), "{old:?} and {new:?} after {change:?}");
                    }
                }
                let left = before.voters.iter().filter(|id| !members.voters.contains(id)).count();
                prop_assert_eq!(members.voters.len(), 3);
                prop_assert!(left <= 1 && (left == 0 || members.is_joint()), "{change:?}");
                prop_assert!(members.highest >= before.highest);
                let all: Vec<_> = members.voters.iter().chain(&members.learners).collect();
                prop_assert!(all.iter().all(|id| **id <= members.highest));
                prop_assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
                // Whoever was admitted has a home for as long as it is a member, and no longer.
                let known = |home: &Home| all.contains(&&home.replica) || members.outgoing.contains(&home.replica);
                prop_assert!(members.homes.iter().all(known));
                prop_assert!(members.learners.iter().all(|id| members.homes.iter().any(|home| home.replica == *id)));
            }
        }

        /// The replica that stands for a directory is the last admitted for it.
        #[test]
        fn a_directory_stands_for_its_last_replica(admitted in proptest::collection::vec((4..40u64, 0..3u128), 0..12)) {
            let (mut members, mut last) = (three(), std::collections::BTreeMap::new());
            for (replica, directory) in admitted {
                let directory = DirectoryId(directory);
                if members.change(&Change::Admit(Home { directory, ..home(replica) })) {
                    last.insert(directory, ReplicaId(replica));
                }
            }
            for directory in (0..4).map(DirectoryId) {
                prop_assert_eq!(members.of_directory(directory), last.get(&directory).copied());
            }
        }

        #[test]
        fn members_survive_their_bytes(changes in proptest::collection::vec(any_change(), 0..24), rest in proptest::collection::vec(any::<u8>(), 0..4)) {
            let mut members = three();
            for change in &changes {
                let _ = members.change(change);
            }
            let mut bytes = Vec::new();
            members.encode(&mut bytes);
            let whole = bytes.len();
            bytes.extend_from_slice(&rest);
            let mut left = bytes.as_slice();
            prop_assert_eq!(Members::decode(&mut left), Some(members));
            prop_assert_eq!(left, rest.as_slice());
            for cut in 0..whole {
                prop_assert_eq!(Members::decode(&mut &bytes[..cut]), None, "cut to {} of {} bytes", cut, whole);
            }
        }

        #[test]
        fn any_bytes_are_members_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
            let mut left = bytes.as_slice();
            if let Some(members) = Members::decode(&mut left) {
                let mut again = Vec::new();
                members.encode(&mut again);
                prop_assert_eq!(again.as_slice(), &bytes[..bytes.len() - left.len()]);
            }
        }

        #[test]
        fn changes_survive_their_bytes(replica in 0..=COUNTER_MAX, other in 0..=COUNTER_MAX, node in any::<u64>(), core in any::<u16>(), directory in any::<u128>()) {
            let home = Home { replica: ReplicaId(replica), node: NodeId(node), core: CoreId(core), directory: DirectoryId(directory) };
            let replace = Change::Replace { new: ReplicaId(replica), old: ReplicaId(other) };
            for change in [Change::Admit(home), Change::Dismiss(ReplicaId(other)), replace, Change::Leave] {
                let bytes = change.to_raft().write_to_bytes().expect("a change is small");
                prop_assert_eq!(Change::parse(&bytes).map(|(change, _)| change), Some(change));
            }
        }

        #[test]
        fn ids_further_than_anything_counts_are_no_change(past in COUNTER_MAX + 1..) {
            for change in [Change::Dismiss(ReplicaId(past)), Change::Replace { new: ReplicaId(past), old: ReplicaId(1) }] {
                let bytes = change.to_raft().write_to_bytes().expect("a change is small");
                prop_assert!(Change::parse(&bytes).is_none());
            }
        }

        #[test]
        fn any_bytes_are_a_change_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Change::parse(&bytes);
        }
    }
}
