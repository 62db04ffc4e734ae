//! Simulated clients: several operations open at once, leaders learnt from refusals, one retry policy.
//!
//! The policy is the real client's: what a refusal proves not executed is tried again until the deadline; what was
//! sent and never answered is unknown for a write, and asked again for a read.
//!
//! Not here, on purpose: what is asked (`workload`).

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_net::error::{Refusal, RetryClass};
use margate_net::message::{Consistency, Operation, Reply, Request, Success};

use super::faults::Fault;
use super::history::{CallId, Outcome};
use super::network::Spot;
use super::node::Place;
use super::options::Options;
use super::violation::Violation;
use super::workload::{self, Known};
use super::world::{Happening, World};
use crate::core::event::Event;
use crate::shard::answer::ConnectionId;
use crate::types::Nanos;

/// Attempts of one operation are numbered inside its request ids.
const ATTEMPTS_MAX: u64 = 1 << 16;
/// How long a client waits for an operation.
const PATIENCE: (Nanos, Nanos) = (Nanos::from_millis(500), Nanos::from_millis(4_000));

/// One client.
pub(crate) struct Client {
    /// Who is thought to lead, by the shard's place in the map: a place in its list of replicas.
    leaders: Vec<usize>,
    open: BTreeMap<CallId, Open>,
    known: BTreeMap<Bytes, Known>,
    /// Operations still to ask.
    left: u64,
}

/// An operation that is not done.
struct Open {
    shard: usize,
    operation: Operation,
    expires: Nanos,
    attempt: u64,
    /// Where the present attempt went; nothing while waiting for the next.
    sent: Option<(usize, u64)>,
}

impl Client {
    /// A client that knows nothing yet.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            leaders: vec![0; options.shards],
            open: BTreeMap::new(),
            known: BTreeMap::new(),
            left: options.operations,
        }
    }

    /// Whether nothing is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}

impl World {
    /// A client asks new operations, as many as it may have open.
    pub(crate) fn client_wakes(&mut self, client: usize) {
        if self.settle.has_begun() {
            return;
        }
        let room = self.options.width - self.clients[client].open.len().min(self.options.width);
        let wanted = self.dice.index(room + 1);
        let mut calls = Vec::new();
        for _ in 0..wanted.min(usize::try_from(self.clients[client].left).unwrap_or(usize::MAX)) {
            let known = &self.clients[client].known;
            let next = self.history.next_call();
            let (shard, operation) = workload::draw(&mut self.dice, &self.options, &self.map, next, |key| known.get(key).cloned());
            let patience = self.dice.span(PATIENCE.0, PATIENCE.1);
            calls.push(self.invoke(client, shard, operation, patience));
            self.clients[client].left -= 1;
        }
        self.send_calls(client, &calls);
        if self.clients[client].left > 0 {
            let span = self.think();
            self.schedule.after(span, Happening::Client { client });
        }
    }

    /// Whether a client has more to ask; the last one is not asked for, it looks at everything in the end.
    pub(crate) fn clients_ask_more(&self) -> bool {
        self.clients.iter().take(self.options.clients).any(|client| client.left > 0)
    }

    /// A client begins an operation; [`World::send_calls`] sends it.
    pub(crate) fn invoke(&mut self, client: usize, shard: usize, operation: Operation, patience: Nanos) -> CallId {
        let call = self.history.invoke(shard, operation.clone());
        let expires = self.now().plus(patience);
        self.clients[client].open.insert(
            call,
            Open {
                shard,
                operation,
                expires,
                attempt: 0,
                sent: None,
            },
        );
        self.schedule.at(expires, Happening::Expired { client, call });
        call
    }

    /// Sends operations, those for one core in one frame.
    pub(crate) fn send_calls(&mut self, client: usize, calls: &[CallId]) {
        let mut frames: BTreeMap<Place, Vec<Request>> = BTreeMap::new();
        for call in calls {
            let Some((place, request)) = self.address(client, *call) else {
                continue;
            };
            if self.nodes[place.node].is_up() {
                frames.entry(place).or_default().push(request);
            } else {
                // Nothing left the client: no connection could be made.
                self.try_elsewhere(client, *call);
            }
        }
        for (place, requests) in frames {
            let life = self.nodes[place.node].life;
            let link = (Spot::Client(client), Spot::Node(place.node));
            if let Some(at) = self.network.with_client(self.schedule.now(), link, &mut self.dice) {
                let asked = Happening::Asked {
                    place,
                    life,
                    client,
                    requests,
                };
                self.schedule.at(at, asked);
            }
        }
    }

    /// A frame reaches a core.
    pub(crate) fn asked(&mut self, place: Place, life: u64, client: usize, requests: Vec<Request>) {
        if self.nodes[place.node].life != life || self.process(place).is_none() {
            return;
        }
        let requests = self.wire.requests(requests);
        let connection = ConnectionId(client as u64);
        let received = self.monotonic(place);
        let event = Event::Requests {
            connection,
            received,
            requests,
        };
        self.heard(place, event);
    }

    /// A core answers.
    pub(crate) fn reply(&mut self, place: Place, connection: ConnectionId, reply: Reply) {
        let client = usize::try_from(connection.0).expect("connections are numbered by their clients");
        let link = (Spot::Node(place.node), Spot::Client(client));
        for reply in self.wire.reply(reply) {
            if let Some(at) = self.network.with_client(self.schedule.now(), link, &mut self.dice) {
                self.schedule.at(at, Happening::Answered { client, reply });
            }
        }
    }

    /// An answer reaches a client.
    pub(crate) fn answered(&mut self, client: usize, reply: Reply) -> Result<(), Violation> {
        let (call, attempt) = (CallId(reply.id / ATTEMPTS_MAX), reply.id % ATTEMPTS_MAX);
        let Some(open) = self.clients[client].open.get(&call).filter(|open| open.attempt == attempt) else {
            return Ok(());
        };
        let (shard, is_write) = (open.shard, open.operation.is_write());
        match reply.outcome {
            Ok(success) => self.end(client, call, Outcome::Answered(Ok(success))),
            Err(refusal) => match refusal.retry() {
                RetryClass::Never if refusal == Refusal::DeadlineExceeded => self.end(client, call, Outcome::NotExecuted),
                RetryClass::Never => self.end(client, call, Outcome::Answered(Err(refusal))),
                RetryClass::OutcomeUnknown if is_write => self.end(client, call, Outcome::Unknown),
                RetryClass::OutcomeUnknown => self.try_again(client, call, Nanos(0)),
                RetryClass::NowWithNewMap if refusal == Refusal::Damaged => self.told_of_damage(client, call)?,
                RetryClass::AfterMs(millis) if matches!(refusal, Refusal::DiskFull { .. }) => {
                    self.explain_full(shard, refusal)?;
                    self.try_again(client, call, Nanos::from_millis(u64::from(millis)));
                }
                RetryClass::AfterMs(millis) => self.try_again(client, call, Nanos::from_millis(u64::from(millis))),
                RetryClass::NowWithNewMap => {
                    self.learn_leader(client, shard, refusal)?;
                    self.try_again(client, call, Nanos(0));
                }
            },
        }
        Ok(())
    }

    /// A connection broke: what was sent on it and not answered is unknown.
    pub(crate) fn broken(&mut self, client: usize, node: usize, life: u64) {
        let sent = |open: &Open| open.sent == Some((node, life));
        let open = self.clients[client].open.iter().filter(|(_, open)| sent(open));
        let lost: Vec<(CallId, bool)> = open.map(|(call, open)| (*call, open.operation.is_write())).collect();
        for (call, is_write) in lost {
            if is_write {
                self.end(client, call, Outcome::Unknown);
            } else {
                self.try_elsewhere(client, call);
            }
        }
    }

    /// A client gives up.
    pub(crate) fn expired(&mut self, client: usize, call: CallId) {
        let Client { leaders, open, .. } = &mut self.clients[client];
        let Some(open) = open.get(&call) else { return };
        leaders[open.shard] += 1;
        let outcome = if open.sent.is_some() && open.operation.is_write() {
            Outcome::Unknown
        } else {
            Outcome::NotExecuted
        };
        self.end(client, call, outcome);
    }

    /// A client tries again.
    pub(crate) fn retry(&mut self, client: usize, call: CallId, attempt: u64) {
        let waits = |open: &Open| open.attempt == attempt && open.sent.is_none();
        if self.clients[client].open.get(&call).is_some_and(waits) {
            self.send_calls(client, &[call]);
        }
    }

    /// Where an operation goes next, and its request.
    fn address(&mut self, client: usize, call: CallId) -> Option<(Place, Request)> {
        let now = self.now();
        let Client { leaders, open, .. } = &mut self.clients[client];
        let open = open.get_mut(&call)?;
        let shard = &self.map.shards()[open.shard];
        let stale = matches!(
            open.operation,
            Operation::Get { consistency, .. } | Operation::List { consistency, .. } | Operation::Size { consistency, .. }
            if consistency == Consistency::Stale
        );
        let replica = if stale || self.dice.chance(30) {
            self.dice.pick(&shard.replicas)
        } else {
            &shard.replicas[leaders[open.shard] % shard.replicas.len()]
        };
        let place = Place::of(crate::core::event::PeerName {
            node: replica.node,
            core: replica.core,
        });
        open.attempt += 1;
        open.sent = Some((place.node, self.nodes[place.node].life));
        let left_ms = open.expires.since(now).0 * self.options.haste / 1_000_000;
        let request = Request {
            id: call.0 * ATTEMPTS_MAX + open.attempt,
            shard: shard.id,
            range_epoch: shard.range_epoch,
            timeout_ms: u32::try_from(left_ms).unwrap_or(u32::MAX),
            operation: open.operation.clone(),
        };
        Some((place, request))
    }

    /// An attempt is proven not executed: another follows, after a time of growing length.
    fn try_again(&mut self, client: usize, call: CallId, wait: Nanos) {
        let Some(open) = self.clients[client].open.get_mut(&call) else {
            return;
        };
        open.sent = None;
        let attempt = open.attempt;
        let most = Nanos::from_millis((1 << attempt.min(6)) + 1);
        let span = wait.plus(self.dice.span(Nanos::from_millis(1), most));
        self.schedule.after(span, Happening::Retry { client, call, attempt });
    }

    /// As [`World::try_again`], with another replica.
    fn try_elsewhere(&mut self, client: usize, call: CallId) {
        if let Some(open) = self.clients[client].open.get(&call) {
            let shard = open.shard;
            self.clients[client].leaders[shard] += 1;
            self.try_again(client, call, Nanos(0));
        }
    }

    /// A client was told that a value or a replica is damaged. Another replica may lead by now; where the leader itself has lost
    /// the value, and no member that has it can be asked, nobody can give it. A read that failed may not fail again.
    fn told_of_damage(&mut self, client: usize, call: CallId) -> Result<(), Violation> {
        self.faults.count(Fault::DamageTold);
        let open = self.clients[client].open.get(&call);
        let Some((shard, (node, _))) = open.and_then(|open| Some((open.shard, open.sent?))) else {
            return Ok(());
        };
        let shard = &self.map.shards()[shard];
        let mut homes = shard.replicas.iter().map(Place::home);
        let home = homes.find(|home| home.node == node).expect("only a replica's home was asked");
        let host = &mut self.nodes[home.node].hosts[home.core];
        let runs = host
            .process
            .as_ref()
            .is_some_and(|process| process.core.damaged().all(|damaged| damaged.shard != shard.id));
        match (host.hurt.may_hurt_any(shard.id), runs) {
            // A member that has it can be reached: it is mended sooner or later.
            (true, true) if self.settle.has_begun() => self.try_again(client, call, Nanos(0)),
            (true, true) => {
                self.faults.count(Fault::ValueLost);
                self.end(client, call, Outcome::NotExecuted);
            }
            (true, false) => self.try_elsewhere(client, call),
            (false, _) if host.was_hurt || host.has_ended_any(shard.id) => self.try_elsewhere(client, call),
            (false, _) if host.hurt.explain_by_read() => self.try_again(client, call, Nanos(0)),
            (false, _) => return Err(Violation::SenselessRefusal { refusal: Refusal::Damaged }),
        }
        Ok(())
    }

    fn learn_leader(&mut self, client: usize, shard: usize, refusal: Refusal) -> Result<(), Violation> {
        let replicas = &self.map.shards()[shard].replicas;
        let leader = &mut self.clients[client].leaders[shard];
        let hint = match refusal {
            Refusal::NotLeader { leader } => replicas.iter().position(|replica| Some(replica.node) == leader),
            Refusal::ShuttingDown => None,
            refusal => return Err(Violation::SenselessRefusal { refusal }),
        };
        *leader = hint.unwrap_or(*leader + 1);
        Ok(())
    }

    fn end(&mut self, client: usize, call: CallId, outcome: Outcome) {
        let Some(open) = self.clients[client].open.remove(&call) else {
            return;
        };
        if outcome == Outcome::Unknown {
            self.faults.count(Fault::OutcomeUnknown);
        }
        if let Some((key, known)) = learnt(&open.operation, &outcome) {
            self.clients[client].known.insert(key, known);
        }
        self.settle.ended(call, &outcome);
        self.history.end(call, outcome);
    }

    /// Bursts, then a rest, so that operations both meet and spread over the run.
    fn think(&mut self) -> Nanos {
        if self.dice.chance(900) {
            return self.dice.span(Nanos(0), Nanos::from_millis(20));
        }
        // As long as it takes for all operations to last until the faults end.
        let options = &self.options;
        let rest = Nanos(8 * options.faults_until.0 * options.width as u64 / options.operations.max(1));
        self.dice.span(Nanos(0), rest)
    }
}

/// What an answer says about its key.
fn learnt(operation: &Operation, outcome: &Outcome) -> Option<(Bytes, Known)> {
    let (version, value) = match outcome {
        Outcome::Answered(Ok(Success::Found { version, value, .. })) => (*version, Some(value.clone())),
        Outcome::Answered(Ok(
            Success::Written { version, .. }
            | Success::Exchanged {
                version: Some(version), ..
            },
        )) => (*version, written(operation)),
        Outcome::Answered(Ok(Success::Sized { version, .. }) | Err(Refusal::AlreadyExists { version })) => (*version, None),
        Outcome::Answered(_) | Outcome::NotExecuted | Outcome::Open | Outcome::Unknown => return None,
    };
    Some((operation.routing_key().clone(), Known { version, value }))
}

fn written(operation: &Operation) -> Option<Bytes> {
    match operation {
        Operation::Set { value, .. } | Operation::CompareExchange { value, .. } => Some(value.clone()),
        Operation::Delete { .. } | Operation::Get { .. } | Operation::List { .. } | Operation::Size { .. } => None,
    }
}
