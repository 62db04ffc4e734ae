//! Data directories that a node must not start on: it says why and what to do, changes nothing, and starts again once
//! everything is back in its place.

mod support;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::node::{Single, node};
use support::{Process, SOON, eventually, free_address};

/// Where the checksum of a segment's header is, and how long its block is (`docs/format.md`).
const SEGMENT_CHECKSUM_AT: usize = 20;
const BLOCK_BYTES: usize = 4_096;

/// A deployment of one node, stopped, that holds one key.
#[track_caller]
fn stopped_with(key: &str) -> Single {
    let mut single = Single::create();
    single.cli().told(&["set", key, "1"]);
    single.process.stop();
    single
}

/// Starts it and looks whether all is there that should be.
#[track_caller]
fn assert_sound(single: &mut Single, key: &str) {
    single.start_again();
    assert_eq!(single.cli().told(&["list"]), format!("{key}\t1\n"));
    single.process.stop();
}

/// While `put` is in the place of `original`, the node must refuse with this message; then all is put back.
#[track_caller]
fn assert_refused_with(single: &Single, original: &Path, put: impl FnOnce(&Path), message: &str) {
    let aside = original.with_extension("aside");
    fs::rename(original, &aside).expect("nobody uses it");
    put(original);
    single.assert_refuses(message);
    match fs::metadata(original) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(original),
        Ok(_) => fs::remove_file(original),
        Err(_) => Ok(()),
    }
    .expect("it was put there");
    fs::rename(&aside, original).expect("the place is free");
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn what_belongs_to_another_cluster_is_refused() {
    let (mut single, mut foreign) = (stopped_with("ours"), stopped_with("theirs"));
    let core = |of: &Single, part: &str| -> PathBuf { of.data().join("core-0").join(part) };
    for (part, message) in [
        ("log", "is of cluster"),
        ("index", "the index belongs to cluster"),
        ("", "belongs to cluster"),
    ] {
        let theirs = core(&foreign, part);
        let original = core(&single, part);
        assert_refused_with(&single, &original, |place| copy_all(&theirs, place), message);
        assert_sound(&mut single, "ours");
    }
    // The other way round: the identity of another deployment before our data.
    let theirs = foreign.data().join("IDENTITY");
    let copy = |place: &Path| assert!(fs::copy(&theirs, place).expect("copied") > 0);
    let message = "created with other nodes, addresses, cores or shard bounds";
    assert_refused_with(&single, &single.data().join("IDENTITY"), copy, message);
    assert_sound(&mut single, "ours");
    assert_sound(&mut foreign, "theirs");
}

#[test]
fn what_belongs_to_another_node_is_refused() {
    let mut single = stopped_with("ours");
    let (data, other) = (single.data(), free_address());
    let nodes = [(1, single.address.as_str()), (2, other.as_str())];
    let belongs = format!(
        "{} belongs to node 1 and this is node 2; check the node id or the directory",
        data.display()
    );
    for flags in [&[][..], &["--bootstrap"]] {
        let mut command = node(&data, 2, &nodes);
        command.args(flags);
        Process::start(command).expect_failure(1, &belongs);
    }
    // The right node, told of another deployment than the one it is part of.
    let elsewhere = node(&data, 1, &[(1, &other)]);
    let differs = "created with other nodes, addresses, cores or shard bounds; start with those, or give a new directory";
    Process::start(elsewhere).expect_failure(1, differs);
    Process::start(node(&data, 1, &nodes)).expect_failure(1, differs);
    let mut cut = single.command();
    cut.args(["--bounds", "m"]);
    Process::start(cut).expect_failure(1, differs);
    assert_sound(&mut single, "ours");
}

#[test]
fn what_a_newer_version_wrote_is_refused() {
    let mut single = stopped_with("ours");
    let identity = single.data().join("IDENTITY");
    let bytes = fs::read(&identity).expect("a file");
    let newer = "it has format 999 and this build knows 1; start a newer margate";
    assert_refused_with(
        &single,
        &identity,
        |place| fs::write(place, newer_identity(&bytes)).expect("written"),
        newer,
    );
    assert_sound(&mut single, "ours");

    let segment = single.data().join("core-0/log/00000001.seg");
    let header = {
        let mut block = vec![0; BLOCK_BYTES];
        fs::File::open(&segment)
            .and_then(|file| file.read_exact_at(&mut block, 0))
            .expect("a block");
        newer_header(block)
    };
    let newer = "log segment 1 has format 999, this version knows 1: start the node with the newer version";
    let put = |place: &Path| {
        fs::copy(segment.with_extension("aside"), place).expect("copied");
        let file = fs::OpenOptions::new().write(true).open(place).expect("a file");
        file.write_all_at(&header, 0).expect("written");
    };
    assert_refused_with(&single, &segment, put, newer);
    assert_sound(&mut single, "ours");
}

/// The identity as format 999 would begin, its checksum right.
fn newer_identity(bytes: &[u8]) -> Vec<u8> {
    let mut newer = bytes[..bytes.len() - 4].to_vec();
    newer[4..6].copy_from_slice(&999u16.to_le_bytes());
    let checksum = crc32fast::hash(&newer);
    newer.extend(checksum.to_le_bytes());
    newer
}

/// A segment's first block as format 999 would begin, its checksum right.
fn newer_header(mut block: Vec<u8>) -> Vec<u8> {
    block[4..6].copy_from_slice(&999u16.to_le_bytes());
    block[SEGMENT_CHECKSUM_AT..SEGMENT_CHECKSUM_AT + 4].fill(0);
    let checksum = crc32fast::hash(&block);
    block[SEGMENT_CHECKSUM_AT..SEGMENT_CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
    block
}

#[test]
fn what_was_lost_or_damaged_is_named() {
    let mut single = stopped_with("ours");
    let identity = single.data().join("IDENTITY");
    let mut flipped = fs::read(&identity).expect("a file");
    flipped[20] ^= 1;
    let write = |bytes: &[u8], place: &Path| fs::write(place, bytes).expect("written");
    assert_refused_with(&single, &identity, |place| write(&flipped, place), "the file is damaged");
    assert_refused_with(
        &single,
        &identity,
        |place| write(b"thesis", place),
        "it does not begin as a Margate identity does",
    );
    assert_refused_with(&single, &identity, |_| {}, "holds core folders but no IDENTITY");
    let log = single.data().join("core-0/log");
    assert_refused_with(
        &single,
        &log,
        |place| fs::create_dir(place).expect("made"),
        "the log of this core has no segment file: the log was lost; delete this node's data directory",
    );
    assert_refused_with(&single, &log, |_| {}, "the log of this core has no segment file: the log was lost");
    assert_sound(&mut single, "ours");
}

#[test]
fn a_rotten_index_is_set_aside_and_made_anew_from_the_log() {
    let mut single = stopped_with("ours");
    let core = single.data().join("core-0");
    fs::write(core.join("index/data.mdb"), vec![0x5A; 1 << 20]).expect("written");
    for _ in 0..3 {
        Process::start(single.command()).expect_failure(1, "the index of core 0 cannot be used");
    }
    assert_sound(&mut single, "ours");
    assert!(core.join("index.aside/data.mdb").exists(), "what was set aside is kept");
    assert!(!core.join("index.failed-starts").exists(), "a start that succeeds ends the count");
}

#[test]
fn a_node_killed_over_and_over_as_soon_as_it_serves_keeps_its_index_for_a_while() {
    let mut single = stopped_with("ours");
    let core = single.data().join("core-0");
    let aside = core.join("index.aside");
    for signal in [Signal::KILL; 3].into_iter().chain([Signal::ABORT; 6]) {
        assert!(!aside.exists(), "killed too seldom to be the index's fault");
        single.start_again();
        single.process.signal(signal);
        single.process.expect_end(SOON);
    }
    assert_sound(&mut single, "ours");
    assert!(aside.join("data.mdb").exists(), "nobody kills that often: it is set aside");
    assert!(!core.join("index.failed-starts").exists(), "a graceful stop acquits the new one");
}

#[test]
fn an_index_that_takes_a_commit_is_acquitted_at_once() {
    let mut single = stopped_with("ours");
    let count = single.data().join("core-0/index.failed-starts");
    let started = Instant::now();
    single.start_again();
    assert!(count.exists(), "it has served for a moment only");
    single.cli().told(&["set", "more", "1"]);
    eventually("the commit acquits it", SOON, || (!count.exists()).then_some(()));
    assert!(started.elapsed() < Duration::from_secs(10), "the time it has served did");
}

#[test]
fn a_core_whose_index_was_deleted_by_hand_makes_a_new_one() {
    let mut single = stopped_with("ours");
    let core = single.data().join("core-0");
    fs::write(core.join("index.failed-starts"), "9 1\n").expect("written");
    fs::remove_dir_all(core.join("index")).expect("a folder");
    assert_sound(&mut single, "ours");
    assert!(core.join("index/data.mdb").exists() && !core.join("index.aside").exists());
}
