//! The core's view of LMDB: one read transaction, kept open and renewed after each commit.
//!
//! Reads go through the map and may fault a page in on the core; that is why the index is small beside memory.

use std::fmt;

use heed::{Env, RoTxn, WithoutTls};
use margate_net::ids::{LogIndex, Space};
use margate_net::message::Direction;

use super::index_store::{Tables, failed};
use crate::index::live_bytes::{LIVE_BYTES_KEY, LiveBytes};
use crate::index::marks::{self, CORE_KEY, MetaItem, REPLICA_PREFIX};
use crate::index::row::{Row, RowError, index_key, space_bounds, split_index_key, user_key};
use crate::index::store::Visit;
use crate::index::{CoreMarks, IndexError, IndexReader, ReplicaMarks};
use crate::types::{Position, ReplicaName};

/// Gets each row by its index key, or why its bytes are none.
pub type VisitRow<'a> = dyn FnMut(&[u8], Result<Row, RowError>) + 'a;
/// Gets each entry noted and the batch it lies in, or why its bytes say neither.
pub type VisitPosition<'a> = dyn FnMut(Result<(ReplicaName, LogIndex, Position), IndexError>) + 'a;

/// Reads the generation it saw last.
pub struct HeedReader {
    env: Env<WithoutTls>,
    tables: Tables,
    txn: RoTxn<'static, WithoutTls>,
}

impl HeedReader {
    pub(super) fn new(env: &Env<WithoutTls>, tables: Tables) -> Result<Self, IndexError> {
        Ok(Self {
            env: env.clone(),
            tables,
            txn: read_txn(env)?,
        })
    }

    /// Bytes of the whole map, the store's capacity.
    #[must_use]
    pub fn map_bytes(&self) -> u64 {
        self.env.info().map_size as u64
    }

    /// How many rows there are, of all spaces.
    ///
    /// # Errors
    /// When the store fails.
    pub fn rows(&self) -> Result<u64, IndexError> {
        self.tables.latest.len(&self.txn).map_err(failed("counting rows"))
    }

    /// Shows every row of every space by its index key, also those that make no sense.
    ///
    /// # Errors
    /// When the store fails.
    pub fn visit_rows(&self, visit: &mut VisitRow<'_>) -> Result<(), IndexError> {
        for entry in self.tables.latest.iter(&self.txn).map_err(failed("scanning"))? {
            let (key, row) = entry.map_err(failed("scanning"))?;
            visit(key, Row::decode(row));
        }
        Ok(())
    }

    /// Shows where the batches of some entries lie, ordered by replica and entry; each as the index says, or why it says nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub fn visit_positions(&self, visit: &mut VisitPosition<'_>) -> Result<(), IndexError> {
        for entry in self.tables.positions.iter(&self.txn).map_err(failed("reading positions"))? {
            let (key, value) = entry.map_err(failed("reading positions"))?;
            visit(marks::decode_position(key, value));
        }
        Ok(())
    }
}

impl IndexReader for HeedReader {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Row>, IndexError> {
        let found = self
            .tables
            .latest
            .get(&self.txn, &index_key(space, key))
            .map_err(failed("reading a row"))?;
        found.map(|row| decode_row(space, row)).transpose()
    }

    fn scan(&self, space: Space, low: &[u8], high: &[u8], direction: Direction, visit: &mut Visit<'_>) -> Result<(), IndexError> {
        if !high.is_empty() && low >= high {
            return Ok(());
        }
        let (first, end) = space_bounds(space, low, high);
        let range = (first.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
        let latest = &self.tables.latest;
        match direction {
            Direction::Forward => walk(space, latest.range(&self.txn, &range).map_err(failed("scanning"))?, visit),
            Direction::Reverse => walk(space, latest.rev_range(&self.txn, &range).map_err(failed("scanning"))?, visit),
        }
    }

    fn core_marks(&self) -> Result<Option<CoreMarks>, IndexError> {
        let found = self.tables.meta.get(&self.txn, &CORE_KEY).map_err(failed("reading marks"))?;
        found.map(CoreMarks::decode).transpose()
    }

    fn replica_marks(&self) -> Result<Vec<ReplicaMarks>, IndexError> {
        let found = self
            .tables
            .meta
            .prefix_iter(&self.txn, &REPLICA_PREFIX)
            .map_err(failed("reading marks"))?;
        found
            .map(|entry| {
                let (key, value) = entry.map_err(failed("reading marks"))?;
                ReplicaMarks::decode(key, value)
            })
            .collect()
    }

    fn entry_position(&self, name: ReplicaName, at_or_below: LogIndex) -> Result<Option<(LogIndex, Position)>, IndexError> {
        let key = marks::position_key(name, at_or_below);
        let found = self.tables.positions.get_lower_than_or_equal_to(&self.txn, &key);
        let Some((key, value)) = found.map_err(failed("reading a position"))? else {
            return Ok(None);
        };
        let (owner, index, position) = marks::decode_position(key, value)?;
        Ok((owner == name).then_some((index, position)))
    }

    fn bytes_used(&self) -> Result<u64, IndexError> {
        self.tables.bytes_used(&self.txn)
    }

    fn spaces(&self) -> Result<Vec<Space>, IndexError> {
        let mut spaces = Vec::new();
        let mut next = Some(Space(0));
        while let Some(from) = next {
            let first = index_key(from, b"");
            let found = self.tables.latest.get_greater_than_or_equal_to(&self.txn, &first);
            let Some((key, _)) = found.map_err(failed("looking for spaces"))? else {
                break;
            };
            let (space, _) = split_index_key(key).ok_or(IndexError::DamagedMeta { item: MetaItem::RowKey })?;
            spaces.push(space);
            next = space.0.checked_add(1).map(Space);
        }
        Ok(spaces)
    }

    fn live_bytes(&self) -> Result<u64, IndexError> {
        let found = self
            .tables
            .meta
            .get(&self.txn, &LIVE_BYTES_KEY)
            .map_err(failed("reading live bytes"))?;
        Ok(found.map(LiveBytes::decode).transpose()?.unwrap_or_default().0)
    }

    fn fork(&self) -> Result<Self, IndexError> {
        Self::new(&self.env, self.tables)
    }

    fn refresh(&mut self) -> Result<(), IndexError> {
        self.txn = read_txn(&self.env)?;
        Ok(())
    }
}

impl fmt::Debug for HeedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeedReader")
            .field("env", &self.env)
            .field("transaction", &self.txn.id())
            .finish_non_exhaustive()
    }
}

fn read_txn(env: &Env<WithoutTls>) -> Result<RoTxn<'static, WithoutTls>, IndexError> {
    env.clone().static_read_txn().map_err(failed("beginning to read"))
}

pub(super) fn decode_row(space: Space, bytes: &[u8]) -> Result<Row, IndexError> {
    Row::decode(bytes).map_err(|source| IndexError::DamagedRow { space, source })
}

fn walk<'t>(
    space: Space,
    rows: impl Iterator<Item = Result<(&'t [u8], &'t [u8]), heed::Error>>,
    visit: &mut Visit<'_>,
) -> Result<(), IndexError> {
    for entry in rows {
        let (key, row) = entry.map_err(failed("scanning"))?;
        let row = decode_row(space, row)?;
        // Every key in the range begins with the space.
        let Some(key) = user_key(key) else { continue };
        if visit(key, row).is_break() {
            break;
        }
    }
    Ok(())
}
