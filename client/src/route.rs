//! The routing table: the map, and which replica of each shard is believed to lead.
//!
//! ```text
//! operation ── key ──► shard (map) ── leader believed in ──► member ──► place: one core's address
//! failure of an attempt ──► learn: follow the hint, or go on to the next member
//! ```
//!
//! Nobody tells a client who leads: it starts with the first member of each shard, which should lead
//! when all are well, and learns from refusals.
//!
//! Not here, on purpose: connections (`runtime/`), and whether to try again (`retry.rs`).

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use margate_net::error::Refusal;
use margate_net::ids::{CoreId, NodeId, RangeEpoch, ShardId};
use margate_net::map::{Map, MapNode, MapReplica, MapShard};
use margate_net::message::{Consistency, Direction, Operation};
use rustc_hash::FxHashMap;

use crate::error::Obstacle;
use crate::retry::Failure;

/// The map as a client uses it. Every ordinal it gives out is one of its own [`RoutingTable::places`].
#[derive(Clone, Debug)]
pub(crate) struct RoutingTable {
    map: Arc<Map>,
    places: Vec<Place>,
    shards: FxHashMap<ShardId, Members>,
}

/// One core: where one connection of this client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The core's node.
    pub(crate) node: NodeId,
    /// The core.
    pub(crate) core: CoreId,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Where one attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The shard.
    pub(crate) shard: ShardId,
    /// Its range epoch in this map.
    pub(crate) range_epoch: RangeEpoch,
    /// The core, as an ordinal of the places.
    pub(crate) place: usize,
    /// The core's node.
    pub(crate) node: NodeId,
}

/// A shard's members and the belief about their leader.
#[derive(Clone, Debug)]
struct Members {
    /// Node and place of each, in the map's order; never empty.
    homes: Vec<(NodeId, usize)>,
    /// Ordinal of the one believed to lead.
    leader: usize,
    /// The node whose attempt failed last: stale reads look elsewhere first.
    failed: Option<NodeId>,
}

impl RoutingTable {
    /// A table of this map that keeps what `before` had learned about leaders.
    pub(crate) fn new(map: Arc<Map>, before: Option<&Self>) -> Self {
        let places: Vec<Place> = map.nodes().iter().flat_map(Place::of_node).collect();
        let mut by_core = FxHashMap::default();
        for (ordinal, place) in places.iter().enumerate() {
            by_core.insert((place.node, place.core), ordinal);
        }
        let shards = map
            .shards()
            .iter()
            .map(|shard| (shard.id, Members::new(shard, &by_core, before)))
            .collect();
        Self { map, places, shards }
    }

    /// The map it was made from.
    pub(crate) fn map(&self) -> &Arc<Map> {
        &self.map
    }

    /// Every core of the deployment.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where to send an operation. A list is cut to the part that lies in the shard it starts in.
    ///
    /// Writes and linearizable reads go to the leader; stale reads to the first member that is `healthy`.
    ///
    /// # Panics
    /// Never: a map's shards have members, all on cores of its nodes.
    pub(crate) fn aim(&self, operation: &mut Operation, healthy: impl Fn(usize) -> bool) -> Route {
        let shard = self.shard_for(operation);
        let route = self.route_to(shard, |members| match consistency(operation) {
            Consistency::Linearizable => members.leader,
            Consistency::Stale => members.nearest(healthy),
        });
        cut_to_shard(operation, shard);
        route
    }

    /// Where to send a write of this key, and the shard's upper bound.
    pub(crate) fn aim_write(&self, key: &[u8]) -> (Route, &MapShard) {
        let shard = self.map.shard_of(key);
        (self.route_to(shard, |members| members.leader), shard)
    }

    fn route_to(&self, shard: &MapShard, choose: impl FnOnce(&Members) -> usize) -> Route {
        let members = self.shards.get(&shard.id).expect("every shard of the map has its members here");
        let (node, place) = *members
            .homes
            .get(choose(members))
            .expect("a map's shards have members, and one of them is believed to lead");
        Route {
            shard: shard.id,
            range_epoch: shard.range_epoch,
            place,
            node,
        }
    }

    /// Takes in what the failure of an attempt at a shard's replica on this node says about who leads.
    ///
    /// Only an attempt at the present leader moves the belief on: of many operations refused together by
    /// one node, the first moves it and the others find it moved.
    pub(crate) fn learn(&mut self, shard: ShardId, node: NodeId, failure: &Failure) {
        let Some(members) = self.shards.get_mut(&shard) else {
            return;
        };
        members.failed = Some(node);
        match failure {
            Failure::Refused(refusal) => members.learn_refusal(node, refusal),
            // Room that this client lacks says nothing about who leads.
            Failure::NotSent(Obstacle::WindowFull { .. }) => {}
            Failure::Lost(_) | Failure::NotSent(_) | Failure::Silent => members.leave(node),
        }
    }

    fn shard_for(&self, operation: &Operation) -> &MapShard {
        match operation {
            Operation::List {
                high,
                direction: Direction::Reverse,
                ..
            } => self.map.shard_below(high),
            Operation::CompareExchange { .. }
            | Operation::Delete { .. }
            | Operation::Get { .. }
            | Operation::List {
                direction: Direction::Forward,
                ..
            }
            | Operation::Set { .. }
            | Operation::Size { .. } => self.map.shard_of(operation.routing_key()),
        }
    }
}

impl Place {
    /// Every core of a node.
    pub(crate) fn of_node(node: &MapNode) -> impl Iterator<Item = Self> {
        let core = |(core, address): (u16, &SocketAddr)| Self {
            node: node.id,
            core: CoreId(core),
            address: *address,
        };
        (0u16..).zip(&node.cores).map(core)
    }
}

impl Members {
    fn new(shard: &MapShard, by_core: &FxHashMap<(NodeId, CoreId), usize>, before: Option<&RoutingTable>) -> Self {
        let place = |replica: &MapReplica| by_core.get(&(replica.node, replica.core)).map(|place| (replica.node, *place));
        let homes: Vec<_> = shard.replicas.iter().filter_map(place).collect();
        let believed = before.and_then(|table| table.shards.get(&shard.id)).and_then(Self::leader_node);
        let leader = homes.iter().position(|(node, _)| Some(*node) == believed).unwrap_or(0);
        Self {
            homes,
            leader,
            failed: None,
        }
    }

    fn leader_node(&self) -> Option<NodeId> {
        self.homes.get(self.leader).map(|(node, _)| *node)
    }

    /// The first member that is reachable and did not fail last, else the first reachable, else the leader.
    fn nearest(&self, healthy: impl Fn(usize) -> bool) -> usize {
        let reachable = |(_, place): &&(NodeId, usize)| healthy(*place);
        let other = self.homes.iter().position(|home| reachable(&home) && Some(home.0) != self.failed);
        other
            .or_else(|| self.homes.iter().position(|home| reachable(&home)))
            .unwrap_or(self.leader)
    }

    fn learn_refusal(&mut self, from: NodeId, refusal: &Refusal) {
        match refusal {
            Refusal::NotLeader { leader: Some(leader) } => match self.homes.iter().position(|(node, _)| node == leader) {
                Some(member) if *leader != from => self.leader = member,
                Some(_) | None => self.leave(from),
            },
            Refusal::Damaged
            | Refusal::NoSuchShard
            | Refusal::NotLeader { leader: None }
            | Refusal::OutcomeUnknown
            | Refusal::ShuttingDown => {
                self.leave(from);
            }
            Refusal::AlreadyExists { .. }
            | Refusal::Busy { .. }
            | Refusal::DeadlineExceeded
            | Refusal::DiskFull { .. }
            | Refusal::InvalidArgument(_)
            | Refusal::InvalidKey { .. }
            | Refusal::NoSuchVersion
            | Refusal::NotFound
            | Refusal::NotReady { .. }
            | Refusal::ValueTooLarge { .. }
            | Refusal::VersionMismatch { .. }
            | Refusal::WrongRange { .. } => {}
        }
    }

    /// Believes in the next member if this one was believed in.
    fn leave(&mut self, node: NodeId) {
        if self.leader_node() == Some(node) {
            self.leader = (self.leader + 1) % self.homes.len();
        }
    }
}

/// How fresh the answer must be; a write's is always the leader's.
fn consistency(operation: &Operation) -> Consistency {
    match operation {
        Operation::Get { consistency, .. } | Operation::List { consistency, .. } | Operation::Size { consistency, .. } => *consistency,
        Operation::CompareExchange { .. } | Operation::Delete { .. } | Operation::Set { .. } => Consistency::Linearizable,
    }
}

/// Cuts a list's bounds to the shard's range; other operations have one key and stay as they are.
fn cut_to_shard(operation: &mut Operation, shard: &MapShard) {
    if let Operation::List { low, high, .. } = operation {
        if *low < shard.low {
            *low = shard.low.clone();
        }
        if ends_before(&shard.high, high) {
            *high = shard.high.clone();
        }
    }
}

/// Whether one upper bound lies below another; the empty bound is the end of the key space.
fn ends_before(bound: &Bytes, other: &Bytes) -> bool {
    !bound.is_empty() && (other.is_empty() || bound < other)
}

#[cfg(test)]
mod tests;
