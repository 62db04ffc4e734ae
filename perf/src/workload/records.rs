//! Which keys of a system are there: those loaded, and those inserted since.
//!
//! An insert takes the next number. Keys that are drawn because they are new must be there already, so what counts is
//! how far inserts are acknowledged without a gap. One that failed leaves its number to the next insert.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The keys of one system, shared by all workers.
pub(crate) struct Records {
    present: AtomicU64,
    inserts: Mutex<Inserts>,
}

#[derive(Debug)]
struct Inserts {
    next: u64,
    /// Numbers whose insert failed.
    again: Vec<u64>,
    /// Acknowledged above a gap: never more than were under way when the gap's own insert began.
    above_gap: BTreeSet<u64>,
}

impl Records {
    /// So many are loaded, from number 0 on.
    pub(crate) fn loaded(keys: u64) -> Self {
        Self {
            present: AtomicU64::new(keys),
            inserts: Mutex::new(Inserts {
                next: keys,
                again: Vec::new(),
                above_gap: BTreeSet::new(),
            }),
        }
    }

    /// All numbers below this are there.
    pub(crate) fn present(&self) -> u64 {
        self.present.load(Ordering::Relaxed)
    }

    /// The number of an insert that begins. It ends in [`Self::inserted`] or [`Self::failed`].
    pub(crate) fn begin_insert(&self) -> u64 {
        let mut inserts = self.inserts();
        inserts.again.pop().unwrap_or_else(|| {
            inserts.next += 1;
            inserts.next - 1
        })
    }

    /// It was acknowledged.
    pub(crate) fn inserted(&self, number: u64) {
        let mut inserts = self.inserts();
        inserts.above_gap.insert(number);
        let mut present = self.present();
        while inserts.above_gap.remove(&present) {
            present += 1;
        }
        self.present.store(present, Ordering::Relaxed);
    }

    /// It was not, whatever it did.
    pub(crate) fn failed(&self, number: u64) {
        self.inserts().again.push(number);
    }

    fn inserts(&self) -> MutexGuard<'_, Inserts> {
        self.inserts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_acknowledged_without_a_gap_is_there() {
        let records = Records::loaded(10);
        let begun: Vec<u64> = (0..3).map(|_| records.begin_insert()).collect();
        assert_eq!((begun, records.present()), (vec![10, 11, 12], 10));
        records.inserted(11);
        assert_eq!(records.present(), 10, "10 is still under way");
        records.inserted(10);
        assert_eq!(records.present(), 12);
        records.inserted(12);
        assert_eq!(records.present(), 13);
    }

    #[test]
    fn the_number_of_an_insert_that_failed_is_taken_again() {
        let records = Records::loaded(0);
        assert_eq!((records.begin_insert(), records.begin_insert()), (0, 1));
        records.failed(0);
        records.inserted(1);
        assert_eq!(records.present(), 0);
        assert_eq!((records.begin_insert(), records.begin_insert()), (0, 2));
        records.inserted(0);
        assert_eq!(records.present(), 2);
    }
}
