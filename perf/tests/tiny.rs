//! Every command that starts nodes or logs to measure them, run tiny on the real binary: it begins, ends and prints what it promises.
//!
//! Not here, on purpose: the numbers. Nothing fails because a machine is slow.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Deployments start one after the other: several at once would wait for each other's disks.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The `margate` of this build: the tests of the whole workspace have built it, those of this crate alone have not.
fn margate() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_margate-perf")).with_file_name("margate");
    if !beside.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        let built = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .parent()
            .expect("it is a folder in the target's");
        cargo
            .args(["build", "--quiet", "--package", "margate-tools", "--target-dir"])
            .arg(built);
        assert!(cargo.status().expect("cargo runs this test").success(), "margate does not build");
    }
    beside
}

fn run(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_margate-perf"));
    command
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .env_remove("MARGATE_ENDPOINTS");
    command.output().expect("the binary was built for this test")
}

/// Runs a command in a folder of its own, and what it printed on stdout, line by line, as JSON.
fn json_of(line: &str, codes: &[i32]) -> Vec<serde_json::Value> {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for tests");
    let output = run(&format!("{line} --json --data-root {}", root.path().display()));
    let (said, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let code = output.status.code().unwrap_or(-1);
    assert!(codes.contains(&code), "{line} ended with {code}: {printed}{said}");
    let left = std::fs::read_dir(root.path()).expect("the folder is there").count();
    assert_eq!(
        left == 0,
        code == 0,
        "what went well leaves nothing behind, the rest its data: {said}"
    );
    printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

fn nodes_of(line: &str, codes: &[i32]) -> Vec<serde_json::Value> {
    let _alone = alone();
    json_of(&format!("{line} --margate {}", margate().display()), codes)
}

fn number(line: &serde_json::Value, name: &str) -> f64 {
    let number = line.get(name).and_then(serde_json::Value::as_f64);
    number.unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn has_fio() -> bool {
    let asked = Command::new("fio")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

#[test]
fn a_log_is_measured_beside_fio_if_that_is_there() {
    let line = "log --batch 64KiB --rounds 1 --secs 0.2 --warmup 0 --file-mib 4";
    if !has_fio() {
        let output = run(line);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("install it"));
        return;
    }
    let lines = json_of(line, &[0]);
    let [ours, fio, ratio] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert!(number(ours, "bytes") >= 65_536.0 && number(fio, "block_bytes") >= 65_536.0);
    assert_eq!(ratio["peer"], "fio");
}

#[cfg(feature = "peers")]
#[test]
fn a_log_is_measured_beside_raft_engine() {
    let lines = json_of("log --writers 1,4 --rounds 1 --secs 0.2 --warmup 0 --file-mib 4", &[0]);
    let systems: Vec<_> = lines.iter().filter_map(|line| line["system"].as_str()).collect();
    assert_eq!(systems, ["margate", "raft-engine", "margate", "raft-engine"]);
    assert_eq!(lines.iter().filter(|line| line["peer"] == "raft-engine").count(), 2);
}

#[cfg(feature = "peers")]
#[test]
fn a_sweep_goes_on_behind_what_is_finished_and_writes_a_page() {
    let _alone = alone();
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for tests");
    let out = root.path().join("report");
    let sweep = |words: &str| {
        let (root, margate) = (root.path().display(), margate());
        run(&format!(
            "sweep {words} --only limits --out {} --data-root {root} --margate {}",
            out.display(),
            margate.display()
        ))
    };
    let (first, again) = (sweep("--quick"), sweep("--quick"));
    let page = std::fs::read_to_string(out.join("report.html")).expect("the page is there");
    assert!(page.contains("margate-perf limits") && page.ends_with("</html>\n"));
    let repeated = !String::from_utf8_lossy(&again.stderr).contains("limits: finished before");
    let code = i32::from(!has_fio());
    assert_eq!(
        (first.status.code(), again.status.code(), repeated),
        (Some(code), Some(code), !has_fio())
    );
    let other = sweep("");
    assert_eq!(other.status.code(), Some(2), "{}", String::from_utf8_lossy(&other.stderr));
    assert!(String::from_utf8_lossy(&other.stderr).contains("state.json"));
}

#[cfg(not(feature = "peers"))]
#[test]
fn a_build_without_peers_says_how_to_get_the_other_log() {
    let output = run("log --writers 1");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--features peers"));
}

#[test]
fn parts_are_measured_without_nodes() {
    let lines = json_of("parts frame,index-commit --secs 0.01", &[0]);
    let [frame, commit] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(
        (frame["part"].as_str(), commit["part"].as_str()),
        (Some("frame"), Some("index-commit"))
    );
    for part in [frame, commit] {
        assert!(
            number(part, "runs") >= 1.0 && number(part, "median_ns") >= number(part, "least_ns"),
            "{part}"
        );
    }
}

#[test]
fn what_is_counted_under_valgrind_runs_without_it_too() {
    assert_eq!(json_of("parts raft --counted", &[0]), Vec::<serde_json::Value>::new());
}

#[test]
fn bytes_on_disk_are_counted_for_the_fill_and_for_overwrites() {
    // A node that a busy machine lets stand still for 0.4 s leads no more: of writes under way there it is unknown whether they happened.
    // Nothing else may become of a write.
    let line = "amplification --value-bytes 60000 --keys 100 --in-flight 16 --segment-mib 4 --allow-unknown";
    let lines = nodes_of(line, &[0]);
    let [fill, steady] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((number(fill, "puts"), fill["phase"].as_str()), (100.0, Some("fill")));
    assert!(number(steady, "puts") >= 100.0 && steady["phase"] == "steady");
    // A value is written once at least, on each replica, whoever counts.
    for phase in [fill, steady] {
        assert!(
            number(phase, "disk_per_byte") >= 1.0 && number(phase, "nodes_per_byte") >= 1.0,
            "{phase}"
        );
    }
}

#[test]
fn puts_are_measured_over_keys_and_orders() {
    // See above.
    let line = "scale --keys 100,200 --order uniform,sequential --secs 0.2 --commits 0 --in-flight 8 --shards 2 --allow-unknown";
    let lines = nodes_of(line, &[0]);
    let keys: Vec<f64> = lines.iter().map(|line| number(line, "keys")).collect();
    assert_eq!(keys, [100.0, 200.0, 100.0, 100.0, 200.0, 100.0]);
    for line in &lines {
        assert_eq!(
            (number(line, "value_bytes"), number(line, "in_flight"), number(line, "shards")),
            (256.0, 8.0, 2.0)
        );
        assert_eq!(number(line, "failed"), number(line, "unknown"), "{line}");
    }
    assert!(lines.iter().any(|line| number(line, "ops_per_s") > 0.0), "{lines:?}");
}

#[test]
fn scale_refuses_to_begin_what_the_disk_does_not_hold_and_says_what_it_takes() {
    let output = run("scale --keys 1000000000 --value-bytes 1048576 --data-root .");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1000000000 keys need") && said.contains("GiB"), "{said}");
}

#[test]
fn an_overload_passes_and_all_of_it_is_reported() {
    let line = "overload --peak-in-flight 8 --times 4 --connections 4 --secs 0.5 --ordinary 0.5 --step 0.2 --keys 100 --shards 2";
    // Whether it was steady is a matter of the machine.
    let lines = nodes_of(line, &[0, 1]);
    let [report] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((number(report, "in_flight"), number(report, "impatient")), (32.0, 2.0));
    assert!(report["held_max"]["anonymous_kib"].as_u64() > Some(0), "{report}");
}

#[test]
fn a_node_is_restarted_in_both_ways_and_serves_again() {
    let lines = nodes_of("restart --log-mib 4 --rounds 1 --secs-before 0.2 --in-flight 8 --shards 2", &[0]);
    let ends: Vec<_> = lines.iter().filter_map(|line| line["end"].as_str()).collect();
    assert_eq!(ends, ["graceful", "killed"]);
    assert!(
        lines
            .iter()
            .all(|line| number(line, "serves_p50_ms") >= number(line, "answers_p50_ms")),
        "{lines:?}"
    );
}

#[test]
fn gets_are_measured_beside_fio_if_that_is_there() {
    let line = "cold-get --keys 100 --in-flight 4 --rounds 1 --secs 0.2 --warmup 0 --shards 2";
    let lines = nodes_of(line, if has_fio() { &[0] } else { &[1] });
    let systems: Vec<_> = lines.iter().filter_map(|line| line["system"].as_str()).collect();
    assert_eq!(systems, if has_fio() { &["margate", "fio"][..] } else { &["margate"] });
}
