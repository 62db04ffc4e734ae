//! Generations go in, outcomes come out, a core awaits them; nothing given is lost at the end.

use std::sync::Arc;
use std::time::Duration;

use margate_net::ids::{ClusterId, DirectoryId};
use margate_net::runtime::executor::Executor;
use tempfile::TempDir;

use super::super::index_reader::HeedReader;
use super::super::index_store::HeedIndex;
use super::*;
use crate::index::conformance::{SPACE, generation, put};
use crate::index::marks::Identity;
use crate::index::{IndexReader, Slot};

fn open(directory: &TempDir, map_size: usize) -> (HeedReader, HeedWriter) {
    let ours = Identity {
        cluster: ClusterId(1),
        directory: DirectoryId(2),
    };
    HeedIndex::open(directory.path(), map_size, ours).expect("an index of our own")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

#[test]
fn a_core_awaits_its_commits() {
    let directory = directory();
    let (mut reader, writer) = open(&directory, 64 << 20);
    let thread = IndexThread::start(writer, "index-0").expect("a thread");
    Executor::new().expect("this machine has io_uring").run(async {
        for number in 1..=20_u32 {
            thread.commit(generation(number.into(), &[(b"k", put(number))]));
            let outcome = thread.outcomes().recv_async().await.expect("the thread lives");
            assert_eq!(outcome.expect("room").0, u64::from(number));
            reader.refresh().expect("a healthy environment");
            let row = reader.get(SPACE, b"k").expect("a healthy environment");
            assert_eq!(row.map(Slot::Put), Some(put(number)));
        }
    });
}

#[test]
fn what_was_given_is_committed_before_the_drop_returns() {
    let directory = directory();
    let (mut reader, writer) = open(&directory, 64 << 20);
    let thread = IndexThread::start(writer, "index-0").expect("a thread");
    thread.commit(generation(1, &[(b"k", put(1))]));
    drop(thread);
    reader.refresh().expect("a healthy environment");
    assert_eq!(
        reader.core_marks().expect("a healthy environment").map(|marks| marks.generation),
        Some(1)
    );
}

#[test]
fn a_full_index_is_waited_out_and_ends_with_the_thread() {
    let directory = directory();
    let (mut reader, writer) = open(&directory, 1 << 20);
    let thread = IndexThread::start(writer, "index-0").expect("a thread");
    let mut committed = 0;
    // Each generation adds 256 long keys of its own, so that a map of 1 MiB is soon full.
    for number in 1..=16_u32 {
        let prefix = u8::try_from(number).expect("small");
        let keys: Vec<Vec<u8>> = (0..=255).map(|key| [vec![prefix], vec![key; 900]].concat()).collect();
        let slots: Vec<_> = keys.iter().map(|key| (&key[..], put(number))).collect();
        thread.commit(generation(number.into(), &slots));
        match thread.outcomes().recv_timeout(Duration::from_millis(500)) {
            Ok(outcome) => committed = outcome.expect("room").0,
            // It waits for room; it must not say so as a failure, which would stop the node.
            Err(_) => break,
        }
    }
    assert!((1..16).contains(&committed), "{committed} generations fit");
    drop(thread);
    reader.refresh().expect("a healthy environment");
    let marks = reader.core_marks().expect("a healthy environment");
    assert_eq!(marks.map(|marks| marks.generation), Some(committed));
}

#[test]
fn an_overlay_is_freed_away_from_the_core() {
    let directory = directory();
    let (_reader, writer) = open(&directory, 64 << 20);
    let thread = IndexThread::start(writer, "index-0").expect("a thread");
    // The thread keeps a generation a little longer than its outcome takes to arrive; a busy machine may miss that now and then.
    let kept = (1..=20_u32).any(|number| {
        let generation = generation(number.into(), &[(b"k", put(number))]);
        let rows = Arc::clone(&generation.rows);
        thread.commit(generation);
        thread.outcomes().recv().expect("the thread lives").expect("room");
        Arc::strong_count(&rows) == 2
    });
    assert!(kept, "the thread lets go after the core");
    let last = generation(21, &[]);
    let rows = Arc::clone(&last.rows);
    thread.commit(last);
    drop(thread);
    assert_eq!(Arc::strong_count(&rows), 1);
}
