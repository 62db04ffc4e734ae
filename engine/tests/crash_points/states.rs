//! What a crash may leave of an effect: nothing, all of it, and everything between that the disk's promises allow.
//!
//! An effect is cut into steps that are whole or not there: a name, a file's length, a sector. Steps stand in phases; a sync
//! stands between two phases, so that one is durable before the next begins. Inside a phase a crash keeps the
//! first or the last so many steps; of long phases a script may look at some of these numbers only.
//!
//! Not here, on purpose: what the bytes mean.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::snapshot::{Item, Snapshot};

/// The name of a segment that is being prewritten.
pub(crate) const UNFINISHED: &str = "segment.new";
/// The extension of a segment.
const SEGMENT: &str = "seg";
/// Bytes a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Bytes at the start of a segment that are written last: its header.
const SEGMENT_HEADER_BYTES: usize = 4_096;
/// Bytes at the start of LMDB's file whose writing is the commit: its two meta pages.
const META_BYTES: usize = 2 * 4_096;

/// How much of an effect is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// All of it.
    Clean,
    /// Some of it.
    Torn,
    /// Nothing.
    Lost,
}

/// A part of an effect that is there or not.
#[derive(Clone, Debug)]
struct Step {
    name: PathBuf,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// A new folder, or a file that is replaced by a rename.
    Whole,
    /// A file's length; new bytes are zero.
    Length(usize),
    Remove,
    /// The file that had this name has it no more; its bytes are what they were.
    Rename(PathBuf),
    Sector(Range<usize>),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Torn => "torn",
            Self::Lost => "lost",
        })
    }
}

/// Steps between two cuts of a phase that are looked at; the first cuts and the last one always are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stride(pub(crate) usize);

impl Stride {
    /// Every cut.
    pub(crate) const NONE: Self = Self(1);

    fn takes(self, cut: usize, steps: usize) -> bool {
        cut <= 1 || cut + 1 >= steps || cut.is_multiple_of(self.0)
    }
}

/// Everything a crash may leave of the effect that led from one snapshot to the other, each state once.
pub(crate) fn crash_states(before: &Snapshot, after: &Snapshot, stride: Stride) -> Vec<(Left, Snapshot)> {
    let mut states = vec![(Left::Lost, before.clone()), (Left::Clean, after.clone())];
    let mut known: BTreeSet<u64> = states.iter().map(|(_, state)| hash(state)).collect();
    let mut durable = before.clone();
    for phase in phases(before, after) {
        for cut in (0..=phase.len()).filter(|cut| stride.takes(*cut, phase.len())) {
            for kept in [&phase[..cut], &phase[cut..]] {
                let mut state = durable.clone();
                kept.iter().for_each(|step| step.take(&mut state, after));
                if known.insert(hash(&state)) {
                    states.push((Left::Torn, state));
                }
            }
        }
        phase.iter().for_each(|step| step.take(&mut durable, after));
    }
    assert!(durable == *after, "the steps of an effect do not make it up");
    states
}

fn hash(state: &Snapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// The steps between two snapshots. Names come one by one, for each is synced; then what is in files.
fn phases(before: &Snapshot, after: &Snapshot) -> Vec<Vec<Step>> {
    let step = |name: &Path, what| Step {
        name: name.to_owned(),
        what,
    };
    let mut phases = Vec::new();
    let mut gone: BTreeSet<&PathBuf> = before.0.keys().filter(|name| !after.0.contains_key(*name)).collect();
    for (name, item) in &after.0 {
        match (before.0.get(name), item) {
            (Some(old), new) if old == new => {}
            (_, Item::Folder) => phases.push(vec![step(name, What::Whole)]),
            (_, Item::File(_)) if is_replaced(name) => phases.push(vec![step(name, What::Whole)]),
            (None, Item::File(bytes)) if let Some(from) = former_name(&gone, before, bytes) => {
                gone.remove(from);
                phases.push(vec![step(name, What::Rename(from.clone()))]);
                phases.extend(file_phases(name, before.file(from), bytes));
            }
            (None, Item::File(bytes)) if is_segment(name) => phases.extend(new_segment_phases(name, bytes)),
            (_, Item::File(bytes)) => phases.extend(file_phases(name, before.file(name), bytes)),
        }
    }
    phases.extend(gone.into_iter().map(|name| vec![step(name, What::Remove)]));
    phases
}

/// The name a segment had that got a new life: a file that is gone and had the same bytes after its header.
fn former_name<'a>(gone: &BTreeSet<&'a PathBuf>, before: &Snapshot, after: &[u8]) -> Option<&'a PathBuf> {
    let contents = after.get(SEGMENT_HEADER_BYTES..).filter(|contents| !contents.is_empty())?;
    let mut gone = gone.iter().copied();
    gone.find(|name| {
        before
            .file(name)
            .is_some_and(|old| old.get(SEGMENT_HEADER_BYTES..) == Some(contents))
    })
}

/// The steps of a segment that is prewritten: its length under another name, its own name, then what is in it, its header last.
fn new_segment_phases(name: &Path, bytes: &[u8]) -> Vec<Vec<Step>> {
    let unfinished = name.with_file_name(UNFINISHED);
    let lengths = [0, bytes.len() / 2, bytes.len()].map(|length| {
        vec![Step {
            name: unfinished.clone(),
            what: What::Length(length),
        }]
    });
    let named = Step {
        name: name.to_owned(),
        what: What::Rename(unfinished),
    };
    let mut phases: Vec<_> = lengths.into_iter().chain([vec![named]]).collect();
    phases.extend(file_phases(name, Some(&vec![0; bytes.len()]), bytes));
    phases
}

/// The steps in one file: its length, the sectors that may come in any order, those that come after them.
fn file_phases(name: &Path, before: Option<&[u8]>, after: &[u8]) -> Vec<Vec<Step>> {
    let mut phases: Vec<Vec<Step>> = Vec::new();
    let step = |what| Step {
        name: name.to_owned(),
        what,
    };
    let length = before.map_or(0, <[u8]>::len);
    if before.is_none() {
        phases.push(vec![step(What::Length(0))]);
    }
    if length != after.len() {
        phases.push(vec![step(What::Length(after.len().midpoint(length)))]);
        phases.push(vec![step(What::Length(after.len()))]);
    }
    let old = |at: usize| before.and_then(|bytes| bytes.get(at)).copied().unwrap_or(0);
    let starts = (0..after.len()).step_by(SECTOR_BYTES);
    let sectors = starts.map(|start| start..after.len().min(start + SECTOR_BYTES));
    let changed = sectors.filter(|sector| sector.clone().any(|at| old(at) != after[at]));
    let (last, first): (Vec<_>, Vec<_>) = changed.partition(|sector| sector.start < written_last(name));
    for sectors in [first, last].into_iter().filter(|sectors| !sectors.is_empty()) {
        phases.push(sectors.into_iter().map(|sector| step(What::Sector(sector))).collect());
    }
    phases
}

/// Bytes at the start of a file that are written once the rest is synced.
fn written_last(name: &Path) -> usize {
    match name.extension().and_then(|extension| extension.to_str()) {
        Some(SEGMENT) => SEGMENT_HEADER_BYTES,
        Some("mdb") => META_BYTES,
        _ => 0,
    }
}

fn is_segment(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == SEGMENT)
}

/// Whether a file is written elsewhere and renamed.
fn is_replaced(name: &Path) -> bool {
    name.ends_with("IDENTITY")
}

impl Step {
    fn take(&self, state: &mut Snapshot, after: &Snapshot) {
        let new = after.0.get(&self.name);
        match &self.what {
            What::Whole => {
                state.0.insert(self.name.clone(), new.expect("it is there after").clone());
            }
            What::Remove => {
                state.0.remove(&self.name);
            }
            What::Rename(from) => {
                let file = state.0.remove(from).expect("it had that name before");
                state.0.insert(self.name.clone(), file);
            }
            What::Length(length) => self.file(state).resize(*length, 0),
            What::Sector(sector) => {
                let bytes = after.file(&self.name).expect("it is a file after");
                self.file(state)[sector.clone()].copy_from_slice(&bytes[sector.clone()]);
            }
        }
    }

    fn file<'a>(&self, state: &'a mut Snapshot) -> &'a mut Vec<u8> {
        match state.0.entry(self.name.clone()).or_insert(Item::File(Vec::new())) {
            Item::File(bytes) => bytes,
            Item::Folder => panic!("{} is a folder", self.name.display()),
        }
    }
}
