//! Raft messages between two cores.
//!
//! One round travels in as many frames as their caps ask for, all with its round and echo. Each message
//! is a fixed-size header; its context, then its entries' data, lie in the payload.

use bytes::Bytes;

use super::{FrameWriter, Pieces, Size, check_count, count_of, fitting, length_of, root};
use crate::frame::{Frame, FrameError, FrameKind, begin, finish};
use crate::generated::margate::wire;
use crate::ids::{LogIndex, ReplicaId, ShardId, Term};
use crate::limits::{COUNTER_MAX, PAYLOAD_BYTES_MAX, PEER_ENTRIES_PER_FRAME_MAX, PEER_MESSAGES_PER_FRAME_MAX};
use crate::message::{DiskRoom, DiskState, EntryKind, PeerBatch, PeerEntry, PeerMessage, PeerMessageKind};

const FRAME_MAX: Size = Size {
    items: PEER_MESSAGES_PER_FRAME_MAX,
    nested: PEER_ENTRIES_PER_FRAME_MAX,
    payload: PAYLOAD_BYTES_MAX,
};

/// Bytes of payload that a message takes in its frame; one message has at most
/// [`PAYLOAD_BYTES_MAX`] of them and at most [`PEER_ENTRIES_PER_FRAME_MAX`] entries.
#[must_use]
pub fn peer_message_payload_bytes(message: &PeerMessage) -> usize {
    message.context.len() + message.entries.iter().map(|entry| entry.data.len()).sum::<usize>()
}

impl FrameWriter {
    /// Appends this round in as many frames as their caps ask for, at least one: an empty round is a beat.
    ///
    /// # Panics
    /// If one message alone is over the caps of a frame (see [`peer_message_payload_bytes`]); the limits
    /// given to Raft keep below them.
    pub fn peer(&mut self, out: &mut Vec<u8>, batch: &PeerBatch) {
        let mut rest = batch.messages.as_slice();
        loop {
            let (frame, later) = rest.split_at(fitting(rest, FRAME_MAX, size_of));
            self.peer_frame(out, batch, frame);
            rest = later;
            if rest.is_empty() {
                return;
            }
        }
    }

    fn peer_frame(&mut self, out: &mut Vec<u8>, batch: &PeerBatch, messages: &[PeerMessage]) {
        self.messages.clear();
        self.messages.extend(messages.iter().map(message_fields));
        self.entries.clear();
        self.entries
            .extend(messages.iter().flat_map(|message| &message.entries).map(entry_fields));
        assert!(
            self.entries.len() <= PEER_ENTRIES_PER_FRAME_MAX,
            "{} entries are too many for a frame",
            self.entries.len()
        );
        self.builder.reset();
        let messages_vector = Some(self.builder.create_vector(&self.messages));
        let entries = Some(self.builder.create_vector(&self.entries));
        let args = wire::PeerArgs {
            round: batch.round,
            echo: batch.echo,
            messages: messages_vector,
            entries,
            disk_free: batch.disk.free_bytes,
            disk_room: batch.disk.room as u8,
        };
        let body = wire::Peer::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        let start = begin(out, self.builder.finished_data());
        for message in messages {
            out.extend_from_slice(&message.context);
            for entry in &message.entries {
                out.extend_from_slice(&entry.data);
            }
        }
        finish(out, start, FrameKind::Peer, 0);
    }
}

/// The messages of a frame.
///
/// # Errors
/// [`FrameError`] if the frame makes no sense, which includes a term or index over [`COUNTER_MAX`].
pub fn decode_peer(frame: &Frame) -> Result<PeerBatch, FrameError> {
    let body = root::<wire::Peer<'_>>(frame, FrameKind::Peer)?;
    let headers = body.messages();
    check_count(frame, headers.len(), PEER_MESSAGES_PER_FRAME_MAX, "it has too many messages")?;
    check_count(frame, body.entries().len(), PEER_ENTRIES_PER_FRAME_MAX, "it has too many entries")?;
    let mut pieces = Pieces::of(frame);
    let mut entries = body.entries().iter();
    let mut messages = Vec::with_capacity(headers.len());
    for fields in headers {
        let context = pieces.take(fields.context_length())?;
        let entries = take_entries(fields.entries(), &mut pieces, &mut entries)?;
        messages.push(message(fields, context, entries, &pieces)?);
    }
    pieces.end()?;
    let room = DiskRoom::from_code(body.disk_room()).ok_or_else(|| pieces.malformed("its disk's room is unknown"))?;
    if entries.next().is_some() {
        return Err(pieces.malformed("it has entries that belong to no message"));
    }
    Ok(PeerBatch {
        round: body.round(),
        echo: body.echo(),
        disk: DiskState {
            free_bytes: body.disk_free(),
            room,
        },
        messages,
    })
}

type Entries<'a> = flatbuffers::VectorIter<'a, wire::PeerEntryFields>;

fn take_entries(count: u32, pieces: &mut Pieces, headers: &mut Entries<'_>) -> Result<Vec<PeerEntry>, FrameError> {
    let count = count as usize;
    if count > headers.len() {
        return Err(pieces.malformed("a message claims more entries than there are"));
    }
    let mut entries = Vec::with_capacity(count);
    for fields in headers.take(count) {
        let kind = EntryKind::from_code(fields.kind());
        entries.push(PeerEntry {
            term: Term(counter(fields.term(), pieces)?),
            index: LogIndex(counter(fields.index(), pieces)?),
            kind: kind.ok_or_else(|| pieces.malformed("an entry has an unknown kind"))?,
            data: pieces.take(fields.data_length())?,
        });
    }
    Ok(entries)
}

fn message(fields: &wire::PeerMessageFields, context: Bytes, entries: Vec<PeerEntry>, pieces: &Pieces) -> Result<PeerMessage, FrameError> {
    let kind = PeerMessageKind::from_code(fields.kind());
    Ok(PeerMessage {
        shard: ShardId(fields.shard()),
        from: ReplicaId(fields.from()),
        to: ReplicaId(fields.to()),
        kind: kind.ok_or_else(|| pieces.malformed("a message has an unknown kind"))?,
        term: Term(counter(fields.term(), pieces)?),
        log_term: Term(counter(fields.log_term(), pieces)?),
        index: LogIndex(counter(fields.index(), pieces)?),
        commit: LogIndex(counter(fields.commit(), pieces)?),
        commit_term: Term(counter(fields.commit_term(), pieces)?),
        reject: match fields.reject() {
            0 => false,
            1 => true,
            _ => return Err(pieces.malformed("a message's reject is neither 0 nor 1")),
        },
        reject_hint: LogIndex(counter(fields.reject_hint(), pieces)?),
        priority: fields.priority(),
        context,
        entries,
    })
}

/// A term or index that can be counted on from without overflow.
fn counter(value: u64, pieces: &Pieces) -> Result<u64, FrameError> {
    if value <= COUNTER_MAX {
        Ok(value)
    } else {
        Err(pieces.malformed("a term or index is impossibly large"))
    }
}

fn size_of(message: &PeerMessage) -> Size {
    Size {
        items: 1,
        nested: message.entries.len(),
        payload: peer_message_payload_bytes(message),
    }
}

fn message_fields(message: &PeerMessage) -> wire::PeerMessageFields {
    wire::PeerMessageFields::new(
        message.shard.0,
        message.from.0,
        message.to.0,
        message.term.0,
        message.log_term.0,
        message.index.0,
        message.commit.0,
        message.commit_term.0,
        message.reject_hint.0,
        message.priority,
        length_of(&message.context),
        count_of(&message.entries),
        message.kind as u8,
        u8::from(message.reject),
    )
}

fn entry_fields(entry: &PeerEntry) -> wire::PeerEntryFields {
    wire::PeerEntryFields::new(entry.term.0, entry.index.0, length_of(&entry.data), entry.kind as u8)
}
