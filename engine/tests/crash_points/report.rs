//! What was enumerated and judged, by kind of effect, and what was found.

use std::collections::BTreeMap;
use std::fmt;

use margate_engine::log::record::RecordBody;
use margate_engine::log::scan::scan;
use margate_engine::runtime::segments::SegmentFiles;
use margate_engine::types::Position;

use super::files::node::{Deed, Node};
use super::place::Places;
use super::states::{Left, Stride};

/// Everything that was judged.
pub(crate) struct Enumerator {
    kinds: BTreeMap<&'static str, Count>,
    violations: Vec<String>,
    /// Which cuts are looked at.
    pub(crate) stride: Stride,
    /// Where states are judged.
    pub(crate) places: Places,
}

/// Effects, and the states they may leave.
#[derive(Clone, Copy, Default)]
struct Count {
    points: u64,
    clean: u64,
    torn: u64,
    lost: u64,
}

impl Enumerator {
    /// Nothing yet.
    pub(crate) fn new(stride: Stride) -> Self {
        Self {
            kinds: BTreeMap::new(),
            violations: Vec::new(),
            stride,
            places: Places::default(),
        }
    }

    /// One more effect is enumerated.
    pub(crate) fn point(&mut self, kind: &'static str) {
        self.kinds.entry(kind).or_default().points += 1;
    }

    /// One more state is judged.
    pub(crate) fn judged(&mut self, kind: &'static str, left: Left, judged: Result<(), String>) {
        let count = self.kinds.entry(kind).or_default();
        match left {
            Left::Clean => count.clean += 1,
            Left::Torn => count.torn += 1,
            Left::Lost => count.lost += 1,
        }
        self.violations.extend(judged.err());
    }

    /// Everything found.
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The run had effects of all these kinds, and states of every kind.
    pub(crate) fn assert_covers<const N: usize>(&self, kinds: [&'static str; N]) {
        for kind in kinds {
            let count = self.kinds.get(kind).copied().unwrap_or_default();
            assert!(count.clean > 0 && count.lost > 0, "no effect called {kind} was enumerated");
        }
        assert!(self.total().torn > 0, "no torn state was judged");
    }

    fn total(&self) -> Count {
        self.kinds.values().fold(Count::default(), |sum, count| Count {
            points: sum.points + count.points,
            clean: sum.clean + count.clean,
            torn: sum.torn + count.torn,
            lost: sum.lost + count.lost,
        })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points, clean, torn, lost } = self;
        write!(f, "{points} × {{clean {clean}, torn {torn}, lost {lost}}}")
    }
}

impl fmt::Display for Enumerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, violations, Stride(stride)) = (self.total(), self.violations.len(), self.stride);
        write!(f, "crash points {total}, cut at one sector in {stride}: violations {violations} (")?;
        for (at, (kind, count)) in self.kinds.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{kind} {count}")?;
        }
        f.write_str(")")
    }
}

/// What the enumeration calls something that was done to a node's files.
pub(crate) fn kind(node: &Node, deed: &Deed) -> &'static str {
    match deed {
        Deed::Commit(_) => "commit",
        Deed::Delete(_) => "delete",
        Deed::Prepare(_) => "prepare",
        Deed::Recycle(..) => "recycle",
        Deed::Write(flush) => {
            let at = Position {
                segment: flush.segment,
                offset: flush.offset,
            };
            match checkpoint(node, at) {
                Some(kind) => kind,
                None if !flush.relocations.is_empty() => "copies",
                None if flush.segment > 1 && flush.offset == 4_096 => "rotate",
                None => "write",
            }
        }
    }
}

/// What a checkpoint in a batch is for; nothing where there is none.
fn checkpoint(node: &Node, at: Position) -> Option<&'static str> {
    let mut files = SegmentFiles::list(&node.folders.log()).expect("its log is there");
    let mut kind = None;
    let scanned = scan(&mut files, &node.config.log, Some(at), &mut |batch| {
        kind = kind.or(batch.records().find_map(|record| match record.body {
            RecordBody::Checkpoint { kept_from, .. } if kept_from > 1 => Some("close"),
            RecordBody::Checkpoint { applied, .. } if applied.0 > 0 => Some("install"),
            RecordBody::Checkpoint { .. } => Some("admit"),
            RecordBody::Entry { .. }
            | RecordBody::HardState(_)
            | RecordBody::Relocation { .. }
            | RecordBody::ReplicaEnd
            | RecordBody::Unknown { .. } => None,
        }));
    });
    scanned.expect("a batch was just written there");
    kind
}
