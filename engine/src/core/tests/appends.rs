//! Appends that no sound leader sends: they change nothing, and the replica goes on.

use bytes::Bytes;
use margate_net::ids::Term;
use margate_net::message::PeerMessageKind;

use super::driven::Driven;
use super::peers::{Append, Peer};

/// Leads in term 1.
const LEADER: Peer = Peer {
    shard: 1,
    node: 2,
    term: 1,
};

/// A follower of two shards with these entries, committed up to `commit`.
fn follower(entries: &[&str], commit: u64) -> Driven {
    let mut core = Driven::created(3, &["m"]);
    let entries = entries.iter().zip(1..).map(|(key, version)| LEADER.put(key, version));
    core.append(
        LEADER,
        Append {
            after: (0, 0),
            entries: entries.collect(),
            commit,
        },
    );
    core
}

/// A new replica hears one entry, committed at once.
fn is_dropped(entry: Bytes) {
    let mut core = Driven::created(3, &["m"]);
    let before = core.standings();
    let append = core.append_event(
        LEADER,
        Append {
            after: (0, 0),
            entries: vec![entry],
            commit: 1,
        },
    );
    core.hear(append);
    assert_eq!(core.standings(), before);
    assert_eq!(core.sent.len(), 0, "nothing is acknowledged");
    let core = core.restarted();
    assert_eq!(core.standings(), before);
}

/// Shard 1 ends before `m`.
#[test]
fn an_append_with_a_key_of_another_range_is_dropped() {
    is_dropped(LEADER.put("zzz", 1));
}

/// Versions begin above 0.
#[test]
fn an_append_whose_version_does_not_grow_is_dropped() {
    is_dropped(LEADER.put("a", 0));
}

/// Hears an append that claims that entry 2, which stands in term 1, has term 0.
fn refuses_term_zero(mut core: Driven, term: u64) {
    let leader = Peer { node: 3, term, ..LEADER };
    let mut expected = core.standings();
    let append = core.append_event(
        leader,
        Append {
            after: (2, 0),
            entries: Vec::new(),
            commit: expected[0].applied.0,
        },
    );
    core.hear(append);
    expected[0].hard_state.term = Term(term);
    assert_eq!(core.standings(), expected);
    let (_, answer) = core.sent.last().expect("it is answered");
    assert_eq!(
        (answer.kind, answer.term, answer.reject),
        (PeerMessageKind::AppendResponse, Term(term), true)
    );
    let core = core.restarted();
    assert_eq!(core.standings(), expected);
}

/// Two entries are committed, a third of term 2 is not.
#[test]
fn an_append_that_contradicts_a_committed_entry_is_refused() {
    let mut core = follower(&["a", "b"], 2);
    let leader = Peer {
        node: 3,
        term: 2,
        ..LEADER
    };
    core.append(
        leader,
        Append {
            after: (2, 1),
            entries: vec![leader.put("c", 3)],
            commit: 2,
        },
    );
    refuses_term_zero(core, 3);
}

/// The index holds nothing at the restart, and of two entries only the first is committed.
#[test]
fn an_append_that_contradicts_an_uncommitted_entry_is_refused_after_a_restart() {
    let mut core = follower(&["a", "b"], 1);
    core.pass(10);
    assert_eq!(core.commits, 0);
    refuses_term_zero(core.restarted(), 2);
}
