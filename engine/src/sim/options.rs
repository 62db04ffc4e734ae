//! What a seed's world is like: each seed draws its own mixture (a swarm), so that a fault that hides another
//! is absent in some seeds.
//!
//! Not here, on purpose: carrying it out, seeds that are made for one fault (`aims`).

use bytes::Bytes;

use super::dice::Dice;
use super::disk_faults::DiskFaults;
use super::faults::Fault;
use crate::types::Nanos;

/// One seed's world.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) nodes: usize,
    pub(crate) cores: usize,
    pub(crate) shards: usize,
    pub(crate) replication: usize,
    pub(crate) clients: usize,
    /// Operations a client has open at once, at most.
    pub(crate) width: usize,
    pub(crate) keys: Vec<Bytes>,
    /// Operations of each client.
    pub(crate) operations: u64,
    pub(crate) value_bytes_max: u64,
    pub(crate) mix: Mix,
    /// Whether everything passes through the codec of the wire.
    pub(crate) wire: bool,
    pub(crate) tick: Nanos,
    /// How many times faster all nodes' clocks run, so that what waits for seconds comes often.
    pub(crate) haste: u64,
    pub(crate) segment_bytes: u32,
    pub(crate) segments_ready: usize,
    /// How long faults go on at least; they also go on until clients have asked everything.
    pub(crate) faults_until: Nanos,
    pub(crate) network: NetworkOptions,
    pub(crate) disk: DiskOptions,
    pub(crate) disk_faults: DiskFaults,
    pub(crate) nemesis: NemesisOptions,
}

/// What clients ask: the share of each kind, in any unit.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) sets: u64,
    pub(crate) exchanges: u64,
    pub(crate) deletes: u64,
    pub(crate) reads: u64,
    pub(crate) lists: u64,
    /// Sets that only create a key.
    pub(crate) create_only_per_mille: u64,
}

/// How messages travel.
#[derive(Clone, Debug)]
pub(crate) struct NetworkOptions {
    pub(crate) latency: (Nanos, Nanos),
    /// Longest time a message is held back that is held back.
    pub(crate) delay_max: Nanos,
    pub(crate) delayed_per_mille: u64,
    pub(crate) dropped_per_mille: u64,
    pub(crate) duplicated_per_mille: u64,
}

/// How long the disk takes.
#[derive(Clone, Debug)]
pub(crate) struct DiskOptions {
    pub(crate) write: (Nanos, Nanos),
    pub(crate) read: (Nanos, Nanos),
    pub(crate) segment: (Nanos, Nanos),
    pub(crate) index: (Nanos, Nanos),
}

/// What goes wrong, and how often.
#[derive(Clone, Debug)]
pub(crate) struct NemesisOptions {
    /// What may be done; nothing in a calm seed.
    pub(crate) kinds: Vec<Fault>,
    /// Time between two of them.
    pub(crate) pace: (Nanos, Nanos),
    /// Kills that come while a write is under way.
    pub(crate) kill_in_write_per_mille: u64,
    /// Kills that come while a generation is being committed.
    pub(crate) kill_in_commit_per_mille: u64,
    /// Restarts without the index.
    pub(crate) index_lost_per_mille: u64,
    /// What the seed is made for: it comes far more often than the others.
    pub(crate) aimed: Option<Fault>,
    /// Kills that come when a segment has just been reclaimed.
    pub(crate) kill_in_reclaim_per_mille: u64,
}

/// Operations clients ask in every seed, at least.
const OPERATIONS_MIN: u64 = 1_000;

/// What the nemesis does by itself; the other kinds follow from these or from the network's rates.
const KINDS: [Fault; 16] = [
    Fault::Kill,
    Fault::KillAll,
    Fault::Stop,
    Fault::StopUnheard,
    Fault::BridgeKill,
    Fault::Pause,
    Fault::Wipe,
    Fault::Partition,
    Fault::PartitionOneWay,
    Fault::Strand,
    Fault::ClientCut,
    Fault::Clog,
    Fault::ClockJump,
    Fault::ClockDrift,
    Fault::SlowDisk,
    Fault::SlowIndex,
];

impl Options {
    /// Draws a world.
    pub(crate) fn draw(dice: &mut Dice, disk_faults: DiskFaults) -> Self {
        let nodes = *dice.pick(&[1, 3, 3, 3, 3, 3, 3, 5]);
        let shards = dice.index(4) + 1;
        let clients = dice.index(5) + 3;
        let total = dice.between(OPERATIONS_MIN, 2 * OPERATIONS_MIN);
        // Values and segments go together: one entry of all that clients have open must fit a segment.
        let (value_bytes_max, segment_bytes) = *dice.pick(&[
            (16, 32 << 10),
            (300, 64 << 10),
            (300, 256 << 10),
            (1_500, 128 << 10),
            (1_500, 256 << 10),
            (20 << 10, 1 << 20),
        ]);
        let faults_until = dice.span(Nanos::from_millis(8_000), Nanos::from_millis(25_000));
        Self {
            nodes,
            cores: dice.index(2) + 1,
            shards,
            replication: if nodes == 5 { *dice.pick(&[3, 5]) } else { nodes },
            clients,
            width: dice.index(4) + 1,
            keys: keys(dice),
            operations: total.div_ceil(clients as u64),
            value_bytes_max,
            mix: Mix::draw(dice),
            wire: dice.chance(300),
            haste: *dice.pick(&[1, 5, 20]),
            tick: Nanos::from_millis(*dice.pick(&[20, 50, 50])),
            segment_bytes,
            segments_ready: dice.index(2) + 1,
            faults_until,
            network: NetworkOptions::draw(dice),
            disk: DiskOptions::draw(dice),
            nemesis: NemesisOptions::draw(dice).with(&disk_faults),
            disk_faults,
        }
    }

    /// Time between two ticks on a node's clock.
    pub(crate) fn local_tick(&self) -> Nanos {
        Nanos(self.tick.0 * self.haste)
    }

    /// Bounds that cut the keys' first bytes evenly.
    pub(crate) fn bounds(&self) -> Vec<Bytes> {
        let step = 256 / self.shards;
        (1..self.shards)
            .map(|at| u8::try_from(at * step).unwrap_or(u8::MAX))
            .map(|first| Bytes::copy_from_slice(&[first]))
            .collect()
    }
}

impl Mix {
    fn draw(dice: &mut Dice) -> Self {
        let mut share = |usual: u64| usual * *dice.pick(&[1, 1, 4]);
        let (sets, exchanges, deletes, reads, lists) = (share(35), share(12), share(11), share(40), share(8));
        Self {
            sets,
            exchanges,
            deletes,
            reads,
            lists,
            create_only_per_mille: *dice.pick(&[200, 200, 900]),
        }
    }

    /// All shares together.
    pub(crate) fn total(&self) -> u64 {
        self.sets + self.exchanges + self.deletes + self.reads + self.lists
    }
}

impl NetworkOptions {
    fn draw(dice: &mut Dice) -> Self {
        let low = Nanos(*dice.pick(&[20_000, 50_000, 500_000]));
        let high = Nanos(low.0 * *dice.pick(&[2, 5, 20]));
        let mut rate = |usual: u64| if dice.chance(500) { dice.between(1, usual) } else { 0 };
        Self {
            latency: (low, high),
            delayed_per_mille: rate(50),
            dropped_per_mille: rate(100),
            duplicated_per_mille: rate(100),
            delay_max: Nanos::from_millis(*dice.pick(&[5, 100, 1_500])),
        }
    }
}

impl DiskOptions {
    fn draw(dice: &mut Dice) -> Self {
        let write = Nanos(*dice.pick(&[50_000, 120_000, 1_000_000, 4_000_000]));
        Self {
            write: (write, Nanos(write.0 * 3)),
            read: (Nanos(30_000), Nanos(write.0 * 2)),
            segment: (Nanos::from_millis(1), Nanos::from_millis(*dice.pick(&[2, 20, 200]))),
            index: (Nanos::from_millis(1), Nanos::from_millis(*dice.pick(&[5, 50, 800]))),
        }
    }
}

impl NemesisOptions {
    fn draw(dice: &mut Dice) -> Self {
        let calm = dice.chance(50);
        let share = *dice.pick(&[250, 500, 1_000]);
        let kinds = KINDS.into_iter().filter(|_| !calm && dice.chance(share)).collect();
        let slowest = *dice.pick(&[500, 1_200, 3_000]);
        let mut rate = |usual: u64| if !calm && dice.chance(500) { usual } else { 0 };
        Self {
            kinds,
            pace: (Nanos::from_millis(50), Nanos::from_millis(slowest)),
            kill_in_write_per_mille: rate(12),
            kill_in_commit_per_mille: rate(100),
            index_lost_per_mille: rate(150),
            aimed: None,
            kill_in_reclaim_per_mille: 0,
        }
    }

    /// What disks do is done by the nemesis too; a calm seed stays calm.
    fn with(mut self, disk_faults: &DiskFaults) -> Self {
        if !self.kinds.is_empty() {
            self.kinds.extend(&disk_faults.kinds);
        }
        self
    }
}

/// A small key space, so that operations meet; its first bytes reach every shard.
fn keys(dice: &mut Dice) -> Vec<Bytes> {
    let count = *dice.pick(&[3u8, 8, 16]);
    let step = u8::MAX / count;
    (0..count)
        .map(|at| {
            let first = at * step + u8::try_from(dice.between(0, u64::from(step) - 1)).unwrap_or(0);
            let rest = dice.index(3);
            let mut key = vec![first];
            key.extend(std::iter::repeat_n(b'k', rest));
            Bytes::from(key)
        })
        .collect()
}
