//! The client of a deployment: one operation at a time, what was acknowledged is noted.

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_engine::core::event::Event;
use margate_engine::shard::answer::ConnectionId;
use margate_net::codec::ReceivedRequest;
use margate_net::error::Refusal;
use margate_net::ids::RangeEpoch;
use margate_net::message::{Consistency, Operation, Precondition, ReadVersion, Request, Returning, Success};

use super::deployment::Deployment;
use super::node::Node;

/// What a key holds, as the client knows: its value, nothing, or not known to be either of several.
pub(crate) type Held = BTreeMap<&'static str, Vec<Option<Bytes>>>;

impl Deployment {
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
}
