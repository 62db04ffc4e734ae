//! What a restart makes of entries that a later leader replaced.

use margate_net::error::Refusal;

use super::driven::Driven;
use super::peers::{Append, Peer};

/// Leads shard 1 in term 1.
const FORMER: Peer = Peer {
    shard: 1,
    node: 2,
    term: 1,
};
/// Leads shard 1 in term 2.
const LATTER: Peer = Peer {
    shard: 1,
    node: 3,
    term: 2,
};

/// A core whose second shard has an entry that nobody commits: scans begin there from now on.
fn with_the_replay_mark_held_back() -> Driven {
    let mut core = Driven::created(3, &["m"]);
    let other = Peer { shard: 2, ..FORMER };
    core.append(
        other,
        Append {
            after: (0, 0),
            entries: vec![other.put("z", 1)],
            commit: 0,
        },
    );
    core
}

/// Term 1 writes five entries and commits none; term 2 replaces them by two, which are committed and go to the index.
#[test]
fn entries_replaced_by_committed_ones_stay_replaced_over_a_restart() {
    let mut core = with_the_replay_mark_held_back();
    core.append(
        FORMER,
        Append {
            after: (0, 0),
            entries: (1..=5).map(|version| FORMER.put(&format!("bad{version}"), version)).collect(),
            commit: 0,
        },
    );
    core.append(
        LATTER,
        Append {
            after: (0, 0),
            entries: (1..=2).map(|version| LATTER.put(&format!("good{version}"), version)).collect(),
            commit: 2,
        },
    );
    core.fill_index();
    assert_eq!((core.commits, core.marked(1)), (1, (2, 2)));
    let before = core.standings();
    let mut core = core.restarted();
    assert_eq!(core.standings(), before);
    assert_eq!(core.stale(1, "good2").as_deref(), Ok(&b"good2"[..]));
    assert_eq!(core.stale(1, "bad3"), Err(Refusal::NotFound));
}

/// Term 1 writes entries 2 and 3, term 2 replaces them. The overlay is frozen at entry 2; entry 3 and the commit of
/// both become durable before that generation leaves, so its mark says: applied 2, committed 3.
#[test]
fn an_entry_that_was_never_committed_is_not_applied_by_a_restart() {
    let mut core = with_the_replay_mark_held_back();
    let appends = [
        (FORMER, (0, 0), vec![FORMER.put("first", 1)]),
        (FORMER, (1, 1), vec![FORMER.put("bad2", 2), FORMER.put("bad3", 3)]),
        (LATTER, (1, 1), vec![LATTER.put("good2", 2)]),
    ];
    for (leader, after, entries) in appends {
        core.append(leader, Append { after, entries, commit: 1 });
    }
    core.wait(500);
    let third = core.append_event(
        LATTER,
        Append {
            after: (2, 2),
            entries: vec![LATTER.put("good3", 3)],
            commit: 1,
        },
    );
    core.turn([third]);
    // Entry 3 is being flushed when the time of the overlay and the commit of both come.
    core.wait(5_500);
    let commit = core.append_event(
        LATTER,
        Append {
            after: (3, 2),
            entries: Vec::new(),
            commit: 3,
        },
    );
    core.turn([commit]);
    // Only the flush in flight and the one that follows from it.
    core.turn_with_next_answer();
    core.turn_with_next_answer();
    assert_eq!((core.commits, core.marked(1)), (1, (2, 3)));
    let before = core.standings();
    let mut core = core.restarted();
    assert_eq!(core.standings(), before);
    for key in ["first", "good2", "good3"] {
        assert_eq!(core.stale(1, key).as_deref(), Ok(key.as_bytes()));
    }
    for key in ["bad2", "bad3"] {
        assert_eq!(core.stale(1, key), Err(Refusal::NotFound), "{key} was never committed");
    }
}

/// The overlay's time comes in the very turn in which term 2 replaces entries 2 to 4 of term 1.
#[test]
fn a_tail_replaced_in_the_turn_of_a_freeze_is_no_damage() {
    let mut core = Driven::created(3, &[]);
    let appends = [
        ((0, 0), vec![FORMER.put("a", 1)]),
        ((1, 1), vec![FORMER.put("b", 2), FORMER.put("c", 3)]),
        ((3, 1), vec![FORMER.put("d", 4)]),
    ];
    for (after, entries) in appends {
        core.append(FORMER, Append { after, entries, commit: 1 });
    }
    core.pass(1);
    core.wait(6_000);
    core.append(
        LATTER,
        Append {
            after: (1, 1),
            entries: vec![LATTER.put("e", 2)],
            commit: 1,
        },
    );
    assert_eq!((core.commits, core.marked(1)), (1, (1, 1)));
    let before = core.standings();
    let core = core.restarted();
    assert_eq!(core.damaged(), []);
    assert_eq!(core.standings(), before);
}
