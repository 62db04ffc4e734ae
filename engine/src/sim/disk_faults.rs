//! Disks and indexes that fail: which faults a seed may have, and those that answer with an error (EIO).
//!
//! A log write, a segment or an index commit that fails, other than for want of space (`full`), ends its core at once, and the
//! core's node with it. A read that fails is refused or tried again. A read that fails during a start refuses the start.
//!
//! Not here, on purpose: bytes that change or go astray (`rot`), what a crash leaves (`disk`).

use super::dice::Dice;
use super::faults::Fault;
use super::lives::DOWN;
use super::node::Place;
use super::violation::Violation;
use super::world::{Happening, World};
use crate::core::event::LogReadFault;
use crate::core::replay::{CoreConfig, ReplayError, replay};
use crate::log::scan::{ReadFault, ReadSegments, ScanError, SyncFault, SyncSegments};
use crate::sim::node::Host;
use crate::types::Position;

/// The system's number for an error of the device.
const EIO: i32 = 5;
/// Reads that fail in a row, at most.
const READ_ERRORS_MAX: u64 = 4;
/// Which of a start's reads fails, at most.
const START_READ_MAX: u64 = 4;
/// Failed commits that are durable all the same.
const FAILED_COMMIT_KEPT_PER_MILLE: u64 = 300;
/// Times a seed's disks lose something, at most: a replica that has is never replaced.
const LOSSES_MAX: u64 = 4;
/// Times a value rots in a seed in which nothing else does.
const VALUE_LOSSES: u64 = 40;
/// Generations of an index that are lost at once, at most.
const GENERATIONS_LOST_MAX: usize = 8;
/// What the nemesis does to disks by itself.
const KINDS: [Fault; 7] = [
    Fault::WriteError,
    Fault::SegmentError,
    Fault::CommitError,
    Fault::ReadError,
    Fault::RotRunning,
    Fault::Misdirected,
    Fault::Wipe,
];

/// What may happen to a seed's disks.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskFaults {
    /// What the nemesis may do.
    pub(crate) kinds: Vec<Fault>,
    /// Starts that meet a read that fails.
    pub(crate) start_error_per_mille: u64,
    /// Starts that find an older generation of their index than the last one.
    pub(crate) index_reverted_per_mille: u64,
    /// Starts before which durable bytes rot.
    pub(crate) rot_at_rest_per_mille: u64,
    /// Starts before which bytes of a live value rot.
    pub(crate) value_rot_per_mille: u64,
    /// Wiped nodes that get the disks back that they had.
    pub(crate) old_disk_per_mille: u64,
    /// Starts before which the end of the log is lost.
    pub(crate) tail_lost_per_mille: u64,
    /// How often durable bytes may still be lost.
    pub(crate) losses_left: u64,
}

/// What fails next on a core's disk and index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Armed {
    write: bool,
    segment: bool,
    commit: bool,
    reads: u64,
}

/// A disk one of whose reads fails.
struct FailingReads<'a> {
    inner: &'a mut dyn SyncSegments,
    /// Reads that succeed before.
    left: u64,
}

impl DiskFaults {
    /// Draws what a seed's disks do. Every third seed's fail and rot, some of those fill up too, every sixth seed's only fill up, and in every
    /// sixth only values rot; the others are the same runs whatever disks can do.
    pub(crate) fn draw(seed: u64) -> Self {
        match seed % 6 {
            0 | 3 => {}
            4 => {
                return Self {
                    kinds: vec![Fault::DiskFull],
                    ..Self::default()
                };
            }
            2 => {
                return Self {
                    kinds: vec![Fault::ValueRot, Fault::ValueRot, Fault::Kill, Fault::Wipe],
                    value_rot_per_mille: 700,
                    losses_left: VALUE_LOSSES,
                    ..Self::default()
                };
            }
            _ => return Self::default(),
        }
        let mut dice = Dice::new(!seed);
        let share = *dice.pick(&[250, 500, 1_000]);
        let kinds = KINDS.into_iter().filter(|_| dice.chance(share)).collect();
        let mut kinds: Vec<Fault> = kinds;
        let mut rate = |usual: u64| if dice.chance(500) { usual } else { 0 };
        let (start_error_per_mille, index_reverted_per_mille, rot_at_rest_per_mille) = (rate(150), rate(150), rate(150));
        let (old_disk_per_mille, tail_lost_per_mille) = (rate(600), rate(300));
        let losses_left = dice.between(1, LOSSES_MAX);
        if seed % 18 == 15 {
            kinds.push(Fault::DiskFull);
        }
        Self {
            kinds,
            start_error_per_mille,
            index_reverted_per_mille,
            rot_at_rest_per_mille,
            value_rot_per_mille: 0,
            old_disk_per_mille,
            tail_lost_per_mille,
            losses_left,
        }
    }
}

impl World {
    /// Something will fail on a core of a node.
    pub(crate) fn arm(&mut self, node: usize, kind: Fault) {
        let core = self.dice.index(self.nodes[node].hosts.len());
        let reads = self.dice.between(1, READ_ERRORS_MAX);
        let armed = &mut self.nodes[node].hosts[core].armed;
        match kind {
            Fault::WriteError => armed.write = true,
            Fault::SegmentError => armed.segment = true,
            Fault::CommitError => armed.commit = true,
            _ => armed.reads = reads,
        }
    }

    /// Whether a log write that has just ended has failed; its core is gone then.
    pub(crate) fn write_fails(&mut self, place: Place) -> bool {
        let fails = std::mem::take(&mut self.armed(place).write);
        self.fail_core_if(fails, place, Fault::WriteError)
    }

    /// Whether a segment that was being prewritten has failed; its core is gone then.
    pub(crate) fn segment_fails(&mut self, place: Place) -> bool {
        let fails = std::mem::take(&mut self.armed(place).segment);
        self.fail_core_if(fails, place, Fault::SegmentError)
    }

    /// Whether a commit of the index has failed; its core is gone then. What failed may be durable all the same.
    pub(crate) fn commit_fails(&mut self, place: Place) -> bool {
        let fails = std::mem::take(&mut self.armed(place).commit);
        if fails && self.dice.chance(FAILED_COMMIT_KEPT_PER_MILLE) {
            let host = &mut self.nodes[place.node].hosts[place.core];
            host.index.finish();
            host.committing = false;
        }
        self.fail_core_if(fails, place, Fault::CommitError)
    }

    /// The error of a read that fails.
    pub(crate) fn read_fails(&mut self, place: Place, position: Position, length: usize) -> Option<LogReadFault> {
        let armed = self.armed(place);
        armed.reads = armed.reads.checked_sub(1)?;
        self.faults.count(Fault::ReadError);
        self.nodes[place.node].hosts[place.core].hurt.read_failed();
        Some(LogReadFault {
            position,
            length,
            errno: EIO,
        })
    }

    /// Whether a start of this node meets a read that fails, and is refused.
    pub(crate) fn start_fails(&mut self, node: usize) -> Result<bool, Violation> {
        let rate = self.options.disk_faults.start_error_per_mille;
        if !self.strikes(rate) {
            return Ok(false);
        }
        let place = Place {
            node,
            core: self.dice.index(self.nodes[node].hosts.len()),
        };
        let left = self.dice.between(0, START_READ_MAX);
        let joined = self.nodes[node].joined;
        let host = &mut self.nodes[node].hosts[place.core];
        let config = host.config((&self.map, self.options.local_tick()), joined, self.planted, 0);
        let refused = host.start_meets_error(&config, left)?;
        if refused {
            self.faults.count(Fault::StartError);
            let (span, life) = (self.dice.span(DOWN.0, DOWN.1), self.nodes[node].life);
            self.schedule.after(span, Happening::Restart { node, life });
        }
        Ok(refused)
    }

    /// Perhaps the newest pages of a stopped node's indexes are lost, and older generations stand.
    pub(crate) fn lose_index_pages(&mut self, node: usize) {
        if !self.strikes(self.options.disk_faults.index_reverted_per_mille) {
            return;
        }
        for host in &self.nodes[node].hosts {
            let lost = host.index.revert(self.dice.index(GENERATIONS_LOST_MAX) + 1);
            self.faults.add(Fault::IndexReverted, u64::from(lost > 0));
        }
    }

    fn armed(&mut self, place: Place) -> &mut Armed {
        &mut self.nodes[place.node].hosts[place.core].armed
    }

    fn fail_core_if(&mut self, fails: bool, place: Place, kind: Fault) -> bool {
        if fails {
            self.faults.count(kind);
            self.fail_core(place);
        }
        fails
    }
}

impl Host {
    /// Starts with a disk one of whose reads fails; whether that read was reached. Nothing is started.
    fn start_meets_error(&mut self, config: &CoreConfig, left: u64) -> Result<bool, Violation> {
        let mut reads = FailingReads {
            inner: &mut self.disk,
            left,
        };
        match replay(config, &mut reads, self.index.reader(), &mut self.index.writer()) {
            Ok(_) | Err(ReplayError::LogGone | ReplayError::LogLost { .. } | ReplayError::IndexStale { .. }) => Ok(false),
            Err(ReplayError::Scan(ScanError::Read(ReadFault::System { code: EIO, .. }))) => Ok(true),
            Err(error) => Err(Violation::NotStarted {
                node: self.log.node,
                why: error.to_string(),
            }),
        }
    }
}

impl SyncSegments for FailingReads<'_> {
    fn sync(&mut self) -> Result<(), SyncFault> {
        self.inner.sync()
    }
}

impl ReadSegments for FailingReads<'_> {
    fn segments(&self) -> Vec<u32> {
        self.inner.segments()
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        self.inner.segment_bytes(segment)
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(ReadFault::System {
                segment,
                offset,
                code: EIO,
            });
        };
        self.left = left;
        self.inner.read(segment, offset, buffer)
    }
}
