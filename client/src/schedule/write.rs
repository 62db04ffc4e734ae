//! One write of a batch writer, from when it was handed over to its result.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use margate_net::message::Operation;

use crate::api::MISANSWERED_WRITE;
use crate::batch::{Effect, Returned, Withdrawn};
use crate::error::{Error, UnknownCause};
use crate::moment::Moment;
use crate::retry::{Attempt, MapNeed, Purpose, Verdict, judge};

use super::epochs::EpochNumber;
use super::receipts::{ReceiptName, WriteResult};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Write {
    /// Away while a link has it, and after it was executed.
    pub(super) operation: Option<Operation>,
    pub(super) lane: u32,
    pub(super) receipt: ReceiptName,
    pub(super) epoch: EpochNumber,
    pub(super) bytes: usize,
    pub(super) fate: Fate,
    pub(super) deadline: Moment,
    kind: Kind,
    began: Moment,
    attempts: u32,
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
    pub(super) fn new(operation: Operation, lane: u32, receipt: ReceiptName, epoch: EpochNumber) -> Self {
        Self {
            lane,
            receipt,
            epoch,
            bytes: operation.payload_bytes(),
            fate: Fate::Open,
            deadline: Moment::NEVER,
            kind: if matches!(operation, Operation::Delete { .. }) {
                Kind::Delete
            } else {
                Kind::Set
            },
            operation: Some(operation),
            began: Moment::NEVER,
            attempts: 0,
        }
    }

    /// Its key.
    ///
    /// # Panics
    /// If a link has it.
    pub(super) fn key(&self) -> &Bytes {
        self.operation.as_ref().expect("it is with no link").routing_key()
    }

    /// The first bytes of its key as a number: keys sort as their prefixes do, where these differ.
    pub(super) fn key_prefix(&self) -> u64 {
        let key = self.key();
        let mut prefix = [0; 8];
        let length = key.len().min(prefix.len());
        prefix[..length].copy_from_slice(&key[..length]);
        u64::from_be_bytes(prefix)
    }

    /// The writer looks at it: its time begins, if it had not.
    pub(super) fn begin(&mut self, now: Moment, timeout: Duration) {
        if self.began == Moment::NEVER {
            self.began = now;
            self.deadline = now.plus(timeout);
        }
    }

    /// Gives its operation to a link.
    ///
    /// # Panics
    /// If a link has it.
    pub(super) fn depart(&mut self) -> Operation {
        self.fate = Fate::Open;
        self.operation.take().expect("it is with no link")
    }

    /// An attempt at that address ended so.
    pub(super) fn attempted(&mut self, outcome: Result<Effect, Box<Returned>>, address: SocketAddr, now: Moment, dice: u64) {
        self.attempts = self.attempts.saturating_add(1);
        self.fate = match outcome {
            Ok(effect) => Fate::Done(self.result(effect)),
            Err(returned) => {
                self.operation = Some(returned.operation);
                let verdict = judge(&Attempt {
                    failure: returned.failure,
                    address,
                    purpose: Purpose::Write,
                    attempts: self.attempts,
                    began: self.began,
                    deadline: self.deadline,
                    now,
                    dice,
                });
                match verdict {
                    Verdict::Fail(error) => Fate::fail(error),
                    Verdict::Retry { after, map } => Fate::Again { after, map },
                }
            }
        };
    }

    /// Its link was told that nobody waits any more.
    pub(super) fn withdraw(&mut self, how: Withdrawn) {
        match how {
            Withdrawn::Queued(operation) => self.operation = operation,
            Withdrawn::Sent(operation) => {
                self.operation = operation;
                let cause = UnknownCause::Abandoned;
                self.fate = Fate::fail(Error::OutcomeUnknown { cause });
            }
        }
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
