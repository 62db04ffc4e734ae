//! Operations that read one key.

use std::time::Duration;

use bytes::Bytes;
use margate_net::ids::Version;
use margate_net::message::{Consistency, Operation, ReadVersion, Returning};

use crate::api::{Found, Measured, found, measured};
use crate::error::Error;

use super::super::Client;
use super::OperationFuture;

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

impl GetRequest {
    pub(in super::super) fn new(client: Client, key: Bytes) -> Self {
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

impl SizeRequest {
    pub(in super::super) fn new(client: Client, key: Bytes) -> Self {
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
