//! All nodes of a script, the links between them, the clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use margate_engine::config::static_map;
use margate_engine::core::event::{Event, Moment, PeerName};
use margate_engine::log::scan::ReadSegments;
use margate_engine::shard::answer::ConnectionId;
use margate_engine::types::Nanos;
use margate_net::codec::ReceivedRequest;
use margate_net::ids::{ClusterId, CoreId, Incarnation, NodeId, ReplicaId, ShardId};
use margate_net::map::{Map, MapNode};
use margate_net::message::{MemberMessage, PeerBatch, ReplicaRole, Reply};

use super::node::{Node, Seen};
use super::words::Asked;
use crate::runner::Trace;
use crate::show;

/// Wall clock when a script begins, ns since 1970.
const WALL: u64 = 1_700_000_000_000_000_000;
/// Answers of one turn that are shown one by one.
const REPLIES_SHOWN: usize = 20;

/// What is on its way from one node to another.
type Link = VecDeque<Sent>;

/// A frame between two nodes.
#[derive(Clone)]
pub(crate) enum Sent {
    Member(MemberMessage),
    Peer(Incarnation, PeerBatch),
}

/// See the module's text.
pub(crate) struct World {
    /// Shows only answers and halts.
    pub(crate) quiet: bool,
    map: Map,
    nodes: BTreeMap<u64, Node>,
    links: BTreeMap<(u64, u64), Link>,
    cut: BTreeSet<u64>,
    now: Nanos,
    asked: u64,
}

impl World {
    /// So many nodes of one core, created and started; with a tick of zero nobody has tenure.
    pub(crate) fn new(nodes: u64, shards: u64, (tick, segment_bytes): (Nanos, u32)) -> Self {
        let addresses = (1..=nodes).map(|id| MapNode {
            id: NodeId(id),
            cores: vec![([127, 0, 0, 1], 7_400 + 100 * u16::try_from(id).expect("few nodes")).into()],
        });
        let bounds: &[Bytes] = if shards == 2 { &[Bytes::from_static(b"m")] } else { &[] };
        assert!(shards <= 2, "scripts have one or two shards");
        let map = static_map(ClusterId(1), &addresses.collect::<Vec<_>>(), bounds, 3).expect("a sound topology");
        let made = (1..=nodes).map(|id| (id, Node::create(&map, NodeId(id), Nanos(WALL), (tick, segment_bytes))));
        let mut world = Self {
            quiet: false,
            nodes: made.collect(),
            map,
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            now: Nanos::from_millis(1_000),
            asked: 0,
        };
        (1..=nodes).for_each(|id| world.begin(id, &mut Trace::default()));
        while world.everything_once(&mut Trace::default()) {}
        world
    }

    /// A node of the script.
    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// What is on its way between two nodes.
    pub(crate) fn link(&mut self, from: u64, to: u64) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    /// Everything on its way arrives twice.
    pub(crate) fn duplicate(&mut self, from: u64, to: u64) {
        let link = self.link(from, to);
        *link = link.iter().flat_map(|sent| [sent.clone(), sent.clone()]).collect();
    }

    /// Nothing reaches the node and nothing leaves it.
    pub(crate) fn cut(&mut self, node: u64) {
        self.cut.insert(node);
        self.links.retain(|(from, to), _| *from != node && *to != node);
    }

    /// All nodes reach each other.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// A client asks all of this in one frame.
    pub(crate) fn ask(&mut self, node: u64, asked: Vec<Asked>, trace: &mut Trace) {
        let requests = asked.into_iter().map(|asked| {
            self.asked += 1;
            let owner = asked.shard.map(ShardId);
            let shard = owner.unwrap_or_else(|| self.map.shard_of(asked.operation.routing_key()).id);
            ReceivedRequest {
                id: self.asked,
                request: Ok(asked.request(self.asked, shard)),
            }
        });
        let requests = requests.collect();
        let event = Event::Requests {
            connection: ConnectionId(node),
            received: Nanos(0),
            requests,
        };
        self.turn(node, vec![event], trace);
    }

    /// One tick of a node.
    pub(crate) fn tick(&mut self, node: u64, trace: &mut Trace) {
        self.turn(node, vec![Event::Tick], trace);
    }

    /// A node hears how many bytes are free.
    pub(crate) fn measure(&mut self, node: u64, bytes: u64, trace: &mut Trace) {
        self.turn(node, vec![Event::DiskFree { bytes }], trace);
    }

    /// A node is told to stop.
    pub(crate) fn stop(&mut self, node: u64, trace: &mut Trace) {
        self.turn(node, vec![Event::Stop], trace);
    }

    /// A node learns that it cannot reach another.
    pub(crate) fn lost(&mut self, node: u64, peer: u64, trace: &mut Trace) {
        self.turn(node, vec![Event::PeerLost { peer: peer_name(peer) }], trace);
    }

    /// Time passes and no node has noticed yet.
    pub(crate) fn later(&mut self, millis: u64) {
        self.now = self.now.plus(Nanos::from_millis(millis));
    }

    /// Time passes on every node that runs.
    pub(crate) fn wait(&mut self, millis: u64, trace: &mut Trace) {
        self.later(millis);
        let running = self.nodes.iter().filter(|(_, node)| node.core.is_some()).map(|(id, _)| *id);
        for id in running.collect::<Vec<_>>() {
            self.turn(id, Vec::new(), trace);
        }
    }

    /// The write under way on a node is done, if there is one.
    pub(crate) fn flush(&mut self, node: u64, trace: &mut Trace) -> bool {
        let flushed = self.node(node).flushed();
        self.done(node, flushed, trace)
    }

    /// The generation under way on a node is durable, if there is one.
    pub(crate) fn commit_index(&mut self, node: u64, trace: &mut Trace) -> bool {
        let committed = self.node(node).index_done();
        self.done(node, committed, trace)
    }

    /// The first frame on a link arrives, if there is one.
    pub(crate) fn deliver(&mut self, from: u64, to: u64, trace: &mut Trace) -> bool {
        let Some(sent) = self.link(from, to).pop_front() else {
            return false;
        };
        if self.node(to).core.is_some() {
            let from = peer_name(from);
            let event = match sent {
                Sent::Member(message) => Event::Member { from, message },
                Sent::Peer(incarnation, batch) => Event::Peer { from, incarnation, batch },
            };
            self.turn(to, vec![event], trace);
        }
        true
    }

    /// The process dies, and its connections with it.
    pub(crate) fn crash(&mut self, node: u64, kept_blocks: u64) {
        self.node(node).crash(usize::try_from(kept_blocks).expect("few blocks"));
        self.links.retain(|(from, to), _| *from != node && *to != node);
    }

    /// The process starts.
    pub(crate) fn start(&mut self, node: u64, trace: &mut Trace) {
        self.begin(node, trace);
    }

    /// Whether a replica of the node is a candidate, or leads already.
    pub(crate) fn campaigns(&mut self, node: u64) -> bool {
        let status = self.node(node).core().status();
        status
            .replicas
            .iter()
            .any(|replica| matches!(replica.role, ReplicaRole::Candidate | ReplicaRole::Leader))
    }

    /// Every write, commit and frame under way arrives once. Whether there was any.
    pub(crate) fn everything_once(&mut self, trace: &mut Trace) -> bool {
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        let mut moved = false;
        for id in ids.into_iter().filter(|id| !self.cut.contains(id)).collect::<Vec<_>>() {
            if self.node(id).disk.is_writing() {
                moved |= self.flush(id, trace);
            }
            if self.node(id).is_committing() {
                moved |= self.commit_index(id, trace);
            }
        }
        for (from, to) in self.links.keys().copied().collect::<Vec<_>>() {
            moved |= self.deliver(from, to, trace);
        }
        moved
    }

    /// What every replica of every node says of itself.
    pub(crate) fn status(&mut self, trace: &mut Trace) {
        for (id, node) in &self.nodes {
            let Some(core) = &node.core else {
                trace.line(format!("{id} is down"));
                continue;
            };
            for replica in core.status().replicas {
                let role = match replica.role {
                    ReplicaRole::Leader => "leads".into(),
                    ReplicaRole::Candidate => "campaigns".into(),
                    ReplicaRole::Damaged => "is damaged".into(),
                    ReplicaRole::Follower => replica.leader.map_or("follows nobody".into(), |leader| format!("follows {leader}")),
                };
                let (term, last, commit, applied) = (replica.term, replica.last, replica.commit, replica.applied);
                let stopped = if core.is_stopped() { ", stopped" } else { "" };
                trace.line(format!(
                    "{id} s{} {role}, term {term}, last {last}, commit {commit}, applied {applied}{stopped}",
                    replica.shard
                ));
            }
        }
    }

    /// Who belongs to each shard, as every replica of a node knows it.
    pub(crate) fn members(&mut self, node: u64, trace: &mut Trace) {
        let ids = |ids: &[ReplicaId]| {
            let ids: Vec<_> = ids.iter().map(|id| format!("r{id}")).collect();
            if ids.is_empty() { "none".to_owned() } else { ids.join(" ") }
        };
        for replica in self.node(node).core().replicas() {
            let members = &replica.state().members;
            trace.line(format!(
                "{node} is {} of voters {}, outgoing {}, learners {}",
                show::name(replica.name()),
                ids(&members.voters),
                ids(&members.outgoing),
                ids(&members.learners)
            ));
        }
    }

    /// What a node has transferred and reclaimed since its start, and the segments it has.
    pub(crate) fn counters(&mut self, node: u64, trace: &mut Trace) {
        let counters = self.node(node).core().counters();
        let (images, reclaimed) = (counters.transferred, counters.reclaimed);
        trace.line(format!(
            "{node} sent {} images, took {}, gave {} up, was admitted {} times",
            images.images_sent, images.images_installed, images.images_given_up, images.admitted
        ));
        trace.line(format!(
            "{node} reclaimed {} segments, copied {} values and {} deletes",
            reclaimed.segments, reclaimed.values, reclaimed.deletes
        ));
        let mended = counters.repaired;
        if mended != Default::default() {
            trace.line(format!(
                "{node} asked {} times for values, took {}, gave {}, gave {} up, refused {}",
                mended.asked, mended.taken, mended.given, mended.given_up, mended.refused
            ));
        }
        let segments: Vec<_> = self.node(node).disk.segments().iter().map(u32::to_string).collect();
        trace.line(format!("{node} has segments {}", segments.join(" ")));
    }

    fn begin(&mut self, node: u64, trace: &mut Trace) {
        let said = self.node(node).start();
        trace.line(format!("{node} {said}"));
        if self.node(node).core.is_some() {
            self.turn(node, Vec::new(), trace);
        }
    }

    fn done(&mut self, node: u64, event: Option<Event>, trace: &mut Trace) -> bool {
        let Some(event) = event else { return false };
        self.turn(node, vec![event], trace);
        true
    }

    fn turn(&mut self, node: u64, events: Vec<Event>, trace: &mut Trace) {
        let moment = Moment {
            now: self.now,
            wall: Nanos(WALL + self.now.0),
        };
        let seen = self.node(node).turn(moment, events);
        let incarnation = self.node(node).incarnation;
        let mut replies = Vec::new();
        for seen in seen {
            if let Seen::Reply(reply) = seen {
                replies.push(reply);
                continue;
            }
            show_replies(node, &mut replies, trace);
            match seen {
                Seen::Disk(what) if self.quiet => trace.unseen(&format!("{node} {what}")),
                Seen::Disk(what) => trace.line(format!("{node} {what}")),
                Seen::Reply(_) => unreachable!("answers are gathered above"),
                Seen::Send(to, batch) => self.send(node, (to.0, incarnation), batch, trace),
                Seen::SendMember(to, message) => self.send_member(node, to.0, message, trace),
                Seen::Halted(halt) => trace.line(format!("{node} halts: {halt}")),
            }
        }
        show_replies(node, &mut replies, trace);
    }

    fn send(&mut self, from: u64, (to, incarnation): (u64, Incarnation), batch: PeerBatch, trace: &mut Trace) {
        for message in &batch.messages {
            self.show_sent((from, to), message.shard, &show::message(message), trace);
        }
        self.put_on_link(from, to, Sent::Peer(incarnation, batch));
    }

    fn send_member(&mut self, from: u64, to: u64, message: MemberMessage, trace: &mut Trace) {
        self.show_sent((from, to), message.shard, &show::member(&message), trace);
        self.put_on_link(from, to, Sent::Member(message));
    }

    fn show_sent(&self, (from, to): (u64, u64), shard: ShardId, what: &str, trace: &mut Trace) {
        let lost = if self.is_lost(from, to) { " (lost)" } else { "" };
        let several = self.map.shards().len() > 1;
        let shard = if several { format!(" s{shard}") } else { String::new() };
        let line = format!("{from} -> {to}{shard} {what}{lost}");
        if self.quiet {
            trace.unseen(&line);
        } else {
            trace.line(line);
        }
    }

    fn put_on_link(&mut self, from: u64, to: u64, sent: Sent) {
        if !self.is_lost(from, to) {
            self.link(from, to).push_back(sent);
        }
    }

    fn is_lost(&self, from: u64, to: u64) -> bool {
        let runs = self.nodes.get(&to).is_some_and(|node| node.core.is_some());
        self.cut.contains(&from) || self.cut.contains(&to) || !runs
    }
}

/// Shows answers given one after the other; very many by what they say.
fn show_replies(node: u64, replies: &mut Vec<Reply>, trace: &mut Trace) {
    let said = |reply: &Reply| match &reply.outcome {
        Ok(success) => show::success(success),
        Err(refusal) => format!("refused: {refusal}"),
    };
    if replies.len() <= REPLIES_SHOWN {
        let lines = replies
            .drain(..)
            .map(|reply| format!("{node} answers #{}: {}", reply.id, said(&reply)));
        return lines.for_each(|line| trace.line(line));
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for reply in replies.drain(..) {
        // Versions differ from answer to answer; what was done does not.
        let what = said(&reply).split(" v").next().unwrap_or_default().to_owned();
        *counts.entry(what).or_default() += 1;
    }
    let lines = counts
        .into_iter()
        .map(|(what, count)| format!("{node} answers {count} times: {what}"));
    lines.for_each(|line| trace.line(line));
}

fn peer_name(node: u64) -> PeerName {
    PeerName {
        node: NodeId(node),
        core: CoreId(0),
    }
}
