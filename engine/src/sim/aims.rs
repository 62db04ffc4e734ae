//! Seeds that are made for one fault, which seldom leads to anything among all the others: five seeds in twelve. All others stay the
//! runs they would be without.
//!
//! Not here, on purpose: the faults (`nemesis`, `ballots`, `rot`, `lives`).

use super::faults::Fault;
use super::options::Options;
use crate::types::Nanos;

/// Members of every shard of such a seed.
const MEMBERS: usize = 3;
/// Reclaimed segments after which their node is killed.
const KILL_IN_RECLAIM_PER_MILLE: u64 = 150;
/// Times that a disk loses the end of its log.
const ENDS_LOST: u64 = 16;

impl Options {
    /// The world of this seed, made for its fault if it has one.
    pub(crate) fn aim(mut self, seed: u64) -> Self {
        let fault = match seed % 12 {
            1 => Fault::LateBallots,
            3 => Fault::RotAtEnd,
            5 => Fault::IndexLostReclaiming,
            7 => Fault::ClocksApart,
            11 => Fault::BridgeKill,
            _ => return self,
        };
        self.nodes = self.nodes.max(MEMBERS);
        self.replication = MEMBERS;
        match fault {
            Fault::IndexLostReclaiming => self.reclaim_often(),
            Fault::RotAtEnd => self.lose_only_ends(),
            _ => {}
        }
        if fault != Fault::IndexLostReclaiming {
            self.nemesis.kinds.push(fault);
            self.nemesis.aimed = Some(fault);
        }
        self
    }

    /// Short segments of small values that are often deleted, and entries that are known to be committed long after they are durable:
    /// a value is then copied though its delete is in the log already.
    fn reclaim_often(&mut self) {
        (self.value_bytes_max, self.segment_bytes) = (16, 32 << 10);
        self.mix.deletes = self.mix.sets;
        self.network.latency = (Nanos::from_millis(1), Nanos::from_millis(10));
        self.disk.write = (Nanos(50_000), Nanos(150_000));
        self.nemesis.kill_in_reclaim_per_mille = KILL_IN_RECLAIM_PER_MILLE;
    }

    /// Nothing else rots, and the index is behind the end of the log.
    fn lose_only_ends(&mut self) {
        let others = [Fault::RotRunning, Fault::Misdirected];
        self.nemesis.kinds.retain(|kind| !others.contains(kind));
        self.disk_faults.rot_at_rest_per_mille = 0;
        self.disk_faults.losses_left = ENDS_LOST;
        self.disk.index = (Nanos::from_millis(100), Nanos::from_millis(800));
    }
}
