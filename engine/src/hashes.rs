//! Hashes of several values at a time.
//!
//! BLAKE3 works on one value at a time as fast as one chain of rounds goes, and on up to sixteen side by side in about the time of two: CPUs
//! have the registers for it. The crate does so for the chunks of one long value. [`of_equal_length`] has it take a short value for each chunk,
//! which is what a value of one chunk is: the first block is flagged as a start, the last as an end and a root (BLAKE3 paper, section 2.1 and
//! table 3).
//!
//! What it calls is public in the crate and left out of its documentation, for values of whole blocks only. Others, and longer ones, are hashed
//! one by one. A test compares all lengths.

use blake3::platform::Platform;
use blake3::{BLOCK_LEN, IncrementCounter, OUT_LEN};

use crate::types::ValueHash;

/// Values hashed side by side: as many as the widest registers take.
pub(crate) const LANES: usize = 16;

/// The initial chaining value: that of SHA-256 (paper, table 1).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// Flags of blocks (paper, table 3).
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;

/// The hashes of up to [`LANES`] values of one length, in their order.
///
/// # Panics
/// If there are more, or one has another length.
pub(crate) fn of_equal_length(values: &[&[u8]], out: &mut [ValueHash; LANES]) {
    assert!(values.len() <= LANES, "{} values for {LANES} lanes", values.len());
    let length = values.first().map_or(0, |value| value.len());
    assert!(values.iter().all(|value| value.len() == length), "values of several lengths");
    match length.div_ceil(BLOCK_LEN) {
        _ if !length.is_multiple_of(BLOCK_LEN) => one_by_one(values, out),
        1 => side_by_side::<BLOCK_LEN>(values, out),
        2 => side_by_side::<{ 2 * BLOCK_LEN }>(values, out),
        3 => side_by_side::<{ 3 * BLOCK_LEN }>(values, out),
        4 => side_by_side::<{ 4 * BLOCK_LEN }>(values, out),
        5 => side_by_side::<{ 5 * BLOCK_LEN }>(values, out),
        6 => side_by_side::<{ 6 * BLOCK_LEN }>(values, out),
        7 => side_by_side::<{ 7 * BLOCK_LEN }>(values, out),
        8 => side_by_side::<{ 8 * BLOCK_LEN }>(values, out),
        9 => side_by_side::<{ 9 * BLOCK_LEN }>(values, out),
        10 => side_by_side::<{ 10 * BLOCK_LEN }>(values, out),
        11 => side_by_side::<{ 11 * BLOCK_LEN }>(values, out),
        12 => side_by_side::<{ 12 * BLOCK_LEN }>(values, out),
        13 => side_by_side::<{ 13 * BLOCK_LEN }>(values, out),
        14 => side_by_side::<{ 14 * BLOCK_LEN }>(values, out),
        15 => side_by_side::<{ 15 * BLOCK_LEN }>(values, out),
        16 => side_by_side::<{ 16 * BLOCK_LEN }>(values, out),
        _ => one_by_one(values, out),
    }
}

fn one_by_one(values: &[&[u8]], out: &mut [ValueHash; LANES]) {
    for (value, hash) in values.iter().zip(out) {
        *hash = ValueHash::of(value);
    }
}

fn side_by_side<const BYTES: usize>(values: &[&[u8]], out: &mut [ValueHash; LANES]) {
    let mut inputs = [&[0; BYTES]; LANES];
    for (input, value) in inputs.iter_mut().zip(values) {
        *input = value.first_chunk().expect("its length was looked at");
    }
    let (inputs, mut digests) = (&inputs[..values.len()], [0; LANES * OUT_LEN]);
    let (counter, flags, last) = (0, 0, CHUNK_END | ROOT);
    Platform::detect().hash_many(
        inputs,
        &INITIAL,
        counter,
        IncrementCounter::No,
        flags,
        CHUNK_START,
        last,
        &mut digests,
    );
    for (hash, digest) in out.iter_mut().zip(digests.as_chunks::<OUT_LEN>().0) {
        *hash = ValueHash::begin_of(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_side_by_side_have_the_hashes_they_have_alone() {
        // Beyond a chunk, and where numbers of blocks change.
        let lengths = (0..=BLOCK_LEN).chain((BLOCK_LEN..=1_200).step_by(8)).chain([1_023, 1_025, 4_096]);
        for length in lengths {
            let values: Vec<Vec<u8>> = (0..LANES)
                .map(|lane| (0..length).map(|at| (at * 7 + lane * 31).to_le_bytes()[0]).collect())
                .collect();
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            for lanes in [0, 1, 2, 5, 8, 11, LANES] {
                let mut out = [ValueHash::default(); LANES];
                of_equal_length(&values[..lanes], &mut out);
                let alone: Vec<ValueHash> = values[..lanes].iter().map(|value| ValueHash::of(value)).collect();
                assert_eq!(out[..lanes], alone, "{lanes} values of {length} bytes");
            }
        }
    }

    #[test]
    #[should_panic(expected = "several lengths")]
    fn values_of_two_lengths_are_not_taken() {
        of_equal_length(&[b"one", b"other"], &mut [ValueHash::default(); LANES]);
    }
}
