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

use super::event::{Effect, Effects, LogReadFault, ReadTicket};
use super::generations::Positions;
use super::values::Tickets;
use crate::index::error::IndexError;
use crate::index::store::IndexReader;
use crate::index::view::Index;
use crate::limits;
use crate::log::fetch::{FetchedChunk, entries_in_chunk};
use crate::log::limits::BATCH_BYTES_MAX;
use crate::log::segment::{LogConfig, first_batch};
use crate::shard::replica::Replica;
use crate::types::{Position, ReplicaName};

#[derive(Debug)]
struct Fetch {
    ticket: ReadTicket,
    name: ReplicaName,
    next: LogIndex,
    high: LogIndex,
    at: Position,
    /// Whether `at` follows a batch of the same segment that was read.
    continued: bool,
    found: Vec<PeerEntry>,
    found_bytes: usize,
    context: GetEntriesContext,
}

/// What follows a piece of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// So many more bytes.
    Read(usize),
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
                continue;
            };
            let (effect, ticket) = read_chunk(log, tickets, at, limits::ENTRY_FETCH_BYTES);
            let fetch = Fetch {
                ticket,
                name,
                next: wanted.low,
                high: wanted.high.min(replica.group.first_held()),
                at,
                continued: false,
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
            Step::Read(length) => {
                let (effect, ticket) = read_chunk(log, tickets, fetch.at, length);
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
        match entries_in_chunk(chunk, self.at, self.name) {
            Ok(found) => self.take(found, replica, log),
            // What a chunk ended before may be the unused tail of its segment.
            Err(_) if self.continued => {
                (self.at, self.continued) = (first_batch(self.at.segment + 1), false);
                Step::Read(limits::ENTRY_FETCH_BYTES)
            }
            Err(fault) => {
                tracing::error!(name = %self.name, at = %self.at, %fault, "old entries cannot be parsed");
                Step::Lost
            }
        }
    }

    /// Takes what fits.
    fn take(&mut self, chunk: FetchedChunk, replica: &Replica, log: &LogConfig) -> Step {
        for entry in chunk.entries {
            let current = replica.group.term_at(entry.index) == Some(entry.term);
            // An entry follows those before it in the log too: the one wanted was passed over, with what is damaged.
            if current && entry.index > self.next && self.next < self.high {
                return Step::Lost;
            }
            if current && entry.index == self.next && self.next < self.high {
                self.found_bytes += entry.data.len();
                let (term, index, kind, data) = (entry.term, entry.index, entry.kind, entry.data);
                self.found.push(PeerEntry { term, index, kind, data });
                self.next = self.next.next();
            }
        }
        if self.next >= self.high || self.found_bytes >= limits::ENTRY_FETCH_BYTES {
            return Step::Provide;
        }
        let next = readable(chunk.next, log);
        self.continued = next.segment == self.at.segment && (next != self.at || self.continued);
        self.at = next;
        let length = chunk.needs.unwrap_or(limits::ENTRY_FETCH_BYTES);
        // A batch that claims more than its segment has left is damaged: reading it again would never end.
        let possible = chunk.needs.is_none_or(|needs| needs <= BATCH_BYTES_MAX && needs <= room(next, log));
        if possible { Step::Read(length) } else { Step::Lost }
    }
}

/// Where to read on: a batch that ends with its segment leaves nothing to read behind it.
fn readable(next: Position, log: &LogConfig) -> Position {
    if next.offset < log.segment_bytes {
        next
    } else {
        first_batch(next.segment + 1)
    }
}

fn read_chunk(log: &LogConfig, tickets: &mut Tickets, at: Position, length: usize) -> (Effect, ReadTicket) {
    // Never past the end of the segment file.
    tickets.read(at, length.min(room(at, log)))
}

fn room(at: Position, log: &LogConfig) -> usize {
    log.segment_bytes.saturating_sub(at.offset) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId};

    #[test]
    fn behind_a_full_segment_comes_the_next() {
        let log = LogConfig {
            cluster: ClusterId(1),
            directory: DirectoryId(1),
            node: NodeId(1),
            core: CoreId(0),
            segment_bytes: 1 << 16,
            ready_min: 1,
        };
        let at = |offset| Position { segment: 3, offset };
        assert_eq!(readable(at(0xF000), &log), at(0xF000));
        assert_eq!(readable(at(0x1_0000), &log), first_batch(4));
    }
}
