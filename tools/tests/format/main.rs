//! Format 1, for ever: a data directory of version 1 that every later version opens, and damaged ones with what is said of each.
//!
//! The fixture is `tools/tests/fixtures/format-1`, packed as text. It was made by [`deployment`], on real files, and is never made
//! again: `MARGATE_MAKE_FORMAT=1 cargo test -p margate-tools --test format` writes that of the present format, and only where no
//! fixture of that format is. `docs/format.md` draws every byte.
//!
//! Not here, on purpose: what a damaged node does next (the golden scripts, the simulator).

mod deployment;
mod node;
mod packed;
#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use margate_net::error::Refusal;
use margate_net::ids::NodeId;
use margate_net::message::{Consistency, Operation, ReadVersion, Returning, Success};
use serde_json::Value;
use tempfile::TempDir;

use node::{NODES, Node};
use support::cli::stdout;
use support::{margate, scratch};

/// The node whose directory it is.
const NODE: NodeId = NodeId(NODES);
/// Bytes of a block of the log.
const BLOCK_BYTES: u64 = 4_096;
/// Where a segment's header has its format version, its checksum, and the cluster id.
const FORMAT_AT: u64 = 4;
const CHECKSUM_AT: usize = 20;
const CLUSTER_AT: u64 = 32;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// The sound directory, unpacked.
fn sound() -> TempDir {
    let scratch = scratch();
    packed::unpack(&fixture(), scratch.path());
    scratch
}

/// What every key holds: no value where it was deleted.
fn contents() -> [(&'static str, Option<String>); 7] {
    let text = |text: &str| Some(text.to_owned());
    [
        ("alpha", text("in the log, not in the index")),
        ("beta", None),
        ("delta", None),
        ("epsilon", text("after the image")),
        ("gamma", Some(format!("23{}", ".".repeat(11_900)))),
        ("omega", text("in the log, not in the index")),
        ("zeta", text("")),
    ]
}

/// The directory opens, and every key is read.
#[track_caller]
fn assert_opens(root: &Path) {
    let mut node = Node::open(root, NODE).expect("it opens");
    assert_eq!((node.found.torn_bytes, &node.found.damaged[..]), (0, &[][..]));
    assert_eq!(node.core.replicas().count(), 2);
    for ((key, value), id) in contents().into_iter().zip(1..) {
        assert_eq!(read(&mut node, key, id), value, "{key}");
    }
}

fn read(node: &mut Node, key: &str, id: u64) -> Option<String> {
    let get = Operation::Get {
        key: Bytes::copy_from_slice(key.as_bytes()),
        version: ReadVersion::Latest,
        consistency: Consistency::Stale,
        returning: Returning::default(),
    };
    match node.ask(id, get) {
        Ok(Success::Found { value, .. }) => Some(String::from_utf8(value.to_vec()).expect("text")),
        Err(Refusal::NotFound) => None,
        other => panic!("a get is answered with {other:?}"),
    }
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

/// It is damaged: `inspect` says so in these words, and a start in those, or goes on without the replicas that are hurt.
#[track_caller]
fn assert_damaged(root: &Path, inspect_says: &str, start_says: Option<&str>) {
    let (found, code) = inspected(root, &["--verify"]);
    assert_eq!(code, Some(7), "{found:#}");
    assert!(found.to_string().contains(inspect_says), "{inspect_says:?} is not said: {found:#}");
    match (Node::open(root, NODE), start_says) {
        (Ok(node), None) => assert!(!node.found.damaged.is_empty()),
        (Err(error), Some(says)) => assert!(error.contains(says), "{error}"),
        (Ok(_), Some(says)) => panic!("it starts, and should say {says:?}"),
        (Err(error), None) => panic!("it does not start: {error}"),
    }
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let log = fs::read_dir(root.join("core-0/log")).expect("a log");
    let mut paths: Vec<PathBuf> = log.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths
}

fn change(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("a file");
    file.write_all_at(bytes, at).expect("written");
}

/// Changes a segment's header, whose checksum is made right.
fn change_header(path: &Path, at: u64, bytes: &[u8]) {
    let mut block = fs::read(path).expect("readable");
    block.truncate(usize::try_from(BLOCK_BYTES).expect("small"));
    let at = usize::try_from(at).expect("small");
    block[at..at + bytes.len()].copy_from_slice(bytes);
    block[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
    let checksum = crc32fast::hash(&block).to_le_bytes();
    block[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum);
    change(path, 0, &block);
}

/// Records of a kind, as `--records` shows them.
fn records(root: &Path, kind: &str) -> Vec<Value> {
    let (found, _) = inspected(root, &["--records"]);
    let records = found["records"].as_array().expect("a list");
    records.iter().filter(|record| record["kind"] == kind).cloned().collect()
}

/// The file and the byte where a record lies.
fn place(root: &Path, record: &Value) -> (PathBuf, u64) {
    let number = |name: &str| record[name].as_u64().expect("a number");
    (root.join(format!("core-0/log/{:08}.seg", number("segment"))), number("offset"))
}

/// Whether it holds one of everything that a log can hold.
fn assert_complete(root: &Path) {
    for kind in ["checkpoint", "entry", "hard_state", "relocation", "replica_end"] {
        assert!(!records(root, kind).is_empty(), "no record of kind {kind}");
    }
    assert!(records(root, "entry").iter().any(|entry| entry.to_string().contains("key_del")));
    let lives = segments(root).into_iter().map(|path| fs::read(path).expect("readable")[72]);
    assert!(lives.max() > Some(1), "no segment was used again");
}

/// What made the fixture still makes one like it; the fixture itself is written only where there is none.
#[test]
fn format_1_can_be_made() {
    let scratch = scratch();
    deployment::make(scratch.path());
    let root = scratch.path().join(NODES.to_string());
    assert_sound(&root);
    assert_complete(&root);
    if std::env::var_os("MARGATE_MAKE_FORMAT").is_some() && !fixture().exists() {
        packed::pack(&root, &fixture());
    }
    assert_opens(&root);
}

#[test]
fn format_1_opens() {
    let sound = sound();
    assert_sound(sound.path());
    assert_complete(sound.path());
    assert_opens(sound.path());
}

#[test]
fn format_1_opens_without_its_index() {
    let sound = sound();
    fs::remove_file(sound.path().join("core-0/index/data.mdb")).expect("it was there");
    assert_opens(sound.path());
}

#[test]
fn format_1_with_a_torn_tail_opens() {
    let sound = sound();
    // The last batch fills its segment, so that the next one begins the next. Only that much of it was written.
    let last = records(sound.path(), "commit").pop().expect("there are commits");
    let (path, at) = place(sound.path(), &last);
    let next = segments(sound.path())
        .into_iter()
        .find(|other| *other > path)
        .expect("one is ready");
    let (mut batch, mut header) = ([0; 64], [0; 64]);
    let read = |path: &Path, at, bytes: &mut [u8]| File::open(path).and_then(|file| file.read_exact_at(bytes, at)).expect("inside");
    read(&path, at / BLOCK_BYTES * BLOCK_BYTES, &mut batch);
    read(&next, 0, &mut header);
    batch[8..16].copy_from_slice(&header[24..32]);
    batch[16] += 1;
    batch[56..60].copy_from_slice(&header[8..12]);
    batch[60..].copy_from_slice(&4_096_u32.to_le_bytes());
    change(&next, BLOCK_BYTES, &batch);
    assert_sound(sound.path());
    let node = Node::open(sound.path(), NODE).expect("it opens");
    assert!(node.found.torn_bytes > 0 && node.found.damaged.is_empty());
}

#[test]
fn format_1_with_a_rotten_batch_is_damaged() {
    let sound = sound();
    let last = records(sound.path(), "entry").pop().expect("there are entries");
    let (path, at) = place(sound.path(), &last);
    let mut byte = [0];
    let file = File::open(&path).expect("a file");
    file.read_exact_at(&mut byte, at + 40).expect("inside");
    change(&path, at + 40, &[byte[0] ^ 1]);
    assert_damaged(sound.path(), "acknowledged bytes are lost: 1 batch", None);
}

#[test]
fn a_log_of_a_newer_format_is_refused_by_name() {
    let sound = sound();
    change_header(&segments(sound.path())[0], FORMAT_AT, &2_u16.to_le_bytes());
    assert_damaged(sound.path(), "format 2", Some("format 2"));
}

#[test]
fn format_1_of_another_deployment_is_refused() {
    let sound = sound();
    change_header(&segments(sound.path())[0], CLUSTER_AT, &[7; 16]);
    assert_damaged(sound.path(), "is of cluster 0707", Some("point the node at its own data directory"));
}

#[test]
fn format_1_with_a_truncated_segment_is_damaged() {
    let sound = sound();
    let path = segments(sound.path()).remove(0);
    let file = File::options().write(true).open(path).expect("a file");
    file.set_len(2 * BLOCK_BYTES).expect("shorter");
    let (found, code) = inspected(sound.path(), &["--verify"]);
    assert_eq!(code, Some(7), "{found:#}");
    assert!(found.to_string().contains("acknowledged bytes are lost: 50 batches"), "{found:#}");
    // The index has moved past all of it, and nothing there lives.
    assert_opens(sound.path());
}
