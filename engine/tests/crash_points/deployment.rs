//! A deployment of one core per node and one shard, driven by hand.
//!
//! Not here, on purpose: its client (`client`), what a crash leaves (`states`), judging it (`judge`).

use std::collections::BTreeMap;

use margate_engine::config::static_map;
use margate_engine::core::event::{Event, PeerName};
use margate_engine::types::Nanos;
use margate_net::error::Refusal;
use margate_net::ids::{ClusterId, DirectoryId, Incarnation, NodeId};
use margate_net::map::{Map, MapNode};
use margate_net::message::Success;

use super::client::Held;
use super::node::{Deed, Node, Seen, config};
use super::place::{Place, Places};
use super::report::Enumerator;
use super::states::Left;

/// Turns after which a deployment is called restless.
const TURNS_MAX: usize = 5_000;
/// Ticks after which a shard has a leader, and whatever else is waited for is there: several times an image's patience.
const TICKS_MAX: usize = 800;

/// Log writes that go before an index commit or a segment that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag(pub(crate) usize);

/// See the module's text.
pub(crate) struct Deployment {
    pub(crate) map: Map,
    pub(crate) nodes: Vec<Node>,
    /// What each key may hold.
    pub(crate) held: Held,
    pub(crate) now: Nanos,
    lag: Lag,
    writes_since: usize,
    pub(crate) requests: u64,
    pub(crate) replies: BTreeMap<u64, Result<Success, Refusal>>,
    pub(crate) enumerator: Option<Enumerator>,
    pub(crate) early: bool,
    /// Effects since the start of the script that counts them.
    pub(crate) effects: usize,
    /// The effect with which one node crashes while the others go on, and what is left of it.
    pub(crate) crash: Option<(usize, Left)>,
    /// The kind of effect with which it crashed.
    pub(crate) crashed: Option<&'static str>,
    _place: Place,
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
        let (map, place) = (map(nodes), Places::default().take());
        let nodes = (1..=u64::from(nodes)).map(|id| Node::create(&place.path().join(id.to_string()), config(&map, NodeId(id))));
        let nodes = nodes.collect();
        Self {
            lag,
            ..Self::new(place, &map, nodes)
        }
    }

    /// Of nodes that have started on what a crash of all left in this place.
    pub(crate) fn reopened(place: Place, map: &Map, nodes: Vec<Node>, (held, now): (Held, Nanos)) -> Self {
        Self {
            held,
            now,
            ..Self::new(place, map, nodes)
        }
    }

    fn new(place: Place, map: &Map, nodes: Vec<Node>) -> Self {
        Self {
            map: map.clone(),
            nodes,
            held: Held::new(),
            now: Nanos::from_millis(1_000),
            lag: Lag(0),
            writes_since: 0,
            requests: 0,
            replies: BTreeMap::new(),
            enumerator: None,
            early: false,
            effects: 0,
            crash: None,
            crashed: None,
            _place: place,
        }
    }

    /// A node loses its data directory and starts with a new one, as a node that joins.
    pub(crate) fn wipe(&mut self, at: usize) {
        // It must be gone before its index is opened anew.
        let Node { folders, mut config, .. } = self.nodes.remove(at);
        std::fs::remove_dir_all(&folders.root).expect("its folder can be removed");
        config.joined = true;
        config.log.directory = DirectoryId(config.log.directory.0 + 1_000);
        let mut node = Node::create(&folders.root, config);
        node.incarnation = Incarnation(2);
        self.nodes.insert(at, node);
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
        let led = self.tick_until(|deployment| deployment.nodes.iter().any(leads));
        assert!(led, "no leader after {TICKS_MAX} ticks");
    }

    /// One tick of every node, and all that follows from it.
    pub(crate) fn tick(&mut self) {
        self.tick_into(|_| false);
    }

    /// One tick of every node, and what follows from it until something is so.
    pub(crate) fn tick_into(&mut self, so: impl Fn(&Self) -> bool) {
        for node in &mut self.nodes {
            node.events.push_back(Event::Tick);
        }
        self.now = self.now.plus(Nanos::from_millis(50));
        self.settle_until(so);
    }

    /// Ticks until something is so; whether it became so.
    pub(crate) fn tick_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..TICKS_MAX {
            if done(self) {
                return true;
            }
            self.tick();
        }
        done(self)
    }

    /// Whether every node that joined votes, and no change of members is under way.
    pub(crate) fn is_whole(&self) -> bool {
        self.nodes.iter().filter(|node| node.config.joined).all(|node| {
            node.core.replicas().any(|replica| {
                let members = &replica.state().members;
                members.voters.contains(&replica.name().replica) && !members.is_joint()
            })
        })
    }

    /// Whether all replicas have applied as much.
    pub(crate) fn is_level(&self) -> bool {
        let mut applied = self
            .nodes
            .iter()
            .flat_map(|node| node.core.replicas())
            .map(|replica| replica.applied());
        let first = applied.next();
        applied.all(|other| Some(other) == first)
    }

    /// Time passes, and all that follows from it.
    pub(crate) fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Nanos::from_millis(millis));
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        self.settle_until(|_| false);
    }

    /// Turns until nothing is left to do, or what is waited for is there.
    pub(crate) fn settle_until(&mut self, done: impl Fn(&Self) -> bool) {
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
        let from = self.nodes[at].name();
        let incarnation = self.nodes[at].incarnation;
        let (seen, deeds) = self.nodes[at].turn(self.now, events);
        for seen in seen {
            match seen {
                Seen::Reply(reply) => {
                    self.replies.insert(reply.id, reply.outcome);
                }
                Seen::Send(to, batch) => {
                    let event = Event::Peer { from, incarnation, batch };
                    self.arrive(to, event);
                }
                Seen::SendMember(to, message) => self.arrive(to, Event::Member { from, message }),
            }
        }
        for deed in deeds {
            if self.nodes[at].incarnation != incarnation {
                // It crashed, and what it wanted died with it.
                return;
            }
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
}
