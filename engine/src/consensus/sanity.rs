//! What a message must be like before raft sees it: whatever a peer sends, raft neither panics nor breaks a promise.
//!
//! Not here, on purpose: who may speak for a member (`core`), what entries do (`shard`).

use bytes::Bytes;
use margate_net::ids::{LogIndex, ReplicaId, Term};
use margate_net::limits::COUNTER_MAX;
use margate_net::message::{EntryKind, PeerMessage, PeerMessageKind};

use super::group::Group;
use crate::limits;
use crate::log::effects::EntryData;
use crate::log::limits::ENTRY_DATA_BYTES_MAX;
use crate::shard::members::Change;

/// A message from a peer was not stepped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepFault {
    /// It is meant for another incarnation of this replica.
    #[error("the message is for replica {to}, this is {here}")]
    OtherReplica {
        /// Whom it is meant for.
        to: ReplicaId,
        /// Who this is.
        here: ReplicaId,
    },
    /// This replica knows nothing yet and waits for its first image.
    #[error("this replica waits for its first image")]
    AwaitsImage,
    /// It answers what was never asked: its sender is no member.
    #[error("the sender, replica {from}, is not a member of the shard")]
    NotAMember {
        /// The sender.
        from: ReplicaId,
    },
    /// Its numbers cannot be: entries not contiguous, terms falling or above the message's, indexes out of range.
    #[error("the message's terms or indexes contradict each other: {what}")]
    Insane {
        /// Which rule it breaks.
        what: &'static str,
    },
    /// An entry's data are not what its kind says.
    #[error("entry {index} does not hold what its kind says")]
    BadEntry {
        /// The entry.
        index: LogIndex,
    },
    /// It asks for a vote, and this replica started so lately that it may have promised a leader not to give one.
    #[error("it asks for a vote {ticks} ticks too early after this replica's start")]
    TooEarly {
        /// How many more it must wait.
        ticks: usize,
    },
    /// The window of entries not yet applied is full; the leader will send again.
    #[error("the window of entries not yet applied is full with {bytes} bytes")]
    WindowFull {
        /// Bytes in it.
        bytes: usize,
    },
    /// The leader knows that this replica acknowledged entries it no longer has.
    #[error(
        "a heartbeat says that entry {commit} of term {term} is committed here, but the log ends at {last} or has another there: acknowledged entries are lost"
    )]
    LostEntries {
        /// The commit in the heartbeat.
        commit: LogIndex,
        /// That entry's term; 0 if the leader does not know it.
        term: Term,
        /// The end of this log.
        last: LogIndex,
    },
}

impl Group {
    /// Whether a message may be stepped.
    pub(super) fn check(&self, message: &PeerMessage) -> Result<(), StepFault> {
        if message.to != self.name.replica {
            return Err(StepFault::OtherReplica {
                to: message.to,
                here: self.name.replica,
            });
        }
        if self.raw.raft.prs().conf().voters().ids().is_empty() {
            return Err(StepFault::AwaitsImage);
        }
        let knows = || self.raw.raft.prs().get(message.from.0).is_some();
        if message.from == message.to || !(asks(message.kind) || knows()) {
            return Err(StepFault::NotAMember { from: message.from });
        }
        check_numbers(message)?;
        match message.kind {
            PeerMessageKind::Append => self.check_append(message),
            PeerMessageKind::Heartbeat if self.proves_loss(message) => Err(StepFault::LostEntries {
                commit: message.commit,
                term: message.commit_term,
                last: self.last(),
            }),
            // Where the old leader handed over, it has given its tenure up.
            PeerMessageKind::PreVote | PeerMessageKind::Vote if self.quiet_ticks > 0 && message.context != CAMPAIGN_TRANSFER => {
                Err(StepFault::TooEarly { ticks: self.quiet_ticks })
            }
            PeerMessageKind::AppendResponse
            | PeerMessageKind::Heartbeat
            | PeerMessageKind::HeartbeatResponse
            | PeerMessageKind::PreVote
            | PeerMessageKind::PreVoteResponse
            | PeerMessageKind::Vote
            | PeerMessageKind::VoteResponse
            | PeerMessageKind::TimeoutNow => Ok(()),
        }
    }

    /// The leader says at most what this replica has acknowledged. A log that lost its end may be as long as before: what stands there
    /// again are entries that had been replaced.
    fn proves_loss(&self, heartbeat: &PeerMessage) -> bool {
        let named = heartbeat.commit_term != Term(0);
        let other = || {
            self.term_at(heartbeat.commit)
                .is_some_and(|term| named && term != heartbeat.commit_term)
        };
        (heartbeat.commit > self.last() || other()) && heartbeat.term >= self.term() && !self.steps_lost
    }

    fn check_append(&self, message: &PeerMessage) -> Result<(), StepFault> {
        for entry in &message.entries {
            let whole = match entry.kind {
                EntryKind::Normal => entry.data.is_empty() || fits(&entry.data) && EntryData::parse(&entry.data).is_ok(),
                EntryKind::Membership => Change::parse(&entry.data).is_some(),
            };
            if !whole {
                return Err(StepFault::BadEntry { index: entry.index });
            }
        }
        let bytes = self.bytes_above(LogIndex(self.raw.raft.raft_log.applied));
        if !message.entries.is_empty() && bytes > limits::WINDOW_PINNED_BYTES_MAX {
            return Err(StepFault::WindowFull { bytes });
        }
        Ok(())
    }
}

/// What the raft crate writes into the vote requests of a member that was told to campaign.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// Whether a message needs no answer of before: who sends it may have become a member, even the leader, by entries that this replica
/// lacks, and only they can bring it those (Raft, dissertation section 4.2.2).
const fn asks(kind: PeerMessageKind) -> bool {
    match kind {
        PeerMessageKind::Append
        | PeerMessageKind::Heartbeat
        | PeerMessageKind::PreVote
        | PeerMessageKind::Vote
        | PeerMessageKind::TimeoutNow => true,
        PeerMessageKind::AppendResponse
        | PeerMessageKind::HeartbeatResponse
        | PeerMessageKind::PreVoteResponse
        | PeerMessageKind::VoteResponse => false,
    }
}

/// Whether the log takes an entry of this size.
fn fits(data: &Bytes) -> bool {
    data.len() <= ENTRY_DATA_BYTES_MAX
}

fn check_numbers(message: &PeerMessage) -> Result<(), StepFault> {
    let insane = |what| Err(StepFault::Insane { what });
    let numbers = [
        message.term.0,
        message.log_term.0,
        message.index.0,
        message.commit.0,
        message.commit_term.0,
        message.reject_hint.0,
    ];
    if numbers.iter().any(|number| *number > COUNTER_MAX) {
        return insane("a number is beyond any log");
    }
    if message.term == Term(0) {
        return insane("a message between members carries a term");
    }
    if message.kind != PeerMessageKind::Append && !message.entries.is_empty() {
        return insane("only an append carries entries");
    }
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in &message.entries {
        if entry.index != index.next() || entry.term < term || entry.term > message.term {
            return insane("entries are not contiguous or their terms fall");
        }
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}
