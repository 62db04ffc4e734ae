//! The deployment whose crashes are enumerated: one shard, and what is known of crashes beside it.
//!
//! Not here, on purpose: driving it (`files`), where crashes come in (`performing`), judging them (`judge`).

use margate_engine::config::static_map;
use margate_engine::core::replay::CoreConfig;
use margate_engine::types::Nanos;
use margate_net::ids::{ClusterId, DirectoryId, Incarnation, NodeId};
use margate_net::map::{Map, MapNode};

use super::files::client::Held;
use super::files::deployment::{Lag, TICKS_MAX};
use super::files::node::Node;
use super::files::{self, deployment};
use super::place::{Place, Places};
use super::report::Enumerator;
use super::states::Left;

/// Bytes of a segment: a change of segment comes after a few batches.
const SEGMENT_BYTES: u32 = 32 << 10;

/// See the module's text.
pub(crate) type Deployment = deployment::Deployment<Crashes>;

/// What is known of crashes.
pub(crate) struct Crashes {
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

/// What the core of a node is told at start.
pub(crate) fn config(map: &Map, node: NodeId) -> CoreConfig {
    files::node::config(map, (node, DirectoryId(u128::from(node.0))), SEGMENT_BYTES)
}

impl Crashes {
    /// None yet, of a deployment whose files are in this place.
    fn new(place: Place) -> Self {
        Self {
            enumerator: None,
            early: false,
            effects: 0,
            crash: None,
            crashed: None,
            _place: place,
        }
    }
}

impl Deployment {
    /// Created and started, on new folders.
    pub(crate) fn create(nodes: u16, lag: Lag) -> Self {
        let (map, place) = (map(nodes), Places::default().take());
        let nodes = (1..=u64::from(nodes)).map(|id| Node::create(&place.path().join(id.to_string()), config(&map, NodeId(id))));
        let nodes = nodes.collect();
        Self::new(&map, nodes, lag, Crashes::new(place))
    }

    /// Of nodes that have started on what a crash of all left in this place.
    pub(crate) fn reopened(place: Place, map: &Map, nodes: Vec<Node>, (held, now): (Held, Nanos)) -> Self {
        let mut deployment = Self::new(map, nodes, Lag(0), Crashes::new(place));
        (deployment.held, deployment.now) = (held, now);
        deployment
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
        self.hand.enumerator = Some(enumerator);
    }

    /// What was found.
    pub(crate) fn unwatch(&mut self) -> Enumerator {
        self.hand.enumerator.take().expect("it was watched")
    }

    /// Cores hear of a write before it is done.
    pub(crate) fn acknowledge_early(&mut self) {
        self.hand.early = true;
    }

    /// Ticks until the shard has a leader that answers.
    pub(crate) fn elect(&mut self) {
        let leads = |node: &Node| node.core.replicas().any(|replica| replica.leads());
        let led = self.tick_until(|deployment| deployment.nodes.iter().any(leads));
        assert!(led, "no leader after {TICKS_MAX} ticks");
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

    /// Sets a key to a value of so many bytes, unlike any other.
    pub(crate) fn set(&mut self, key: &'static str, bytes: usize) {
        let mut value = format!("{key} {} ", self.requests).into_bytes();
        value.resize(bytes.max(value.len()), b'.');
        self.put(key, value.into());
    }
}
