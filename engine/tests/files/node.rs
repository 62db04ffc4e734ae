//! One node on real files: a core, its segments and its index in LMDB, carried out at once and in order.
//!
//! Opening is what a node's start does: list the segments, open the index, replay, discard, sync.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use margate_engine::consensus::group::RaftTicks;
use margate_engine::core::event::{Effect, Effects, Event, LogReadFault, Moment, PeerName};
use margate_engine::core::generations::CommitPace;
use margate_engine::core::machine::Core;
use margate_engine::core::replay::{CoreConfig, Found, replay};
use margate_engine::core::room::DiskLimits;
use margate_engine::index::marks::Identity;
use margate_engine::index::{Generation, IndexWriter};
use margate_engine::log::flush::Flush;
use margate_engine::log::segment::LogConfig;
use margate_engine::planted::Planted;
use margate_engine::runtime::directory::DataDirectory;
use margate_engine::runtime::index_reader::HeedReader;
use margate_engine::runtime::index_store::{HeedIndex, HeedWriter};
use margate_engine::runtime::node::create_log;
use margate_engine::runtime::segments::{self, Pace, SegmentFiles};
use margate_engine::types::{Nanos, Position};
use margate_net::ids::{CoreId, DirectoryId, Incarnation, NodeId};
use margate_net::map::Map;
use margate_net::message::{MemberMessage, PeerBatch, Reply};

use super::ledger::{Ledger, found};

/// Bytes of the index's map.
const MAP_BYTES: usize = 1 << 20;
/// Ticks without a leader before an election.
pub(crate) const ELECTION_TICKS: u32 = 10;

/// What changes a node's files.
pub(crate) enum Deed {
    Commit(Generation),
    Delete(u32),
    Prepare(u32),
    Recycle(u32, u32),
    Write(Flush),
}

/// What others see of a turn.
pub(crate) enum Seen {
    Reply(Reply),
    Send(PeerName, PeerBatch),
    SendMember(PeerName, MemberMessage),
}

/// Where a node's files are.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    pub(crate) root: PathBuf,
}

/// See the module's text.
pub(crate) struct Node {
    pub(crate) core: Core<HeedReader>,
    pub(crate) folders: Folders,
    pub(crate) ledger: Ledger,
    /// What will be heard.
    pub(crate) events: VecDeque<Event>,
    /// What is to be done to the files, later.
    pub(crate) held: VecDeque<Deed>,
    pub(crate) config: CoreConfig,
    pub(crate) incarnation: Incarnation,
    /// What its start found in the log.
    pub(crate) found: Found,
    writer: HeedWriter,
}

impl Folders {
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("core-0/log")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("core-0/index")
    }
}

/// What the core of a node is told at start.
pub(crate) fn config(map: &Map, (node, directory): (NodeId, DirectoryId), segment_bytes: u32) -> CoreConfig {
    let log = LogConfig {
        cluster: map.cluster(),
        directory,
        node,
        core: CoreId(0),
        segment_bytes,
        ready_min: 1,
    };
    CoreConfig {
        joined: false,
        log,
        map: map.clone(),
        ticks: RaftTicks::of_election(ELECTION_TICKS),
        tick: Nanos(0),
        commits: CommitPace::USUAL,
        disk: DiskLimits::default(),
        suspects: BTreeSet::new(),
        seed: node.0,
        planted: Planted::NONE,
    }
}

/// An index, as a start opens it.
pub(crate) fn open_index(folder: &Path, config: &CoreConfig) -> Result<(HeedReader, HeedWriter), String> {
    let identity = Identity {
        cluster: config.log.cluster,
        directory: config.log.directory,
    };
    HeedIndex::open(folder, MAP_BYTES, identity).map_err(|error| error.to_string())
}

impl Node {
    /// Makes a node's files, as its creation does, and starts it.
    pub(crate) fn create(root: &Path, config: CoreConfig) -> Self {
        let log = config.log;
        let (directory, _) = DataDirectory::open(root, log.node, log.directory).expect("a new directory");
        directory.make_core(log.core).expect("new folders");
        let map = (!config.joined).then_some(&config.map);
        create_log(&directory.log(log.core), log, map).expect("a new log");
        let ledger = found(root, &config).expect("a new log is whole");
        Self::open(root, config, ledger).expect("a new node starts")
    }

    /// Starts a node on its files, of which the ledger says what is in them; nothing in them may be damaged.
    pub(crate) fn open(root: &Path, config: CoreConfig, ledger: Ledger) -> Result<Self, String> {
        Self::open_damaged(root, config, ledger)?.sound()
    }

    /// Starts a node on its files, whatever is left of them.
    pub(crate) fn open_damaged(root: &Path, config: CoreConfig, ledger: Ledger) -> Result<Self, String> {
        let (node, mut files) = Self::replay(root, config, ledger)?;
        files.discard(&node.found.discard).map_err(|error| error.to_string())?;
        Ok(node)
    }

    /// Its name among peers.
    pub(crate) fn name(&self) -> PeerName {
        PeerName {
            node: self.config.log.node,
            core: self.config.log.core,
        }
    }

    /// Starts a node without a change to its log's files.
    pub(crate) fn look(root: &Path, config: &CoreConfig) -> Result<Self, String> {
        let (node, _) = Self::replay(root, config.clone(), Ledger::default())?;
        node.sound()
    }

    fn replay(root: &Path, config: CoreConfig, ledger: Ledger) -> Result<(Self, SegmentFiles), String> {
        let folders = Folders { root: root.to_owned() };
        let mut files = SegmentFiles::list(&folders.log()).map_err(|error| error.to_string())?;
        let (reader, mut writer) = open_index(&folders.index(), &config)?;
        let replayed = replay(&config, &mut files, reader, &mut writer).map_err(|error| error.to_string())?;
        let node = Self {
            core: replayed.core,
            folders,
            ledger,
            events: VecDeque::new(),
            held: VecDeque::new(),
            config,
            incarnation: Incarnation(1),
            found: replayed.found,
            writer,
        };
        Ok((node, files))
    }

    fn sound(self) -> Result<Self, String> {
        if self.found.damaged.is_empty() {
            Ok(self)
        } else {
            Err(format!("{:?} are taken for damaged", self.found.damaged))
        }
    }

    /// One turn with these events. What is to be done to files is left to the caller.
    pub(crate) fn turn(&mut self, now: Nanos, events: Vec<Event>) -> (Vec<Seen>, Vec<Deed>) {
        let moment = Moment { now, wall: now };
        let (mut effects, mut seen, mut deeds) = (Effects::default(), Vec::new(), Vec::new());
        for event in events {
            self.core.handle(moment, event, &mut effects).expect("the core goes on");
        }
        self.core.end_turn(moment, &mut effects).expect("the core goes on");
        for effect in effects.drain() {
            match effect {
                Effect::CommitIndex(generation) => deeds.push(Deed::Commit(generation)),
                Effect::DeleteSegment { number } => deeds.push(Deed::Delete(number)),
                Effect::PrepareSegment { number } => deeds.push(Deed::Prepare(number)),
                Effect::Read { ticket, position, length } => {
                    let result = self.read(position, length);
                    self.events.push_back(Event::ReadDone { ticket, result });
                }
                Effect::RecycleSegment { from, to } => deeds.push(Deed::Recycle(from, to)),
                Effect::Reply { reply, .. } => seen.push(Seen::Reply(reply)),
                Effect::SendMember { to, message } => seen.push(Seen::SendMember(to, message)),
                Effect::Send { to, batch } => seen.push(Seen::Send(to, batch)),
                Effect::Write(flush) => deeds.push(Deed::Write(flush)),
            }
        }
        (seen, deeds)
    }

    /// Does something to the files, and says what the core will hear of it.
    pub(crate) fn perform(&mut self, deed: &Deed) -> Event {
        match deed {
            Deed::Commit(generation) => {
                let churn = self.writer.commit(generation).expect("the index takes it");
                Event::IndexDone {
                    generation: generation.number,
                    churn,
                }
            }
            Deed::Prepare(number) => {
                let ready = segments::prewrite(&self.folders.log(), &self.config.log, *number, Pace::Full);
                Event::SegmentReady(ready.expect("the disk takes it"))
            }
            Deed::Delete(number) => {
                segments::delete(&self.folders.log(), *number).expect("the disk takes it");
                Event::SegmentDeleted
            }
            Deed::Recycle(from, to) => {
                let ready = segments::recycle(&self.folders.log(), &self.config.log, *from, *to, Pace::Full);
                Event::SegmentReady(ready.expect("the disk takes it"))
            }
            Deed::Write(flush) => {
                segments::write_first(&self.folders.log(), flush).expect("the disk takes it");
                Event::Flushed {
                    sequence: flush.sequence,
                    lasted: (Nanos(0), Nanos(0)),
                }
            }
        }
    }

    pub(crate) fn read(&self, position: Position, length: usize) -> Result<Bytes, LogReadFault> {
        let mut bytes = vec![0; length];
        let path = segments::path(&self.folders.log(), position.segment);
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, position.offset.into()));
        read.map(|()| Bytes::from(bytes)).map_err(|error| LogReadFault {
            position,
            length,
            errno: error.raw_os_error().unwrap_or(0),
        })
    }
}
