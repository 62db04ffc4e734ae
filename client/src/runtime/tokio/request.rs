//! Operations being put together: options first, then sent when awaited.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use margate_net::error::Refusal;
use margate_net::ids::Version;
use margate_net::limits::LIST_ROWS_MAX;
use margate_net::message::{Consistency, Direction, Operation, Projection, ReadVersion, Returning};

use crate::api::{Conditions, Deleted, Exchanged, Found, Measured, Outcome, Page, Written};
use crate::api::{ZERO_LIMIT, deleted, exchanged, found, listed, measured, written};
use crate::error::Error;
use crate::walk::{Bounds, Step, Walk};

use super::Client;
use super::pursuit::{Pursuit, outcome};

/// A set; await it to send it.
#[derive(Clone)]
#[must_use = "an operation is sent when it is awaited"]
pub struct SetRequest {
    client: Client,
    timeout: Duration,
    key: Bytes,
    value: Bytes,
    conditions: Conditions,
    returning: Returning,
}

/// A get; await it to send it.
#[derive(Clone)]
#[must_use = "an operation is sent when it is awaited"]
pub struct GetRequest {
    client: Client,
    timeout: Duration,
    key: Bytes,
    version: ReadVersion,
    consistency: Consistency,
    returning: Returning,
}

/// A delete; await it to send it.
#[derive(Clone)]
#[must_use = "an operation is sent when it is awaited"]
pub struct DeleteRequest {
    client: Client,
    timeout: Duration,
    key: Bytes,
    at_version: Option<Version>,
    returning: Returning,
}

/// A question for a value's size; await it to send it.
#[derive(Clone)]
#[must_use = "an operation is sent when it is awaited"]
pub struct SizeRequest {
    client: Client,
    timeout: Duration,
    key: Bytes,
    version: ReadVersion,
    consistency: Consistency,
    returning: Returning,
}

/// A compare-exchange; await it to send it.
#[derive(Clone)]
#[must_use = "an operation is sent when it is awaited"]
pub struct CompareExchangeRequest {
    client: Client,
    timeout: Duration,
    key: Bytes,
    expected: Bytes,
    value: Bytes,
    returning: Returning,
}

/// A list; await it to send it.
#[derive(Clone)]
#[must_use = "an operation is sent when it is awaited"]
pub struct ListRequest {
    client: Client,
    timeout: Duration,
    bounds: Bounds,
    limit: usize,
    direction: Direction,
    projection: Projection,
    consistency: Consistency,
}

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

impl SetRequest {
    pub(super) fn new(client: Client, key: Bytes, value: Bytes) -> Self {
        Self {
            timeout: client.config().timeout,
            client,
            key,
            value,
            conditions: Conditions::default(),
            returning: Returning::default(),
        }
    }

    /// Write only if the key does not exist.
    pub fn create_only(mut self) -> Self {
        self.conditions.create_only = true;
        self
    }

    /// Write only if the key exists.
    pub fn modify_only(mut self) -> Self {
        self.conditions.modify_only = true;
        self
    }

    /// Write only if the key is at this version.
    pub fn at_version(mut self, version: Version) -> Self {
        self.conditions.at_version = Some(version);
        self
    }

    /// Send the key back.
    pub fn return_key(mut self) -> Self {
        self.returning.key = true;
        self
    }

    /// Send the value back that stood before.
    pub fn return_old_value(mut self) -> Self {
        self.returning.old_value = true;
        self
    }

    /// Time for this operation instead of the client's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl GetRequest {
    pub(super) fn new(client: Client, key: Bytes) -> Self {
        Self {
            timeout: client.config().timeout,
            client,
            key,
            version: ReadVersion::default(),
            consistency: Consistency::default(),
            returning: Returning::default(),
        }
    }

    /// Read exactly this version, which is there only while it is the latest.
    pub fn version(mut self, version: Version) -> Self {
        self.version = ReadVersion::Exact(version);
        self
    }

    /// Read what any replica has applied; cheaper, and perhaps old.
    pub fn stale(mut self) -> Self {
        self.consistency = Consistency::Stale;
        self
    }

    /// Send the key back.
    pub fn return_key(mut self) -> Self {
        self.returning.key = true;
        self
    }

    /// Time for this operation instead of the client's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl DeleteRequest {
    pub(super) fn new(client: Client, key: Bytes) -> Self {
        Self {
            timeout: client.config().timeout,
            client,
            key,
            at_version: None,
            returning: Returning::default(),
        }
    }

    /// Delete only if the key is at this version.
    pub fn at_version(mut self, version: Version) -> Self {
        self.at_version = Some(version);
        self
    }

    /// Send the key back.
    pub fn return_key(mut self) -> Self {
        self.returning.key = true;
        self
    }

    /// Send the value back that stood before.
    pub fn return_old_value(mut self) -> Self {
        self.returning.old_value = true;
        self
    }

    /// Time for this operation instead of the client's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl SizeRequest {
    pub(super) fn new(client: Client, key: Bytes) -> Self {
        Self {
            timeout: client.config().timeout,
            client,
            key,
            version: ReadVersion::default(),
            consistency: Consistency::default(),
            returning: Returning::default(),
        }
    }

    /// Ask about exactly this version, which is there only while it is the latest.
    pub fn version(mut self, version: Version) -> Self {
        self.version = ReadVersion::Exact(version);
        self
    }

    /// Ask what any replica has applied; cheaper, and perhaps old.
    pub fn stale(mut self) -> Self {
        self.consistency = Consistency::Stale;
        self
    }

    /// Send the key back.
    pub fn return_key(mut self) -> Self {
        self.returning.key = true;
        self
    }

    /// Time for this operation instead of the client's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl CompareExchangeRequest {
    pub(super) fn new(client: Client, key: Bytes, expected: Bytes, value: Bytes) -> Self {
        Self {
            timeout: client.config().timeout,
            client,
            key,
            expected,
            value,
            returning: Returning::default(),
        }
    }

    /// Send the key back.
    pub fn return_key(mut self) -> Self {
        self.returning.key = true;
        self
    }

    /// Send the value back that stood before.
    pub fn return_old_value(mut self) -> Self {
        self.returning.old_value = true;
        self
    }

    /// Time for this operation instead of the client's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl ListRequest {
    pub(super) fn new(client: Client, low: Bytes, high: Bytes) -> Self {
        Self {
            timeout: client.config().timeout,
            client,
            bounds: Bounds { low, high },
            limit: LIST_ROWS_MAX as usize,
            direction: Direction::default(),
            projection: Projection::default(),
            consistency: Consistency::default(),
        }
    }

    /// List only keys that start with this; narrows the bounds.
    pub fn prefix(mut self, prefix: impl Into<Bytes>) -> Self {
        self.bounds.narrow_to_prefix(&prefix.into());
        self
    }

    /// At most this many rows, at least 1. Default: 1,024. All rows of a page are held in memory; after
    /// 64 MiB of them a page ends with a resume whatever its limit.
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }

    /// From the largest key down.
    pub fn reverse(mut self) -> Self {
        self.direction = Direction::Reverse;
        self
    }

    /// Keys and versions without values.
    pub fn keys_only(mut self) -> Self {
        self.projection = Projection::KeysOnly;
        self
    }

    /// List what any replica has applied; cheaper, and perhaps old.
    pub fn stale(mut self) -> Self {
        self.consistency = Consistency::Stale;
        self
    }

    /// Time for the whole list instead of the client's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn walk(self) -> Result<Page, Error> {
        if self.limit == 0 {
            return Err(Error::Refused(ZERO_LIMIT));
        }
        let began = self.client.clock().now();
        let mut walk = Walk::new(self.bounds, self.limit, self.direction, self.projection, self.consistency);
        loop {
            let spent = began.until(self.client.clock().now());
            let left = self.timeout.saturating_sub(spent);
            let answered = Pursuit::new(self.client.clone(), walk.part(), left).await?;
            let (rows, resume) = listed(answered.success)?;
            match walk.step(&Bounds::of(answered.operation), rows, resume)? {
                Step::Ask(next) => walk = next,
                Step::Done(page) => return Ok(page),
            }
        }
    }
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

impl IntoFuture for SetRequest {
    type Output = Result<Written, Error>;
    type IntoFuture = OperationFuture<Written>;

    fn into_future(self) -> Self::IntoFuture {
        let precondition = match self.conditions.precondition() {
            Ok(precondition) => precondition,
            Err(refusal) => return OperationFuture::refuse(refusal, written),
        };
        let operation = Operation::Set {
            key: self.key,
            value: self.value,
            precondition,
            returning: self.returning,
        };
        OperationFuture::pursue(self.client, operation, self.timeout, written)
    }
}

impl IntoFuture for GetRequest {
    type Output = Result<Option<Found>, Error>;
    type IntoFuture = OperationFuture<Option<Found>>;

    fn into_future(self) -> Self::IntoFuture {
        let operation = Operation::Get {
            key: self.key,
            version: self.version,
            consistency: self.consistency,
            returning: self.returning,
        };
        OperationFuture::pursue(self.client, operation, self.timeout, found)
    }
}

impl IntoFuture for DeleteRequest {
    type Output = Result<Deleted, Error>;
    type IntoFuture = OperationFuture<Deleted>;

    fn into_future(self) -> Self::IntoFuture {
        let operation = Operation::Delete {
            key: self.key,
            at_version: self.at_version,
            returning: self.returning,
        };
        OperationFuture::pursue(self.client, operation, self.timeout, deleted)
    }
}

impl IntoFuture for SizeRequest {
    type Output = Result<Option<Measured>, Error>;
    type IntoFuture = OperationFuture<Option<Measured>>;

    fn into_future(self) -> Self::IntoFuture {
        let operation = Operation::Size {
            key: self.key,
            version: self.version,
            consistency: self.consistency,
            returning: self.returning,
        };
        OperationFuture::pursue(self.client, operation, self.timeout, measured)
    }
}

impl IntoFuture for CompareExchangeRequest {
    type Output = Result<Exchanged, Error>;
    type IntoFuture = OperationFuture<Exchanged>;

    fn into_future(self) -> Self::IntoFuture {
        let operation = Operation::CompareExchange {
            key: self.key,
            expected: self.expected,
            value: self.value,
            returning: self.returning,
        };
        OperationFuture::pursue(self.client, operation, self.timeout, exchanged)
    }
}

impl IntoFuture for ListRequest {
    type Output = Result<Page, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.walk())
    }
}
