//! Links between nodes and to clients: when a message arrives, and whether.
//!
//! Between nodes messages may be dropped, doubled, held back and overtaken; Raft must bear it. A client's
//! connection keeps its order and loses nothing until it is cut.
//!
//! Not here, on purpose: deciding on partitions (`nemesis`), carrying messages (`world`).

use std::collections::{BTreeMap, BTreeSet};

use super::dice::Dice;
use super::faults::{Fault, FaultCounts};
use super::options::NetworkOptions;
use crate::types::Nanos;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    Node(usize),
    Client(usize),
}

/// All links.
pub(crate) struct Network {
    options: NetworkOptions,
    cut: BTreeSet<(Spot, Spot)>,
    clogged: BTreeMap<(Spot, Spot), Nanos>,
    /// When the last message on a client's link arrives.
    ordered: BTreeMap<(Spot, Spot), Nanos>,
    calm: bool,
}

impl Network {
    /// Links that are well.
    pub(crate) fn new(options: NetworkOptions) -> Self {
        Self {
            options,
            cut: BTreeSet::new(),
            clogged: BTreeMap::new(),
            ordered: BTreeMap::new(),
            calm: false,
        }
    }

    /// When a message between nodes arrives: never, once or twice.
    pub(crate) fn between_nodes(&mut self, now: Nanos, link: (Spot, Spot), dice: &mut Dice, faults: &mut FaultCounts) -> Vec<Nanos> {
        if self.cut.contains(&link) {
            return Vec::new();
        }
        if self.happens(self.options.dropped_per_mille, dice) {
            faults.count(Fault::Drop);
            return Vec::new();
        }
        let mut arrivals = vec![self.arrival(now, link, dice, faults)];
        if self.happens(self.options.duplicated_per_mille, dice) {
            faults.count(Fault::Duplicate);
            arrivals.push(self.arrival(now, link, dice, faults));
        }
        arrivals
    }

    /// When a frame of a client's connection arrives; `None` if the link is cut.
    pub(crate) fn with_client(&mut self, now: Nanos, link: (Spot, Spot), dice: &mut Dice) -> Option<Nanos> {
        if self.cut.contains(&link) {
            return None;
        }
        let arrival = self.unclogged(now, link).plus(self.latency(dice));
        let last = self.ordered.entry(link).or_default();
        *last = arrival.max(last.plus(Nanos(1)));
        Some(*last)
    }

    /// The usual time a message takes.
    pub(crate) fn latency(&self, dice: &mut Dice) -> Nanos {
        dice.span(self.options.latency.0, self.options.latency.1)
    }

    /// Cuts a link in one direction.
    pub(crate) fn cut(&mut self, from: Spot, to: Spot) {
        self.cut.insert((from, to));
    }

    /// Holds back everything on a link until a time.
    pub(crate) fn clog(&mut self, link: (Spot, Spot), until: Nanos) {
        self.clogged.insert(link, until);
    }

    /// Whether a link is cut.
    pub(crate) fn is_cut(&self, link: (Spot, Spot)) -> bool {
        self.cut.contains(&link)
    }

    /// Mends all links that are cut.
    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    /// Mends all links for good.
    pub(crate) fn heal(&mut self) {
        self.mend();
        self.clogged.clear();
        self.calm = true;
    }

    fn happens(&self, per_mille: u64, dice: &mut Dice) -> bool {
        !self.calm && dice.chance(per_mille)
    }

    fn arrival(&self, now: Nanos, link: (Spot, Spot), dice: &mut Dice, faults: &mut FaultCounts) -> Nanos {
        let arrival = self.unclogged(now, link).plus(self.latency(dice));
        if !self.happens(self.options.delayed_per_mille, dice) {
            return arrival;
        }
        faults.count(Fault::Delay);
        arrival.plus(dice.span(Nanos(0), self.options.delay_max))
    }

    fn unclogged(&self, now: Nanos, link: (Spot, Spot)) -> Nanos {
        self.clogged.get(&link).map_or(now, |until| now.max(*until))
    }
}
