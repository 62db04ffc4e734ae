//! Judges what a crash left: every acknowledged effect is there, the index is not ahead of the log, nothing is invented;
//! and all nodes together still hold what their client was told, and go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use margate_engine::core::replay::CoreConfig;
use margate_engine::index::IndexReader;
use margate_engine::limits::OVERLAY_REST;
use margate_engine::log::record::RecordBody;
use margate_engine::log::scan::scan;
use margate_engine::runtime::segments::SegmentFiles;
use margate_engine::types::{Nanos, ReplicaName};
use margate_net::ids::{LogIndex, ShardId};
use margate_net::map::Map;

use super::contents::{Contents, compare, contents};
use super::deployment::Deployment;
use super::files::client::Held;
use super::files::ledger::{Batch, Ledger, found_and_torn};
use super::files::node::{Deed, Folders, Node, open_index};
use super::place::{Place, Places};
use super::report::{Enumerator, kind};
use super::snapshot::Snapshot;
use super::states::{Left, UNFINISHED, crash_states};

/// What is done at once: what takes time is the disk.
const AT_ONCE: usize = 6;

/// A deployment at the moment of a crash: what its client knows, and what its nodes know.
struct Scene<'a> {
    map: Map,
    held: (Held, Nanos),
    nodes: Vec<(CoreConfig, Ledger)>,
    /// The nodes' files before the effect.
    before: &'a [Snapshot],
    /// The node that crashes in the midst of one, and what its ledger says once that is done.
    at: usize,
    whole: Ledger,
    places: &'a Places,
}

impl Enumerator {
    /// Judges every state a crash of one node may leave around a deed that has just been done there; the others' files were as in `before`
    /// throughout.
    pub(crate) fn judge(&mut self, deployment: &Deployment, at: usize, deed: &Deed, before: &[Snapshot]) {
        let node = &deployment.nodes[at];
        let (after, kind) = (Snapshot::take(&node.folders.root), kind(node, deed));
        let scene = Scene {
            map: deployment.map.clone(),
            held: (deployment.held.clone(), deployment.now),
            nodes: deployment
                .nodes
                .iter()
                .map(|node| (node.config.clone(), node.ledger.clone()))
                .collect(),
            before,
            at,
            whole: node.ledger.with(deed),
            places: &self.places.clone(),
        };
        self.point(kind);
        let states = crash_states(&before[at], &after, self.stride);
        for (left, judged) in at_once(&states, |(left, state)| (*left, scene.judge(state, *left))) {
            let judged = judged.map_err(|violation| format!("node {}, {kind} {left}: {violation}", at + 1));
            self.judged(kind, left, judged);
        }
    }
}

/// Several of them at a time.
pub(crate) fn at_once<T: Sync, U: Clone + Send>(all: &[T], act: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let next = AtomicUsize::new(0);
    let some = || {
        let turns = std::iter::repeat_with(|| all.get(next.fetch_add(1, Ordering::Relaxed)));
        turns.map_while(|one| one.map(&act)).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let workers = [(); AT_ONCE].map(|()| scope.spawn(some));
        workers.map(|worker| worker.join().expect("nothing panics")).concat()
    })
}

impl Scene<'_> {
    /// A start takes what is left, with the index as it is and with none: both times every replica ends with its last entry,
    /// they hold the same, and the deployment goes on.
    fn judge(&self, state: &Snapshot, left: Left) -> Result<(), String> {
        let (config, known) = &self.nodes[self.at];
        let (crashed, root) = self.put(state);
        let there = check_node(&root, config, (known, &self.whole), left)?;
        let started = check_start(&root, config, &there)?;
        let reopened = self.reopen(crashed, &there)?;
        check_deployment(reopened)?;
        self.judge_rebuilt(state, left, &there, &started)
            .map_err(|violation| format!("without its index: {violation}"))
    }

    fn judge_rebuilt(&self, state: &Snapshot, left: Left, there: &Ledger, started: &BTreeMap<ShardId, Contents>) -> Result<(), String> {
        let index = Folders { root: PathBuf::new() }.index();
        let (crashed, root) = self.put(&state.without(&index));
        let rebuilt = check_start(&root, &self.nodes[self.at].0, there)?;
        compare(started, &rebuilt)?;
        if left == Left::Torn {
            // It holds the same as one that goes on.
            return Ok(());
        }
        let mut reopened = self.reopen(crashed, there)?;
        // Its first generation.
        reopened.pass(2 * OVERLAY_REST.0 / 1_000_000);
        check_deployment(reopened)
    }

    /// The nodes' files, and where those of the crashed one are.
    fn put(&self, state: &Snapshot) -> (Place, PathBuf) {
        let place = self.places.take();
        for (node, before) in self.before.iter().enumerate() {
            if node == self.at { state } else { before }.put(&root(&place, node));
        }
        let crashed = root(&place, self.at);
        (place, crashed)
    }

    fn reopen(&self, place: Place, there: &Ledger) -> Result<Deployment, String> {
        let nodes = self.nodes.iter().enumerate().map(|(node, (config, ledger))| {
            let ledger = if node == self.at { there } else { ledger };
            Node::open(&root(&place, node), config.clone(), ledger.clone())
        });
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(Deployment::reopened(place, &self.map, nodes, self.held.clone()))
    }
}

fn root(place: &Place, node: usize) -> PathBuf {
    place.path().join(node.to_string())
}

/// One node's files: the log holds exactly what it held before or after what was under way; so does the index; the index is
/// not ahead of the log. Says what is there.
fn check_node(root: &Path, config: &CoreConfig, (known, whole): (&Ledger, &Ledger), left: Left) -> Result<Ledger, String> {
    let (found, torn_bytes) = found_and_torn(root, config)?;
    if torn_bytes > 0 && left != Left::Torn {
        return Err(format!("{torn_bytes} bytes are taken for a torn tail and nothing was torn"));
    }
    let same = |ledger: &Ledger| {
        let fits = |(known, found): (&Batch, &Batch)| {
            (known.sequence, known.position) == (found.sequence, found.position) && found.bytes.starts_with(&known.bytes)
        };
        ledger.batches.len() == found.batches.len() && ledger.batches.iter().zip(&found.batches).all(fits)
    };
    let mut there = match left {
        Left::Clean | Left::Torn if same(whole) => whole.clone(),
        Left::Lost | Left::Torn if same(known) => known.clone(),
        Left::Clean => return Err(log_differs(whole, &found)),
        Left::Lost | Left::Torn => return Err(log_differs(known, &found)),
    };
    there.generation = check_index(root, config, (known.generation, whole.generation), left)?;
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
        let checkpoints = batch.records().filter_map(|record| match record.body {
            RecordBody::Checkpoint { applied, .. } => Some((record.name, applied)),
            RecordBody::Entry { .. }
            | RecordBody::HardState(_)
            | RecordBody::Relocation { .. }
            | RecordBody::ReplicaEnd
            | RecordBody::Unknown { .. } => None,
        });
        for (name, commit) in batch.commits().chain(checkpoints) {
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
fn check_start(root: &Path, config: &CoreConfig, there: &Ledger) -> Result<BTreeMap<ShardId, Contents>, String> {
    let node = Node::look(root, config)?;
    for replica in node.core.replicas() {
        let (found, name) = (replica.group().last(), replica.name());
        // Where it has no entry of its own, an image may have brought it further.
        let expected = there.last.get(&name).copied().unwrap_or(replica.group().truncated());
        if found != expected {
            return Err(format!("{name} ends at entry {found}, acknowledged up to {expected}"));
        }
    }
    if node.core.replicas().next().is_none() && !config.joined {
        return Err("no replica was started".to_owned());
    }
    contents(&node)
}

/// The nodes have left nothing unfinished, elect a leader, hold what was acknowledged, take one more write, admit who joins, and hold the same.
pub(crate) fn check_deployment(mut reopened: Deployment) -> Result<(), String> {
    let left = |node: &&Node| node.folders.log().join(UNFINISHED).exists();
    if let Some(node) = reopened.nodes.iter().find(left) {
        return Err(format!("a start left {UNFINISHED} in {}", node.folders.log().display()));
    }
    reopened.elect();
    for (key, may_hold) in reopened.held.clone() {
        let found = reopened.get(key);
        if !may_hold.contains(&found) {
            let (found, may_hold) = (found.map(|value| value.len()), may_hold.len());
            return Err(format!("{key} holds {found:?} bytes, none of the {may_hold} things it may hold"));
        }
    }
    reopened.set("afterwards", 600);
    if reopened.get("afterwards").is_none() {
        return Err("what was written after the crash is not there".to_owned());
    }
    if !reopened.tick_until(|deployment| deployment.is_whole() && deployment.is_level()) {
        return Err("not every node votes and has applied the same".to_owned());
    }
    let first = contents(&reopened.nodes[0])?;
    let differs = |violation| format!("two nodes differ: {violation}");
    let mut others = reopened.nodes.iter().skip(1);
    others.try_for_each(|node| compare(&first, &contents(node)?).map_err(differs))
}
