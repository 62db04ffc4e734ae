//! Which writes may be under way at the same time: lanes, trains, and who is parked behind them.
//!
//! ```text
//! lane (by the key's hash):   train under way: a ─ a ─ a        parked: a ─ b ─ a
//!                             one key, one round, one link      until the train's last answer
//! ```
//! A write is known by its number. Two writes of one key always meet in one lane, so no key is ever
//! compared with those of other lanes, and a lane costs four bytes. Two keys that share a lane by accident
//! wait for each other and nothing worse.
//!
//! Invariants: the writes of a train have one key, left in one round in the order they were handed over,
//! and lie in front of everything that is parked; a lane without a train has nothing parked.
//!
//! Not here, on purpose: what becomes of a train (`settle.rs`).

use std::hash::Hasher;

use rustc_hash::FxHasher;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Lanes {
    /// The first write of each lane's train, or [`NONE`].
    heads: Vec<u32>,
    /// By number. All but `next` means something only for the first write of a train.
    trains: Vec<Train>,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    /// Who comes behind this write in its train, or among the parked.
    next: u32,
    last: u32,
    /// Writes whose answer is awaited.
    open: u32,
    /// When it left.
    round: u64,
    parked_first: u32,
    parked_last: u32,
}

impl Lanes {
    /// Lanes for so many writes at a time.
    pub(super) fn new(writes_max: usize) -> Self {
        let wanted = LANES_PER_WRITE * writes_max.min(LANES_MAX);
        let count = wanted.next_power_of_two().clamp(LANES_MIN, LANES_MAX);
        Self {
            heads: vec![NONE; count],
            trains: Vec::new(),
        }
    }

    /// The lane of a key.
    pub(super) fn of(&self, key: &[u8]) -> u32 {
        let mut hasher = FxHasher::default();
        hasher.write(key);
        let mask = self.heads.len() as u64 - 1;
        u32::try_from(hasher.finish() & mask).unwrap_or(NONE)
    }

    /// Lets a write leave in this round, as its lane's train or at the end of it, or parks it.
    pub(super) fn board(&mut self, lane: u32, number: u32, round: u64, same_key_as: impl FnOnce(u32) -> bool) -> bool {
        self.make(number);
        let head = self.heads[lane as usize];
        if head == NONE {
            self.heads[lane as usize] = number;
            *self.train_mut(number) = Train::of_one(number, round);
            return true;
        }
        self.train_mut(number).next = NONE;
        let Train {
            last,
            round: left_in,
            parked_last,
            ..
        } = *self.train_mut(head);
        if left_in == round && same_key_as(last) {
            self.train_mut(last).next = number;
            let train = self.train_mut(head);
            train.last = number;
            train.open += 1;
            return true;
        }
        match parked_last {
            NONE => self.train_mut(head).parked_first = number,
            behind => self.train_mut(behind).next = number,
        }
        self.train_mut(head).parked_last = number;
        false
    }

    /// Looks at these lanes, so that what no cache holds is waited for together. Changes nothing.
    pub(super) fn warm(&self, lanes: impl Iterator<Item = u32>) {
        std::hint::black_box(lanes.fold(0, |all, lane| all ^ self.heads[lane as usize]));
    }

    /// Something of the lane and of its train, for [`super::Schedule::warm`].
    pub(super) fn look(&self, lane: u32) -> u32 {
        let head = self.heads[lane as usize];
        self.trains.get(head as usize).map_or(head, |train| train.open)
    }

    /// One write of the lane's train has its answer. Whether it was the last one awaited.
    pub(super) fn answered(&mut self, lane: u32) -> bool {
        let head = self.heads[lane as usize];
        let train = self.train_mut(head);
        train.open -= 1;
        train.open == 0
    }

    /// The writes of the lane's train, in order.
    pub(super) fn train(&self, lane: u32, out: &mut Vec<u32>) {
        let head = self.heads[lane as usize];
        if head != NONE {
            self.chain(head, self.trains[head as usize].last, out);
        }
    }

    /// The train shrinks to these of its writes, which will be sent again; until then they keep the lane.
    pub(super) fn hold(&mut self, lane: u32, numbers: &[u32]) {
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
            return;
        };
        let head = self.heads[lane as usize];
        let train = *self.train_mut(head);
        for pair in numbers.windows(2) {
            self.train_mut(pair[0]).next = pair[1];
        }
        let next = if first == last { NONE } else { self.train_mut(*first).next };
        self.train_mut(*last).next = NONE;
        *self.train_mut(*first) = Train {
            next,
            last: *last,
            open: 0,
            ..train
        };
        self.heads[lane as usize] = *first;
    }

    /// Ends the train and gives out everything that was parked behind it, in order.
    pub(super) fn clear(&mut self, lane: u32, out: &mut Vec<u32>) {
        let head = std::mem::replace(&mut self.heads[lane as usize], NONE);
        if head != NONE {
            let Train {
                parked_first, parked_last, ..
            } = *self.train_mut(head);
            if parked_first != NONE {
                self.chain(parked_first, parked_last, out);
            }
        }
    }

    /// The numbers from `first` to `last`, both among them.
    fn chain(&self, first: u32, last: u32, out: &mut Vec<u32>) {
        let mut number = first;
        while number != last {
            out.push(number);
            number = self.trains[number as usize].next;
        }
        out.push(last);
    }

    fn make(&mut self, number: u32) {
        let count = number as usize + 1;
        if self.trains.len() < count {
            self.trains.resize(count, Train::of_one(NONE, 0));
        }
    }

    fn train_mut(&mut self, number: u32) -> &mut Train {
        &mut self.trains[number as usize]
    }
}

impl Train {
    fn of_one(number: u32, round: u64) -> Self {
        Self {
            next: NONE,
            last: number,
            open: 1,
            round,
            parked_first: NONE,
            parked_last: NONE,
        }
    }
}

/// No write: numbers are below the most that may be under way.
const NONE: u32 = u32::MAX;
/// Of two writes of different keys, drawn at random, one in eight times as many shares the other's lane:
/// with everything under way every ninth waits for no reason.
const LANES_PER_WRITE: usize = 8;
/// A small writer's lanes cost a page.
const LANES_MIN: usize = 1 << 10;
/// The largest writer's lanes cost 16 MiB.
const LANES_MAX: usize = 1 << 22;

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(fill: impl FnOnce(&mut Vec<u32>)) -> Vec<u32> {
        let mut out = Vec::new();
        fill(&mut out);
        out
    }

    #[test]
    fn writes_of_one_key_and_round_make_a_train_and_others_are_parked() {
        let mut lanes = Lanes::new(8);
        assert!(lanes.board(0, 0, 1, |_| unreachable!("the lane is free")));
        assert!(lanes.board(0, 1, 1, |last| last == 0));
        assert!(!lanes.board(0, 2, 1, |_| false), "another key");
        assert!(lanes.board(0, 3, 1, |last| last == 1), "the train's last is asked, not the parked");
        assert!(!lanes.board(0, 4, 2, |_| true), "another round");
        assert!(lanes.board(1, 5, 2, |_| unreachable!("another lane")));
        assert_eq!(chain(|out| lanes.train(0, out)), [0, 1, 3]);
        assert_eq!([lanes.answered(0), lanes.answered(0), lanes.answered(0)], [false, false, true]);
        assert_eq!(chain(|out| lanes.clear(0, out)), [2, 4]);
        assert!(lanes.board(0, 4, 3, |_| unreachable!("the lane is free")));
        assert_eq!(chain(|out| lanes.clear(0, out)), []);
    }

    #[test]
    fn a_held_train_keeps_its_lane_and_what_is_parked_there() {
        for held in [vec![0], vec![2], vec![0, 2], vec![0, 1, 2]] {
            let mut lanes = Lanes::new(8);
            (0..3).for_each(|number| assert!(lanes.board(0, number, 1, |_| true)));
            assert!(!lanes.board(0, 3, 2, |_| true));
            assert_eq!((0..3).filter(|_| lanes.answered(0)).count(), 1);
            lanes.hold(0, &held);
            assert_eq!(chain(|out| lanes.train(0, out)), held);
            assert!(!lanes.board(0, 4, 3, |_| true), "it will be sent again");
            assert_eq!(chain(|out| lanes.clear(0, out)), [3, 4]);
        }
    }

    #[test]
    fn a_key_has_one_lane_and_keys_spread_over_all() {
        let lanes = Lanes::new(1 << 10);
        let mut used = std::collections::BTreeSet::new();
        for key in 0..20_000u32 {
            let key = key.to_be_bytes();
            assert_eq!(lanes.of(&key), lanes.of(&key));
            assert!((lanes.of(&key) as usize) < lanes.heads.len());
            used.insert(lanes.of(&key));
        }
        assert!(used.len() > 7_000, "{} of 8,192 lanes are used by 20,000 keys", used.len());
    }

    #[test]
    fn no_bound_makes_too_few_or_too_many_lanes() {
        for (writes_max, lanes) in [(0, LANES_MIN), (1, LANES_MIN), (1 << 14, 1 << 17), (usize::MAX, LANES_MAX)] {
            assert_eq!(Lanes::new(writes_max).heads.len(), lanes);
        }
    }
}
