//! Images that are offered: to the dead they keep nothing, and while the disk is low reclaim goes first.

use margate_net::ids::{CoreId, DirectoryId, NodeId, ReplicaId, ShardId};
use margate_net::message::{MemberBody, MemberMessage};

use super::driven::{Driven, SEGMENT_BYTES, VALUE};
use super::peers::{Append, Peer};
use crate::core::event::{Event, PeerName};
use crate::core::generations::Urgency;
use crate::shard::members::{Change, Home};

/// Where the new member lives.
const MEMBER: PeerName = PeerName {
    node: NodeId(3),
    core: CoreId(0),
};

/// A leader that votes alone and has admitted a member that has nothing yet.
fn leader_with_a_new_member() -> Driven {
    let mut core = Driven::leading(SEGMENT_BYTES);
    let replica = &mut core.core.running.get_mut(&ShardId(1)).expect("it runs").replica;
    let admitted = replica.admit_member((MEMBER.node, MEMBER.core, DirectoryId(77)), ReplicaId(0));
    assert_eq!(admitted, None, "that is to be committed first");
    // The index learns of it at once, or the first tick would ask for that.
    core.core.generations.hurry(Urgency::Now);
    core.fill_index();
    core
}

/// Beginnings of images that were sent since the last call.
fn begins(core: &mut Driven) -> Vec<MemberMessage> {
    let sent = std::mem::take(&mut core.members).into_iter();
    let begins = sent.filter(|(to, message)| *to == MEMBER && matches!(message.body, MemberBody::Begin { .. }));
    begins.map(|(_, message)| message).collect()
}

fn answered(begin: &MemberMessage, body: MemberBody) -> Event {
    let message = MemberMessage {
        from: begin.to,
        to: begin.from,
        body,
        ..begin.clone()
    };
    Event::Member { from: MEMBER, message }
}

/// A dead member was once offered an image for ten seconds of every ten and a half, and reclaim waited for each.
#[test]
fn a_dead_member_holds_no_segment() {
    let mut core = leader_with_a_new_member();
    let mut offered = 0;
    for _ in 0..60 {
        core.set(1, "key", &VALUE);
        core.pass(100);
        core.tick(1);
        offered += begins(&mut core).len();
    }
    assert!(offered >= 10, "offered {offered} times within six seconds");
    let (reclaimed, status) = (core.core.counters().reclaimed, core.core.status());
    assert!(reclaimed.segments >= 20, "of thirty segments few are needed: {reclaimed:?}");
    assert!(
        status.log_bytes <= 8 * u64::from(SEGMENT_BYTES),
        "{} bytes of log",
        status.log_bytes
    );
}

/// Between the offer and its answer reclaim has moved what the offer would have read, so the image begins anew where the index is now.
#[test]
fn an_offer_that_is_answered_late_begins_where_the_index_is() {
    let mut core = leader_with_a_new_member();
    core.tick(3);
    let offer = begins(&mut core).pop().expect("it is offered");
    (0..20).for_each(|_| core.set(1, "key", &VALUE));
    core.fill_index();
    assert!(core.core.counters().reclaimed.segments >= 5);
    core.hear(answered(&offer, MemberBody::Taken { number: 0 }));
    let begun = begins(&mut core);
    let [begin] = begun.as_slice() else { panic!("{begun:?}") };
    assert!(begin.attempt > offer.attempt && begin.body != offer.body, "{begin:?}");
    let applied = core.standings()[0].applied;
    assert!(matches!(begin.body, MemberBody::Begin { applied: of, .. } if of == applied));
    let reclaimed = core.core.counters().reclaimed.segments;
    core.hear(answered(&offer, MemberBody::Taken { number: 0 }));
    assert!(core.members.is_empty(), "the offer is over: {:?}", core.members);
    core.hear(answered(begin, MemberBody::Taken { number: 0 }));
    let rows = |(_, message): &(PeerName, MemberMessage)| matches!(message.body, MemberBody::Rows { number: 1, .. });
    assert!(core.members.iter().any(rows), "{:?}", core.members);
    (0..20).for_each(|_| core.set(1, "key", &VALUE));
    core.pass(6_000);
    assert_eq!(
        core.core.counters().reclaimed.segments,
        reclaimed,
        "the image under way still reads from them"
    );
}

#[test]
fn a_low_disk_is_reclaimed_before_an_image_is_offered() {
    let mut core = leader_with_a_new_member();
    (0..2).for_each(|_| core.set(1, "key", &VALUE));
    core.fill_index();
    assert_eq!(core.core.counters().reclaimed.segments, 0, "the log is too short for that");
    core.turn([Event::DiskFree {
        bytes: 3 * u64::from(SEGMENT_BYTES),
    }]);
    let mut offered_after = None;
    for _ in 0..40 {
        core.turn([Event::Tick]);
        core.turn_with_next_answer();
        if !begins(&mut core).is_empty() {
            offered_after.get_or_insert(core.core.counters().reclaimed.segments);
        }
    }
    core.pass(1_000);
    let freed = core.core.counters().reclaimed.segments;
    assert!(freed >= 1, "a low disk deserves a shorter log");
    assert_eq!(offered_after, Some(freed), "there was more to free");
}

/// An entry that waits for its commit keeps its segment, and perhaps only an image lets it be committed: images once waited for reclaim,
/// and reclaim for the image.
#[test]
fn reclaim_that_waits_for_a_commit_holds_no_image_back() {
    let leads = |shard| Peer { shard, node: 2, term: 1 };
    let mut core = Driven::with_segments(3, &["m"], SEGMENT_BYTES);
    let append = |core: &mut Driven, shard, at: u64, commit| {
        let entries = vec![leads(shard).put_value("x", &VALUE, at + 1)];
        let after = (at, u64::from(at > 0));
        core.append(leads(shard), Append { after, entries, commit });
    };
    let tail = leads(1).put("a", 1);
    core.append(
        leads(1),
        Append {
            after: (0, 0),
            entries: vec![tail],
            commit: 0,
        },
    );
    (0..20).for_each(|at| append(&mut core, 2, at, at + 1));
    core.turn([Event::DiskFree {
        bytes: 3 * u64::from(SEGMENT_BYTES),
    }]);
    core.fill_index();
    assert!(core.core.room.is_low() && core.core.reclaim.has_nothing_to_free());
    assert_eq!(core.core.counters().reclaimed.segments, 0, "replay needs the first of them");
    core.append(
        leads(1),
        Append {
            after: (1, 1),
            entries: Vec::new(),
            commit: 1,
        },
    );
    core.fill_index();
    core.tick(60);
    assert!(core.core.counters().reclaimed.segments >= 5, "{:?}", core.core.counters().reclaimed);
}

/// Answers that come once another leads, before a tick has ended what was under way: rows and an end would carry the term of another
/// leader.
#[test]
fn nothing_more_is_sent_once_another_leads() {
    for begun in [false, true] {
        let mut core = Driven::created(3, &[]);
        let follows = Peer {
            shard: 1,
            node: 2,
            term: 5,
        };
        let home = Home {
            replica: ReplicaId(4),
            node: MEMBER.node,
            core: MEMBER.core,
            directory: DirectoryId(77),
        };
        core.change_members(follows, &[Change::Admit(home)]);
        let term = core.elected();
        core.acknowledged(Peer { term, ..follows }, 2);
        core.core.generations.hurry(Urgency::Now);
        core.fill_index();
        core.tick(2);
        let offer = begins(&mut core).pop().expect("it is offered");
        if begun {
            core.hear(answered(&offer, MemberBody::Taken { number: 0 }));
            let ends = |(_, message): &(PeerName, MemberMessage)| matches!(message.body, MemberBody::End { number: 1, .. });
            assert!(core.members.iter().any(ends), "there are no rows: {:?}", core.members);
        }
        let next = Peer { term: term + 1, ..follows };
        core.heartbeat(next, 0);
        core.members.clear();
        let number = u64::from(begun);
        core.hear(answered(&offer, MemberBody::Taken { number }));
        assert_eq!(
            (&core.members[..], core.core.counters().transferred.images_sent),
            (&[][..], 0),
            "begun: {begun}"
        );
    }
}
