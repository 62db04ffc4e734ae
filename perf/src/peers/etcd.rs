//! etcd's client: linearizable ranges and puts over HTTP/2, one reply each.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::target::{Effect, Failure, Row, Target};

use api::kv_client::KvClient;
use api::maintenance_client::MaintenanceClient;
use api::{PutRequest, RangeRequest, StatusRequest};

/// The generated client of `proto/etcd.proto`.
#[expect(unreachable_pub, reason = "generated from etcd's API, which documents itself")]
mod api {
    tonic::include_proto!("etcdserverpb");
}

/// Time for one operation: the same as margate's client gives itself.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Calls a connection queues before it pushes back: more than any run has in flight.
const QUEUE: usize = 1 << 16;
/// Room for replies on a connection and on one call of it, so that large values do not wait for it.
const WINDOW_BYTES: u32 = 16 << 20;
/// What etcd takes for the end of the key space.
const TO_THE_END: Bytes = Bytes::from_static(b"\0");
/// And for as many rows as there are.
const NO_LIMIT: i64 = 0;

/// Connections to some members; workers share them in turn.
#[derive(Clone)]
pub(crate) struct Etcd {
    connections: Vec<KvClient<Channel>>,
}

/// What a member says about itself.
pub(crate) struct MemberStatus {
    /// It leads.
    pub(crate) leads: bool,
    /// It knows a leader.
    pub(crate) has_leader: bool,
    /// Its version.
    pub(crate) version: String,
}

impl Etcd {
    /// Opens connections, member by member in turn.
    ///
    /// # Errors
    /// A member does not answer.
    pub(crate) async fn connect(members: &[SocketAddr], connections: usize) -> Result<Self, tonic::transport::Error> {
        let mut opened = Vec::with_capacity(connections);
        for member in members.iter().cycle().take(connections) {
            let limit = usize::MAX;
            let client = KvClient::new(endpoint(*member)?.connect().await?);
            opened.push(client.max_decoding_message_size(limit).max_encoding_message_size(limit));
        }
        Ok(Self { connections: opened })
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// A linearizable look at one key, or at so many from `key` to `range_end`, in order.
    async fn range(&self, worker: usize, key: Bytes, range_end: Bytes, limit: i64) -> Result<Vec<Row>, Failure> {
        let request = RangeRequest {
            key,
            range_end,
            limit,
            serializable: false,
        };
        let reply = self.connection(worker).range(request).await.map_err(Failure::none)?;
        Ok(reply.into_inner().kvs.into_iter().map(|row| (row.key, row.value)).collect())
    }

    fn connection(&self, worker: usize) -> KvClient<Channel> {
        self.connections[worker % self.connections.len()].clone()
    }
}

/// Asks one member.
///
/// # Errors
/// The member's or the connection's.
pub(crate) async fn member_status(member: SocketAddr) -> Result<MemberStatus, Status> {
    let channel = endpoint(member)
        .map_err(|error| Status::from_error(Box::new(error)))?
        .connect()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let status = MaintenanceClient::new(channel).status(StatusRequest {}).await?.into_inner();
    let member_id = status.header.map_or(0, |header| header.member_id);
    Ok(MemberStatus {
        leads: status.leader != 0 && status.leader == member_id,
        has_leader: status.leader != 0,
        version: status.version,
    })
}

fn endpoint(member: SocketAddr) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{member}"))?
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        .tcp_nodelay(true)
        .buffer_size(QUEUE)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES))
}

impl Target for Etcd {
    async fn put(&self, worker: usize, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let reply = self.connection(worker).put(PutRequest { key, value }).await;
        reply.map(drop).map_err(|status| Failure {
            effect: effect_of_write(&status),
            cause: Box::new(status),
        })
    }

    async fn get(&self, worker: usize, key: Bytes) -> Result<Option<Bytes>, Failure> {
        let rows = self.range(worker, key, Bytes::new(), NO_LIMIT).await?;
        Ok(rows.into_iter().next().map(|(_, value)| value))
    }

    async fn scan(&self, worker: usize, low: Bytes, rows: usize) -> Result<Vec<Row>, Failure> {
        self.range(worker, low, TO_THE_END, i64::try_from(rows).unwrap_or(i64::MAX)).await
    }
}

/// Only refusals that etcd gives before it proposes prove that nothing was written.
fn effect_of_write(status: &Status) -> Effect {
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Effect::None,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Effect::Unknown,
    }
}
