//! Keys whose bytes ascend, written one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::target::{Failure, Row, Target};
use crate::workload::keys::KEY_BYTES;

/// Stretches of the key space that are written in turn: more than shards, so that all of them are busy, and few enough that
/// neighbours are written soon after each other.
const STRETCHES: u64 = 64;

/// A target that writes keys in their order, each as often as the others, whichever it is asked for.
pub(crate) struct InOrder<T> {
    inner: Arc<T>,
    keys: u64,
    next: AtomicU64,
}

impl<T> InOrder<T> {
    /// Begins with the first of so many keys.
    pub(crate) fn new(inner: Arc<T>, keys: u64) -> Self {
        let next = AtomicU64::new(0);
        Self { inner, keys, next }
    }

    fn next_key(&self) -> Bytes {
        key(self.next.fetch_add(1, Ordering::Relaxed) % self.keys, self.keys)
    }
}

impl<T: Target> Target for InOrder<T> {
    async fn put(&self, worker: usize, _any: Bytes, value: Bytes) -> Result<(), Failure> {
        self.inner.put(worker, self.next_key(), value).await
    }

    async fn get(&self, worker: usize, _any: Bytes) -> Result<Option<Bytes>, Failure> {
        self.inner.get(worker, self.next_key()).await
    }

    async fn scan(&self, worker: usize, _any: Bytes, rows: usize) -> Result<Vec<Row>, Failure> {
        self.inner.scan(worker, self.next_key(), rows).await
    }
}

/// The key of a number: ascending in each stretch, of as many bytes as any other key.
pub(crate) fn key(number: u64, keys: u64) -> Bytes {
    let in_stretch = keys.div_ceil(STRETCHES).max(1);
    let (stretch, place) = (number % STRETCHES, number / STRETCHES);
    let width = u64::MAX / STRETCHES;
    let at = stretch * width + place * (width / in_stretch);
    let mut key = Vec::with_capacity(KEY_BYTES);
    key.extend_from_slice(&at.to_be_bytes());
    key.extend_from_slice(format!("{number:016}").as_bytes());
    key.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_ascend_in_each_stretch_and_fill_the_whole_space() {
        let keys = 10_000;
        let all: Vec<Bytes> = (0..keys).map(|number| key(number, keys)).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 10_000);
        assert!(all.iter().all(|key| key.len() == KEY_BYTES));
        let stretches = usize::try_from(STRETCHES).expect("a few");
        for (one, after) in all.iter().zip(&all[stretches..]) {
            assert!(one < after, "{one:?} {after:?}");
        }
        for quarter in 0..4u8 {
            let in_quarter = all.iter().filter(|key| key[0] / 64 == quarter).count();
            assert!(
                (2_300..=2_700).contains(&in_quarter),
                "quarter {quarter} holds {in_quarter} of 10000"
            );
        }
    }

    #[test]
    fn few_keys_are_keys_too() {
        let all: BTreeSet<Bytes> = (0..3).map(|number| key(number, 3)).collect();
        assert_eq!(all.len(), 3);
    }
}
