//! `--records`: every record of a log on a line of its own, the effects of an entry or of copies below it.
//!
//! A log may be far larger than memory, so records are printed as they are read; once nobody reads the output any more, the log
//! is not read on either.

use std::ops::ControlFlow;

use margate_engine::log::batch::ScannedBatch;
use margate_engine::log::effects::{Effect, EffectKind, EntryData};
use margate_engine::log::record::{RecordBody, ScannedRecord};
use margate_engine::shard::members::Change;
use margate_engine::types::Position;
use margate_net::ids::CoreId;
use margate_net::message::EntryKind;
use serde_json::Value;

use super::problem::{Problem, Problems};
use crate::args::OutputFormat;
use crate::error::Failure;
use crate::key::show;
use crate::output::{Object, Output};

/// Records on their way to standard output.
pub(super) struct Records<'a> {
    output: &'a mut Output,
    printed: u64,
    failure: Option<Failure>,
}

impl<'a> Records<'a> {
    /// To this output.
    pub(super) fn new(output: &'a mut Output) -> Self {
        Self {
            output,
            printed: 0,
            failure: None,
        }
    }

    /// Prints a batch's damage, records and commits.
    pub(super) fn batch(&mut self, core: CoreId, batch: &ScannedBatch<'_>) -> ControlFlow<()> {
        if self.failure.is_some() {
            return ControlFlow::Break(());
        }
        let printed = match self.output.format() {
            OutputFormat::Text => self.batch_text(core, batch),
            OutputFormat::Json | OutputFormat::Jsonl => self.batch_objects(core, batch),
        };
        self.failure = printed.err();
        ControlFlow::Continue(())
    }

    /// Everything was printed.
    pub(super) fn finish(self) -> Result<(), Failure> {
        self.failure.map_or(Ok(()), Err)?;
        match self.output.format() {
            OutputFormat::Json if self.printed == 0 => self.output.line(&format!("{JSON_START}]}}")),
            OutputFormat::Json => self.output.line("]}"),
            OutputFormat::Text | OutputFormat::Jsonl => Ok(()),
        }
    }

    fn batch_text(&mut self, core: CoreId, batch: &ScannedBatch<'_>) -> Result<(), Failure> {
        let sequence = batch.sequence;
        for line in damage_lines(batch) {
            self.output.line(&format!("core {core} batch {sequence} damage: {line}"))?;
        }
        for record in batch.records() {
            let at = place(record.position);
            let name = record.name;
            let space = record.space;
            let what = describe(&record.body);
            self.output
                .line(&format!("core {core} {at} batch {sequence} {name} space {space} {what}"))?;
            for (position, effect) in effects_of(&record) {
                self.output.line(&format!("    {} {}", place(position), describe_effect(&effect)))?;
            }
        }
        for (name, commit) in batch.commits() {
            let at = place(batch.position);
            self.output
                .line(&format!("core {core} {at} batch {sequence} {name} commit {commit}"))?;
        }
        Ok(())
    }

    fn batch_objects(&mut self, core: CoreId, batch: &ScannedBatch<'_>) -> Result<(), Failure> {
        let of_batch = |position| at(Object::default().field("core", core.0), position).field("batch", batch.sequence);
        for line in damage_lines(batch) {
            self.object(of_batch(batch.position).field("kind", "damage").field("damage", line))?;
        }
        for record in batch.records() {
            self.object(record_object(of_batch(record.position), &record))?;
        }
        for (name, commit) in batch.commits() {
            let object = of_batch(batch.position).field("kind", "commit");
            let object = object.field("shard", name.shard.0).field("replica", name.replica.0);
            self.object(object.field("commit", commit.0))?;
        }
        Ok(())
    }

    fn object(&mut self, object: Object) -> Result<(), Failure> {
        if self.output.format() == OutputFormat::Jsonl {
            return self.output.object(object);
        }
        let before = if self.printed == 0 { JSON_START } else { "," };
        self.printed += 1;
        self.output.bytes(format!("{before}{}", Value::from(object)).as_bytes())
    }
}

const JSON_START: &str = "{\"records\":[";

fn damage_lines(batch: &ScannedBatch<'_>) -> Vec<String> {
    let mut problems = Problems::default();
    batch
        .damage()
        .iter()
        .for_each(|damage| problems.add(Problem::Damage(damage.clone())));
    problems.lines().collect()
}

/// `SEGMENT:OFFSET`.
fn place(position: Position) -> String {
    format!("{}:{}", position.segment, position.offset)
}

fn at(object: Object, position: Position) -> Object {
    object.field("segment", position.segment).field("offset", position.offset)
}

/// The effects of an entry or of copies, with their places; none where it has none or makes no sense.
fn effects_of<'a>(record: &ScannedRecord<'a>) -> Vec<(Position, Effect<'a>)> {
    let (RecordBody::Entry {
        kind: EntryKind::Normal,
        data,
        data_position,
        ..
    }
    | RecordBody::Relocation { data, data_position }) = record.body
    else {
        return Vec::new();
    };
    let Ok(parsed) = EntryData::parse(data) else { return Vec::new() };
    let place = |offset: u32| Position {
        segment: data_position.segment,
        offset: data_position.offset.saturating_add(offset),
    };
    parsed.effects().map(|(offset, effect)| (place(offset), effect)).collect()
}

/// A record's kind as `docs/format.md` names it.
fn kind_name(body: &RecordBody<'_>) -> String {
    match body {
        RecordBody::Entry { .. } => "entry".to_owned(),
        RecordBody::HardState(_) => "hard_state".to_owned(),
        RecordBody::Checkpoint { .. } => "checkpoint".to_owned(),
        RecordBody::Relocation { .. } => "relocation".to_owned(),
        RecordBody::ReplicaEnd => "replica_end".to_owned(),
        RecordBody::Unknown { kind } => format!("kind_{kind}"),
    }
}

fn describe(body: &RecordBody<'_>) -> String {
    let kind = kind_name(body);
    match body {
        RecordBody::Entry {
            term,
            index,
            kind: EntryKind::Normal,
            data,
            ..
        } => match EntryData::parse(data) {
            Ok(parsed) => format!(
                "{kind} {index} term {term}, {} effects, {} bytes",
                parsed.effects().count(),
                data.len()
            ),
            Err(fault) => format!("{kind} {index} term {term}, {} bytes that make no sense: {fault}", data.len()),
        },
        RecordBody::Entry {
            term,
            index,
            kind: EntryKind::Membership,
            data,
            ..
        } => match Change::parse(data) {
            Some((change, _)) => format!("{kind} {index} term {term}, {}", describe_change(&change)),
            None => format!("{kind} {index} term {term}, membership, {} bytes that make no sense", data.len()),
        },
        RecordBody::HardState(state) => format!("{kind} term {} vote {}", state.term, state.vote),
        RecordBody::Checkpoint {
            applied,
            applied_term,
            part,
            parts,
            kept_from,
            state,
        } => format!(
            "{kind} of entry {applied} term {applied_term}, log kept from segment {kept_from}, part {} of {parts}, {} bytes",
            part + 1,
            state.len()
        ),
        RecordBody::Relocation { data, .. } => match EntryData::parse(data) {
            Ok(parsed) => format!("{kind} of {} effects, {} bytes", parsed.effects().count(), data.len()),
            Err(fault) => format!("{kind} of {} bytes that make no sense: {fault}", data.len()),
        },
        RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => kind,
    }
}

fn describe_change(change: &Change) -> String {
    match change {
        Change::Admit(home) => format!(
            "membership: replica {} of node {} core {} is admitted, data directory {}",
            home.replica, home.node, home.core, home.directory
        ),
        Change::Dismiss(learner) => format!("membership: replica {learner}, which never voted, is dismissed"),
        Change::Leave => "membership: the change is done".to_owned(),
        Change::Replace { new, old } => format!("membership: replica {new} replaces replica {old}"),
    }
}

fn describe_effect(effect: &Effect<'_>) -> String {
    let (kind, key, version) = (effect_name(effect.kind), show(effect.key), effect.version);
    match effect.kind {
        EffectKind::Put => format!("{kind} {key} version {version}, {} bytes", effect.value.len()),
        EffectKind::Delete => format!("{kind} {key} version {version}"),
    }
}

fn effect_name(kind: EffectKind) -> &'static str {
    match kind {
        EffectKind::Put => "key_set",
        EffectKind::Delete => "key_del",
    }
}

fn record_object(object: Object, record: &ScannedRecord<'_>) -> Object {
    let object = object
        .field("kind", kind_name(&record.body))
        .field("shard", record.name.shard.0)
        .field("replica", record.name.replica.0)
        .field("space", record.space.0)
        .field("wall_ns", record.timestamp.0);
    match record.body {
        RecordBody::Entry {
            term, index, kind, data, ..
        } => {
            let change = match kind {
                EntryKind::Normal => None,
                EntryKind::Membership => Change::parse(data).map(|(change, _)| describe_change(&change)),
            };
            object
                .field("index", index.0)
                .field("term", term.0)
                .field("membership", kind == EntryKind::Membership)
                .field("change", change)
                .field("bytes", data.len())
                .field("effects", effect_objects(record))
        }
        RecordBody::HardState(state) => object.field("term", state.term.0).field("vote", state.vote.0),
        RecordBody::Checkpoint {
            applied,
            applied_term,
            part,
            parts,
            kept_from,
            state,
        } => object
            .field("applied", applied.0)
            .field("applied_term", applied_term.0)
            .field("part", part)
            .field("parts", parts)
            .field("kept_from", kept_from)
            .field("bytes", state.len()),
        RecordBody::Relocation { data, .. } => object.field("bytes", data.len()).field("effects", effect_objects(record)),
        RecordBody::ReplicaEnd | RecordBody::Unknown { .. } => object,
    }
}

fn effect_objects(record: &ScannedRecord<'_>) -> Vec<Value> {
    let effects = effects_of(record);
    effects.iter().map(|(place, effect)| effect_object(*place, effect).into()).collect()
}

fn effect_object(position: Position, effect: &Effect<'_>) -> Object {
    at(Object::default().field("kind", effect_name(effect.kind)), position)
        .bytes("key", effect.key)
        .field("version", effect.version.0)
        .field("value_bytes", effect.value.len())
}
