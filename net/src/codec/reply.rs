//! Outcomes of operations.
//!
//! Each reply is a fixed-size header and up to two pieces: key (or where a list resumes), then value. A
//! list's rows are headers of their own, in the order of their replies, and their keys and values follow
//! their reply's pieces.

use super::{FrameWriter, Pieces, Size, check_count, count_of, fitting, length_of, root};
use crate::error::{Refusal, WireRefusal};
use crate::frame::{Frame, FrameError, FrameKind, begin, finish};
use crate::generated::margate::wire;
use crate::ids::{LogIndex, Version};
use crate::limits::{OPERATIONS_PER_FRAME_MAX, PAYLOAD_BYTES_MAX, REPLY_ROWS_PER_FRAME_MAX};
use crate::message::{Reply, Row, Success};

const REFUSED: u8 = 0;
const WRITTEN: u8 = 1;
const FOUND: u8 = 2;
const DELETED: u8 = 3;
const EXCHANGED: u8 = 4;
const SIZED: u8 = 5;
const LISTED: u8 = 6;

const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;
const HAS_VERSION: u8 = 4;

const FRAME_MAX: Size = Size {
    items: OPERATIONS_PER_FRAME_MAX,
    nested: REPLY_ROWS_PER_FRAME_MAX,
    payload: PAYLOAD_BYTES_MAX,
};

impl FrameWriter {
    /// Appends these replies in as many frames as their caps ask for; none for no replies.
    ///
    /// # Panics
    /// If one reply alone is over the caps of a frame; [`crate::limits::LIST_BYTES_MAX`] and
    /// [`crate::limits::VALUE_BYTES_MAX`] keep below them.
    pub fn replies(&mut self, out: &mut Vec<u8>, replies: &[Reply]) {
        let mut rest = replies;
        while !rest.is_empty() {
            let (frame, later) = rest.split_at(fitting(rest, FRAME_MAX, size_of));
            self.reply_frame(out, frame);
            rest = later;
        }
    }

    fn reply_frame(&mut self, out: &mut Vec<u8>, replies: &[Reply]) {
        self.replies.clear();
        self.rows.clear();
        for reply in replies {
            let parts = Parts::of(reply);
            self.replies.push(parts.fields(reply.id));
            self.rows.extend(parts.rows.iter().map(row_fields));
        }
        self.builder.reset();
        let replies_vector = Some(self.builder.create_vector(&self.replies));
        let rows = Some(self.builder.create_vector(&self.rows));
        let args = wire::RepliesArgs {
            replies: replies_vector,
            rows,
        };
        let body = wire::Replies::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        let start = begin(out, self.builder.finished_data());
        for reply in replies {
            Parts::of(reply).append_payload(out);
        }
        finish(out, start, FrameKind::Reply, 0);
    }
}

/// The replies of a frame.
///
/// # Errors
/// [`FrameError`] if the frame makes no sense, or a refusal in it is unknown to this build.
pub fn decode_replies(frame: &Frame) -> Result<Vec<Reply>, FrameError> {
    let body = root::<wire::Replies<'_>>(frame, FrameKind::Reply)?;
    let headers = body.replies();
    check_count(frame, headers.len(), OPERATIONS_PER_FRAME_MAX, "it has too many replies")?;
    check_count(frame, body.rows().len(), REPLY_ROWS_PER_FRAME_MAX, "it has too many rows")?;
    let mut pieces = Pieces::of(frame);
    let mut rows = body.rows().iter();
    let mut replies = Vec::with_capacity(headers.len());
    for fields in headers {
        replies.push(Reply {
            id: fields.id(),
            outcome: outcome(fields, &mut pieces, &mut rows)?,
        });
    }
    pieces.end()?;
    match rows.next() {
        None => Ok(replies),
        Some(_) => Err(pieces.malformed("it has rows that belong to no reply")),
    }
}

type Rows<'a> = flatbuffers::VectorIter<'a, wire::RowFields>;

fn outcome(fields: &wire::ReplyFields, pieces: &mut Pieces, rows: &mut Rows<'_>) -> Result<Result<Success, Refusal>, FrameError> {
    if fields.kind() == REFUSED {
        let wire = WireRefusal {
            code: fields.code(),
            a: fields.a(),
            b: fields.b(),
        };
        return Ok(Err(Refusal::from_wire(wire)?));
    }
    let has = |flag: u8| fields.flags() & flag != 0;
    let key = pieces.take_if(has(HAS_KEY), fields.key_length())?;
    let value = pieces.take_if(has(HAS_VALUE), fields.value_length())?;
    let version = has(HAS_VERSION).then_some(Version(fields.a()));
    let applied = LogIndex(fields.b());
    let malformed = pieces.malformed("a reply lacks its version or value");
    Ok(Ok(match fields.kind() {
        WRITTEN => Success::Written {
            version: version.ok_or(malformed)?,
            key,
            old_value: value,
        },
        FOUND => Success::Found {
            version: version.ok_or(malformed)?,
            value: value.ok_or(malformed)?,
            key,
            applied,
        },
        DELETED => Success::Deleted {
            version,
            key,
            old_value: value,
        },
        EXCHANGED => Success::Exchanged {
            version,
            key,
            old_value: value,
        },
        SIZED => Success::Sized {
            version: version.ok_or(malformed)?,
            size: fields.c(),
            key,
            applied,
        },
        LISTED => Success::Listed {
            rows: take_rows(fields.rows(), pieces, rows)?,
            resume: key,
            applied,
        },
        _ => return Err(pieces.malformed("a reply has an unknown kind")),
    }))
}

fn take_rows(count: u32, pieces: &mut Pieces, headers: &mut Rows<'_>) -> Result<Vec<Row>, FrameError> {
    let count = count as usize;
    if count > headers.len() {
        return Err(pieces.malformed("a reply claims more rows than there are"));
    }
    let mut rows = Vec::with_capacity(count);
    for fields in headers.take(count) {
        rows.push(Row {
            key: pieces.take(fields.key_length())?,
            version: Version(fields.version()),
            value: pieces.take_if(fields.flags() & HAS_VALUE != 0, fields.value_length())?,
        });
    }
    Ok(rows)
}

fn size_of(reply: &Reply) -> Size {
    let parts = Parts::of(reply);
    let of_rows = |row: &Row| row.key.len() + row.value.as_ref().map_or(0, |value| value.len());
    Size {
        items: 1,
        nested: parts.rows.len(),
        payload: parts.key.map_or(0, <[u8]>::len) + parts.value.map_or(0, <[u8]>::len) + parts.rows.iter().map(of_rows).sum::<usize>(),
    }
}

fn row_fields(row: &Row) -> wire::RowFields {
    let value = row.value.as_deref();
    let flags = if value.is_some() { HAS_VALUE } else { 0 };
    wire::RowFields::new(row.version.0, length_of(&row.key), length_of(value.unwrap_or_default()), flags)
}

/// What a reply consists of on the wire.
struct Parts<'a> {
    kind: u8,
    code: u16,
    a: u64,
    has_version: bool,
    b: u64,
    c: u64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    rows: &'a [Row],
}

impl<'a> Parts<'a> {
    fn of(reply: &'a Reply) -> Self {
        match &reply.outcome {
            Err(refusal) => Self::refused(refusal.to_wire()),
            Ok(success) => Self::succeeded(success),
        }
    }

    fn refused(wire: WireRefusal) -> Self {
        Self {
            code: wire.code,
            a: wire.a,
            b: wire.b,
            ..Self::bare(REFUSED)
        }
    }

    fn succeeded(success: &'a Success) -> Self {
        match success {
            Success::Written { version, key, old_value } => Self::wrote(WRITTEN, Some(*version), key, old_value),
            Success::Deleted { version, key, old_value } => Self::wrote(DELETED, *version, key, old_value),
            Success::Exchanged { version, key, old_value } => Self::wrote(EXCHANGED, *version, key, old_value),
            Success::Found {
                version,
                value,
                key,
                applied,
            } => Self {
                a: version.0,
                has_version: true,
                b: applied.0,
                key: key.as_deref(),
                value: Some(value),
                ..Self::bare(FOUND)
            },
            Success::Sized {
                version,
                size,
                key,
                applied,
            } => Self {
                a: version.0,
                has_version: true,
                b: applied.0,
                c: *size,
                key: key.as_deref(),
                ..Self::bare(SIZED)
            },
            Success::Listed { rows, resume, applied } => Self {
                b: applied.0,
                key: resume.as_deref(),
                rows,
                ..Self::bare(LISTED)
            },
        }
    }

    fn wrote(kind: u8, version: Option<Version>, key: &'a Option<bytes::Bytes>, old_value: &'a Option<bytes::Bytes>) -> Self {
        Self {
            a: version.map_or(0, |version| version.0),
            has_version: version.is_some(),
            key: key.as_deref(),
            value: old_value.as_deref(),
            ..Self::bare(kind)
        }
    }

    fn bare(kind: u8) -> Self {
        Self {
            kind,
            code: 0,
            a: 0,
            has_version: false,
            b: 0,
            c: 0,
            key: None,
            value: None,
            rows: &[],
        }
    }

    fn fields(&self, id: u64) -> wire::ReplyFields {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.key.is_some(), HAS_KEY) | flag(self.value.is_some(), HAS_VALUE) | flag(self.has_version, HAS_VERSION);
        wire::ReplyFields::new(
            id,
            self.a,
            self.b,
            self.c,
            length_of(self.key.unwrap_or_default()),
            length_of(self.value.unwrap_or_default()),
            count_of(self.rows),
            self.code,
            self.kind,
            flags,
        )
    }

    fn append_payload(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.unwrap_or_default());
        out.extend_from_slice(self.value.unwrap_or_default());
        for row in self.rows {
            out.extend_from_slice(&row.key);
            out.extend_from_slice(row.value.as_deref().unwrap_or_default());
        }
    }
}
