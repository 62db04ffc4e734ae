//! What a core says of itself and of the replicas that it does not run.
//!
//! Not here, on purpose: what each replica says of itself (`shard`), stopping one (`machine`).

use margate_net::message::{CoreStatus, Readiness, ReplicaRole, ReplicaStatus};

use super::machine::Core;
use crate::index::store::IndexReader;
use crate::types::ReplicaName;

impl<R: IndexReader> Core<R> {
    /// What it tells `margate status`, but for what only its node knows.
    #[must_use]
    pub fn status(&self) -> CoreStatus {
        let running = self.running.values().map(|running| running.replica.status());
        let stopped = self.damaged().chain(self.suspects()).map(stopped_status);
        let segment_bytes = u64::from(self.log_config.segment_bytes);
        let segments = u64::from(self.log.position().segment + 1 - self.log.oldest_segment());
        let log_ready_bytes = self.log.segments_ready() as u64 * segment_bytes;
        CoreStatus {
            node: self.log_config.node,
            core: self.log_config.core,
            uptime_secs: 0,
            log_bytes: segments * segment_bytes + log_ready_bytes,
            log_ready_bytes,
            index_bytes: self.index.reader().bytes_used().unwrap_or(0),
            overlay_rows: self.index.overlay_rows() as u64,
            segment_waits: self.log.segment_waits(),
            disk: self.room.state(),
            writes_refused: self.counters().writes_refused,
            shards_awaited: self.shards_awaited(),
            replicas: running.chain(stopped).collect(),
            measures: None,
        }
    }

    /// Shards of which it is to have a replica and has none, not even one that does not run.
    fn shards_awaited(&self) -> u32 {
        let has = |shard| self.running.contains_key(shard) || self.damaged.contains_key(shard) || self.suspects.contains_key(shard);
        let awaited = self.nursery.shards.keys().filter(|shard| !has(shard)).count();
        u32::try_from(awaited).unwrap_or(u32::MAX)
    }

    /// The replicas that do not run because they are damaged, for checkers.
    pub fn damaged(&self) -> impl Iterator<Item = ReplicaName> + '_ {
        self.damaged.values().map(|marks| marks.name)
    }

    /// The replicas that do not run because raft panicked too often over them.
    pub fn suspects(&self) -> impl Iterator<Item = ReplicaName> + '_ {
        self.suspects.values().map(|one| one.marks.name)
    }
}

fn stopped_status(name: ReplicaName) -> ReplicaStatus {
    ReplicaStatus {
        readiness: Readiness::Damaged,
        ..ReplicaStatus::new(name.shard, name.replica, ReplicaRole::Damaged)
    }
}
