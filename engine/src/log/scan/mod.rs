//! Opening a log: every batch in order, and the judgement of what does not read.
//!
//! The rule: where no batch reads, look on, block by block, through this and all later segments. A sound batch
//! with its segment's salt and a greater sequence proves that acknowledged bytes before it are lost: **damage**.
//! None proves nothing was acknowledged there: a **torn tail**, which is dropped and written over.
//!
//! Unless the file is shorter than its header says, and the log goes up to that very end: a header is written once the file has
//! its length, so what was behind it is lost, and may have been acknowledged.
//!
//! Batches form a chain: each names its predecessor's sequence and checksum. A step in the chain that fits is no
//! gap, wherever the batch lies, so a change of segment needs no rule of its own. A gap of one batch is judged by
//! its successor's list; a longer one may have hurt every replica.
//!
//! A segment whose header block is damaged still shows its salt in its first readable batch. That batch and the
//! rest are read like others, the chain proving that nothing is missing, and the lost header is reported as damage
//! that hurts nobody. The log never goes on in such a segment.
//!
//! Not here, on purpose: reading the files (a `runtime` folder, the simulator), mending what is damaged.

mod report;
mod terrain;
mod window;

pub use report::{Damage, DamagedReplicas, ReadFault, ScanEnd, ScanError, SyncFault, TornTail};

use std::collections::BTreeMap;

use margate_net::ids::LogIndex;

use self::terrain::{Found, GroundBetween, Terrain};
use super::batch::{BatchFault, BatchHeader, HeldList, ScannedBatch};
use super::pool::OpenSegment;
use super::record::RecordBody;
use super::segment::{FORMAT, LogConfig, first_batch};
use super::writer::{DurableEnd, LastBatch, Resume};
use crate::types::{Position, ReplicaName};

/// Where segments are read from: files in production, memory in the simulator.
pub trait ReadSegments {
    /// The numbers of all segments there are, in any order.
    fn segments(&self) -> Vec<u32>;

    /// Bytes of a segment's file.
    fn segment_bytes(&self, segment: u32) -> u64;

    /// Fills a buffer from a segment. Offset and length are whole blocks inside the file, the buffer starts on a
    /// block boundary in memory, and one call asks for `READ_BYTES_MAX` at most.
    ///
    /// # Errors
    /// When the buffer could not be filled; the scan ends with it.
    fn read(&mut self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault>;
}

/// Segments that are not only looked at: what is read from them will be built on.
pub trait SyncSegments: ReadSegments {
    /// Makes all that a read can find durable, whoever wrote it.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&mut self) -> Result<(), SyncFault>;
}

/// Reads a log from a batch on, or from its beginning, shows each batch in order, and says where to go on.
///
/// # Errors
/// When the log is another's, of a newer format, incomplete or unreadable; nothing may then be appended to it.
/// Damage inside it is no error: it is part of the result, and the batches around it are shown.
pub fn scan(
    reader: &mut dyn ReadSegments,
    identity: &LogConfig,
    from: Option<Position>,
    visit: &mut dyn FnMut(&ScannedBatch<'_>),
) -> Result<ScanEnd, ScanError> {
    let mut terrain = Terrain::explore(reader, identity)?;
    let mut chain = Chain::begin(&mut terrain, from)?;
    loop {
        match terrain.find(chain.expected, chain.last.sequence)? {
            Found::Batch(header) => {
                let ground = terrain.ground_between(chain.expected.segment, header.position.segment);
                let batch = open(&header, terrain.batch_bytes(&header)?)?;
                let known = chain.damage.len();
                chain.judge(&header, &batch, ground)?;
                chain.accept(&header, &batch);
                visit(&batch.after(chain.damage.get(known..).unwrap_or_default()));
                terrain.trust_salt(&header);
            }
            Found::End { stray_bytes } => {
                let cut = terrain.cut_after(chain.expected, chain.last.sequence)?;
                return Ok(chain.end(&terrain, identity, (stray_bytes, cut)));
            }
        }
    }
}

/// The batches so far: what the next one must say, and what was wrong on the way.
struct Chain {
    last: LastBatch,
    sealed: bool,
    /// Where the last batch began; `None` before the first.
    batch: Option<Position>,
    /// Where the next one should begin.
    expected: Position,
    commits: BTreeMap<ReplicaName, LogIndex>,
    damage: Vec<Damage>,
}

impl Chain {
    /// Before the first batch of the log, or before the one the caller names.
    fn begin(terrain: &mut Terrain<'_>, from: Option<Position>) -> Result<Self, ScanError> {
        let mut last = LastBatch::default();
        if let Some(position) = from {
            let header = terrain.start(position)?.ok_or(ScanError::StartNotFound { position })?;
            last.sequence = header.sequence.saturating_sub(1);
            last.checksum = header.previous_checksum;
        }
        let start = first_batch(terrain.oldest());
        if from.is_none()
            && start.segment > 1
            && let Some(header) = terrain.start(start)?
        {
            // What came before was reclaimed. A log that does not begin with its oldest segment's first batch has lost it.
            last.sequence = header.sequence.saturating_sub(1);
            last.checksum = header.previous_checksum;
        }
        let expected = from.unwrap_or(start);
        Ok(Self {
            last,
            sealed: true,
            batch: None,
            expected,
            commits: BTreeMap::new(),
            damage: Vec::new(),
        })
    }

    /// Notes what is missing before a batch, if anything is.
    fn judge(&mut self, header: &BatchHeader, batch: &ScannedBatch<'_>, ground: GroundBetween) -> Result<(), ScanError> {
        let segment = header.position.segment;
        let gap_batches = header.sequence - self.last.sequence - 1;
        if gap_batches != 0 || header.previous_checksum != self.last.checksum {
            if let Some(segment) = ground.missing_segment {
                return Err(ScanError::MissingSegment { segment });
            }
            let replicas = match gap_batches {
                1 => DamagedReplicas::Listed(batch.predecessors().collect()),
                _ => DamagedReplicas::All,
            };
            self.damage.push(Damage {
                position: self.expected,
                next_valid: header.position,
                replicas,
                gap_batches,
            });
        }
        if ground.header_lost {
            let position = Position { segment, offset: 0 };
            let replicas = DamagedReplicas::Listed(Vec::new());
            self.damage.push(Damage {
                position,
                next_valid: header.position,
                replicas,
                gap_batches: 0,
            });
        }
        Ok(())
    }

    fn accept(&mut self, header: &BatchHeader, batch: &ScannedBatch<'_>) {
        let mut held = HeldList::default();
        for record in batch.records() {
            let index = match record.body {
                RecordBody::Entry { index, .. } => Some(index),
                RecordBody::HardState(_)
                | RecordBody::Checkpoint { .. }
                | RecordBody::Relocation { .. }
                | RecordBody::ReplicaEnd
                | RecordBody::Unknown { .. } => None,
            };
            held.add(record.name, record.body.kind(), index);
        }
        for (name, commit) in batch.commits() {
            let known = self.commits.entry(name).or_default();
            *known = commit.max(*known);
        }
        self.last = LastBatch {
            sequence: header.sequence,
            checksum: header.checksum,
            held: held.finish(),
        };
        self.sealed = batch.seal;
        self.batch = Some(header.position);
        self.expected = header.end();
    }

    fn end(self, terrain: &Terrain<'_>, identity: &LogConfig, (stray_bytes, cut): (u64, Option<Position>)) -> ScanEnd {
        let newest = self.batch.map_or(0, |batch| batch.segment);
        let (ready, mut discard) = terrain.after(newest, identity.segment_bytes);
        if self.batch.is_none() && ready.is_empty() {
            // No file at all says that the log was lost: the last one stays until it is prewritten again in its place.
            discard.pop();
        }
        let torn = (stray_bytes > 0).then_some(TornTail {
            position: self.expected,
            bytes: stray_bytes,
        });
        let resume = self.resume(newest, terrain);
        ScanEnd {
            resume,
            torn,
            cut,
            damage: self.damage,
            ready,
            discard,
        }
    }

    fn resume(&self, newest: u32, terrain: &Terrain<'_>) -> Resume {
        let Some(batch) = self.batch else { return Resume::fresh() };
        let open = terrain.appendable(newest).map(|(salt, length)| OpenSegment {
            salt,
            length,
            end: self.expected,
        });
        Resume {
            last: self.last.clone(),
            sealed: self.sealed,
            oldest: terrain.oldest(),
            newest,
            open,
            durable: DurableEnd {
                sequence: self.last.sequence,
                batch,
                end: self.expected,
            },
            commits: self.commits.clone(),
        }
    }
}

/// A checked batch's contents; it is ours, so what cannot be read in it is no damage but a refusal.
fn open<'a>(header: &BatchHeader, bytes: &'a [u8]) -> Result<ScannedBatch<'a>, ScanError> {
    header.open(bytes).map_err(|fault| match fault {
        BatchFault::NewerFormat { found } => ScanError::NewerFormat {
            segment: header.position.segment,
            found,
            supported: FORMAT,
        },
        BatchFault::NoMagic
        | BatchFault::OtherPlace { .. }
        | BatchFault::OtherSalt { .. }
        | BatchFault::BadLength { .. }
        | BatchFault::Cut { .. }
        | BatchFault::BadChecksum
        | BatchFault::UnknownFlags { .. }
        | BatchFault::BadCounts
        | BatchFault::LastSequence
        | BatchFault::Record(_) => ScanError::Malformed {
            position: header.position,
            fault,
        },
    })
}
