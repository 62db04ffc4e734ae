//! Lists, which may ask many shards one after the other.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use margate_net::limits::LIST_ROWS_MAX;
use margate_net::message::{Consistency, Direction, Projection};

use crate::api::{Page, ZERO_LIMIT, listed};
use crate::error::Error;
use crate::walk::{Bounds, Step, Walk};

use super::super::Client;
use super::super::pursuit::Pursuit;

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

impl ListRequest {
    pub(in super::super) fn new(client: Client, low: Bytes, high: Bytes) -> Self {
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

impl IntoFuture for ListRequest {
    type Output = Result<Page, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.walk())
    }
}
