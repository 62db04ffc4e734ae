//! Operations that may change state.

use std::time::Duration;

use bytes::Bytes;
use margate_net::ids::Version;
use margate_net::message::{Operation, Returning};

use crate::api::{Conditions, Deleted, Exchanged, Written, deleted, exchanged, written};
use crate::error::Error;

use super::super::Client;
use super::OperationFuture;

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

impl SetRequest {
    pub(in super::super) fn new(client: Client, key: Bytes, value: Bytes) -> Self {
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

impl DeleteRequest {
    pub(in super::super) fn new(client: Client, key: Bytes) -> Self {
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

impl CompareExchangeRequest {
    pub(in super::super) fn new(client: Client, key: Bytes, expected: Bytes, value: Bytes) -> Self {
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
