//! Old entries for members that lag, from a leader that has just restarted and holds none of them in memory.

use margate_net::ids::{CoreId, LogIndex, NodeId, ReplicaId, ShardId};
use margate_net::message::{MemberBody, MemberMessage};

use super::driven::Driven;
use super::peers::{Append, Peer};
use crate::core::event::{Event, PeerName};
use crate::log::limits::BLOCK_BYTES;
use crate::types::Position;

/// Entries the core takes while it follows.
const ENTRIES: u64 = 20;
/// Leads while the core follows.
const LEADER: Peer = Peer {
    shard: 1,
    node: 2,
    term: 1,
};

/// Segments are so long that two of them hold everything, which reclaim leaves alone.
///
/// Follows, one entry to a batch, until all entries are in the index; then restarts.
fn restarted_with_old_entries(segment_blocks: u32, value: &[u8]) -> Driven {
    let block = u32::try_from(BLOCK_BYTES).expect("a small number");
    let mut core = Driven::with_segments(3, &[], segment_blocks * block);
    for index in 1..=ENTRIES {
        core.append(
            LEADER,
            Append {
                after: (index - 1, u64::from(index > 1)),
                entries: vec![LEADER.put_value(&format!("k{index}"), value, index)],
                commit: index,
            },
        );
    }
    core.fill_index();
    assert_eq!((core.commits, core.marked(1)), (1, (ENTRIES, ENTRIES)));
    core.restarted()
}

/// Whether the last block of the first segment holds something.
fn first_segment_is_full(core: &Driven) -> bool {
    let last = core.config.log.segment_bytes - u32::try_from(BLOCK_BYTES).expect("a small number");
    let block = core.disk.read_at(Position { segment: 1, offset: last }, BLOCK_BYTES);
    block.expect("the segment is whole").iter().any(|byte| *byte != 0)
}

/// The core is elected, and a member that has nothing answers it.
fn all_old_entries_are_sent(mut core: Driven) {
    let term = core.elected();
    let laggard = Peer { shard: 1, node: 3, term };
    core.refused_by_empty_log(laggard, ENTRIES);
    assert!(core.reads < 100, "{} reads for {ENTRIES} entries", core.reads);
    let sent = core.sent_entries(3);
    assert!(sent.iter().copied().eq(1..=ENTRIES), "sent: {sent:?}");
}

/// Every batch is one block, so the log has segments that end with a batch, with nothing behind it.
#[test]
fn old_entries_are_read_across_segments_full_to_the_last_byte() {
    let core = restarted_with_old_entries(16, b"v");
    assert!(first_segment_is_full(&core));
    all_old_entries_are_sent(core);
}

/// Batches are three blocks long, and segments end with a block that none of them fits.
#[test]
fn old_entries_are_read_across_segments_with_room_at_the_end() {
    let core = restarted_with_old_entries(42, &[7; 9_000]);
    assert!(!first_segment_is_full(&core));
    all_old_entries_are_sent(core);
}

/// Between two reads reclaim takes what the first has found: the member gets an image instead.
#[test]
fn entries_reclaimed_while_they_are_read_are_not_sent() {
    let mut core = restarted_with_old_entries(16, b"v");
    let term = core.elected();
    let refused = core.refused_event(Peer { shard: 1, node: 3, term }, ENTRIES);
    let reads = core.reads;
    core.turn([refused]);
    core.turn_with_next_answer();
    assert_eq!(core.reads, reads + 2, "one read is done, the next under way");
    let running = core.core.running.get_mut(&ShardId(1)).expect("it runs");
    running.replica.group.truncate(LogIndex(3));
    core.pass(1);
    assert_eq!(core.sent_entries(3), [0; 0]);
    core.tick(1);
    let begins = |(to, message): &(PeerName, MemberMessage)| to.node == NodeId(3) && matches!(message.body, MemberBody::Begin { .. });
    assert!(core.members.iter().any(begins), "{:?}", core.members);
}

/// What was read for a replica that has ended meanwhile says nothing to the one that follows it.
#[test]
fn a_fetch_does_not_outlive_its_replica() {
    let mut core = restarted_with_old_entries(16, b"v");
    let term = core.elected();
    let refused = core.refused_event(Peer { shard: 1, node: 3, term }, ENTRIES);
    let reads = core.reads;
    core.turn([refused]);
    assert_eq!(core.reads, reads + 1, "one read is under way");
    let (here, other) = (core.replica_on(1, 1), core.replica_on(1, 2));
    let directory = core.config.log.directory;
    let next = ReplicaId(here.0 + 10);
    let said = [(here, MemberBody::Removed), (next, MemberBody::Admit { directory })];
    core.turn(said.map(|(to, body)| Event::Member {
        from: PeerName {
            node: NodeId(2),
            core: CoreId(0),
        },
        message: MemberMessage {
            shard: ShardId(1),
            from: other,
            to,
            attempt: 0,
            body,
        },
    }));
    assert_eq!((core.running(), core.damaged()), (vec![1], vec![]), "another runs");
    core.pass(1);
    assert_eq!(core.reads, reads + 1, "it is read on for the next replica");
    assert_eq!(core.core.counters().entries_fetched, 0);
}

/// The index holds nothing at the restart, so what precedes the first entry is known from nowhere but the rule that
/// it has term 0; a member with an empty log answers, and then every beat.
#[test]
fn a_member_with_an_empty_log_is_caught_up_after_a_restart_without_an_index() {
    let mut core = Driven::created(3, &[]);
    core.append(
        LEADER,
        Append {
            after: (0, 0),
            entries: vec![LEADER.put("a", 1)],
            commit: 1,
        },
    );
    core.pass(10);
    assert_eq!(core.commits, 0);
    let mut core = core.restarted();
    let term = core.elected();
    core.refused_by_empty_log(Peer { shard: 1, node: 3, term }, 1);
    for _ in 0..5 {
        core.tick(1);
        for node in [3, 2] {
            core.heartbeat_answered(Peer { shard: 1, node, term });
        }
    }
    assert_eq!(core.core.replicas().next().map(|replica| replica.group().last()), Some(LogIndex(2)));
    let mut sent = core.sent_entries(3);
    sent.dedup();
    assert_eq!(sent, [1], "probes carry the first entry");
}

/// The batch of an old entry has rotted: the first one wanted, or one behind it. Raft once asked for it again at every beat, and got nothing.
#[test]
fn a_member_that_needs_an_entry_lost_here_gets_an_image() {
    for lost in [b"k1v", b"k5v"] {
        let mut core = restarted_with_old_entries(16, b"v");
        core.rot(lost);
        let term = core.elected();
        core.refused_by_empty_log(Peer { shard: 1, node: 3, term }, ENTRIES);
        core.tick(1);
        assert!(core.reads < 20, "{} reads", core.reads);
        let begins = |(to, message): &(PeerName, MemberMessage)| to.node == NodeId(3) && matches!(message.body, MemberBody::Begin { .. });
        assert!(core.members.iter().any(begins), "{:?}", core.members);
        assert_eq!(core.sent_entries(3), [0; 0]);
    }
}
