//! Judges what a crash left: every acknowledged effect is there, the index is not ahead of the log, nothing is invented;
//! and all nodes together still hold what their client was told, and go on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use margate_engine::core::replay::CoreConfig;
use margate_engine::index::IndexReader;
use margate_engine::log::scan::{ReadSegments, scan};
use margate_engine::runtime::segments::SegmentFiles;
use margate_engine::types::{Position, ReplicaName};
use margate_net::ids::LogIndex;

use super::deployment::{Deployment, folder};
use super::node::{Batch, Deed, Folders, Ledger, Node, config, open_index};
use super::snapshot::Snapshot;
use super::states::{Left, crash_states};

/// Bytes of a block.
const BLOCK_BYTES: usize = 4_096;

/// Everything that was judged.
#[derive(Default)]
pub(crate) struct Enumerator {
    points: BTreeMap<&'static str, u64>,
    states: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

impl Enumerator {
    /// Judges every state a crash of one node may leave around a deed that has just been done there; the others' files were as in `before`
    /// throughout.
    pub(crate) fn judge(&mut self, deployment: &Deployment, at: usize, deed: &Deed, before: &[Snapshot]) {
        let node = &deployment.nodes[at];
        let after = Snapshot::take(&node.folders.root);
        let whole = node.ledger.with(deed);
        self.point(deed.name());
        for (left, state) in crash_states(&before[at], &after) {
            let judged = self.judge_state(deployment, (at, deed), (&state, left), before, &whole);
            self.judged(
                left,
                judged.map_err(|violation| format!("node {}, {} {left}: {violation}", at + 1, deed.name())),
            );
        }
    }

    /// One more effect is enumerated.
    pub(crate) fn point(&mut self, name: &'static str) {
        *self.points.entry(name).or_default() += 1;
    }

    /// One more state is judged.
    pub(crate) fn judged(&mut self, left: Left, judged: Result<(), String>) {
        let name = match left {
            Left::Clean => "clean",
            Left::Torn => "torn",
            Left::Lost => "lost",
        };
        *self.states.entry(name).or_default() += 1;
        self.violations.extend(judged.err());
    }

    /// Everything found.
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The run had effects of all these kinds, and states of every kind.
    pub(crate) fn assert_covers<const N: usize>(&self, names: [&'static str; N]) {
        for name in names {
            assert!(self.points.contains_key(name), "no effect called {name} was enumerated");
        }
        assert_eq!(self.states.len(), 3, "clean, torn and lost: {:?}", self.states);
    }

    fn judge_state(
        &self,
        deployment: &Deployment,
        (at, deed): (usize, &Deed),
        (state, left): (&Snapshot, Left),
        before: &[Snapshot],
        whole: &Ledger,
    ) -> Result<(), String> {
        let crashed = folder();
        let roots: Vec<_> = (0..before.len()).map(|node| crashed.path().join(node.to_string())).collect();
        for (node, root) in roots.iter().enumerate() {
            if node == at { state } else { &before[node] }.put(root);
        }
        let (known, config) = (
            &deployment.nodes[at].ledger,
            config(&deployment.map, deployment.nodes[at].config.log.node),
        );
        let there = check_node(&roots[at], &config, known, whole, (deed, left))?;
        let ledgers = deployment.nodes.iter().enumerate();
        let ledgers = ledgers.map(|(node, running)| if node == at { there.clone() } else { running.ledger.clone() });
        let nodes = roots.iter().map(std::path::PathBuf::as_path).zip(ledgers).collect();
        let held = (deployment.held.clone(), deployment.now);
        // The folder lives as long as the deployment in it.
        let reopened = Deployment::reopen(crashed, &deployment.map, nodes, held)?;
        check_deployment(reopened)
    }
}

impl fmt::Display for Enumerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points: u64 = self.points.values().sum();
        write!(
            f,
            "crash points {points} × {{clean, torn, lost}}: violations {}",
            self.violations.len()
        )?;
        write!(f, " (effects {:?}, states {:?})", self.points, self.states)
    }
}

/// What a log holds, as a scan finds it.
pub(crate) fn found(root: &Path, config: &CoreConfig) -> Result<Ledger, String> {
    let mut files = SegmentFiles::list(&Folders { root: root.to_owned() }.log()).map_err(|error| error.to_string())?;
    let mut batches = Vec::new();
    let end = scan(&mut files, &config.log, None, &mut |batch| {
        batches.push((batch.sequence, batch.position, batch.padded));
    });
    let end = end.map_err(|error| error.to_string())?;
    if !end.damage.is_empty() {
        return Err(format!("a scan takes the log for damaged: {:?}", end.damage));
    }
    let batches = batches.into_iter().map(|(sequence, position, padded)| Batch {
        sequence,
        position,
        bytes: read(&mut files, position, padded),
        last: BTreeMap::new(),
    });
    Ok(Ledger {
        batches: batches.collect(),
        generation: 0,
    })
}

fn read(files: &mut SegmentFiles, at: Position, bytes: usize) -> Vec<u8> {
    let mut whole = vec![0; bytes];
    let blocks = whole.chunks_mut(BLOCK_BYTES).zip((at.offset..).step_by(BLOCK_BYTES));
    for (block, offset) in blocks {
        files.read(at.segment, offset, block).expect("the scan read it");
    }
    whole
}

/// One node's files: the log holds exactly what was acknowledged, or that and the write under way; so does the index; the index is
/// not ahead of the log; a start takes all of it. Says what is there.
pub(crate) fn check_node(
    root: &Path,
    config: &CoreConfig,
    known: &Ledger,
    whole: &Ledger,
    (deed, left): (&Deed, Left),
) -> Result<Ledger, String> {
    let mut there = found(root, config)?;
    let same = |ledger: &Ledger| {
        let one = |batch: &Batch| (batch.sequence, batch.position, batch.bytes.clone());
        ledger.batches.iter().map(one).eq(there.batches.iter().map(one))
    };
    let written = matches!(deed, Deed::Write(_)) && same(whole);
    match left {
        _ if !same(known) && !written => return Err(log_differs(known, &there)),
        Left::Clean if !same(whole) => return Err(log_differs(whole, &there)),
        Left::Clean | Left::Torn | Left::Lost => {}
    }
    there = if written { whole.clone() } else { known.clone() };
    there.generation = check_index(root, config, (known.generation, whole.generation), left)?;
    check_start(root, config, &there)?;
    Ok(there)
}

fn log_differs(expected: &Ledger, found: &Ledger) -> String {
    let name = |ledger: &Ledger| ledger.batches.iter().map(|batch| batch.sequence).collect::<BTreeSet<_>>();
    format!("the log should hold batches {:?} and holds {:?}", name(expected), name(found))
}

/// The index is at the generation that was acknowledged or the one under way, and its marks have their commits in the log.
fn check_index(root: &Path, config: &CoreConfig, (known, whole): (u64, u64), left: Left) -> Result<u64, String> {
    let folders = Folders { root: root.to_owned() };
    let (reader, _writer) = open_index(&folders.index(), config)?;
    let marks = reader.core_marks().map_err(|error| error.to_string())?;
    let generation = marks.map_or(0, |marks| marks.generation);
    let expected = if left == Left::Clean { whole..=whole } else { known..=whole };
    if !expected.contains(&generation) {
        return Err(format!("the index is at generation {generation}, not in {expected:?}"));
    }
    let mut commits = BTreeMap::<ReplicaName, LogIndex>::new();
    let mut begins = BTreeMap::new();
    let mut files = SegmentFiles::list(&folders.log()).map_err(|error| error.to_string())?;
    let scanned = scan(&mut files, &config.log, None, &mut |batch| {
        begins.insert(batch.position, batch.sequence);
        for (name, commit) in batch.commits() {
            let highest = commits.entry(name).or_default();
            *highest = commit.max(*highest);
        }
    });
    scanned.map_err(|error| error.to_string())?;
    if let Some(marks) = marks
        && begins.get(&marks.replay) != Some(&marks.replay_sequence)
    {
        return Err(format!("the index's mark names no batch of the log: {marks:?}"));
    }
    for replica in reader.replica_marks().map_err(|error| error.to_string())? {
        let commit = commits.get(&replica.name).copied().unwrap_or_default();
        if replica.applied > commit {
            return Err(format!(
                "the index holds {} up to {}, the log's commit is {commit}",
                replica.name, replica.applied
            ));
        }
    }
    Ok(generation)
}

/// A start finds every replica's last entry.
fn check_start(root: &Path, config: &CoreConfig, there: &Ledger) -> Result<(), String> {
    let node = Node::open(root, config.clone(), there.clone())?;
    let mut last = BTreeMap::new();
    there.batches.iter().for_each(|batch| last.extend(batch.last.clone()));
    for replica in node.core.replicas() {
        let expected = last.get(&replica.name()).copied().unwrap_or_default();
        let found = replica.group().last();
        if found != expected {
            return Err(format!("{} ends at entry {found}, acknowledged up to {expected}", replica.name()));
        }
    }
    if node.core.replicas().next().is_none() {
        return Err("no replica was started".to_owned());
    }
    Ok(())
}

/// All nodes come back: they elect a leader, hold what was acknowledged, and take one more write.
fn check_deployment(mut reopened: Deployment) -> Result<(), String> {
    reopened.elect();
    for (key, may_hold) in reopened.held.clone() {
        let found = reopened.get(key);
        if !may_hold.contains(&found) {
            let (found, may_hold) = (found.map(|value| value.len()), may_hold.len());
            return Err(format!("{key} holds {found:?} bytes, none of the {may_hold} things it may hold"));
        }
    }
    reopened.set("afterwards", 600);
    match reopened.get("afterwards") {
        Some(_) => Ok(()),
        None => Err("what was written after the crash is not there".to_owned()),
    }
}
