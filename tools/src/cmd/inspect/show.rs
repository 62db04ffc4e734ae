//! What was found, as tables for people and as one document for programs.

use comfy_table::Table;
use margate_engine::bootstrap::identity::{Identity, Membership};
use margate_engine::index::ReplicaMarks;
use margate_engine::log::scan::DamagedReplicas;
use margate_engine::types::{Position, ReplicaName};
use serde_json::Value;

use super::look::{Checked, CoreReport, IndexView};
use super::survey::{ReplicaView, SegmentView, Survey};
use crate::error::Failure;
use crate::output::{Object, Output, plain_table};
use crate::units::show_size;

/// The directory's own line.
pub(super) fn identity_line(identity: &Identity) -> String {
    let (node, directory) = (identity.node, identity.directory);
    let member = match &identity.membership {
        Membership::Empty => "empty, of no deployment yet".to_owned(),
        Membership::Creating(creation) => format!("creating cluster {}", creation.cluster()),
        Membership::Member {
            creation,
            cores_created: false,
            ..
        } => format!("member of cluster {}, its cores not made yet", creation.cluster()),
        Membership::Member {
            creation,
            cores_created: true,
            joined: false,
        } => format!("member of cluster {}", creation.cluster()),
        Membership::Member {
            creation,
            cores_created: true,
            joined: true,
        } => format!("member of cluster {}, joined later", creation.cluster()),
    };
    format!("node {node}, data directory {directory}, {member}")
}

/// The directory as fields.
pub(super) fn identity_object(identity: &Identity) -> Object {
    let joined = matches!(identity.membership, Membership::Member { joined: true, .. });
    let (stage, creation) = match &identity.membership {
        Membership::Empty => ("empty", None),
        Membership::Creating(creation) => ("creating", Some(creation)),
        Membership::Member {
            creation,
            cores_created: false,
            ..
        } => ("member", Some(creation)),
        Membership::Member {
            creation,
            cores_created: true,
            ..
        } => ("cores_created", Some(creation)),
    };
    Object::default()
        .field("node", identity.node.0)
        .field("directory", identity.directory.to_string())
        .field("stage", stage)
        .field("joined", joined)
        .field("cluster", creation.map(|creation| creation.cluster().to_string()))
}

/// A core, for people.
pub(super) fn core_text(output: &mut Output, report: &CoreReport) -> Result<(), Failure> {
    let survey = &report.survey;
    output.line("")?;
    output.line(&format!("core {}", report.core))?;
    output.line(&segments_table(survey).to_string())?;
    if let Some(torn) = survey.torn {
        let (bytes, at) = (torn.bytes, torn.position);
        output.line(&format!(
            "torn tail: {bytes} bytes from {at} on, never acknowledged; the next start writes over them"
        ))?;
    }
    output.line("")?;
    output.line(&replicas_table(report).to_string())?;
    output.line("")?;
    for line in notes(report) {
        output.line(&line)?;
    }
    output.line(&index_line(report.index.as_ref()))?;
    problems_text(output, report)
}

/// What is as it should be and needs a word.
fn notes(report: &CoreReport) -> Vec<String> {
    let survey = &report.survey;
    let mut notes = Vec::new();
    if let Some(first) = reclaimed_before(survey) {
        let kept_from = survey.kept_from;
        notes.push(format!(
            "the log begins with segment {first}: what came before was reclaimed. Its checkpoints keep it from segment {kept_from} on"
        ));
    }
    for (name, view) in survey
        .replicas
        .iter()
        .filter(|(_, view)| view.is_whole() && !view.unfinished().is_empty())
    {
        let spaces = words(view.unfinished().iter().map(|space| space.0.into()));
        notes.push(format!("{name}: rows of images that never came into force, in spaces {spaces}"));
    }
    if !report.awaited.is_empty() {
        let shards = words(report.awaited.iter().map(|shard| shard.0));
        notes.push(format!(
            "no replica of shards {shards} yet: the node asks their leaders to be admitted"
        ));
    }
    notes
}

/// The first segment, if there were others before it.
fn reclaimed_before(survey: &Survey) -> Option<u32> {
    Some(survey.oldest()).filter(|first| *first > 1)
}

fn words(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

/// What is wrong with a core, a line each.
pub(super) fn problems_text(output: &mut Output, report: &CoreReport) -> Result<(), Failure> {
    report
        .problems
        .lines()
        .try_for_each(|line| output.line(&format!("core {}: {line}", report.core)))
}

/// How much of a core was verified.
pub(super) fn checked_text(output: &mut Output, report: &CoreReport) -> Result<(), Failure> {
    let Checked {
        batches,
        records,
        effects,
        rows,
        rows_left,
        positions,
    } = report.checked;
    if let Some(first) = reclaimed_before(&report.survey).filter(|_| report.index.is_some()) {
        output.line(&format!(
            "core {}: the log begins with segment {first}: of entries before it only the rows they left could be checked",
            report.core
        ))?;
    }
    if rows_left > 0 {
        output.line(&format!(
            "core {}: {rows_left} rows belong to no replica in force and were not followed: the next start drops them",
            report.core
        ))?;
    }
    let index = if report.index.is_some() { "" } else { " (there is no index)" };
    output.line(&format!(
        "core {}: {batches} batches, {records} records, {effects} effects, {rows} rows and {positions} positions checked{index}",
        report.core
    ))
}

/// A core, for programs.
pub(super) fn core_object(report: &CoreReport) -> Object {
    let survey = &report.survey;
    let segments: Vec<Value> = survey
        .segments
        .iter()
        .map(|(number, view)| segment_object(*number, view).into())
        .collect();
    let damage: Vec<Value> = survey.damage.iter().map(|damage| damage_object(damage).into()).collect();
    let replicas: Vec<Value> = survey
        .replicas
        .iter()
        .map(|(name, view)| replica_object(*name, view, marks_of(report, *name)).into())
        .collect();
    let torn = survey
        .torn
        .map(|torn| Value::from(at("torn", torn.position).field("bytes", torn.bytes)));
    Object::default()
        .field("core", report.core.0)
        .field("batches", survey.batches)
        .field("records", survey.records)
        .field("segments", segments)
        .field("kept_from", survey.kept_from)
        .field("awaited", report.awaited.iter().map(|shard| shard.0).collect::<Vec<_>>())
        .field("torn", torn)
        .field("damage", damage)
        .field("replicas", replicas)
        .field("index", report.index.as_ref().map(|view| Value::from(index_object(view))))
        .field("problems", report.problems.lines().collect::<Vec<_>>())
}

/// What was verified of a core, for programs.
pub(super) fn checked_object(report: &CoreReport) -> Object {
    let Checked {
        batches,
        records,
        effects,
        rows,
        rows_left,
        positions,
    } = report.checked;
    Object::default()
        .field("core", report.core.0)
        .field("batches", batches)
        .field("records", records)
        .field("effects", effects)
        .field("rows", rows)
        .field("rows_left", rows_left)
        .field("first_segment", report.survey.oldest())
        .field("positions", positions)
        .field("problems", report.problems.lines().collect::<Vec<_>>())
}

fn segments_table(survey: &Survey) -> Table {
    let mut table = plain_table(&[
        "segment", "state", "life", "salt", "size", "used", "batches", "first", "last", "damage",
    ]);
    for (number, view) in &survey.segments {
        let sequence = |pick: fn((u64, u64)) -> u64| view.sequences.map_or_else(none, |both| pick(both).to_string());
        let damages = survey.damage.iter().filter(|damage| damage.position.segment == *number).count();
        table.add_row([
            number.to_string(),
            view.state.word().to_owned(),
            view.life.to_string(),
            view.salt.map_or_else(none, |salt| format!("{salt:016x}")),
            show_size(view.bytes),
            show_size(view.used),
            view.batches.to_string(),
            sequence(|(first, _)| first),
            sequence(|(_, last)| last),
            if damages == 0 { none() } else { damages.to_string() },
        ]);
    }
    table
}

fn replicas_table(report: &CoreReport) -> Table {
    let mut table = plain_table(&[
        "shard",
        "replica",
        "space",
        "records",
        "copies",
        "entries",
        "last term",
        "term",
        "vote",
        "commit",
        "applied",
        "state",
    ]);
    for (name, view) in &report.survey.replicas {
        let marks = marks_of(report, *name);
        let state = match view.ended {
            _ if view.replaced => "replaced",
            Some(_) => "ended",
            None if view.hurt || marks.is_some_and(|marks| marks.damaged) => "hurt",
            None => "whole",
        };
        table.add_row([
            name.shard.to_string(),
            name.replica.to_string(),
            view.space.to_string(),
            view.records.to_string(),
            view.copies.values().sum::<u64>().to_string(),
            view.entries.map_or_else(none, |(first, last)| format!("{first} to {last}")),
            view.last_term.to_string(),
            view.hard_state.term.to_string(),
            view.hard_state.vote.to_string(),
            view.commit.to_string(),
            marks.map_or_else(none, |marks| marks.applied.to_string()),
            state.to_owned(),
        ]);
    }
    table
}

fn index_line(view: Option<&IndexView>) -> String {
    let Some(view) = view else {
        return "index: none that can be read".to_owned();
    };
    let (rows, bytes) = (view.rows, show_size(view.bytes));
    match view.core {
        Some(core) => format!(
            "index: generation {}, {rows} rows, {bytes}; replay begins with batch {} at {}",
            core.generation, core.replay_sequence, core.replay
        ),
        None => format!("index: nothing committed yet, {bytes}"),
    }
}

fn marks_of(report: &CoreReport, name: ReplicaName) -> Option<&ReplicaMarks> {
    let marks = &report.index.as_ref()?.replicas;
    marks.iter().find(|marks| marks.name == name)
}

fn none() -> String {
    "-".to_owned()
}

fn at(prefix: &str, position: Position) -> Object {
    Object::default()
        .field(&format!("{prefix}_segment"), position.segment)
        .field(&format!("{prefix}_offset"), position.offset)
}

fn segment_object(number: u32, view: &SegmentView) -> Object {
    Object::default()
        .field("segment", number)
        .field("state", view.state.word())
        .field("life", view.life)
        .field("salt", view.salt.map(|salt| format!("{salt:016x}")))
        .field("bytes", view.bytes)
        .field("used", view.used)
        .field("batches", view.batches)
        .field("first_sequence", view.sequences.map(|(first, _)| first))
        .field("last_sequence", view.sequences.map(|(_, last)| last))
}

fn damage_object(damage: &margate_engine::log::scan::Damage) -> Object {
    let hurt = match &damage.replicas {
        DamagedReplicas::All => None,
        DamagedReplicas::Listed(held) => Some(held.iter().map(|held| Value::from(held_object(held))).collect::<Vec<_>>()),
    };
    at("lost", damage.position)
        .field("next_segment", damage.next_valid.segment)
        .field("next_offset", damage.next_valid.offset)
        .field("batches", damage.gap_batches)
        .field("all_replicas", hurt.is_none())
        .field("replicas", hurt)
}

fn held_object(held: &margate_engine::log::batch::Held) -> Object {
    Object::default()
        .field("shard", held.name.shard.0)
        .field("replica", held.name.replica.0)
        .field("kinds", held.kinds.0)
        .field("first", held.first.0)
        .field("last", held.last.0)
}

fn replica_object(name: ReplicaName, view: &ReplicaView, marks: Option<&ReplicaMarks>) -> Object {
    Object::default()
        .field("shard", name.shard.0)
        .field("replica", name.replica.0)
        .field("space", view.space.0)
        .field("records", view.records)
        .field("first", view.entries.map(|(first, _)| first.0))
        .field("last", view.entries.map(|(_, last)| last.0))
        .field("last_term", view.last_term.0)
        .field("term", view.hard_state.term.0)
        .field("vote", view.hard_state.vote.0)
        .field("commit", view.commit.0)
        .field("checkpoint", view.checkpoint.0)
        .field("hurt", view.hurt)
        .field("ended", view.ended.is_some())
        .field("replaced", view.replaced)
        .field("copies", view.copies.values().sum::<u64>())
        .field(
            "images_unfinished",
            view.unfinished().iter().map(|space| space.0).collect::<Vec<_>>(),
        )
        .field("marks", marks.map(|marks| Value::from(marks_object(marks))))
}

fn marks_object(marks: &ReplicaMarks) -> Object {
    Object::default()
        .bytes("low", &marks.low)
        .bytes("high", &marks.high)
        .field("applied", marks.applied.0)
        .field("applied_term", marks.applied_term.0)
        .field("commit", marks.commit.0)
        .field("space", marks.space.0)
        .field("truncated", marks.truncated.0)
        .field("term", marks.hard_state.term.0)
        .field("vote", marks.hard_state.vote.0)
        .field("damaged", marks.damaged)
}

fn index_object(view: &IndexView) -> Object {
    let index = Object::default().field("rows", view.rows).field("bytes", view.bytes);
    match view.core {
        Some(core) => index
            .field("generation", core.generation)
            .field("replay_segment", core.replay.segment)
            .field("replay_offset", core.replay.offset)
            .field("replay_sequence", core.replay_sequence)
            .field("next_space", core.next_space.0),
        None => index.field("generation", 0),
    }
}
