//! One node of the world: a core, its disk and its index, and a driver that waits to be told when things are done.

use std::collections::BTreeSet;

use margate_engine::consensus::group::RaftTicks;
use margate_engine::core::creation::{checkpoints, creation_flushes};
use margate_engine::core::event::{Effect, Effects, Event, Halt, Moment};
use margate_engine::core::generations::CommitPace;
use margate_engine::core::machine::Core;
use margate_engine::core::replay::{CoreConfig, replay};
use margate_engine::core::room::DiskLimits;
use margate_engine::index::{Generation, MemoryReader, MemoryStore};
use margate_engine::log::segment::LogConfig;
use margate_engine::planted::Planted;
use margate_engine::types::Nanos;
use margate_net::ids::{ClusterId, CoreId, DirectoryId, Incarnation, NodeId};
use margate_net::map::Map;
use margate_net::message::{MemberMessage, PeerBatch, Reply};

use crate::disk::Disk;
use crate::show;

/// Ticks without a leader before an election.
pub(crate) const ELECTION_TICKS: u32 = 10;
/// Bytes of a segment, where a script says nothing of it.
pub(crate) const SEGMENT_BYTES: u32 = 4 << 20;
/// Bytes that the log leaves of the disk; the watermark is two segments above.
const RESERVE_BYTES: u64 = 8 << 20;
/// Turns a core may ask for at one moment before it is spinning.
const TURNS_AT_ONCE_MAX: usize = 1_000;

/// What a node does that others or the script see.
pub(crate) enum Seen {
    /// It handed a batch, a generation or a read to its disk.
    Disk(String),
    /// It answered a client.
    Reply(Reply),
    /// It said something to a peer.
    Send(NodeId, PeerBatch),
    /// It said something to a peer about members.
    SendMember(NodeId, MemberMessage),
    /// It stopped.
    Halted(Halt),
}

/// See the module's text.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) disk: Disk,
    pub(crate) core: Option<Core<MemoryReader>>,
    /// Whether its disk has no space for segments.
    pub(crate) refuses_segments: bool,
    config: CoreConfig,
    store: MemoryStore,
    committing: Option<Generation>,
}

impl Node {
    /// A node whose replicas have just been created.
    pub(crate) fn create(map: &Map, id: NodeId, wall: Nanos, (tick, segment_bytes): (Nanos, u32)) -> Self {
        let log = LogConfig {
            cluster: ClusterId(1),
            directory: DirectoryId(u128::from(id.0)),
            node: id,
            core: CoreId(0),
            segment_bytes,
            ready_min: 1,
        };
        let mut disk = Disk::new(log);
        let first = disk.prewrite(1);
        for flush in creation_flushes(log, first, checkpoints(map, id, CoreId(0), wall), wall) {
            disk.begin(&flush);
            disk.finish();
        }
        let config = CoreConfig {
            joined: false,
            log,
            map: map.clone(),
            // A heartbeat each tick: scripts need no more of them than show something.
            ticks: RaftTicks {
                election: ELECTION_TICKS,
                heartbeat: 1,
            },
            tick,
            commits: CommitPace::USUAL,
            disk: DiskLimits::new(RESERVE_BYTES, SEGMENT_BYTES, 1),
            suspects: BTreeSet::new(),
            seed: id.0,
            planted: Planted::NONE,
        };
        Self {
            id,
            incarnation: Incarnation(0),
            disk,
            core: None,
            refuses_segments: false,
            config,
            store: MemoryStore::new(),
            committing: None,
        }
    }

    /// Replays log and index; says how it went.
    pub(crate) fn start(&mut self) -> String {
        assert!(self.core.is_none(), "node {} is running", self.id);
        self.incarnation.0 += 1;
        let replayed = match replay(&self.config, &mut self.disk, self.store.reader(), &mut self.store.writer()) {
            Ok(replayed) => replayed,
            Err(error) => return format!("does not start: {error}"),
        };
        self.disk.discard(&replayed.found.discard);
        let found = &replayed.found;
        let torn = if found.torn_bytes > 0 { ", a torn tail was dropped" } else { "" };
        let damaged: String = found
            .damaged
            .iter()
            .map(|name| format!(", {} is damaged", show::name(*name)))
            .collect();
        self.core = Some(replayed.core);
        format!("starts, {} entries applied from the log{torn}{damaged}", found.entries_applied)
    }

    /// Its disks are replaced by empty ones. It joins what exists, under a directory nobody has heard of.
    pub(crate) fn wipe(&mut self) {
        self.wipe_index();
        self.config.joined = true;
        self.config.log.directory.0 += 100;
        self.disk = Disk::new(self.config.log);
        let _made_with_the_core = self.disk.prewrite(1);
    }

    /// So many of the newest generations are gone.
    pub(crate) fn revert_index(&mut self, generations: usize) {
        assert!(self.core.is_none(), "node {} is running", self.id);
        assert_eq!(self.store.revert(generations), generations, "that many generations are remembered");
    }

    /// The index is gone; the log is to make a new one.
    pub(crate) fn wipe_index(&mut self) {
        assert!(self.core.is_none(), "node {} is running", self.id);
        self.store = MemoryStore::new();
    }

    /// The process dies; of a write under way so many blocks are kept.
    pub(crate) fn crash(&mut self, kept: usize) {
        self.core = None;
        self.committing = None;
        self.disk.crash(kept);
        self.store.crash();
    }

    /// The running core.
    pub(crate) fn core(&self) -> &Core<MemoryReader> {
        self.core.as_ref().unwrap_or_else(|| panic!("node {} is down", self.id))
    }

    /// The write under way is durable.
    pub(crate) fn flushed(&mut self) -> Option<Event> {
        let lasted = (Nanos(0), Nanos(0));
        self.disk.finish().map(|sequence| Event::Flushed { sequence, lasted })
    }

    /// The generation under way is durable.
    pub(crate) fn index_done(&mut self) -> Option<Event> {
        self.committing.take()?;
        self.store
            .finish()
            .map(|(generation, churn)| Event::IndexDone { generation, churn })
    }

    /// Whether the index is being committed to.
    pub(crate) fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    /// A turn with these events, and those the core asks for at once.
    pub(crate) fn turn(&mut self, moment: Moment, mut events: Vec<Event>) -> Vec<Seen> {
        let mut seen = Vec::new();
        for _ in 0..TURNS_AT_ONCE_MAX {
            match self.one_turn(moment, events, &mut seen) {
                Ok(followed) => events = followed,
                Err(halt) => {
                    self.crash(0);
                    seen.push(Seen::Halted(halt));
                    return seen;
                }
            }
            if events.is_empty() && self.core().deadline().is_none_or(|due| due > moment.now) {
                return seen;
            }
        }
        panic!("node {} spins", self.id)
    }

    /// One turn; what the disk answers at once comes back as events for the next.
    fn one_turn(&mut self, moment: Moment, events: Vec<Event>, seen: &mut Vec<Seen>) -> Result<Vec<Event>, Halt> {
        let (mut effects, mut followed) = (Effects::default(), Vec::new());
        for event in events {
            self.running().handle(moment, event, &mut effects)?;
            self.perform(&mut effects, seen, &mut followed);
        }
        self.running().end_turn(moment, &mut effects)?;
        self.perform(&mut effects, seen, &mut followed);
        Ok(followed)
    }

    fn running(&mut self) -> &mut Core<MemoryReader> {
        self.core.as_mut().unwrap_or_else(|| panic!("node {} is down", self.id))
    }

    fn perform(&mut self, effects: &mut Effects, seen: &mut Vec<Seen>, followed: &mut Vec<Event>) {
        for effect in effects.drain() {
            match effect {
                Effect::CommitIndex(generation) => {
                    seen.push(Seen::Disk(format!("commits {}", show::generation(&generation))));
                    self.store.begin(&generation);
                    self.committing = Some(generation);
                }
                Effect::DeleteSegment { number } => {
                    seen.push(Seen::Disk(format!("deletes segment {number}")));
                    self.disk.delete(number);
                    followed.push(Event::SegmentDeleted);
                }
                Effect::RecycleSegment { from, to } => {
                    seen.push(Seen::Disk(format!("recycles segment {from} as {to}")));
                    followed.push(Event::SegmentReady(self.disk.recycle(from, to)));
                }
                Effect::PrepareSegment { number } if self.refuses_segments => {
                    seen.push(Seen::Disk(format!("has no space for segment {number}")));
                    followed.push(Event::SegmentRefused { number });
                }
                Effect::PrepareSegment { number } => followed.push(Event::SegmentReady(self.disk.prewrite(number))),
                Effect::Read { ticket, position, length } => {
                    seen.push(Seen::Disk(format!("reads {length} bytes of segment {}", position.segment)));
                    let result = self.disk.read_at(position, length);
                    followed.push(Event::ReadDone { ticket, result });
                }
                Effect::Reply { reply, .. } => seen.push(Seen::Reply(reply)),
                Effect::Send { to, batch } => seen.push(Seen::Send(to.node, batch)),
                Effect::SendMember { to, message } => seen.push(Seen::SendMember(to.node, message)),
                Effect::Write(flush) => {
                    let salt = self.disk.salt(flush.segment);
                    seen.push(Seen::Disk(format!("writes {}", show::flush(&self.config.log, salt, &flush))));
                    self.disk.begin(&flush);
                }
            }
        }
    }
}
