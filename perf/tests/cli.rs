//! The binary from outside: exit codes, and which words go where.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;

fn run(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_margate-perf"));
    command.args(line.split_whitespace()).env_remove("MARGATE_ENDPOINTS");
    command.output().expect("the binary was built for this test")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An address where nobody listens.
fn nobody() -> String {
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    held.local_addr().expect("it is bound").to_string()
}

#[test]
fn a_deployment_that_is_not_there_ends_with_4_and_nothing_on_stdout() {
    // Both at once: each tries for as long as an operation may take.
    let flags = thread::spawn(|| run(&format!("flags --endpoints {}", nobody())));
    let load = run(&format!("load --json --endpoints {}", nobody()));
    for output in [load, flags.join().expect("it only runs the binary")] {
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert!(stderr(&output).starts_with("error: cannot reach margate"), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn flags_that_make_no_sense_end_with_2() {
    for line in [
        "",
        "load --bench fast",
        "load --secs never",
        "load --rate fast",
        "load --read-share 2",
        "load --keys-drawn by-lot",
        "ycsb",
        "ycsb g",
        "compare",
        "kill --leader many",
        "history",
        "check",
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
    }
}

#[test]
fn a_margate_that_does_not_start_ends_the_kill_test_and_its_output_is_kept() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for tests");
    let output = run(&format!("kill --margate /bin/false --data-root {}", root.path().display()));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("ended too early"), "{}", stderr(&output));
    assert!(stderr(&output).contains("kept "), "{}", stderr(&output));
    let kept = std::fs::read_dir(root.path()).expect("the folder is there").count();
    assert_eq!(kept, 1);
}

#[cfg(not(feature = "peers"))]
#[test]
fn a_build_without_peers_says_how_to_get_them() {
    let output = run("compare --peer etcd");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--features peers"), "{}", stderr(&output));
}

#[cfg(feature = "peers")]
#[test]
fn a_bench_that_the_peer_cannot_do_ends_with_2_before_anything_starts() {
    let output = run("compare --peer redis --bench put,ycsb-e --margate /bin/false");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("ycsb-e scans"), "{}", stderr(&output));
}

#[test]
fn a_histogram_log_that_cannot_be_written_ends_with_1_before_anything_is_asked() {
    let output = run(&format!("ycsb a --hdr /no/such/folder/log --endpoints {}", nobody()));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("/no/such/folder/log"), "{}", stderr(&output));
}

/// A history of one key: a set of value 1 at version 1, then a read.
fn history(folder: &std::path::Path, name: &str, read: &str) -> String {
    let path = folder.join(name);
    let text = format!(
        "{{\"margate_history\":1,\"seed\":1,\"processes\":1,\"keys\":1,\"version\":\"0\"}}\n\
         {{\"process\":1,\"key\":0,\"op\":\"set\",\"value\":1,\"call\":1,\"return\":2,\"outcome\":\"ok\",\"version\":1}}\n\
         {{\"process\":1,\"key\":0,\"op\":\"get\",\"call\":3,\"return\":4,{read}}}\n{{\"end\":2}}\n"
    );
    std::fs::write(&path, text).expect("the folder is writable");
    path.display().to_string()
}

#[test]
fn a_right_history_ends_with_0_a_wrong_one_with_7_and_a_torn_one_with_1() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for tests");
    let right = history(folder.path(), "right", "\"outcome\":\"found\",\"value\":1,\"version\":1");
    let wrong = history(folder.path(), "wrong", "\"outcome\":\"missing\"");
    let output = run(&format!("check {right}"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains(": linearizable  operations 2"));

    let output = run(&format!("check --json --allow-undecided {right} {wrong}"));
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("key 0 is not linearizable"), "{}", stderr(&output));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let violations: Vec<bool> = stdout.lines().map(|line| line.contains("\"violations\":1")).collect();
    assert_eq!(violations, [false, true], "{stdout}");

    let text = std::fs::read_to_string(&right).expect("it was written");
    std::fs::write(&right, text.replace("{\"end\":2}\n", "")).expect("it can be written again");
    for torn in [right, folder.path().join("none").display().to_string()] {
        let output = run(&format!("check {torn}"));
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    }
}
