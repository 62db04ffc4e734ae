//! One write of a batch writer, from when it was handed over to its result.

use std::net::SocketAddr;
use std::time::Duration;

use crate::api::MISANSWERED_WRITE;
use crate::batch::{Change, Effect};
use crate::error::{Error, UnknownCause};
use crate::moment::Moment;
use crate::retry::{Attempt, Failure, MapNeed, Purpose, Verdict, judge};

use super::epochs::EpochNumber;
use super::receipts::{ReceiptName, WriteResult};

/// All that is looked at when it ends; what it changes is with a link, or with those that are ready, parked or held.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Write {
    pub(super) fate: Fate,
    pub(super) receipt: ReceiptName,
    pub(super) epoch: EpochNumber,
    pub(super) lane: u32,
    /// Where it stands among those of the round in which it leaves.
    pub(super) place: u32,
    bytes: u32,
    attempts: u16,
    kind: Kind,
    began: Moment,
}

// With one line of a cache for each of them, it is waited for once.
const _: () = assert!(size_of::<Write>() == 64, "a write fills a cache line");

/// Where, when and how an attempt ended, beside its outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptEnd {
    /// Where it was made.
    pub(super) address: SocketAddr,
    pub(super) now: Moment,
    pub(super) dice: u64,
    /// How long a write is tried.
    pub(super) timeout: Duration,
}

/// What is known of how it ends.
#[derive(Debug)]
pub(super) enum Fate {
    /// The last attempt proved that it was not executed: it may be sent again.
    Again { after: Duration, map: MapNeed },
    /// Its result, to be given out with those of its train.
    Done(WriteResult),
    /// There is no such write.
    None,
    /// Nothing is.
    Open,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Delete,
    Set,
}

impl Write {
    /// A write that was handed over.
    ///
    /// # Panics
    /// At 4 GiB; those that are handed over are checked.
    pub(super) fn new(change: &Change, lane: u32, receipt: ReceiptName, epoch: EpochNumber) -> Self {
        Self {
            fate: Fate::Open,
            receipt,
            epoch,
            lane,
            bytes: u32::try_from(change.bytes()).expect("keys and values are far below 4 GiB"),
            attempts: 0,
            kind: if change.value.is_some() { Kind::Set } else { Kind::Delete },
            place: 0,
            began: Moment::NEVER,
        }
    }

    /// Bytes of key and value.
    pub(super) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// The writer looks at it, where it stands: its time begins, if it had not.
    pub(super) fn begin(&mut self, now: Moment, place: u32) {
        self.place = place;
        if self.began == Moment::NEVER {
            self.began = now;
        }
    }

    /// A link gets it, with this deadline.
    pub(super) fn depart(&mut self, timeout: Duration) -> Moment {
        self.fate = Fate::Open;
        self.began.plus(timeout)
    }

    /// An attempt ended.
    pub(super) fn attempted(&mut self, outcome: Result<Effect, Failure>, at: &AttemptEnd) {
        self.attempts = self.attempts.saturating_add(1);
        self.fate = match outcome {
            Ok(effect) => Fate::Done(self.result(effect)),
            Err(failure) => {
                let verdict = judge(&Attempt {
                    failure,
                    address: at.address,
                    purpose: Purpose::Write,
                    attempts: u32::from(self.attempts),
                    began: self.began,
                    deadline: self.began.plus(at.timeout),
                    now: at.now,
                    dice: at.dice,
                });
                match verdict {
                    Verdict::Fail(error) => Fate::fail(error),
                    Verdict::Retry { after, map } => Fate::Again { after, map },
                }
            }
        };
    }

    /// It was sent, and its link was told that nobody waits any more.
    pub(super) fn withdraw(&mut self) {
        let cause = UnknownCause::Abandoned;
        self.fate = Fate::fail(Error::OutcomeUnknown { cause });
    }

    /// Its result if nothing more is done about it; `None` if there is no such write.
    pub(super) fn abandoned(&mut self) -> Option<WriteResult> {
        match std::mem::replace(&mut self.fate, Fate::None) {
            Fate::Again { .. } | Fate::Open => Some(Err(Box::new(Error::Abandoned))),
            Fate::Done(result) => Some(result),
            Fate::None => None,
        }
    }

    fn result(&self, effect: Effect) -> WriteResult {
        match (self.kind, effect) {
            (Kind::Delete, Effect::Deleted(version)) => Ok(version),
            (Kind::Set, Effect::Written(version)) => Ok(Some(version)),
            (Kind::Delete | Kind::Set, Effect::Deleted(_) | Effect::Senseless | Effect::Written(_)) => Err(Box::new(MISANSWERED_WRITE)),
        }
    }
}

impl Fate {
    /// It ends with this error.
    pub(super) fn fail(error: Error) -> Self {
        Self::Done(Err(Box::new(error)))
    }
}
