//! One seed's world: nodes, clients and links in one thread and virtual time.
//!
//! ```text
//!   schedule ──► step ──► turn (cores) ─┐         ┌─► checks, every turn
//!      ▲          ├─────► clients ──────┼─► history ─► checks, at the end
//!      │          └─────► nemesis       │
//!      └────────────── plans ◄──────────┘
//! ```
//! Not here, on purpose: what each kind of event does (`turn`, `client`, `nemesis`, `settle`).

use margate_net::ids::{ClusterId, Incarnation, LogIndex, NodeId, Version};
use margate_net::map::{Map, MapNode};
use margate_net::measure::Span;
use margate_net::message::{Consistency, MemberMessage, Operation, PeerBatch, ReadVersion, Reply, Request, Returning, Success};

use super::ballots::LateBallots;
use super::check::log_agreement::CommittedLog;
use super::check::membership::Membership;
use super::check::single_leader::Leaders;
use super::check::state_hash::States;
use super::check::{acknowledged, calls};
use super::client::Client;
use super::dice::Dice;
use super::disk_faults::DiskFaults;
use super::faults::{Fault, FaultCounts};
use super::history::{CallId, History, Outcome, VALUE_BYTES_MIN, value};
use super::network::Network;
use super::node::{Node, Place};
use super::options::Options;
use super::schedule::Schedule;
use super::settle::Settle;
use super::violation::Violation;
use super::wire::Wire;
use super::workload::shard_of;
use crate::config::static_map;
use crate::core::event::{Event, PeerName, ReadTicket};
use crate::index::store::ReplicaMarks;
use crate::planted::{Bug, Planted};
use crate::types::{Nanos, Position};

/// Events of one run beyond which it is called stuck: a hundred times the usual.
const EVENTS_MAX: u64 = 5_000_000;

/// What is planned.
pub(crate) enum Happening {
    /// A client's frame reaches a core; dropped if its process is another by then.
    Asked {
        place: Place,
        life: u64,
        client: usize,
        requests: Vec<Request>,
    },
    /// An answer reaches a client.
    Answered { client: usize, reply: Reply },
    /// A client's connection to a node broke.
    Broken { client: usize, node: usize, life: u64 },
    /// Is it time for what is to become of ballots that are held back?
    Ballots,
    /// A node is killed and comes back almost at once; what another says is held back meanwhile.
    Bounce { node: usize, deaf_to: usize },
    /// A client asks something new.
    Client { client: usize },
    /// A disk, an index or a link has something for a core; dropped if its process is another by then.
    Core { place: Place, life: u64, what: ForCore },
    /// There is space again on a node's disk, unless it was filled again.
    Emptied { node: usize, times: u64 },
    /// A client gives an operation up.
    Expired { client: usize, call: CallId },
    /// A node is killed, if this life of it still runs.
    Kill { node: usize, life: u64 },
    /// A message of a peer about members arrives.
    Member {
        place: Place,
        from: PeerName,
        message: MemberMessage,
    },
    /// Links that were cut are mended.
    Mend,
    /// The nemesis does something.
    Nemesis,
    /// A batch of a peer arrives.
    Peer {
        place: Place,
        from: PeerName,
        incarnation: Incarnation,
        batch: PeerBatch,
    },
    /// A wiped node gets the disks back that it had, as soon as it can be spared.
    PutBack { node: usize },
    /// A node goes on.
    Resume { node: usize, life: u64 },
    /// A dead node comes back.
    Restart { node: usize, life: u64 },
    /// A client tries again.
    Retry { client: usize, call: CallId, attempt: u64 },
    /// After the faults: is everything done?
    Settle,
    /// What a node says from now on is lost for a while.
    Silence { node: usize },
    /// A stopping node may be done.
    Stopping { node: usize, life: u64 },
    /// Disks and indexes are as fast as usual again.
    Quick { node: usize },
}

/// Something for one core.
pub(crate) enum ForCore {
    Event(Event),
    IndexCommitted {
        generation: u64,
        marks: Vec<ReplicaMarks>,
    },
    Measured,
    Read {
        ticket: ReadTicket,
        position: Position,
        length: usize,
    },
    SegmentDeleted,
    SegmentRecycled,
    SegmentPrepared {
        number: u32,
    },
    Tick,
    Turn {
        at: Nanos,
    },
    Written {
        sequence: u64,
    },
}

/// See the module's text.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) map: Map,
    pub(crate) dice: Dice,
    pub(crate) schedule: Schedule<Happening>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) network: Network,
    pub(crate) ballots: Option<LateBallots>,
    pub(crate) wire: Wire,
    pub(crate) history: History,
    pub(crate) committed: CommittedLog,
    pub(crate) leaders: Leaders,
    pub(crate) members: Membership,
    pub(crate) states: States,
    pub(crate) settle: Settle,
    pub(crate) faults: FaultCounts,
    pub(crate) planted: Planted,
    pub(crate) hash: EventHash,
    pub(crate) leaderships: u64,
}

/// The hash of all that happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventHash(pub(crate) u64);

impl EventHash {
    /// Something happened.
    pub(crate) fn mix(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}

impl World {
    /// Makes a seed's world, its nodes created and not started.
    pub(crate) fn new(seed: u64, planted: Planted) -> Self {
        let mut dice = Dice::new(seed);
        let options = Options::draw(&mut dice, DiskFaults::draw(seed)).aim(seed);
        let map = map(&options);
        let nodes = (0..options.nodes).map(|at| Node::create(at, &map, &options, &mut dice)).collect();
        // One more than asked for: it looks at everything once the faults are over.
        let clients = (0..=options.clients).map(|_| Client::new(&options)).collect();
        Self {
            network: Network::new(options.network.clone()),
            ballots: None,
            wire: Wire::new(options.wire),
            map,
            dice,
            schedule: Schedule::new(),
            nodes,
            clients,
            history: History::default(),
            committed: CommittedLog::default(),
            leaders: Leaders::default(),
            members: Membership::default(),
            states: States::default(),
            settle: Settle::default(),
            faults: FaultCounts::default(),
            planted,
            hash: EventHash(seed),
            leaderships: 0,
            options,
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            self.start(node)?;
        }
        for client in 0..self.options.clients {
            let span = self.dice.span(Nanos(0), Nanos::from_millis(1_000));
            self.schedule.after(span, Happening::Client { client });
        }
        self.plan_nemesis();
        self.schedule.at(self.options.faults_until, Happening::Settle);
        for _ in 0..EVENTS_MAX {
            if self.settle.is_done() {
                return Ok(());
            }
            let Some(next) = self.schedule.next() else { break };
            self.happen(next)?;
        }
        Err(self.not_live("the run does not end".to_owned()))
    }

    /// What cores have counted and measured is the same in every run of a seed, too.
    pub(crate) fn mix_measures(&mut self) {
        let hosts = self.nodes.iter().flat_map(|node| &node.hosts);
        for process in hosts.filter_map(|host| host.process.as_ref()) {
            let measures = process.core.measures();
            self.hash.mix(measures.numbers.values());
            let sums = Span::all().map(|span| measures.times.get(span).sum());
            self.hash.mix(&sums.collect::<Vec<_>>());
        }
    }

    /// The present.
    pub(crate) fn now(&self) -> Nanos {
        self.schedule.now()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        self.hash.mix(&[self.now().0]);
        match happening {
            Happening::Asked {
                place,
                life,
                client,
                requests,
            } => self.asked(place, life, client, requests),
            Happening::Answered { client, reply } => self.answered(client, reply)?,
            Happening::Ballots => self.ballots_step(),
            Happening::Bounce { node, deaf_to } => self.bounce(node, deaf_to),
            Happening::Broken { client, node, life } => self.broken(client, node, life),
            Happening::Client { client } => self.client_wakes(client),
            Happening::Core { place, life, what } => self.for_core(place, life, what)?,
            Happening::Emptied { node, times } => self.empty_disk(node, times),
            Happening::Expired { client, call } => self.expired(client, call),
            Happening::Kill { node, life } => self.kill_life(node, life),
            Happening::Member { place, from, message } => self.heard(place, Event::Member { from, message }),
            Happening::Mend => self.network.mend(),
            Happening::Nemesis => self.nemesis(),
            Happening::Peer {
                place,
                from,
                incarnation,
                batch,
            } => self.heard(place, Event::Peer { from, incarnation, batch }),
            Happening::PutBack { node } => self.put_back_disks(node),
            Happening::Resume { node, life } => self.resume(node, life),
            Happening::Restart { node, life } => self.restart(node, life)?,
            Happening::Retry { client, call, attempt } => self.retry(client, call, attempt),
            Happening::Settle => self.settle_step()?,
            Happening::Silence { node } => self.silence(node),
            Happening::Stopping { node, life } => self.stopping(node, life),
            Happening::Quick { node } => (self.nodes[node].disk_slower, self.nodes[node].index_slower) = (1, 1),
        }
        Ok(())
    }

    /// Judges the whole run. Returns how many keys were too hard to judge.
    pub(crate) fn judge(&mut self) -> Result<u64, Violation> {
        let hosts = self.nodes.iter().flat_map(|node| &node.hosts);
        for process in hosts.filter_map(|host| host.process.as_ref()) {
            process.count(&mut self.faults);
        }
        let shards = self.map.shards().len() as u64;
        self.faults.add(Fault::LeaderChanged, self.leaderships.saturating_sub(shards));
        let deeds = acknowledged::check(&self.history, &self.map, &self.committed)?;
        if self.planted.planted() == Some(Bug::Canary) {
            self.slander();
        }
        calls::judge(&self.history, &self.map, &self.options.keys, &deeds)
    }

    /// The canary: a read is added that saw what nobody wrote, so that the checkers must speak up.
    fn slander(&mut self) {
        let key = self.options.keys[0].clone();
        let call = self.history.invoke(
            shard_of(&self.map, &key),
            Operation::Get {
                key,
                version: ReadVersion::Latest,
                consistency: Consistency::Linearizable,
                returning: Returning::default(),
            },
        );
        let number = self.history.next_call().0;
        let success = Success::Found {
            version: Version(1),
            value: value(number, VALUE_BYTES_MIN),
            key: None,
            applied: LogIndex(1),
        };
        self.history.end(call, Outcome::Answered(Ok(success)));
    }
}

fn map(options: &Options) -> Map {
    let port = |node: u16, core: u16| ([127, 0, 0, 1], 7_000 + 100 * node + core).into();
    let nodes: Vec<MapNode> = (0u16..)
        .take(options.nodes)
        .map(|node| MapNode {
            id: NodeId(u64::from(node) + 1),
            cores: (0u16..).take(options.cores).map(|core| port(node, core)).collect(),
        })
        .collect();
    static_map(ClusterId(7), &nodes, &options.bounds(), options.replication).expect("the options make a map")
}
