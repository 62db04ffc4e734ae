//! The end of a train: which of its writes have their result, and which are sent again.

use std::cmp::Reverse;
use std::time::Duration;

use crate::error::{Error, OrderFault, UnknownCause};
use crate::moment::Moment;
use crate::retry::MapNeed;

use super::receipts::WriteResult;
use super::write::Fate;
use super::{Doubt, Schedule};

impl Schedule {
    /// Every write of the lane's train has its answer.
    pub(super) fn settle(&mut self, lane: u32, now: Moment) {
        let mut train = std::mem::take(&mut self.numbers);
        self.lanes.train(lane, &mut train);
        if train.len() > 1 {
            self.keep_order(&train);
        }
        let mut again = None;
        train.retain(|number| match self.writes[*number as usize].fate {
            Fate::Again { after, map } => {
                again = Some(later(again, (after, map)));
                true
            }
            Fate::Done(_) | Fate::None | Fate::Open => {
                self.conclude(*number);
                false
            }
        });
        if let Some((after, map)) = again {
            self.lanes.hold(lane, &train);
            self.held.push(Reverse((now.plus(after), lane, map)));
            train.clear();
        }
        self.numbers = train;
        if again.is_none() {
            self.release_parked(lane);
        }
    }

    /// Fails what must not be sent again, because a write behind it was executed, or may have been. (What an
    /// earlier one leaves in doubt is found when it is to be sent again.)
    fn keep_order(&mut self, train: &[u32]) {
        let mut later_executed = false;
        for number in train.iter().rev() {
            let fate = &mut self.writes[*number as usize].fate;
            match fate {
                Fate::Again { .. } if later_executed => *fate = Fate::fail(Error::OutOfOrder(OrderFault::LaterExecuted)),
                Fate::Done(result) => later_executed |= may_be_executed(result),
                Fate::Again { .. } | Fate::None | Fate::Open => {}
            }
        }
    }

    /// Gives out a result, and remembers what it leaves in doubt.
    fn conclude(&mut self, number: u32) {
        let Fate::Done(result) = std::mem::replace(&mut self.writes[number as usize].fate, Fate::None) else {
            return;
        };
        let doubted = doubt_of(&result).and_then(|cause| Some((cause, self.aside.get(&number)?.key.clone())));
        self.finish(number, result);
        if let Some((cause, key)) = doubted {
            let until = self.epochs.cut(&mut self.wakers);
            if !self.epochs.is_closed(until) {
                self.doubts.insert(key, Doubt { cause, until });
            }
        }
    }

    fn release_parked(&mut self, lane: u32) {
        let mut parked = std::mem::take(&mut self.numbers);
        self.lanes.clear(lane, &mut parked);
        self.let_go_first(&mut parked);
        self.numbers = parked;
    }
}

/// A train is sent again when all of it may be.
fn later(before: Option<(Duration, MapNeed)>, (after, map): (Duration, MapNeed)) -> (Duration, MapNeed) {
    let (longest, need) = before.unwrap_or((Duration::ZERO, MapNeed::Keep));
    let map = match (need, map) {
        (MapNeed::Keep, MapNeed::Keep) => MapNeed::Keep,
        (MapNeed::Fetch, _) | (_, MapNeed::Fetch) => MapNeed::Fetch,
    };
    (longest.max(after), map)
}

fn may_be_executed(result: &WriteResult) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => matches!(**error, Error::OutcomeUnknown { .. }),
    }
}

/// Why a write with this result may take effect after what is sent now, if it may.
fn doubt_of(result: &WriteResult) -> Option<UnknownCause> {
    match result.as_ref().map_err(|error| &**error) {
        Err(Error::OutcomeUnknown { cause }) if cause.may_come_late() => Some(*cause),
        Ok(_) | Err(_) => None,
    }
}
