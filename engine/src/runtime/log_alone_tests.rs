//! A small log on the disk of the build: appended to by several writers, recycled, read back.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::ids::{LogIndex, ReplicaId, ShardId, Space, Term};
use margate_net::message::EntryKind;
use tempfile::TempDir;

use super::*;
use crate::log::record::Record;
use crate::types::Nanos;

const SEGMENT_BYTES: u32 = 1 << 20;
const VALUE: Bytes = Bytes::from_static(&[7; 60_000]);
const WRITERS: usize = 3;

fn log() -> (TempDir, LogAlone) {
    // Temporary folders may be in memory, which takes no direct writes.
    let built = std::env::current_exe().expect("a test is a program");
    let folder = tempfile::tempdir_in(built.parent().expect("it lies in a folder")).expect("a folder on the disk of the build");
    let log = LogAlone {
        folder: folder.path().to_owned(),
        segment_bytes: SEGMENT_BYTES,
        segments_kept: 2,
    };
    (folder, log)
}

fn entry(writer: u64, index: u64) -> Record {
    Record::Entry {
        name: ReplicaName {
            shard: ShardId(writer),
            replica: ReplicaId(1),
        },
        space: Space(1),
        term: Term(1),
        index: LogIndex(index),
        kind: EntryKind::Normal,
        data: VALUE,
        timestamp: Nanos(0),
    }
}

#[test]
fn what_is_durable_is_read_back_but_for_what_was_recycled() {
    let (_folder, log) = log();
    let (mut waiting, mut done, mut next) = (VecDeque::new(), 0, [1; WRITERS]);
    let mut acknowledged = BTreeMap::new();
    let mut free: Vec<u64> = (0..).take(WRITERS).collect();
    let counts = log.run(|durable, log| {
        while done < durable {
            let (writer, index) = waiting.pop_front().expect("what is durable was pushed");
            acknowledged.insert(writer, index);
            free.push(writer);
            done += 1;
        }
        if done >= 150 {
            return ControlFlow::Break(());
        }
        for writer in free.drain(..) {
            let index = &mut next[usize::try_from(writer).expect("three writers")];
            log.push(entry(writer, *index));
            waiting.push_back((writer, *index));
            *index += 1;
        }
        ControlFlow::Continue(())
    });
    let counts = counts.expect("the disk takes it");
    assert!(counts.recycled >= 3, "{counts:?}");
    assert!(counts.batches < done && counts.bytes > done * VALUE.len() as u64, "{counts:?}");
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    log.entries(|name, index| {
        let before = last.insert(name.shard.0, index);
        assert!(before.is_none_or(|before| before + 1 == index), "{name}: {index} after {before:?}");
    })
    .expect("it reads");
    assert!(
        acknowledged.iter().all(|(writer, index)| last.get(writer) >= Some(index)),
        "{last:?}"
    );
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let (folder, log) = log();
    fs::write(folder.path().join("kept"), "x").expect("writable");
    let refused = log.run(|_, _| ControlFlow::Break(())).expect_err("it holds a file");
    assert!(matches!(refused, LogAloneError::Files { .. }), "{refused}");
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 1);
}
