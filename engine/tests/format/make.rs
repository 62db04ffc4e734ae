//! Three nodes that live through everything a log can hold; the third one's data directory becomes the fixture.
//!
//! Not here, on purpose: what must be found in it (`main`).

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use margate_engine::bootstrap::identity::{Creation, Identity, Membership};
use margate_engine::config::static_map;
use margate_engine::consensus::group::RaftTicks;
use margate_engine::core::event::Event;
use margate_engine::core::replay::CoreConfig;
use margate_engine::runtime::directory::DataDirectory;
use margate_engine::runtime::segments;
use margate_net::ids::{DirectoryId, Incarnation, NodeId, ReplicaId};
use margate_net::map::{Map, MapNode};

use super::files::deployment::{self, Hand, Lag};
use super::files::ledger::found;
use super::files::node::{self, Deed, ELECTION_TICKS, Node};
use super::fixture::{CLUSTER, NODE, NODES, SEGMENT_BYTES, directory_of};

/// The node whose directory it is about, among the others.
const THIRD: usize = 2;
/// Long enough for the overlay to go to the index.
const OVERLAY_MS: u64 = 6_000;

/// What is done to files is done at once.
pub(crate) struct Undisturbed;

/// See the module's text.
pub(crate) type Deployment = deployment::Deployment<Undisturbed>;

impl Hand for Undisturbed {
    fn perform(deployment: &mut Deployment, at: usize, deed: &Deed) {
        let node = &mut deployment.nodes[at];
        let event = node.perform(deed);
        node.ledger = node.ledger.with(deed);
        node.events.push_back(event);
    }
}

/// Makes the third node's data directory in `root`, with whatever the others need beside it.
pub(crate) fn make(root: &Path) {
    let mut deployment = create(root);
    // Some of it is overwritten for so long that segments are reclaimed and used again.
    set(&mut deployment, "alpha", "first");
    set(&mut deployment, "beta", "second");
    set(&mut deployment, "omega", "other shard");
    deployment.delete("beta");
    // As many as make the end of a replica, further down, stand in a segment that is kept.
    for round in (0..3).chain(0..24) {
        set(&mut deployment, "gamma", &format!("{round:02}{}", ".".repeat(11_900)));
    }
    deployment.pass(OVERLAY_MS);
    deployment.pass(OVERLAY_MS);
    set(&mut deployment, "delta", "is lost");
    // The third node's disk forgets that, and the replica that promised to keep it ends.
    third_forgets(&mut deployment);
    let ended = deployment.tick_until(|deployment| deployment.nodes[THIRD].core.damaged().count() > 0);
    assert!(ended, "a commit beyond its log ends the replica");
    let replaced = deployment.tick_until(|deployment| third_votes_as(deployment, ReplicaId(4)));
    assert!(replaced, "the node is admitted again");
    set(&mut deployment, "epsilon", "after the image");
    deployment.delete("delta");
    set(&mut deployment, "zeta", "");
    deployment.pass(OVERLAY_MS);
    deployment.pass(OVERLAY_MS);
    set(&mut deployment, "omega", "in the log, not in the index");
    set(&mut deployment, "alpha", "in the log, not in the index");
    // The news of its commit comes with a heartbeat, and is sealed.
    for _ in 0..RaftTicks::of_election(ELECTION_TICKS).heartbeat {
        deployment.nodes[0].events.push_back(Event::Tick);
    }
    deployment.pass(10);
    deployment.pass(10);
}

/// Opens the directory, alone: nobody but its node runs.
pub(crate) fn open(root: &Path) -> Result<Deployment, String> {
    let map = map();
    let node = Node::open_damaged(root, config(&map, NODE), Default::default())?;
    Ok(Deployment::new(&map, vec![node], Lag(0), Undisturbed))
}

/// Two shards, cut at `m`; each node has a replica of both.
fn map() -> Map {
    let homes: Vec<MapNode> = (1..=NODES)
        .map(|id| MapNode {
            id: NodeId(id),
            cores: vec![([127, 0, 0, 1], 7_000 + u16::try_from(id).expect("few nodes")).into()],
        })
        .collect();
    static_map(CLUSTER, &homes, &[Bytes::from_static(b"m")], homes.len()).expect("a sound topology")
}

fn config(map: &Map, id: NodeId) -> CoreConfig {
    node::config(map, (id, directory_of(id)), SEGMENT_BYTES)
}

fn create(root: &Path) -> Deployment {
    let map = map();
    let nodes = (1..=NODES).map(NodeId).map(|id| {
        let folder = root.join(id.to_string());
        let node = Node::create(&folder, config(&map, id));
        let (directory, _) = DataDirectory::open(&folder, id, directory_of(id)).expect("its own");
        directory.store(&identity(&map, id)).expect("the disk takes it");
        node
    });
    let nodes = nodes.collect();
    let mut deployment = Deployment::new(&map, nodes, Lag(0), Undisturbed);
    // Only the first one's time passes, so it leads both shards.
    for _ in 0..60 {
        deployment.nodes[0].events.push_back(Event::Tick);
        deployment.pass(50);
    }
    assert!(deployment.nodes[0].core.replicas().all(|replica| replica.leads()));
    deployment
}

fn identity(map: &Map, id: NodeId) -> Identity {
    let directories: Vec<(NodeId, DirectoryId)> = (1..=NODES).map(NodeId).map(|id| (id, directory_of(id))).collect();
    let creation = Creation {
        directories,
        map: map.clone(),
    };
    Identity {
        directory: directory_of(id),
        node: id,
        membership: Membership::Member {
            creation,
            cores_created: true,
            joined: false,
        },
    }
}

fn set(deployment: &mut Deployment, key: &'static str, value: &str) {
    deployment.put(key, Bytes::copy_from_slice(value.as_bytes()));
}

/// The third node stops, its log loses what was written with the last entry and after it, and it starts again.
fn third_forgets(deployment: &mut Deployment) {
    // It must be gone before its index is opened anew.
    let Node {
        folders, config, ledger, ..
    } = deployment.nodes.remove(THIRD);
    let lost = ledger.batches.last().expect("it wrote");
    let file = File::options()
        .write(true)
        .open(segments::path(&folders.log(), lost.position.segment));
    let forget = file.and_then(|file| file.write_all_at(&vec![0; lost.bytes.len()], lost.position.offset.into()));
    forget.expect("the disk takes it");
    let ledger = found(&folders.root, &config).expect("it looks like a torn tail");
    let mut third = Node::open(&folders.root, config, ledger).expect("it starts");
    third.incarnation = Incarnation(2);
    deployment.nodes.push(third);
}

fn third_votes_as(deployment: &Deployment, id: ReplicaId) -> bool {
    deployment.nodes[THIRD].core.replicas().any(|replica| {
        let members = &replica.state().members;
        replica.name().replica == id && members.voters.contains(&id) && !members.is_joint()
    })
}
