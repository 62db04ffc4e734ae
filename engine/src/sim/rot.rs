//! Durable bytes that change: rot, of anything or of live values alone, while a node is down and while it runs, and writes that
//! went astray.
//!
//! All of it stays inside the fault model: only batches with a durable successor are lost, so that a scan can prove
//! the loss, and of the replicas of a shard never more than a minority stand on disks that have lost something. Hence
//! a write goes astray after the fact, when its successor is durable: its bytes turn up elsewhere, and its own place is as
//! it was prewritten.
//!
//! Not here, on purpose: what is then known to be lost (`hurt`), disks that answer with an error (`disk_faults`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use margate_net::message::Direction;

use super::dice::Dice;
use super::disk::SECTOR_BYTES;
use super::faults::Fault;
use super::hurt::ScanView;
use super::node::{Host, Node, Place};
use super::world::World;
use crate::core::replay::is_creation;
use crate::index::row::Row;
use crate::index::store::IndexReader;
use crate::log::effects::EFFECT_HEADER_BYTES;
use crate::log::limits::BLOCK_BYTES;
use crate::log::scan::{ReadSegments, scan};
use crate::types::{Position, ReplicaName};

/// Rot that hits one of the batches written last.
const RECENT_PER_MILLE: u64 = 600;
/// How many those are.
const RECENT: usize = 6;
/// Rot that hits a segment's header.
const HEADER_PER_MILLE: u64 = 100;
/// Rot that hits a batch and what follows it in its segment.
const RUN_PER_MILLE: u64 = 100;
/// Values that rot before one start, at most.
const VALUES_AT_REST: usize = 3;
/// Sectors in a row that rot.
const SECTORS_MAX: u64 = 4;

/// A durable batch.
#[derive(Clone, Debug)]
struct Durable {
    position: Position,
    /// With its padding.
    bytes: usize,
    held: BTreeSet<ReplicaName>,
}

impl Durable {
    fn holds(&self, at: Position) -> bool {
        let end = u64::from(self.position.offset) + self.bytes as u64;
        at.segment == self.position.segment && at >= self.position && u64::from(at.offset) < end
    }
}

type Batches = BTreeMap<u64, Durable>;

impl World {
    /// Rot on one of a node's disks, if it may lose something.
    pub(crate) fn rot(&mut self, node: usize, kind: Fault) {
        if let Some(place) = self.may_lose(node)
            && self.nodes[place.node].hosts[place.core].rot(&mut self.dice)
        {
            self.lost(kind);
        }
    }

    /// Rot on a stopped node, perhaps.
    pub(crate) fn rot_at_rest(&mut self, node: usize) {
        if self.strikes(self.options.disk_faults.rot_at_rest_per_mille) {
            self.rot(node, Fault::RotAtRest);
        }
    }

    /// A node that may lose something dies, this one or one that did before, and the last batch of its log that was surely
    /// acknowledged rots: nothing but its successor says so.
    pub(crate) fn rot_at_end(&mut self, node: usize) {
        let hurt = |node: &Node| node.hosts.iter().any(|host| host.hurt.is_hurt());
        let node = self.nodes.iter().position(hurt).unwrap_or(node);
        if self.nodes[node].is_up()
            && let Some(place) = self.may_lose(node)
        {
            self.kill(node, Fault::Kill);
            if self.nodes[node].hosts[place.core].rot_at_end(&mut self.dice) {
                self.lost(Fault::RotAtEnd);
            }
        }
    }

    /// Bytes of a live value rot on one of a node's disks, if it may lose something.
    pub(crate) fn rot_values(&mut self, node: usize) {
        if let Some(place) = self.may_lose(node)
            && self.nodes[place.node].hosts[place.core].rot_value(&mut self.dice)
        {
            self.lost(Fault::ValueRot);
        }
    }

    /// Values of a stopped node rot, perhaps.
    pub(crate) fn rot_values_at_rest(&mut self, node: usize) {
        if self.strikes(self.options.disk_faults.value_rot_per_mille) {
            (0..VALUES_AT_REST).for_each(|_| self.rot_values(node));
        }
    }

    /// The last write of one of a node's disks that has a successor turns out to have gone astray, if that disk may lose something.
    pub(crate) fn misdirect(&mut self, node: usize) {
        if let Some(place) = self.may_lose(node)
            && self.nodes[place.node].hosts[place.core].misdirect(&mut self.dice)
        {
            self.lost(Fault::Misdirected);
        }
    }

    fn lost(&mut self, kind: Fault) {
        self.faults.count(kind);
        self.options.disk_faults.losses_left -= 1;
    }

    /// A core of a node that may lose something.
    fn may_lose(&mut self, node: usize) -> Option<Place> {
        let core = self.dice.index(self.nodes[node].hosts.len());
        let place = Place { node, core };
        (self.options.disk_faults.losses_left > 0 && self.can_spare(&[place])).then_some(place)
    }

    /// Whether no shard has more than a minority on disks that have lost something, if these do too; members that only memory knows of
    /// do not count.
    pub(crate) fn can_spare(&self, places: &[Place]) -> bool {
        let hosts = || self.nodes.iter().flat_map(|node| &node.hosts);
        let on_disk = |name| hosts().map(|host| host.witness.commit(name)).max().unwrap_or_default();
        if !self.members.are_settled(on_disk) {
            return false;
        }
        let has_lost = |home: &Place| {
            let node = &self.nodes[home.node];
            places.contains(home)
                || node.hosts[home.core].hurt.is_hurt()
                || node.hosts[home.core].lacks_tail()
                || !node.is_whole(&self.map, &self.members)
        };
        self.map.shards().iter().all(|shard| {
            let homes: Vec<Place> = shard.replicas.iter().map(Place::home).collect();
            let lost = homes.iter().filter(|home| has_lost(home)).count();
            !homes.iter().any(|home| places.contains(home)) || 2 * lost < homes.len()
        })
    }
}

impl Host {
    /// Some of its durable bytes change. Whether anything came of it.
    fn rot(&mut self, dice: &mut Dice) -> bool {
        let before = self.survey();
        let headers = self.disk.segments();
        let (at, bytes) = if !headers.is_empty() && dice.chance(HEADER_PER_MILLE) {
            let segment = *dice.pick(&headers);
            (Position { segment, offset: 0 }, BLOCK_BYTES)
        } else {
            let Some(batch) = proven(&before, dice) else { return false };
            (batch.position, batch.bytes)
        };
        let changed = if dice.chance(RUN_PER_MILLE) {
            self.spoil_run(&before, at)
        } else if dice.chance(500) {
            self.flip_bit((at, bytes), dice)
        } else {
            self.spoil_sectors((at, bytes), dice)
        };
        self.note_lost(before);
        changed
    }

    /// The newest batch but one rots, if it holds anything. Whether it did.
    fn rot_at_end(&mut self, dice: &mut Dice) -> bool {
        let before = self.survey();
        let newest_but_one = before.values().rev().nth(1).filter(|batch| !batch.held.is_empty());
        let Some((at, bytes)) = newest_but_one.map(|batch| (batch.position, batch.bytes)) else {
            return false;
        };
        let changed = self.spoil_sectors((at, bytes), dice);
        self.note_lost(before);
        changed
    }

    /// Some bytes of a value change that its index points to durably, where a start that has this index does not read. Whether anything
    /// came of it.
    fn rot_value(&mut self, dice: &mut Dice) -> bool {
        let reader = self.index.reader();
        let Some(marks) = reader.core_marks().expect("memory never fails") else {
            return false;
        };
        let mut values = Vec::new();
        for replica in reader.replica_marks().expect("memory never fails") {
            let visit = &mut |key: &[u8], row: Row| {
                let value = further(row.position, EFFECT_HEADER_BYTES + key.len());
                values.extend((row.size > 0 && row.position < marks.replay).then_some((value, row.size)));
                ControlFlow::Continue(())
            };
            let scanned = reader.scan(replica.space, &replica.low, &replica.high, Direction::Forward, visit);
            scanned.expect("memory never fails");
        }
        let before = self.survey();
        // What rots twice may be as it was: seed 338 found a batch whole that was noted as lost.
        values.retain(|(at, _)| before.values().any(|batch| batch.holds(*at)));
        if values.is_empty() {
            return false;
        }
        let (at, size) = *dice.pick(&values);
        let size = usize::try_from(size).expect("values are small here");
        let changed = if dice.chance(500) {
            self.flip_bit((at, size), dice)
        } else {
            let from = dice.index(size);
            self.disk.change(further(at, from), size - from, |byte| *byte ^= 0x55)
        };
        self.note_lost(before);
        changed
    }

    /// All batches of a segment from one on but the log's last, as a lost erase block takes them.
    fn spoil_run(&mut self, batches: &Batches, from: Position) -> bool {
        let last = batches.keys().next_back().copied();
        let run = batches
            .iter()
            .filter(|(sequence, batch)| Some(**sequence) != last && batch.position.segment == from.segment && batch.position >= from);
        run.fold(false, |changed, (_, batch)| {
            self.disk.change(batch.position, SECTOR_BYTES, |byte| *byte = 0) | changed
        })
    }

    fn flip_bit(&mut self, (at, bytes): (Position, usize), dice: &mut Dice) -> bool {
        let place = further(at, dice.index(bytes));
        let bit = 1 << dice.index(8);
        self.disk.change(place, 1, |byte| *byte ^= bit)
    }

    fn spoil_sectors(&mut self, (at, bytes): (Position, usize), dice: &mut Dice) -> bool {
        let first = dice.index(bytes / SECTOR_BYTES) * SECTOR_BYTES;
        let most = usize::try_from(dice.between(1, SECTORS_MAX)).unwrap_or(1) * SECTOR_BYTES;
        let zeros = dice.chance(500);
        let spoil = |byte: &mut u8| *byte = if zeros { 0 } else { dice.any().to_le_bytes()[0] };
        self.disk.change(further(at, first), most.min(bytes - first), spoil)
    }

    /// The newest batch but one lies elsewhere, over whatever was there. Whether there was a place.
    fn misdirect(&mut self, dice: &mut Dice) -> bool {
        let before = self.survey();
        let mut newest = before.values().rev();
        let (Some(last), Some(astray)) = (newest.next(), newest.next()) else {
            return false;
        };
        let segment = *dice.pick(&self.disk.segments());
        let length = usize::try_from(self.disk.segment_bytes(segment)).unwrap_or(0);
        let Some(room) = length.checked_sub(astray.bytes) else {
            return false;
        };
        let offset = dice.index(room / BLOCK_BYTES + 1) * BLOCK_BYTES;
        let target = further(Position { segment, offset: 0 }, offset);
        if overlap((target, astray.bytes), last) || overlap((target, astray.bytes), astray) {
            return false;
        }
        let bytes = self.disk.read_at(astray.position, astray.bytes).expect("it was found there");
        let mut bytes_astray = bytes.iter();
        self.disk.change(astray.position, astray.bytes, |byte| *byte = 0);
        self.disk
            .change(target, bytes.len(), |byte| *byte = bytes_astray.next().copied().unwrap_or(0));
        self.note_lost(before);
        true
    }

    /// What there is to lose. The witness looks too: it may not have seen yet what a crash left.
    fn survey(&mut self) -> Batches {
        self.witness.reopen(&mut self.disk, &self.log);
        self.batches()
    }

    /// Where a scan sets in that begins with a batch, or without an index.
    pub(super) fn scan_view(&mut self, begin: Option<u64>) -> ScanView {
        let (mut created, mut first) = (BTreeMap::new(), None);
        let scanned = scan(&mut self.disk, &self.log, None, &mut |batch| {
            first.get_or_insert(batch.sequence);
            for record in batch.records() {
                if is_creation(&record.body) {
                    created.insert(record.name, batch.sequence);
                }
            }
        });
        scanned.expect("a log with damage can be scanned");
        ScanView { begin, first, created }
    }

    /// What a scan finds.
    fn batches(&mut self) -> Batches {
        let mut found = Batches::new();
        let scanned = scan(&mut self.disk, &self.log, None, &mut |batch| {
            let batch_found = Durable {
                position: batch.position,
                bytes: batch.padded,
                held: batch.records().map(|record| record.name).collect(),
            };
            found.insert(batch.sequence, batch_found);
        });
        scanned.expect("a log with damage can be scanned");
        found
    }

    fn note_lost(&mut self, before: Batches) {
        let after = self.batches();
        let lost = before.into_iter().filter(|(sequence, _)| !after.contains_key(sequence));
        lost.for_each(|(sequence, batch)| self.hurt.lose(sequence, batch.position.segment, batch.held));
    }
}

/// A batch that has a successor.
fn proven<'a>(batches: &'a Batches, dice: &mut Dice) -> Option<&'a Durable> {
    let proven = batches.len().checked_sub(1).filter(|proven| *proven > 0)?;
    let recent = if dice.chance(RECENT_PER_MILLE) {
        RECENT.min(proven)
    } else {
        proven
    };
    batches.values().nth(proven - 1 - dice.index(recent))
}

fn overlap((at, bytes): (Position, usize), batch: &Durable) -> bool {
    let begins_before = at < further(batch.position, batch.bytes);
    at.segment == batch.position.segment && begins_before && batch.position < further(at, bytes)
}

fn further(at: Position, bytes: usize) -> Position {
    let bytes = u32::try_from(bytes).expect("segments are small here");
    Position {
        offset: at.offset + bytes,
        ..at
    }
}
