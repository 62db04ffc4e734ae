//! What will happen, in order of virtual time; at one time, in the order it was planned.
//!
//! Not here, on purpose: what the events mean (`world`).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::types::Nanos;

struct Slot<E> {
    at: Nanos,
    number: u64,
    event: E,
}

/// Virtual time, and everything planned.
pub(crate) struct Schedule<E> {
    now: Nanos,
    next_number: u64,
    planned: BinaryHeap<Reverse<Slot<E>>>,
}

impl<E> Schedule<E> {
    /// Time zero, nothing planned.
    pub(crate) fn new() -> Self {
        Self {
            now: Nanos(0),
            next_number: 0,
            planned: BinaryHeap::new(),
        }
    }

    /// The present.
    pub(crate) fn now(&self) -> Nanos {
        self.now
    }

    /// Plans something for a time; the past is now.
    pub(crate) fn at(&mut self, at: Nanos, event: E) {
        let number = self.next_number;
        self.next_number += 1;
        self.planned.push(Reverse(Slot {
            at: at.max(self.now),
            number,
            event,
        }));
    }

    /// Plans something for later.
    pub(crate) fn after(&mut self, span: Nanos, event: E) {
        self.at(self.now.plus(span), event);
    }

    /// Moves on to the next event.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse(slot) = self.planned.pop()?;
        self.now = slot.at;
        Some(slot.event)
    }
}

impl<E> Slot<E> {
    fn key(&self) -> (Nanos, u64) {
        (self.at, self.number)
    }
}

impl<E> PartialEq for Slot<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Slot<E> {}

impl<E> PartialOrd for Slot<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Slot<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_by_plan() {
        let mut schedule = Schedule::new();
        for (at, name) in [(20, "c"), (10, "a"), (10, "b"), (30, "d")] {
            schedule.at(Nanos(at), name);
        }
        let order: Vec<_> = std::iter::from_fn(|| schedule.next()).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
        schedule.at(Nanos(1), "late");
        assert_eq!((schedule.next(), schedule.now()), (Some("late"), Nanos(30)), "time never goes back");
    }
}
