//! The client of a deployment: one operation at a time, what was acknowledged is noted.

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_engine::core::event::Event;
use margate_engine::shard::answer::ConnectionId;
use margate_engine::types::Nanos;
use margate_net::codec::ReceivedRequest;
use margate_net::error::Refusal;
use margate_net::ids::{RangeEpoch, ShardId};
use margate_net::message::{Consistency, Operation, Precondition, ReadVersion, Request, Returning, Success};

use super::deployment::{Deployment, Hand};
use super::node::Node;

/// What a key holds, as the client knows: its value, nothing, or not known to be either of several.
pub(crate) type Held = BTreeMap<&'static str, Vec<Option<Bytes>>>;

impl<H: Hand> Deployment<H> {
    /// Sets a key.
    pub(crate) fn put(&mut self, key: &'static str, value: Bytes) {
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
        let shard = self.map.shard_of(key.as_bytes()).id;
        let at = self.leader(shard);
        self.look_up(at, key, Consistency::Linearizable)
    }

    /// What a node has heard that a key holds.
    pub(crate) fn get_stale(&mut self, at: usize, key: &'static str) -> Option<Bytes> {
        self.look_up(at, key, Consistency::Stale)
    }

    fn look_up(&mut self, at: usize, key: &'static str, consistency: Consistency) -> Option<Bytes> {
        let get = Operation::Get {
            key: Bytes::from_static(key.as_bytes()),
            version: ReadVersion::Latest,
            consistency,
            returning: Returning::default(),
        };
        let id = self.send(at, get);
        self.settle();
        match self.replies.remove(&id).expect("it is answered") {
            Ok(Success::Found { value, .. }) => Some(value),
            Err(Refusal::NotFound) => None,
            other => panic!("a get is answered with {other:?}"),
        }
    }

    fn change(&mut self, key: &'static str, value: Option<Bytes>, operation: Operation) {
        self.held.entry(key).or_insert_with(|| vec![None]).push(value.clone());
        let at = self.leader(self.map.shard_of(key.as_bytes()).id);
        let id = self.send(at, operation);
        self.settle_until(|deployment| deployment.replies.contains_key(&id));
        // The answer has left: from now on nothing else will do.
        self.held.insert(key, vec![value]);
        self.settle();
        let answer = self.replies.remove(&id);
        assert!(matches!(answer, Some(Ok(_))), "a write is answered with {answer:?}");
    }

    /// Where a shard is led.
    fn leader(&self, shard: ShardId) -> usize {
        let leads = |node: &Node| node.core.replicas().any(|replica| replica.name().shard == shard && replica.leads());
        self.nodes.iter().position(leads).expect("it is led")
    }

    fn send(&mut self, at: usize, operation: Operation) -> u64 {
        self.requests += 1;
        let id = self.requests;
        let request = Request {
            id,
            shard: self.map.shard_of(operation.routing_key()).id,
            range_epoch: RangeEpoch(1),
            timeout_ms: 60_000,
            operation,
        };
        self.nodes[at].events.push_back(Event::Requests {
            connection: ConnectionId(1),
            received: Nanos(0),
            requests: vec![ReceivedRequest { id, request: Ok(request) }],
        });
        id
    }
}
