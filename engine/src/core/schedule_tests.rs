//! Schedules that once broke an invariant of design section 12, kept as they were found.
#![allow(missing_docs, clippy::all)]

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::codec::ReceivedRequest;
use margate_net::ids::*;
use margate_net::map::{Map, MapNode};
use margate_net::message::*;

use super::creation::{checkpoints, creation_flushes};
use super::event::*;
use super::machine::Core;
use super::replay::{CoreConfig, Found, ReplayError, replay};
use crate::config::static_map;
use crate::index::memory::{MemoryReader, MemoryStore};
use crate::log::effects::EntryDataBuilder;
use crate::log::flush::Flush;
use crate::log::limits::BLOCK_BYTES;
use crate::log::scan::{ReadFault, ReadSegments};
use crate::log::segment::{LogConfig, ReadySegment};
use crate::planted::Planted;
use crate::shard::answer::ConnectionId;
use crate::types::{Nanos, ValueHash};

#[derive(Clone, Default)]
struct Disk(BTreeMap<u32, Vec<u8>>);

impl ReadSegments for Disk {
    fn segments(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }
    fn segment_bytes(&self, segment: u32) -> u64 {
        self.0.get(&segment).map_or(0, |b| b.len() as u64)
    }
    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        let from = offset as usize;
        buffer.copy_from_slice(&self.0[&segment][from..from + buffer.len()]);
        Ok(())
    }
}

impl Disk {
    fn prewrite(&mut self, config: &LogConfig, ready: ReadySegment) {
        let mut bytes = vec![0; config.segment_bytes as usize];
        bytes[..BLOCK_BYTES].copy_from_slice(&config.segment_header(ready).encode());
        self.0.insert(ready.number, bytes);
    }
    fn write(&mut self, flush: &Flush) {
        let mut bytes = vec![0; flush.length];
        flush.encode_into(&mut bytes);
        let from = flush.offset as usize;
        self.0.get_mut(&flush.segment).expect("prewritten")[from..from + bytes.len()].copy_from_slice(&bytes);
    }
}

struct Node {
    config: CoreConfig,
    disk: Disk,
    store: MemoryStore,
    core: Core<MemoryReader>,
    events: VecDeque<Event>,
    sent: Vec<(PeerName, PeerMessage)>,
    replies: Vec<Reply>,
    commits: usize,
    reads: usize,
    max_reads: usize,
    now: Nanos,
    salts: u64,
    found: Found,
}

fn nodes(count: u16) -> Vec<MapNode> {
    (1..=count)
        .map(|id| MapNode {
            id: NodeId(id.into()),
            cores: vec![([127, 0, 0, 1], 7000 + id).into()],
        })
        .collect()
}

fn map(count: u16, bounds: &[&str]) -> Map {
    let bounds: Vec<_> = bounds.iter().map(|b| Bytes::copy_from_slice(b.as_bytes())).collect();
    static_map(ClusterId(7), &nodes(count), &bounds, usize::from(count)).expect("map")
}

fn core_config(map: Map, segment_bytes: u32) -> CoreConfig {
    CoreConfig {
        log: LogConfig {
            cluster: ClusterId(7),
            directory: DirectoryId(1),
            node: NodeId(1),
            core: CoreId(0),
            segment_bytes,
            ready_min: 2,
        },
        map,
        election_ticks: 10,
        seed: 1,
        planted: Planted::NONE,
    }
}

impl Node {
    fn create(config: CoreConfig) -> Self {
        let mut disk = Disk::default();
        let first = ReadySegment { number: 1, salt: 11 };
        disk.prewrite(&config.log, first);
        let records = checkpoints(&config.map, NodeId(1), CoreId(0), Nanos(1));
        for flush in creation_flushes(config.log, first, records, Nanos(1)) {
            disk.write(&flush);
        }
        Self::open(config, disk, MemoryStore::new(), Nanos::from_millis(1000)).expect("opens")
    }

    fn open(config: CoreConfig, mut disk: Disk, store: MemoryStore, now: Nanos) -> Result<Self, ReplayError> {
        store.crash();
        let mut writer = store.writer();
        let replayed = replay(&config, &mut disk, store.reader(), &mut writer)?;
        for number in &replayed.found.discard {
            disk.0.remove(number);
        }
        Ok(Self {
            config,
            disk,
            store,
            core: replayed.core,
            events: VecDeque::new(),
            sent: vec![],
            replies: vec![],
            commits: 0,
            reads: 0,
            max_reads: usize::MAX,
            now,
            salts: 1000 + now.0 % 1000,
            found: replayed.found,
        })
    }

    fn restart(self) -> Result<Self, ReplayError> {
        Self::open(self.config, self.disk, self.store, self.now)
    }

    fn perform(&mut self, effects: &mut Effects) {
        let all: Vec<_> = effects.drain().collect();
        for effect in all {
            match effect {
                Effect::CommitIndex(generation) => {
                    self.commits += 1;
                    self.store.begin(&generation);
                    self.store.finish();
                    self.events.push_back(Event::IndexDone {
                        generation: generation.number,
                    });
                }
                Effect::PrepareSegment { number } => {
                    self.salts += 1;
                    let ready = ReadySegment { number, salt: self.salts };
                    self.disk.prewrite(&self.config.log, ready);
                    self.events.push_back(Event::SegmentReady(ready));
                }
                Effect::Read { ticket, position, length } => {
                    self.reads += 1;
                    let from = position.offset as usize;
                    let bytes = self.disk.0.get(&position.segment).and_then(|b| b.get(from..from + length));
                    let result = bytes.map(Bytes::copy_from_slice).ok_or(LogReadFault {
                        position,
                        length,
                        errno: 0,
                    });
                    if self.reads < self.max_reads {
                        self.events.push_back(Event::ReadDone { ticket, result });
                    }
                }
                Effect::Reply { reply, .. } => self.replies.push(reply),
                Effect::Send { to, batch } => self.sent.extend(batch.messages.into_iter().map(|m| (to, m))),
                Effect::Write(flush) => {
                    self.disk.write(&flush);
                    self.events.push_back(Event::Flushed { sequence: flush.sequence });
                }
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.now,
            wall: self.now,
        }
    }

    /// One turn with these events.
    fn turn(&mut self, events: Vec<Event>) {
        let mut effects = Effects::default();
        for event in events {
            self.core.handle(self.moment(), event, &mut effects).expect("goes on");
            self.perform(&mut effects);
        }
        self.core.end_turn(self.moment(), &mut effects).expect("goes on");
        self.perform(&mut effects);
    }

    /// Turns until nothing happens any more.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let events: Vec<_> = self.events.drain(..).collect();
            let due = self.core.deadline().is_some_and(|due| due <= self.now);
            if events.is_empty() && !due {
                return;
            }
            self.turn(events);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Nanos::from_millis(millis));
        self.turn(vec![]);
        self.settle();
    }

    fn peer(&mut self, message: PeerMessage) {
        let event = self.peer_event(message);
        self.turn(vec![event]);
        self.settle();
    }

    fn peer_event(&self, message: PeerMessage) -> Event {
        let shard = self.config.map.shards().iter().find(|s| s.id == message.shard).expect("shard");
        let home = shard.replicas.iter().find(|r| r.id == message.from).expect("replica");
        Event::Peer {
            from: PeerName {
                node: home.node,
                core: home.core,
            },
            incarnation: Incarnation(1),
            batch: PeerBatch {
                round: 1,
                echo: 0,
                messages: vec![message],
            },
        }
    }

    fn id(&self, shard: u64, node: u64) -> ReplicaId {
        let shard = self.config.map.shards().iter().find(|s| s.id == ShardId(shard)).expect("shard");
        shard.replicas.iter().find(|r| r.node == NodeId(node)).expect("replica").id
    }

    fn message(&self, kind: PeerMessageKind, shard: u64, from_node: u64, term: u64) -> PeerMessage {
        PeerMessage {
            shard: ShardId(shard),
            from: self.id(shard, from_node),
            to: self.id(shard, 1),
            kind,
            term: Term(term),
            log_term: Term(0),
            index: LogIndex(0),
            commit: LogIndex(0),
            commit_term: Term(0),
            reject: false,
            reject_hint: LogIndex(0),
            priority: 0,
            context: Default::default(),
            entries: vec![],
        }
    }

    /// Entries after `(index, log_term)`, all of `term`.
    fn append(&self, shard: u64, from_node: u64, term: u64, after: (u64, u64), entries: Vec<Bytes>, commit: u64) -> PeerMessage {
        let mut message = self.message(PeerMessageKind::Append, shard, from_node, term);
        (message.index, message.log_term, message.commit) = (LogIndex(after.0), Term(after.1), LogIndex(commit));
        message.entries = entries
            .into_iter()
            .enumerate()
            .map(|(at, data)| PeerEntry {
                term: Term(term),
                index: LogIndex(after.0 + 1 + at as u64),
                kind: EntryKind::Normal,
                data,
            })
            .collect();
        message
    }

    fn request(&mut self, id: u64, shard: u64, operation: Operation) {
        let request = Request {
            id,
            shard: ShardId(shard),
            range_epoch: RangeEpoch(1),
            timeout_ms: 60_000,
            operation,
        };
        self.turn(vec![Event::Requests {
            connection: ConnectionId(1),
            requests: vec![ReceivedRequest { id, request: Ok(request) }],
        }]);
        self.settle();
    }

    fn set(&mut self, id: u64, shard: u64, key: &str, value: &[u8]) {
        self.request(
            id,
            shard,
            Operation::Set {
                key: Bytes::copy_from_slice(key.as_bytes()),
                value: Bytes::copy_from_slice(value),
                precondition: Precondition::Always,
                returning: Returning::default(),
            },
        );
    }

    fn get(&mut self, id: u64, shard: u64, key: &str) -> Reply {
        self.request(
            id,
            shard,
            Operation::Get {
                key: Bytes::copy_from_slice(key.as_bytes()),
                version: ReadVersion::Latest,
                consistency: Consistency::Linearizable,
                returning: Returning::default(),
            },
        );
        self.replies.iter().rev().find(|r| r.id == id).expect("answered").clone()
    }

    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.turn(vec![Event::Tick]);
            self.settle();
        }
    }
}

fn data(shard: u64, key: &str, value: &[u8], version: u64) -> Bytes {
    let mut builder = EntryDataBuilder::new(ClusterId(7), ShardId(shard), Nanos(5));
    builder.put(key.as_bytes(), value, Version(version), ValueHash::of(value));
    builder.finish().into()
}

/// B: a damaged replica is resurrected as healthy, without its acknowledged entries, at the second restart.
#[test]
fn damaged_replica_comes_back_with_lost_writes() {
    let mut node = Node::create(core_config(map(1, &["m"]), 1 << 22));
    node.ticks(25);
    node.set(1, 1, "a", b"one");
    node.set(2, 2, "z", b"zed");
    // Everything so far in the index.
    node.pass(1);
    node.pass(6_000);
    node.pass(6_000);
    assert_eq!(node.commits, 1, "first generation");
    node.set(3, 2, "zz", b"lead-in");
    let before = node.core.replicas().map(|r| r.group().last()).collect::<Vec<_>>();
    node.set(4, 1, "acked", b"must survive");
    assert!(node.replies.iter().any(|r| r.id == 4 && r.outcome.is_ok()), "acknowledged");
    node.set(5, 2, "zzz", b"after");
    println!("{before:?}");
    // Rot in the acknowledged batch of shard 1.
    let bytes = node.disk.0.get_mut(&1).expect("segment");
    let at = bytes.windows(12).position(|w| w == b"must survive").expect("in the log");
    bytes[at] ^= 1;
    let mut node = node.restart().expect("restarts");
    println!("first restart: damaged {:?}", node.found.damaged);
    assert_eq!(node.found.damaged.len(), 1, "refused, as it should be");
    // The core's other replica goes on, and a generation is committed.
    node.ticks(25);
    node.set(6, 2, "zzzz", b"more");
    node.pass(6_000);
    node.pass(6_000);
    assert!(node.commits >= 1);
    let mut node = node.restart().expect("restarts again");
    println!("second restart: damaged {:?}", node.found.damaged);
    node.ticks(25);
    let reply = node.get(7, 1, "acked");
    println!("get of the acknowledged key: {:?}", reply.outcome);
    assert_eq!(
        node.found.damaged.len(),
        1,
        "shard 1 must stay refused; instead it serves: {:?}",
        reply.outcome
    );
}

/// F: stale tail entries survive above entries at or below the applied mark.
#[test]
fn stale_tail_is_kept_above_the_applied_mark() {
    let mut node = Node::create(core_config(map(3, &["m"]), 1 << 22));
    // Shard 2 holds an entry nobody commits yet: it pins the replay mark.
    let m = node.append(2, 2, 1, (0, 0), vec![data(2, "z", b"z", 1)], 0);
    node.peer(m);
    // Shard 1: a leader of term 1 writes 1..=5, none committed.
    let stale = (1..=5).map(|v| data(1, &format!("stale{v}"), b"never committed", v)).collect();
    let m = node.append(1, 2, 1, (0, 0), stale, 0);
    node.peer(m);
    // A leader of term 2 replaces them by 1..=2 and commits both.
    let good = (1..=2).map(|v| data(1, &format!("good{v}"), b"committed", v)).collect();
    let m = node.append(1, 3, 2, (0, 0), good, 2);
    node.peer(m);
    node.pass(1);
    node.pass(6_000);
    node.pass(6_000);
    assert_eq!(node.commits, 1);
    let shown: Vec<_> = node
        .core
        .replicas()
        .map(|r| (r.name().shard, r.applied(), r.group().last()))
        .collect();
    println!("before: {shown:?}");
    let node = node.restart().expect("restarts");
    let after: Vec<_> = node
        .core
        .replicas()
        .map(|r| (r.name().shard, r.applied(), r.group().last()))
        .collect();
    println!("after: {after:?}");
    assert_eq!(shown, after);
}

/// F2: the same, and a stale entry that was never committed is applied.
#[test]
fn stale_tail_is_applied_at_restart() {
    let mut node = Node::create(core_config(map(3, &["m"]), 1 << 22));
    // Shard 2 holds an entry nobody commits yet: it pins the replay mark.
    let m = node.append(2, 2, 1, (0, 0), vec![data(2, "z", b"z", 1)], 0);
    node.peer(m);
    let m = node.append(1, 2, 1, (0, 0), vec![data(1, "first", b"committed", 1)], 1);
    node.peer(m);
    let stale = (2..=3).map(|v| data(1, &format!("bad{v}"), b"never committed", v)).collect();
    let m = node.append(1, 2, 1, (1, 1), stale, 1);
    node.peer(m);
    // A leader of term 2 replaces 2..=5 by 2 and 3.
    let m = node.append(1, 3, 2, (1, 1), vec![data(1, "good2", b"committed", 2)], 1);
    node.peer(m);
    node.pass(1);
    node.now = node.now.plus(Nanos::from_millis(6_000));
    node.core.handle(node.moment(), Event::Tick, &mut Effects::default()).expect("fine");
    // Entry 3 is being flushed when the commits arrive: applied 2, frozen, and both commits go with the next flush.
    let m = node.append(1, 3, 2, (2, 2), vec![data(1, "good3", b"committed", 3)], 1);
    let e = node.peer_event(m);
    node.now = node.now.plus(Nanos::from_millis(0));
    // keep the overlay from being frozen in this very turn: time stands still until the next
    let late = node.now;
    node.now = Nanos(late.0 - Nanos::from_millis(5_500).0);
    node.turn(vec![e]);
    node.now = late;
    let m = node.append(1, 3, 2, (3, 2), vec![], 3);
    let e = node.peer_event(m);
    node.turn(vec![e]);
    // Only the flush in flight and what follows from it.
    for _ in 0..2 {
        let flushed = node.events.pop_front().into_iter().collect();
        node.turn(flushed);
    }
    let marks = crate::index::store::IndexReader::replica_marks(&node.store.reader()).expect("memory");
    println!(
        "marks: {:?} commits {}",
        marks.iter().map(|m| (m.name.shard, m.applied, m.commit)).collect::<Vec<_>>(),
        node.commits
    );
    assert_eq!(node.commits, 1);
    let rows = |node: &Node| {
        let mut store = node.store.clone();
        let _ = &mut store;
        node.core
            .replicas()
            .map(|r| (r.name().shard, r.applied(), r.applied_term))
            .collect::<Vec<_>>()
    };
    println!("before: {:?}", rows(&node));
    let before = rows(&node);
    let mut node = node.restart().expect("restarts");
    println!("after: {:?}", rows(&node));
    for (id, key) in [(1, "bad3"), (2, "good3")] {
        node.request(
            id,
            1,
            Operation::Get {
                key: Bytes::copy_from_slice(key.as_bytes()),
                version: ReadVersion::Latest,
                consistency: Consistency::Stale,
                returning: Returning::default(),
            },
        );
    }
    println!("bad3 (never committed), good3 (committed): {:?}", node.replies);
    assert_eq!(before, rows(&node));
}

/// E: a healthy replica is refused after a freeze in the turn that replaced its tail.
#[test]
fn healthy_replica_is_called_damaged() {
    let mut node = Node::create(core_config(map(3, &[]), 1 << 22));
    let m = node.append(1, 2, 1, (0, 0), vec![data(1, "a", b"a", 1)], 1);
    node.peer(m);
    let m = node.append(1, 2, 1, (1, 1), vec![data(1, "b", b"b", 2), data(1, "c", b"c", 3)], 1);
    node.peer(m);
    let m = node.append(1, 2, 1, (3, 1), vec![data(1, "d", b"d", 4)], 1);
    node.peer(m);
    node.pass(1);
    // The overlay's time comes in the turn in which a new leader replaces 2..=4.
    node.now = node.now.plus(Nanos::from_millis(6_000));
    let m = node.append(1, 3, 2, (1, 1), vec![data(1, "e", b"e", 2)], 1);
    node.peer(m);
    assert_eq!(node.commits, 1);
    let node = node.restart().expect("restarts");
    assert!(node.found.damaged.is_empty(), "nothing is damaged, but: {:?}", node.found.damaged);
}

/// L: old entries for a laggard across a segment that is full to its last byte.
#[test]
fn laggard_fetch_at_the_end_of_a_full_segment() {
    let config = core_config(map(3, &[]), 8 * 4096);
    let mut node = Node::create(config);
    // One block per batch, so that segments are filled exactly.
    for index in 1..=20u64 {
        let m = node.append(
            1,
            2,
            1,
            (index - 1, u64::from(index > 1)),
            vec![data(1, &format!("k{index}"), b"v", index)],
            index,
        );
        node.peer(m);
    }
    node.pass(1);
    node.pass(6_000);
    node.pass(6_000);
    assert_eq!(node.commits, 1);
    println!("{:?}", node.disk.0.keys());
    // After a restart nothing of it is in memory.
    let mut node = node.restart().expect("restarts");
    node.ticks(25);
    let term = node.sent.iter().map(|(_, m)| m.term.0).max().expect("campaigns");
    let r = node.message(PeerMessageKind::PreVoteResponse, 1, 2, term);
    node.peer(r);
    let term = node.sent.iter().map(|(_, m)| m.term.0).max().expect("campaigns");
    let r = node.message(PeerMessageKind::VoteResponse, 1, 2, term);
    node.peer(r);
    assert_eq!(
        node.core.replicas().next().expect("one").group().role(),
        crate::consensus::group::Role::Leader
    );
    node.sent.clear();
    node.max_reads = 2_000;
    // Node 3 has nothing.
    let mut r = node.message(PeerMessageKind::AppendResponse, 1, 3, term);
    (r.index, r.reject, r.reject_hint) = (LogIndex(20), true, LogIndex(0));
    node.peer(r);
    let sent: usize = node
        .sent
        .iter()
        .filter(|(to, _)| to.node == NodeId(3))
        .map(|(_, m)| m.entries.len())
        .sum();
    println!("reads {} entries sent {}", node.reads, sent);
    assert!(node.reads < 100, "{} reads and still no entry sent", node.reads);
    assert!(sent > 0);
}

/// A: after a restart without an index, term 0 at index 0 is forgotten: a member with an empty log is never caught up.
#[test]
fn member_with_an_empty_log_is_never_caught_up() {
    let mut node = Node::create(core_config(map(3, &[]), 1 << 22));
    let m = node.append(1, 2, 1, (0, 0), vec![data(1, "a", b"a", 1)], 1);
    node.peer(m);
    node.pass(10);
    let mut node = node.restart().expect("restarts");
    println!(
        "term at 0: {:?}",
        node.core.replicas().next().expect("one").group().term_at(LogIndex(0))
    );
    node.ticks(25);
    let term = node.sent.iter().map(|(_, m)| m.term.0).max().expect("campaigns");
    let r = node.message(PeerMessageKind::PreVoteResponse, 1, 2, term);
    node.peer(r);
    let r = node.message(PeerMessageKind::VoteResponse, 1, 2, term);
    node.peer(r);
    node.sent.clear();
    let mut r = node.message(PeerMessageKind::AppendResponse, 1, 3, term);
    (r.index, r.reject, r.reject_hint) = (LogIndex(1), true, LogIndex(0));
    node.peer(r);
    for _ in 0..5 {
        node.ticks(1);
        let h = node.message(PeerMessageKind::HeartbeatResponse, 1, 3, term);
        node.peer(h);
        let h = node.message(PeerMessageKind::HeartbeatResponse, 1, 2, term);
        node.peer(h);
    }
    let sent: usize = node
        .sent
        .iter()
        .filter(|(to, _)| to.node == NodeId(3))
        .map(|(_, m)| m.entries.len())
        .sum();
    assert!(sent > 0, "nothing is ever sent to the member with an empty log");
}

/// L control: the same with room left at the end of each segment.
#[test]
fn laggard_fetch_control() {
    let config = core_config(map(3, &[]), 9 * 4096);
    let mut node = Node::create(config);
    for index in 1..=20u64 {
        let m = node.append(
            1,
            2,
            1,
            (index - 1, u64::from(index > 1)),
            vec![data(1, &format!("k{index}"), &[7; 9000], index)],
            index,
        );
        node.peer(m);
    }
    node.pass(1);
    node.pass(6_000);
    node.pass(6_000);
    let mut node = node.restart().expect("restarts");
    node.ticks(25);
    let term = node.sent.iter().map(|(_, m)| m.term.0).max().expect("campaigns");
    let r = node.message(PeerMessageKind::PreVoteResponse, 1, 2, term);
    node.peer(r);
    let r = node.message(PeerMessageKind::VoteResponse, 1, 2, term);
    node.peer(r);
    node.sent.clear();
    node.max_reads = 2_000;
    let mut r = node.message(PeerMessageKind::AppendResponse, 1, 3, term);
    (r.index, r.reject, r.reject_hint) = (LogIndex(20), true, LogIndex(0));
    node.peer(r);
    let sent: usize = node
        .sent
        .iter()
        .filter(|(to, _)| to.node == NodeId(3))
        .map(|(_, m)| m.entries.len())
        .sum();
    println!("reads {} entries sent {}", node.reads, sent);
    assert!(node.reads < 100 && sent > 0);
}

/// A replica stopped because it lost entries never votes again, also after restarts; the core's others go on.
#[test]
fn retired_replica_stays_retired() {
    let mut node = Node::create(core_config(map(3, &["m"]), 1 << 22));
    let m = node.append(2, 2, 1, (0, 0), vec![data(2, "x", b"x", 1)], 1);
    node.peer(m);
    let m = node.append(1, 2, 5, (0, 0), vec![data(1, "a", b"a", 1)], 1);
    node.peer(m);
    let m = node.append(1, 2, 5, (1, 5), vec![data(1, "b", b"b", 2), data(1, "c", b"c", 3)], 1);
    node.peer(m);
    let last = node
        .core
        .replicas()
        .map(|r| (r.name().shard, r.group().last(), r.group().hard_state()))
        .collect::<Vec<_>>();
    let mut m = node.message(PeerMessageKind::Heartbeat, 1, 2, 5);
    m.commit = LogIndex(9);
    node.peer(m);
    assert_eq!(node.core.replicas().count(), 1);
    let m = node.append(2, 2, 1, (1, 1), vec![data(2, "y", b"y", 2)], 2);
    node.peer(m);
    node.pass(6_000);
    node.pass(6_000);
    assert!(node.commits >= 1);
    match node.restart() {
        Ok(node) => {
            let now = node
                .core
                .replicas()
                .map(|r| (r.name().shard, r.group().last(), r.group().hard_state()))
                .collect::<Vec<_>>();
            assert_eq!(
                now.iter().map(|(shard, _, _)| *shard).collect::<Vec<_>>(),
                [ShardId(2)],
                "before: {last:?}"
            );
            assert_eq!(node.found.damaged.iter().map(|name| name.shard).collect::<Vec<_>>(), [ShardId(1)]);
        }
        Err(error) => panic!("the whole core does not start: {error}"),
    }
}

/// A replica stopped because it lost entries never votes again, also after restarts; the core's others go on.
#[test]
fn retired_replica_stays_retired_after_a_generation() {
    let mut node = Node::create(core_config(map(3, &["m"]), 1 << 22));
    let m = node.append(2, 2, 1, (0, 0), vec![data(2, "x", b"x", 1)], 1);
    node.peer(m);
    let m = node.append(1, 2, 5, (0, 0), vec![data(1, "a", b"a", 1)], 1);
    node.peer(m);
    node.pass(1);
    node.pass(6_000);
    let m = node.append(1, 3, 6, (1, 5), vec![], 1);
    node.peer(m);
    let m = node.append(1, 3, 6, (1, 5), vec![data(1, "b", b"b", 2), data(1, "c", b"c", 3)], 1);
    node.peer(m);
    let last = node
        .core
        .replicas()
        .map(|r| (r.name().shard, r.group().last(), r.group().hard_state()))
        .collect::<Vec<_>>();
    let mut m = node.message(PeerMessageKind::Heartbeat, 1, 3, 6);
    m.commit = LogIndex(9);
    node.peer(m);
    assert_eq!(node.core.replicas().count(), 1);
    let m = node.append(2, 2, 1, (1, 1), vec![data(2, "y", b"y", 2)], 2);
    node.peer(m);
    node.pass(6_000);
    node.pass(6_000);
    assert!(node.commits >= 1);
    match node.restart() {
        Ok(node) => {
            let now = node
                .core
                .replicas()
                .map(|r| (r.name().shard, r.group().last(), r.group().hard_state()))
                .collect::<Vec<_>>();
            assert_eq!(
                now.iter().map(|(shard, _, _)| *shard).collect::<Vec<_>>(),
                [ShardId(2)],
                "before: {last:?}"
            );
            assert_eq!(node.found.damaged.iter().map(|name| name.shard).collect::<Vec<_>>(), [ShardId(1)]);
        }
        Err(error) => panic!("the whole core does not start: {error}"),
    }
}

/// N1: a key outside the range in a peer's append.
#[test]
fn append_of_a_foreign_key() {
    let mut node = Node::create(core_config(map(3, &["m"]), 1 << 22));
    let m = node.append(1, 2, 1, (0, 0), vec![data(1, "zzz", b"outside", 1)], 1);
    node.peer(m);
}

/// N2: versions that do not grow in a peer's append.
#[test]
fn append_of_an_old_version() {
    let mut node = Node::create(core_config(map(3, &["m"]), 1 << 22));
    let m = node.append(1, 2, 1, (0, 0), vec![data(1, "a", b"a", 0)], 1);
    node.peer(m);
}

/// N3: a conflict with a committed entry.
#[test]
fn append_against_a_committed_entry() {
    let mut node = Node::create(core_config(map(3, &["m"]), 1 << 22));
    let m = node.append(1, 2, 1, (0, 0), vec![data(1, "a", b"a", 1), data(1, "b", b"b", 2)], 2);
    node.peer(m);
    let mut m = node.append(1, 3, 2, (2, 1), vec![data(1, "c", b"c", 3)], 2);
    node.peer(m.clone());
    m = node.append(1, 3, 3, (2, 9), vec![], 2);
    m.log_term = Term(0);
    node.peer(m);
}

/// N4: after a restart without marks, an append whose previous term is 0.
#[test]
fn append_with_log_term_zero_after_restart() {
    let mut node = Node::create(core_config(map(3, &["m"]), 1 << 22));
    let m = node.append(1, 2, 1, (0, 0), vec![data(1, "a", b"a", 1), data(1, "b", b"b", 2)], 1);
    node.peer(m);
    node.pass(10);
    let mut node = node.restart().expect("restarts");
    let mut m = node.append(1, 3, 2, (2, 0), vec![], 1);
    m.log_term = Term(0);
    node.peer(m);
}

/// S: the batch at the replay mark rots: does the core start with its other replica?
#[test]
fn rot_at_the_replay_mark() {
    let mut node = Node::create(core_config(map(1, &["m"]), 1 << 22));
    node.ticks(25);
    node.set(1, 1, "acked", b"must survive");
    node.pass(1);
    node.pass(6_000);
    node.set(2, 2, "z", b"zed");
    let mark = crate::index::store::IndexReader::core_marks(&node.store.reader())
        .expect("memory")
        .expect("marks");
    let bytes = node.disk.0.get_mut(&mark.replay.segment).expect("segment");
    bytes[mark.replay.offset as usize + 60] ^= 1;
    if let Err(error) = node.restart().map(|_| ()) {
        panic!("{error}");
    }
}
