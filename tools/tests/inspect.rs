//! `margate inspect` on data directories that real nodes made: what it shows, what it finds, and that it changes nothing.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Output;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::cli::{assert_failed, stderr, stdout};
use support::node::Single;
use support::{Process, SOON, eventually, margate};

/// What the node of these tests did, as `--records` prints it: shard 1 holds the keys below 0x80.
const EFFECTS: [&str; 6] = [
    "key_set alpha version 1, 3 bytes",
    "key_set beta version 2, 2 bytes",
    "key_set 0x00ff version 3, 0 bytes",
    "key_set alpha version 4, 5 bytes",
    "key_del beta version 5",
    "key_set gamma version 6, 1 bytes",
];
const BLOCK_BYTES: u64 = 4_096;

/// A node that did a few things and has stopped.
#[track_caller]
fn stopped() -> Single {
    let mut single = Single::create();
    let cli = single.cli();
    for words in [
        &["set", "alpha", "one"][..],
        &["set", "beta", "22"],
        &["set", "0x00ff", ""],
        &["set", "alpha", "three"],
        &["delete", "beta"],
        &["set", "gamma", "3"],
        &["set", "0xff", "other shard"],
    ] {
        cli.told(words);
    }
    single.process.stop();
    single
}

fn inspect(data: &Path, flags: &[&str]) -> Output {
    margate().arg("inspect").arg(data).args(flags).output().expect("the binary runs")
}

/// The document of an inspection that must end with this code.
#[track_caller]
fn document(data: &Path, flags: &[&str], code: i32) -> Value {
    let output = inspect(data, &[flags, &["-o", "json"]].concat());
    assert_eq!(
        output.status.code(),
        Some(code),
        "{flags:?}: {}{}",
        stdout(&output),
        stderr(&output)
    );
    serde_json::from_slice(&output.stdout).expect("one document")
}

#[track_caller]
fn assert_sound(data: &Path) {
    let found = document(data, &["--verify"], 0);
    assert_eq!((&found["sound"], &found["problems_found"]), (&json!(true), &json!(0)), "{found}");
}

/// `--verify` must end with code 7 and name this among what is wrong.
#[track_caller]
fn assert_found(data: &Path, problem: &str) {
    let found = document(data, &["--verify"], 7);
    let named = problems(&found).any(|line| line.contains(problem));
    assert!(named && found["sound"] == false, "{problem:?} is not named: {found:#}");
    let text = inspect(data, &["--verify"]);
    assert_failed(&text, 7, "; nothing was changed");
    assert!(stdout(&text).contains(problem), "{}", stdout(&text));
}

fn problems(found: &Value) -> impl Iterator<Item = &str> {
    let cores = found["cores"].as_array().expect("a list");
    let lines = cores.iter().flat_map(|core| core["problems"].as_array().expect("a list"));
    lines.filter_map(Value::as_str)
}

/// The first record that has this, as `--records` shows it.
#[track_caller]
fn record(data: &Path, matches: impl Fn(&Value) -> bool) -> Value {
    let found = document(data, &["--records"], 0);
    let records = found["records"].as_array().expect("a list");
    records.iter().find(|record| matches(record)).expect("there is one").clone()
}

fn sets(key: &'static str) -> impl Fn(&Value) -> bool {
    move |record| {
        let effects = record["effects"].as_array();
        effects.is_some_and(|effects| effects.iter().any(|effect| effect["key"] == key))
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn segment(single: &Single) -> PathBuf {
    single.data().join("core-0/log/00000001.seg")
}

fn index(single: &Single) -> PathBuf {
    single.data().join("core-0/index/data.mdb")
}

/// Changes some bytes of a file while `look` looks, then puts them back.
fn with_bytes(path: &Path, at: u64, bytes: &[u8], look: impl FnOnce()) {
    let file = File::options().read(true).write(true).open(path).expect("a file");
    let mut before = vec![0; bytes.len()];
    file.read_exact_at(&mut before, at).expect("inside the file");
    file.write_all_at(bytes, at).expect("written");
    look();
    file.write_all_at(&before, at).expect("written");
}

/// All that can be said of every file below a folder but when it was read: its bytes, its size on disk, when it changed.
fn state_of(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let metadata = fs::metadata(&path).expect("there");
        if metadata.is_dir() {
            found.extend(state_of(&path));
        }
        let bytes = if metadata.is_dir() {
            Vec::new()
        } else {
            fs::read(&path).expect("readable")
        };
        found.insert(path, (bytes, metadata.blocks(), metadata.ctime(), metadata.ctime_nsec()));
    }
    found
}

#[test]
fn a_sound_directory_is_shown_verified_and_not_changed() {
    let single = stopped();
    let data = single.data();
    let before = state_of(&data);

    let text = inspect(&data, &[]);
    assert_eq!(text.status.code(), Some(0), "{}", stderr(&text));
    let text = stdout(&text);
    for shown in ["node 1, data directory ", ", member of cluster ", "core 0", "index: ", " ready "] {
        assert!(text.contains(shown), "{shown:?} is not shown:\n{text}");
    }
    let summary = document(&data, &["--summary"], 0);
    let core = &summary["cores"][0];
    assert_eq!(core["damage"], json!([]));
    let first = &core["segments"][0];
    assert_eq!(
        (&first["segment"], &first["first_sequence"], &first["bytes"]),
        (&json!(1), &json!(1), &json!(8 << 20))
    );
    assert_eq!((&first["state"], &first["last_sequence"]), (&json!("used"), &core["batches"]));
    let states: Vec<&Value> = core["segments"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|segment| &segment["state"])
        .collect();
    assert_eq!(states[1..], ["ready", "ready", "ready"]);
    // The first entry of each shard is its leader's own.
    let replicas: Vec<_> = core["replicas"].as_array().expect("a list").iter().collect();
    let entries: Vec<_> = replicas
        .iter()
        .map(|replica| (number(&replica["first"]), number(&replica["last"])))
        .collect();
    assert_eq!(entries, [(1, 7), (1, 2)]);
    assert!(
        replicas
            .iter()
            .all(|replica| replica["commit"] == replica["last"] && replica["hurt"] == false)
    );

    let verified = document(&data, &["--verify"], 0);
    assert_eq!((&verified["sound"], &verified["cores"][0]["effects"]), (&json!(true), &json!(7)));
    let verified = stdout(&inspect(&data, &["--verify"]));
    assert!(verified.contains("7 effects, "), "{verified}");
    inspect(&data, &["--records"]);
    assert_eq!(state_of(&data), before, "an inspection changed something");
}

#[test]
fn records_are_printed_in_order_one_per_line() {
    let single = stopped();
    let printed = inspect(&single.data(), &["--records"]);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    let printed = stdout(&printed);
    let effects = printed
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(' '))
        .map(|(_, effect)| effect);
    let expected = [&EFFECTS[..], &["key_set 0xff version 1, 11 bytes"]].concat();
    assert_eq!(effects.collect::<Vec<_>>(), expected);
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with("core 0 ")).collect();
    assert!(lines[0].contains(" batch 1 shard 1 replica 1 space 1 checkpoint of entry 0 term 0, log kept from segment 1, part 1 of 1, "));
    assert!(lines[1].contains(" batch 1 shard 2 replica 1 space 2 checkpoint of entry 0 "));
    let entry = |index: u64| format!("replica 1 space 1 entry {index} term 1, 1 effects, ");
    assert!(
        (2..8).all(|index| lines.iter().any(|line| line.contains(&entry(index)))),
        "{printed}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("shard 1 replica 1 space 1 hard_state term 1 vote 1"))
    );
    assert!(lines.iter().any(|line| line.contains("shard 1 replica 1 commit 7")), "{printed}");

    let rows = stdout(&inspect(&single.data(), &["--records", "-o", "jsonl"]));
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).expect("one document")).collect();
    assert_eq!(rows.len(), lines.len());
    let entry = rows.iter().find(|row| row["effects"][0]["key"] == "gamma").expect("it was set");
    assert_eq!(
        (&entry["kind"], &entry["index"], &entry["term"]),
        (&json!("entry"), &json!(7), &json!(1))
    );
    let effect = &entry["effects"][0];
    assert_eq!(
        (&effect["kind"], &effect["version"], &effect["value_bytes"]),
        (&json!("key_set"), &json!(6), &json!(1))
    );
}

#[test]
fn whose_directory_it_is_comes_first() {
    let mut single = Single::create();
    single.cli().told(&["set", "a", "1"]);
    let running = format!("a node runs on {}; stop it first, then try again", single.data().display());
    for flags in [&[][..], &["--verify"], &["--records"]] {
        let refused = inspect(&single.data(), flags);
        assert_failed(&refused, 1, &running);
        assert!(refused.stdout.is_empty());
    }
    single.process.stop();
    assert_failed(
        &inspect(&single.data(), &["--core", "1"]),
        2,
        "node 1 has 1 cores, numbered from 0, and no core 1",
    );
    assert_eq!(document(&single.data(), &["--core", "0"], 0)["cores"][0]["core"], 0);
    let above = single.scratch.path();
    let message = format!("{} holds no IDENTITY; name a node's data directory", above.display());
    assert_failed(&inspect(above, &[]), 1, &message);
    assert_failed(&inspect(&above.join("nowhere"), &[]), 2, "does not exist");
    assert_failed(&inspect(&single.data(), &["--verify", "--records"]), 2, "cannot be used with");
    assert_eq!(fs::read_dir(above).expect("a folder").count(), 1, "something was made");
    // A copy has no lock to hold, and needs none.
    fs::remove_file(single.data().join("LOCK")).expect("nobody holds it");
    assert_sound(&single.data());
    assert!(!single.data().join("LOCK").exists());
}

#[test]
fn acknowledged_bytes_that_are_lost_are_found_with_whom_they_hurt() {
    let single = stopped();
    let data = single.data();
    let lost = record(&data, sets("beta"));
    let at = number(&lost["effects"][0]["offset"]) + 50;
    with_bytes(&segment(&single), at, b"\xee", || {
        assert_found(&data, "hurt and to be replaced: shard 1 replica 1 (entries ");
        let summary = document(&data, &[], 7);
        let core = &summary["cores"][0];
        let damage = &core["damage"][0];
        assert_eq!((&damage["batches"], &damage["all_replicas"]), (&json!(1), &json!(false)));
        assert_eq!(
            (&damage["replicas"][0]["shard"], damage["replicas"][1].is_null()),
            (&json!(1), true)
        );
        let hurt: Vec<&Value> = core["replicas"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|replica| &replica["hurt"])
            .collect();
        assert_eq!(hurt, [true, false]);
        let printed = stdout(&inspect(&data, &["--records"]));
        assert!(
            printed.contains(" damage: acknowledged bytes are lost: 1 batch between segment 1 offset "),
            "{printed}"
        );
        assert!(!printed.contains("key_set beta"), "{printed}");
    });
    with_bytes(&segment(&single), 100, b"\xee", || {
        assert_found(&data, "the header of log segment 1 is lost; no replica is hurt");
    });
    assert_sound(&data);
}

#[test]
fn a_torn_tail_is_shown_and_is_no_damage() {
    let single = stopped();
    let data = single.data();
    let used = number(&document(&data, &[], 0)["cores"][0]["segments"][0]["used"]);
    with_bytes(&segment(&single), BLOCK_BYTES + used, b"MgtB, and then the power went", || {
        let torn = &document(&data, &["--summary"], 0)["cores"][0]["torn"];
        assert_eq!(
            (number(&torn["torn_offset"]), number(&torn["bytes"])),
            (BLOCK_BYTES + used, BLOCK_BYTES)
        );
        assert!(stdout(&inspect(&data, &[])).contains("torn tail: 4096 bytes from segment 1 offset "));
        assert_sound(&data);
    });
}

/// A stopped node whose index has a row for its keys, and the places of a row's bytes in the index's file.
fn indexed() -> (Single, impl Fn(&Single, &Value) -> Vec<u64>) {
    let mut single = stopped();
    // A start replays what the index lacks and commits it soon after; `status` tells when.
    single.start_again();
    support::eventually("the index holds the keys", support::READY, || {
        let status = single.cli().status()?;
        (status["cores"][0]["overlay_rows"] == 0).then_some(())
    });
    single.process.stop();
    let places = |single: &Single, effect: &Value| {
        let mut row = number(&effect["version"]).to_le_bytes().to_vec();
        for field in ["segment", "offset"] {
            let number = u32::try_from(number(&effect[field])).expect("a place in a segment");
            row.extend(number.to_le_bytes());
        }
        let bytes = fs::read(index(single)).expect("readable");
        let found = bytes.windows(row.len()).zip(0..).filter(|(window, _)| *window == row);
        found.map(|(_, at)| at).collect()
    };
    (single, places)
}

#[test]
fn rows_that_lead_nowhere_and_keys_that_are_missing_are_found() {
    let (single, places) = indexed();
    let data = single.data();
    assert_sound(&data);
    assert_eq!(document(&data, &["--verify"], 0)["cores"][0]["rows"], 4);
    let gamma = record(&data, sets("gamma"))["effects"][0].clone();
    let places = places(&single, &gamma);
    assert!(!places.is_empty(), "the row of gamma is in the index");
    // Pages that are no longer in use may hold it too; all are changed, then all put back.
    let change = |from: i64, bytes: &[u8], look: &dyn Fn()| {
        let before = fs::read(index(&single)).expect("readable");
        let file = File::options().write(true).open(index(&single)).expect("a file");
        for place in &places {
            file.write_all_at(bytes, place.checked_add_signed(from).expect("inside"))
                .expect("written");
        }
        look();
        file.write_all_at(&before, 0).expect("written");
    };
    change(12, &u32::MAX.to_le_bytes(), &|| {
        assert_found(&data, "row \"gamma\" in space 1: it points to segment 1 offset 4294967295, beyond")
    });
    change(12, &8_192_u32.to_le_bytes(), &|| {
        assert_found(&data, "row \"gamma\" in space 1: it points to segment 1 offset 8192: ")
    });
    change(0, &99_u64.to_le_bytes(), &|| {
        assert_found(
            &data,
            "row \"gamma\" in space 1: version 99 is above the highest its shard has applied, 6",
        )
    });
    change(32, &[0xee], &|| assert_found(&data, "whose value has another size or hash"));
    change(24, &[0xee], &|| {
        assert_found(&data, "row \"gamma\" in space 1: its bytes are none: unknown flags")
    });
    // The key stands right before its row: another one is in its place, and it is not there itself.
    change(-1, b"o", &|| {
        assert_found(
            &data,
            "key \"gamma\" has version 6 by entry 7, which the index claims to hold, and its row is missing or older",
        );
        assert_found(&data, "row \"gammo\" in space 1: ");
    });
    assert_sound(&data);
}

#[test]
fn an_index_ahead_of_its_log_is_found() {
    let (mut single, _) = indexed();
    let data = single.data();
    let log = data.join("core-0/log");
    let old = single.scratch.path().join("old");
    fs::create_dir(&old).expect("made");
    let segments = || {
        fs::read_dir(&log)
            .expect("a folder")
            .map(|file| file.expect("readable").file_name())
    };
    segments().for_each(|name| assert!(fs::copy(log.join(&name), old.join(&name)).expect("copied") > 0));
    single.start_again();
    single.cli().told(&["set", "later", "x"]);
    support::eventually("the index holds the key", support::READY, || {
        (single.cli().status()?["cores"][0]["overlay_rows"] == 0).then_some(())
    });
    single.process.stop();
    assert_sound(&data);
    segments().for_each(|name| assert!(fs::copy(old.join(&name), log.join(&name)).expect("copied") > 0));
    assert_found(&data, "shard 1 replica 1: the index holds entries up to ");
    assert_found(&data, "row \"later\" in space 1: it points to segment 1 offset ");
    assert_found(&data, "the index says that replay begins with batch ");
}

#[test]
fn a_log_whose_oldest_segments_were_reclaimed_is_sound() {
    let mut single = Single::create();
    let (cli, data) = (single.cli(), single.data());
    cli.told(&["set", "early", "kept"]);
    let value = vec![b'v'; 1 << 20];
    // Of eight keys written over and over most of the log is dead soon.
    let mut written = 0;
    support::eventually("a segment is reclaimed", support::READY, || {
        let output = cli.run_with_input(&["set", &format!("key {}", written % 8), "--stdin"], &value);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        written += 1;
        (!segment(&single).exists()).then_some(())
    });
    assert!(written > 12, "the log was short enough with {written} MiB");
    cli.told(&["set", "late", "too"]);
    single.process.stop();
    assert_sound(&data);
    let found = document(&data, &[], 0);
    let core = &found["cores"][0];
    assert!(
        number(&core["kept_from"]) > 1 && number(&core["segments"][0]["segment"]) > 1,
        "{core:#}"
    );
    assert!(stdout(&inspect(&data, &[])).contains("what came before was reclaimed"));
    assert!(stdout(&inspect(&data, &["--verify"])).contains("of entries before it only the rows they left could be checked"));
    // What was written once lives on as a copy, which its row points to.
    let copy = record(&data, |record| record["kind"] == "relocation" && sets("early")(record));
    let effect = &copy["effects"]
        .as_array()
        .expect("effects")
        .iter()
        .find(|effect| effect["key"] == "early");
    let at = number(&effect.expect("it is there")["offset"]);
    let path = data.join(format!("core-0/log/{:08}.seg", number(&copy["segment"])));
    with_bytes(&path, at + 50, b"!", || {
        assert_found(&data, "row \"early\" in space 1: it points to segment ")
    });
    // Without an index the log is enough.
    fs::remove_dir_all(data.join("core-0/index")).expect("a folder");
    single.start_again();
    assert_eq!(single.cli().told(&["get", "early"]), "kept\n");
    assert_eq!(single.cli().told(&["get", "late"]), "too\n");
    single.process.stop();
    assert_sound(&data);
    // A segment that the checkpoints rest on.
    let core = &document(&data, &[], 0)["cores"][0];
    let (oldest, kept_from) = (number(&core["segments"][0]["segment"]), number(&core["kept_from"]));
    for gone in oldest..=kept_from {
        fs::remove_file(data.join(format!("core-0/log/{gone:08}.seg"))).expect("there");
    }
    let lost = format!("log segments {kept_from} to {kept_from} are gone, and the checkpoints rest on them");
    assert_found(&data, &lost);
}

#[test]
fn files_that_are_gone_or_cut_are_found() {
    let single = stopped();
    let (data, aside) = (single.data(), single.scratch.path().join("aside"));
    let without = |path: PathBuf, problem: &str| {
        fs::rename(&path, &aside).expect("there");
        assert_found(&data, problem);
        fs::rename(&aside, &path).expect("the place is free");
    };
    without(data.join("core-0/log"), "cannot be read: No such file or directory");
    without(segment(&single), "shard 1 replica 1 was created here and is not in the log");
    let whole = fs::read(index(&single)).expect("readable");
    fs::write(index(&single), &whole[..3 * 4_096]).expect("written");
    assert_found(&data, "it was cut short");
    fs::write(index(&single), b"not LMDB").expect("written");
    assert_found(&data, "the index failed while opening");
    fs::write(index(&single), &whole).expect("written");
    // Without an index nothing is wrong: the next start makes it from the log.
    fs::rename(index(&single), &aside).expect("there");
    assert_sound(&data);
    assert!(stdout(&inspect(&data, &["--verify"])).contains("(there is no index)"));
    fs::rename(&aside, index(&single)).expect("the place is free");
    assert_sound(&data);
}

/// No batch proves what was behind the end of the file, its header does.
#[test]
fn a_log_that_was_cut_is_damaged_and_its_replicas_are_not_started() {
    let mut single = stopped();
    let data = single.data();
    let file = File::options().write(true).open(segment(&single)).expect("there");
    file.set_len(3 * BLOCK_BYTES).expect("it is made shorter");
    assert_found(&data, "log segment 1 is shorter than it was made");
    single.process = Process::start(single.command());
    single.process.expect_talk("a log segment's file is shorter than it was made");
    let cli = single.cli().within("2s");
    let refused = eventually("it answers", SOON, || {
        Some(cli.run(&["get", "alpha"])).filter(|get| stderr(get).contains("was not started"))
    });
    assert_failed(&refused, 4, "");
    single.process.stop();
    assert_found(&data, "it is never started again");
}

/// What three panics of raft over shard 1 leave behind; over shard 2 there was one.
#[test]
fn a_suspect_replica_is_left_out_until_its_mark_is_deleted() {
    let mut single = stopped();
    let (data, mark) = (single.data(), single.data().join("core-0/SUSPECT"));
    let of_one = "1 1 to_commit 9 is out of range\n".repeat(3);
    fs::write(&mark, format!("{of_one}2 1 once\n")).expect("written");
    single.process = Process::start(single.command());
    single.process.expect_talk("it is suspect and not started");
    let cli = single.cli().within("2s");
    eventually("the other shard is served", SOON, || {
        cli.run(&["get", "0xff"]).status.success().then_some(())
    });
    let status = cli.status().expect("it answers");
    let roles = status["shards"].as_array().expect("a list").iter();
    let roles: Vec<&Value> = roles.map(|shard| &shard["replicas"][0]["role"]).collect();
    assert_eq!(roles, ["damaged", "leader"], "{status:#}");
    let refused = cli.run(&["get", "alpha"]);
    assert!(stderr(&refused).contains("was not started"), "{}", stderr(&refused));
    single.process.stop();
    assert_eq!(fs::read_to_string(&mark).expect("it is still there"), of_one);
    assert_found(&data, "shard 1 replica 1 is suspect and not started, for raft panicked over it");
    fs::remove_file(&mark).expect("there");
    assert_sound(&data);
    single.start_again();
    assert_eq!(single.cli().told(&["get", "alpha"]), "three\n");
    single.process.stop();
    assert!(!mark.exists());
}

#[test]
fn whatever_is_in_a_log_it_is_shown_or_named() {
    let single = stopped();
    let used = number(&document(&single.data(), &[], 0)["cores"][0]["segments"][0]["used"]);
    let config = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let changes = proptest::collection::vec((0..BLOCK_BYTES + used, any::<u8>()), 1..4);
    proptest!(config, |(changes in changes, what in prop::sample::select(vec!["--records", "--verify", "--summary"]))| {
        let path = segment(&single);
        let before = fs::read(&path).expect("readable");
        let file = File::options().write(true).open(&path).expect("a file");
        for (at, byte) in &changes {
            file.write_all_at(&[*byte], *at).expect("written");
        }
        let output = inspect(&single.data(), &[what]);
        file.write_all_at(&before, 0).expect("written");
        prop_assert!(matches!(output.status.code(), Some(0 | 7)), "{changes:?}: {}: {}", output.status, stderr(&output));
    });
    assert_sound(&single.data());
}
