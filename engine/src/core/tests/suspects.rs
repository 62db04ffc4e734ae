//! A replica that is suspect is left out, the core's others go on, and a later start finds it as it was.

use margate_net::error::Refusal;
use margate_net::ids::{LogIndex, ReplicaId, ShardId, Term};
use margate_net::message::ReplicaRole;

use super::driven::Driven;
use super::peers::{Append, Peer};
use crate::types::ReplicaName;

const SEGMENT_BYTES: u32 = 1 << 18;
/// Fills some segments when set again and again.
const VALUE: &[u8] = &[7; 16 << 10];

/// Shard 1's replica on node 1.
fn suspect() -> ReplicaName {
    ReplicaName {
        shard: ShardId(1),
        replica: ReplicaId(1),
    }
}

/// The core's next starts leave out what is suspect.
fn left_out(mut core: Driven) -> Driven {
    core.config.suspects.insert(suspect());
    core.restarted()
}

/// Somebody has deleted the file.
fn tried_again(mut core: Driven) -> Driven {
    core.config.suspects.clear();
    core.restarted()
}

fn overwrite(core: &mut Driven, shard: u64, key: &'static str, times: usize) {
    (0..times).for_each(|_| core.set(shard, key, VALUE));
}

#[test]
fn the_others_serve_and_a_later_start_finds_all_it_had() {
    let mut core = Driven::with_segments(1, &["m"], SEGMENT_BYTES);
    core.tick(25);
    core.set(1, "indexed", b"one");
    core.fill_index();
    core.set(1, "logged", b"two");
    let before = core.standings();
    let mut core = left_out(core);
    assert_eq!((core.running(), core.damaged()), (vec![2], vec![]));
    assert_eq!(core.core.suspects().collect::<Vec<_>>(), [suspect()]);
    let shown = core.core.status().replicas;
    assert!(
        shown
            .iter()
            .any(|shown| (shown.shard, shown.role) == (ShardId(1), ReplicaRole::Damaged))
    );
    core.tick(25);
    assert_eq!(core.stale(1, "indexed"), Err(Refusal::Damaged));
    // Far more than reclaim would leave where it is, and many generations.
    for _ in 0..4 {
        overwrite(&mut core, 2, "z", 20);
        core.fill_index();
        core.tick(2);
    }
    assert!(core.commits >= 4);
    assert_eq!(core.core.counters().reclaimed.segments, 0);
    assert!(core.members.is_empty(), "nobody takes its place: {:?}", core.members);
    // Left out over a second start, and one that has to make the index anew.
    let core = left_out(core);
    let mut core = left_out(core);
    core.lose_index();
    let mut core = left_out(core);
    core.tick(25);
    core.set(2, "zz", b"more");
    core.fill_index();
    let mut core = tried_again(core);
    assert_eq!((core.running(), core.damaged()), (vec![1, 2], vec![]));
    assert_eq!(core.core.suspects().count(), 0);
    let found = core.standings()[0];
    assert_eq!((found.last, found.hard_state), (before[0].last, before[0].hard_state));
    core.tick(25);
    assert_eq!(core.stale(1, "indexed").as_deref(), Ok(&b"one"[..]));
    assert_eq!(core.stale(1, "logged").as_deref(), Ok(&b"two"[..]));
    assert_eq!(core.stale(2, "zz").as_deref(), Ok(&b"more"[..]));
    core.set(1, "indexed", b"three");
    overwrite(&mut core, 2, "z", 20);
    for _ in 0..4 {
        core.fill_index();
        core.tick(2);
    }
    assert!(core.core.counters().reclaimed.segments > 0, "what it held back is let go");
}

/// Entries above the commit, and a vote, are in the log alone: the replay mark waits for them.
#[test]
fn entries_that_are_not_committed_and_votes_stay() {
    let leader = Peer {
        shard: 1,
        node: 2,
        term: 5,
    };
    let other = Peer {
        shard: 2,
        node: 2,
        term: 1,
    };
    let mut core = Driven::created(3, &["m"]);
    core.append(
        leader,
        Append {
            after: (0, 0),
            entries: vec![leader.put("a", 1), leader.put("b", 2), leader.put("c", 3)],
            commit: 1,
        },
    );
    core.fill_index();
    let before = core.standings();
    let mut core = left_out(core);
    core.append(
        other,
        Append {
            after: (0, 0),
            entries: vec![other.put("y", 1)],
            commit: 1,
        },
    );
    core.fill_index();
    assert!(core.commits > 0);
    // What its leader says meanwhile changes nothing.
    let entries = vec![leader.put("d", 4)];
    let said = core.append_event(
        leader,
        Append {
            after: (3, 5),
            entries,
            commit: 4,
        },
    );
    core.hear(said);
    core.tick(50);
    assert!(core.members.is_empty(), "nobody takes its place: {:?}", core.members);
    let core = tried_again(left_out(core));
    assert_eq!(core.standings()[0], before[0]);
    assert_eq!((before[0].applied, before[0].last), (LogIndex(1), LogIndex(3)));
    assert_eq!(before[0].hard_state.term, Term(5));
}
