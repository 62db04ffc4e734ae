//! A list over many shards: which part to ask for next, and when it is done.
//!
//! Each part is cut to one shard when it is routed; the answer's end, or the cut, is where the next part
//! starts. Each part is consistent in itself; between two parts the store may change.
//!
//! Not here, on purpose: which shard comes next. The routing table knows.

use bytes::Bytes;
use margate_net::limits::LIST_ROWS_MAX;
use margate_net::message::{Consistency, Direction, Operation, Projection, Row};

use crate::api::Page;
use crate::error::ProtocolFault;

/// A list on its way.
#[derive(Debug)]
pub(crate) struct Walk {
    low: Bytes,
    high: Bytes,
    limit: usize,
    direction: Direction,
    projection: Projection,
    consistency: Consistency,
    rows: Vec<Row>,
    bytes: usize,
}

/// What to do after a part.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask for the next part.
    Ask(Walk),
    /// It is done.
    Done(Page),
}

/// The bounds of a part as they were sent, after the cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// First key.
    pub(crate) low: Bytes,
    /// First key after it, empty for none.
    pub(crate) high: Bytes,
}

impl Walk {
    /// A list of at most `limit` rows of `[low, high)`.
    pub(crate) fn new(bounds: Bounds, limit: usize, direction: Direction, projection: Projection, consistency: Consistency) -> Self {
        let Bounds { low, high } = bounds;
        Self {
            low,
            high,
            limit,
            direction,
            projection,
            consistency,
            rows: Vec::new(),
            bytes: 0,
        }
    }

    /// The part to ask for now; routing cuts it to one shard.
    pub(crate) fn part(&self) -> Operation {
        let left = u32::try_from(self.limit.saturating_sub(self.rows.len())).unwrap_or(u32::MAX);
        Operation::List {
            low: self.low.clone(),
            high: self.high.clone(),
            limit: left.clamp(1, LIST_ROWS_MAX),
            direction: self.direction,
            projection: self.projection,
            consistency: self.consistency,
        }
    }

    /// Takes in the answer to a part that was sent with these bounds.
    ///
    /// # Errors
    /// [`ProtocolFault::ListStandsStill`] if the answer would be asked for again and again.
    pub(crate) fn step(mut self, sent: &Bounds, rows: Vec<Row>, resume: Option<Bytes>) -> Result<Step, ProtocolFault> {
        let moves_on = !rows.is_empty() || resume.as_ref().is_none_or(|resume| self.lies_ahead(resume));
        if !moves_on {
            return Err(ProtocolFault::ListStandsStill);
        }
        self.bytes += rows.iter().map(row_bytes).sum::<usize>();
        self.rows.extend(rows);
        let Some(next) = resume.or_else(|| self.after(sent)) else {
            return Ok(Step::Done(self.finish(None)));
        };
        if self.rows.len() >= self.limit || self.bytes >= PAGE_BYTES_MAX {
            return Ok(Step::Done(self.finish(Some(next))));
        }
        match self.direction {
            Direction::Forward => self.low = next,
            Direction::Reverse => self.high = next,
        }
        Ok(Step::Ask(self))
    }

    /// Where the walk goes on behind a part that is exhausted; `None` at the end of the list.
    fn after(&self, sent: &Bounds) -> Option<Bytes> {
        match self.direction {
            Direction::Forward if sent.high == self.high => None,
            Direction::Forward => Some(sent.high.clone()),
            Direction::Reverse if sent.low == self.low => None,
            Direction::Reverse => Some(sent.low.clone()),
        }
    }

    fn lies_ahead(&self, resume: &Bytes) -> bool {
        match self.direction {
            Direction::Forward => *resume > self.low,
            Direction::Reverse => self.high.is_empty() || *resume < self.high,
        }
    }

    fn finish(self, resume: Option<Bytes>) -> Page {
        Page { rows: self.rows, resume }
    }
}

impl Bounds {
    /// Those of a list; an operation on one key has none.
    pub(crate) fn of(operation: Operation) -> Self {
        match operation {
            Operation::List { low, high, .. } => Self { low, high },
            Operation::CompareExchange { .. }
            | Operation::Delete { .. }
            | Operation::Get { .. }
            | Operation::Set { .. }
            | Operation::Size { .. } => Self::default(),
        }
    }

    /// Leaves only the keys that start with `prefix`.
    pub(crate) fn narrow_to_prefix(&mut self, prefix: &Bytes) {
        let end = prefix_end(prefix);
        if self.low < *prefix {
            self.low = prefix.clone();
        }
        if self.high.is_empty() || (!end.is_empty() && end < self.high) {
            self.high = end;
        }
    }
}

/// The smallest key above all keys that start with `prefix`; empty where there is none.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX).map_or(0, |last| last + 1);
    let mut end = prefix.get(..kept).unwrap_or_default().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

fn row_bytes(row: &Row) -> usize {
    row.key.len() + row.value.as_ref().map_or(0, Bytes::len)
}

/// Bytes of keys and values after which a list ends with a resume, whatever its limit; a part may overshoot it.
pub(crate) const PAGE_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests;
