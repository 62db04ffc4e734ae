//! Over which replicas raft panicked; one line for each time in `core-N/SUSPECT`.
//!
//! A panic ends the process, and the start after it reads the same log. So whoever is named [`PANICS_MAX`] times is suspect: it is not
//! started, that the core's others may be. Once it has run for a minute, or to a graceful stop, its lines are dropped: what passed was
//! no property of its log.
//!
//! The file is replaced whole, so that it is never half a line; whatever in it is no line is passed over. Only the core's thread and the
//! one that drops lines write it. Should both do so at the same moment, one panic may go uncounted, which costs one more start.
//!
//! Not here, on purpose: hearing of a panic (`panics`), what a core does without the replica (`core`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use margate_net::ids::{ReplicaId, ShardId};

use super::directory::{remove_if_there, sync_folder};
use super::probation::{OnTrial, Probation};
use crate::types::ReplicaName;

/// Panics after which a replica is not started.
pub const PANICS_MAX: usize = 3;
/// Lines kept, the newest: of more than three hundred replicas.
const LINES_MAX: usize = 1_000;
/// Bytes of a panic's message that are kept.
const MESSAGE_BYTES_MAX: usize = 400;
/// Far more than the lines above take.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    /// Oldest first.
    lines: Vec<(ReplicaName, String)>,
}

impl Suspects {
    /// Reads the file; without one nobody is suspect.
    ///
    /// # Errors
    /// What the system says.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Self::parse(&bytes))
    }

    /// The replicas that are not to be started, each with the message of its last panic.
    #[must_use]
    pub fn condemned(&self) -> BTreeMap<ReplicaName, &str> {
        let last = self.lines.iter().map(|(name, message)| (*name, message.as_str()));
        let mut condemned: BTreeMap<_, _> = last.collect();
        condemned.retain(|name, _| self.count(*name) >= PANICS_MAX);
        condemned
    }

    fn count(&self, of: ReplicaName) -> usize {
        self.lines.iter().filter(|(name, _)| *name == of).count()
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let line = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (shard, replica) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let name = ReplicaName {
                shard: ShardId(shard),
                replica: ReplicaId(replica),
            };
            Some((name, words.next()?.to_owned()))
        };
        Self {
            lines: text.split('\n').filter_map(line).take(LINES_MAX).collect(),
        }
    }

    fn encode(&self) -> String {
        let line = |(name, message): &(ReplicaName, String)| format!("{} {} {message}\n", name.shard.0, name.replica.0);
        self.lines.iter().map(line).collect()
    }

    fn add(&mut self, name: ReplicaName, message: &str) {
        let mut message = message.replace(char::is_control, " ");
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        self.lines.push((name, message));
        let (count, lines) = (self.count(name), self.lines.len());
        // More of one replica say nothing more, and would push out others.
        let surplus = self.lines.iter().position(|(of, _)| *of == name).filter(|_| count > PANICS_MAX);
        if let Some(surplus) = surplus.or((lines > LINES_MAX).then_some(0)) {
            self.lines.remove(surplus);
        }
    }

    fn store(&self, path: &Path) -> io::Result<()> {
        if self.lines.is_empty() {
            remove_if_there(path)?;
        } else {
            let fresh = path.with_extension("new");
            let mut file = File::create(&fresh)?;
            file.write_all(self.encode().as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
        }
        path.parent().map_or(Ok(()), sync_folder)
    }
}

/// Raft panicked over a replica: its line is durable when this returns.
///
/// # Errors
/// What the system says.
pub(super) fn note(path: &Path, name: ReplicaName, message: &str) -> io::Result<()> {
    let mut suspects = Suspects::load(path)?;
    suspects.add(name, message);
    suspects.store(path)
}

/// All that the file names and the core has not left out: they run, or are history.
#[derive(Clone, Debug)]
pub(super) struct SuspectTrial {
    path: PathBuf,
    /// Those left out.
    kept: BTreeSet<ReplicaName>,
}

impl SuspectTrial {
    pub(super) fn new(path: PathBuf, kept: BTreeSet<ReplicaName>) -> Self {
        Self { path, kept }
    }

    /// The core serves: begins to wait, on a thread with a name of at most 15 bytes, if anybody is on trial.
    ///
    /// # Errors
    /// When the file cannot be read, or the system has no thread left.
    pub(super) fn begin(&self, thread: &str) -> io::Result<Option<Probation<Self>>> {
        let named = Suspects::load(&self.path)?;
        let on_trial = named.lines.iter().any(|(name, _)| !self.kept.contains(name));
        on_trial.then(|| Probation::begin(self, thread)).transpose()
    }
}

impl OnTrial for SuspectTrial {
    const ACQUITTED_AFTER: Duration = Duration::from_secs(60);

    fn acquit(&mut self) -> io::Result<()> {
        let mut suspects = Suspects::load(&self.path)?;
        suspects.lines.retain(|(name, _)| self.kept.contains(name));
        suspects.store(&self.path)
    }
}

#[cfg(test)]
#[path = "suspects_tests.rs"]
mod tests;
