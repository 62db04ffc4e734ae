//! Values that say who wrote them: the attempt, the key, then bytes that follow from both and the seed.
//!
//! Every byte can be computed again, so a value read back is either exactly one attempt's or nobody's.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::workload::keys::mix;

/// Attempt, key and eight bytes that follow from them.
pub(crate) const BYTES_MIN: usize = 24;
/// Bits of an attempt that count; the others name the worker.
const COUNTER_BITS: u32 = 40;

/// One try of one worker to write one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt(u64);

impl Attempt {
    /// The `counter`-th of a worker.
    ///
    /// # Panics
    /// At 2^40 attempts of one worker or 2^24 workers, which no run reaches.
    pub(crate) fn new(worker: usize, counter: usize) -> Self {
        let (worker, counter) = (worker as u64, counter as u64);
        assert!(
            counter >> COUNTER_BITS == 0 && worker >> (64 - COUNTER_BITS) == 0,
            "attempt {counter} of worker {worker} has no name"
        );
        Self((worker << COUNTER_BITS) | counter)
    }

    /// The attempt of this number.
    pub(crate) fn of_number(number: u64) -> Self {
        Self(number)
    }

    /// Its number, another for every attempt; 0 only for the first of worker 0.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Its worker and its number there.
    pub(crate) fn parts(self) -> (usize, usize) {
        let part = |bits: u64| usize::try_from(bits).unwrap_or(usize::MAX);
        (part(self.0 >> COUNTER_BITS), part(self.0 & ((1 << COUNTER_BITS) - 1)))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (worker, counter) = self.parts();
        write!(f, "{worker}:{counter}")
    }
}

/// The values of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    /// Bytes in each, at least [`BYTES_MIN`].
    pub(crate) bytes: usize,
    /// The run's seed.
    pub(crate) seed: u64,
}

impl Values {
    /// What `attempt` writes to key `number`.
    pub(crate) fn make(self, number: u64, attempt: Attempt) -> Bytes {
        let mut value = BytesMut::with_capacity(self.bytes + 8);
        value.put_u64(attempt.0);
        value.put_u64(number);
        let mut filler = mix(self.seed ^ mix(attempt.0 ^ mix(number)));
        while value.len() < self.bytes {
            filler = mix(filler);
            value.put_u64(filler);
        }
        value.truncate(self.bytes);
        value.freeze()
    }

    /// The attempt that wrote this to key `number`; `None` where nobody did.
    pub(crate) fn read(self, number: u64, value: &[u8]) -> Option<Attempt> {
        let attempt = Attempt(u64::from_be_bytes(*value.first_chunk()?));
        (self.make(number, attempt) == value).then_some(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_names_its_attempt_and_no_changed_one_does(
            bytes in BYTES_MIN..600, seed: u64, number: u64, worker in 0usize..1000, counter in 0usize..1_000_000,
            position: proptest::sample::Index, flip in 1u8..,
        ) {
            let values = Values { bytes, seed };
            let attempt = Attempt::new(worker, counter);
            prop_assert_eq!(attempt.parts(), (worker, counter));
            prop_assert_eq!(Attempt::of_number(attempt.number()), attempt);
            let value = values.make(number, attempt);
            prop_assert_eq!(value.len(), bytes);
            prop_assert_eq!(values.read(number, &value), Some(attempt));
            prop_assert_eq!(values.read(number ^ 1, &value), None);
            let mut changed = value.to_vec();
            changed[position.index(bytes)] ^= flip;
            prop_assert_eq!(values.read(number, &changed), None);
        }

        #[test]
        fn arbitrary_bytes_are_nobodys(bytes: Vec<u8>, number: u64) {
            prop_assert_eq!(Values { bytes: 64, seed: 1 }.read(number, &bytes), None);
        }
    }
}
