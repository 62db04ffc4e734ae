//! Opening a log: three segments of four blocks, with a real log in them, changed as an input says.
//!
//! Input: one byte of choices, one byte where the scan begins, then changes: a kind, a segment, a place, what else the kind takes.
//! With checksums made right the changes reach what lies behind them: lists, records, bodies, entries' data.
//!
//! What must hold: no panic; batches come in rising order; where nothing was changed all of them come, and where the log can be
//! opened it can be gone on with.

mod disk;
mod edit;

use std::sync::OnceLock;

use bytes::Bytes;
use margate_engine::log::batch::ScannedBatch;
use margate_engine::log::effects::{EntryData, EntryDataBuilder, ExpectedEffect, read_effect, verify_checksums};
use margate_engine::log::fetch::entries_in_chunk;
use margate_engine::log::record::{Record, RecordBody};
use margate_engine::log::scan::{ScanEnd, ScanError, scan};
use margate_engine::log::segment::{LogConfig, first_batch};
use margate_engine::log::writer::{FlushStep, LogWriter, Resume};
use margate_engine::shard::state::ShardState;
use margate_engine::types::{HardState, Nanos, Position, ReplicaName, ValueHash};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, LogIndex, NodeId, ReplicaId, ShardId, Space, Term, Version};
use margate_net::message::EntryKind;

use self::disk::{BLOCK, Disk, SEGMENT_BYTES};
use crate::budget;
use crate::input::Input;
use crate::state::some_state;

/// Makes the checksums of segments, batches and records right.
const SEAL: u8 = 1;
/// Goes on with the log after it was opened.
const GO_ON: u8 = 2;
/// Begins at a batch, not at the beginning.
const FROM: u8 = 4;
/// Bytes a scan may ask for at once: its window, which no claimed length makes larger than the segments are.
const WINDOW_BYTES: usize = (1 << 20) + (64 << 10);

/// A log that was written well, and what a scan shows of it.
struct Written {
    disk: Disk,
    sequences: Vec<u64>,
}

/// Changes a log as the input says, and opens it.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (choices, from) = (input.byte(), input.byte());
    let written = written();
    let mut disk = written.disk.clone();
    let changed = edit::apply(&mut disk, &mut input);
    if choices & SEAL != 0 {
        edit::seal(&mut disk);
    }
    let place = Position {
        segment: u32::from(from >> 4),
        offset: u32::from(from & 15) * BLOCK / 2,
    };
    let from = (choices & FROM != 0).then_some(place);
    budget::within(data.len(), WINDOW_BYTES, 4, || {
        let (end, sequences) = open(&mut disk, from);
        if !changed && from.is_none() {
            assert_eq!(sequences, written.sequences);
        }
        fetch(&disk, place);
        let last = sequences.last().copied().unwrap_or(0);
        // The next sequence would be the one that no log may hold, and no log lives that long.
        let is_worn_out = last.checked_add(2).is_none();
        if let (Ok(end), None, true, false) = (end, from, choices & GO_ON != 0, is_worn_out) {
            go_on(disk, end, last);
        }
    });
}

fn open(disk: &mut Disk, from: Option<Position>) -> (Result<ScanEnd, ScanError>, Vec<u64>) {
    let mut sequences = Vec::new();
    let end = scan(disk, &config(), from, &mut |batch| {
        assert!(
            sequences.last().is_none_or(|last| *last < batch.sequence),
            "batches in rising order"
        );
        sequences.push(batch.sequence);
        read(batch);
    });
    if let Err(error) = &end {
        assert!(!error.to_string().is_empty());
    }
    (end, sequences)
}

/// All there is to read in a batch.
fn read(batch: &ScannedBatch<'_>) {
    assert!(batch.commits().count() + batch.predecessors().count() <= SEGMENT_BYTES);
    for record in batch.records() {
        match record.body {
            RecordBody::Entry { data, .. } | RecordBody::Relocation { data, .. } => entry(data),
            RecordBody::Checkpoint { state, .. } => drop(ShardState::decode(state)),
            RecordBody::HardState(_) | RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => {}
        }
    }
}

fn entry(data: &[u8]) {
    let _ = verify_checksums(data);
    let Ok(parsed) = EntryData::parse(data) else { return };
    for (at, effect) in parsed.effects() {
        let expected = ExpectedEffect {
            cluster: config().cluster,
            shard: ShardId(1),
            key: effect.key,
            version: effect.version,
        };
        let rest = data.get(at as usize..).expect("an effect lies inside its entry");
        if let Ok(read) = read_effect(rest, &expected) {
            assert_eq!(read, effect);
        }
    }
}

/// As a leader reads old entries for a follower.
fn fetch(disk: &Disk, at: Position) {
    let rest = disk.bytes(at.segment).get(at.offset as usize..).unwrap_or_default();
    let _ = entries_in_chunk(&Bytes::copy_from_slice(rest), at, name(1));
}

/// A log that was opened takes another batch, and shows it when it is opened again.
fn go_on(mut disk: Disk, end: ScanEnd, last: u64) {
    let config = config();
    end.discard.iter().for_each(|segment| disk.remove(*segment));
    let mut log = LogWriter::new(config, end.resume);
    end.ready.iter().for_each(|segment| log.segment_ready(*segment));
    for number in log.segments_wanted(usize::MAX) {
        log.segment_ready(disk.prewrite(&config, number));
    }
    log.push(hard_state(3));
    let FlushStep::Write(flush) = log.flush(Nanos(1), Nanos(1)) else {
        return;
    };
    assert!(flush.sequence > last, "batch {} comes after {last}", flush.sequence);
    let mut bytes = vec![0; flush.length];
    flush.encode_into(&mut bytes);
    disk.write(flush.segment, flush.offset, &bytes);
    let (again, sequences) = open(&mut disk, None);
    again.expect("what could be opened once can be opened again");
    assert_eq!(sequences.last(), Some(&flush.sequence));
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let mut disk = write();
        let (end, sequences) = open(&mut disk, None);
        assert!(end.expect("it was written well").damage.is_empty() && sequences.len() == 8);
        Written { disk, sequences }
    })
}

/// Eight batches of two replicas, a seal the last.
fn write() -> Disk {
    let (config, mut disk) = (config(), Disk::default());
    let mut log = LogWriter::new(config, Resume::fresh());
    let batches: [Vec<Record>; 7] = [
        vec![checkpoint(1), checkpoint(2)],
        vec![hard_state(1), entry_record(1, 1, 1), entry_record(2, 1, 0)],
        vec![entry_record(1, 2, 3)],
        vec![entry_record(1, 3, 6), hard_state(2)],
        vec![entry_record(2, 2, 2), end_of(2)],
        vec![entry_record(1, 4, 1)],
        vec![entry_record(1, 5, 2), hard_state(1)],
    ];
    for records in batches {
        records.into_iter().for_each(|record| log.push(record));
        log.note_commit(name(1), LogIndex(1));
        append(&mut disk, &config, &mut log);
    }
    log.note_commit(name(1), LogIndex(5));
    log.force_seal();
    append(&mut disk, &config, &mut log);
    disk
}

fn append(disk: &mut Disk, config: &LogConfig, log: &mut LogWriter) {
    for number in log.segments_wanted(usize::MAX) {
        log.segment_ready(disk.prewrite(config, number));
    }
    let FlushStep::Write(flush) = log.flush(Nanos(1), Nanos(1_700_000_000_000_000_000)) else {
        unreachable!("something is queued, and segments are ready");
    };
    let mut bytes = vec![0; flush.length];
    flush.encode_into(&mut bytes);
    disk.write(flush.segment, flush.offset, &bytes);
    log.flushed(flush.sequence, Nanos(1));
}

pub(crate) fn config() -> LogConfig {
    LogConfig {
        cluster: ClusterId(5),
        directory: DirectoryId(6),
        node: NodeId(1),
        core: CoreId(0),
        segment_bytes: u32::try_from(SEGMENT_BYTES).unwrap_or(u32::MAX),
        ready_min: 1,
    }
}

fn name(shard: u64) -> ReplicaName {
    ReplicaName {
        shard: ShardId(shard),
        replica: ReplicaId(1),
    }
}

fn checkpoint(shard: u64) -> Record {
    Record::Checkpoint {
        name: name(shard),
        space: Space(1),
        applied: LogIndex(0),
        applied_term: Term(0),
        kept_from: 1,
        state: some_state().encode(),
        timestamp: Nanos(1),
    }
}

fn hard_state(shard: u64) -> Record {
    Record::HardState {
        name: name(shard),
        space: Space(1),
        state: HardState {
            term: Term(2),
            vote: ReplicaId(1),
        },
        timestamp: Nanos(1),
    }
}

fn end_of(shard: u64) -> Record {
    Record::ReplicaEnd {
        name: name(shard),
        space: Space(1),
        timestamp: Nanos(1),
    }
}

fn entry_record(shard: u64, index: u64, puts: u64) -> Record {
    Record::Entry {
        name: name(shard),
        space: Space(1),
        term: Term(2),
        index: LogIndex(index),
        kind: EntryKind::Normal,
        data: some_entry(shard, puts).into(),
        timestamp: Nanos(1),
    }
}

/// An entry's data: some puts and a delete.
pub(crate) fn some_entry(shard: u64, puts: u64) -> Vec<u8> {
    let mut builder = EntryDataBuilder::new(config().cluster, ShardId(shard), Nanos(7));
    for version in 1..=puts {
        let value = vec![b'v'; usize::try_from(version * 5).unwrap_or(0)];
        builder.put(b"key", &value, Version(version), ValueHash::of(&value));
    }
    builder.delete(b"key", Version(puts + 1));
    builder.finish()
}

/// No change, and one of each kind, with and without checksums made right.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let first = u8::try_from(first_batch(1).offset / BLOCK).unwrap_or(1);
    let mut seeds = vec![vec![0, 0], vec![GO_ON, 0], vec![FROM, 0x12]];
    for kind in 0..edit::KINDS {
        for choices in [GO_ON, SEAL | GO_ON] {
            seeds.push(vec![choices, 0, kind, 1, 0, first * 0x10, 8, 0, 3, 1, 2, 3]);
        }
    }
    seeds
}
