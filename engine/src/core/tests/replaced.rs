//! Reclaim where entries were replaced: what a former leader's entries say of a segment is not what the log holds.

use bytes::Bytes;
use margate_net::ids::{LogIndex, ShardId, Version};

use super::driven::{Driven, SEGMENT_BYTES, VALUE};
use super::fixture;
use super::peers::{Append, Peer};
use crate::core::room::{DiskLimits, Room};
use crate::log::effects::EntryDataBuilder;
use crate::types::Nanos;

/// More than any log here has.
const EVERYTHING: u64 = 1 << 30;

/// Two shards of which others lead. What is told is of shard 1; shard 2 moves the log on.
struct Story {
    core: Driven,
    /// Entries of shard 2.
    filled: u64,
}

fn leader(shard: u64, term: u64) -> Peer {
    Peer { shard, node: 2, term }
}

fn delete(key: &str, version: u64) -> Bytes {
    let mut data = EntryDataBuilder::new(fixture::CLUSTER, ShardId(1), Nanos(5));
    data.delete(key.as_bytes(), Version(version));
    data.finish().into()
}

impl Story {
    /// One entry is committed, then the log moves on to a segment that is known whole.
    fn begun() -> Self {
        let mut story = Self {
            core: Driven::with_segments(3, &["m"], SEGMENT_BYTES),
            filled: 0,
        };
        story.append((0, 0), 1, vec![leader(1, 1).put("a", 1)], 1);
        story.next_segment();
        story.next_segment();
        story
    }

    /// A former leader's tail that was never committed, and in the next segment what replaced it.
    fn with_a_replaced_tail() -> Self {
        let mut story = Self::begun();
        story.puts(1, "b", 20, 1);
        story.next_segment();
        story.puts(3, "a", 40, 40);
        story
    }

    fn append(&mut self, after: (u64, u64), term: u64, entries: Vec<Bytes>, commit: u64) {
        self.core.append(leader(1, term), Append { after, entries, commit });
    }

    /// A leader of this term sends puts of one key, which follow the first entry.
    fn puts(&mut self, term: u64, key: &str, last: u64, commit: u64) {
        let entries = (2..=last).map(|version| leader(1, term).put(key, version)).collect();
        self.append((1, 1), term, entries, commit);
    }

    fn fill(&mut self, key: &str, value: &[u8]) {
        let at = self.filled;
        self.filled += 1;
        let append = Append {
            after: (at, u64::from(at > 0)),
            entries: vec![leader(2, 1).put_value(key, value, at + 1)],
            commit: at + 1,
        };
        self.core.append(leader(2, 1), append);
    }

    fn next_segment(&mut self) {
        let before = self.core.core.log.position().segment;
        while self.core.core.log.position().segment == before {
            self.fill("x", &VALUE);
        }
    }

    /// So much of the log is not read in search of garbage.
    fn spare(&mut self, bytes: u64) {
        let limits = DiskLimits::new(2 * u64::from(SEGMENT_BYTES), SEGMENT_BYTES, 1);
        self.core.core.room = Room::new(limits.sparing(bytes), SEGMENT_BYTES);
    }

    /// Up to where shard 1's replica has forgotten entries, and applied them.
    fn kept(&self) -> (u64, u64) {
        let replica = self.core.core.replicas().next().expect("it runs");
        (replica.group().truncated().0, replica.applied().0)
    }
}

/// The segment of the former leader's entries went, and with it the places of those that had replaced them.
#[test]
fn the_first_entries_kept_are_found() {
    let mut story = Story::with_a_replaced_tail();
    let name = story.core.core.replicas().next().expect("it runs").name();
    // Most of what follows lives, so that the log stays as it is from there on.
    for key in 0..60 {
        story.fill(&format!("x{key}"), &VALUE);
        if key % 4 == 3 {
            story.core.pass(6_000);
        }
        let ((truncated, applied), core) = (story.kept(), &story.core.core);
        for index in (truncated + 1..=applied).filter(|_| truncated > 0) {
            let found = core.positions.find(name, LogIndex(index), &core.index).expect("memory never fails");
            assert!(
                found.is_some(),
                "entry {index} of {}..={applied} can be found by nobody",
                truncated + 1
            );
        }
    }
    assert!(story.core.core.counters().reclaimed.unread > 0 && story.kept().0 > 0);
}

/// What was forgotten too far made a replaced delete look like one that may have happened: it was copied, with a version above that of
/// the put which was committed in its place, and a rebuilt index believed it.
#[test]
fn a_put_after_a_replaced_delete_survives_the_index() {
    let mut story = Story::begun();
    story.puts(1, "b", 20, 1);
    story.next_segment();
    story.fill("y", b"lives");
    story.append((1, 1), 2, vec![delete("g", 50)], 1);
    story.puts(3, "a", 40, 40);
    story.spare(EVERYTHING);
    (0..6).for_each(|key| story.fill(&format!("x{key}"), &VALUE));
    story.core.fill_index();
    story.spare(0);
    story.fill("x0", &VALUE);
    story.core.fill_index();
    story.core.tick(60);
    assert!(story.core.core.counters().reclaimed.unread > 0);
    story.append((40, 3), 3, vec![leader(1, 3).put("g", 41)], 41);
    story.core.pass(50);
    story.core.heartbeat(leader(1, 3), 41);
    story.core.pass(50);
    story.core.lose_index();
    let mut core = story.core.restarted();
    core.heartbeat(leader(1, 3), 41);
    assert_eq!(core.stale(1, "a").as_deref(), Ok(&b"a"[..]));
    assert_eq!(core.stale(1, "g").as_deref(), Ok(&b"g"[..]));
}

/// A leader that has forgotten some entries, and memory others, gives a member that needs them those that the log holds, or an image.
#[test]
fn a_member_that_lags_is_served() {
    let mut story = Story::with_a_replaced_tail();
    for index in 41..=900 {
        let put = leader(1, 3).put_value(&format!("k{index}"), &VALUE, index);
        story.append((index - 1, 3), 3, vec![put], index);
        if index % 4 == 0 && index < 120 {
            story.core.pass(6_000);
        }
        if story.core.core.log.oldest_segment() > 3 {
            story.spare(EVERYTHING);
        }
    }
    story.core.fill_index();
    let laggard = Peer {
        shard: 1,
        node: 3,
        term: story.core.elected(),
    };
    story.core.refused_at(laggard, (900, story.kept().0.max(20) + 9, 3));
    for _ in 0..30 {
        story.core.tick(1);
        [2, 3]
            .into_iter()
            .for_each(|node| story.core.heartbeat_answered(Peer { node, ..laggard }));
    }
    let served = !story.core.sent_entries(3).is_empty() || !story.core.members.is_empty();
    assert!(served, "it gets neither entries nor an image");
}
