//! The bytes of one batch are those `docs/format.md` draws.

use bytes::Bytes;
use margate_net::ids::{ClusterId, LogIndex, ShardId, Space, Term, Version};
use margate_net::message::EntryKind;

use super::support::{World, hard_state, name};
use crate::log::effects::EntryDataBuilder;
use crate::log::record::Record;
use crate::types::{Nanos, ValueHash};

/// The second batch of a log: an entry with a put and a delete, and a hard state; the first held a hard state.
fn batch() -> Vec<u8> {
    let mut world = World::new(16 << 10);
    world.batch(vec![hard_state(name(1, 2), 1, 2)]);
    world.writer.note_commit(name(1, 2), LogIndex(8));
    let mut data = EntryDataBuilder::new(ClusterId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), ShardId(1), Nanos(0x1234_5678));
    data.put(b"margate", b"sands", Version(41), ValueHash::of(b"sands"));
    data.delete(b"pier", Version(42));
    world.writer.push(Record::Entry {
        name: name(1, 2),
        space: Space(7),
        term: Term(3),
        index: LogIndex(9),
        kind: EntryKind::Normal,
        data: Bytes::from(data.finish()),
        timestamp: Nanos(0x1234_5678),
    });
    world.writer.push(hard_state(name(1, 2), 3, 2));
    world.flush();
    let (flush, bytes) = world.written.remove(1);
    bytes[..flush.used].to_vec()
}

/// The bytes of the table under "One batch, drawn": offset, hexadecimal bytes, meaning.
fn drawn() -> Vec<u8> {
    let page = include_str!("../../../../docs/format.md");
    let section = page.split("## One batch, drawn").nth(1).expect("the section is there");
    let table = section.split("\n## ").next().unwrap_or(section);
    let mut bytes = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        assert_eq!(usize::from_str_radix(cells[1], 16), Ok(bytes.len()), "offset of {row}");
        let digits = cells[2].replace(' ', "");
        let pairs = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal"));
        bytes.extend(pairs);
    }
    bytes
}

#[test]
fn the_drawn_batch_is_the_written_one() {
    let (written, drawn) = (batch(), drawn());
    let differing = written.iter().zip(&drawn).position(|(written, drawn)| written != drawn);
    assert_eq!((differing, written.len()), (None, drawn.len()), "written: {}", hex(&written));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
