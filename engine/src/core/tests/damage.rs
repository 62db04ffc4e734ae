//! What is damaged, or lost what it acknowledged, stays out of its group, and the core's others go on.

use margate_net::error::Refusal;
use margate_net::ids::{CoreId, NodeId, ReplicaId, ShardId};
use margate_net::message::{MemberBody, MemberMessage};

use super::driven::Driven;
use super::peers::{Append, Peer};
use crate::core::event::{Event, PeerName};
use crate::core::replay::{ReplayError, replay};
use crate::index::store::IndexReader;
use crate::log::limits::BLOCK_BYTES;
use crate::sim::disk::Disk;
use crate::types::Position;

/// Leads the shard whose replica loses entries.
const LEADER: Peer = Peer {
    shard: 1,
    node: 2,
    term: 5,
};
/// Leads the other shard.
const OTHER: Peer = Peer {
    shard: 2,
    node: 2,
    term: 1,
};

/// A node alone: it leads both shards.
fn alone() -> Driven {
    let mut core = Driven::created(1, &["m"]);
    core.tick(25);
    core
}

/// An acknowledged write rots; after a restart the core's other replica goes on and moves the marks past it; the
/// core starts again.
#[test]
fn a_damaged_replica_stays_damaged_over_restarts() {
    let mut core = alone();
    core.set(1, "a", b"one");
    core.set(2, "z", b"zed");
    core.fill_index();
    assert_eq!(core.commits, 1);
    core.set(2, "zz", b"lead-in");
    core.set(1, "acked", b"must survive");
    core.set(2, "zzz", b"after");
    core.rot(b"must survive");
    let mut core = core.restarted();
    assert_eq!((core.running(), core.damaged()), (vec![2], vec![1]));
    core.tick(25);
    core.set(2, "zzzz", b"more");
    core.fill_index();
    assert!(core.commits >= 1);
    let mut core = core.restarted();
    core.tick(25);
    assert_eq!(core.stale(1, "acked"), Err(Refusal::Damaged));
    assert_eq!(core.stale(2, "zzzz").as_deref(), Ok(&b"more"[..]));
    assert_eq!((core.running(), core.damaged()), (vec![2], vec![1]));
}

/// The index has marks, and the batch they tell a restart to begin at rots: it is that of the write to shard 1.
#[test]
fn rot_at_the_replay_mark_stops_only_the_replica_it_hurts() {
    let mut core = alone();
    core.set(1, "acked", b"must survive");
    core.pass(1);
    core.pass(6_000);
    core.set(2, "z", b"zed");
    let marks = core.index.reader().core_marks().expect("memory never fails");
    let begin = marks.expect("a generation was committed").replay;
    let batch = core.disk.read_at(begin, BLOCK_BYTES).expect("it is there");
    assert!(batch.windows(12).any(|bytes| bytes == b"must survive"));
    core.disk.rot(Position {
        offset: begin.offset + 60,
        ..begin
    });
    let mut core = core.restarted();
    assert_eq!((core.running(), core.damaged()), (vec![2], vec![1]));
    core.tick(25);
    assert_eq!(core.stale(1, "acked"), Err(Refusal::Damaged));
    assert_eq!(core.stale(2, "z").as_deref(), Ok(&b"zed"[..]));
}

/// The file of the segment in use is cut where a batch begins: no batch proves what was behind it, its length does.
#[test]
fn a_log_that_was_cut_short_stops_its_replicas() {
    let mut core = alone();
    core.set(1, "a", b"kept");
    core.fill_index();
    let end = core.core.log.position();
    core.set(1, "acked", b"must survive");
    core.set(2, "z", b"zed");
    core.disk.cut(end);
    // A start that dies before its first flush leaves the damage known.
    let core = core.restarted();
    assert!(
        core.index
            .reader()
            .replica_marks()
            .expect("memory never fails")
            .iter()
            .all(|marks| marks.damaged)
    );
    let mut core = core.restarted();
    assert_eq!((core.running(), core.damaged()), (vec![], vec![1, 2]));
    assert_eq!(core.stale(1, "a"), Err(Refusal::Damaged));
    core.pass(6_000);
    let core = core.restarted();
    assert_eq!((core.running(), core.damaged()), (vec![], vec![1, 2]), "and stay stopped");
}

/// A follower of both shards that has lost batches of shard 1, before it starts again: so many in a row, and `after` them it wrote more.
fn lacks_batches(count: usize, after: usize) -> Driven {
    let mut core = Driven::created(3, &["m"]);
    let mut index = 0;
    let mut append = |core: &mut Driven| {
        let at = core.core.log.position();
        let after = if index == 0 { (0, 0) } else { (index, 5) };
        let entries = vec![LEADER.put("a", index + 1)];
        core.append(LEADER, Append { after, entries, commit: 0 });
        index += 1;
        at
    };
    append(&mut core);
    let lost: Vec<Position> = (0..count).map(|_| append(&mut core)).collect();
    for _ in 0..after {
        append(&mut core);
    }
    let entries = vec![OTHER.put("x", 1)];
    let (after, commit) = ((0, 0), 0);
    core.append(OTHER, Append { after, entries, commit });
    for at in lost {
        let offset = at.offset + 60;
        core.disk.rot(Position { offset, ..at });
    }
    core.restarted()
}

/// A leader of shard 1 names a replica for this core. Whether it runs then.
fn begins(core: &mut Driven, replica: u64) -> bool {
    let message = MemberMessage {
        shard: ShardId(1),
        from: core.replica_on(1, 2),
        to: ReplicaId(replica),
        attempt: 0,
        body: MemberBody::Admit {
            directory: core.config.log.directory,
        },
    };
    let from = PeerName {
        node: NodeId(2),
        core: CoreId(0),
    };
    core.hear(Event::Member { from, message });
    core.running().contains(&1)
}

/// What the core asks to be admitted to shard 1 for, as one that has lost this replica.
fn asks_without(core: &mut Driven) -> Vec<ReplicaId> {
    core.members.clear();
    core.tick(1);
    let joins = core.members.iter().map(|(_, message)| message);
    let joins = joins.filter(|message| message.shard == ShardId(1) && matches!(message.body, MemberBody::Join { .. }));
    let mut without: Vec<_> = joins.map(|message| message.from).collect();
    without.dedup();
    without
}

/// Damage may have taken a replica from its creation to its end: the first id that a leader names counts as lost too, the next is taken.
/// (Found by the simulator, seed 16077.)
#[test]
fn the_first_id_named_after_damage_of_anything_is_not_taken() {
    let mut core = lacks_batches(2, 0);
    assert_eq!((core.running(), core.damaged()), (vec![], vec![1, 2]));
    assert!(!begins(&mut core, 4) && !begins(&mut core, 4), "it may have been replica 4");
    assert_eq!(asks_without(&mut core), [ReplicaId(4)]);
    assert!(begins(&mut core, 5));
    assert_eq!(core.damaged(), [2]);
}

/// It is not known any more at the next start what the one before met.
#[test]
fn the_first_id_named_after_another_start_is_not_taken_either() {
    let mut core = lacks_batches(2, 0);
    core.pass(6_000);
    let mut core = core.restarted();
    assert!(!begins(&mut core, 4));
    // Nor does it begin under that id later.
    let mut core = core.restarted();
    assert!(!begins(&mut core, 4) && !begins(&mut core, 5));
    assert_eq!(asks_without(&mut core), [ReplicaId(5)]);
    assert!(begins(&mut core, 6));
    let core = core.restarted();
    assert_eq!((core.running(), core.damaged()), (vec![1], vec![2]));
}

/// A file that was cut has lost anything, and nothing of it is met again.
#[test]
fn the_first_id_named_after_a_cut_is_not_taken() {
    let mut core = Driven::created(3, &[]);
    let end = core.core.log.position();
    let entries = vec![LEADER.put("a", 1)];
    let (after, commit) = ((0, 0), 1);
    core.append(LEADER, Append { after, entries, commit });
    core.disk.cut(end);
    let mut core = core.restarted();
    assert_eq!(core.damaged(), [1]);
    assert!(!begins(&mut core, 4) && begins(&mut core, 5));
}

/// One lost batch is listed by the next, and a replica that wrote after a greater loss was the newest then.
#[test]
fn the_first_id_is_taken_where_the_lost_replica_was_surely_the_last() {
    for (count, after) in [(1, 0), (1, 1), (2, 1)] {
        let mut core = lacks_batches(count, after);
        assert!(core.damaged().contains(&1), "{count} {after}");
        assert!(begins(&mut core, 4), "{count} {after}");
    }
}

/// The process dies while the creation is being written, and the write is lost: of what began then neither index nor log knows.
/// (Found by the simulator, seed 2085.)
#[test]
fn no_index_holds_a_replica_whose_creation_is_not_durable() {
    let mut core = lacks_batches(1, 0);
    core.pass(6_000);
    core.holds_writes = true;
    assert!(begins(&mut core, 4));
    core.pass(6_000);
    assert_ne!(marked_on(&core, 1), Some(ReplicaId(4)), "the index holds it before the log does");
    core.disk.kill();
    core.disk.lose_cached();
    let mut core = core.restarted();
    assert_eq!((core.running(), core.damaged()), (vec![2], vec![1]));
    assert!(!begins(&mut core, 4) && begins(&mut core, 5), "it was given up, and asks anew");
    core.pass(6_000);
    assert_eq!(marked_on(&core, 1), Some(ReplicaId(5)));
    core.lose_index();
    let core = core.restarted();
    assert_eq!((core.running(), core.damaged()), (vec![1, 2], vec![]));
}

/// The newest replica of a shard that the index holds, if any.
fn marked_on(core: &Driven, shard: u64) -> Option<ReplicaId> {
    let marks = core.index.reader().replica_marks().expect("memory never fails");
    let names = marks.iter().map(|marks| marks.name).filter(|name| name.shard == ShardId(shard));
    names.map(|name| name.replica).max()
}

/// The core goes on with its other replica over a generation and a restart.
fn stays_stopped(mut core: Driven) {
    assert_eq!((core.running(), core.damaged()), (vec![2], vec![1]));
    core.append(
        OTHER,
        Append {
            after: (1, 1),
            entries: vec![OTHER.put("y", 2)],
            commit: 2,
        },
    );
    core.pass(6_000);
    core.pass(6_000);
    assert!(core.commits >= 1);
    let before = core.standings();
    let core = core.restarted();
    assert_eq!(core.damaged(), [1]);
    assert_eq!(core.standings(), before);
}

/// A shard's replica, told of a commit beyond its log, is stopped; nothing of it was in the index.
#[test]
fn a_replica_that_lost_entries_stays_stopped_over_restarts() {
    let mut core = Driven::created(3, &["m"]);
    let appends = [
        (OTHER, (0, 0), vec![OTHER.put("x", 1)]),
        (LEADER, (0, 0), vec![LEADER.put("a", 1)]),
        (LEADER, (1, 5), vec![LEADER.put("b", 2), LEADER.put("c", 3)]),
    ];
    for (leader, after, entries) in appends {
        core.append(leader, Append { after, entries, commit: 1 });
    }
    core.heartbeat(LEADER, 9);
    stays_stopped(core);
}

/// A log that lost its end shows again what had been replaced there: it is as long as before, and holds other entries.
/// (Found by the simulator, seed 606: such a replica applied what a former leader had never committed.)
#[test]
fn a_replica_whose_replaced_entries_are_back_is_stopped() {
    let with_entries_of_term_5 = || {
        let mut core = Driven::created(3, &["m"]);
        let appends = [
            (OTHER, (0, 0), vec![OTHER.put("x", 1)]),
            (LEADER, (0, 0), vec![LEADER.put("a", 1), LEADER.put("b", 2), LEADER.put("c", 3)]),
        ];
        for (leader, after, entries) in appends {
            core.append(leader, Append { after, entries, commit: 0 });
        }
        core
    };
    let next = Peer {
        node: 3,
        term: 6,
        ..LEADER
    };
    let mut core = with_entries_of_term_5();
    core.heartbeat_naming(next, (2, 5));
    assert_eq!(core.stale(1, "b").as_deref(), Ok(&b"b"[..]));
    let mut core = with_entries_of_term_5();
    core.heartbeat_naming(next, (2, 6));
    stays_stopped(core);
}

/// The same after a generation was committed, under a new leader, whose term stands only in the log.
#[test]
fn a_replica_that_lost_entries_after_a_generation_stays_stopped_over_restarts() {
    let mut core = Driven::created(3, &["m"]);
    let next = Peer {
        node: 3,
        term: 6,
        ..LEADER
    };
    for (leader, entry) in [(OTHER, OTHER.put("x", 1)), (LEADER, LEADER.put("a", 1))] {
        core.append(
            leader,
            Append {
                after: (0, 0),
                entries: vec![entry],
                commit: 1,
            },
        );
    }
    core.pass(1);
    core.pass(6_000);
    for entries in [Vec::new(), vec![next.put("b", 2), next.put("c", 3)]] {
        core.append(
            next,
            Append {
                after: (1, 5),
                entries,
                commit: 1,
            },
        );
    }
    core.heartbeat(next, 9);
    stays_stopped(core);
}

/// The index knows a vote as of its last generation; what was voted since is gone with the log.
#[test]
fn an_index_does_not_stand_for_a_lost_log() {
    let mut core = Driven::created(1, &[]);
    core.tick(25);
    core.set(1, "key", b"value");
    core.fill_index();
    assert!(core.marked(1).0 > 0);
    let mut gone = Disk::new(core.config.log);
    let started = replay(&core.config, &mut gone, core.index.reader(), &mut core.index.writer());
    assert!(matches!(started.err(), Some(ReplayError::LogGone)));
}
