//! Rules of code: what may stand in which folder, how long things may be, what may stand nowhere.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::source::{code_only, functions, has_word};
use crate::tree::{TrackedFile, Tree};

/// Crates whose core is pure: events in, effects out.
const PURE: [&str; 4] = ["client/src/", "directory/src/", "engine/src/", "net/src/"];
/// What reads clocks, throws dice, waits or touches the world; only folders called `runtime` may.
const WORLD: [&str; 14] = [
    ".await",
    "io_uring::",
    "runtime::executor",
    "std::fs",
    "std::os",
    "std::process",
    "std::thread",
    "tokio::",
    "unsafe",
    "Instant::now",
    "SystemTime::now",
    "TcpListener",
    "TcpStream",
    "rand::rng",
];
/// Programs around a pure core: they parse flags, count time and start threads, but decide nothing.
const PROGRAMS: [&str; 1] = ["engine/src/bin/"];

/// Lines of a file, at most; about 300 is the aim.
const FILE_LINES_MAX: usize = 800;
/// Lines of a function, at most; about 10 is the aim, 30 the rule.
const FUNCTION_LINES_MAX: usize = 70;
/// Longer functions that stand for now, as `path name`. Nothing is added here.
const LONG_FUNCTIONS: [&str; 1] = ["client/tests/client/fake/store.rs execute"];
/// Bytes of a tracked file, at most.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Files of tests beside their module that do not say what they test. Nothing is added here.
const WITHOUT_DOCS: [&str; 1] = ["perf/src/kill/ledger_tests.rs"];

// Put together here, so that this file does not hold them itself.
const UNFINISHED: [&str; 5] = [
    concat!("to", "do!"),
    concat!("un", "implemented!"),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

fn is_pure(path: &str) -> bool {
    let in_runtime = path.split('/').any(|part| part == "runtime" || part == "runtime.rs");
    PURE.iter().any(|folder| path.starts_with(folder)) && !in_runtime && !PROGRAMS.iter().any(|folder| path.starts_with(folder))
}

/// Every line of a text that one of these words stands on.
fn lines_with(path: &str, text: &str, words: &[&str]) -> Vec<String> {
    let found = |line: &str| words.iter().find(|word| has_word(line, word)).copied();
    let numbered = text.lines().zip(1..);
    numbered
        .filter_map(|(line, number)| found(line).map(|word| format!("{path}:{number}: {word}")))
        .collect()
}

fn in_texts(tree: &Tree, words: &[&str]) -> Vec<String> {
    tree.files()
        .filter(|file| !file.is_generated())
        .filter_map(|file| Some(lines_with(&file.path, file.text()?, words)))
        .flatten()
        .collect()
}

/// Findings that are no known exception, and exceptions that nothing is found for.
fn beside<'a>(found: impl IntoIterator<Item = (String, String)>, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut unused: BTreeSet<_> = known.into_iter().collect();
    let known = unused.clone();
    let mut findings = Vec::new();
    for (name, text) in found {
        unused.remove(name.as_str());
        if !known.contains(name.as_str()) {
            findings.push(text);
        }
    }
    findings.extend(
        unused
            .into_iter()
            .map(|name| format!("{name}: no exception is needed any more, take it off the list")),
    );
    findings
}

#[test]
fn the_world_is_touched_only_in_rooms_called_runtime() {
    let tree = Tree::load();
    let pure: Vec<_> = tree.rust().filter(|file| is_pure(&file.path)).collect();
    assert!(pure.len() > 60, "only {} files of pure code were found", pure.len());
    let findings: Vec<_> = pure
        .iter()
        .filter_map(|file| Some(lines_with(&file.path, &code_only(file.text()?), &WORLD)))
        .flatten()
        .collect();
    assert_none(
        "clock, dice, files, sockets, threads and waiting belong into a folder called runtime/",
        &findings,
    );
}

#[test]
fn files_are_short() {
    let tree = Tree::load();
    let texts = tree.files().filter(|file| !file.is_generated());
    let long = texts.filter_map(|file| {
        let lines = file.text()?.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", file.path))
    });
    let findings: Vec<_> = long.collect();
    assert_none("files have at most 800 lines; split by duty", &findings);
}

#[test]
fn functions_are_short() {
    let tree = Tree::load();
    let mut count = 0;
    let mut long = Vec::new();
    for file in tree.rust() {
        let code = code_only(file.text().expect("Rust is UTF-8"));
        for function in functions(&code) {
            count += 1;
            if function.lines > FUNCTION_LINES_MAX {
                let (name, line, lines) = (function.name, function.line, function.lines);
                long.push((
                    format!("{} {name}", file.path),
                    format!("{}:{line}: {name} has {lines} lines", file.path),
                ));
            }
        }
    }
    assert!(count > 1_000, "only {count} functions were found");
    assert_none("functions have at most 70 lines", &beside(long, LONG_FUNCTIONS));
}

#[test]
fn nothing_is_left_unfinished() {
    assert_none(
        "finish it, or leave it out and say so in the README",
        &in_texts(&Tree::load(), &UNFINISHED),
    );
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    assert_none(
        "paths of one machine mean nothing on another",
        &in_texts(&Tree::load(), &MACHINE_PATHS),
    );
}

#[test]
fn tracked_files_are_small() {
    let tree = Tree::load();
    let large = tree.files().filter(|file| file.bytes() > FILE_BYTES_MAX);
    let findings: Vec<_> = large.map(|file| format!("{}: {} bytes", file.path, file.bytes())).collect();
    assert_none("tracked files have at most 1 MiB", &findings);
}

#[test]
fn every_module_says_what_it_is() {
    let tree = Tree::load();
    let documented = |file: &TrackedFile| file.text().is_some_and(|text| text.starts_with("//!"));
    let silent = tree.rust().filter(|file| file.path.contains("/src/") && !documented(file));
    let silent = silent.map(|file| (file.path.clone(), format!("{}: no `//!` on top", file.path)));
    assert_none(
        "a module opens with what it is and what is not there",
        &beside(silent, WITHOUT_DOCS),
    );
}

#[test]
fn what_is_pure_is_known_by_its_path() {
    for pure in [
        "engine/src/core/machine.rs",
        "client/src/retry.rs",
        "net/src/codec/mod.rs",
        "directory/src/lib.rs",
    ] {
        assert!(is_pure(pure), "{pure}");
    }
    for other in [
        "engine/src/runtime/node.rs",
        "client/src/runtime.rs",
        "engine/src/bin/sim.rs",
        "tools/src/main.rs",
        "net/tests/wire/main.rs",
    ] {
        assert!(!is_pure(other), "{other}");
    }
}

#[test]
fn exceptions_that_are_not_needed_are_found() {
    let found = [("a".to_owned(), "a: bad".to_owned()), ("b".to_owned(), "b: bad".to_owned())];
    assert_eq!(beside(found.clone(), ["a", "b"]), Vec::<String>::new());
    assert_eq!(beside(found.clone(), ["a"]), ["b: bad"]);
    assert_eq!(beside(found, ["a", "b", "c"]).len(), 1);
}
