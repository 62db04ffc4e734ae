//! Damaged values: who is asked and heard, what waits and for how long, and what reclaim makes of it.

use bytes::Bytes;
use margate_net::error::Refusal;
use margate_net::ids::{CoreId, NodeId, ReplicaId, ShardId, Version};
use margate_net::message::{MemberBody, MemberMessage, Success};

use super::driven::{Driven, SEGMENT_BYTES};
use super::fixture::CLUSTER;
use super::peers::{Append, Peer};
use crate::core::event::{Event, PeerName};
use crate::core::repair::value_data;
use crate::index::row::{Row, RowFlags};
use crate::limits;
use crate::log::segment::first_batch;
use crate::types::{Position, ValueHash};

const LEADER: Peer = Peer {
    shard: 1,
    node: 2,
    term: 1,
};
/// What rots.
const VALUE: &[u8] = b"must survive";
static FILLING: [u8; 11_900] = [7; 11_900];

fn peer(node: u64) -> PeerName {
    PeerName {
        node: NodeId(node),
        core: CoreId(0),
    }
}

/// Follows node 2; the index holds a key whose record has rotted since the core started.
fn follower_with_rot() -> Driven {
    let mut core = Driven::created(3, &[]);
    let entries = vec![LEADER.put_value("key", VALUE, 1), LEADER.put_value("other", b"sound", 2)];
    let append = Append {
        after: (0, 0),
        entries,
        commit: 2,
    };
    core.append(LEADER, append);
    core.fill_index();
    let mut core = core.restarted();
    core.rot(VALUE);
    core
}

/// Takes what the core has said about members since the last call.
fn said(core: &mut Driven) -> Vec<(u64, MemberBody)> {
    let said = std::mem::take(&mut core.members).into_iter();
    said.map(|(to, message)| (to.node.0, message.body)).collect()
}

fn want(key: &'static str, version: u64) -> MemberBody {
    MemberBody::Want {
        version: Version(version),
        key: Bytes::from_static(key.as_bytes()),
    }
}

fn have(value: &[u8]) -> MemberBody {
    let row = Row {
        version: Version(1),
        position: Position::default(),
        size: value.len() as u64,
        flags: RowFlags::NONE,
        hash: ValueHash::of(value),
    };
    MemberBody::Have {
        data: value_data((CLUSTER, ShardId(1)), b"key", &row, value),
    }
}

/// The replica on one node says something to the one here, from another node perhaps.
fn hear(core: &mut Driven, (replica_of, from): (u64, u64), attempt: u64, body: MemberBody) {
    let message = MemberMessage {
        shard: ShardId(1),
        from: core.replica_on(1, replica_of),
        to: core.replica_on(1, 1),
        attempt,
        body,
    };
    core.hear(Event::Member { from: peer(from), message });
}

fn value(core: &Driven, id: u64) -> Option<Result<Bytes, Refusal>> {
    core.answered(id).map(|outcome| match outcome {
        Ok(Success::Found { value, .. }) => Ok(value.clone()),
        Ok(other) => panic!("a get is answered with {other:?}"),
        Err(refusal) => Err(*refusal),
    })
}

#[test]
fn a_get_waits_for_the_member_that_has_the_value() {
    let mut core = follower_with_rot();
    let (first, second) = (core.ask_stale(1, "key"), core.ask_stale(1, "key"));
    assert_eq!(said(&mut core), [(2, want("key", 1))], "asked once for both");
    assert_eq!((value(&core, first), value(&core, second)), (None, None));
    hear(&mut core, (2, 2), 1, MemberBody::HaveNot);
    assert_eq!(said(&mut core), [(3, want("key", 1))]);
    hear(&mut core, (3, 3), 1, have(VALUE));
    let found = Some(Ok(Bytes::from_static(VALUE)));
    assert_eq!((value(&core, first), value(&core, second)), (found.clone(), found.clone()));
    let third = core.ask_stale(1, "key");
    assert_eq!(
        (value(&core, third), said(&mut core)),
        (found.clone(), vec![]),
        "it is on this disk again"
    );
    core.fill_index();
    let mut core = core.restarted();
    let fourth = core.ask_stale(1, "key");
    assert_eq!((value(&core, fourth), core.core.counters().repaired.asked), (found, 0));
}

#[test]
fn only_the_member_that_was_asked_is_heard_and_only_with_the_value() {
    let mut core = follower_with_rot();
    let id = core.ask_stale(1, "key");
    for (of, from) in [(2, 3), (3, 3), (3, 2)] {
        hear(&mut core, (of, from), 1, have(VALUE));
        assert_eq!(value(&core, id), None, "the replica of node {of} speaks from node {from}");
    }
    assert_eq!(said(&mut core), [(2, want("key", 1))]);
    hear(&mut core, (2, 2), 1, have(b"must perish!"));
    assert_eq!(value(&core, id), None);
    assert_eq!(
        (said(&mut core), core.core.counters().repaired.senseless),
        (vec![(3, want("key", 1))], 1)
    );
}

#[test]
fn a_get_is_refused_once_all_members_were_silent_twice() {
    let mut core = follower_with_rot();
    let id = core.ask_stale(1, "key");
    let patience = usize::try_from(2 * limits::REPAIR_ROUNDS * limits::REPAIR_PATIENCE_TICKS).expect("small");
    for _ in 1..patience {
        core.turn([Event::Tick]);
    }
    assert_eq!(value(&core, id), None);
    core.turn([Event::Tick]);
    assert_eq!(value(&core, id), Some(Err(Refusal::Damaged)));
    assert_eq!(core.core.counters().repaired.asked, u64::from(2 * limits::REPAIR_ROUNDS));
}

#[test]
fn a_value_that_was_replaced_meanwhile_is_not_mended() {
    let mut core = follower_with_rot();
    let id = core.ask_stale(1, "key");
    let append = Append {
        after: (2, 1),
        entries: vec![LEADER.put_value("key", b"newer", 3)],
        commit: 3,
    };
    core.append(LEADER, append);
    core.tick(1);
    assert_eq!(value(&core, id), Some(Err(Refusal::Damaged)));
    hear(&mut core, (2, 2), 1, have(VALUE));
    assert_eq!(core.stale(1, "key").as_deref(), Ok(&b"newer"[..]));
    assert_eq!(core.core.counters().repaired.taken, 0);
}

#[test]
fn a_member_gets_exactly_the_version_that_is_sound_here() {
    let mut core = follower_with_rot();
    let gave = |core: &mut Driven, body| {
        hear(core, (3, 3), 9, body);
        said(core)
    };
    let sound = gave(&mut core, want("other", 2));
    assert!(
        matches!(&sound[..], [(3, MemberBody::Have { data })] if data.ends_with(b"othersound")),
        "{sound:?}"
    );
    for (key, version) in [("other", 1), ("other", 3), ("nothing", 1)] {
        assert_eq!(gave(&mut core, want(key, version)), [(3, MemberBody::HaveNot)], "{key} {version}");
    }
    assert_eq!(
        gave(&mut core, want("key", 1)),
        [(3, MemberBody::HaveNot)],
        "and nobody is asked in turn"
    );
    hear(&mut core, (3, 2), 9, want("other", 2));
    assert_eq!(said(&mut core), [], "it speaks from a node where it does not live");
    let stranger = MemberMessage {
        shard: ShardId(1),
        from: core.replica_on(1, 3),
        to: ReplicaId(99),
        attempt: 9,
        body: want("other", 2),
    };
    core.hear(Event::Member {
        from: peer(3),
        message: stranger,
    });
    assert_eq!(said(&mut core), [], "it speaks to another replica");
}

/// Reclaim of a log that holds a live value nobody can give: all else is copied, the segment stays, and the core comes to rest between
/// two looks. Once the value is replaced reclaim goes on.
#[test]
fn reclaim_waits_for_what_cannot_be_mended_and_goes_on_when_it_lives_no_more() {
    let mut core = Driven::leading(SEGMENT_BYTES);
    core.set(1, "key", VALUE);
    core.set(1, "mate", b"sound");
    core.rot(VALUE);
    (0..20).for_each(|_| core.set(1, "filling", &FILLING));
    core.fill_index();
    core.tick(60);
    let counters = core.core.counters();
    assert_eq!((counters.reclaimed.segments, counters.reclaimed.damaged), (0, 1), "{counters:?}");
    assert!(counters.repaired.given_up >= 1, "{counters:?}");
    let before = counters.repaired.given_up;
    (0..100).for_each(|_| core.pass(1_000));
    let looked = core.core.counters().repaired.given_up - before;
    assert!((2..=12).contains(&looked), "it looked {looked} times in 100 s");
    core.delete(1, "key");
    (0..100).for_each(|_| core.pass(1_000));
    core.fill_index();
    core.tick(60);
    let reclaimed = core.core.counters().reclaimed;
    assert!(reclaimed.segments >= 5, "{reclaimed:?}");
    assert_eq!(core.stale(1, "mate").as_deref(), Ok(&b"sound"[..]));
    core.lose_index();
    let mut core = core.restarted();
    core.tick(25);
    assert_eq!(core.stale(1, "mate").as_deref(), Ok(&b"sound"[..]));
    assert_eq!(core.stale(1, "key"), Err(Refusal::NotFound));
}

/// Only the oldest segment can make room on a full disk, and it goes once its damaged value is mended.
#[test]
fn a_full_disk_takes_the_copy_of_a_value_that_its_oldest_segment_waits_for() {
    let mut core = Driven::with_segments(3, &[], SEGMENT_BYTES);
    let append = |core: &mut Driven, index: u64, key: &str, value: &[u8]| {
        let entries = vec![LEADER.put_value(key, value, index)];
        let append = Append {
            after: (index - 1, u64::from(index > 1)),
            entries,
            commit: index,
        };
        core.append(LEADER, append);
    };
    append(&mut core, 1, "key", VALUE);
    (2..6).for_each(|index| append(&mut core, index, "filling", &FILLING));
    core.rot(VALUE);
    core.held_segments = Some(Vec::new());
    core.turn([Event::DiskFree { bytes: 0 }]);
    for index in 6..12 {
        if core.core.room.is_full() {
            break;
        }
        append(&mut core, index, "filling", &FILLING);
    }
    assert!(core.core.room.is_full(), "{:?}", core.core.room);
    (0..3).for_each(|_| core.fill_index());
    core.tick(5);
    assert_eq!(core.core.counters().reclaimed.segments, 0, "it waits for the value");
    let asked = core
        .members
        .iter()
        .rev()
        .find(|(_, message)| matches!(message.body, MemberBody::Want { .. }));
    let (node, attempt) = asked.map(|(to, message)| (to.node.0, message.attempt)).expect("it asks");
    hear(&mut core, (node, node), attempt, have(VALUE));
    (0..3).for_each(|_| core.fill_index());
    assert_eq!(core.core.counters().repaired.taken, 1);
    assert!(core.core.counters().reclaimed.segments >= 1, "{:?}", core.core.counters());
}

/// Nothing of the oldest segment can be told, for its first batch has lost its header. What the next one begins with was once taken for the
/// proof that all of it was read, and it was released with what lives in it.
#[test]
fn a_segment_whose_first_batch_cannot_be_told_is_kept() {
    let mut core = Driven::leading(SEGMENT_BYTES);
    core.set(1, "key", VALUE);
    core.disk.rot(first_batch(1));
    (0..20).for_each(|_| core.set(1, "filling", &FILLING));
    core.fill_index();
    core.tick(60);
    assert_eq!(core.core.counters().reclaimed.segments, 0);
    let mut core = core.restarted();
    core.tick(25);
    assert_eq!(core.stale(1, "key").as_deref(), Ok(VALUE));
}

/// The first batch of a segment is longer than what reclaim reads at a time, and the value in it rots. That the first read ended within it
/// was once taken for a batch that had been read, so the segment was released with all that lives in it.
#[test]
fn a_segment_whose_long_first_batch_is_damaged_is_not_released() {
    let mut core = Driven::leading(1 << 20);
    let value = |byte: u8| &*vec![byte; limits::RECLAIM_READ_BYTES + 4_096].leak();
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    for (key, byte) in keys.into_iter().zip(1..) {
        core.set(1, key, value(byte));
    }
    let first = core.disk.read_at(first_batch(2), 8_192).expect("two segments are full");
    assert!(first.ends_with(&[4; 1_024]), "the second segment begins with the fourth value");
    core.disk.rot(Position {
        offset: first_batch(2).offset + 50_000,
        ..first_batch(2)
    });
    let mut core = core.restarted();
    core.tick(25);
    (0..60).for_each(|_| core.set(1, "filling", value(9)));
    (0..4).for_each(|_| core.fill_index());
    core.tick(60);
    let reclaimed = core.core.counters().reclaimed;
    assert_eq!((reclaimed.segments, reclaimed.damaged), (1, 1), "{reclaimed:?}");
    core.delete(1, "d");
    (0..20).for_each(|_| core.set(1, "filling", value(9)));
    (0..40).for_each(|_| core.pass(1_000));
    core.fill_index();
    core.tick(60);
    let reclaimed = core.core.counters().reclaimed;
    assert!(reclaimed.segments > 2, "{reclaimed:?}");
    core.lose_index();
    let mut core = core.restarted();
    core.tick(25);
    for (key, byte) in keys.into_iter().zip(1..) {
        let expected = if key == "d" { Err(Refusal::NotFound) } else { Ok(value(byte)) };
        assert_eq!(core.stale(1, key).as_deref(), expected.as_ref().map(|value| *value), "{key}");
    }
}
