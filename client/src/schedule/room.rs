//! How much a batch writer may have under way, and the line of those who wait for room.
//!
//! Not here, on purpose: what is under way.

use std::collections::VecDeque;
use std::task::Waker;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Room {
    writes: usize,
    bytes: usize,
    writes_max: usize,
    bytes_max: usize,
    /// In the order they came; only the first is ever let in.
    line: VecDeque<Waiting>,
    next: u64,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinePlace(u64);

#[derive(Debug)]
struct Waiting {
    place: LinePlace,
    bytes: usize,
    waker: Waker,
}

impl Room {
    /// Room for so much.
    pub(super) fn new(writes_max: usize, bytes_max: usize) -> Self {
        Self {
            writes: 0,
            bytes: 0,
            writes_max,
            bytes_max,
            line: VecDeque::new(),
            next: 0,
        }
    }

    /// Takes room for one write of so many bytes, unless there is none or others came first.
    pub(super) fn try_take(&mut self, bytes: usize) -> bool {
        self.line.is_empty() && self.take(bytes)
    }

    /// Takes room in turn. If it is not this one's turn, or there is no room, it keeps its place in the line,
    /// which it gets at the first call.
    pub(super) fn take_in_turn(&mut self, place: &mut Option<LinePlace>, bytes: usize, waker: &Waker) -> bool {
        let may_take = match *place {
            None => self.line.is_empty(),
            Some(known) => self.line.front().is_some_and(|first| first.place == known),
        };
        if !may_take || !self.take(bytes) {
            self.wait_in_turn(place, bytes, waker);
            return false;
        }
        if place.take().is_some() {
            self.line.pop_front();
        }
        true
    }

    /// Keeps a place in the line, which one gets at the first call, and takes no room.
    pub(super) fn wait_in_turn(&mut self, place: &mut Option<LinePlace>, bytes: usize, waker: &Waker) {
        let Some(known) = *place else {
            *place = Some(self.queue_up(bytes, waker));
            return;
        };
        if let Some(waiting) = self.line.iter_mut().find(|waiting| waiting.place == known) {
            waiting.waker.clone_from(waker);
        }
    }

    /// Gives up a place in the line.
    pub(super) fn leave(&mut self, place: LinePlace) {
        self.line.retain(|waiting| waiting.place != place);
    }

    /// One write of so many bytes has ended.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.writes -= 1;
        self.bytes -= bytes;
    }

    /// Who must look again now: the first in the line, if it fits.
    pub(super) fn wake(&self, wakers: &mut Vec<Waker>) {
        if let Some(first) = self.line.front()
            && self.fits(first.bytes)
        {
            wakers.push(first.waker.clone());
        }
    }

    /// Writes and bytes under way.
    pub(super) fn taken(&self) -> (usize, usize) {
        (self.writes, self.bytes)
    }

    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.fits(bytes);
        if fits {
            self.writes += 1;
            self.bytes += bytes;
        }
        fits
    }

    /// A write that is larger than everything allowed goes alone, or it would never go.
    fn fits(&self, bytes: usize) -> bool {
        self.writes == 0 || (self.writes < self.writes_max && bytes <= self.bytes_max.saturating_sub(self.bytes))
    }

    fn queue_up(&mut self, bytes: usize, waker: &Waker) -> LinePlace {
        let place = LinePlace(self.next);
        self.next += 1;
        let waker = waker.clone();
        self.line.push_back(Waiting { place, bytes, waker });
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(room: &mut Room, place: &mut Option<LinePlace>, bytes: usize) -> bool {
        room.take_in_turn(place, bytes, Waker::noop())
    }

    fn woken(room: &Room) -> usize {
        let mut wakers = Vec::new();
        room.wake(&mut wakers);
        wakers.len()
    }

    #[test]
    fn both_bounds_hold_and_a_giant_goes_alone() {
        let mut room = Room::new(2, 10);
        assert!(room.try_take(99), "nothing else is under way");
        assert!(!room.try_take(1));
        room.give_back(99);
        assert!(room.try_take(4) && room.try_take(6));
        assert!(!room.try_take(0), "two writes");
        room.give_back(4);
        assert!(!room.try_take(5), "ten bytes");
        assert!(room.try_take(4));
        assert_eq!(room.taken(), (2, 10));
    }

    #[test]
    fn the_line_is_served_in_order_even_if_a_later_one_would_fit() {
        let mut room = Room::new(9, 10);
        assert!(room.try_take(8));
        let (mut large, mut small) = (None, None);
        assert!(!take(&mut room, &mut large, 5) && !take(&mut room, &mut small, 1));
        assert!(!room.try_take(1), "others came first");
        assert_eq!(woken(&room), 0, "the first does not fit");
        room.give_back(8);
        assert_eq!(woken(&room), 1);
        assert!(!take(&mut room, &mut small, 1), "it is not its turn");
        assert!(take(&mut room, &mut large, 5) && take(&mut room, &mut small, 1));
        assert_eq!((large, small, woken(&room)), (None, None, 0));
    }

    #[test]
    fn who_leaves_the_line_holds_up_nobody() {
        let mut room = Room::new(1, 10);
        assert!(room.try_take(1));
        let (mut first, mut second) = (None, None);
        assert!(!take(&mut room, &mut first, 1) && !take(&mut room, &mut second, 1));
        room.leave(first.expect("it has a place"));
        room.give_back(1);
        assert!(take(&mut room, &mut second, 1));
    }
}
