//! Disks that are not what their node knew: empty ones in their place, those that were there before, and a log that has
//! lost its end.
//!
//! Whatever a node comes back with, the shards stay available: never more than a minority of a shard's replicas lacks what
//! it had, and what a lost end held is durable on all others.
//!
//! Not here, on purpose: rot that a start finds (`rot`), what the nodes do about it (`core`).

use margate_net::ids::{LogIndex, Term};

use super::dice::Dice;
use super::faults::Fault;
use super::node::{Host, Node, Place};
use super::world::{Happening, World};
use crate::index::store::IndexReader;
use crate::log::batch::ScannedBatch;
use crate::log::record::RecordBody;
use crate::log::scan::scan;
use crate::sim::disk::SECTOR_BYTES;
use crate::types::{Nanos, Position, ReplicaName};

/// How long a wiped node is without the disks it had, and how often is looked whether it can be spared.
const PUT_BACK: (Nanos, Nanos) = (Nanos::from_millis(50), Nanos::from_millis(3_000));

/// What a node has before its disks are replaced.
pub(crate) struct Shelf {
    hosts: Vec<Host>,
    joined: bool,
}

/// The end of a log that may be lost: batches no successor proves but one that holds nothing.
struct Tail {
    sequence: u64,
    positions: Vec<Position>,
    entries: Vec<(ReplicaName, LogIndex, Term)>,
}

impl World {
    /// A node dies and comes back with an empty data directory, unless others of its shards have yet to recover from that.
    pub(crate) fn wipe(&mut self, node: usize) {
        if self.can_renew(node) {
            self.kill(node, Fault::Wipe);
            let (map, wall) = (self.map.clone(), self.nodes[node].clock.wall(self.now()));
            let state = &mut self.nodes[node];
            let created = self.planted.wiped_votes();
            let shelf = Shelf {
                joined: state.joined,
                hosts: state.wipe(&mut self.dice),
            };
            state.shelf = Some(shelf);
            if created {
                state.create_again(&map, wall, &mut self.dice);
            }
            self.plan_put_back(node);
        }
    }

    /// Perhaps plans that a wiped node gets its disks back.
    fn plan_put_back(&mut self, node: usize) {
        if self.strikes(self.options.disk_faults.old_disk_per_mille) {
            let span = self.dice.span(PUT_BACK.0, PUT_BACK.1);
            self.schedule.after(span, Happening::PutBack { node });
        }
    }

    /// A node that was wiped dies and comes back with the disks it had before; those it has now are put by. Not before it can be spared.
    pub(crate) fn put_back_disks(&mut self, node: usize) {
        if self.settle.has_begun() {
            return;
        }
        if self.can_renew(node) {
            self.kill(node, Fault::OldDisk);
            self.nodes[node].put_back();
            self.plan_put_back(node);
        } else {
            self.schedule.after(PUT_BACK.0, Happening::PutBack { node });
        }
    }

    /// Whether a node may lose all it has.
    fn can_renew(&self, node: usize) -> bool {
        let whole = self
            .nodes
            .iter()
            .all(|node| node.is_up() && node.is_whole(&self.map, &self.members));
        let places: Vec<Place> = (0..self.nodes[node].hosts.len()).map(|core| Place { node, core }).collect();
        self.options.replication >= 3 && whole && self.can_spare(&places)
    }

    /// A stopped node's log has perhaps lost the entries that it acknowledged last, which looks like a torn tail. The others have them.
    pub(crate) fn lose_tail(&mut self, node: usize) {
        if self.options.replication < 3 || !self.strikes(self.options.disk_faults.tail_lost_per_mille) {
            return;
        }
        let mut others = self.nodes.iter().enumerate().filter(|(at, _)| *at != node);
        let whole = others.all(|(_, other)| other.is_up() && other.is_whole(&self.map, &self.members));
        let place = Place {
            node,
            core: self.dice.index(self.nodes[node].hosts.len()),
        };
        if !whole || !self.nodes[node].was_whole || !self.can_spare(&[place]) {
            return;
        }
        let host = &mut self.nodes[node].hosts[place.core];
        let Some(tail) = Some(host).filter(|host| !host.hurt.is_hurt()).and_then(Host::tail) else {
            return;
        };
        if tail.entries.iter().all(|entry| self.others_hold(node, *entry)) {
            self.nodes[node].renewed = true;
            self.nodes[node].hosts[place.core].lose_tail(tail, &mut self.dice);
            self.faults.count(Fault::TailLost);
        }
    }

    /// Whether every other replica of a shard has an entry on its disk.
    fn others_hold(&self, node: usize, (name, index, term): (ReplicaName, LogIndex, Term)) -> bool {
        let shard = self.map.shards().iter().find(|shard| shard.id == name.shard);
        let homes = shard.into_iter().flat_map(|shard| &shard.replicas).map(Place::home);
        let holds = |home: Place| {
            let host = &self.nodes[home.node].hosts[home.core];
            let processes = host.process.iter();
            let mut replicas = processes.flat_map(|process| process.core.replicas());
            let here = replicas.find(|replica| replica.name().shard == name.shard);
            here.and_then(|replica| host.witness.entry(replica.name(), index))
                .is_some_and(|entry| entry.term == term)
        };
        homes.filter(|home| home.node != node).all(holds)
    }
}

impl Node {
    /// The disks it had before the last wipe, and everything that was with them.
    fn put_back(&mut self) {
        let Some(shelf) = &mut self.shelf else { return };
        std::mem::swap(&mut self.hosts, &mut shelf.hosts);
        std::mem::swap(&mut self.joined, &mut shelf.joined);
    }
}

impl Host {
    /// What its log may lose, if that is entries and nothing else, and its index does not rest on them.
    fn tail(&mut self) -> Option<Tail> {
        let (mut tail, mut empty) = (None, Vec::new());
        let scanned = scan(&mut self.disk, &self.log, None, &mut |batch| {
            if batch.records().next().is_none() {
                return empty.push(batch.position);
            }
            empty.clear();
            tail = entries_of(batch).map(|entries| Tail {
                sequence: batch.sequence,
                positions: vec![batch.position],
                entries,
            });
        });
        scanned.expect("a log with damage can be scanned");
        let mut tail = tail.filter(|tail| self.index_is_before(tail))?;
        tail.positions.extend(empty);
        Some(tail)
    }

    fn index_is_before(&self, tail: &Tail) -> bool {
        let reader = self.index.reader();
        let core = reader.core_marks().expect("memory never fails");
        let replicas = reader.replica_marks().expect("memory never fails");
        let holds =
            |(name, index, _): &(ReplicaName, LogIndex, Term)| replicas.iter().any(|marks| marks.name == *name && marks.applied >= *index);
        core.is_none_or(|marks| marks.replay_sequence < tail.sequence) && !tail.entries.iter().any(holds)
    }

    fn lose_tail(&mut self, tail: Tail, dice: &mut Dice) {
        for position in tail.positions {
            let zeros = dice.chance(500);
            let spoil = |byte: &mut u8| *byte = if zeros { 0 } else { dice.any().to_le_bytes()[0] };
            self.disk.change(position, SECTOR_BYTES, spoil);
        }
        for (name, index, _) in tail.entries {
            let last = self.lost_tail.entry(name).or_insert(index);
            *last = index.max(*last);
        }
        self.witness.rescan(&mut self.disk, &self.log);
    }

    /// Whether it lacks entries whose loss it does not know, and has not got them again.
    pub(crate) fn lacks_tail(&self) -> bool {
        let replicas = || self.process.iter().flat_map(|process| process.core.replicas());
        let lacks = |(name, last): (&ReplicaName, &LogIndex)| {
            let here = replicas().find(|replica| replica.name().shard == name.shard);
            here.is_none_or(|replica| replica.name() == *name && replica.group().durable_commit() < *last)
        };
        self.lost_tail.iter().any(lacks)
    }

    /// Whether a replica here may stop or stay stopped though its log shows no damage.
    pub(crate) fn may_end(&self, name: ReplicaName) -> bool {
        let doubted = self.doubted.contains(&name) && self.witness.has_ended(name);
        self.ended.contains(&name) || self.lost_tail.contains_key(&name) || doubted
    }
}

/// The entries of a batch that holds nothing else.
fn entries_of(batch: &ScannedBatch<'_>) -> Option<Vec<(ReplicaName, LogIndex, Term)>> {
    let entry = |record: crate::log::record::ScannedRecord<'_>| match record.body {
        RecordBody::Entry { index, term, .. } => Some((record.name, index, term)),
        RecordBody::Checkpoint { .. }
        | RecordBody::HardState(_)
        | RecordBody::Relocation { .. }
        | RecordBody::ReplicaEnd
        | RecordBody::Unknown { .. } => None,
    };
    batch.records().map(entry).collect()
}
