//! Messages for other cores, one batch per core and turn, numbered and echoed, so that each side knows what has arrived.

use std::collections::{BTreeMap, BTreeSet};

use margate_net::ids::{Incarnation, NodeId, ReplicaId, ShardId};
use margate_net::map::Map;
use margate_net::message::{DiskRoom, DiskState, PeerBatch, PeerMessage};

use super::event::{Effect, Effects, PeerName};
use crate::types::Nanos;

/// Time between two complaints about one peer.
const COMPLAIN_EVERY: Nanos = Nanos::from_millis(1_000);
/// Time between two answers to a replica that is no member.
const TELL_REMOVED_EVERY: Nanos = Nanos::from_millis(1_000);

/// What is known of the link to one core.
#[derive(Debug, Default)]
struct Link {
    incarnation: Incarnation,
    round_sent: u64,
    round_seen: u64,
    outgoing: Vec<PeerMessage>,
    /// What it said of its disk, while it can be reached.
    disk: Option<DiskState>,
    /// When its disk was last known to have written something new.
    wrote: Nanos,
    /// When something it said was complained about last.
    complained: Option<Nanos>,
    /// When a replica there was told last that it is no member, by shard.
    told_removed: BTreeMap<ShardId, Nanos>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Peers {
    homes: BTreeMap<(ShardId, ReplicaId), PeerName>,
    /// Who spoke last from a core without being known here: its admission may be among the entries this replica lacks.
    strangers: BTreeMap<(ShardId, PeerName), ReplicaId>,
    links: BTreeMap<PeerName, Link>,
}

impl Peers {
    /// Links to the homes of all replicas that are not on `here`.
    #[must_use]
    pub fn new(map: &Map, here: NodeId) -> Self {
        let replicas = map
            .shards()
            .iter()
            .flat_map(|shard| shard.replicas.iter().map(move |replica| (shard.id, replica)));
        let homes: BTreeMap<_, _> = replicas
            .filter(|(_, replica)| replica.node != here)
            .map(|(shard, replica)| {
                (
                    (shard, replica.id),
                    PeerName {
                        node: replica.node,
                        core: replica.core,
                    },
                )
            })
            .collect();
        let links = homes.values().map(|peer| (*peer, Link::default())).collect();
        Self {
            homes,
            strangers: BTreeMap::new(),
            links,
        }
    }

    /// Queues a message; one for a replica whose home is not known is dropped.
    pub fn send(&mut self, message: PeerMessage) {
        let home = self.home(message.shard, message.to);
        if let Some(link) = home.and_then(|peer| self.links.get_mut(&peer)) {
            link.outgoing.push(message);
        }
    }

    /// A batch arrived. Whether its sender is a peer at all.
    pub fn received(&mut self, from: PeerName, incarnation: Incarnation, (round, disk): (u64, DiskState)) -> bool {
        let Some(link) = self.links.get_mut(&from) else { return false };
        if link.incarnation != incarnation {
            (link.incarnation, link.round_seen) = (incarnation, 0);
        }
        // Frames may be overtaken: the newest says how the disk is.
        if round >= link.round_seen {
            (link.round_seen, link.disk) = (round, Some(disk));
        }
        true
    }

    /// A core cannot be reached: its disk is not known.
    pub fn forget_disk(&mut self, of: PeerName) {
        if let Some(link) = self.links.get_mut(&of) {
            link.disk = None;
        }
    }

    /// What the core of a replica said of its disk.
    #[must_use]
    pub fn disk_of(&self, shard: ShardId, replica: ReplicaId) -> Option<DiskState> {
        let home = self.homes.get(&(shard, replica));
        home.and_then(|home| self.links.get(home)).and_then(|link| link.disk)
    }

    /// Whether any peer's disk is short of room.
    #[must_use]
    pub fn any_is_short(&self) -> bool {
        self.links
            .values()
            .any(|link| link.disk.is_some_and(|disk| disk.room != DiskRoom::Ample))
    }

    /// Whether something that a core said may be complained about, so that a faulty peer does not fill the journal.
    pub fn may_complain(&mut self, of: PeerName, now: Nanos) -> bool {
        let Some(link) = self.links.get_mut(&of) else { return false };
        let may = link.complained.is_none_or(|last| now.since(last) >= COMPLAIN_EVERY);
        if may {
            link.complained = Some(now);
        }
        may
    }

    /// Whether a core may be told now that its replica of a shard is no member.
    pub fn may_tell_removed(&mut self, peer: PeerName, shard: ShardId, now: Nanos) -> bool {
        let Some(link) = self.links.get_mut(&peer) else { return false };
        let may = link
            .told_removed
            .get(&shard)
            .is_none_or(|last| now.since(*last) >= TELL_REMOVED_EVERY);
        if may {
            link.told_removed.insert(shard, now);
        }
        may
    }

    /// A replica lives on that core.
    pub fn settle(&mut self, shard: ShardId, replica: ReplicaId, peer: PeerName) {
        self.links.entry(peer).or_default();
        self.strangers.retain(|(of, _), stranger| (*of, *stranger) != (shard, replica));
        self.homes.insert((shard, replica), peer);
    }

    /// Where a replica lives that is not here.
    #[must_use]
    pub fn home(&self, shard: ShardId, replica: ReplicaId) -> Option<PeerName> {
        let stranger = || {
            let mut of_shard = self.strangers.iter().filter(|((of, _), _)| *of == shard);
            of_shard.find(|(_, id)| **id == replica).map(|((_, peer), _)| *peer)
        };
        self.homes.get(&(shard, replica)).copied().or_else(stranger)
    }

    /// The cores where replicas of a shard live, beside this one.
    #[must_use]
    pub fn cores_of(&self, shard: ShardId) -> BTreeSet<PeerName> {
        let of_shard = self.homes.range((shard, ReplicaId(0))..=(shard, ReplicaId(u64::MAX)));
        of_shard.map(|(_, peer)| *peer).collect()
    }

    /// A core acknowledged entries that it had not acknowledged before: its disk works.
    pub fn wrote(&mut self, peer: PeerName, now: Nanos) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.wrote = now;
        }
    }

    /// Whether the disk of a replica's core has written something since.
    #[must_use]
    pub fn has_written_since(&self, shard: ShardId, replica: ReplicaId, since: Nanos) -> bool {
        let home = self.homes.get(&(shard, replica));
        home.and_then(|home| self.links.get(home)).is_some_and(|link| link.wrote > since)
    }

    /// Whether a core may speak for a replica: it lives there, or, where it is not known here and perhaps newer, others of its shard do.
    #[must_use]
    pub fn may_speak_for(&self, shard: ShardId, replica: ReplicaId, peer: PeerName) -> bool {
        let known = self.homes.get(&(shard, replica));
        known.map_or_else(|| self.cores_of(shard).contains(&peer), |home| *home == peer)
    }

    /// A core speaks for a replica. Whether it may; answers find it then, known or not.
    pub fn hears(&mut self, shard: ShardId, replica: ReplicaId, peer: PeerName) -> bool {
        let may = self.may_speak_for(shard, replica, peer);
        if may && !self.homes.contains_key(&(shard, replica)) {
            self.strangers.insert((shard, peer), replica);
        }
        may
    }

    /// The replicas that live on a core.
    pub fn replicas_on(&self, peer: PeerName) -> impl Iterator<Item = (ShardId, ReplicaId)> + '_ {
        let known = self
            .homes
            .iter()
            .filter(move |(_, home)| **home == peer)
            .map(|(replica, _)| *replica);
        let strangers = self.strangers.iter().filter(move |((_, home), _)| *home == peer);
        known.chain(strangers.map(|((shard, _), replica)| (*shard, *replica)))
    }

    /// Sends what is queued, and with it how this core's disk is.
    pub fn flush(&mut self, disk: DiskState, out: &mut Effects) {
        for (to, link) in &mut self.links {
            if !link.outgoing.is_empty() {
                link.round_sent += 1;
                let messages = std::mem::take(&mut link.outgoing);
                out.push(Effect::Send {
                    to: *to,
                    batch: PeerBatch {
                        round: link.round_sent,
                        echo: link.round_seen,
                        disk,
                        messages,
                    },
                });
            }
        }
    }
}
