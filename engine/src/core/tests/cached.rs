//! What a dead process left in its disk's cache, and a start took for durable.

use margate_net::ids::LogIndex;
use margate_net::message::PeerMessageKind;

use super::driven::Driven;
use super::peers::{Append, Peer};

const LEADER: Peer = Peer {
    shard: 1,
    node: 2,
    term: 1,
};

/// Entry 1 is taken, entry 2 is being written while the process dies; the next one reads both. Says how many the leader hears of.
fn killed_while_writing() -> (Driven, u64) {
    let mut core = Driven::created(3, &[]);
    let entries = vec![LEADER.put("a", 1)];
    let (after, commit) = ((0, 0), 1);
    core.append(LEADER, Append { after, entries, commit });
    core.pass(10);
    core.holds_writes = true;
    let entries = vec![LEADER.put("b", 2)];
    let (after, commit) = ((1, 1), 1);
    let append = core.append_event(LEADER, Append { after, entries, commit });
    core.turn([append]);
    core.disk.kill();
    let mut core = core.restarted();
    let (after, entries, commit) = ((2, 1), Vec::new(), 2);
    let append = core.append_event(LEADER, Append { after, entries, commit });
    core.hear(append);
    let answers = core
        .sent
        .iter()
        .filter(|(_, message)| message.kind == PeerMessageKind::AppendResponse);
    let acknowledged = answers.filter(|(_, answer)| !answer.reject).map(|(_, answer)| answer.index.0).max();
    (core, acknowledged.expect("it is answered"))
}

/// The log was once synced only after it had been replayed: the index, durable at once, held what the disk's cache then lost.
#[test]
fn what_a_start_acknowledges_outlives_a_loss_of_power() {
    let (mut core, acknowledged) = killed_while_writing();
    assert_eq!(acknowledged, 2);
    core.disk.lose_cached();
    let core = core.restarted();
    assert_eq!(core.damaged(), []);
    assert_eq!(core.standings()[0].last, LogIndex(2));
}

/// The process alone dies again and again: nothing is lost with it.
#[test]
fn what_is_in_the_cache_is_found_by_every_start() {
    let (core, _) = killed_while_writing();
    let core = core.restarted().restarted();
    assert_eq!(core.standings()[0].last, LogIndex(2));
}
