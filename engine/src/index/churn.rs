//! What a commit changes of the rows: how much log they need, and in which segments they lie. The latter tells that nothing lives in a
//! segment any more.
//!
//! Not here, on purpose: the sums over commits, which the core keeps for the segments it has written itself.

use std::collections::BTreeMap;

use super::live_bytes::LiveBytes;
use super::row::Row;

/// Rows that point to each segment, more or fewer than before the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Churn(BTreeMap<u32, i64>);

/// What both stores count while they commit: every row that they write, replace or delete.
#[derive(Debug)]
pub struct Count {
    /// Log bytes of all rows there are then.
    pub live: LiveBytes,
    /// How they moved.
    pub churn: Churn,
}

impl Count {
    /// Goes on from the rows there are.
    #[must_use]
    pub fn new(live: LiveBytes) -> Self {
        let churn = Churn::default();
        Self { live, churn }
    }

    /// A row was written.
    pub fn gain(&mut self, key_len: usize, row: &Row) {
        self.live.gain(key_len, row);
        *self.churn.0.entry(row.position.segment).or_default() += 1;
    }

    /// A row was replaced or deleted.
    pub fn lose(&mut self, key_len: usize, row: &Row) {
        self.live.lose(key_len, row);
        *self.churn.0.entry(row.position.segment).or_default() -= 1;
    }
}

impl Churn {
    /// Each segment and how many rows it has more, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i64)> + '_ {
        self.0.iter().map(|(segment, rows)| (*segment, *rows))
    }
}
