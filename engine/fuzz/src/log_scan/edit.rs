//! Changes to a log, as an input tells them, and checksums made right after them.

use margate_engine::log::limits::BLOCK_BYTES;

use super::disk::{Disk, SEGMENT_BYTES};
use crate::input::{Input, number_at, seal_inside};

/// Kinds of changes.
pub(super) const KINDS: u8 = 9;
/// Changes of one input, at most: more would only make it slow.
const CHANGES_MAX: usize = 64;

/// Where `docs/format.md` has the checksums, lengths and counts.
const SEGMENT_CHECKSUM_AT: usize = 20;
const BATCH_LENGTH_AT: usize = 24;
const BATCH_LISTS_AT: [(usize, usize); 2] = [(32, 36), (36, 24)];
const BATCH_CHECKSUM_AT: usize = 52;
const BATCH_HEADER_BYTES: usize = 64;
const RECORD_CHECKSUM_AT: usize = 28;

/// Carries out what the input says; whether it changed anything.
pub(super) fn apply(disk: &mut Disk, input: &mut Input<'_>) -> bool {
    let mut changes = 0;
    while !input.0.is_empty() && changes < CHANGES_MAX {
        change(disk, input);
        changes += 1;
    }
    changes > 0
}

fn change(disk: &mut Disk, input: &mut Input<'_>) {
    let (kind, segment) = (input.byte() % KINDS, u32::from(input.byte() % 5));
    let (at, count) = (usize::from(input.short()), usize::from(input.byte()));
    let block = at / BLOCK_BYTES * BLOCK_BYTES;
    if kind == 8 {
        return drop(disk.files().insert(segment, input.bytes(count).to_vec()));
    }
    let other = disk.bytes(u32::from(input.byte() % 5)).to_vec();
    let Some(file) = disk.files().get_mut(&segment) else { return };
    match kind {
        0 => flip(file, at, count),
        1 => put(file, at, input.bytes(count)),
        2 => put(file, block, &[0; BLOCK_BYTES]),
        // A write that went astray, or a segment of a former life.
        3 => put(file, block, other.get(block..block + BLOCK_BYTES).unwrap_or_default()),
        4 => put(file, block, other.get(count % 4 * BLOCK_BYTES..).unwrap_or_default()),
        5 => file.truncate(at),
        6 => file.resize((file.len() + count * 512).min(2 * SEGMENT_BYTES), 0),
        _ => disk.remove(segment),
    }
}

fn flip(file: &mut [u8], at: usize, bit: usize) {
    if let Some(byte) = file.get_mut(at) {
        *byte ^= 1 << (bit % 8);
    }
}

/// As much of it as lies inside the file.
fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    let place = file.get_mut(at..).unwrap_or_default();
    let count = bytes.len().min(place.len());
    place[..count].copy_from_slice(&bytes[..count]);
}

/// Makes every checksum right, from the inside out, as far as lengths can be followed.
pub(super) fn seal(disk: &mut Disk) {
    for file in disk.files().values_mut() {
        if let Some(header) = file.get_mut(..BLOCK_BYTES).filter(|block| block.starts_with(b"MgtS")) {
            seal_inside(header, SEGMENT_CHECKSUM_AT);
        }
        for block in (BLOCK_BYTES..file.len()).step_by(BLOCK_BYTES) {
            let length = number_at(file, block + BATCH_LENGTH_AT).unwrap_or(0);
            let batch = file.get_mut(block..).and_then(|rest| rest.get_mut(..length));
            if let Some(batch) = batch.filter(|batch| batch.starts_with(b"MgtB")) {
                seal_records(batch);
                seal_inside(batch, BATCH_CHECKSUM_AT);
            }
        }
    }
}

fn seal_records(batch: &mut [u8]) {
    let list = |(at, bytes): (usize, usize)| number_at(batch, at)?.checked_mul(bytes);
    let lists = BATCH_LISTS_AT.map(list);
    let Some(mut at) = lists.into_iter().try_fold(BATCH_HEADER_BYTES, |sum, list| sum.checked_add(list?)) else {
        return;
    };
    while let Some(length) = number_at(batch, at).filter(|length| *length > 0) {
        let Some(record) = at.checked_add(length).and_then(|end| batch.get_mut(at..end)) else {
            return;
        };
        seal_inside(record, RECORD_CHECKSUM_AT);
        at += length;
    }
}
