//! One core of a stopped node, looked at: its log scanned by the engine, its index read, and both verified if asked.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use margate_engine::index::marks::Identity;
use margate_engine::index::{CoreMarks, IndexError, IndexReader, ReplicaMarks};
use margate_engine::log::batch::ScannedBatch;
use margate_engine::log::effects::{EntryData, verify_checksums};
use margate_engine::log::record::RecordBody;
use margate_engine::log::scan::{ReadSegments, scan};
use margate_engine::log::segment::LogConfig;
use margate_engine::runtime::index_reader::HeedReader;
use margate_engine::runtime::index_store::HeedIndex;
use margate_engine::runtime::suspects::Suspects;
use margate_engine::shard::members::Change;
use margate_engine::shard::state::ShardState;
use margate_engine::types::{Position, ReplicaName};
use margate_net::ids::{CoreId, ShardId};
use margate_net::message::EntryKind;

use super::applied::Applied;
use super::problem::{Problem, Problems};
use super::rows::Pointers;
use super::segments::MappedSegments;
use super::survey::Survey;

/// Where a core's data are, and whose they must be.
#[derive(Debug)]
pub(super) struct CoreFolder {
    pub(super) log: PathBuf,
    pub(super) index: PathBuf,
    /// Over which replicas raft panicked.
    pub(super) suspects: PathBuf,
    /// All but the size of its segments, which they tell themselves.
    pub(super) config: LogConfig,
    /// The replicas that were created there; none in a directory that joined later.
    pub(super) expected: BTreeSet<ReplicaName>,
    /// The shards that should have a replica there.
    pub(super) shards: BTreeSet<ShardId>,
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The log, and the index's marks.
    Survey,
    /// Everything, each part held against the others.
    Verify,
}

/// What was found.
#[derive(Debug)]
pub(super) struct CoreReport {
    pub(super) core: CoreId,
    pub(super) survey: Survey,
    /// Shards that have no replica here yet, as far as the log was read: the node asks to be admitted.
    pub(super) awaited: Vec<ShardId>,
    pub(super) index: Option<IndexView>,
    pub(super) checked: Checked,
    pub(super) problems: Problems,
}

/// What an index says of itself.
#[derive(Clone, Debug)]
pub(super) struct IndexView {
    pub(super) core: Option<CoreMarks>,
    pub(super) replicas: Vec<ReplicaMarks>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl IndexView {
    /// Whether another replica took a replica's place on this core: what is said of it then is history.
    pub(super) fn is_former(&self, name: ReplicaName) -> bool {
        let mut names = self.replicas.iter().map(|marks| marks.name);
        names.any(|other| other.shard == name.shard && other.replica > name.replica)
    }
}

/// How much was verified.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checked {
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) effects: u64,
    pub(super) rows: u64,
    /// Rows of no replica in force, which the next start drops; they were not followed.
    pub(super) rows_left: u64,
    pub(super) positions: u64,
}

/// Gets each batch; breaks to read no further.
pub(super) type Watch<'a> = dyn FnMut(&ScannedBatch<'_>) -> ControlFlow<()> + 'a;

/// Looks at a core, showing each batch of its log on the way.
pub(super) fn look(folder: &CoreFolder, depth: Depth, watch: &mut Watch<'_>) -> CoreReport {
    let mut problems = Problems::default();
    name_suspects(&folder.suspects, &mut problems);
    let index = open_index(folder).unwrap_or_else(|error| {
        problems.add(Problem::Index(error));
        None
    });
    let mut report = CoreReport {
        core: folder.config.core,
        survey: Survey::default(),
        awaited: Vec::new(),
        index: index.as_ref().map(|(_, view)| view.clone()),
        checked: Checked::default(),
        problems,
    };
    let mut segments = match MappedSegments::open(&folder.log) {
        Ok(segments) => segments,
        Err(source) => {
            let path = folder.log.clone();
            report.problems.add(Problem::LogFolder { path, source });
            return report;
        }
    };
    let verified = index.as_ref().filter(|_| depth == Depth::Verify);
    let whole = report.read_log(folder, &mut segments, verified, watch);
    report.checked.batches = report.survey.batches;
    report.checked.records = report.survey.records;
    // Of a log that was not read to its end nothing more can be said.
    if let Some((reader, view)) = verified.filter(|_| whole) {
        report.hold_marks(view);
        if let Err(error) = report.follow_pointers(folder, &mut segments, reader, view) {
            report.problems.add(Problem::Index(error));
        }
    }
    report
}

fn name_suspects(path: &Path, problems: &mut Problems) {
    let path = path.to_owned();
    match Suspects::load(&path) {
        Ok(suspects) => suspects.condemned().into_iter().for_each(|(name, panic)| {
            let (panic, path) = (panic.to_owned(), path.clone());
            problems.add(Problem::Suspect { name, panic, path });
        }),
        Err(source) => problems.add(Problem::Suspects { path, source }),
    }
}

type OpenIndex = (HeedReader, IndexView);

fn open_index(folder: &CoreFolder) -> Result<Option<OpenIndex>, IndexError> {
    let identity = Identity {
        cluster: folder.config.cluster,
        directory: folder.config.directory,
    };
    let Some(reader) = HeedIndex::open_stopped(&folder.index, identity)? else {
        return Ok(None);
    };
    let view = IndexView {
        core: reader.core_marks()?,
        replicas: reader.replica_marks()?,
        rows: reader.rows()?,
        bytes: reader.bytes_used()?,
    };
    Ok(Some((reader, view)))
}

impl CoreReport {
    /// Scans the log; whether to its end.
    fn read_log(&mut self, folder: &CoreFolder, segments: &mut MappedSegments, index: Option<&OpenIndex>, watch: &mut Watch<'_>) -> bool {
        let (survey, problems, checked) = (&mut self.survey, &mut self.problems, &mut self.checked);
        let numbers = segments.segments().into_iter();
        *survey = Survey::of(numbers.map(|number| (number, segments.segment_bytes(number), segments.life(number))));
        let config = LogConfig {
            segment_bytes: u32::try_from(segments.segment_size()).unwrap_or(u32::MAX),
            ..folder.config
        };
        let marks = index.and_then(|(_, view)| view.core);
        let replay = marks.map_or(Position::default(), |marks| marks.replay);
        let stop = segments.stop();
        let mut replay_found = marks.is_none();
        let mut applied = index.map(|(reader, view)| Applied::new(reader, replay, &view.replicas));
        let scanned = scan(segments, &config, None, &mut |batch| {
            survey.batch(batch, problems);
            if let Some(applied) = &mut applied {
                check_effects(batch, checked, problems);
                applied.batch(batch, problems);
                replay_found |= marks.is_some_and(|marks| (marks.replay, marks.replay_sequence) == (batch.position, batch.sequence));
            }
            if watch(batch).is_break() {
                stop.set(true);
            }
        });
        match scanned {
            Ok(end) => {
                // What the index says is damaged need not be in the log any more.
                let damaged = |name: &ReplicaName| {
                    let view = self.index.iter().flat_map(|view| &view.replicas);
                    view.into_iter().any(|marks| marks.name == *name && marks.damaged)
                };
                let expected = folder.expected.iter().copied().filter(|name| !damaged(name)).collect();
                survey.end(end, &expected, problems);
                self.awaited = survey.without_replica(&folder.shards);
            }
            Err(error) => {
                problems.add(Problem::Log(error));
                return false;
            }
        }
        if let Some(applied) = applied {
            applied.end(problems);
        }
        if let Some(marks) = marks.filter(|_| !replay_found) {
            problems.add(Problem::ReplayMark {
                position: marks.replay,
                sequence: marks.replay_sequence,
            });
        }
        true
    }

    /// Invariant 6, as far as marks alone tell: none is ahead of what the log proves.
    fn hold_marks(&mut self, view: &IndexView) {
        for marks in &view.replicas {
            let name = marks.name;
            let found = self.survey.replicas.get(&name);
            // Where the log says that it ended, that was told already; one that was replaced is history.
            if marks.damaged && !view.is_former(name) && found.is_none_or(|found| found.ended.is_none() && !found.replaced) {
                self.problems.add(Problem::MarkedDamaged { name });
            }
            if let Err(fault) = ShardState::decode(&marks.state) {
                self.problems.add(Problem::State { name, fault });
            }
            let Some(found) = found.filter(|found| found.is_whole() && !marks.damaged) else {
                continue;
            };
            // Of what is applied at a checkpoint the commit need not be in the log any more.
            let (applied, commit, durable) = (marks.applied, marks.commit, found.commit.max(found.checkpoint));
            if applied > commit || commit > durable {
                self.problems.add(Problem::MarkAhead {
                    name,
                    applied,
                    commit,
                    durable,
                });
            }
            let marked = marks.hard_state;
            if marked.is_newer_than(found.hard_state) {
                self.problems.add(Problem::HardStateAhead { name, term: marked.term });
            }
        }
    }

    fn follow_pointers(
        &mut self,
        folder: &CoreFolder,
        segments: &mut MappedSegments,
        reader: &HeedReader,
        view: &IndexView,
    ) -> Result<(), IndexError> {
        let mut pointers = Pointers::new(segments, folder.config.cluster, &self.survey, view);
        self.checked.rows = pointers.rows(reader, &mut self.problems)?;
        self.checked.rows_left = pointers.left;
        self.checked.positions = pointers.positions(reader, &mut self.problems)?;
        Ok(())
    }
}

/// Every effect of a batch, checksum by checksum; the batch's own has been checked by the scan.
fn check_effects(batch: &ScannedBatch<'_>, checked: &mut Checked, problems: &mut Problems) {
    let effects = |data| {
        let parsed = verify_checksums(data).and_then(|()| EntryData::parse(data))?;
        Ok(parsed.effects().count() as u64)
    };
    for record in batch.records() {
        let (name, position) = (record.name, record.position);
        let found = match record.body {
            RecordBody::Entry {
                index,
                kind: EntryKind::Normal,
                data,
                ..
            } => effects(data).map_err(|fault| Problem::Entry {
                name,
                index,
                position,
                fault,
            }),
            RecordBody::Entry {
                index,
                kind: EntryKind::Membership,
                data,
                ..
            } => match Change::parse(data) {
                Some(_) => Ok(0),
                None => Err(Problem::Change { name, index, position }),
            },
            RecordBody::Relocation { data, .. } => effects(data).map_err(|fault| Problem::Copies { name, position, fault }),
            RecordBody::HardState(_) | RecordBody::Checkpoint { .. } | RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => Ok(0),
        };
        match found {
            Ok(effects) => checked.effects += effects,
            Err(problem) => problems.add(problem),
        }
    }
}
