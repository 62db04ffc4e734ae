//! Values for answers: from memory (`recent`, and copies of what was read), else from the log (plan, fetch, finish).
//!
//! No byte is given out before the record's header and checksum say that it is the value asked for
//! (invariant 5). A mismatch looks the key up once more, for the row may have moved; then it is damage, and the answer waits until
//! the value is mended or given up (`repair`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::error::{Queue, Refusal};
use margate_net::ids::{ClusterId, ShardId, Space};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use rustc_hash::FxBuildHasher;

use super::answered::Answered;
use super::event::{Effect, Effects, LogReadFault, ReadTicket};
use super::recent::Recent;
use super::repair::Lost;
use crate::index::error::IndexError;
use crate::index::row::Row;
use crate::index::store::IndexReader;
use crate::index::view::Index;
use crate::limits;
use crate::log::effects::{ExpectedEffect, effect_length, read_effect};
use crate::shard::answer::{Answer, Fill};
use crate::shard::apply::AppliedValues;
use crate::types::{Nanos, Position, ValueHash};

/// Where a shard's rows are, and whose they are.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The shard.
    pub shard: ShardId,
    /// Its replica's space.
    pub space: Space,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Position, Bytes> for ByBytes {
    fn weight(&self, _: &Position, value: &Bytes) -> u64 {
        // The second term stands for the entry itself.
        value.len() as u64 + 64
    }
}

/// An answer that waits for values.
#[derive(Debug)]
struct Assembly {
    answer: Answer,
    missing: usize,
    bytes: u64,
    /// When it began to wait.
    since: Nanos,
}

/// A value on its way.
#[derive(Debug)]
struct ValueRead {
    assembly: u64,
    owner: Owner,
    fill: Fill,
    again: bool,
}

/// See the module's text.
pub struct Values {
    cluster: ClusterId,
    /// Copies of what was read.
    cache: Cache<Position, Bytes, ByBytes, FxBuildHasher>,
    /// What was written.
    recent: Recent,
    assemblies: BTreeMap<u64, Assembly>,
    reading: BTreeMap<ReadTicket, ValueRead>,
    waiting: VecDeque<ValueRead>,
    /// Values that wait to be mended.
    damaged: Vec<ValueRead>,
    next_assembly: u64,
    /// Bytes of values that answers under assembly hold or wait for.
    assembling_bytes: u64,
    /// What is counted of answers.
    pub(super) answered: Answered,
}

impl Values {
    /// An empty cache, nothing under way.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        let items = usize::try_from(limits::VALUE_COPIES_BYTES / 512).unwrap_or(usize::MAX);
        let cache = Cache::with(
            items,
            limits::VALUE_COPIES_BYTES,
            ByBytes,
            FxBuildHasher,
            quick_cache::unsync::DefaultLifecycle::default(),
        );
        Self {
            cluster,
            cache,
            recent: Recent::default(),
            assemblies: BTreeMap::new(),
            reading: BTreeMap::new(),
            waiting: VecDeque::new(),
            damaged: Vec::new(),
            next_assembly: 0,
            assembling_bytes: 0,
            answered: Answered::default(),
        }
    }

    /// Answers, at once if all values are at hand.
    pub fn deliver(&mut self, owner: Owner, mut answer: Answer, tickets: &mut Tickets, out: &mut Effects) {
        let missing: Vec<Fill> = std::mem::take(&mut answer.fills)
            .into_iter()
            .filter_map(|fill| match self.at_hand(owner, &fill) {
                Some(value) => {
                    answer.fill(fill.place, value);
                    None
                }
                None => Some(fill),
            })
            .collect();
        if missing.is_empty() {
            return self.answered.at_once(answer, out);
        }
        let bytes = missing.iter().map(|fill| fill.row.size).sum();
        if self.assembling_bytes > limits::ASSEMBLING_BYTES_MAX && !answer.writes() {
            answer.outcome = Err(Refusal::Busy {
                queue: Queue::Reads,
                retry_after_ms: limits::BUSY_RETRY_MS,
            });
            return self.answered.at_once(answer, out);
        }
        let assembly = self.next_assembly;
        self.next_assembly += 1;
        self.assembling_bytes += bytes;
        let waiting = Assembly {
            answer,
            missing: missing.len(),
            bytes,
            since: self.answered.now(),
        };
        self.assemblies.insert(assembly, waiting);
        self.waiting.extend(missing.into_iter().map(|fill| ValueRead {
            assembly,
            owner,
            fill,
            again: false,
        }));
        self.start_reads(tickets, out);
    }

    /// Whether the ticket is one of ours.
    #[must_use]
    pub fn reads_with(&self, ticket: ReadTicket) -> bool {
        self.reading.contains_key(&ticket)
    }

    /// A read is done. What it found damaged, if the index still points to it: an answer then waits for `Values::mended`.
    ///
    /// # Errors
    /// [`IndexError`]: the key could not be looked up once more, which stops the node.
    pub fn read_done<R: IndexReader>(
        &mut self,
        ticket: ReadTicket,
        result: Result<Bytes, LogReadFault>,
        index: &Index<R>,
        tickets: &mut Tickets,
        out: &mut Effects,
    ) -> Result<Option<(Owner, Bytes, Row)>, IndexError> {
        let Some(read) = self.reading.remove(&ticket) else {
            return Ok(None);
        };
        let damaged = match self.check(&read, result) {
            Some(value) => {
                let value = self.remember(read.fill.row.position, value);
                self.complete(read, Some(value), out);
                None
            }
            None => self.look_again(read, index, out)?,
        };
        self.start_reads(tickets, out);
        Ok(damaged)
    }

    /// A damaged value was mended, or cannot be: answers that wait for it go on.
    pub(super) fn mended(&mut self, lost: &Lost, value: Option<&Bytes>, out: &mut Effects) {
        let waits = |read: &mut ValueRead| {
            let place = (read.owner.shard, read.owner.space, read.fill.row.version);
            place == (lost.name.shard, lost.space, lost.row.version) && read.fill.key == lost.key
        };
        let waited: Vec<ValueRead> = self.damaged.extract_if(.., waits).collect();
        waited.into_iter().for_each(|read| self.complete(read, value.cloned(), out));
    }

    /// Whether an answer under assembly needs a value from a segment.
    #[must_use]
    pub fn needs_segment(&self, segment: u32) -> bool {
        let mut under_way = self.waiting.iter().chain(self.reading.values());
        under_way.any(|read| read.fill.row.position.segment == segment)
    }

    fn at_hand(&mut self, owner: Owner, fill: &Fill) -> Option<Bytes> {
        let position = fill.row.position;
        // A row has no checksum of its own: one that lost its size does not have this hash, and is read and mended as others are.
        if fill.row.size == 0 && fill.row.hash == ValueHash::OF_NOTHING {
            return Some(Bytes::new());
        }
        let mut found = self.cache.get(&position).cloned();
        if found.is_none()
            && fill.row.size <= limits::VALUE_CACHE_VALUE_MAX as u64
            && let Some(record) = self.recent.from(position)
        {
            // Bytes that are not as expected here are damage of memory: the disk has the last word.
            let effect = read_effect(&record, &expected(self.cluster, owner, fill)).ok();
            found = effect.map(|effect| self.remember(position, record.slice_ref(effect.value)));
        }
        let count = match found {
            Some(_) => &mut self.answered.cache_hits,
            None => &mut self.answered.cache_misses,
        };
        *count += 1;
        found
    }

    fn start_reads(&mut self, tickets: &mut Tickets, out: &mut Effects) {
        while self.reading.len() < limits::RECORD_READS_MAX
            && let Some(read) = self.waiting.pop_front()
        {
            let length = effect_length(read.fill.key.len(), read.fill.row.size);
            let (effect, ticket) = tickets.read(read.fill.row.position, length);
            out.push(effect);
            self.reading.insert(ticket, read);
        }
    }

    fn check(&self, read: &ValueRead, result: Result<Bytes, LogReadFault>) -> Option<Bytes> {
        let expected = expected(self.cluster, read.owner, &read.fill);
        let found = match &result {
            Err(fault) => {
                tracing::error!(shard = read.owner.shard.0, %fault, "a value cannot be read");
                return None;
            }
            Ok(bytes) => read_effect(bytes, &expected).map(|effect| bytes.slice_ref(effect.value)),
        };
        found
            .inspect_err(|mismatch| {
                let place = read.fill.row.position;
                tracing::warn!(shard = read.owner.shard.0, %place, %mismatch, "a record is not the one its row names");
            })
            .ok()
    }

    fn look_again<R: IndexReader>(
        &mut self,
        mut read: ValueRead,
        index: &Index<R>,
        out: &mut Effects,
    ) -> Result<Option<(Owner, Bytes, Row)>, IndexError> {
        let held = index.get(read.owner.space, &read.fill.key)?.and_then(|slot| slot.row());
        let same = held.filter(|row| row.version == read.fill.row.version);
        if let Some(row) = same.filter(|row| !read.again && row.position != read.fill.row.position) {
            (read.fill.row, read.again) = (row, true);
            self.waiting.push_front(read);
            return Ok(None);
        }
        tracing::error!(shard = read.owner.shard.0, place = %read.fill.row.position, "a value is damaged");
        let damaged = same.map(|row| (read.owner, read.fill.key.clone(), row));
        if damaged.is_some() && self.damaged.len() < limits::REPAIR_WAITING_MAX {
            self.damaged.push(read);
        } else {
            self.complete(read, None, out);
        }
        Ok(damaged)
    }

    /// The value, of which a copy is kept if it is small. Then that copy: it does not hold on to the blocks or the entry the value came in.
    fn remember(&mut self, position: Position, value: Bytes) -> Bytes {
        if value.len() > limits::VALUE_CACHE_VALUE_MAX {
            return value;
        }
        let copy = Bytes::copy_from_slice(&value);
        self.cache.insert(position, copy.clone());
        copy
    }

    fn complete(&mut self, read: ValueRead, value: Option<Bytes>, out: &mut Effects) {
        let Some(assembly) = self.assemblies.get_mut(&read.assembly) else {
            return;
        };
        match value {
            Some(value) => assembly.answer.fill(read.fill.place, value),
            None => assembly.answer.outcome = Err(damaged(&assembly.answer)),
        }
        assembly.missing -= 1;
        if assembly.missing == 0
            && let Some(done) = self.assemblies.remove(&read.assembly)
        {
            self.assembling_bytes -= done.bytes;
            self.answered.complete(done.answer, done.since, out);
        }
    }
}

/// What to say when a value of an answer is damaged: a write has been carried out all the same.
fn damaged(answer: &Answer) -> Refusal {
    match &answer.outcome {
        Err(refusal) => *refusal,
        Ok(_) if answer.writes() => Refusal::OutcomeUnknown,
        Ok(_) => Refusal::Damaged,
    }
}

impl AppliedValues for Values {
    fn applied(&mut self, place: Position, data: &Bytes) {
        self.recent.add(place, data);
    }
}

fn expected<'a>(cluster: ClusterId, owner: Owner, fill: &'a Fill) -> ExpectedEffect<'a> {
    ExpectedEffect {
        cluster,
        shard: owner.shard,
        key: &fill.key,
        version: fill.row.version,
    }
}

/// Numbers for reads, over all who read, and which segments are being read.
#[derive(Debug, Default)]
pub struct Tickets {
    last: u64,
    /// Bytes asked for so far.
    bytes: u64,
    reading: BTreeMap<ReadTicket, u32>,
}

impl Tickets {
    /// A read with a number never given before.
    pub fn read(&mut self, position: Position, length: usize) -> (Effect, ReadTicket) {
        self.last += 1;
        self.bytes += length as u64;
        let ticket = ReadTicket(self.last);
        self.reading.insert(ticket, position.segment);
        (Effect::Read { ticket, position, length }, ticket)
    }

    /// A read has ended.
    pub fn ended(&mut self, ticket: ReadTicket) {
        self.reading.remove(&ticket);
    }

    /// Reads so far, and bytes asked for by them.
    #[must_use]
    pub const fn given(&self) -> (u64, u64) {
        (self.last, self.bytes)
    }

    /// Whether a segment is being read.
    #[must_use]
    pub fn reads_in(&self, segment: u32) -> bool {
        self.reading.values().any(|reading| *reading == segment)
    }
}

#[cfg(test)]
mod tests {
    use margate_net::ids::Version;

    use super::*;
    use crate::index::row::RowFlags;
    use crate::log::effects::EntryDataBuilder;
    use crate::shard::answer::Place;

    const CLUSTER: ClusterId = ClusterId(1);
    const OWNER: Owner = Owner {
        shard: ShardId(1),
        space: Space(1),
    };

    /// Bytes that memory holds of a place decide nothing: what is not the value asked for is read from the disk.
    #[test]
    fn an_applied_entry_gives_only_the_value_asked_for() {
        let mut values = Values::new(CLUSTER);
        let mut data = EntryDataBuilder::new(CLUSTER, OWNER.shard, Nanos(1));
        let offset = u32::try_from(data.len()).expect("a header");
        data.put(b"a", b"value", Version(5), ValueHash([0; 16]));
        let begin = Position { segment: 3, offset: 4_096 };
        values.applied(begin, &data.finish().into());
        let mut asked = |key: &'static str, version| {
            let fill = Fill {
                place: Place::Value,
                key: Bytes::from_static(key.as_bytes()),
                row: Row {
                    version: Version(version),
                    position: Position {
                        offset: begin.offset + offset,
                        ..begin
                    },
                    size: 5,
                    flags: RowFlags::NONE,
                    hash: ValueHash([0; 16]),
                },
            };
            values.at_hand(OWNER, &fill)
        };
        assert_eq!((asked("a", 4), asked("b", 5)), (None, None));
        assert_eq!(asked("a", 5), Some(Bytes::from_static(b"value")));
        let counted = &values.answered;
        assert_eq!((counted.cache_hits, counted.cache_misses), (1, 2));
    }

    /// An index row has no checksum of its own: one bit less of its size must not make an empty value of another.
    #[test]
    fn a_row_without_size_is_believed_with_the_hash_of_nothing_alone() {
        let mut values = Values::new(CLUSTER);
        let mut asked = |hash| {
            let fill = Fill {
                place: Place::Value,
                key: Bytes::from_static(b"a"),
                row: Row {
                    version: Version(5),
                    position: Position { segment: 3, offset: 4_096 },
                    size: 0,
                    flags: RowFlags::NONE,
                    hash,
                },
            };
            values.at_hand(OWNER, &fill)
        };
        assert_eq!(asked(ValueHash::of(b"")), Some(Bytes::new()));
        assert_eq!(asked(ValueHash::of(b"value")), None);
    }
}
