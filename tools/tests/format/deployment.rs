//! Three nodes that live through everything a log can hold; the third one's data directory becomes the fixture.
//!
//! Not here, on purpose: what must be found in it (`main`).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use margate_engine::core::event::{Event, PeerName};
use margate_engine::runtime::segments;
use margate_engine::shard::answer::ConnectionId;
use margate_engine::types::Nanos;
use margate_net::codec::ReceivedRequest;
use margate_net::error::Refusal;
use margate_net::ids::{Incarnation, NodeId, RangeEpoch, ReplicaId, ShardId};
use margate_net::message::{Operation, Precondition, Request, Returning, Success};

use super::node::{NODES, Node, Seen, create};

/// Far more than is needed of either.
const TURNS_MAX: usize = 5_000;
const TICKS_MAX: usize = 1_000;
/// The node whose directory it is about, among the others.
const THIRD: usize = 2;

struct Deployment {
    nodes: Vec<Node>,
    now: Nanos,
    requests: u64,
    replies: BTreeMap<u64, Result<Success, Refusal>>,
}

/// Makes the third node's data directory in `root`, with whatever the others need beside it.
pub(crate) fn make(root: &Path) {
    let mut deployment = Deployment::create(root);
    // Some of it is overwritten for so long that segments are reclaimed and used again.
    deployment.set("alpha", "first");
    deployment.set("beta", "second");
    deployment.set("omega", "other shard");
    deployment.delete("beta");
    for round in 0..24 {
        deployment.set("gamma", &format!("{round:02}{}", ".".repeat(11_900)));
    }
    deployment.pass(6_000);
    deployment.pass(6_000);
    deployment.set("delta", "is lost");
    // The third node's disk forgets that, and the replica that promised to keep it ends.
    deployment.third_forgets(root);
    let ended = deployment.tick_until(|deployment| deployment.nodes[THIRD].core.damaged().count() > 0);
    assert!(ended, "a commit beyond its log ends the replica");
    let replaced = deployment.tick_until(|deployment| deployment.third_votes_as(ReplicaId(4)));
    assert!(replaced, "the node is admitted again");
    deployment.set("epsilon", "after the image");
    deployment.delete("delta");
    deployment.set("zeta", "");
    deployment.pass(6_000);
    deployment.pass(6_000);
    deployment.set("omega", "in the log, not in the index");
    deployment.set("alpha", "in the log, not in the index");
    deployment.pass(10);
}

impl Deployment {
    fn create(root: &Path) -> Self {
        let nodes = (1..=NODES).map(|id| {
            let folder = root.join(id.to_string());
            create(&folder, NodeId(id));
            Node::open(&folder, NodeId(id)).expect("a new node starts")
        });
        let mut deployment = Self {
            nodes: nodes.collect(),
            now: Nanos::from_millis(1_000),
            requests: 0,
            replies: BTreeMap::new(),
        };
        // Only the first one's time passes, so it leads both shards.
        for _ in 0..60 {
            deployment.nodes[0].events.push_back(Event::Tick);
            deployment.pass(50);
        }
        assert!(deployment.nodes[0].core.replicas().all(|replica| replica.leads()));
        deployment
    }

    fn set(&mut self, key: &str, value: &str) {
        self.change(Operation::Set {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            precondition: Precondition::Always,
            returning: Returning::default(),
        });
    }

    fn delete(&mut self, key: &str) {
        self.change(Operation::Delete {
            key: Bytes::copy_from_slice(key.as_bytes()),
            at_version: None,
            returning: Returning::default(),
        });
    }

    fn change(&mut self, operation: Operation) {
        self.requests += 1;
        let id = self.requests;
        let shard = ShardId(if operation.routing_key() < &b"m"[..] { 1 } else { 2 });
        let request = Request {
            id,
            shard,
            range_epoch: RangeEpoch(1),
            timeout_ms: 60_000,
            operation,
        };
        self.nodes[0].events.push_back(Event::Requests {
            connection: ConnectionId(1),
            requests: vec![ReceivedRequest { id, request: Ok(request) }],
        });
        self.settle();
        let answer = self.replies.remove(&id);
        assert!(matches!(answer, Some(Ok(_))), "a write is answered with {answer:?}");
    }

    /// The third node stops, its log loses what was written with the last entry and after it, and it starts again.
    fn third_forgets(&mut self, root: &Path) {
        let third = self.nodes.remove(THIRD);
        let folder = root.join(NODES.to_string());
        let (position, length) = *third.written.last().expect("it wrote");
        drop(third);
        let file = File::options()
            .write(true)
            .open(segments::path(&folder.join("core-0/log"), position.segment));
        let forget = file.and_then(|file| file.write_all_at(&vec![0; length], position.offset.into()));
        forget.expect("the disk takes it");
        let mut third = Node::open(&folder, NodeId(NODES)).expect("it starts");
        third.incarnation = Incarnation(2);
        self.nodes.push(third);
    }

    fn third_votes_as(&self, id: ReplicaId) -> bool {
        self.nodes[THIRD].core.replicas().any(|replica| {
            let members = &replica.state().members;
            replica.name().replica == id && members.voters.contains(&id) && !members.is_joint()
        })
    }

    fn tick_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..TICKS_MAX {
            if done(self) {
                return true;
            }
            self.nodes.iter_mut().for_each(|node| node.events.push_back(Event::Tick));
            self.pass(600);
        }
        false
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Nanos::from_millis(millis));
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let now = self.now;
            let restless = |node: &Node| !node.events.is_empty() || node.core.deadline().is_some_and(|due| due <= now);
            let Some(at) = self.nodes.iter().position(restless) else { return };
            self.turn(at);
        }
        panic!("no rest after {TURNS_MAX} turns");
    }

    fn turn(&mut self, at: usize) {
        let (from, incarnation) = (self.nodes[at].name(), self.nodes[at].incarnation);
        for seen in self.nodes[at].turn(self.now) {
            match seen {
                Seen::Reply(reply) => drop(self.replies.insert(reply.id, reply.outcome)),
                Seen::Send(to, batch) => self.arrive(to, Event::Peer { from, incarnation, batch }),
                Seen::SendMember(to, message) => self.arrive(to, Event::Member { from, message }),
            }
        }
    }

    fn arrive(&mut self, to: PeerName, event: Event) {
        let at = usize::try_from(to.node.0 - 1).expect("few nodes");
        if let Some(node) = self.nodes.get_mut(at) {
            node.events.push_back(event);
        }
    }
}
