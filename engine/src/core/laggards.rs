//! Old entries for members that lag: raft wants what the window has let go, the log still has it.
//!
//! One fetch per shard at a time. It starts at the nearest noted batch at or below the first entry wanted and
//! reads forward; of what it meets it takes only entries whose term is the one the window remembers, so that
//! entries a later leader replaced are passed over.
//!
//! An entry that cannot be read is as good as truncated, with all before it: raft then finds that the member needs an image.

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_net::ids::{LogIndex, ShardId};
use margate_net::message::PeerEntry;
use raft::GetEntriesContext;

use super::event::{Effects, LogReadFault, ReadTicket};
use super::generations::Positions;
use super::values::Tickets;
use crate::index::error::IndexError;
use crate::index::store::IndexReader;
use crate::index::view::Index;
use crate::limits;
use crate::log::fetch::{Cursor, FetchedChunk, entries_in_chunk};
use crate::log::segment::LogConfig;
use crate::shard::replica::Replica;
use crate::types::ReplicaName;

#[derive(Debug)]
struct Fetch {
    ticket: ReadTicket,
    name: ReplicaName,
    next: LogIndex,
    high: LogIndex,
    cursor: Cursor,
    found: Vec<PeerEntry>,
    found_bytes: usize,
    context: GetEntriesContext,
}

/// What follows a piece of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The next piece.
    Read,
    /// What was found is given to raft.
    Provide,
    /// The next entry wanted lies in a batch that is damaged.
    Lost,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Laggards {
    fetches: BTreeMap<ShardId, Fetch>,
    fetched: u64,
}

impl Laggards {
    /// Starts the fetches a replica's raft wants.
    ///
    /// # Errors
    /// [`IndexError`]: positions cannot be read, which stops the node.
    pub fn start<R: IndexReader>(
        &mut self,
        replica: &mut Replica,
        positions: &Positions,
        index: &Index<R>,
        (log, tickets): (&LogConfig, &mut Tickets),
        out: &mut Effects,
    ) -> Result<(), IndexError> {
        let name = replica.name();
        for wanted in replica.group.take_wanted() {
            // Raft asks again with the next heartbeat's answer, so a second want need not be kept.
            if self.fetches.contains_key(&name.shard) {
                continue;
            }
            let Some(at) = positions.find(name, wanted.low, index)? else {
                // Nothing says where it stands, so it is as good as lost: whoever needs it gets an image.
                tracing::warn!(%name, entry = %wanted.low, "the place of an old entry is not known: whoever needs it gets an image");
                replica.group.give_up(wanted.low);
                replica.group.provide(Vec::new(), wanted.context);
                continue;
            };
            let cursor = Cursor::new(at, limits::ENTRY_FETCH_BYTES);
            let (effect, ticket) = tickets.read(at, cursor.length(log.segment_bytes));
            let fetch = Fetch {
                ticket,
                name,
                next: wanted.low,
                high: wanted.high.min(replica.group.first_held()),
                cursor,
                found: Vec::new(),
                found_bytes: 0,
                context: wanted.context,
            };
            out.push(effect);
            self.fetches.insert(name.shard, fetch);
        }
        Ok(())
    }

    /// The shard whose fetch waits for this read.
    #[must_use]
    pub fn shard_awaiting(&self, ticket: ReadTicket) -> Option<ShardId> {
        self.fetches
            .iter()
            .find(|(_, fetch)| fetch.ticket == ticket)
            .map(|(shard, _)| *shard)
    }

    /// A chunk of the log was read: goes on, or gives raft what was found.
    pub fn read_done(
        &mut self,
        shard: ShardId,
        result: Result<Bytes, LogReadFault>,
        replica: &mut Replica,
        (log, tickets): (&LogConfig, &mut Tickets),
        out: &mut Effects,
    ) {
        let Some(mut fetch) = self.fetches.remove(&shard) else { return };
        let step = match result {
            Ok(chunk) => fetch.step(&chunk, replica, log),
            Err(fault) => {
                tracing::error!(shard = shard.0, %fault, "old entries cannot be read");
                if !fault.finds_nothing() {
                    // Raft asks again with the next heartbeat's answer.
                    return;
                }
                Step::Lost
            }
        };
        match step {
            Step::Read => {
                let (effect, ticket) = tickets.read(fetch.cursor.at, fetch.cursor.length(log.segment_bytes));
                fetch.ticket = ticket;
                out.push(effect);
                self.fetches.insert(shard, fetch);
            }
            Step::Provide | Step::Lost => {
                if step == Step::Lost {
                    tracing::error!(name = %fetch.name, entry = %fetch.next, "an old entry is lost here: whoever needs it gets an image");
                    replica.group.give_up(fetch.next);
                }
                // Reclaim or an image may have come between two reads: raft then finds that the follower needs an image.
                if fetch.found.first().is_some_and(|first| first.index <= replica.group.truncated()) {
                    fetch.found.clear();
                }
                self.fetched += fetch.found.len() as u64;
                replica.group.provide(fetch.found, fetch.context);
            }
        }
    }

    /// The shard's replica is gone: what is on its way for it counts for nothing.
    pub fn forget(&mut self, shard: ShardId) {
        self.fetches.remove(&shard);
    }

    /// Entries fetched since the start.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.fetched
    }
}

impl Fetch {
    fn step(&mut self, chunk: &Bytes, replica: &Replica, log: &LogConfig) -> Step {
        match entries_in_chunk(chunk, self.cursor.at, self.name) {
            Ok(found) => self.take(found, replica, log),
            // What a chunk ended before may be the unused tail of its segment.
            Err(_) if self.cursor.skip_tail() => Step::Read,
            Err(fault) => {
                tracing::error!(name = %self.name, at = %self.cursor.at, %fault, "old entries cannot be parsed");
                Step::Lost
            }
        }
    }

    /// Takes what fits.
    fn take(&mut self, chunk: FetchedChunk, replica: &Replica, log: &LogConfig) -> Step {
        for entry in chunk.entries {
            if self.next >= self.high || entry.index < self.next || replica.group.term_at(entry.index) != Some(entry.term) {
                continue;
            }
            // An entry follows those before it in the log too: the one wanted was passed over, with what is damaged.
            if entry.index > self.next {
                return Step::Lost;
            }
            self.found_bytes += entry.data.len();
            let (term, index, kind, data) = (entry.term, entry.index, entry.kind, entry.data);
            self.found.push(PeerEntry { term, index, kind, data });
            self.next = self.next.next();
        }
        if self.next >= self.high || self.found_bytes >= limits::ENTRY_FETCH_BYTES {
            return Step::Provide;
        }
        if self.cursor.follow(chunk.walked, log.segment_bytes) {
            Step::Read
        } else {
            Step::Lost
        }
    }
}
