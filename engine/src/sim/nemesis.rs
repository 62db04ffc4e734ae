//! The faults: what is broken, and when. Every kind may come at any time, on any node, at once with others; disks
//! lose nothing that was durable.
//!
//! Not here, on purpose: message faults, which are the network's rates; nodes' ends and beginnings (`lives`).

use super::faults::Fault;
use super::network::Spot;
use super::world::{Happening, World};
use crate::types::Nanos;

/// How long links are cut or clogged.
const CUT: (Nanos, Nanos) = (Nanos::from_millis(50), Nanos::from_millis(4_000));
/// How long a disk is slow.
const SLOW: (Nanos, Nanos) = (Nanos::from_millis(100), Nanos::from_millis(3_000));

impl World {
    /// Plans the next fault, if this seed has any.
    pub(crate) fn plan_nemesis(&mut self) {
        if !self.options.nemesis.kinds.is_empty() {
            let span = self.dice.span(self.options.nemesis.pace.0, self.options.nemesis.pace.1);
            self.schedule.after(span, Happening::Nemesis);
        }
    }

    /// Does something to somebody.
    pub(crate) fn nemesis(&mut self) {
        if self.settle.has_begun() {
            return;
        }
        self.plan_nemesis();
        let kind = *self.dice.pick(&self.options.nemesis.kinds);
        let node = self.victim();
        match kind {
            Fault::Kill => self.kill(node, Fault::Kill),
            Fault::KillAll => (0..self.nodes.len()).for_each(|node| self.kill(node, Fault::KillAll)),
            Fault::Stop => self.stop(node),
            Fault::Pause => self.pause(node),
            Fault::Partition => self.partition(),
            Fault::PartitionOneWay => self.partition_one_way(),
            Fault::Strand => self.strand(node),
            Fault::ClientCut => self.cut_client(node),
            Fault::Clog => self.clog(),
            Fault::ClockJump => self.jump(node),
            Fault::ClockDrift => self.drift(node),
            Fault::SlowDisk => self.slow_down(node, Fault::SlowDisk),
            Fault::SlowIndex => self.slow_down(node, Fault::SlowIndex),
            // The others are not done but happen: by the network's rates, or as a consequence.
            Fault::Delay
            | Fault::Drop
            | Fault::Duplicate
            | Fault::EntriesFetched
            | Fault::IndexCommitted
            | Fault::IndexLost
            | Fault::IndexTorn
            | Fault::LeaderChanged
            | Fault::OutcomeUnknown
            | Fault::Restart
            | Fault::SegmentDiscarded
            | Fault::SegmentWaited
            | Fault::TailDropped
            | Fault::ValueRead
            | Fault::WriteLost
            | Fault::WriteSurvived
            | Fault::WriteTorn => {}
        }
    }

    /// A node, more often one that leads something.
    fn victim(&mut self) -> usize {
        let leads = |place: &super::node::Node| {
            let processes = place.hosts.iter().filter_map(|host| host.process.as_ref());
            processes
                .into_iter()
                .any(|process| process.core.replicas().any(|replica| replica.leads()))
        };
        let leaders: Vec<usize> = (0..self.nodes.len()).filter(|node| leads(&self.nodes[*node])).collect();
        if leaders.is_empty() || self.dice.chance(400) {
            self.dice.index(self.nodes.len())
        } else {
            *self.dice.pick(&leaders)
        }
    }

    /// Cuts the nodes in two; more often one leader from the rest.
    fn partition(&mut self) {
        let alone = self.victim();
        let split = self.dice.chance(300);
        let side: Vec<bool> = (0..self.nodes.len())
            .map(|node| if split { self.dice.chance(500) } else { node == alone })
            .collect();
        self.faults.count(Fault::Partition);
        self.cut_where(|from, to| side[from] != side[to]);
    }

    /// Cuts one direction of some links, often all that lead to a node or all that lead away from it.
    fn partition_one_way(&mut self) {
        let node = self.victim();
        let kind = self.dice.index(3);
        let links = self.nodes.len() * self.nodes.len();
        let some: Vec<bool> = (0..links).map(|_| self.dice.chance(400)).collect();
        self.faults.count(Fault::PartitionOneWay);
        let nodes = self.nodes.len();
        self.cut_where(|from, to| match kind {
            0 => from == node,
            1 => to == node,
            _ => some[from * nodes + to],
        });
    }

    /// Cuts what a node says, and holds back what it is told for about as long as it takes to replace a leader.
    fn strand(&mut self, node: usize) {
        self.faults.count(Fault::Strand);
        let hold = self.dice.between(8, 22);
        let until = self.now().plus(Nanos(self.options.tick.0 * hold));
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            self.network.clog((Spot::Node(peer), Spot::Node(node)), until);
        }
        self.cut_where(|from, _| from == node);
    }

    fn cut_where(&mut self, cut: impl Fn(usize, usize) -> bool) {
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                if from != to && cut(from, to) {
                    self.network.cut(Spot::Node(from), Spot::Node(to));
                }
            }
        }
        let span = self.dice.span(CUT.0, CUT.1);
        self.schedule.after(span, Happening::Mend);
    }

    fn cut_client(&mut self, node: usize) {
        let client = self.dice.index(self.options.clients);
        self.faults.count(Fault::ClientCut);
        let (client, node) = (Spot::Client(client), Spot::Node(node));
        if self.dice.chance(500) {
            self.network.cut(client, node);
        }
        self.network.cut(node, client);
        let span = self.dice.span(CUT.0, CUT.1);
        self.schedule.after(span, Happening::Mend);
    }

    /// Holds messages back: of one link, or of all that lead to a node or away from it.
    fn clog(&mut self) {
        let node = self.victim();
        let other = self.dice.index(self.nodes.len());
        let kind = self.dice.index(3);
        self.faults.count(Fault::Clog);
        for peer in (0..self.nodes.len()).filter(|peer| kind < 2 || *peer == other) {
            let until = self.now().plus(self.dice.span(CUT.0, CUT.1));
            let (node, peer) = (Spot::Node(node), Spot::Node(peer));
            let link = if kind == 0 { (node, peer) } else { (peer, node) };
            self.network.clog(link, until);
        }
    }

    fn jump(&mut self, node: usize) {
        self.faults.count(Fault::ClockJump);
        let (forward, by) = (self.dice.chance(500), self.dice.span(Nanos(0), Nanos::from_millis(60_000)));
        self.nodes[node].clock.jump(forward, by);
    }

    fn drift(&mut self, node: usize) {
        self.faults.count(Fault::ClockDrift);
        let (now, rate) = (self.now(), self.options.haste * self.dice.between(900_000, 1_100_000));
        self.nodes[node].clock.set_rate(now, rate);
    }

    fn slow_down(&mut self, node: usize, kind: Fault) {
        self.faults.count(kind);
        let times = *self.dice.pick(&[10, 100, 1_000]);
        let node_state = &mut self.nodes[node];
        if kind == Fault::SlowDisk {
            node_state.disk_slower = times;
        } else {
            node_state.index_slower = times;
        }
        let span = self.dice.span(SLOW.0, SLOW.1);
        self.schedule.after(span, Happening::Quick { node });
    }
}
