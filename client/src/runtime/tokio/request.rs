//! Operations being put together: options first, then sent when awaited.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use margate_net::error::Refusal;
use margate_net::message::Operation;

use crate::api::Outcome;
use crate::error::Error;

use super::Client;
use super::pursuit::{Pursuit, outcome};

pub use list::ListRequest;
pub use read::{GetRequest, SizeRequest};
pub use write::{CompareExchangeRequest, DeleteRequest, SetRequest};

mod list;
mod read;
mod write;

/// An operation on its way to its answer.
///
/// Dropped before it was first polled, it was not sent. Dropped later, a write's outcome is unknown: it
/// may have been executed, or may yet be.
#[must_use = "futures do nothing unless polled"]
pub struct OperationFuture<A> {
    stage: Stage,
    answer: fn(Outcome) -> Result<A, Error>,
}

enum Stage {
    Pursued(Pursuit),
    Refused(Option<Refusal>),
}

impl<A> OperationFuture<A> {
    fn pursue(client: Client, operation: Operation, timeout: Duration, answer: fn(Outcome) -> Result<A, Error>) -> Self {
        Self {
            stage: Stage::Pursued(Pursuit::new(client, operation, timeout)),
            answer,
        }
    }

    fn refuse(refusal: Refusal, answer: fn(Outcome) -> Result<A, Error>) -> Self {
        Self {
            stage: Stage::Refused(Some(refusal)),
            answer,
        }
    }
}

impl<A> Future for OperationFuture<A> {
    type Output = Result<A, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = match &mut self.stage {
            Stage::Pursued(pursuit) => Pin::new(pursuit).poll(cx).map(outcome),
            Stage::Refused(refusal) => refusal
                .take()
                .map_or(Poll::Pending, |refusal| Poll::Ready(Err(Error::Refused(refusal)))),
        };
        answered.map(self.answer)
    }
}
