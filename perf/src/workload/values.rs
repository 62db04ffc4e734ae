//! Values that do not compress, each written once: who they belong to and a stamp, both mixed, then random bytes
//! that follow from the stamp.
//!
//! They are drawn by a generator that costs the client little and whose state is a cache line: a pool of random bytes
//! to copy from takes the cache away from the servers beside it.

use bytes::{Bytes, BytesMut};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::keys::mix;

/// Bytes that say whose value this is.
const OWNER_BYTES: usize = 8;

/// What chunks are taken from the allocator at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Memory that values share, so that whoever makes many takes it from the allocator once for hundreds, and gives it back so.
#[derive(Default)]
pub(crate) struct Chunk {
    free: BytesMut,
}

impl Chunk {
    fn take(&mut self, bytes: usize) -> BytesMut {
        if self.free.capacity() < bytes {
            self.free = BytesMut::with_capacity(bytes.max(CHUNK_BYTES));
        }
        self.free.resize(bytes, 0);
        self.free.split()
    }
}

/// Makes and checks values of one size.
pub(crate) struct Values {
    bytes: usize,
}

impl Values {
    /// Values of `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    /// Bytes in each value.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A value of key `number`; distinct stamps make distinct values, from 16 bytes on.
    pub(crate) fn make(&self, number: u64, stamp: u64) -> Bytes {
        self.fill(BytesMut::zeroed(self.room()), number, stamp)
    }

    /// The same in memory of a chunk.
    pub(crate) fn make_in(&self, chunk: &mut Chunk, number: u64, stamp: u64) -> Bytes {
        self.fill(chunk.take(self.room()), number, stamp)
    }

    /// Bytes in which a value is made.
    fn room(&self) -> usize {
        self.bytes.max(2 * OWNER_BYTES)
    }

    fn fill(&self, mut value: BytesMut, number: u64, stamp: u64) -> Bytes {
        let stamp = mix(stamp);
        let (owner, rest) = value.split_at_mut(OWNER_BYTES);
        owner.copy_from_slice(&mix(number).to_be_bytes());
        let (stamped, random) = rest.split_at_mut(OWNER_BYTES);
        stamped.copy_from_slice(&stamp.to_be_bytes());
        Xoshiro256PlusPlus::seed_from_u64(stamp).fill_bytes(random);
        value.truncate(self.bytes);
        value.freeze()
    }

    /// Whether this is a value of key `number`.
    pub(crate) fn belongs_to(&self, number: u64, value: &[u8]) -> bool {
        let owner = mix(number).to_be_bytes();
        let known = OWNER_BYTES.min(self.bytes);
        value.len() == self.bytes && value.get(..known) == owner.get(..known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_has_its_size_and_belongs_to_its_key_alone(bytes in 0usize..5000, number: u64, stamp: u64) {
            let values = Values::new(bytes);
            let value = values.make(number, stamp);
            prop_assert_eq!(value.len(), bytes);
            prop_assert!(values.belongs_to(number, &value));
            prop_assert!(bytes < OWNER_BYTES || !values.belongs_to(number ^ 1, &value));
            prop_assert!(!values.belongs_to(number, &[&value[..], &[0]].concat()));
            prop_assert_eq!(values.make_in(&mut Chunk::default(), number, stamp), value);
        }
    }

    #[test]
    fn values_that_share_a_chunk_stay_as_they_were_made() {
        let (values, mut chunk) = (Values::new(1_000), Chunk::default());
        let numbers = 0..(3 * CHUNK_BYTES / 1_000) as u64;
        let made: Vec<Bytes> = numbers.clone().map(|number| values.make_in(&mut chunk, number, number)).collect();
        assert!(numbers.zip(made).all(|(number, value)| value == values.make(number, number)));
    }

    #[test]
    fn two_stamps_make_two_values_with_nothing_in_common() {
        let values = Values::new(4_096);
        let (one, other) = (values.make(1, 1), values.make(1, 2));
        let pieces: std::collections::HashSet<&[u8]> = one.windows(4).collect();
        assert!(other.windows(4).skip(OWNER_BYTES).all(|piece| !pieces.contains(piece)));
    }

    #[test]
    fn every_byte_is_about_as_frequent_as_the_others() {
        let values = Values::new(1 << 16);
        let mut counts = [0u32; 256];
        for byte in values.make(1, 1) {
            counts[usize::from(byte)] += 1;
        }
        assert!(counts.iter().all(|count| (150..400).contains(count)), "{counts:?}");
    }
}
