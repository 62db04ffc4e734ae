//! A deployment of one core per node, driven by hand.
//!
//! Not here, on purpose: its client (`client`), its nodes (`node`), what programs do to it ([`Hand`]).

use std::collections::BTreeMap;

use margate_engine::core::event::{Event, PeerName};
use margate_engine::types::Nanos;
use margate_net::error::Refusal;
use margate_net::map::Map;
use margate_net::message::Success;

use super::client::Held;
use super::node::{Deed, Node, Seen};

/// Turns after which a deployment is called restless.
const TURNS_MAX: usize = 5_000;
/// Ticks after which a shard has a leader, and whatever else is waited for is there: several times an image's patience.
pub(crate) const TICKS_MAX: usize = 800;

/// Log writes that go before an index commit or a segment that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag(pub(crate) usize);

/// What carries out what a deployment does to its nodes' files.
pub(crate) trait Hand: Sized {
    /// Does something to a node's files; the node hears of it, unless it dies of it.
    fn perform(deployment: &mut Deployment<Self>, at: usize, deed: &Deed);
}

/// See the module's text.
pub(crate) struct Deployment<H> {
    pub(crate) map: Map,
    pub(crate) nodes: Vec<Node>,
    /// What each key may hold.
    pub(crate) held: Held,
    pub(crate) now: Nanos,
    lag: Lag,
    writes_since: usize,
    pub(crate) requests: u64,
    pub(crate) replies: BTreeMap<u64, Result<Success, Refusal>>,
    pub(crate) hand: H,
}

impl<H: Hand> Deployment<H> {
    /// Of nodes that have started.
    pub(crate) fn new(map: &Map, nodes: Vec<Node>, lag: Lag, hand: H) -> Self {
        Self {
            map: map.clone(),
            nodes,
            held: Held::new(),
            now: Nanos::from_millis(1_000),
            lag,
            writes_since: 0,
            requests: 0,
            replies: BTreeMap::new(),
            hand,
        }
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
        let at = usize::try_from(to.node.0 - 1).expect("few nodes");
        if let Some(node) = self.nodes.get_mut(at) {
            node.events.push_back(event);
        }
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
                    H::perform(self, at, &deed);
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
            H::perform(self, at, &deed);
        }
    }
}
