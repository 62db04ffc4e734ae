//! The client on tokio: [`Client`], its calls, and what they wait on.
//!
//! One operation's way: [`Client::set`] makes a [`SetRequest`]; awaited, it becomes a `Pursuit`, which
//! asks the routing table for a link (`Shared::aim`), takes room in its window and puts the operation in
//! (`Link::submit`). The link's driver, one task per core, drains the window into frames
//! (`Link::take_frame`), writes them, reads the answers and wakes who waits (`Link::complete`). What
//! fails is judged (`retry::judge`) and, if that is safe, tried again.
//!
//! ```no_run
//! use margate_client::{Client, ClientConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(ClientConfig::default()).await?;
//! let written = client.set("colour", "green").create_only().await?;
//! let found = client.get("colour").await?.expect("it was just written");
//! assert_eq!((found.version, found.value.as_ref()), (written.version, b"green".as_ref()));
//! # Ok(())
//! # }
//! ```
//!
//! Not here, on purpose: what may be tried again (`retry.rs`), which replica leads (`route.rs`), what
//! goes into a frame (`batch.rs`).

use std::sync::Arc;

use bytes::Bytes;
use margate_net::map::Map;
use margate_net::message::{Operation, StatusDetail};
use tokio::task::JoinSet;

use crate::api::CoreStatusReply;
use crate::config::{BatchWriterConfig, ClientConfig};
use crate::error::{ConnectError, Error, Obstacle};
use crate::moment::Moment;
use crate::retry::Failure;
use crate::route::{Place, Route};

use clock::Clock;
pub use request::{CompareExchangeRequest, DeleteRequest, GetRequest, ListRequest, OperationFuture, SetRequest, SizeRequest};
use shared::{Aim, Shared};
pub use writer::{BatchWriter, Flush, HandOver, Receipt};

mod clock;
mod dial;
mod driver;
mod link;
mod pursuit;
mod request;
mod shared;
mod writer;

/// A client of one deployment. Clones are cheap and share everything; any number of tasks may use one.
///
/// Each core of the deployment gets at most one connection, made when it is first needed. Dropping the
/// last clone closes them; [`Client::close`] first waits for what is under way.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// Finds the deployment: asks the endpoints for the map, in turn and again, until one answers.
    ///
    /// Must be called inside a tokio runtime with its network and time drivers on; connections run there.
    ///
    /// # Errors
    /// [`ConnectError`] if none answered within `config.timeout`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        let shared = Arc::new(Shared::connect(config).await?);
        Ok(Self { shared })
    }

    /// Writes a value.
    pub fn set(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> SetRequest {
        SetRequest::new(self.clone(), key.into(), value.into())
    }

    /// Reads a value; a missing key is `None`.
    pub fn get(&self, key: impl Into<Bytes>) -> GetRequest {
        GetRequest::new(self.clone(), key.into())
    }

    /// Deletes a key; a missing key, or one at another version, is a success without a version.
    pub fn delete(&self, key: impl Into<Bytes>) -> DeleteRequest {
        DeleteRequest::new(self.clone(), key.into())
    }

    /// Reads a value's size in bytes without the value; a missing key is `None`.
    pub fn size(&self, key: impl Into<Bytes>) -> SizeRequest {
        SizeRequest::new(self.clone(), key.into())
    }

    /// Writes a value if the present one equals `expected`; otherwise a success without a version.
    pub fn compare_exchange(&self, key: impl Into<Bytes>, expected: impl Into<Bytes>, value: impl Into<Bytes>) -> CompareExchangeRequest {
        CompareExchangeRequest::new(self.clone(), key.into(), expected.into(), value.into())
    }

    /// Lists `[low, high)` in order, shard by shard; an empty `high` is the end. Rows of one shard are
    /// consistent with each other, those of two shards need not be.
    pub fn list(&self, low: impl Into<Bytes>, high: impl Into<Bytes>) -> ListRequest {
        ListRequest::new(self.clone(), low.into(), high.into())
    }

    /// Lists the keys that start with `prefix`.
    pub fn list_prefix(&self, prefix: impl Into<Bytes>) -> ListRequest {
        self.list(Bytes::new(), Bytes::new()).prefix(prefix)
    }

    /// A writer for many sets and deletes: several times the throughput of as many single calls at once.
    /// It uses this client's connections.
    pub fn batch_writer(&self, config: BatchWriterConfig) -> BatchWriter {
        BatchWriter::new(self.clone(), &config)
    }

    /// The map as this client knows it now.
    pub async fn map(&self) -> Arc<Map> {
        self.shared.map()
    }

    /// Asks every core of every node how it is, all at once; waits at most `connect_timeout`.
    pub async fn status(&self) -> Vec<CoreStatusReply> {
        self.ask_all(StatusDetail::Brief).await
    }

    /// As [`Client::status`], with all that each core has counted and measured since its start.
    pub async fn measures(&self) -> Vec<CoreStatusReply> {
        self.ask_all(StatusDetail::Measures).await
    }

    async fn ask_all(&self, detail: StatusDetail) -> Vec<CoreStatusReply> {
        let map = self.shared.map();
        let mut asking = JoinSet::new();
        let places: Vec<Place> = map.nodes().iter().flat_map(Place::of_node).collect();
        for (ordinal, place) in places.iter().copied().enumerate() {
            let client = self.clone();
            asking.spawn(async move { (ordinal, client.core_status(place, detail).await) });
        }
        let mut replies = asking.join_all().await;
        replies.sort_by_key(|(ordinal, _)| *ordinal);
        replies.into_iter().map(|(_, reply)| reply).collect()
    }

    /// Takes no new operations, waits for those under way, at most `config.timeout`, then closes all
    /// connections. Operations of other clones that begin later end with [`Error::Closed`].
    pub async fn close(self) {
        self.shared.close().await;
    }

    async fn core_status(&self, place: Place, detail: StatusDetail) -> CoreStatusReply {
        let Place { node, core, address } = place;
        let began = self.clock().now();
        let status = self.shared.dialer.ask_status(address, (node, core), detail).await;
        CoreStatusReply {
            address,
            node,
            core,
            status: status.map_err(|fault| Error::Unavailable {
                after: began.until(self.clock().now()),
                last: Obstacle::Link { address, fault },
            }),
        }
    }

    fn aim(&self, operation: &mut Operation) -> Result<Aim, Error> {
        self.shared.aim(operation)
    }

    fn clock(&self) -> &Clock {
        &self.shared.dialer.clock
    }

    fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    fn learn(&self, route: &Route, failure: &Failure) {
        self.shared.learn(route.shard, route.node, failure);
    }

    async fn refresh_map(&self, since: Moment) {
        self.shared.refresh_map(since).await;
    }

    fn roll(&self) -> u64 {
        self.shared.dialer.dice.roll()
    }
}
