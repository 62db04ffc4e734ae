//! How things look in traces.

use std::collections::BTreeMap;

use margate_engine::index::{Generation, Slot};
use margate_engine::log::batch::ScannedBatch;
use margate_engine::log::effects::{EffectKind, EntryData};
use margate_engine::log::flush::Flush;
use margate_engine::log::record::RecordBody;
use margate_engine::log::scan::{ReadFault, ReadSegments, scan};
use margate_engine::log::segment::{LogConfig, ReadySegment};
use margate_engine::types::{Position, ReplicaName};
use margate_net::message::{EntryKind, MemberBody, MemberMessage, PeerMessage, PeerMessageKind, Success};

/// Effects of one entry shown in full.
const EFFECTS_SHOWN: usize = 4;
/// Bytes of a key or value shown in full.
const BYTES_SHOWN: usize = 24;

/// Bytes as text, long ones by their length.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    if bytes.len() <= BYTES_SHOWN {
        format!("{:?}", String::from_utf8_lossy(bytes))
    } else {
        format!("{} bytes", bytes.len())
    }
}

/// A replica's name.
pub(crate) fn name(name: ReplicaName) -> String {
    format!("s{}.r{}", name.shard, name.replica)
}

/// What a batch to write holds: read back the way a scan would.
pub(crate) fn flush(config: &LogConfig, salt: u64, flush: &Flush) -> String {
    let mut encoded = vec![0; flush.length];
    flush.encode_into(&mut encoded);
    let mut one = OneBatch {
        header: config
            .segment_header(ReadySegment {
                number: flush.segment,
                salt,
                life: 1,
            })
            .encode()
            .to_vec(),
        batch: encoded,
        at: Position {
            segment: flush.segment,
            offset: flush.offset,
        },
    };
    let (at, mut parts) = (one.at, Vec::new());
    scan(&mut one, config, Some(at), &mut |batch| parts = batch_parts(batch)).expect("a batch to write reads back");
    let what = if flush.seal { "seal" } else { "batch" };
    let parts: String = parts.into_iter().map(|part| format!("\n    {part}")).collect();
    format!("{what} {}{parts}", flush.sequence)
}

fn batch_parts(batch: &ScannedBatch<'_>) -> Vec<String> {
    let records = batch
        .records()
        .map(|record| format!("{} {}", name(record.name), body(&record.body)));
    let commits = batch.commits().map(|(of, commit)| format!("{} commit {commit}", name(of)));
    records.chain(commits).collect()
}

fn body(body: &RecordBody<'_>) -> String {
    match body {
        RecordBody::Entry {
            term, index, kind, data, ..
        } => format!("entry {index}@{term} {}", entry(*kind, data)),
        RecordBody::Relocation { data, .. } => format!("copies {}", entry(EntryKind::Normal, data)),
        RecordBody::ReplicaEnd => "end".to_owned(),
        RecordBody::HardState(state) => format!("hard state term {} vote {}", state.term, state.vote),
        RecordBody::Checkpoint { applied, part, parts, .. } => format!("checkpoint at {applied}, part {} of {parts}", part + 1),
        RecordBody::Unknown { kind } => format!("record of unknown kind {kind}"),
    }
}

/// An entry's effects.
pub(crate) fn entry(kind: EntryKind, data: &[u8]) -> String {
    match kind {
        EntryKind::Membership => return "membership".into(),
        EntryKind::Normal if data.is_empty() => return "empty".into(),
        EntryKind::Normal => {}
    }
    let Ok(entry) = EntryData::parse(data) else {
        return format!("{} bytes", data.len());
    };
    let effects: Vec<_> = entry
        .effects()
        .map(|(_, effect)| match effect.kind {
            EffectKind::Put => format!("put {} v{} {}", bytes(effect.key), effect.version, bytes(effect.value)),
            EffectKind::Delete => format!("delete {} v{}", bytes(effect.key), effect.version),
        })
        .collect();
    match effects.get(..EFFECTS_SHOWN) {
        Some(first) if effects.len() > EFFECTS_SHOWN => format!("[{}, … {} more]", first.join(", "), effects.len() - EFFECTS_SHOWN),
        Some(_) | None => format!("[{}]", effects.join(", ")),
    }
}

/// One message between replicas; its shard and ends are the caller's to show.
pub(crate) fn message(message: &PeerMessage) -> String {
    let (term, index, commit) = (message.term, message.index, message.commit);
    let refusal = if message.reject { "no " } else { "" };
    match message.kind {
        PeerMessageKind::Append => {
            let entries: Vec<_> = message
                .entries
                .iter()
                .map(|entry| format!("{}@{}", entry.index, entry.term))
                .collect();
            let entries = match (entries.first(), entries.last()) {
                (Some(first), Some(last)) if entries.len() > 1 => format!("{first}..{last}"),
                (Some(only), _) => only.clone(),
                (None, _) => "nothing".into(),
            };
            format!("append term {term}: {entries} after {index}@{}, commit {commit}", message.log_term)
        }
        PeerMessageKind::AppendResponse if message.reject => {
            format!("append refused term {term}: not after {index}, try {}", message.reject_hint)
        }
        PeerMessageKind::AppendResponse => format!("append done term {term}: up to {index}, commit {commit}"),
        PeerMessageKind::Heartbeat => format!("heartbeat term {term}: commit {commit}{}", context(message)),
        PeerMessageKind::HeartbeatResponse => format!("heartbeat answer term {term}{}", context(message)),
        PeerMessageKind::PreVote => format!("pre-vote term {term}? log ends at {index}@{}", message.log_term),
        PeerMessageKind::PreVoteResponse => format!("pre-vote answer term {term}: {refusal}go on"),
        PeerMessageKind::Vote => format!("vote term {term}? log ends at {index}@{}", message.log_term),
        PeerMessageKind::VoteResponse => format!("vote answer term {term}: {refusal}vote"),
        PeerMessageKind::TimeoutNow => format!("campaign now, term {term}"),
    }
}

/// Which read a heartbeat confirms.
fn context(message: &PeerMessage) -> String {
    match message.context.split_first_chunk::<8>() {
        Some((term, round)) if round.len() == 8 => {
            let round: [u8; 8] = round.try_into().expect("the length was just compared");
            format!(", read round {} of term {}", u64::from_le_bytes(round), u64::from_le_bytes(*term))
        }
        Some(_) | None => String::new(),
    }
}

/// One message about members; its shard is the caller's to show.
pub(crate) fn member(message: &MemberMessage) -> String {
    let (from, to) = (message.from, message.to);
    let what = match &message.body {
        MemberBody::Admit { directory } => return format!("member r{to}: admitted with directory {}", directory.0),
        MemberBody::Join { directory } => return format!("member: asks to join with directory {}", directory.0),
        MemberBody::Begin {
            applied,
            applied_term,
            state,
        } => format!("begins at {applied}@{applied_term}, state of {} bytes", state.len()),
        MemberBody::End { number, term } => format!("ends with {number}, term {term}"),
        MemberBody::Removed => return format!("member r{to}: is one no more, says r{from}"),
        MemberBody::GiveUp => "given up".to_owned(),
        MemberBody::Have { data } => {
            return format!(
                "repair {} r{from} -> r{to}: has {}",
                message.attempt,
                entry(EntryKind::Normal, data)
            );
        }
        MemberBody::HaveNot => return format!("repair {} r{from} -> r{to}: has it not", message.attempt),
        MemberBody::Want { version, key } => {
            return format!("repair {} r{from} -> r{to}: wants {} v{version}", message.attempt, bytes(key));
        }
        MemberBody::Rows { number, data } => format!("rows {number}: {}", entry(EntryKind::Normal, data)),
        MemberBody::Taken { number } => format!("taken up to {number}"),
    };
    format!("image {} r{from} -> r{to}: {what}", message.attempt)
}

/// A success.
pub(crate) fn success(success: &Success) -> String {
    let extra = |key: &Option<bytes::Bytes>, old: &Option<bytes::Bytes>| {
        let key = key.as_ref().map(|key| format!(", key {}", self::bytes(key)));
        let old = old.as_ref().map(|old| format!(", was {}", self::bytes(old)));
        key.unwrap_or_default() + &old.unwrap_or_default()
    };
    match success {
        Success::Deleted { version, key, old_value } => match version {
            Some(version) => format!("deleted v{version}{}", extra(key, old_value)),
            None => format!("not deleted{}", extra(key, old_value)),
        },
        Success::Exchanged { version, key, old_value } => match version {
            Some(version) => format!("exchanged v{version}{}", extra(key, old_value)),
            None => format!("not exchanged{}", extra(key, old_value)),
        },
        Success::Found {
            version,
            value,
            key,
            applied,
        } => format!("found v{version} {}{}, applied {applied}", self::bytes(value), extra(key, &None)),
        Success::Listed { rows, resume, applied } => {
            let rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    let value = row.value.as_ref().map(|value| format!(" {}", self::bytes(value)));
                    format!("{} v{}{}", self::bytes(&row.key), row.version, value.unwrap_or_default())
                })
                .collect();
            let resume = resume
                .as_ref()
                .map_or("at the end".into(), |key| format!("resume {}", self::bytes(key)));
            format!("listed [{}], {resume}, applied {applied}", rows.join(", "))
        }
        Success::Sized {
            version,
            size,
            key,
            applied,
        } => format!("size {size} v{version}{}, applied {applied}", extra(key, &None)),
        Success::Written { version, key, old_value } => format!("written v{version}{}", extra(key, old_value)),
    }
}

/// What goes into the index.
pub(crate) fn generation(generation: &Generation) -> String {
    let mut spaces: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (space, key, slot) in generation.rows.iter() {
        spaces.entry(space.0).or_default().push(match slot {
            Slot::Put(row) => format!("{} v{}", bytes(key), row.version),
            Slot::Deleted(version) => format!("{} deleted v{version}", bytes(key)),
        });
    }
    let rows = spaces.into_iter().map(|(space, rows)| {
        let more = rows.len().saturating_sub(EFFECTS_SHOWN);
        let shown = rows.get(..EFFECTS_SHOWN.min(rows.len())).unwrap_or_default().join(", ");
        let more = if more > 0 { format!(", … {more} more") } else { String::new() };
        format!("\n    space {space}: {shown}{more}")
    });
    let marks = generation.replicas.iter().map(|marks| {
        let (applied, term, commit) = (marks.applied, marks.applied_term, marks.commit);
        let state = marks.hard_state;
        format!(
            "\n    {} applied {applied}@{term}, commit {commit}, term {} vote {}{}",
            name(marks.name),
            state.term,
            state.vote,
            if marks.damaged { ", damaged" } else { "" }
        )
    });
    let parts: String = rows.chain(marks).collect();
    format!(
        "generation {}, replay from batch {}{parts}",
        generation.number, generation.core.replay_sequence
    )
}

/// A segment with nothing but one batch in it.
struct OneBatch {
    header: Vec<u8>,
    batch: Vec<u8>,
    at: Position,
}

impl ReadSegments for OneBatch {
    fn segments(&self) -> Vec<u32> {
        vec![self.at.segment]
    }

    fn segment_bytes(&self, _segment: u32) -> u64 {
        u64::from(self.at.offset) + self.batch.len() as u64
    }

    fn read(&mut self, _segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), ReadFault> {
        let mut file = self.header.clone();
        file.resize(self.at.offset as usize, 0);
        file.extend_from_slice(&self.batch);
        let from = offset as usize;
        buffer.copy_from_slice(&file[from..from + buffer.len()]);
        Ok(())
    }
}
