//! What other members of a shard say to the driven core.
//!
//! Not here, on purpose: what they would do with its answers.

use bytes::Bytes;
use margate_net::ids::{CoreId, Incarnation, LogIndex, NodeId, ReplicaId, ShardId, Term, Version};
use margate_net::message::{EntryKind, PeerBatch, PeerEntry, PeerMessage, PeerMessageKind};
use protobuf::Message;

use super::driven::Driven;
use super::fixture::CLUSTER;
use crate::consensus::group::Role;
use crate::core::event::{Event, PeerName};
use crate::log::effects::EntryDataBuilder;
use crate::shard::members::Change;
use crate::types::{Nanos, ValueHash};

/// A member of a shard on another node, in some term.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub(super) shard: u64,
    pub(super) node: u64,
    pub(super) term: u64,
}

/// An append: entries that follow the entry `after`, given by index and term, and the leader's commit.
pub(super) struct Append {
    pub(super) after: (u64, u64),
    pub(super) entries: Vec<Bytes>,
    pub(super) commit: u64,
}

impl Peer {
    /// An entry that sets one key to itself.
    pub(super) fn put(self, key: &str, version: u64) -> Bytes {
        self.put_value(key, key.as_bytes(), version)
    }

    /// An entry that sets one key.
    pub(super) fn put_value(self, key: &str, value: &[u8], version: u64) -> Bytes {
        let mut builder = EntryDataBuilder::new(CLUSTER, ShardId(self.shard), Nanos(5));
        builder.put(key.as_bytes(), value, Version(version), ValueHash::of(value));
        builder.finish().into()
    }
}

impl Driven {
    /// Hears an append, and settles; panics unless its entries are taken.
    pub(super) fn append(&mut self, from: Peer, append: Append) {
        let (after, count) = (append.after, append.entries.len() as u64);
        let last = (after.0 + count, if count > 0 { from.term } else { after.1 });
        let event = self.append_event(from, append);
        self.hear(event);
        let replica = self.core.replicas().find(|replica| replica.name().shard.0 == from.shard);
        let group = replica.expect("it goes on").group();
        assert_eq!(group.term_at(LogIndex(last.0)), Some(Term(last.1)), "entry {} is not taken", last.0);
    }

    /// An append as an event, for a test that makes the turns itself.
    pub(super) fn append_event(&self, from: Peer, append: Append) -> Event {
        spoken(from, self.append_message(from, append))
    }

    fn append_message(&self, from: Peer, append: Append) -> PeerMessage {
        let (index, log_term) = append.after;
        let entries = append.entries.into_iter().zip(index + 1..).map(|(data, index)| PeerEntry {
            term: Term(from.term),
            index: LogIndex(index),
            kind: EntryKind::Normal,
            data,
        });
        PeerMessage {
            index: LogIndex(index),
            log_term: Term(log_term),
            commit: LogIndex(append.commit),
            entries: entries.collect(),
            ..self.message(from, PeerMessageKind::Append)
        }
    }

    /// Hears an append of changes of members, the first entries of all, and that they are committed.
    pub(super) fn change_members(&mut self, from: Peer, changes: &[Change]) {
        let entry = |(change, index): (&Change, u64)| PeerEntry {
            term: Term(from.term),
            index: LogIndex(index),
            kind: EntryKind::Membership,
            data: change.to_raft().write_to_bytes().expect("a change is small").into(),
        };
        let message = PeerMessage {
            commit: LogIndex(changes.len() as u64),
            entries: changes.iter().zip(1..).map(entry).collect(),
            ..self.message(from, PeerMessageKind::Append)
        };
        self.hear(spoken(from, message));
    }

    /// Hears a replica ask for a vote, whatever lives on its node by now.
    pub(super) fn asked_for_vote(&mut self, from: Peer, replica: ReplicaId) {
        let message = self.message(Peer { node: 2, ..from }, PeerMessageKind::PreVote);
        self.hear(spoken(from, PeerMessage { from: replica, ..message }));
    }

    /// Hears the first entries of all from a replica whose node had another when this core was made.
    pub(super) fn appended_by(&mut self, from: Peer, replica: ReplicaId, entries: Vec<Bytes>, commit: u64) {
        let append = Append {
            after: (0, 0),
            entries,
            commit,
        };
        let message = self.append_message(from, append);
        self.hear(spoken(from, PeerMessage { from: replica, ..message }));
    }

    /// Hears such a replica say that it has the first entry, or that it heard a beat.
    pub(super) fn answered_by(&mut self, from: Peer, replica: ReplicaId, kind: PeerMessageKind) {
        let message = self.message(from, kind);
        let index = LogIndex(1);
        self.hear(spoken(
            from,
            PeerMessage {
                from: replica,
                index,
                ..message
            },
        ));
    }

    /// Hears that a member has all entries up to this one.
    pub(super) fn acknowledged(&mut self, from: Peer, index: u64) {
        let message = self.message(from, PeerMessageKind::AppendResponse);
        let index = LogIndex(index);
        self.hear(spoken(from, PeerMessage { index, ..message }));
    }

    /// Hears a leader's beat.
    pub(super) fn heartbeat(&mut self, from: Peer, commit: u64) {
        self.heartbeat_naming(from, (commit, 0));
    }

    /// Hears one that names the term of the entry up to which it commits.
    pub(super) fn heartbeat_naming(&mut self, from: Peer, (commit, term): (u64, u64)) {
        let message = self.message(from, PeerMessageKind::Heartbeat);
        let (commit, commit_term) = (LogIndex(commit), Term(term));
        self.hear(spoken(
            from,
            PeerMessage {
                commit,
                commit_term,
                ..message
            },
        ));
    }

    /// Hears a member's answer to its beat.
    pub(super) fn heartbeat_answered(&mut self, from: Peer) {
        let message = self.message(from, PeerMessageKind::HeartbeatResponse);
        self.hear(spoken(from, message));
    }

    /// Hears a member that has no entry at all refuse an append that follows entry `index`.
    pub(super) fn refused_by_empty_log(&mut self, from: Peer, index: u64) {
        let refused = self.refused_event(from, index);
        self.hear(refused);
    }

    /// Hears a member that has all up to an entry refuse an append that follows a later one.
    pub(super) fn refused_at(&mut self, from: Peer, (index, has, term): (u64, u64, u64)) {
        let message = self.message(from, PeerMessageKind::AppendResponse);
        let (index, reject_hint, log_term, reject) = (LogIndex(index), LogIndex(has), Term(term), true);
        self.hear(spoken(
            from,
            PeerMessage {
                index,
                reject,
                reject_hint,
                log_term,
                ..message
            },
        ));
    }

    /// The same as an event, for a test that makes the turns itself.
    pub(super) fn refused_event(&self, from: Peer, index: u64) -> Event {
        let message = self.message(from, PeerMessageKind::AppendResponse);
        let (index, reject) = (LogIndex(index), true);
        spoken(from, PeerMessage { index, reject, ..message })
    }

    /// The core's only replica gets the votes of node 2 and leads; says in which term.
    pub(super) fn elected(&mut self) -> u64 {
        self.tick(25);
        for kind in [PeerMessageKind::PreVoteResponse, PeerMessageKind::VoteResponse] {
            let term = self.sent.iter().map(|(_, message)| message.term.0).max().expect("it campaigns");
            let voter = Peer { shard: 1, node: 2, term };
            let message = self.message(voter, kind);
            self.hear(spoken(voter, message));
        }
        self.sent.clear();
        let replica = self.core.replicas().next().expect("it runs");
        assert_eq!(replica.group().role(), Role::Leader);
        replica.group().term().0
    }

    /// Indexes of the entries sent to a node, in the order they left.
    pub(super) fn sent_entries(&self, node: u64) -> Vec<u64> {
        let to_node = self.sent.iter().filter(|(to, _)| to.node == NodeId(node));
        let entries = to_node.flat_map(|(_, message)| &message.entries);
        entries.map(|entry| entry.index.0).collect()
    }

    fn message(&self, from: Peer, kind: PeerMessageKind) -> PeerMessage {
        let members = (self.replica_on(from.shard, from.node), self.replica_on(from.shard, 1));
        PeerMessage::bare(ShardId(from.shard), members, kind, Term(from.term))
    }
}

fn spoken(from: Peer, message: PeerMessage) -> Event {
    Event::Peer {
        from: PeerName {
            node: NodeId(from.node),
            core: CoreId(0),
        },
        incarnation: Incarnation(1),
        batch: PeerBatch {
            disk: margate_net::message::DiskState::default(),
            round: 1,
            echo: 0,
            messages: vec![message],
        },
    }
}
