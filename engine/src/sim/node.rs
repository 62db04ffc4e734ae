//! A simulated node: what outlives its process (disks, index stores, clocks) and what does not.
//!
//! Not here, on purpose: what happens to it (`turn`, `nemesis`).

use std::collections::{BTreeMap, BTreeSet};

use margate_net::ids::{CoreId, DirectoryId, Incarnation, LogIndex, NodeId, ShardId};
use margate_net::map::{Map, MapReplica, MapShard};

use super::check::damage;
use super::check::membership::{Changes, Membership};
use super::check::witness::Witness;
use super::clock::{Clock, MILLION};
use super::dice::Dice;
use super::disk::{Disk, Remains};
use super::disk_faults::Armed;
use super::faults::{Fault, FaultCounts};
use super::full::Fullness;
use super::hurt::Hurt;
use super::options::Options;
use super::renewal::Shelf;
use super::violation::Violation;
use crate::consensus::group::RaftTicks;
use crate::core::creation;
use crate::core::event::{Event, PeerName};
use crate::core::generations::CommitPace;
use crate::core::machine::Core;
use crate::core::replay::{CoreConfig, ReplayError, replay};
use crate::core::room::DiskLimits;
use crate::index::memory::{MemoryReader, MemoryStore};
use crate::index::store::IndexReader;
use crate::log::scan::ReadSegments;
use crate::log::segment::{LogConfig, ReadySegment};
use crate::planted::Planted;
use crate::shard::replica::Replica;
use crate::types::{Nanos, ReplicaName};

/// Segments that every second directory leaves unread.
const SPARE_SEGMENTS: u64 = 5;
/// How old rows may be that an index does not hold: there are several commits in most lives.
const AGE_MAX: Nanos = Nanos::from_millis(5_000);

/// A core of a node, by places in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) node: usize,
    pub(crate) core: usize,
}

/// A node.
pub(crate) struct Node {
    pub(crate) hosts: Vec<Host>,
    /// Counts its processes, so that what was planned for a former one is dropped.
    pub(crate) life: u64,
    pub(crate) incarnation: Incarnation,
    /// Whether its data directory is newer than the deployment.
    pub(crate) joined: bool,
    /// Whether its disks ever were others than those it was created with, or lacked something unawares.
    pub(crate) renewed: bool,
    /// Whether it voted for all its shards when it was last stopped.
    pub(crate) was_whole: bool,
    /// The disks it had before the last wipe.
    pub(crate) shelf: Option<Shelf>,
    pub(crate) paused: bool,
    /// When it is killed if it has not stopped by itself; nothing while it is not told to stop.
    pub(crate) stop_by: Option<Nanos>,
    pub(crate) clock: Clock,
    /// How many times slower than usual.
    pub(crate) disk_slower: u64,
    pub(crate) index_slower: u64,
    pub(crate) fullness: Fullness,
}

/// What a core leaves behind, and the core while it runs.
pub(crate) struct Host {
    pub(crate) log: LogConfig,
    pub(crate) disk: Disk,
    pub(crate) index: MemoryStore,
    /// When the write under way began, on the node's clock.
    pub(crate) write_began: Nanos,
    /// Whether a generation is being committed.
    pub(crate) committing: bool,
    pub(crate) witness: Witness,
    /// What fails next.
    pub(crate) armed: Armed,
    pub(crate) hurt: Hurt,
    /// Whether a disk it had before had lost something: clients may still hear of that.
    pub(crate) was_hurt: bool,
    /// Entries it has lost that no scan misses: the last of each replica.
    pub(crate) lost_tail: BTreeMap<ReplicaName, LogIndex>,
    /// Replicas that ended while they ran, with good reason.
    pub(crate) ended: BTreeSet<ReplicaName>,
    /// Replicas that were not begun when a leader named them, with good reason. Those count as ended whose end is on disk.
    pub(crate) doubted: BTreeSet<ReplicaName>,
    pub(crate) process: Option<Process>,
}

/// A running core.
pub(crate) struct Process {
    pub(crate) core: Core<MemoryReader>,
    pub(crate) inbox: Vec<Event>,
    /// When its next turn is planned.
    pub(crate) turn_at: Option<Nanos>,
    /// Replicas its start took for damaged; none becomes so later.
    pub(crate) damaged: Vec<ReplicaName>,
    /// Shards of those which may have had a newer one here that nothing is left of: the next that is named may count as lost too.
    pub(crate) in_doubt: BTreeSet<ShardId>,
    /// What the checkers have seen applied.
    pub(crate) applied: BTreeMap<ReplicaName, LogIndex>,
    pub(crate) changes: Changes,
}

impl Place {
    /// Its name among peers.
    pub(crate) fn peer_name(self) -> PeerName {
        PeerName {
            node: NodeId(self.node as u64 + 1),
            core: CoreId(u16::try_from(self.core).unwrap_or(u16::MAX)),
        }
    }

    /// Where a replica lives.
    pub(crate) fn home(replica: &MapReplica) -> Self {
        Self::of(PeerName {
            node: replica.node,
            core: replica.core,
        })
    }

    /// The place of a peer.
    pub(crate) fn of(peer: PeerName) -> Self {
        let node = usize::try_from(peer.node.0).ok().and_then(|node| node.checked_sub(1));
        Self {
            node: node.expect("node ids count from 1"),
            core: usize::from(peer.core.0),
        }
    }
}

impl Node {
    /// A node whose log has just been created: its checkpoints are durable, it has not started.
    pub(crate) fn create(at: usize, map: &Map, options: &Options, dice: &mut Dice) -> Self {
        let name = NodeId(at as u64 + 1);
        let directory = DirectoryId(u128::from(dice.any()) << 64 | u128::from(dice.any()));
        let cores = 0..options.cores;
        let log = |core: usize| LogConfig {
            cluster: map.cluster(),
            directory,
            node: name,
            core: CoreId(u16::try_from(core).unwrap_or(u16::MAX)),
            segment_bytes: options.segment_bytes,
            ready_min: options.segments_ready,
        };
        let clock = Clock::new(options.haste * MILLION);
        Self {
            hosts: cores.map(|core| Host::create(log(core), map, clock.wall(Nanos(0)), dice)).collect(),
            life: 0,
            incarnation: Incarnation(0),
            joined: false,
            renewed: false,
            was_whole: true,
            shelf: None,
            paused: false,
            stop_by: None,
            clock,
            disk_slower: 1,
            index_slower: 1,
            fullness: Fullness::default(),
        }
    }

    /// Whether its process runs.
    pub(crate) fn is_up(&self) -> bool {
        self.hosts.iter().any(|host| host.process.is_some())
    }

    /// The replicas that run on it.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &Replica> {
        let processes = self.hosts.iter().filter_map(|host| host.process.as_ref());
        processes.flat_map(|process| process.core.replicas())
    }

    /// Starts all cores from what the disks hold.
    pub(crate) fn start(
        &mut self,
        deployment: (&Map, Nanos),
        planted: Planted,
        dice: &mut Dice,
        faults: &mut FaultCounts,
    ) -> Result<(), Violation> {
        self.life += 1;
        self.incarnation = Incarnation(dice.any());
        (self.paused, self.stop_by) = (false, None);
        for host in &mut self.hosts {
            let config = host.config(deployment, self.joined, planted, dice.any());
            host.start(&config, faults)?;
        }
        Ok(())
    }

    /// Its indexes are gone; it must not run.
    pub(crate) fn lose_index(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.index = MemoryStore::new());
    }

    /// Its disks are replaced by empty ones; it must not run. The former ones.
    pub(crate) fn wipe(&mut self, dice: &mut Dice) -> Vec<Host> {
        assert!(!self.is_up(), "a running node's disks stay");
        let directory = DirectoryId(u128::from(dice.any()) << 64 | u128::from(dice.any()));
        (self.joined, self.renewed) = (true, true);
        let mut joined = |host: &Host| Host {
            was_hurt: host.was_hurt || host.hurt.is_hurt(),
            ..Host::joined(LogConfig { directory, ..host.log }, dice)
        };
        let hosts = self.hosts.iter().map(&mut joined).collect();
        std::mem::replace(&mut self.hosts, hosts)
    }

    /// Its empty disks are filled as if the deployment began; only a planted bug does that.
    pub(crate) fn create_again(&mut self, map: &Map, wall: Nanos, dice: &mut Dice) {
        self.joined = false;
        let hosts = self.hosts.iter().map(|host| Host::create(host.log, map, wall, dice)).collect();
        self.hosts = hosts;
    }

    /// Whether it votes for every shard the map puts on it.
    pub(crate) fn is_whole(&self, map: &Map, members: &Membership) -> bool {
        let here = |host: &Host, shard: &MapShard| {
            let (node, core) = (host.log.node, host.log.core);
            shard.replicas.iter().any(|replica| (replica.node, replica.core) == (node, core))
        };
        let votes = |host: &Host, shard: &MapShard| {
            let replicas = host.process.iter().flat_map(|process| process.core.replicas());
            let mut of_shard = replicas.filter(|replica| replica.name().shard == shard.id);
            of_shard.any(|replica| {
                let known = &replica.state().members;
                members.votes(replica.name()) && known.voters.contains(&replica.name().replica) && !known.is_joint()
            })
        };
        let shards = |host| map.shards().iter().filter(move |shard| here(host, shard));
        !self.renewed || self.hosts.iter().all(|host| shards(host).all(|shard| votes(host, shard)))
    }

    /// The process dies, the disk with it if the power goes.
    pub(crate) fn crash(&mut self, dice: &mut Dice, faults: &mut FaultCounts) {
        for host in &mut self.hosts {
            host.crash(dice, faults);
        }
    }
}

/// A disk with the segment that every core is made with.
fn first_segment(log: LogConfig, dice: &mut Dice) -> (Disk, ReadySegment) {
    let first = ReadySegment {
        number: 1,
        salt: dice.any(),
        life: 1,
    };
    let mut disk = Disk::new(log);
    disk.begin_segment(first);
    disk.finish_segment(first.number);
    (disk, first)
}

impl Host {
    fn empty(log: LogConfig) -> Self {
        Self {
            log,
            disk: Disk::new(log),
            index: MemoryStore::new(),
            write_began: Nanos(0),
            committing: false,
            witness: Witness::default(),
            armed: Armed::default(),
            hurt: Hurt::default(),
            was_hurt: false,
            lost_tail: BTreeMap::new(),
            ended: BTreeSet::new(),
            doubted: BTreeSet::new(),
            process: None,
        }
    }

    fn create(log: LogConfig, map: &Map, wall: Nanos, dice: &mut Dice) -> Self {
        let (mut disk, first) = first_segment(log, dice);
        for flush in creation::creation_flushes(log, first, creation::checkpoints(map, log.node, log.core, wall), wall) {
            disk.begin_write(&flush);
            disk.finish_write();
        }
        Self { disk, ..Self::empty(log) }
    }

    /// A core of a node that joins: its log holds nothing yet.
    fn joined(log: LogConfig, dice: &mut Dice) -> Self {
        let (disk, _) = first_segment(log, dice);
        Self { disk, ..Self::empty(log) }
    }

    /// What its core is told at start.
    pub(crate) fn config(&self, (map, tick): (&Map, Nanos), joined: bool, planted: Planted, seed: u64) -> CoreConfig {
        let segment_bytes = self.log.segment_bytes;
        let limits = DiskLimits::new(2 * u64::from(segment_bytes), segment_bytes, 1);
        // Every second directory reads a segment only where its log is long.
        let spare = if self.log.directory.0.is_multiple_of(2) {
            SPARE_SEGMENTS
        } else {
            0
        };
        // In every second pair of directories commits are never cheap, so reclaim waits for those that are due.
        let commits = CommitPace {
            age_max: AGE_MAX,
            reclaim_parts: if (self.log.directory.0 / 2).is_multiple_of(2) {
                u64::MAX
            } else {
                CommitPace::USUAL.reclaim_parts
            },
        };
        CoreConfig {
            joined,
            log: self.log,
            map: map.clone(),
            ticks: RaftTicks::of_election(10),
            tick,
            commits,
            disk: limits.sparing(spare * u64::from(segment_bytes)),
            suspects: BTreeSet::new(),
            seed,
            planted,
        }
    }

    /// A segment is gone.
    pub(crate) fn finish_delete(&mut self) {
        if let Some(number) = self.disk.finish_delete() {
            self.hurt.reclaimed(number);
        }
    }

    /// A segment's file is another's.
    pub(crate) fn finish_recycle(&mut self) -> Option<ReadySegment> {
        let (from, ready) = self.disk.finish_recycle()?;
        self.hurt.reclaimed(from);
        Some(ready)
    }

    /// The batch at its index's mark; nothing if there is no index, or one that is being rebuilt.
    fn mark(&self) -> Option<u64> {
        let reader = self.index.reader();
        let marks = reader.core_marks().expect("memory never fails")?;
        let replicas = reader.replica_marks().expect("memory never fails");
        (!replicas.is_empty()).then_some(marks.replay_sequence)
    }

    fn start(&mut self, config: &CoreConfig, faults: &mut FaultCounts) -> Result<(), Violation> {
        let mut mark = self.mark();
        let replayed = match replay(config, &mut self.disk, self.index.reader(), &mut self.index.writer()) {
            Err(ReplayError::IndexStale { .. }) => {
                faults.count(Fault::IndexStale);
                (self.index, mark) = (MemoryStore::new(), None);
                replay(config, &mut self.disk, self.index.reader(), &mut self.index.writer())
            }
            result @ (Ok(_) | Err(_)) => result,
        };
        let node = self.log.node;
        let replayed = replayed.map_err(|error| match error {
            ReplayError::LogGone | ReplayError::LogLost { .. } if self.hurt.is_hurt() => Violation::LogLost { node },
            error => Violation::NotStarted {
                node,
                why: error.to_string(),
            },
        })?;
        let found = replayed.found;
        self.witness.reopen(&mut self.disk, &self.log);
        let mut in_doubt = BTreeSet::new();
        if self.hurt.is_hurt() || !found.damaged.is_empty() {
            let view = self.scan_view(mark);
            self.hurt.gone_before(self.disk.segments().first().copied().unwrap_or(0));
            self.hurt.scanned(&view);
            let started = replayed.core.replicas().map(Replica::name);
            damage::check((&self.hurt, &view), |name| self.may_end(name), started, &found.damaged)?;
            let hidden = self.hurt.hides(&view);
            let doubtful = found.damaged.iter().filter(|name| hidden || self.witness.has_ended(**name));
            in_doubt = doubtful.map(|name| name.shard).collect();
        }
        let mut started = replayed.core.replicas().map(Replica::name);
        if let Some(name) = started.find(|name| self.witness.has_ended(*name)) {
            return Err(Violation::EndedStarted { name });
        }
        drop(started);
        faults.add(Fault::DamageFound, u64::from(!found.damaged.is_empty()));
        faults.add(Fault::TailDropped, u64::from(found.torn_bytes > 0));
        faults.add(Fault::SegmentDiscarded, found.discard.len() as u64);
        self.disk.discard(&found.discard);
        self.process = Some(Process {
            core: replayed.core,
            inbox: Vec::new(),
            turn_at: None,
            damaged: found.damaged,
            in_doubt,
            applied: BTreeMap::new(),
            changes: Changes::default(),
        });
        Ok(())
    }

    /// Whether a replica of a shard ended here, or may.
    pub(crate) fn has_ended_any(&self, shard: ShardId) -> bool {
        self.ended.iter().chain(self.lost_tail.keys()).any(|name| name.shard == shard)
    }

    /// Its process dies, and leaves what it was writing as the dice fall.
    pub(crate) fn crash(&mut self, dice: &mut Dice, faults: &mut FaultCounts) {
        let Some(process) = self.process.take() else { return };
        process.count(faults);
        match self.disk.crash(dice) {
            Some(Remains::Lost) => faults.count(Fault::WriteLost),
            Some(Remains::Torn) => faults.count(Fault::WriteTorn),
            Some(Remains::Whole) => faults.count(Fault::WriteSurvived),
            None => {}
        }
        faults.add(Fault::IndexTorn, u64::from(self.committing));
        self.committing = false;
        self.index.crash();
    }
}

impl Process {
    /// Whether a replica that never ran here may count as lost, once in each process and shard.
    pub(crate) fn may_doubt(&mut self, name: ReplicaName) -> bool {
        !self.applied.contains_key(&name) && self.in_doubt.remove(&name.shard)
    }

    /// Counts the rare branches it took.
    pub(crate) fn count(&self, faults: &mut FaultCounts) {
        let counters = self.core.counters();
        faults.add(Fault::EntriesFetched, counters.entries_fetched);
        faults.add(Fault::Admitted, counters.transferred.admitted);
        faults.add(Fault::ImageSent, counters.transferred.images_sent);
        faults.add(Fault::ImageInstalled, counters.transferred.images_installed);
        faults.add(Fault::ImageGivenUp, counters.transferred.images_given_up);
        faults.add(Fault::SegmentReclaimed, counters.reclaimed.segments);
        faults.add(Fault::SegmentUnread, counters.reclaimed.unread);
        faults.add(Fault::ValueRelocated, counters.reclaimed.values);
        faults.add(Fault::DeleteCopied, counters.reclaimed.deletes);
        faults.add(Fault::ReclaimMetDamage, counters.reclaimed.damaged);
        faults.add(Fault::RepairAsked, counters.repaired.asked);
        faults.add(Fault::RepairTaken, counters.repaired.taken);
        faults.add(Fault::SlowDiskFled, counters.slow_disk_handovers);
        faults.add(Fault::FullDiskFled, counters.full_disk_handovers);
        faults.add(Fault::AppendDroppedFull, counters.appends_dropped);
        faults.add(Fault::SegmentWaited, self.core.status().segment_waits);
    }
}
