//! A generation's rows, in key order, into the tree.
//!
//! What lies near the row before is reached step by step (`index_cursor`). New rows in long runs are packed. LMDB halves a full page, unless
//! the new row comes behind all of its rows: then it begins a new page, and the full one stays full. A run that ends before other rows
//! would so leave half-filled pages behind. So the rows that follow it in its page are lifted from the tree, the run is written behind all others
//! of the page, and what was lifted is put back behind it.
//!
//! Not here, on purpose: the transaction, and marks (`index_store`).

use std::collections::VecDeque;

use heed::RwTxn;
use margate_net::ids::Space;

use super::index_cursor::{Found, Reach, RowCursor};
use super::index_reader::decode_row;
use super::index_store::{Table, failed};
use crate::index::churn::Count;
use crate::index::row::{Row, Slot, index_key_into};
use crate::index::{IndexError, Overlay};

/// New rows between two of the tree that are worth lifting others: some pages.
const RUN_ROWS_MIN: usize = 192;

/// Writes a generation's rows. `step` is called after each of them with how many are done.
///
/// # Errors
/// [`IndexError`]: LMDB's, a damaged row, or what `step` says.
pub(super) fn write(
    table: Table,
    txn: &mut RwTxn<'_>,
    rows: &Overlay,
    count: &mut Count,
    step: impl FnMut(usize) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let mut writing = Writing {
        rows: rows.iter(),
        ahead: VecDeque::new(),
        written: 0,
        key: Vec::new(),
        key_ahead: Vec::new(),
        reach: Reach::new(),
        count,
        step,
    };
    let page_bytes = table.stat(txn).map_err(failed("looking at the tree"))?.page_size as usize;
    while let Some(first) = writing.look(0) {
        writing.make_key(first);
        let looking = failed("looking for a row");
        let mut cursor = RowCursor::begin(table, txn, &writing.key).map_err(&looking)?;
        match writing.write_near(&mut cursor)? {
            Next::Anew => {}
            Next::Run => {
                let rows = cursor.rest_of_page(page_bytes).map_err(&looking)?;
                let mut cursor = RowCursor::begin(table, txn, &writing.key).map_err(&looking)?;
                writing.write_run(&mut cursor, rows)?;
            }
        }
    }
    Ok(())
}

/// What comes after some rows.
enum Next {
    /// A row far off, or none.
    Anew,
    /// A run of new ones.
    Run,
}

/// A key and what becomes of it.
type Change<'a> = (Space, &'a [u8], &'a Slot);

/// Rows still to be written, and what their writing needs.
struct Writing<'a, 'c, I, S> {
    rows: I,
    /// Those that were looked at and not written.
    ahead: VecDeque<Change<'a>>,
    written: usize,
    /// The index key of the first of them, and of one further on.
    key: Vec<u8>,
    key_ahead: Vec<u8>,
    reach: Reach,
    count: &'c mut Count,
    step: S,
}

impl<'a, I, S> Writing<'a, '_, I, S>
where
    I: Iterator<Item = Change<'a>>,
    S: FnMut(usize) -> Result<(), IndexError>,
{
    /// Writes rows until one lies far off or a run begins.
    fn write_near(&mut self, cursor: &mut RowCursor<'_>) -> Result<Next, IndexError> {
        while let Some(row) = self.look(0) {
            let (space, user_key, slot) = row;
            self.make_key(row);
            let there = match cursor.find(&self.key, &mut self.reach).map_err(failed("looking for a row"))? {
                Found::Far => break,
                Found::Nothing => false,
                Found::Row(old) => {
                    self.count.lose(user_key.len(), &decode_row(space, old)?);
                    true
                }
            };
            if !there && self.begins_run(cursor) {
                return Ok(Next::Run);
            }
            match slot {
                Slot::Put(new) => self.put(cursor, user_key, new)?,
                Slot::Deleted(_) if there => cursor.delete().map_err(failed("deleting a row"))?,
                Slot::Deleted(_) => {}
            }
            self.pass()?;
        }
        Ok(Next::Anew)
    }

    /// Whether many new rows come before the next one of the tree. Behind the last one they are packed as they are.
    fn begins_run(&mut self, cursor: &RowCursor<'_>) -> bool {
        let (Some(next), Some((space, user_key, _))) = (cursor.next_key(), self.look(RUN_ROWS_MIN - 1)) else {
            return false;
        };
        index_key_into(space, user_key, &mut self.key_ahead);
        self.key_ahead[..] < *next
    }

    /// Writes new rows as far as the next one of the tree, which is lifted with those that follow it in its page.
    fn write_run(&mut self, cursor: &mut RowCursor<'_>, lifted: usize) -> Result<(), IndexError> {
        let lifting = failed("lifting rows");
        cursor.find(&self.key, &mut self.reach).map_err(&lifting)?;
        let lifted = cursor.lift(lifted).map_err(&lifting)?;
        while let (Some(row), Some((end, _))) = (self.look(0), lifted.first()) {
            let (_, user_key, slot) = row;
            self.make_key(row);
            if self.key >= *end {
                break;
            }
            match slot {
                Slot::Put(new) => self.put(cursor, user_key, new)?,
                Slot::Deleted(_) => {}
            }
            self.pass()?;
        }
        let mut put_back = lifted.iter();
        put_back
            .try_for_each(|(key, row)| cursor.put(key, row))
            .map_err(failed("putting rows back"))
    }

    /// Writes the row of the first key.
    fn put(&mut self, cursor: &mut RowCursor<'_>, user_key: &[u8], row: &Row) -> Result<(), IndexError> {
        cursor.put(&self.key, &row.encode()).map_err(failed("writing a row"))?;
        self.count.gain(user_key.len(), row);
        Ok(())
    }

    /// The first of the rows to be written is done.
    fn pass(&mut self) -> Result<(), IndexError> {
        self.ahead.pop_front();
        self.written += 1;
        (self.step)(self.written)
    }

    /// The row that comes after so many others.
    fn look(&mut self, after: usize) -> Option<Change<'a>> {
        let missing = (after + 1).saturating_sub(self.ahead.len());
        self.ahead.extend(self.rows.by_ref().take(missing));
        self.ahead.get(after).copied()
    }

    fn make_key(&mut self, (space, user_key, _): Change<'a>) {
        index_key_into(space, user_key, &mut self.key);
    }
}

#[cfg(test)]
#[path = "index_rows_tests.rs"]
mod tests;
