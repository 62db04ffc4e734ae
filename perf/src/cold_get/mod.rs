//! Reads of values that no cache holds, beside what the disk reads without us.
//!
//! There are so many values that even the core which leads least of them leads several times what its cache holds. So most reads go to
//! the disk, directly: what the page cache holds does not help.
//!
//! Not here, on purpose: running it (`commands/cold_get.rs`).

pub(crate) mod arguments;

use margate_engine::limits::VALUE_CACHE_BYTES;
use margate_net::ids::{CoreId, NodeId};
use margate_net::message::{CoreStatus, ReplicaRole};

/// What leaders lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Shards in all.
    pub(crate) shards: u64,
    /// Shards that the core leads which leads fewest, but some.
    pub(crate) fewest: u64,
}

impl Spread {
    /// As these cores say.
    pub(crate) fn of(cores: &[CoreStatus]) -> Self {
        let led = |core: &CoreStatus| {
            let leads = core.replicas.iter().filter(|replica| replica.role == ReplicaRole::Leader);
            leads.count() as u64
        };
        let by_core: std::collections::BTreeMap<(NodeId, CoreId), u64> = cores
            .iter()
            .map(|core| ((core.node, core.core), led(core)))
            .filter(|(_, led)| *led > 0)
            .collect();
        Self {
            shards: by_core.values().sum(),
            fewest: by_core.values().copied().min().unwrap_or(0),
        }
    }

    /// Keys, spread evenly over the shards, of which every core that leads any leads so many times what its cache holds.
    pub(crate) fn keys(self, times: u64, value_bytes: usize) -> u64 {
        let cached = VALUE_CACHE_BYTES.div_ceil(value_bytes.max(1) as u64);
        (times * cached * self.shards).div_ceil(self.fewest.max(1)).max(1)
    }

    /// Times its cache that the core leads which leads fewest.
    pub(crate) fn times(self, keys: u64, value_bytes: usize) -> f64 {
        let led = keys as f64 * value_bytes as f64 * self.fewest as f64 / self.shards.max(1) as f64;
        led / VALUE_CACHE_BYTES as f64
    }
}

#[cfg(test)]
mod tests {
    use margate_net::ids::{ReplicaId, ShardId};
    use margate_net::message::ReplicaStatus;

    use super::*;
    use crate::margate::cores::tests::core;

    #[test]
    fn the_core_that_leads_least_decides() {
        let leader = |shard| ReplicaStatus::new(ShardId(shard), ReplicaId(1), ReplicaRole::Leader);
        let cores = [
            core(1, vec![leader(1), leader(2), leader(3)]),
            core(2, vec![leader(4)]),
            core(3, Vec::new()),
        ];
        let spread = Spread::of(&cores);
        assert_eq!((spread.shards, spread.fewest), (4, 1));
        let keys = spread.keys(4, 256);
        assert_eq!(keys, 4 * 4 * VALUE_CACHE_BYTES / 256);
        assert!((spread.times(keys, 256) - 4.0).abs() < 1e-6);
    }
}
