//! The data directory of a development deployment.
//!
//! ```text
//! DIR/dev.lock    held (flock) while a dev runs there; never deleted
//! DIR/dev.toml    what the data were made with; also the mark by which the directory is recognised
//! DIR/dev.json    the processes of the running deployment
//! DIR/node-N/     node.toml and data/ of node N
//! ```
//!
//! Only what is drawn here is ever deleted, and only in a directory that has the mark.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DevError;
use super::nodes::Nodes;
use super::topology::Topology;

/// A data directory that this process alone uses.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    record: Option<Record>,
    /// The locks of all node directories there, until it is settled what becomes of them: no node can start on them meanwhile.
    held: Vec<File>,
    _lock: File,
}

/// `dev.toml`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Record {
    format: u32,
    /// Every shard has had a leader once, so no node may create the deployment again.
    bootstrapped: bool,
    topology: Topology,
}

impl Place {
    /// Whether a former dev left something there that a start would use. Nothing is made, so that a start that is refused
    /// leaves nothing behind.
    pub(crate) fn is_made(dir: &Path) -> Result<bool, DevError> {
        match fs::metadata(dir) {
            Ok(found) if !found.is_dir() => Err(DevError::NoDirectory { path: dir.to_owned() }),
            Ok(_) => {
                check_ours(dir)?;
                Ok(read_marked(dir)?.is_some())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(storage("look at", dir, source)),
        }
    }

    /// Takes the directory, which is made if it is not there. With `fresh` what was recorded there does not count.
    pub(crate) fn open(dir: &Path, fresh: bool) -> Result<Self, DevError> {
        let dir = std::path::absolute(dir).map_err(|source| storage("find", dir, source))?;
        fs::create_dir_all(&dir).map_err(|source| storage("create", &dir, source))?;
        check_ours(&dir)?;
        let lock = lock(&dir)?;
        let held = hold_nodes(&dir, DYING)?;
        let record = if fresh { None } else { read_record(&dir)? };
        Ok(Self {
            dir,
            record,
            held,
            _lock: lock,
        })
    }

    /// Makes way for the nodes: with `fresh` what a former dev left is deleted.
    pub(crate) fn make_way(&mut self, fresh: bool) -> Result<(), DevError> {
        if fresh {
            clear(&self.dir)?;
        }
        self.held.clear();
        Ok(())
    }

    /// The directory, as an absolute path.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a node's files are.
    pub(crate) fn node_dir(&self, node: u64) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }

    /// What the data there were made with, if there are any.
    pub(crate) fn recorded(&self) -> Option<&Topology> {
        self.record.as_ref().map(|record| &record.topology)
    }

    /// Whether the deployment there has been ready once.
    pub(crate) fn is_bootstrapped(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.bootstrapped)
    }

    /// Keeps the topology for later starts.
    pub(crate) fn record(&mut self, topology: &Topology) -> Result<(), DevError> {
        let record = Record {
            format: FORMAT,
            bootstrapped: self.is_bootstrapped(),
            topology: topology.clone(),
        };
        self.write_record(record)
    }

    /// Notes that the deployment has been created.
    pub(crate) fn record_bootstrapped(&mut self) -> Result<(), DevError> {
        match self.record.clone() {
            Some(record) if !record.bootstrapped => self.write_record(Record {
                bootstrapped: true,
                ..record
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes which processes serve where, and how each is started again.
    pub(crate) fn write_processes(&self, nodes: &Nodes, topology: &Topology) -> Result<(), DevError> {
        let listed: Vec<Value> = nodes
            .iter()
            .zip(topology.addresses().into_iter().zip(topology.admins()))
            .map(|(node, (addresses, admin))| {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                json!({
                    "node": node.id,
                    "pid": node.pid(),
                    "endpoint": addresses.first(),
                    "cores": addresses,
                    "admin": admin.to_string(),
                    "command": node.command_again,
                })
            })
            .collect();
        let document = json!({ "pid": std::process::id(), "nodes": listed });
        self.write(PROCESSES, format!("{document:#}\n").as_bytes())
    }

    /// The processes are gone.
    pub(crate) fn remove_processes(&self) -> Result<(), DevError> {
        remove(&self.dir.join(PROCESSES), |path| fs::remove_file(path))
    }

    fn write_record(&mut self, record: Record) -> Result<(), DevError> {
        let path = self.dir.join(RECORD);
        let body = toml::to_string(&record).map_err(|error| DevError::Record {
            path,
            problem: error.to_string(),
        })?;
        self.write(RECORD, format!("{MARK}\n{body}").as_bytes())?;
        self.record = Some(record);
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DevError> {
        write_whole(&self.dir, name, bytes).map_err(|source| storage("write", &self.dir.join(name), source))
    }
}

/// Writes a file so that readers, and a start after a crash, see all of it or what was there before.
pub(crate) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = dir.join(format!("{name}{UNFINISHED}"));
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// A directory is ours if it has the mark, or nothing but what we make before the mark.
fn check_ours(dir: &Path) -> Result<(), DevError> {
    if read_marked(dir)?.is_some() {
        return Ok(());
    }
    let before_mark = [LOCK.to_owned(), format!("{RECORD}{UNFINISHED}")];
    for entry in fs::read_dir(dir).map_err(|source| storage("read", dir, source))? {
        let name = entry.map_err(|source| storage("read", dir, source))?.file_name();
        if !before_mark.iter().any(|ours| name == ours.as_str()) {
            return Err(DevError::Foreign { dir: dir.to_owned() });
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, DevError> {
    let path = dir.join(LOCK);
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|source| storage("open", &path, source))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DevError::InUse {
            dir: dir.to_owned(),
            pid: running_pid(dir),
        }),
        Err(errno) => Err(storage("lock", &path, errno.into())),
    }
}

/// Takes the lock of every node's data directory, as a node does that runs there: one that was started by hand outlives
/// its dev. One that dies with a dev that was killed takes a moment.
fn hold_nodes(dir: &Path, patience: Duration) -> Result<Vec<File>, DevError> {
    let deadline = Instant::now() + patience;
    let hold = |node: &PathBuf| loop {
        match hold_node(node) {
            Err(DevError::NodeRuns { .. }) if Instant::now() < deadline => thread::sleep(PAUSE),
            held => return held.transpose(),
        }
    };
    node_dirs(dir)?.iter().filter_map(hold).collect()
}

fn hold_node(dir: &Path) -> Result<Option<File>, DevError> {
    let path = dir.join("data").join(NODE_LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(storage("open", &path, source)),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DevError::NodeRuns {
            node: dir.file_name().unwrap_or_default().to_string_lossy().replacen('-', " ", 1),
            lock: path,
        }),
        Err(errno) => Err(storage("lock", &path, errno.into())),
    }
}

fn running_pid(dir: &Path) -> Option<u32> {
    let text = fs::read_to_string(dir.join(PROCESSES)).ok()?;
    let document: Value = serde_json::from_str(&text).ok()?;
    u32::try_from(document.get("pid")?.as_u64()?).ok()
}

/// The record's text, if it starts with the mark.
fn read_marked(dir: &Path) -> Result<Option<String>, DevError> {
    let path = dir.join(RECORD);
    match fs::read(&path) {
        Ok(bytes) if bytes.starts_with(MARK.as_bytes()) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(storage("read", &path, source)),
    }
}

fn read_record(dir: &Path) -> Result<Option<Record>, DevError> {
    let Some(text) = read_marked(dir)? else { return Ok(None) };
    parse_record(&text).map(Some).map_err(|problem| DevError::Record {
        path: dir.join(RECORD),
        problem,
    })
}

fn parse_record(text: &str) -> Result<Record, String> {
    /// Every format has this much.
    #[derive(Deserialize)]
    struct AnyFormat {
        format: u32,
    }
    let AnyFormat { format } = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    if format != FORMAT {
        return Err(format!("it has format {format}, and this program knows {FORMAT}"));
    }
    let record: Record = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    if record.topology.is_sound() {
        Ok(record)
    } else {
        Err("its topology makes no sense".to_owned())
    }
}

/// Deletes the data first and the mark last, so that an interrupted deletion can be repeated.
fn clear(dir: &Path) -> Result<(), DevError> {
    for node in node_dirs(dir)? {
        remove(&node, |path| fs::remove_dir_all(path))?;
    }
    remove(&dir.join(PROCESSES), |path| fs::remove_file(path))?;
    remove(&dir.join(RECORD), |path| fs::remove_file(path))
}

fn node_dirs(dir: &Path) -> Result<Vec<PathBuf>, DevError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|source| storage("read", dir, source))? {
        let entry = entry.map_err(|source| storage("read", dir, source))?;
        if is_node_dir(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn is_node_dir(name: &str) -> bool {
    name.strip_prefix("node-")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn remove(path: &Path, with: impl Fn(&Path) -> io::Result<()>) -> Result<(), DevError> {
    match with(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(storage("delete", path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn storage(action: &'static str, path: &Path, source: io::Error) -> DevError {
    DevError::Storage {
        action,
        path: path.to_owned(),
        source,
    }
}

const LOCK: &str = "dev.lock";
/// In a node's data directory, held by the node.
const NODE_LOCK: &str = "LOCK";
const RECORD: &str = "dev.toml";
const PROCESSES: &str = "dev.json";
const UNFINISHED: &str = ".unfinished";
const MARK: &str = "# Made by 'margate dev', which owns this directory and may delete it.";
const FORMAT: u32 = 1;
/// Within this a process that was killed is gone.
const DYING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::DevArgs;
    use proptest::prelude::*;

    fn topology() -> Topology {
        Topology::asked_for(&DevArgs {
            nodes: Some(2),
            cores: None,
            shards: None,
            bounds: None,
            port_base: None,
            data: "data".into(),
            fresh: false,
            volatile: false,
        })
        .expect("valid")
    }

    fn open(dir: &Path, fresh: bool) -> Result<Place, DevError> {
        Place::open(dir, fresh)
    }

    #[test]
    fn a_record_survives_and_fresh_forgets_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut place = open(dir.path(), false).expect("new");
        place.record(&topology()).expect("written");
        assert!(!place.is_bootstrapped());
        place.record_bootstrapped().expect("written");
        fs::create_dir_all(place.node_dir(1).join("data")).expect("made");
        fs::write(dir.path().join("notes.txt"), "mine").expect("written");
        drop(place);
        let place = open(dir.path(), false).expect("ours");
        assert_eq!(place.recorded(), Some(&topology()));
        assert!(place.is_bootstrapped());
        drop(place);
        let mut place = open(dir.path(), true).expect("ours");
        assert_eq!(place.recorded(), None);
        assert!(place.node_dir(1).exists(), "it may yet be refused");
        place.make_way(true).expect("deleted");
        assert!(!place.node_dir(1).exists());
        assert!(dir.path().join("notes.txt").exists(), "only what dev made is deleted");
    }

    #[test]
    fn a_foreign_directory_is_left_alone() {
        for name in ["precious", "node-1", RECORD] {
            let dir = tempfile::tempdir().expect("a directory");
            fs::write(dir.path().join(name), "not ours").expect("written");
            for fresh in [false, true] {
                assert!(matches!(open(dir.path(), fresh), Err(DevError::Foreign { .. })), "{name}");
            }
            assert!(dir.path().join(name).exists());
            assert!(!dir.path().join(LOCK).exists());
        }
    }

    #[test]
    fn nothing_is_deleted_below_a_running_node() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut place = open(dir.path(), false).expect("new");
        place.record(&topology()).expect("written");
        let data = place.node_dir(2).join("data");
        fs::create_dir_all(&data).expect("made");
        let node = File::create(data.join(NODE_LOCK)).expect("made");
        flock(&node, FlockOperation::NonBlockingLockExclusive).expect("free");
        drop(place);
        for fresh in [false, true] {
            let refused = open(dir.path(), fresh).expect_err("it runs").to_string();
            assert!(refused.starts_with("node 2 still runs"), "{refused}");
        }
        assert!(data.join(NODE_LOCK).exists() && Place::is_made(dir.path()).expect("ours"));
        drop(node);
        let mut place = open(dir.path(), true).expect("nobody runs");
        let node = File::open(data.join(NODE_LOCK)).expect("there");
        assert!(
            flock(&node, FlockOperation::NonBlockingLockExclusive).is_err(),
            "none can start before it is settled"
        );
        place.make_way(false).expect("nothing to do");
        flock(&node, FlockOperation::NonBlockingLockExclusive).expect("nodes may start");
    }

    #[test]
    fn looking_makes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        assert!(!Place::is_made(&data).expect("may be made"));
        assert!(!data.exists());
        fs::write(&data, "no directory").expect("written");
        assert!(matches!(Place::is_made(&data), Err(DevError::NoDirectory { .. })));
    }

    #[test]
    fn one_dev_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = open(dir.path(), false).expect("new");
        assert!(matches!(open(dir.path(), false), Err(DevError::InUse { .. })));
        assert!(matches!(open(dir.path(), true), Err(DevError::InUse { .. })));
    }

    #[test]
    fn a_newer_or_damaged_record_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        for body in ["format = 9\nother = 1", "format = ", "", "format = 1\nbootstrapped = true"] {
            fs::write(dir.path().join(RECORD), format!("{MARK}\n{body}")).expect("written");
            assert!(matches!(open(dir.path(), false), Err(DevError::Record { .. })), "{body:?}");
        }
        assert!(open(dir.path(), true).is_ok());
    }

    proptest! {
        #[test]
        fn any_record_is_read_or_refused(body in "([\\[\\]a-z=\"{},0-9. \n]{0,80})|(.{0,80})") {
            let _ = parse_record(&body);
        }
    }
}
