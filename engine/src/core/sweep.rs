//! Before a segment goes whose damage has taken values: whatever the index still points to there is to be mended first.
//!
//! The index is passed through in bounded steps. A row that points into an old segment has done so all the while, for pointers move
//! only to the log's end: a pass that finds none proves that there is none.
//!
//! Not here, on purpose: mending (`repair`), everything else a segment holds (`reclaim`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use margate_net::ids::ShardId;
use margate_net::message::Direction;

use super::machine::Running;
use super::repair::{Lost, Repairs};
use crate::index::error::IndexError;
use crate::index::store::IndexReader;
use crate::index::view::{Index, first_key_after};
use crate::limits;
use crate::types::Nanos;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Sweep {
    segment: u32,
    /// The shard that is being looked through, and its last key that was looked at.
    at: (ShardId, Option<Bytes>),
    /// Rows found in this pass.
    found: u64,
    /// When the next pass begins, and how long the rest after it is.
    rests_until: Option<Nanos>,
    rest: Nanos,
}

impl Sweep {
    /// Before the first pass.
    pub(super) fn new(segment: u32) -> Self {
        Self {
            segment,
            at: (ShardId(0), None),
            found: 0,
            rests_until: None,
            rest: limits::REPAIR_REST,
        }
    }

    /// Whether a turn without an event would get it further.
    pub(super) fn is_hungry(&self) -> bool {
        self.rests_until.is_none()
    }

    /// One bounded step. Whether the index points nowhere into the segment any more.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    pub(super) fn step<R: IndexReader>(
        &mut self,
        now: Nanos,
        index: &Index<R>,
        running: &BTreeMap<ShardId, Running>,
        repairs: &mut Repairs,
    ) -> Result<bool, IndexError> {
        if self.rests_until.is_some_and(|until| now < until) {
            return Ok(false);
        }
        self.rests_until = None;
        let Some((shard, one)) = running.range(self.at.0..).next() else {
            return Ok(self.end_pass(now));
        };
        if *shard != self.at.0 {
            self.at = (*shard, None);
        }
        let owned = one.replica.owned();
        let low = self.at.1.as_ref().map_or_else(|| owned.low.to_vec(), |last| first_key_after(last));
        let (mut seen, mut full) = (0, false);
        let mut last = None;
        index.scan(owned.space, &low, &owned.high, Direction::Forward, &mut |key, row| {
            if seen == limits::SWEEP_ROWS_PER_TURN {
                return ControlFlow::Break(());
            }
            seen += 1;
            let key = Bytes::copy_from_slice(key);
            last = Some(key.clone());
            if row.position.segment == self.segment {
                self.found += 1;
                let (name, space) = (one.replica.name(), owned.space);
                full = repairs.want(Lost { name, space, key, row }).is_err();
            }
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if full {
            return Ok(self.end_pass(now));
        }
        self.at = match last.filter(|_| seen == limits::SWEEP_ROWS_PER_TURN) {
            Some(last) => (*shard, Some(last)),
            None => (ShardId(shard.0.saturating_add(1)), None),
        };
        Ok(false)
    }

    fn end_pass(&mut self, now: Nanos) -> bool {
        self.at = (ShardId(0), None);
        if std::mem::take(&mut self.found) == 0 {
            return true;
        }
        self.rests_until = Some(now.plus(self.rest));
        self.rest = Nanos(self.rest.0.saturating_mul(2)).min(limits::REPAIR_REST_MAX);
        false
    }
}
