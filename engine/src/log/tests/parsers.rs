//! No bytes make a parser panic, and none that were changed pass for what was written.

use bytes::Bytes;
use margate_net::ids::{LogIndex, ReplicaId, Term};
use proptest::prelude::*;

use super::support::{MemoryDisk, SeenBody, World, config, entry, hard_state, name, scan_all};
use crate::log::batch::{BATCH_HEADER_BYTES, BatchHeader, CHECKSUM_AT};
use crate::log::fetch::entries_in_chunk;
use crate::log::limits::BLOCK_BYTES;
use crate::log::record::{RECORD_HEADER_BYTES, parse_record};
use crate::log::scan::ScanError;
use crate::log::segment::{FORMAT, ReadySegment, SegmentHeader, first_batch};
use crate::types::{HardState, Nanos, Position};

const SEGMENT: u32 = 4 * 4_096;

fn header(length: usize, counts: (u32, u32, u32)) -> BatchHeader {
    BatchHeader {
        format: FORMAT,
        flags: 0,
        salt: 9,
        sequence: 1,
        length: u32::try_from(length).expect("small"),
        records: counts.0,
        predecessors: counts.1,
        commits: counts.2,
        written: Nanos(0),
        previous_checksum: 0,
        checksum: 0,
        position: first_batch(1),
    }
}

/// A batch whose frame is sound and whose contents are anything.
fn sound_frame(contents: &[u8], counts: (u32, u32, u32)) -> Vec<u8> {
    let mut bytes = header(BATCH_HEADER_BYTES + contents.len(), counts).encode().to_vec();
    bytes.extend_from_slice(contents);
    let checksum = crc32fast::hash(&bytes);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

/// A record whose frame is sound and whose body is anything.
fn sound_record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(RECORD_HEADER_BYTES + body.len()).expect("small");
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[kind, 0, 0, 0]);
    bytes.resize(RECORD_HEADER_BYTES, 0);
    bytes.extend_from_slice(body);
    let checksum = crc32fast::hash(&bytes);
    bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

proptest! {
    #[test]
    fn segment_headers_round_trip(number in any::<u32>(), salt in any::<u64>(), flip in 0..BLOCK_BYTES * 8) {
        let header = config(SEGMENT).segment_header(ReadySegment { number, salt, life: 1 });
        let mut block = header.encode();
        prop_assert_eq!(SegmentHeader::parse(&block), Ok(header));
        prop_assert!(SegmentHeader::parse(&block[..BLOCK_BYTES - 1]).is_err());
        block[flip / 8] ^= 1 << (flip % 8);
        prop_assert!(SegmentHeader::parse(&block).is_err());
    }

    #[test]
    fn batch_headers_round_trip(salt in any::<u64>(), sequence in any::<u64>(), counts in any::<(u32, u32, u32)>(), length in 64_u32..1 << 20) {
        let header = BatchHeader { salt, sequence, length, records: counts.0, predecessors: counts.1, commits: counts.2, ..header(64, counts) };
        prop_assert_eq!(BatchHeader::parse(&header.encode(), first_batch(1), Some(salt)), Ok(header));
        prop_assert!(BatchHeader::parse(&header.encode(), first_batch(1), Some(!salt)).is_err());
        prop_assert!(BatchHeader::parse(&header.encode(), first_batch(2), Some(salt)).is_err());
    }

    #[test]
    fn arbitrary_blocks_never_panic(block in prop::collection::vec(any::<u8>(), 0..BLOCK_BYTES + 10), at in any::<(u32, u32)>()) {
        let position = Position { segment: at.0, offset: at.1 };
        let _ = SegmentHeader::parse(&block);
        let _ = BatchHeader::parse(&block, position, None);
        let _ = parse_record(&block, position);
    }

    #[test]
    fn sound_records_with_arbitrary_bodies_never_panic(kind in 0_u8..20, body in prop::collection::vec(any::<u8>(), 0..80), at in any::<(u32, u32)>()) {
        let bytes = sound_record(kind, &body);
        let position = Position { segment: at.0, offset: at.1 };
        if let Ok((record, length)) = parse_record(&bytes, position) {
            prop_assert_eq!((record.body.kind(), length), (kind, bytes.len()));
        }
    }

    #[test]
    fn sound_frames_with_arbitrary_contents_never_panic(
        contents in prop::collection::vec(any::<u8>(), 0..200),
        record in prop::option::of((0_u8..20, prop::collection::vec(any::<u8>(), 0..40))),
        counts in (0_u32..3, 0_u32..3, 0_u32..3),
    ) {
        let mut contents = contents;
        if let Some((kind, body)) = record {
            contents.truncate(36 * counts.1 as usize + 24 * counts.2 as usize);
            contents.extend_from_slice(&sound_record(kind, &body));
        }
        let frame = sound_frame(&contents, counts);
        let _ = entries_in_chunk(&Bytes::from(frame.clone()), first_batch(1), name(0, 0));
        let mut disk = MemoryDisk::default();
        disk.prewrite(&config(SEGMENT), ReadySegment { number: 1, salt: 9, life: 1 });
        disk.write(first_batch(1), &frame);
        match scan_all(&mut disk, &config(SEGMENT)) {
            Ok((_, seen)) => prop_assert_eq!(seen[0].records.len(), counts.0 as usize),
            Err(error) => prop_assert!(matches!(error, ScanError::Malformed { .. }), "{error}"),
        }
    }

    #[test]
    fn arbitrary_segments_never_panic_nor_lose_what_is_sound(
        garbage in prop::collection::vec(any::<u8>(), 1..3 * BLOCK_BYTES),
        segment in 1_u32..4,
        offset in 0..2 * BLOCK_BYTES,
    ) {
        let mut world = World::new(SEGMENT);
        (1..=6).for_each(|index| world.batch(vec![entry(name(1, 1), index, b"x"), hard_state(name(1, 1), index, 1)]));
        let all = world.seen();
        let end = (offset + garbage.len()).min(SEGMENT as usize);
        if let Some(bytes) = world.disk.segments.get_mut(&segment) {
            bytes[offset..end].copy_from_slice(&garbage[..end - offset]);
        }
        let (scanned, seen) = scan_all(&mut world.disk, &world.config).expect("garbage is damage or torn, no refusal");
        prop_assert!(seen.iter().all(|batch| all.contains(batch)));
        let untouched = all.iter().filter(|batch| {
            let from = batch.position.offset as usize;
            batch.position.segment != segment || from + BLOCK_BYTES <= offset || from >= end
        });
        prop_assert!(untouched.clone().all(|batch| seen.contains(batch)));
        prop_assert_eq!(scanned.resume.last_sequence(), seen.last().map_or(0, |batch| batch.sequence));
    }

    #[test]
    fn any_records_round_trip(
        records in prop::collection::vec((1_u64..5, 1_u64..9, prop::collection::vec(any::<u8>(), 0..2_000), any::<bool>()), 1..30),
        commits in prop::collection::vec((1_u64..5, 1_u64..100), 0..6),
    ) {
        let mut world = World::new(8 * SEGMENT);
        for (shard, index, data, is_entry) in &records {
            world.writer.push(if *is_entry { entry(name(*shard, 1), *index, data) } else { hard_state(name(*shard, 1), *index, *index) });
        }
        commits.iter().for_each(|(shard, commit)| world.writer.note_commit(name(*shard, 1), LogIndex(*commit)));
        while world.writer.queued_bytes() > 0 {
            world.flush();
        }
        let seen = world.seen();
        let back: Vec<_> = seen.iter().flat_map(|batch| &batch.records).map(|(name, _, body)| (*name, body.clone())).collect();
        let written: Vec<_> = records.into_iter().map(|(shard, index, data, is_entry)| {
            let state = HardState { term: Term(index), vote: ReplicaId(index) };
            (name(shard, 1), if is_entry { SeenBody::Entry(Term(2), LogIndex(index), data) } else { SeenBody::HardState(state) })
        }).collect();
        prop_assert_eq!(back, written);
        for (shard, _) in &commits {
            let highest = commits.iter().filter(|(of, _)| of == shard).map(|(_, commit)| *commit).max().unwrap_or(0);
            prop_assert_eq!(world.writer.durable_commit(name(*shard, 1)), LogIndex(highest));
        }
    }
}
