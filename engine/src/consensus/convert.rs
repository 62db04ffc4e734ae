//! The raft crate's messages to and from the wire's.

use margate_net::ids::{LogIndex, ReplicaId, ShardId, Term};
use margate_net::message::{EntryKind, PeerEntry, PeerMessage, PeerMessageKind};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

/// A message of the raft crate as it travels; `None` for kinds that never leave a replica.
pub(crate) fn to_peer(shard: ShardId, message: Message) -> Option<PeerMessage> {
    let kind = peer_kind(message.msg_type)?;
    Some(PeerMessage {
        shard,
        from: ReplicaId(message.from),
        to: ReplicaId(message.to),
        kind,
        term: Term(message.term),
        log_term: Term(message.log_term),
        index: LogIndex(message.index),
        commit: LogIndex(message.commit),
        commit_term: Term(message.commit_term),
        reject: message.reject,
        reject_hint: LogIndex(message.reject_hint),
        priority: message.priority,
        context: message.context,
        entries: message.entries.into_iter().map(to_peer_entry).collect(),
    })
}

/// A message that travelled, for the raft crate; it must have been checked by [`super::group::Group::step`].
pub(crate) fn from_peer(peer: PeerMessage) -> Message {
    let mut message = Message::default();
    message.set_msg_type(message_type(peer.kind));
    message.from = peer.from.0;
    message.to = peer.to.0;
    message.term = peer.term.0;
    message.log_term = peer.log_term.0;
    message.index = peer.index.0;
    message.commit = peer.commit.0;
    message.commit_term = peer.commit_term.0;
    message.reject = peer.reject;
    message.reject_hint = peer.reject_hint.0;
    message.priority = peer.priority;
    message.context = peer.context;
    message.entries = peer.entries.into_iter().map(from_peer_entry).collect::<Vec<_>>().into();
    message
}

/// The kind of an entry of the raft crate; `None` for the old form of membership changes, which we never make.
pub(crate) fn entry_kind(entry: &Entry) -> Option<EntryKind> {
    match entry.get_entry_type() {
        EntryType::EntryNormal => Some(EntryKind::Normal),
        EntryType::EntryConfChangeV2 => Some(EntryKind::Membership),
        EntryType::EntryConfChange => None,
    }
}

/// An entry of the raft crate.
pub(crate) fn entry(term: Term, index: LogIndex, kind: EntryKind, data: bytes::Bytes) -> Entry {
    let mut entry = Entry::default();
    entry.set_entry_type(match kind {
        EntryKind::Normal => EntryType::EntryNormal,
        EntryKind::Membership => EntryType::EntryConfChangeV2,
    });
    entry.term = term.0;
    entry.index = index.0;
    entry.data = data;
    entry
}

fn to_peer_entry(entry: Entry) -> PeerEntry {
    // The old form of membership change is never proposed here, and `Group::step` lets none in.
    let kind = entry_kind(&entry).unwrap_or(EntryKind::Membership);
    PeerEntry {
        term: Term(entry.term),
        index: LogIndex(entry.index),
        kind,
        data: entry.data,
    }
}

fn from_peer_entry(peer: PeerEntry) -> Entry {
    entry(peer.term, peer.index, peer.kind, peer.data)
}

fn peer_kind(kind: MessageType) -> Option<PeerMessageKind> {
    match kind {
        MessageType::MsgAppend => Some(PeerMessageKind::Append),
        MessageType::MsgAppendResponse => Some(PeerMessageKind::AppendResponse),
        MessageType::MsgHeartbeat => Some(PeerMessageKind::Heartbeat),
        MessageType::MsgHeartbeatResponse => Some(PeerMessageKind::HeartbeatResponse),
        MessageType::MsgRequestPreVote => Some(PeerMessageKind::PreVote),
        MessageType::MsgRequestPreVoteResponse => Some(PeerMessageKind::PreVoteResponse),
        MessageType::MsgRequestVote => Some(PeerMessageKind::Vote),
        MessageType::MsgRequestVoteResponse => Some(PeerMessageKind::VoteResponse),
        MessageType::MsgTimeoutNow => Some(PeerMessageKind::TimeoutNow),
        MessageType::MsgUnreachable
        | MessageType::MsgSnapshot
        | MessageType::MsgPropose
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp
        | MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => None,
    }
}

fn message_type(kind: PeerMessageKind) -> MessageType {
    match kind {
        PeerMessageKind::Append => MessageType::MsgAppend,
        PeerMessageKind::AppendResponse => MessageType::MsgAppendResponse,
        PeerMessageKind::Heartbeat => MessageType::MsgHeartbeat,
        PeerMessageKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        PeerMessageKind::PreVote => MessageType::MsgRequestPreVote,
        PeerMessageKind::PreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        PeerMessageKind::Vote => MessageType::MsgRequestVote,
        PeerMessageKind::VoteResponse => MessageType::MsgRequestVoteResponse,
        PeerMessageKind::TimeoutNow => MessageType::MsgTimeoutNow,
    }
}
