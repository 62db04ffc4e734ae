//! A deployment of one core per node and one shard, driven by hand: what was acknowledged to its client is noted.
//!
//! Not here, on purpose: what a crash leaves (`states`), judging it (`judge`).

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use margate_engine::config::static_map;
use margate_engine::core::event::{Event, PeerName};
use margate_engine::runtime::directory::DataDirectory;
use margate_engine::runtime::node::create_log;
use margate_engine::shard::answer::ConnectionId;
use margate_engine::types::Nanos;
use margate_net::codec::ReceivedRequest;
use margate_net::error::Refusal;
use margate_net::ids::{ClusterId, CoreId, Incarnation, NodeId, RangeEpoch};
use margate_net::map::{Map, MapNode};
use margate_net::message::{Consistency, Operation, Precondition, ReadVersion, Request, Returning, Success};
use tempfile::TempDir;

use super::judge::Enumerator;
use super::node::{Batch, Deed, Ledger, Node, Seen, config};
use super::snapshot::Snapshot;

/// Turns after which a deployment is called restless.
const TURNS_MAX: usize = 5_000;
/// Ticks after which a shard has a leader.
const TICKS_MAX: usize = 200;

/// Log writes that go before an index commit or a segment that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag(pub(crate) usize);

/// What a key holds, as the client knows: its value, nothing, or not known to be either of several.
pub(crate) type Held = BTreeMap<&'static str, Vec<Option<Bytes>>>;

/// See the module's text.
pub(crate) struct Deployment {
    pub(crate) map: Map,
    pub(crate) nodes: Vec<Node>,
    /// What each key may hold.
    pub(crate) held: Held,
    pub(crate) now: Nanos,
    lag: Lag,
    writes_since: usize,
    requests: u64,
    replies: BTreeMap<u64, Result<Success, Refusal>>,
    enumerator: Option<Enumerator>,
    early: bool,
    _folder: TempDir,
}

/// A folder on the disk the build lies on, not in memory.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// A map of so many nodes, each with a core and a replica of the one shard.
pub(crate) fn map(nodes: u16) -> Map {
    let homes: Vec<MapNode> = (1..=nodes)
        .map(|id| MapNode {
            id: NodeId(id.into()),
            cores: vec![([127, 0, 0, 1], 7_000 + id).into()],
        })
        .collect();
    static_map(ClusterId(7), &homes, &[], homes.len()).expect("a sound topology")
}

impl Deployment {
    /// Created and started, on new folders.
    pub(crate) fn create(nodes: u16, lag: Lag) -> Self {
        let (map, folder) = (map(nodes), folder());
        let nodes = (1..=u64::from(nodes)).map(|id| {
            let root = folder.path().join(id.to_string());
            let config = config(&map, NodeId(id));
            let (directory, _) = DataDirectory::open(&root, NodeId(id), config.log.directory).expect("a new directory");
            directory.make_core(CoreId(0)).expect("new folders");
            create_log(&directory.log(CoreId(0)), config.log, Some(&map)).expect("a new log");
            let ledger = super::judge::found(&root, &config).expect("a new log is whole");
            Node::open(&root, config, ledger).expect("a new node starts")
        });
        Self {
            nodes: nodes.collect(),
            held: Held::new(),
            now: Nanos::from_millis(1_000),
            lag,
            writes_since: 0,
            requests: 0,
            replies: BTreeMap::new(),
            enumerator: None,
            early: false,
            map,
            _folder: folder,
        }
    }

    /// Started on what a crash of all nodes left in these folders.
    pub(crate) fn reopen(folder: TempDir, map: &Map, nodes: Vec<(&Path, Ledger)>, (held, now): (Held, Nanos)) -> Result<Self, String> {
        let opened = nodes
            .into_iter()
            .zip(1..)
            .map(|((root, ledger), id)| Node::open(root, config(map, NodeId(id)), ledger));
        Ok(Self {
            nodes: opened.collect::<Result<_, _>>()?,
            map: map.clone(),
            held,
            now,
            lag: Lag(0),
            writes_since: 0,
            requests: 0,
            replies: BTreeMap::new(),
            enumerator: None,
            early: false,
            _folder: folder,
        })
    }

    /// From now on every crash is judged.
    pub(crate) fn watch(&mut self, enumerator: Enumerator) {
        self.enumerator = Some(enumerator);
    }

    /// What was found.
    pub(crate) fn unwatch(&mut self) -> Enumerator {
        self.enumerator.take().expect("it was watched")
    }

    /// Cores hear of a write before it is done.
    pub(crate) fn acknowledge_early(&mut self) {
        self.early = true;
    }

    /// Ticks until the shard has a leader that answers.
    pub(crate) fn elect(&mut self) {
        let leads = |node: &Node| node.core.replicas().any(|replica| replica.leads());
        for _ in 0..TICKS_MAX {
            if self.nodes.iter().any(leads) {
                return;
            }
            for node in &mut self.nodes {
                node.events.push_back(Event::Tick);
            }
            self.pass(50);
        }
        panic!("no leader after {TICKS_MAX} ticks");
    }

    /// Time passes, and all that follows from it.
    pub(crate) fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Nanos::from_millis(millis));
        self.settle();
    }

    /// Sets a key to a value of so many bytes, unlike any other.
    pub(crate) fn set(&mut self, key: &'static str, bytes: usize) {
        let mut value = format!("{key} {} ", self.requests).into_bytes();
        value.resize(bytes.max(value.len()), b'.');
        let value = Bytes::from(value);
        let set = Operation::Set {
            key: Bytes::from_static(key.as_bytes()),
            value: value.clone(),
            precondition: Precondition::Always,
            returning: Returning::default(),
        };
        self.change(key, Some(value), set);
    }

    /// Deletes a key.
    pub(crate) fn delete(&mut self, key: &'static str) {
        let delete = Operation::Delete {
            key: Bytes::from_static(key.as_bytes()),
            at_version: None,
            returning: Returning::default(),
        };
        self.change(key, None, delete);
    }

    /// What a key holds.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Bytes> {
        let get = Operation::Get {
            key: Bytes::from_static(key.as_bytes()),
            version: ReadVersion::Latest,
            consistency: Consistency::Linearizable,
            returning: Returning::default(),
        };
        match self.ask(get) {
            Ok(Success::Found { value, .. }) => Some(value),
            Err(Refusal::NotFound) => None,
            other => panic!("a get is answered with {other:?}"),
        }
    }

    fn change(&mut self, key: &'static str, value: Option<Bytes>, operation: Operation) {
        self.held.entry(key).or_insert_with(|| vec![None]).push(value.clone());
        let id = self.send(operation);
        self.settle_until(|deployment| deployment.replies.contains_key(&id));
        // The answer has left: from now on nothing else will do.
        self.held.insert(key, vec![value]);
        self.settle();
        let answer = self.replies.remove(&id);
        assert!(matches!(answer, Some(Ok(_))), "a write is answered with {answer:?}");
    }

    fn ask(&mut self, operation: Operation) -> Result<Success, Refusal> {
        let id = self.send(operation);
        self.settle();
        self.replies.remove(&id).expect("it is answered")
    }

    fn send(&mut self, operation: Operation) -> u64 {
        self.requests += 1;
        let (id, shard) = (self.requests, self.map.shards()[0].id);
        let request = Request {
            id,
            shard,
            range_epoch: RangeEpoch(1),
            timeout_ms: 60_000,
            operation,
        };
        let leads = |node: &&mut Node| node.core.replicas().any(|replica| replica.leads());
        let leader = self.nodes.iter_mut().find(leads).expect("it is led");
        leader.events.push_back(Event::Requests {
            connection: ConnectionId(1),
            requests: vec![ReceivedRequest { id, request: Ok(request) }],
        });
        id
    }

    fn settle(&mut self) {
        self.settle_until(|_| false);
    }

    /// Turns until nothing is left to do, or what is waited for is there.
    fn settle_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            let restless = |node: &Node| !node.events.is_empty() || node.core.deadline().is_some_and(|due| due <= self.now);
            if let Some(at) = self.nodes.iter().position(restless) {
                self.turn(at);
            } else if let Some(at) = self.nodes.iter().position(|node| !node.held.is_empty()) {
                self.perform_held(at);
            } else {
                return;
            }
        }
        panic!("no rest after {TURNS_MAX} turns");
    }

    fn arrive(&mut self, to: PeerName, event: Event) {
        let to = usize::try_from(to.node.0 - 1).expect("few nodes");
        self.nodes[to].events.push_back(event);
    }

    fn turn(&mut self, at: usize) {
        let events = self.nodes[at].events.drain(..).collect();
        let from = PeerName {
            node: NodeId(at as u64 + 1),
            core: CoreId(0),
        };
        let (seen, deeds) = self.nodes[at].turn(self.now, events);
        for seen in seen {
            match seen {
                Seen::Reply(reply) => {
                    self.replies.insert(reply.id, reply.outcome);
                }
                Seen::Send(to, batch) => {
                    let event = Event::Peer {
                        from,
                        incarnation: Incarnation(1),
                        batch,
                    };
                    self.arrive(to, event);
                }
                Seen::SendMember(to, message) => self.arrive(to, Event::Member { from, message }),
            }
        }
        for deed in deeds {
            match deed {
                Deed::Write(_) => {
                    self.perform(at, &deed);
                    self.writes_since += 1;
                }
                Deed::Commit(_) | Deed::Delete(_) | Deed::Prepare(_) | Deed::Recycle(..) => {
                    self.writes_since = 0;
                    self.nodes[at].held.push_back(deed);
                }
            }
            if self.writes_since >= self.lag.0 {
                self.perform_held(at);
            }
        }
    }

    fn perform_held(&mut self, at: usize) {
        while let Some(deed) = self.nodes[at].held.pop_front() {
            self.perform(at, &deed);
        }
    }

    /// Does something to a node's files; every crash around it is judged.
    fn perform(&mut self, at: usize, deed: &Deed) {
        let now = self.enumerator.as_ref().map(|_| {
            let snapshots = self.nodes.iter().map(|node| Snapshot::take(&node.folders.root));
            snapshots.collect::<Vec<_>>()
        });
        if self.early
            && let Deed::Write(flush) = deed
        {
            self.nodes[at].ledger.batches.push(Batch::of(flush));
        }
        let event = self.nodes[at].perform(deed);
        if let (Some(before), Some(mut enumerator)) = (now, self.enumerator.take()) {
            enumerator.judge(self, at, deed, &before);
            self.enumerator = Some(enumerator);
        }
        if !self.early {
            self.nodes[at].ledger = self.nodes[at].ledger.with(deed);
        }
        self.nodes[at].events.push_back(event);
    }
}
