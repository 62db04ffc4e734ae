//! One node on real files, carried out at once and in order: what made the fixture, and what opens it.
//!
//! Not here, on purpose: its peers (`deployment`).

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use margate_engine::bootstrap::identity::{Creation, Identity, Membership};
use margate_engine::config::static_map;
use margate_engine::core::event::{Effect, Effects, Event, LogReadFault, Moment, PeerName};
use margate_engine::core::machine::Core;
use margate_engine::core::replay::{CoreConfig, Found, replay};
use margate_engine::core::room::DiskLimits;
use margate_engine::index::{IndexWriter, marks};
use margate_engine::log::segment::LogConfig;
use margate_engine::planted::Planted;
use margate_engine::runtime::directory::DataDirectory;
use margate_engine::runtime::index_reader::HeedReader;
use margate_engine::runtime::index_store::{HeedIndex, HeedWriter};
use margate_engine::runtime::node::create_log;
use margate_engine::runtime::segments::{self, Pace, SegmentFiles};
use margate_engine::shard::answer::ConnectionId;
use margate_engine::types::{Nanos, Position};
use margate_net::codec::ReceivedRequest;
use margate_net::error::Refusal;
use margate_net::ids::{ClusterId, CoreId, DirectoryId, Incarnation, NodeId, RangeEpoch};
use margate_net::map::{Map, MapNode};
use margate_net::message::{MemberMessage, Operation, PeerBatch, Reply, Request, Success};

/// Nodes of the deployment.
pub(crate) const NODES: u64 = 3;
/// The core of every node.
const CORE: CoreId = CoreId(0);
/// Bytes of a segment.
const SEGMENT_BYTES: u32 = 64 << 10;
/// Bytes of the index's map.
const MAP_BYTES: usize = 1 << 20;
/// Ticks without a leader before an election.
const ELECTION_TICKS: u32 = 10;

/// What others see of a turn.
pub(crate) enum Seen {
    Reply(Reply),
    Send(PeerName, PeerBatch),
    SendMember(PeerName, MemberMessage),
}

/// See the module's text.
pub(crate) struct Node {
    pub(crate) core: Core<HeedReader>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) incarnation: Incarnation,
    pub(crate) found: Found,
    /// Where batches were written since the start, and their lengths.
    pub(crate) written: Vec<(Position, usize)>,
    config: CoreConfig,
    root: PathBuf,
    writer: HeedWriter,
}

/// Two shards, cut at `m`; each node has a replica of both.
fn map() -> Map {
    let homes: Vec<MapNode> = (1..=NODES)
        .map(|id| MapNode {
            id: NodeId(id),
            cores: vec![([127, 0, 0, 1], 7_000 + u16::try_from(id).expect("few nodes")).into()],
        })
        .collect();
    static_map(ClusterId(0x1234_5678), &homes, &[Bytes::from_static(b"m")], homes.len()).expect("a sound topology")
}

fn directory_of(node: NodeId) -> DirectoryId {
    DirectoryId(0xd1_0000 + u128::from(node.0))
}

fn config(node: NodeId) -> CoreConfig {
    let map = map();
    let log = LogConfig {
        cluster: map.cluster(),
        directory: directory_of(node),
        node,
        core: CORE,
        segment_bytes: SEGMENT_BYTES,
        ready_min: 1,
    };
    CoreConfig {
        suspects: BTreeSet::new(),
        joined: false,
        log,
        map,
        election_ticks: ELECTION_TICKS,
        tick: Nanos(0),
        disk: DiskLimits::default(),
        seed: node.0,
        planted: Planted::NONE,
    }
}

/// Makes a node's data directory, as its creation does.
pub(crate) fn create(root: &Path, node: NodeId) {
    let config = config(node);
    let (directory, _) = DataDirectory::open(root, node, directory_of(node)).expect("a new directory");
    directory.make_core(CORE).expect("new folders");
    create_log(&directory.log(CORE), config.log, Some(&config.map)).expect("a new log");
    let creation = Creation {
        directories: (1..=NODES).map(|id| (NodeId(id), directory_of(NodeId(id)))).collect(),
        map: config.map,
    };
    let identity = Identity {
        directory: directory_of(node),
        node,
        membership: Membership::Member {
            creation,
            cores_created: true,
            joined: false,
        },
    };
    directory.store(&identity).expect("the disk takes it");
}

impl Node {
    /// Starts a node on its data directory, or says why it does not start.
    pub(crate) fn open(root: &Path, node: NodeId) -> Result<Self, String> {
        let config = config(node);
        let log = root.join("core-0/log");
        let mut files = SegmentFiles::list(&log).map_err(|error| error.to_string())?;
        let identity = marks::Identity {
            cluster: config.log.cluster,
            directory: config.log.directory,
        };
        let index = HeedIndex::open(&root.join("core-0/index"), MAP_BYTES, identity);
        let (reader, mut writer) = index.map_err(|error| error.to_string())?;
        let replayed = replay(&config, &mut files, reader, &mut writer).map_err(|error| error.to_string())?;
        files.discard(&replayed.found.discard).expect("the disk takes it");
        Ok(Self {
            core: replayed.core,
            events: VecDeque::new(),
            incarnation: Incarnation(1),
            found: replayed.found,
            written: Vec::new(),
            config,
            root: root.to_owned(),
            writer,
        })
    }

    /// Its name among peers.
    pub(crate) fn name(&self) -> PeerName {
        PeerName {
            node: self.config.log.node,
            core: CORE,
        }
    }

    /// One turn with all it has to hear; its files are changed at once.
    pub(crate) fn turn(&mut self, now: Nanos) -> Vec<Seen> {
        let moment = Moment { now, wall: now };
        let (mut effects, mut seen) = (Effects::default(), Vec::new());
        for event in std::mem::take(&mut self.events) {
            self.core.handle(moment, event, &mut effects).expect("the core goes on");
        }
        self.core.end_turn(moment, &mut effects).expect("the core goes on");
        for effect in effects.drain() {
            match effect {
                Effect::Reply { reply, .. } => seen.push(Seen::Reply(reply)),
                Effect::Send { to, batch } => seen.push(Seen::Send(to, batch)),
                Effect::SendMember { to, message } => seen.push(Seen::SendMember(to, message)),
                effect @ (Effect::CommitIndex(_)
                | Effect::DeleteSegment { .. }
                | Effect::PrepareSegment { .. }
                | Effect::Read { .. }
                | Effect::RecycleSegment { .. }
                | Effect::Write(_)) => {
                    let event = self.perform(effect);
                    self.events.extend(event);
                }
            }
        }
        seen
    }

    /// Asks it alone, and says what it answers.
    pub(crate) fn ask(&mut self, id: u64, operation: Operation) -> Result<Success, Refusal> {
        let shard = self.config.map.shard_of(operation.routing_key()).id;
        let request = Request {
            id,
            shard,
            range_epoch: RangeEpoch(1),
            timeout_ms: 60_000,
            operation,
        };
        self.events.push_back(Event::Requests {
            connection: ConnectionId(1),
            requests: vec![ReceivedRequest { id, request: Ok(request) }],
        });
        for _ in 0..100 {
            for seen in self.turn(Nanos::from_millis(1)) {
                if let Seen::Reply(reply) = seen {
                    return reply.outcome;
                }
            }
        }
        panic!("no answer");
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        let (log, config) = (self.root.join("core-0/log"), self.config.log);
        Some(match effect {
            Effect::CommitIndex(generation) => {
                self.writer.commit(&generation).expect("the index takes it");
                Event::IndexDone {
                    generation: generation.number,
                }
            }
            Effect::DeleteSegment { number } => {
                segments::delete(&log, number).expect("the disk takes it");
                Event::SegmentDeleted
            }
            Effect::PrepareSegment { number } => {
                Event::SegmentReady(segments::prewrite(&log, &config, number, Pace::Full).expect("the disk takes it"))
            }
            Effect::Read { ticket, position, length } => Event::ReadDone {
                ticket,
                result: self.read(position, length),
            },
            Effect::RecycleSegment { from, to } => {
                Event::SegmentReady(segments::recycle(&log, &config, from, to).expect("the disk takes it"))
            }
            Effect::Write(flush) => {
                segments::write_first(&log, &flush).expect("the disk takes it");
                let position = Position {
                    segment: flush.segment,
                    offset: flush.offset,
                };
                self.written.push((position, flush.length));
                Event::Flushed { sequence: flush.sequence }
            }
            Effect::Reply { .. } | Effect::Send { .. } | Effect::SendMember { .. } => return None,
        })
    }

    fn read(&self, position: Position, length: usize) -> Result<Bytes, LogReadFault> {
        let mut bytes = vec![0; length];
        let path = segments::path(&self.root.join("core-0/log"), position.segment);
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, position.offset.into()));
        read.map(|()| Bytes::from(bytes)).map_err(|error| LogReadFault {
            position,
            length,
            errno: error.raw_os_error().unwrap_or(0),
        })
    }
}
