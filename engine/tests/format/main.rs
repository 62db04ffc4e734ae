//! Format 1, for ever: a data directory of version 1 that every later version opens, and damaged ones with what a start says of each.
//!
//! The fixture is `engine/tests/fixtures/format-1`, packed as text. It was made by [`make`], on real files, and is never made
//! again: `MARGATE_MAKE_FORMAT=1 cargo test -p margate-engine --test format` writes that of the present format, and only where no
//! fixture of that format is. `docs/format.md` draws every byte.
//!
//! Not here, on purpose: what a damaged node does next (the golden scripts, the simulator), what `margate inspect` says of it
//! (`tools/tests/format.rs`).

#[path = "../files/mod.rs"]
mod files;
mod fixture;
mod make;
mod packed;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use margate_engine::log::effects::{EffectKind, EntryData};
use margate_engine::log::record::RecordBody;
use margate_engine::log::scan::scan;
use margate_engine::runtime::segments::SegmentFiles;
use proptest::prelude::*;
use tempfile::TempDir;

/// Where a segment's header has its life.
const LIFE_AT: usize = 72;

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// The directory, unpacked, with something done to it.
fn unpacked(act: impl FnOnce(&Path)) -> TempDir {
    let scratch = scratch();
    fixture::unpack(scratch.path());
    act(scratch.path());
    scratch
}

/// What every key holds: no value where it was deleted.
fn contents() -> [(&'static str, Option<Bytes>); 7] {
    let text = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    [
        ("alpha", text("in the log, not in the index")),
        ("beta", None),
        ("delta", None),
        ("epsilon", text("after the image")),
        ("gamma", text(&format!("23{}", ".".repeat(11_900)))),
        ("omega", text("in the log, not in the index")),
        ("zeta", text("")),
    ]
}

/// The directory opens, and every key is read.
#[track_caller]
fn assert_opens(root: &Path) {
    let mut deployment = make::open(root).expect("it opens");
    let node = &deployment.nodes[0];
    assert_eq!((node.found.torn_bytes, &node.found.damaged[..]), (0, &[][..]));
    assert_eq!(node.core.replicas().count(), 2);
    for (key, value) in contents() {
        assert_eq!(deployment.get_stale(0, key), value, "{key}");
    }
}

#[track_caller]
fn assert_refused(root: &Path, says: &str) {
    match make::open(root) {
        Ok(_) => panic!("it starts, and should say {says:?}"),
        Err(error) => assert!(error.contains(says), "{error}"),
    }
}

/// It holds one of everything that a log can hold.
fn assert_complete(root: &Path) {
    let (mut kinds, mut deletes) = (BTreeSet::new(), false);
    let mut files = SegmentFiles::list(&root.join("core-0/log")).expect("a log");
    let scanned = scan(&mut files, &fixture::log_config(), None, &mut |batch| {
        for record in batch.records() {
            kinds.insert(match record.body {
                RecordBody::Checkpoint { .. } => "checkpoint",
                RecordBody::Entry { .. } => "entry",
                RecordBody::HardState(_) => "hard_state",
                RecordBody::Relocation { .. } => "relocation",
                RecordBody::ReplicaEnd => "replica_end",
                RecordBody::Unknown { .. } => "unknown",
            });
            deletes |= matches!(record.body, RecordBody::Entry { data, .. } if has_delete(data));
        }
    });
    scanned.expect("it is sound");
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["checkpoint", "entry", "hard_state", "relocation", "replica_end"]
    );
    assert!(deletes, "no entry deletes");
    let lives = fixture::segments(root)
        .into_iter()
        .map(|path| fs::read(path).expect("readable")[LIFE_AT]);
    assert!(lives.max() > Some(1), "no segment was used again");
}

fn has_delete(data: &[u8]) -> bool {
    let parsed = EntryData::parse(data).ok();
    parsed.is_some_and(|parsed| parsed.effects().any(|(_, effect)| effect.kind == EffectKind::Delete))
}

/// What made the fixture still makes one like it; the fixture itself is written only where there is none.
#[test]
fn format_1_can_be_made() {
    let scratch = scratch();
    make::make(scratch.path());
    let root = scratch.path().join(fixture::NODES.to_string());
    assert_complete(&root);
    if std::env::var_os("MARGATE_MAKE_FORMAT").is_some() && !fixture::folder().exists() {
        packed::pack(&root, &fixture::folder());
    }
    assert_opens(&root);
}

#[test]
fn format_1_opens() {
    let sound = unpacked(|_| ());
    assert_complete(sound.path());
    assert_opens(sound.path());
}

#[test]
fn format_1_opens_without_its_index() {
    let sound = unpacked(|root| fs::remove_file(root.join("core-0/index/data.mdb")).expect("it was there"));
    assert_opens(sound.path());
}

#[test]
fn format_1_with_a_torn_tail_opens() {
    let torn = unpacked(fixture::tear_tail);
    let found = &make::open(torn.path()).expect("it opens").nodes[0].found;
    assert!(found.torn_bytes > 0 && found.damaged.is_empty(), "{found:?}");
}

#[test]
fn format_1_with_a_rotten_batch_opens_without_whom_it_hurts() {
    let rotten = unpacked(fixture::rot_last_entry);
    let opened = make::open(rotten.path()).expect("it opens");
    assert!(!opened.nodes[0].found.damaged.is_empty());
}

#[test]
fn a_log_of_a_newer_format_is_refused_by_name() {
    assert_refused(unpacked(fixture::become_newer).path(), "format 2");
}

#[test]
fn format_1_of_another_deployment_is_refused() {
    assert_refused(unpacked(fixture::become_foreign).path(), "point the node at its own data directory");
}

/// The index has moved past all of it, and nothing there lives.
#[test]
fn format_1_with_a_truncated_segment_opens() {
    assert_opens(unpacked(fixture::truncate).path());
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked_as_it_was(runs in prop::collection::vec((any::<u8>(), 1_usize..200), 0..20)) {
        let bytes: Vec<u8> = runs.into_iter().flat_map(|(byte, count)| vec![byte; count]).collect();
        prop_assert_eq!(packed::bytes_of(&packed::text_of(&bytes)), bytes);
    }
}
