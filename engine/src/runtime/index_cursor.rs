//! Going through the rows of LMDB in order, to write each where it belongs: what lies near the row before is reached step by step, which
//! costs a fraction of a descent of the tree.
//!
//! Not here, on purpose: what rows mean, and beginning anew where the next one lies far off; both are the store's.

use std::cmp::Ordering;
use std::ops::Bound;

use heed::types::Bytes as Raw;
use heed::{MdbError, PutFlags, RwRange, RwTxn};

use super::index_store::Table;

/// Rows passed by before a descent is cheaper: a step costs about a tenth of one.
const STEPS_MAX: u32 = 8;
/// Searches in vain after which as many steps are tried again: so they cost a fraction of a step each.
const VAIN_MAX: u32 = 64;

/// Where keys are looked for in ascending order.
pub(super) struct RowCursor<'txn> {
    range: RwRange<'txn, Raw, Raw>,
    at: At<'txn>,
    /// Whether nothing was looked for yet.
    fresh: bool,
}

/// How many rows are passed by for the next key: fewer where that was in vain, more where it was not, and all again now and then, since
/// what lies far apart here may be dense further on. At least one.
pub(super) struct Reach {
    steps: u32,
    /// Times that it was too short.
    vain: u32,
}

/// What a key's search came to.
pub(super) enum Found<'txn> {
    /// It has this row.
    Row(&'txn [u8]),
    /// It has none.
    Nothing,
    /// It lies so far ahead that a new cursor, begun at it, is there sooner.
    Far,
}

/// A key and its row, away from the tree.
pub(super) type OwnedRow = (Vec<u8>, Vec<u8>);

enum At<'txn> {
    /// Before whatever a step finds: nothing was read yet, or something was written since.
    Next,
    /// A key and its row; borrowed from LMDB's pages, so dropped before anything is written.
    Row(&'txn [u8], &'txn [u8]),
    /// Behind the last row.
    End,
}

impl Reach {
    /// As far as is ever worth it.
    pub(super) const fn new() -> Self {
        Self { steps: STEPS_MAX, vain: 0 }
    }

    fn was_enough(&mut self) {
        self.steps = STEPS_MAX.min(2 * self.steps);
    }

    fn was_too_short(&mut self) {
        self.vain = self.vain.wrapping_add(1);
        self.steps = if self.vain.is_multiple_of(VAIN_MAX) {
            STEPS_MAX
        } else {
            (self.steps / 2).max(1)
        };
    }
}

impl<'txn> RowCursor<'txn> {
    /// Begins at a key: it is not [`Found::Far`].
    pub(super) fn begin(table: Table, txn: &'txn mut RwTxn<'_>, key: &[u8]) -> Result<Self, heed::Error> {
        let range = table.range_mut(txn, &(Bound::Included(key), Bound::Unbounded))?;
        let (at, fresh) = (At::Next, true);
        Ok(Self { range, at, fresh })
    }

    /// Looks for a key above all those it has looked for before.
    pub(super) fn find(&mut self, key: &[u8], reach: &mut Reach) -> Result<Found<'_>, heed::Error> {
        let fresh = std::mem::take(&mut self.fresh);
        for left in (0..=reach.steps).rev() {
            let order = match self.at {
                At::Next => Ordering::Less,
                At::Row(there, _) => there.cmp(key),
                At::End => Ordering::Greater,
            };
            if order.is_ge() {
                if !fresh {
                    reach.was_enough();
                }
                return Ok(match self.at {
                    At::Row(_, row) if order.is_eq() => Found::Row(row),
                    At::Row(..) | At::Next | At::End => Found::Nothing,
                });
            }
            if fresh && matches!(self.at, At::Row(..)) {
                // It began at the first row that is not below the key; in a tree whose pages stand in order there is no other.
                return Err(MdbError::Corrupted.into());
            }
            if left > 0 {
                self.step()?;
            }
        }
        reach.was_too_short();
        Ok(Found::Far)
    }

    /// Writes a row: that of the key that was looked for last, or one behind it and behind what was written since.
    pub(super) fn put(&mut self, key: &[u8], row: &[u8]) -> Result<(), heed::Error> {
        self.at = At::Next;
        // SAFETY: nothing borrowed from the database is left: `at` was the only such borrow, for what `find` gives lives no longer than its
        // borrow of this. Key and row are the caller's own: nothing else gives bytes of the database out while this has the transaction.
        // The key need not be the one the cursor is at: without `MDB_CURRENT` LMDB looks it up.
        unsafe { self.range.put_current_with_options::<Raw>(PutFlags::empty(), key, row) }
    }

    /// The key of the first row behind the one that was looked for last and not found, if there is one.
    pub(super) fn next_key(&self) -> Option<&[u8]> {
        match self.at {
            At::Row(key, _) => Some(key),
            At::Next | At::End => None,
        }
    }

    /// How many rows lie in the page of [`RowCursor::next_key`] from there on. A guess where the page was written since the transaction began,
    /// for LMDB keeps such pages anywhere in memory.
    pub(super) fn rest_of_page(mut self, page_bytes: usize) -> Result<usize, heed::Error> {
        let page = |key: &[u8]| key.as_ptr().addr() / page_bytes;
        let (first, mut rows) = (self.next_key().map(page), 0);
        while self.next_key().map(page) == first && first.is_some() {
            rows += 1;
            self.step()?;
        }
        Ok(rows)
    }

    /// Takes rows out of the tree, up to so many, beginning with that of [`RowCursor::next_key`].
    pub(super) fn lift(&mut self, rows_max: usize) -> Result<Vec<OwnedRow>, heed::Error> {
        let mut lifted = Vec::with_capacity(rows_max);
        while let At::Row(key, row) = self.at
            && lifted.len() < rows_max
        {
            lifted.push((key.to_vec(), row.to_vec()));
            self.delete()?;
            self.step()?;
        }
        Ok(lifted)
    }

    /// Deletes the row that was found last.
    ///
    /// # Panics
    /// When nothing was found, or it was written since.
    pub(super) fn delete(&mut self) -> Result<(), heed::Error> {
        assert!(matches!(self.at, At::Row(..)), "only what was found is deleted");
        self.at = At::Next;
        // SAFETY: as in `put`.
        let deleted = unsafe { self.range.del_current() }?;
        if deleted { Ok(()) } else { Err(MdbError::Corrupted.into()) }
    }

    fn step(&mut self) -> Result<(), heed::Error> {
        self.at = match self.range.next().transpose()? {
            Some((key, row)) => At::Row(key, row),
            None => At::End,
        };
        Ok(())
    }
}

#[cfg(test)]
#[path = "index_cursor_tests.rs"]
mod tests;
