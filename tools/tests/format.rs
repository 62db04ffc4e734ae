//! Format 1, for ever: what `margate inspect` says of the data directory that is kept, and of damaged ones made from it.
//!
//! Not here, on purpose: opening it by a start, and making it (`engine/tests/format/`).

#[path = "../../engine/tests/format/fixture.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod fixture;
#[path = "../../engine/tests/format/packed.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod packed;
mod support;

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use support::cli::stdout;
use support::{margate, scratch};

/// The directory, unpacked, with something done to it.
fn unpacked(act: impl FnOnce(&Path)) -> TempDir {
    let scratch = scratch();
    fixture::unpack(scratch.path());
    act(scratch.path());
    scratch
}

/// What `margate inspect` says of a directory, and its exit code.
fn inspected(root: &Path, flags: &[&str]) -> (Value, Option<i32>) {
    let output = margate().arg("inspect").arg(root).args(flags).args(["-o", "json"]).output();
    let output = output.expect("the binary runs");
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no document: {}", stdout(&output)));
    (document, output.status.code())
}

#[track_caller]
fn assert_sound(root: &Path) {
    let (found, code) = inspected(root, &["--verify"]);
    assert_eq!((code, &found["sound"]), (Some(0), &Value::Bool(true)), "{found:#}");
}

#[track_caller]
fn assert_damaged(root: &Path, says: &str) {
    let (found, code) = inspected(root, &["--verify"]);
    assert_eq!(code, Some(7), "{found:#}");
    assert!(found.to_string().contains(says), "{says:?} is not said: {found:#}");
}

#[test]
fn format_1_is_sound() {
    assert_sound(unpacked(|_| ()).path());
}

#[test]
fn format_1_is_shown_record_by_record() {
    let (found, _) = inspected(unpacked(|_| ()).path(), &["--records"]);
    let records = found["records"].as_array().expect("a list");
    for kind in ["checkpoint", "commit", "entry", "hard_state", "relocation", "replica_end"] {
        assert!(records.iter().any(|record| record["kind"] == kind), "no record of kind {kind}");
    }
    assert!(records.iter().any(|record| record.to_string().contains("key_del")));
}

#[test]
fn format_1_with_a_torn_tail_is_sound() {
    assert_sound(unpacked(fixture::tear_tail).path());
}

#[test]
fn format_1_with_a_rotten_batch_is_damaged() {
    assert_damaged(unpacked(fixture::rot_last_entry).path(), "acknowledged bytes are lost: 1 batch");
}

#[test]
fn a_log_of_a_newer_format_is_named() {
    assert_damaged(unpacked(fixture::become_newer).path(), "format 2");
}

#[test]
fn format_1_of_another_deployment_is_named() {
    assert_damaged(unpacked(fixture::become_foreign).path(), "is of cluster 0707");
}

#[test]
fn format_1_with_a_truncated_segment_is_damaged() {
    assert_damaged(unpacked(fixture::truncate).path(), "acknowledged bytes are lost: 50 batches");
}
