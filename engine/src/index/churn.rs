//! How a commit moved rows from segment to segment of the log: what tells that nothing lives in a segment any more.
//!
//! Not here, on purpose: the sums, which the core keeps for the segments it has written itself.

use std::collections::BTreeMap;

use super::row::Row;

/// Rows that point to each segment, more or fewer than before the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Churn(BTreeMap<u32, i64>);

impl Churn {
    /// A row was written.
    pub fn gain(&mut self, row: &Row) {
        *self.0.entry(row.position.segment).or_default() += 1;
    }

    /// A row was replaced or deleted.
    pub fn lose(&mut self, row: &Row) {
        *self.0.entry(row.position.segment).or_default() -= 1;
    }

    /// Each segment and how many rows it has more, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i64)> + '_ {
        self.0.iter().map(|(segment, rows)| (*segment, *rows))
    }
}
