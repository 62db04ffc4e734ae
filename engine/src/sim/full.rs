//! Disks that are full for a while: new segments are refused, the index commits nothing, what is measured is low, or not yet.
//!
//! A full disk ends no core. What it may bring about is that writes are refused as such, and that is held against it: a refusal
//! without a disk that was full lately is a violation.
//!
//! Not here, on purpose: when it happens (`nemesis`), what leaders and followers do then (`core::disks`).

use margate_net::error::Refusal;

use super::faults::Fault;
use super::node::Place;
use super::violation::Violation;
use super::world::{ForCore, Happening, World};
use crate::core::event::Event;
use crate::types::Nanos;

/// How long a disk stays full.
const FULL: (Nanos, Nanos) = (Nanos::from_millis(200), Nanos::from_millis(6_000));
/// Time between two measurements, at most; and between a commit for which there is no space and the next try.
const MEASURED_WITHIN: Nanos = Nanos::from_millis(1_000);
/// For so long a disk that was full explains a refusal: who was cut off from its node learns late that it is not any more.
const EXPLAINS: Nanos = Nanos::from_millis(15_000);
/// Free bytes of a disk that is not full.
const AMPLE: u64 = 1 << 40;

/// The disk of a node: all its cores share it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fullness {
    now: Option<Full>,
    /// When it was full last.
    last: Option<Nanos>,
    /// Counts how often it was filled, so that what frees it frees only what filled it.
    times: u64,
}

/// What a full disk does.
#[derive(Clone, Copy, Debug)]
struct Full {
    /// What is measured.
    free: u64,
    /// Whether segments are refused.
    segments: bool,
    /// Whether the index commits nothing.
    index: bool,
}

impl World {
    /// A node's disk is filled for a while; with a chance all are, as when they grow alike.
    pub(crate) fn fill_disks(&mut self, node: usize) {
        let all = self.dice.chance(300);
        for node in (0..self.nodes.len()).filter(|one| all || *one == node) {
            self.fill_disk(node);
        }
    }

    fn fill_disk(&mut self, node: usize) {
        self.faults.count(Fault::DiskFull);
        let segment = u64::from(self.options.segment_bytes);
        // Nothing; less than the reserve; between it and the watermark; not yet measured, or another user's quota.
        let free = *self.dice.pick(&[0, segment, segment * 7 / 2, AMPLE]);
        let full = Full {
            free,
            segments: free < 2 * segment || self.dice.chance(500),
            index: self.dice.chance(400),
        };
        let (now, fullness) = (self.now(), &mut self.nodes[node].fullness);
        fullness.times += 1;
        (fullness.now, fullness.last) = (Some(full), Some(now));
        let times = fullness.times;
        self.measure(node);
        let span = self.dice.span(FULL.0, FULL.1);
        self.schedule.after(span, Happening::Emptied { node, times });
    }

    /// There is space again, unless the disk was filled once more.
    pub(crate) fn empty_disk(&mut self, node: usize, times: u64) {
        if self.nodes[node].fullness.times == times {
            self.free_disk(node);
        }
    }

    /// There is space again.
    pub(crate) fn free_disk(&mut self, node: usize) {
        let (now, fullness) = (self.now(), &mut self.nodes[node].fullness);
        if fullness.now.take().is_some() {
            fullness.last = Some(now);
            self.measure(node);
        }
    }

    /// The cores of a node hear what is free, each at its time.
    pub(crate) fn measure(&mut self, node: usize) {
        for core in 0..self.nodes[node].hosts.len() {
            let span = self.dice.span(Nanos(0), MEASURED_WITHIN);
            self.plan_measurement(Place { node, core }, span);
        }
    }

    /// A core that has just started hears what is free before anything else, if that is less than usual.
    pub(crate) fn measure_at_start(&mut self, node: usize) {
        if self.nodes[node].fullness.now.is_some() {
            (0..self.nodes[node].hosts.len()).for_each(|core| self.measured(Place { node, core }));
        }
    }

    /// A core hears what is free by now.
    pub(crate) fn measured(&mut self, place: Place) {
        let bytes = self.nodes[place.node].fullness.now.map_or(AMPLE, |full| full.free);
        self.heard(place, Event::DiskFree { bytes });
    }

    /// Whether a segment is refused that was to be made.
    pub(crate) fn refuses_segment(&mut self, place: Place) -> bool {
        let refuses = self.nodes[place.node].fullness.now.is_some_and(|full| full.segments);
        self.faults.add(Fault::SegmentRefused, u64::from(refuses));
        refuses
    }

    /// Whether a generation cannot be committed now; it is tried again.
    pub(crate) fn pauses_commit(&mut self, place: Place) -> Option<Nanos> {
        self.nodes[place.node].fullness.now.filter(|full| full.index)?;
        self.faults.count(Fault::CommitPaused);
        Some(MEASURED_WITHIN)
    }

    /// A client was told that disks are full: one was, lately.
    pub(crate) fn explain_full(&mut self, shard: usize, refusal: Refusal) -> Result<(), Violation> {
        self.faults.count(Fault::WriteRefusedFull);
        let lately = |place: Place| {
            let Fullness { now, last, .. } = self.nodes[place.node].fullness;
            now.is_some() || last.is_some_and(|last| self.now().since(last) < EXPLAINS)
        };
        let mut homes = self.map.shards()[shard].replicas.iter().map(Place::home);
        if homes.any(lately) {
            Ok(())
        } else {
            Err(Violation::SenselessRefusal { refusal })
        }
    }

    fn plan_measurement(&mut self, place: Place, span: Nanos) {
        let (at, life) = (self.now().plus(span), self.nodes[place.node].life);
        let what = ForCore::Measured;
        self.schedule.at(at, Happening::Core { place, life, what });
    }
}
