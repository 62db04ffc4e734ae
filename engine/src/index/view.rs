//! The index as the core sees it: what is applied, whether it is committed yet or not.
//!
//! Three layers, newest first: the active overlay takes every apply; the frozen one is being committed; the store
//! holds the rest. A delete in a newer layer hides the row below it.
//!
//! Not here, on purpose: effects not applied yet (lists and gets read applied state; the resolver has its own
//! overlay), and when to freeze.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use margate_net::ids::Space;
use margate_net::limits::KEY_BYTES_MAX;
use margate_net::message::Direction;

use super::error::IndexError;
use super::overlay::{Hint, Hints, Overlay, OverlayRange, WarmedKeys};
use super::row::{Row, Slot};
use super::store::{IndexReader, Visit};
use crate::head::lies_in;
use crate::limits;
use crate::types::Position;

/// The first key after one: that one with a zero behind it.
#[must_use]
pub fn first_key_after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// A sub-range of the key space and the space its keys live in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRange {
    /// The space.
    pub space: Space,
    /// The lowest key.
    pub low: Bytes,
    /// The end; empty is the end of the key space.
    pub high: Bytes,
}

/// Overlays over a store's last committed generation.
#[derive(Debug)]
pub struct Index<R: IndexReader> {
    active: Overlay,
    frozen: Option<Arc<Overlay>>,
    reader: R,
}

impl OwnedRange {
    /// Whether a key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        lies_in(key, &self.low, &self.high)
    }

    fn assert_may_hold(&self, key: &[u8]) {
        assert!(
            self.contains(key),
            "space {}: a key of {} bytes is outside its owner's range",
            self.space,
            key.len()
        );
        assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes reached the index", key.len());
    }
}

impl<R: IndexReader> Index<R> {
    /// The index a reader shows, with nothing applied since.
    pub const fn new(reader: R) -> Self {
        Self {
            active: Overlay::new(),
            frozen: None,
            reader,
        }
    }

    /// Applies an effect if it is newer than what memory knows of the key. Says whether it was written.
    ///
    /// The store is not asked: only entries above the applied mark are applied, in version order.
    ///
    /// # Panics
    /// When the key lies outside its owner's range or is longer than any key may be: a wrong row would outlive the process.
    pub fn apply(&mut self, owner: &OwnedRange, key: &[u8], slot: Slot) -> bool {
        self.apply_at(owner, (key, Hint::NONE), slot)
    }

    /// The same for a key for which [`Index::warm`] gave a hint.
    ///
    /// # Panics
    /// As [`Index::apply`].
    pub fn apply_at(&mut self, owner: &OwnedRange, (key, hint): (&[u8], Hint), slot: Slot) -> bool {
        owner.assert_may_hold(key);
        let committing = self
            .frozen
            .as_ref()
            .and_then(|frozen| frozen.get_from(owner.space, key, slot.version()));
        if committing.is_some_and(|old| old.version() >= slot.version()) {
            return false;
        }
        self.active.insert_newer_at(owner.space, (key, hint), slot)
    }

    /// Prepares for [`Index::apply_at`] of these keys.
    pub fn warm(&self, owner: &OwnedRange, keys: &WarmedKeys<'_>) -> Hints {
        self.active.warm(owner.space, keys)
    }

    /// Prepares for [`Index::get`] of these keys.
    pub fn warm_reads(&self, space: Space, keys: &WarmedKeys<'_>) {
        self.active.warm(space, keys);
        if let Some(frozen) = &self.frozen {
            frozen.warm(space, keys);
        }
    }

    /// Points a key to another place of the same value, if it still has the row's version at the place `from`. Says
    /// whether it did; then the record at `from` is no longer needed once this is committed.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// # Panics
    /// As [`Index::apply`].
    pub fn relocate(&mut self, owner: &OwnedRange, key: &[u8], row: Row, from: Position) -> Result<bool, IndexError> {
        owner.assert_may_hold(key);
        let held = self.get(owner.space, key)?.and_then(|slot| slot.row());
        if held.is_none_or(|held| (held.version, held.position) != (row.version, from)) {
            return Ok(false);
        }
        Ok(self.active.replace_equal(owner.space, key, Slot::Put(row)))
    }

    /// What is known of a key; `None` if it never was, or its delete is committed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slot>, IndexError> {
        if let Some(slot) = self.in_memory(space, key) {
            return Ok(Some(*slot));
        }
        Ok(self.reader.get(space, key)?.map(Slot::Put))
    }

    /// Visits the live rows of `[low, high)` in the given direction until told to stop; an empty `high` is the end of the space.
    ///
    /// Nothing is collected: the store's rows pass by while the overlays walk along.
    ///
    /// # Errors
    /// When the store fails; rows visited before that were right.
    pub fn scan(&self, space: Space, low: &[u8], high: &[u8], direction: Direction, visit: &mut Visit<'_>) -> Result<(), IndexError> {
        let mut memory = Layers::new(self, space, low, high, direction);
        let mut flow = ControlFlow::Continue(());
        self.reader.scan(space, low, high, direction, &mut |key, row| {
            flow = match memory.pass(key, visit) {
                ControlFlow::Continue(Shadow::None) => visit(key, row),
                ControlFlow::Continue(Shadow::Hidden) => ControlFlow::Continue(()),
                ControlFlow::Break(()) => ControlFlow::Break(()),
            };
            flow
        })?;
        if flow.is_continue() {
            let _ = memory.rest(visit);
        }
        Ok(())
    }

    /// Hands the active overlay over to be committed; it stays visible here. `None` if another still is, or nothing was applied.
    pub fn freeze(&mut self) -> Option<Arc<Overlay>> {
        if self.frozen.is_some() || self.active.is_empty() {
            return None;
        }
        let frozen = Arc::new(std::mem::take(&mut self.active));
        self.frozen = Some(Arc::clone(&frozen));
        Some(frozen)
    }

    /// The frozen overlay, for a commit that must be tried again.
    pub const fn frozen(&self) -> Option<&Arc<Overlay>> {
        self.frozen.as_ref()
    }

    /// The commit is durable: reads go to the new generation, the frozen overlay is dropped.
    ///
    /// # Errors
    /// When the store cannot show the new generation; the frozen overlay then stays.
    pub fn committed(&mut self) -> Result<(), IndexError> {
        self.reader.refresh()?;
        self.frozen = None;
        Ok(())
    }

    /// Bytes of the active overlay, roughly.
    pub const fn active_bytes(&self) -> usize {
        self.active.bytes()
    }

    /// Whether the active overlay holds so much that whatever can wait adds nothing before the index has taken some.
    pub const fn is_busy(&self) -> bool {
        self.active_bytes() >= limits::OVERLAY_BUSY_BYTES
    }

    /// Slots in both overlays.
    pub fn overlay_rows(&self) -> usize {
        self.active.len() + self.frozen.as_ref().map_or(0, |frozen| frozen.len())
    }

    /// The store's reader.
    pub const fn reader(&self) -> &R {
        &self.reader
    }

    fn in_memory(&self, space: Space, key: &[u8]) -> Option<&Slot> {
        self.active.get(space, key).or_else(|| self.frozen.as_ref()?.get(space, key))
    }
}

/// Both overlays walked in one direction, the active one first at equal keys.
struct Layers<'a> {
    active: Walk<'a>,
    frozen: Walk<'a>,
    direction: Direction,
}

/// Whether the overlays say something of a store's key.
enum Shadow {
    /// They do; the store's row is out of date.
    Hidden,
    /// They do not.
    None,
}

impl<'a> Layers<'a> {
    fn new<R: IndexReader>(index: &'a Index<R>, space: Space, low: &'a [u8], high: &'a [u8], direction: Direction) -> Self {
        let frozen = index.frozen.as_ref().map(|frozen| frozen.range(space, low, high));
        Self {
            active: Walk::new(Some(index.active.range(space, low, high)), direction),
            frozen: Walk::new(frozen, direction),
            direction,
        }
    }

    /// Visits everything before a store's key, and what stands at the key itself.
    fn pass(&mut self, store: &[u8], visit: &mut Visit<'_>) -> ControlFlow<(), Shadow> {
        while let Some((key, slot)) = self.head() {
            let order = self.compare(key, store);
            if order.is_gt() {
                break;
            }
            self.advance();
            show(key, slot, visit)?;
            if order.is_eq() {
                return ControlFlow::Continue(Shadow::Hidden);
            }
        }
        ControlFlow::Continue(Shadow::None)
    }

    /// Visits everything that is left.
    fn rest(&mut self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        while let Some((key, slot)) = self.head() {
            self.advance();
            show(key, slot, visit)?;
        }
        ControlFlow::Continue(())
    }

    /// The next key of either overlay.
    fn head(&self) -> Option<(&'a [u8], &'a Slot)> {
        match (self.active.head, self.frozen.head) {
            (Some(active), Some(frozen)) if self.compare(frozen.0, active.0).is_lt() => Some(frozen),
            (Some(active), _) => Some(active),
            (None, frozen) => frozen,
        }
    }

    /// Leaves the next key behind, in both overlays.
    fn advance(&mut self) {
        let Some((key, _)) = self.head() else { return };
        self.active.leave(key);
        self.frozen.leave(key);
    }

    fn compare(&self, left: &[u8], right: &[u8]) -> Ordering {
        match self.direction {
            Direction::Forward => left.cmp(right),
            Direction::Reverse => right.cmp(left),
        }
    }
}

/// One overlay's range in one direction, with the next slot in sight.
struct Walk<'a> {
    head: Option<(&'a [u8], &'a Slot)>,
    range: Option<OverlayRange<'a>>,
    direction: Direction,
}

impl<'a> Walk<'a> {
    fn new(range: Option<OverlayRange<'a>>, direction: Direction) -> Self {
        let mut walk = Self {
            head: None,
            range,
            direction,
        };
        walk.step();
        walk
    }

    fn leave(&mut self, key: &[u8]) {
        if self.head.is_some_and(|(head, _)| head == key) {
            self.step();
        }
    }

    fn step(&mut self) {
        self.head = self.range.as_mut().and_then(|range| match self.direction {
            Direction::Forward => range.next(),
            Direction::Reverse => range.next_back(),
        });
    }
}

fn show(key: &[u8], slot: &Slot, visit: &mut Visit<'_>) -> ControlFlow<()> {
    match slot {
        Slot::Put(row) => visit(key, *row),
        Slot::Deleted(_) => ControlFlow::Continue(()),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
