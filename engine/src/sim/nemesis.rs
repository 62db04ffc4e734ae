//! The faults: what is broken, and when. Every kind may come at any time, on any node, at once with others.
//!
//! Not here, on purpose: message faults, which are the network's rates; nodes' ends and beginnings (`lives`);
//! what disks do (`disk_faults`), faults that take several steps of their own (`ballots`).

use super::clock::MILLION;
use super::faults::Fault;
use super::network::Spot;
use super::world::{Happening, World};
use crate::limits::CLOCK_DRIFT_PER_MILLE;
use crate::shard::replica::Replica;
use crate::types::Nanos;

/// How long links are cut or clogged.
const CUT: (Nanos, Nanos) = (Nanos::from_millis(50), Nanos::from_millis(4_000));
/// How often comes what a seed is made for.
const AIMED_PER_MILLE: u64 = 300;
/// How long a disk is slow.
const SLOW: (Nanos, Nanos) = (Nanos::from_millis(100), Nanos::from_millis(3_000));

/// Something done to a node, or because of it.
type Deed = fn(&mut World, usize);

/// What may be done. The other faults are not done but happen: by the network's rates, or as a consequence.
const DEEDS: [(Fault, Deed); 27] = [
    (Fault::Kill, |world, node| world.kill(node, Fault::Kill)),
    (Fault::KillAll, |world, _| {
        (0..world.nodes.len()).for_each(|node| world.kill(node, Fault::KillAll));
    }),
    (Fault::BridgeKill, World::kill_bridge),
    (Fault::Stop, World::stop),
    (Fault::StopUnheard, World::stop_unheard),
    (Fault::Pause, World::pause),
    (Fault::Partition, |world, _| world.partition()),
    (Fault::PartitionOneWay, |world, _| world.partition_one_way()),
    (Fault::Strand, World::strand),
    (Fault::ClientCut, World::cut_client),
    (Fault::Clog, |world, _| world.clog()),
    (Fault::ClockJump, World::jump),
    (Fault::ClocksApart, |world, _| world.clocks_apart()),
    (Fault::ClockDrift, World::drift),
    (Fault::LateBallots, |world, _| world.delay_ballots()),
    (Fault::Wipe, World::wipe),
    (Fault::SlowDisk, |world, node| world.slow_down(node, Fault::SlowDisk)),
    (Fault::SlowIndex, |world, node| world.slow_down(node, Fault::SlowIndex)),
    (Fault::WriteError, |world, node| world.arm(node, Fault::WriteError)),
    (Fault::SegmentError, |world, node| world.arm(node, Fault::SegmentError)),
    (Fault::CommitError, |world, node| world.arm(node, Fault::CommitError)),
    (Fault::ReadError, |world, node| world.arm(node, Fault::ReadError)),
    (Fault::DiskFull, World::fill_disks),
    (Fault::RotAtEnd, World::rot_at_end),
    (Fault::RotRunning, |world, node| world.rot(node, Fault::RotRunning)),
    (Fault::Misdirected, World::misdirect),
    (Fault::ValueRot, World::rot_values),
];

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
        let aimed = self.options.nemesis.aimed.filter(|_| self.dice.chance(AIMED_PER_MILLE));
        let kind = aimed.unwrap_or_else(|| *self.dice.pick(&self.options.nemesis.kinds));
        let node = self.victim();
        self.befall(kind, node);
    }

    fn befall(&mut self, kind: Fault, node: usize) {
        let mut deeds = DEEDS.iter().filter(|(done, _)| *done == kind);
        let (_, deed) = deeds.next().expect("the nemesis is told to do only what it can");
        deed(self, node);
    }

    /// A node, more often one that leads something.
    fn victim(&mut self) -> usize {
        let leaders = self.leaders();
        if leaders.is_empty() || self.dice.chance(400) {
            self.dice.index(self.nodes.len())
        } else {
            *self.dice.pick(&leaders)
        }
    }

    /// The nodes that lead something.
    fn leaders(&self) -> Vec<usize> {
        let leads = |node: &usize| self.nodes[*node].replicas().any(Replica::leads);
        (0..self.nodes.len()).filter(leads).collect()
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

    /// Holds back what a node is told for about as long as it takes to replace a leader, by all as long or by each as
    /// long as it likes; and cuts what it says, at once or when some of the answers to it are being held back.
    fn strand(&mut self, node: usize) {
        self.faults.count(Fault::Strand);
        self.hold_back(node);
        let wait = Nanos(self.options.tick.0 * *self.dice.pick(&[0, 3, 6]));
        self.schedule.after(wait, Happening::Silence { node });
    }

    /// Cuts what a node says.
    pub(crate) fn silence(&mut self, node: usize) {
        if !self.settle.has_begun() {
            self.cut_where(|from, _| from == node);
        }
    }

    fn hold_back(&mut self, node: usize) {
        let together = self.dice.chance(300);
        let mut hold = self.dice.between(8, 22);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            if !together {
                hold = self.dice.between(8, 22);
            }
            let until = self.now().plus(Nanos(self.options.tick.0 * hold));
            self.network.clog((Spot::Node(peer), Spot::Node(node)), until);
        }
    }

    /// Stops a node gracefully, and it does not hear what becomes of what it led.
    fn stop_unheard(&mut self, node: usize) {
        self.faults.count(Fault::StopUnheard);
        self.hold_back(node);
        self.stop(node);
    }

    /// Leaves a node a single peer it can talk to, and kills that one a few times when the others have had the time to give the node up:
    /// what the peer had promised the node is forgotten with its process, and it hears of the node late. Clients do not reach the node, so that the others'
    /// logs stay as good as the peer's.
    fn kill_bridge(&mut self, node: usize) {
        let bridge = self.dice.index(self.nodes.len());
        if bridge == node || !self.nodes[bridge].is_up() {
            return;
        }
        self.faults.count(Fault::BridgeKill);
        let wait = Nanos(self.options.tick.0 * self.dice.between(10, 22));
        let long_enough = Nanos(self.options.tick.0 * 36);
        self.cut_for(long_enough, |from, to| [from, to].contains(&node) && ![from, to].contains(&bridge));
        for client in 0..self.options.clients {
            self.network.cut(Spot::Client(client), Spot::Node(node));
        }
        for ticks in [0, 2, 4, 6, 8] {
            let later = Nanos(self.options.tick.0 * ticks);
            self.schedule.after(
                wait.plus(later),
                Happening::Bounce {
                    node: bridge,
                    deaf_to: node,
                },
            );
        }
    }

    fn cut_where(&mut self, cut: impl Fn(usize, usize) -> bool) {
        let span = self.dice.span(CUT.0, CUT.1);
        self.cut_for(span, cut);
    }

    fn cut_for(&mut self, span: Nanos, cut: impl Fn(usize, usize) -> bool) {
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                if from != to && cut(from, to) {
                    self.network.cut(Spot::Node(from), Spot::Node(to));
                }
            }
        }
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
        let (slowest, fastest) = self.clock_bounds();
        let (now, rate) = (self.now(), self.options.haste * self.dice.between(slowest, fastest));
        self.nodes[node].clock.set_rate(now, rate);
    }

    /// A leader's clock runs as slowly as tenure allows for and all others as fast, and it is cut off for longer than its tenure lasts.
    fn clocks_apart(&mut self) {
        let leaders = self.leaders();
        if leaders.is_empty() {
            return;
        }
        self.faults.count(Fault::ClocksApart);
        let (alone, (slowest, fastest)) = (*self.dice.pick(&leaders), self.clock_bounds());
        let now = self.now();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let rate = if at == alone { slowest } else { fastest };
            node.clock.set_rate(now, self.options.haste * rate);
        }
        let long_enough = Nanos(self.options.tick.0 * 40);
        self.cut_for(long_enough, |from, to| (from == alone) != (to == alone));
    }

    /// The rates of the slowest and of the fastest clock there may be.
    fn clock_bounds(&self) -> (u64, u64) {
        let most = if self.planted.clocks_beyond_bound() {
            700
        } else {
            CLOCK_DRIFT_PER_MILLE
        };
        (MILLION / 1_000 * (1_000 - most), MILLION / 1_000 * (1_000 + most))
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
