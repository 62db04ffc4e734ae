//! Nodes' lives: killed, stopped, paused, started again, and all made well at the end.
//!
//! Not here, on purpose: when (`nemesis`), what a crash does to what is being written (`disk`).

use super::clock::MILLION;
use super::disk_faults::Armed;
use super::faults::Fault;
use super::network::Spot;
use super::node::Place;
use super::violation::Violation;
use super::world::{ForCore, Happening, World};
use crate::core::event::Event;
use crate::types::Nanos;

/// How long a node stays down.
pub(crate) const DOWN: (Nanos, Nanos) = (Nanos::from_millis(10), Nanos::from_millis(3_000));
/// How long a node is paused.
const PAUSED: (Nanos, Nanos) = (Nanos::from_millis(20), Nanos::from_millis(2_500));
/// How often a stopping node is looked at, and how long it may take.
const STOPPING: (Nanos, Nanos) = (Nanos::from_millis(5), Nanos::from_millis(3_000));

impl World {
    /// Whether a fault that comes so often comes now.
    pub(crate) fn strikes(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && !self.settle.has_begun() && self.dice.chance(per_mille)
    }

    /// Plans a kill within so much time.
    pub(crate) fn plan_kill(&mut self, node: usize, within: Nanos) {
        let (span, life) = (self.dice.span(Nanos(0), within), self.nodes[node].life);
        self.schedule.after(span, Happening::Kill { node, life });
    }

    /// A planned kill comes.
    pub(crate) fn kill_life(&mut self, node: usize, life: u64) {
        if self.nodes[node].life == life && !self.settle.has_begun() {
            self.kill(node, Fault::Kill);
        }
    }

    /// Kills a node if it runs; it comes back later.
    pub(crate) fn kill(&mut self, node: usize, kind: Fault) {
        self.kill_for(node, kind, DOWN);
    }

    /// A node is killed and comes back within a tick; what another says reaches it a tick later.
    pub(crate) fn bounce(&mut self, node: usize, deaf_to: usize) {
        if !self.settle.has_begun() {
            let tick = self.options.tick;
            self.kill_for(node, Fault::Kill, (Nanos(0), tick));
            let until = self.now().plus(Nanos(2 * tick.0));
            self.network.clog((Spot::Node(deaf_to), Spot::Node(node)), until);
        }
    }

    /// A node has reclaimed a segment: sometimes it is killed at once, and comes back without its index.
    pub(crate) fn kill_in_reclaim(&mut self, node: usize) {
        if self.strikes(self.options.nemesis.kill_in_reclaim_per_mille) {
            self.kill(node, Fault::IndexLostReclaiming);
            self.nodes[node].lose_index();
        }
    }

    fn kill_for(&mut self, node: usize, kind: Fault, (least, most): (Nanos, Nanos)) {
        if self.nodes[node].is_up() {
            self.faults.count(kind);
            self.crash(node);
            let span = self.dice.span(least, most);
            let life = self.nodes[node].life;
            self.schedule.after(span, Happening::Restart { node, life });
        }
    }

    /// A node comes back, unless it has already.
    pub(crate) fn restart(&mut self, node: usize, life: u64) -> Result<(), Violation> {
        if self.nodes[node].life != life || self.nodes[node].is_up() {
            return Ok(());
        }
        if self.start_fails(node)? {
            return Ok(());
        }
        self.faults.count(Fault::Restart);
        if self.dice.chance(self.options.nemesis.index_lost_per_mille) {
            self.faults.count(Fault::IndexLost);
            self.nodes[node].lose_index();
        }
        self.lose_index_pages(node);
        self.rot_at_rest(node);
        self.rot_values_at_rest(node);
        self.lose_tail(node);
        match self.start(node) {
            Err(Violation::LogLost { .. }) => {
                // What its operator is told to do.
                self.faults.count(Fault::LogLost);
                self.nodes[node].crash(&mut self.dice, &mut self.faults);
                let _lost = self.nodes[node].wipe(&mut self.dice);
                self.start(node)
            }
            result @ (Ok(()) | Err(_)) => result,
        }
    }

    /// A paused node goes on.
    pub(crate) fn resume(&mut self, node: usize, life: u64) {
        if self.nodes[node].life == life && self.nodes[node].paused {
            self.nodes[node].paused = false;
            for core in 0..self.nodes[node].hosts.len() {
                self.wake(Place { node, core }, Nanos(0));
            }
        }
    }

    /// A stopping node is done, or has taken too long.
    pub(crate) fn stopping(&mut self, node: usize, life: u64) {
        if self.nodes[node].life != life || !self.nodes[node].is_up() {
            return;
        }
        let processes = self.nodes[node].hosts.iter().filter_map(|host| host.process.as_ref());
        let stopped = processes.into_iter().all(|process| process.core.is_stopped());
        let overdue = self.nodes[node].stop_by.is_some_and(|by| by <= self.now());
        if stopped || overdue {
            self.end_life(node);
        } else {
            self.schedule.after(STOPPING.0, Happening::Stopping { node, life });
        }
    }

    /// A node's process is over; it comes back later.
    fn end_life(&mut self, node: usize) {
        self.crash(node);
        let (span, life) = (self.dice.span(DOWN.0, DOWN.1), self.nodes[node].life);
        self.schedule.after(span, Happening::Restart { node, life });
    }

    /// Everything that is broken is mended, for good. Sometimes all nodes lose their power once more first.
    pub(crate) fn heal(&mut self) -> Result<(), Violation> {
        self.network.heal();
        let now = self.now();
        let rate = self.options.haste * MILLION;
        let power_cut = self.dice.chance(400);
        for node in 0..self.nodes.len() {
            if power_cut && self.nodes[node].is_up() {
                self.faults.count(Fault::KillAll);
                self.crash(node);
            }
            let life = self.nodes[node].life;
            self.resume(node, life);
            self.restart(node, life)?;
            let state = &mut self.nodes[node];
            state.clock.set_rate(now, rate);
            (state.disk_slower, state.index_slower) = (1, 1);
            state.hosts.iter_mut().for_each(|host| host.armed = Armed::default());
            self.free_disk(node);
        }
        Ok(())
    }

    /// What a node's cores have in memory hides what its disk has lost: it dies and comes back.
    pub(crate) fn unhide(&mut self, node: usize) -> Result<(), Violation> {
        self.faults.count(Fault::Kill);
        self.crash(node);
        self.restart(node, self.nodes[node].life)
    }

    fn crash(&mut self, node: usize) {
        let life = self.nodes[node].life;
        self.nodes[node].was_whole = self.nodes[node].is_whole(&self.map, &self.members);
        self.nodes[node].crash(&mut self.dice, &mut self.faults);
        self.lose_peer(node);
        for client in 0..self.clients.len() {
            if !self.network.is_cut((Spot::Node(node), Spot::Client(client))) {
                let span = self.network.latency(&mut self.dice);
                self.schedule.after(span, Happening::Broken { client, node, life });
            }
        }
    }

    /// Connections to a dead node break, where the machine's answer comes through.
    fn lose_peer(&mut self, node: usize) {
        let lost: Vec<Place> = (0..self.nodes[node].hosts.len()).map(|core| Place { node, core }).collect();
        for there in (0..self.nodes.len()).filter(|there| *there != node) {
            if self.network.is_cut((Spot::Node(node), Spot::Node(there))) {
                continue;
            }
            let at = self.now().plus(self.network.latency(&mut self.dice));
            let life = self.nodes[there].life;
            for core in 0..self.nodes[there].hosts.len() {
                let place = Place { node: there, core };
                for peer in lost.iter().map(|place| place.peer_name()) {
                    let what = ForCore::Event(Event::PeerLost { peer });
                    self.schedule.at(at, Happening::Core { place, life, what });
                }
            }
        }
    }

    /// Tells a node to stop, as its operator would.
    pub(crate) fn stop(&mut self, node: usize) {
        if !self.nodes[node].is_up() || self.nodes[node].stop_by.is_some() {
            return;
        }
        self.faults.count(Fault::Stop);
        self.tell_to_stop(node);
    }

    /// A core can write no more: it ends at once, and tells its node to stop.
    pub(crate) fn fail_core(&mut self, Place { node, core }: Place) {
        let state = &mut self.nodes[node];
        state.hosts[core].crash(&mut self.dice, &mut self.faults);
        if !state.is_up() {
            self.end_life(node);
        } else if state.stop_by.is_none() {
            self.tell_to_stop(node);
        }
    }

    fn tell_to_stop(&mut self, node: usize) {
        self.nodes[node].stop_by = Some(self.now().plus(STOPPING.1));
        for core in 0..self.nodes[node].hosts.len() {
            self.heard(Place { node, core }, Event::Stop);
        }
        let life = self.nodes[node].life;
        self.schedule.after(STOPPING.0, Happening::Stopping { node, life });
    }

    /// Pauses a node: its clocks go on, it does not.
    pub(crate) fn pause(&mut self, node: usize) {
        if self.nodes[node].is_up() && !self.nodes[node].paused {
            self.faults.count(Fault::Pause);
            self.nodes[node].paused = true;
            let (span, life) = (self.dice.span(PAUSED.0, PAUSED.1), self.nodes[node].life);
            self.schedule.after(span, Happening::Resume { node, life });
        }
    }
}
