//! What one core's disk really holds: entries and commits, decoded from durable bytes by the log's own scan.
//!
//! Not here, on purpose: what the core believes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use margate_net::ids::{LogIndex, Term};

use crate::core::replay::is_creation;
use crate::log::batch::ScannedBatch;
use crate::log::record::RecordBody;
use crate::log::scan::{ReadFault, ReadSegments, scan};
use crate::log::segment::LogConfig;
use crate::sim::disk::{Disk, Written};
use crate::sim::violation::Violation;
use crate::types::{Position, ReplicaName};

/// An entry on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) term: Term,
    pub(crate) data: Bytes,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Witness {
    entries: BTreeMap<(ReplicaName, LogIndex), Logged>,
    commits: BTreeMap<ReplicaName, LogIndex>,
    ended: BTreeSet<ReplicaName>,
    /// The batches in which replicas were created.
    created: BTreeMap<ReplicaName, u64>,
    /// A replica that was created twice.
    begun_again: Option<ReplicaName>,
    last: Option<Position>,
}

/// A log that ends with one batch of one segment, so that nothing else need be read to find it.
struct OneBatch<'a> {
    disk: &'a mut Disk,
    segment: u32,
    end: u64,
}

impl Witness {
    /// A batch became durable.
    pub(crate) fn written(&mut self, disk: &mut Disk, log: &LogConfig, written: Written) {
        let end = written.position.offset as usize + written.length;
        let mut one = OneBatch {
            disk,
            segment: written.position.segment,
            end: end as u64,
        };
        self.scan(&mut one, log, Some(written.position));
    }

    /// The core starts again: whatever else its disk holds is durable too.
    pub(crate) fn reopen(&mut self, disk: &mut Disk, log: &LogConfig) {
        self.scan(disk, log, self.last);
    }

    /// The log has lost its end: what it holds is read anew.
    pub(crate) fn rescan(&mut self, disk: &mut Disk, log: &LogConfig) {
        self.last = None;
        self.reopen(disk, log);
    }

    /// Whether a replica's end is on disk.
    pub(crate) fn has_ended(&self, name: ReplicaName) -> bool {
        self.ended.contains(&name)
    }

    /// Whether a replica's creation ever was on disk.
    pub(crate) fn has_begun(&self, name: ReplicaName) -> bool {
        self.created.contains_key(&name)
    }

    /// An id was given out here once, and a replica began under it again.
    pub(crate) fn check_begun_once(&self) -> Result<(), Violation> {
        self.begun_again.map_or(Ok(()), |name| Err(Violation::BegunAgain { name }))
    }

    /// A replica's entry.
    pub(crate) fn entry(&self, name: ReplicaName, index: LogIndex) -> Option<&Logged> {
        self.entries.get(&(name, index))
    }

    /// A replica's highest commit on disk.
    pub(crate) fn commit(&self, name: ReplicaName) -> LogIndex {
        self.commits.get(&name).copied().unwrap_or_default()
    }

    fn scan(&mut self, reader: &mut dyn ReadSegments, log: &LogConfig, from: Option<Position>) {
        scan(reader, log, from, &mut |batch| self.batch(batch)).expect("what is durable can be scanned");
    }

    fn batch(&mut self, batch: &ScannedBatch<'_>) {
        self.last = Some(batch.position);
        for record in batch.records() {
            if is_creation(&record.body) {
                let created = *self.created.entry(record.name).or_insert(batch.sequence);
                self.begun_again = self.begun_again.or((created != batch.sequence).then_some(record.name));
            }
            match record.body {
                RecordBody::Entry { term, index, data, .. } => self.append(record.name, index, term, data),
                // What a checkpoint holds was committed.
                RecordBody::Checkpoint { applied, .. } => {
                    let known = self.commits.entry(record.name).or_default();
                    *known = applied.max(*known);
                }
                RecordBody::ReplicaEnd => {
                    self.ended.insert(record.name);
                }
                RecordBody::HardState(_) | RecordBody::Relocation { .. } | RecordBody::Unknown { .. } => {}
            }
        }
        for (name, commit) in batch.commits() {
            let known = self.commits.entry(name).or_default();
            *known = commit.max(*known);
        }
    }

    /// An entry replaces the one at its index and all after it.
    fn append(&mut self, name: ReplicaName, index: LogIndex, term: Term, data: &[u8]) {
        let replaced: Vec<_> = self
            .entries
            .range((name, index)..=(name, LogIndex(u64::MAX)))
            .map(|(key, _)| *key)
            .collect();
        for key in replaced {
            self.entries.remove(&key);
        }
        let data = Bytes::copy_from_slice(data);
        self.entries.insert((name, index), Logged { term, data });
    }
}

impl ReadSegments for OneBatch<'_> {
    fn segments(&self) -> Vec<u32> {
        vec![self.segment]
    }

    fn segment_bytes(&self, segment: u32) -> u64 {
        if segment == self.segment { self.end } else { 0 }
    }

    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        self.disk.read(segment, offset, buffer)
    }
}
