//! What is finished of a sweep, in a file, so that the rest can be done later.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lines::Lines;
use super::machine::Fact;
use crate::error::PerfError;

/// The file in the sweep's folder.
const FILE: &str = "state.json";

/// What must be the same for numbers to stand on one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// Whether it is a short one.
    pub(crate) quick: bool,
    /// Tells builds of both programs apart.
    pub(crate) build: String,
}

/// See the module's text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// What it is about.
    pub(crate) key: Key,
    /// Where.
    pub(crate) machine: Vec<Fact>,
    /// Parts, in the order they were finished.
    pub(crate) finished: Vec<Finished>,
}

/// One part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Its name.
    pub(crate) name: String,
    /// Seconds it took.
    pub(crate) secs: f64,
    /// Share of all CPUs' time meanwhile that other guests of the host took.
    pub(crate) steal: f64,
    /// What it ran.
    pub(crate) runs: Vec<Run>,
}

/// One command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Its words after the program's name.
    pub(crate) command: String,
    /// Its exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) lines: Vec<Value>,
    /// The file of its histograms, in the sweep's folder.
    pub(crate) histograms: Option<String>,
}

impl Finished {
    /// Whether every command ended well.
    pub(crate) fn is_good(&self) -> bool {
        self.runs.iter().all(|run| run.code == Some(0))
    }
}

impl State {
    /// What that folder holds, if it holds anything.
    ///
    /// # Errors
    /// It cannot be read, or was begun with another key.
    pub(crate) fn read(folder: &Path, key: &Key) -> Result<Option<Self>, PerfError> {
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PerfError::file(path)(error)),
        };
        let state: Self = match serde_json::from_slice(&text) {
            Ok(state) => state,
            Err(source) => return Err(PerfError::SweepState { path, source }),
        };
        let what = match (state.key.quick == key.quick, state.key.build == key.build) {
            (true, true) => return Ok(Some(state)),
            (false, true | false) => "size (--quick)",
            (true, false) => "build",
        };
        Err(PerfError::OtherSweep { path, what })
    }

    /// Writes it, wholly or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), PerfError> {
        let text = serde_json::to_vec_pretty(self).expect("plain data with text for keys");
        replace(&folder.join(FILE), &text)
    }

    /// A part that is finished.
    pub(crate) fn part(&self, name: &str) -> Option<&Finished> {
        self.finished.iter().find(|part| part.name == name)
    }

    /// Puts a part in, in the place of an earlier run of it.
    pub(crate) fn finish(&mut self, part: Finished) {
        self.finished.retain(|earlier| earlier.name != part.name);
        self.finished.push(part);
    }

    /// All lines of a part.
    pub(crate) fn lines(&self, name: &str) -> Lines<'_> {
        Lines::new(self.part(name).into_iter().flat_map(|part| &part.runs).flat_map(|run| &run.lines))
    }
}

/// Writes a file so that there is never half of it.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), PerfError> {
    let mut new = PathBuf::from(path).into_os_string();
    new.push(".new");
    fs::write(&new, bytes).map_err(PerfError::file(&new))?;
    fs::rename(&new, path).map_err(PerfError::file(path))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A sweep with these parts, each of one command with these lines.
    pub(crate) fn state(parts: &[(&str, Vec<Value>)]) -> State {
        let finished = |(name, lines): &(&str, Vec<Value>)| Finished {
            name: (*name).to_owned(),
            secs: 1.0,
            steal: 0.01,
            runs: vec![Run {
                command: format!("{name} --rounds 1"),
                code: Some(0),
                lines: lines.clone(),
                histograms: None,
            }],
        };
        State {
            key: key(true, "a"),
            machine: Vec::new(),
            finished: parts.iter().map(finished).collect(),
        }
    }

    fn key(quick: bool, build: &str) -> Key {
        Key {
            quick,
            build: build.to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_read_again_with_the_same_key_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let read = |key| State::read(folder.path(), &key);
        assert!(read(key(true, "a")).expect("nothing is there").is_none());
        let mut before = state(&[("limits", vec![json!({"ops": 1})])]);
        before.finish(state(&[("limits", vec![json!({"ops": 2})])]).finished.remove(0));
        before.write(folder.path()).expect("the folder is writable");
        let after = read(key(true, "a")).expect("it is whole").expect("it is there");
        assert_eq!(after.lines("limits").all("ops"), [2.0], "the later run counts");
        for other in [key(false, "a"), key(true, "b"), key(false, "b")] {
            assert!(matches!(read(other), Err(PerfError::OtherSweep { .. })));
        }
        fs::write(folder.path().join(FILE), "{").expect("the folder is writable");
        assert!(matches!(read(key(true, "a")), Err(PerfError::SweepState { .. })));
    }

    #[test]
    fn a_part_is_good_if_all_its_commands_were() {
        let mut part = state(&[("log", Vec::new())]).finished.remove(0);
        assert!(part.is_good());
        part.runs[0].code = None;
        assert!(!part.is_good());
    }
}
