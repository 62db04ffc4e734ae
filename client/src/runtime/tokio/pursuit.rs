//! One operation from its first attempt to its answer.
//!
//! The way that nearly every operation takes (routed, room at once, answered) is polled by hand and
//! allocates nothing. Everything else (waiting for room, trying again, fetching the map) is [`pursue`],
//! boxed when it is needed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use margate_net::message::{Operation, Success};

use crate::api::{Outcome, check};
use crate::batch::{Ended, Submission};
use crate::error::{Error, Obstacle};
use crate::moment::Moment;
use crate::retry::{Attempt, Failure, MapNeed, Purpose, Verdict, judge};

use super::Client;
use super::link::Exchange;
use super::shared::Aim;

/// See the module's text.
pub(super) struct Pursuit {
    client: Client,
    stage: Stage,
}

/// An operation that was carried out.
pub(super) struct Answered {
    pub(super) success: Success,
    /// As it was sent; a list may have been cut to a shard.
    pub(super) operation: Operation,
}

enum Stage {
    /// The first attempt is on its way.
    First {
        exchange: Exchange,
        aim: Aim,
        trail: Trail,
    },
    /// Something came in between.
    Long(Pin<Box<dyn Future<Output = Result<Answered, Error>> + Send>>),
    /// Nothing was done yet.
    New {
        operation: Operation,
        timeout: Duration,
    },
    Over,
}

/// What bounds an operation.
#[derive(Clone, Copy)]
struct Trail {
    purpose: Purpose,
    began: Moment,
    deadline: Moment,
    attempts: u32,
}

impl Pursuit {
    pub(super) fn new(client: Client, operation: Operation, timeout: Duration) -> Self {
        Self {
            client,
            stage: Stage::New { operation, timeout },
        }
    }

    /// Routes the operation and starts its first attempt, or the long way if that is not possible at once.
    fn begin(&self, mut operation: Operation, timeout: Duration) -> Result<Stage, Error> {
        check(&operation).map_err(Error::Refused)?;
        let trail = Trail::begin(&self.client, &operation, timeout);
        let aim = self.client.aim(&mut operation)?;
        if !aim.link.try_take_room() {
            return Ok(Stage::Long(Box::pin(pursue(self.client.clone(), operation, trail, None))));
        }
        let exchange = trail.exchange(&self.client, trail.began, &aim, operation);
        Ok(Stage::First {
            exchange,
            aim,
            trail: trail.counted(),
        })
    }
}

impl Future for Pursuit {
    type Output = Result<Answered, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::New { .. } = self.stage
            && let Stage::New { operation, timeout } = std::mem::replace(&mut self.stage, Stage::Over)
        {
            self.stage = self.begin(operation, timeout)?;
        }
        if let Stage::First { exchange, aim, trail } = &mut self.stage {
            let Poll::Ready(Ended { outcome, operation }) = Pin::new(exchange).poll(cx) else {
                return Poll::Pending;
            };
            let failed = match outcome {
                Ok(success) => return Poll::Ready(Ok(Answered { success, operation })),
                Err(failure) => Failed { aim: aim.clone(), failure },
            };
            let trail = *trail;
            self.stage = Stage::Long(Box::pin(pursue(self.client.clone(), operation, trail, Some(failed))));
        }
        match &mut self.stage {
            Stage::Long(future) => future.as_mut().poll(cx),
            Stage::First { .. } | Stage::New { .. } | Stage::Over => Poll::Pending,
        }
    }
}

/// An attempt that brought no answer, and where it was made.
struct Failed {
    aim: Aim,
    failure: Failure,
}

/// Tries until there is an answer or a verdict against trying.
async fn pursue(client: Client, mut operation: Operation, mut trail: Trail, mut failed: Option<Failed>) -> Result<Answered, Error> {
    loop {
        if let Some(failed) = failed.take() {
            recover(&client, &trail, failed).await?;
        }
        let aim = client.aim(&mut operation)?;
        let ended = attempt(&client, &trail, &aim, operation).await;
        trail = trail.counted();
        operation = ended.operation;
        match ended.outcome {
            Ok(success) => return Ok(Answered { success, operation }),
            Err(failure) => failed = Some(Failed { aim, failure }),
        }
    }
}

/// Waits for room if need be, then for the answer.
async fn attempt(client: &Client, trail: &Trail, aim: &Aim, operation: Operation) -> Ended {
    let deadline = client.clock().instant(trail.deadline);
    if tokio::time::timeout_at(deadline, aim.link.take_room()).await.is_err() {
        let address = aim.link.place.address;
        let outcome = Err(Failure::NotSent(Obstacle::WindowFull { address }));
        return Ended { outcome, operation };
    }
    let now = client.clock().now();
    trail.exchange(client, now, aim, operation).await
}

/// Learns from a failure, then does what its verdict asks for.
async fn recover(client: &Client, trail: &Trail, failed: Failed) -> Result<(), Error> {
    let Failed { aim, failure } = failed;
    let now = client.clock().now();
    client.learn(&aim.route, &failure);
    let verdict = judge(&Attempt {
        failure,
        address: aim.link.place.address,
        purpose: trail.purpose,
        attempts: trail.attempts,
        began: trail.began,
        deadline: trail.deadline,
        now,
        dice: client.roll(),
    });
    match verdict {
        Verdict::Fail(error) => Err(error),
        Verdict::Retry { after, map } => {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            match map {
                MapNeed::Keep => {}
                // Without a new map the next attempt meets the same refusal, which is then judged again.
                MapNeed::Fetch => {
                    let deadline = client.clock().instant(trail.deadline);
                    let _late = tokio::time::timeout_at(deadline, client.refresh_map(now)).await;
                }
            }
            Ok(())
        }
    }
}

impl Trail {
    fn begin(client: &Client, operation: &Operation, timeout: Duration) -> Self {
        let began = client.clock().now();
        Self {
            purpose: if operation.is_write() { Purpose::Write } else { Purpose::Read },
            began,
            deadline: began.plus(timeout),
            attempts: 0,
        }
    }

    /// One attempt more.
    fn counted(self) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            ..self
        }
    }

    /// An attempt, its room already taken. Reads are asked again before all their time is over.
    fn exchange(&self, client: &Client, now: Moment, aim: &Aim, operation: Operation) -> Exchange {
        let expires = match self.purpose {
            Purpose::Read => self.deadline.min(now.plus(client.config().read_attempt_timeout)),
            Purpose::Write => self.deadline,
        };
        let submission = Submission {
            shard: aim.route.shard,
            range_epoch: aim.route.range_epoch,
            operation,
            deadline: self.deadline,
            expires,
        };
        Exchange::new(aim.link.clone(), submission)
    }
}

/// The answer alone.
pub(super) fn outcome(answered: Result<Answered, Error>) -> Outcome {
    answered.map(|answered| answered.success)
}
