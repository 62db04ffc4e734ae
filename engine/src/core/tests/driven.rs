//! A core driven by hand: its disk and its index do at once what it wants, their answers are heard in turns.
//!
//! Not here, on purpose: what its peers say (`peers`).

use std::collections::VecDeque;

use bytes::Bytes;
use margate_net::codec::ReceivedRequest;
use margate_net::error::Refusal;
use margate_net::ids::{LogIndex, RangeEpoch, ReplicaId, ShardId, Term};
use margate_net::message::{
    Consistency, MemberMessage, Operation, PeerMessage, Precondition, ReadVersion, Reply, Request, Returning, Success,
};

use super::fixture::{config, created};
use crate::core::event::{Effect, Effects, Event, Moment, PeerName};
use crate::core::machine::Core;
use crate::core::replay::{CoreConfig, ReplayError, replay};
use crate::index::memory::{MemoryReader, MemoryStore};
use crate::index::store::IndexReader;
use crate::log::segment::ReadySegment;
use crate::shard::answer::ConnectionId;
use crate::sim::disk::Disk;
use crate::types::{HardState, Nanos, Position};

/// Far more turns than any of these cores needs to come to rest.
const TURNS_MAX: usize = 1_000;

/// Bytes of a small segment: it takes two of the values.
pub(super) const SEGMENT_BYTES: u32 = 32 << 10;
/// A value that fills half of a small segment.
pub(super) const VALUE: [u8; 11_900] = [7; 11_900];

/// A core, and all that it stands on.
pub(super) struct Driven {
    pub(super) config: CoreConfig,
    pub(super) disk: Disk,
    pub(super) core: Core<MemoryReader>,
    /// Messages that left since the start.
    pub(super) sent: Vec<(PeerName, PeerMessage)>,
    /// Messages about members that left since the start.
    pub(super) members: Vec<(PeerName, MemberMessage)>,
    /// Generations the index took since the start.
    pub(super) commits: usize,
    /// Reads from the log since the start.
    pub(super) reads: usize,
    pub(super) index: MemoryStore,
    /// Whether writes begin and do not end.
    pub(super) holds_writes: bool,
    /// Segments that are still to be made, while that waits.
    pub(super) held_segments: Option<Vec<u32>>,
    events: VecDeque<Event>,
    replies: Vec<Reply>,
    now: Nanos,
    salts: u64,
    requests: u64,
}

/// Where a running replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) shard: ShardId,
    pub(super) applied: LogIndex,
    pub(super) applied_term: Term,
    pub(super) last: LogIndex,
    pub(super) hard_state: HardState,
}

impl Driven {
    /// Created and started, with roomy segments.
    pub(super) fn created(nodes: u16, bounds: &[&'static str]) -> Self {
        Self::with_segments(nodes, bounds, 1 << 22)
    }

    /// Created and started.
    pub(super) fn with_segments(nodes: u16, bounds: &[&'static str], segment_bytes: u32) -> Self {
        let config = config(nodes, bounds, segment_bytes);
        let disk = created(&config);
        Self::open((config, disk, MemoryStore::new()), Nanos::from_millis(1_000), 1_000)
    }

    /// A node's only replica, which leads.
    pub(super) fn leading(segment_bytes: u32) -> Self {
        let mut core = Self::with_segments(1, &[], segment_bytes);
        core.tick(25);
        core
    }

    fn open((config, mut disk, mut index): (CoreConfig, Disk, MemoryStore), now: Nanos, salts: u64) -> Self {
        let mut replayed = replay(&config, &mut disk, index.reader(), &mut index.writer());
        if let Err(ReplayError::IndexStale { .. }) = replayed {
            // As the driver does at the next start.
            index = MemoryStore::new();
            replayed = replay(&config, &mut disk, index.reader(), &mut index.writer());
        }
        let replayed = replayed.expect("the core starts");
        disk.discard(&replayed.found.discard);
        Self {
            config,
            disk,
            core: replayed.core,
            sent: Vec::new(),
            members: Vec::new(),
            commits: 0,
            reads: 0,
            index,
            holds_writes: false,
            held_segments: None,
            events: VecDeque::new(),
            replies: Vec::new(),
            now,
            salts,
            requests: 0,
        }
    }

    /// The process dies, what was under way is forgotten, and it starts again.
    pub(super) fn restarted(self) -> Self {
        self.index.crash();
        Self::open((self.config, self.disk, self.index), self.now, self.salts)
    }

    /// One turn.
    pub(super) fn turn(&mut self, events: impl IntoIterator<Item = Event>) {
        let moment = Moment {
            now: self.now,
            wall: self.now,
        };
        let mut effects = Effects::default();
        for event in events {
            self.core.handle(moment, event, &mut effects).expect("the core goes on");
            self.perform(&mut effects);
        }
        self.core.end_turn(moment, &mut effects).expect("the core goes on");
        self.perform(&mut effects);
        let told = self.core.turn_ended(self.now, self.now, Nanos(0));
        assert_eq!(told, None, "there is no bound");
    }

    /// A turn that takes the oldest answer of the disk or the index, if there is one.
    pub(super) fn turn_with_next_answer(&mut self) {
        let answer = self.events.pop_front();
        self.turn(answer);
    }

    /// A turn with all answers of the disk and the index so far, and these events.
    pub(super) fn turn_after_answers(&mut self, events: impl IntoIterator<Item = Event>) {
        let answers = std::mem::take(&mut self.events);
        self.turn(answers.into_iter().chain(events).collect::<Vec<_>>());
    }

    /// A turn with one event, and all that follows from it.
    pub(super) fn hear(&mut self, event: Event) {
        self.turn([event]);
        self.settle();
    }

    /// Time passes, and nothing happens meanwhile.
    pub(super) fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(Nanos::from_millis(millis));
    }

    /// What its clock shows.
    pub(super) fn now(&self) -> Nanos {
        self.now
    }

    /// Whether the core wants a turn at once, or an answer is there for one.
    pub(super) fn wants_turn(&self) -> bool {
        !self.events.is_empty() || self.core.deadline().is_some_and(|due| due <= self.now)
    }

    /// Time passes, then a turn and all that follows from it.
    pub(super) fn pass(&mut self, millis: u64) {
        self.wait(millis);
        self.turn([]);
        self.settle();
    }

    /// Time passes until the index has taken all that is applied.
    pub(super) fn fill_index(&mut self) {
        for millis in [1, 6_000, 6_000] {
            self.pass(millis);
        }
    }

    /// So many ticks.
    pub(super) fn tick(&mut self, count: usize) {
        (0..count).for_each(|_| self.hear(Event::Tick));
    }

    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if !self.wants_turn() {
                return;
            }
            self.turn_after_answers([]);
        }
        panic!("no rest after {TURNS_MAX} turns and {} reads", self.reads);
    }

    fn perform(&mut self, effects: &mut Effects) {
        for effect in effects.drain() {
            match effect {
                Effect::CommitIndex(generation) => {
                    self.commits += 1;
                    self.index.begin(&generation);
                    let (generation, churn) = self.index.finish().expect("it was begun");
                    self.events.push_back(Event::IndexDone { generation, churn });
                }
                Effect::DeleteSegment { number } => {
                    self.disk.begin_delete(number);
                    self.disk.finish_delete();
                    self.events.push_back(Event::SegmentDeleted);
                }
                Effect::RecycleSegment { from, to } => {
                    self.salts += 1;
                    let (salt, life) = (self.salts, self.disk.life(from) + 1);
                    self.disk.begin_recycle(from, ReadySegment { number: to, salt, life });
                    let (_, ready) = self.disk.finish_recycle().expect("it was begun");
                    self.events.push_back(Event::SegmentReady(ready));
                }
                Effect::PrepareSegment { number } => match &mut self.held_segments {
                    Some(held) => held.push(number),
                    None => self.make_segment(number),
                },
                Effect::Read { ticket, position, length } => {
                    self.reads += 1;
                    let result = self.disk.read_at(position, length);
                    self.events.push_back(Event::ReadDone { ticket, result });
                }
                Effect::Reply { reply, .. } => self.replies.push(reply),
                Effect::Send { to, batch } => self.sent.extend(batch.messages.into_iter().map(|message| (to, message))),
                Effect::SendMember { to, message } => self.members.push((to, message)),
                Effect::Write(flush) => {
                    self.disk.begin_write(&flush);
                    if !self.holds_writes {
                        self.disk.finish_write().expect("it was begun");
                        self.events.push_back(Event::Flushed {
                            sequence: flush.sequence,
                            lasted: (self.now, self.now),
                        });
                    }
                }
            }
        }
    }

    /// Segments are made again, those that waited first.
    pub(super) fn release_segments(&mut self) {
        let held = self.held_segments.take().expect("they were held");
        held.into_iter().for_each(|number| self.make_segment(number));
    }

    fn make_segment(&mut self, number: u32) {
        self.salts += 1;
        self.disk.begin_segment(ReadySegment {
            number,
            salt: self.salts,
            life: 1,
        });
        let ready = self.disk.finish_segment(number).expect("it was begun");
        self.events.push_back(Event::SegmentReady(ready));
    }

    /// A client that sets a key, as an event for a test that makes the turns itself.
    pub(super) fn set_event(&mut self, shard: u64, key: &'static str, value: &'static [u8]) -> Event {
        self.request(shard, set(key, value))
    }

    /// Replies that left since this was asked last.
    pub(super) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// Sets a key; panics unless that is acknowledged.
    pub(super) fn set(&mut self, shard: u64, key: &'static str, value: &'static [u8]) {
        let outcome = self.ask(shard, set(key, value));
        assert!(
            matches!(outcome, Ok(Success::Written { .. })),
            "{key} is not acknowledged: {outcome:?}"
        );
    }

    /// Deletes a key; panics unless that is acknowledged.
    pub(super) fn delete(&mut self, shard: u64, key: &'static str) {
        let delete = Operation::Delete {
            key: Bytes::from_static(key.as_bytes()),
            at_version: None,
            returning: Returning::default(),
        };
        let outcome = self.ask(shard, delete);
        assert!(matches!(outcome, Ok(Success::Deleted { .. })), "{key} is not deleted: {outcome:?}");
    }

    /// The index is gone; only a restart makes another.
    pub(super) fn lose_index(&mut self) {
        self.index = MemoryStore::new();
    }

    /// A key's value as this replica has it, whoever leads.
    pub(super) fn stale(&mut self, shard: u64, key: &'static str) -> Result<Bytes, Refusal> {
        let id = self.ask_stale(shard, key);
        match self.answered(id).expect("it is answered").clone()? {
            Success::Found { value, .. } => Ok(value),
            other => panic!("a get is answered with {other:?}"),
        }
    }

    /// Asks for a key's value as this replica has it; says how the answer is numbered, which may come later.
    pub(super) fn ask_stale(&mut self, shard: u64, key: &'static str) -> u64 {
        let get = Operation::Get {
            key: Bytes::from_static(key.as_bytes()),
            version: ReadVersion::Latest,
            consistency: Consistency::Stale,
            returning: Returning::default(),
        };
        self.begin(shard, get)
    }

    /// The answer of this number, if there is one yet.
    pub(super) fn answered(&self, id: u64) -> Option<&Result<Success, Refusal>> {
        self.replies.iter().find(|reply| reply.id == id).map(|reply| &reply.outcome)
    }

    fn ask(&mut self, shard: u64, operation: Operation) -> Result<Success, Refusal> {
        let id = self.begin(shard, operation);
        self.answered(id).expect("it is answered").clone()
    }

    fn begin(&mut self, shard: u64, operation: Operation) -> u64 {
        let request = self.request(shard, operation);
        self.hear(request);
        self.requests
    }

    /// A client's operation, as an event for a test that makes the turns itself.
    pub(super) fn request(&mut self, shard: u64, operation: Operation) -> Event {
        self.requests += 1;
        let id = self.requests;
        let request = Request {
            id,
            shard: ShardId(shard),
            range_epoch: RangeEpoch(1),
            timeout_ms: 60_000,
            operation,
        };
        Event::Requests {
            connection: ConnectionId(1),
            received: self.now,
            requests: vec![ReceivedRequest { id, request: Ok(request) }],
        }
    }

    /// Where each running replica stands, in the order of shards.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let standing = |replica: &crate::shard::replica::Replica| Standing {
            shard: replica.name().shard,
            applied: replica.applied(),
            applied_term: replica.applied_term,
            last: replica.group().last(),
            hard_state: replica.group().hard_state(),
        };
        self.core.replicas().map(standing).collect()
    }

    /// Shards whose replica runs.
    pub(super) fn running(&self) -> Vec<u64> {
        self.core.replicas().map(|replica| replica.name().shard.0).collect()
    }

    /// Shards whose replica does not run.
    pub(super) fn damaged(&self) -> Vec<u64> {
        self.core.damaged().map(|name| name.shard.0).collect()
    }

    /// Up to where the index holds a replica, and the commit it knows.
    pub(super) fn marked(&self, shard: u64) -> (u64, u64) {
        let marks = self.index.reader().replica_marks().expect("memory never fails");
        let of_shard = marks.iter().find(|marks| marks.name.shard == ShardId(shard));
        of_shard
            .map(|marks| (marks.applied.0, marks.commit.0))
            .expect("every generation has all marks")
    }

    /// A shard's replica on a node.
    pub(super) fn replica_on(&self, shard: u64, node: u64) -> ReplicaId {
        let shard = self
            .config
            .map
            .shards()
            .iter()
            .find(|known| known.id.0 == shard)
            .expect("a known shard");
        let replica = shard.replicas.iter().find(|replica| replica.node.0 == node);
        replica.expect("every node has a replica").id
    }

    /// Rot in the only durable record that holds these bytes.
    pub(super) fn rot(&mut self, bytes: &[u8]) {
        let start = Position { segment: 1, offset: 0 };
        let segment_bytes = self.config.log.segment_bytes as usize;
        let segment = self.disk.read_at(start, segment_bytes).expect("the first segment is whole");
        let mut found = segment.windows(bytes.len()).zip(0..).filter(|(window, _)| *window == bytes);
        let (_, offset) = found.next().expect("it is in the log");
        assert!(found.next().is_none(), "it is in the log twice");
        self.disk.rot(Position { segment: 1, offset });
    }
}

fn set(key: &'static str, value: &'static [u8]) -> Operation {
    Operation::Set {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value),
        precondition: Precondition::Always,
        returning: Returning::default(),
    }
}
