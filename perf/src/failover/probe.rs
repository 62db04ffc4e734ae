//! Puts that begin by the clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use margate_client::Client;
use margate_net::ids::ShardId;
use margate_net::map::MapShard;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::seen::Seen;
use crate::error::PerfError;
use crate::margate::target::config;
use crate::workload::keys::key;

/// Keys that are written in each shard, in turn.
const KEYS: usize = 64;

/// One shard under probes.
pub(crate) struct Target {
    /// Which one.
    pub(crate) shard: ShardId,
    client: Client,
    keys: Vec<Bytes>,
    seen: Mutex<Seen>,
}

impl Target {
    /// One for each shard of the deployment, with connections of its own.
    ///
    /// # Errors
    /// No endpoint answers.
    pub(crate) async fn of_each_shard(endpoints: &[SocketAddr]) -> Result<Vec<Arc<Self>>, PerfError> {
        let scout = Client::connect(config(endpoints)).await?;
        let map = scout.map().await;
        scout.close().await;
        let mut targets = Vec::with_capacity(map.shards().len());
        for shard in map.shards() {
            targets.push(Arc::new(Self {
                shard: shard.id,
                client: Client::connect(config(endpoints)).await?,
                keys: keys_of(shard),
                seen: Mutex::default(),
            }));
        }
        Ok(targets)
    }

    /// What its puts have shown.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one put. What fails is seen by what is missing.
    async fn put(self: Arc<Self>, number: u64) {
        let began = Instant::now();
        self.seen().begin();
        let turn = usize::try_from(number).unwrap_or_default() % KEYS;
        let value = number.to_be_bytes().to_vec();
        if self.client.set(self.keys[turn].clone(), value).await.is_ok() {
            self.seen().acknowledged(began, Instant::now());
        }
    }
}

/// The first keys of the workload that lie in the shard. A shard too narrow for them gets its own first key.
fn keys_of(shard: &MapShard) -> Vec<Bytes> {
    const DRAWS: u64 = 1 << 20;
    let mut keys: Vec<Bytes> = (0..DRAWS).map(key).filter(|key| shard.contains(key)).take(KEYS).collect();
    keys.resize(KEYS, shard.low.clone());
    keys
}

/// Puts under way; dropping it ends them.
pub(crate) struct Probing {
    _tasks: JoinSet<()>,
}

impl Probing {
    /// Begins `rate` puts per second, spread over the targets.
    pub(crate) fn start(targets: Vec<Arc<Target>>, rate: u32) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(tick(targets, rate));
        Self { _tasks: tasks }
    }
}

/// Each put ends within the client's timeout, so there are never more than rate times timeout.
async fn tick(targets: Vec<Arc<Target>>, rate: u32) {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut puts = JoinSet::new();
    for (target, number) in targets.iter().cycle().zip(0u64..) {
        ticks.tick().await;
        while puts.try_join_next().is_some() {}
        puts.spawn(target.clone().put(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_net::ids::{MemberEpoch, RangeEpoch};

    fn shard(low: &'static [u8], high: &'static [u8]) -> MapShard {
        MapShard {
            id: ShardId(1),
            low: Bytes::from_static(low),
            high: Bytes::from_static(high),
            range_epoch: RangeEpoch(1),
            member_epoch: MemberEpoch(1),
            replicas: Vec::new(),
        }
    }

    #[test]
    fn every_key_of_a_target_lies_in_its_shard() {
        for shard in [shard(b"", b"\x40"), shard(b"\xc0", b""), shard(b"narrow", b"narrow\0")] {
            let keys = keys_of(&shard);
            assert_eq!(keys.len(), KEYS);
            assert!(keys.iter().all(|key| shard.contains(key)), "{shard:?}");
        }
    }
}
