//! A client that comes back at once, whatever a core asks it to do.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use margate_net::error::{Refusal, RetryClass};
use margate_net::ids::{CoreId, NodeId, ShardId};
use margate_net::map::{Map, MapShard};
use margate_net::message::{Operation, Precondition, Request, Returning};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use crate::target::{Effect, Failure};

/// Time for one operation, as the public client takes it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What a worker waits whose connection has ended: nothing more will come of it.
const ENDED_PAUSE: Duration = Duration::from_millis(100);

/// A client with a connection to each core.
pub(crate) struct Impatient {
    map: Arc<Map>,
    connections: HashMap<(NodeId, CoreId), Connection>,
    /// Who leads each shard, by the last word of any core.
    leaders: Mutex<HashMap<ShardId, NodeId>>,
    ignored: AtomicU64,
}

/// Why a write was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImpatientError {
    /// Its core closed the connection.
    #[error("a connection ended before there was an answer")]
    Ended,
    /// A core refused it for good.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It was refused again and again.
    #[error("refused for {TIMEOUT:?}, at last: {0}")]
    Late(Refusal),
}

impl Impatient {
    /// Connects to every core of this map.
    ///
    /// # Errors
    /// A core takes no connection.
    pub(crate) async fn connect(map: Arc<Map>) -> io::Result<Self> {
        let mut connections = HashMap::new();
        for node in map.nodes() {
            for (core, address) in (0..).map(CoreId).zip(&node.cores) {
                connections.insert((node.id, core), Connection::open(*address).await?);
            }
        }
        Ok(Self {
            map,
            connections,
            leaders: Mutex::default(),
            ignored: AtomicU64::new(0),
        })
    }

    /// Times a core asked for patience and got none.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Writes, at once and again.
    ///
    /// # Errors
    /// [`ImpatientError`]: it was not acknowledged.
    pub(crate) async fn put(&self, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let shard = self.map.shard_of(&key);
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let request = set(shard, &key, &value);
            let answered = match self.connection(shard) {
                Some(connection) => connection.ask(request).await,
                None => None,
            };
            let refusal = match answered {
                Some(Ok(_)) => return Ok(()),
                Some(Err(refusal)) => refusal,
                None => {
                    sleep(ENDED_PAUSE).await;
                    return Err(unknown(ImpatientError::Ended));
                }
            };
            match refusal.retry() {
                RetryClass::Never => return Err(Failure::none(ImpatientError::Refused(refusal))),
                RetryClass::OutcomeUnknown => return Err(unknown(ImpatientError::Refused(refusal))),
                RetryClass::AfterMs(_) => drop(self.ignored.fetch_add(1, Ordering::Relaxed)),
                RetryClass::NowWithNewMap => self.look_elsewhere(shard, refusal),
            }
            if Instant::now() >= deadline {
                return Err(Failure::none(ImpatientError::Late(refusal)));
            }
        }
    }

    /// To the core that leads, as far as is known.
    fn connection(&self, shard: &MapShard) -> Option<&Connection> {
        let known = self.leaders().get(&shard.id).and_then(|node| shard.replica_on(*node));
        let replica = known.or_else(|| shard.replicas.first())?;
        self.connections.get(&(replica.node, replica.core))
    }

    /// Another core than the one that refused: the one it names, or the next.
    fn look_elsewhere(&self, shard: &MapShard, refusal: Refusal) {
        let mut leaders = self.leaders();
        let known = leaders.get(&shard.id).copied();
        let at = shard.replicas.iter().position(|replica| Some(replica.node) == known).unwrap_or(0);
        let next = shard.replicas[(at + 1) % shard.replicas.len()].node;
        let named = if let Refusal::NotLeader { leader } = refusal {
            leader
        } else {
            None
        };
        leaders.insert(shard.id, named.unwrap_or(next));
    }

    fn leaders(&self) -> MutexGuard<'_, HashMap<ShardId, NodeId>> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(error: ImpatientError) -> Failure {
    Failure {
        effect: Effect::Unknown,
        cause: Box::new(error),
    }
}

fn set(shard: &MapShard, key: &Bytes, value: &Bytes) -> Request {
    Request {
        id: 0,
        shard: shard.id,
        range_epoch: shard.range_epoch,
        timeout_ms: u32::try_from(TIMEOUT.as_millis()).unwrap_or(u32::MAX),
        operation: Operation::Set {
            key: key.clone(),
            value: value.clone(),
            precondition: Precondition::Always,
            returning: Returning::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use margate_net::ids::{ClusterId, MapEpoch, MemberEpoch, RangeEpoch, ReplicaId};
    use margate_net::map::{MapNode, MapReplica};

    use super::*;

    fn map() -> Map {
        let node = |id| MapNode {
            id: NodeId(id),
            cores: vec![([127, 0, 0, 1], 1).into()],
        };
        let replica = |node| MapReplica {
            id: ReplicaId(node),
            node: NodeId(node),
            core: CoreId(0),
        };
        let shard = MapShard {
            id: ShardId(1),
            low: Bytes::new(),
            high: Bytes::new(),
            range_epoch: RangeEpoch(1),
            member_epoch: MemberEpoch(1),
            replicas: vec![replica(1), replica(2), replica(3)],
        };
        Map::new(ClusterId(1), MapEpoch(1), vec![node(1), node(2), node(3)], vec![shard]).expect("it is a map")
    }

    #[test]
    fn a_leader_that_is_named_is_followed_and_else_all_are_tried() {
        let client = Impatient {
            map: Arc::new(map()),
            connections: HashMap::new(),
            leaders: Mutex::default(),
            ignored: AtomicU64::new(0),
        };
        let shard = &client.map.shards()[0];
        let told = |leader: Option<u64>| {
            let leader = leader.map(NodeId);
            client.look_elsewhere(shard, Refusal::NotLeader { leader });
            client.leaders()[&shard.id].0
        };
        assert_eq!([told(None), told(None), told(None), told(Some(2)), told(None)], [2, 3, 1, 2, 3]);
    }
}
