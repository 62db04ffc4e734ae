//! Values that do not compress, each written once: who they belong to and a stamp, both mixed, then a
//! slice of a pool of random bytes.
//!
//! The pool keeps the client cheap: a value costs one copy, not one throw of the dice per byte.

use bytes::{BufMut, Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::keys::mix;

/// Bytes in the pool beyond one value: far more than any compressor's window of a block.
const POOL_BYTES: usize = 4 << 20;
/// Bytes that say whose value this is.
const OWNER_BYTES: usize = 8;

/// Makes and checks values of one size.
pub(crate) struct Values {
    pool: Vec<u8>,
    bytes: usize,
}

impl Values {
    /// Values of `bytes` bytes.
    pub(crate) fn new(bytes: usize, seed: u64) -> Self {
        let mut pool = vec![0; POOL_BYTES + bytes];
        StdRng::seed_from_u64(seed).fill_bytes(&mut pool);
        Self { pool, bytes }
    }

    /// Bytes in each value.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A value of key `number`; distinct stamps make distinct values, from 16 bytes on.
    pub(crate) fn make(&self, number: u64, stamp: u64, offset: u32) -> Bytes {
        let mut value = BytesMut::with_capacity(self.bytes.max(2 * OWNER_BYTES));
        value.put_u64(mix(number));
        value.put_u64(mix(stamp));
        let offset = offset as usize % POOL_BYTES;
        value.extend_from_slice(&self.pool[offset..offset + self.bytes.saturating_sub(2 * OWNER_BYTES)]);
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
        fn a_value_has_its_size_and_belongs_to_its_key_alone(bytes in 0usize..5000, number: u64, stamp: u64, offset: u32) {
            let values = Values { pool: vec![7; POOL_BYTES + bytes], bytes };
            let value = values.make(number, stamp, offset);
            prop_assert_eq!(value.len(), bytes);
            prop_assert!(values.belongs_to(number, &value));
            prop_assert!(bytes < OWNER_BYTES || !values.belongs_to(number ^ 1, &value));
            prop_assert!(!values.belongs_to(number, &[&value[..], &[0]].concat()));
        }
    }

    #[test]
    fn two_stamps_make_two_values_even_at_the_same_place_of_the_pool() {
        let values = Values::new(256, 1);
        assert_ne!(values.make(1, 1, 9), values.make(1, 2, 9));
    }

    #[test]
    fn every_byte_is_about_as_frequent_as_the_others() {
        let values = Values::new(1 << 16, 1);
        let mut counts = [0u32; 256];
        for byte in values.make(1, 1, 0) {
            counts[usize::from(byte)] += 1;
        }
        assert!(counts.iter().all(|count| (150..400).contains(count)), "{counts:?}");
    }
}
