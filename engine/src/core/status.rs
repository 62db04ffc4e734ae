//! What a core says of itself and of the replicas that it does not run.
//!
//! Not here, on purpose: what each replica says of itself (`shard`), stopping one (`machine`).

use margate_net::ids::{LogIndex, Term};
use margate_net::message::{CoreStatus, ReplicaRole, ReplicaStatus, WritesTaken};

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
            replicas: running.chain(stopped).collect(),
        }
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
    let (term, none) = (Term(0), LogIndex(0));
    let role = ReplicaRole::Damaged;
    ReplicaStatus {
        shard: name.shard,
        replica: name.replica,
        role,
        leader: None,
        term,
        commit: none,
        applied: none,
        last: none,
        writes: WritesTaken::None,
    }
}
