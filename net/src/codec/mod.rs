//! Contents of frames: our words to bytes and back, one file per conversation.
//!
//! Encoding appends whole frames to a `Vec` that its caller sends in one write; [`FrameWriter`] only keeps
//! scratch space. Decoding verifies the flatbuffer once, then makes [`crate::message`] values whose keys
//! and values are slices of the frame.
//!
//! Not here, on purpose: checksums and lengths of frames (`frame`), what to do with what came.

mod bootstrap;
mod map;
mod measures;
mod member;
mod peer;
mod receive;
mod reply;
mod request;
mod session;
mod status;

use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, Follow, Verifiable, VerifierOptions};

pub use bootstrap::{Create, CreateAnswer, CreateRefusal, DirectoryState, ProbeAnswer};
pub use bootstrap::{decode_create, decode_create_reply, decode_probe, decode_probe_reply};
pub use map::{MapBytesError, decode_map, decode_map_reply, decode_map_request, encode_map};
pub use member::decode_member;
pub use peer::{decode_peer, peer_message_payload_bytes};
pub use receive::{ReceivedRequest, decode_requests};
pub use reply::decode_replies;
pub use request::{OperationKind, RawRequest, flag, request_payload_bytes};
pub use session::{decode_goodbye, decode_hello, decode_welcome};
pub use status::{decode_status_reply, decode_status_request};

use crate::frame::{Frame, FrameError, FrameKind, begin, finish};
use crate::generated::margate::wire;
use crate::limits::BODY_BYTES_MAX;

/// Writes frames. Keep one per connection or core: its scratch space is reused.
#[derive(Default)]
pub struct FrameWriter {
    builder: FlatBufferBuilder<'static>,
    operations: Vec<wire::OperationFields>,
    replies: Vec<wire::ReplyFields>,
    rows: Vec<wire::RowFields>,
    messages: Vec<wire::PeerMessageFields>,
    entries: Vec<wire::PeerEntryFields>,
}

impl FrameWriter {
    /// A writer with empty scratch space.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A frame whose body is what the builder has finished, without payload.
    fn finished_frame(&mut self, out: &mut Vec<u8>, kind: FrameKind, request_id: u64) {
        let start = begin(out, self.builder.finished_data());
        finish(out, start, kind, request_id);
    }

    /// A frame without body and payload.
    fn bare_frame(out: &mut Vec<u8>, kind: FrameKind, request_id: u64) {
        let start = begin(out, &[]);
        finish(out, start, kind, request_id);
    }

    /// A frame whose payload is a flatbuffer.
    fn document_frame(out: &mut Vec<u8>, kind: FrameKind, request_id: u64, document: &[u8]) {
        let start = begin(out, &[]);
        out.extend_from_slice(document);
        finish(out, start, kind, request_id);
    }
}

/// What one frame may hold, or what one item of it takes.
#[derive(Clone, Copy, Default)]
struct Size {
    items: usize,
    nested: usize,
    payload: usize,
}

/// How many items of the front fit one frame together; at least one, since each fits alone.
fn fitting<T>(items: &[T], max: Size, size_of: impl Fn(&T) -> Size) -> usize {
    let mut sum = Size::default();
    for (count, item) in items.iter().enumerate() {
        let size = size_of(item);
        sum.items += 1;
        sum.nested += size.nested;
        sum.payload += size.payload;
        if sum.items > max.items || sum.nested > max.nested || sum.payload > max.payload {
            return count.max(1);
        }
    }
    items.len()
}

/// The verified root of a frame's body, or why there is none.
fn root<'a, T>(frame: &'a Frame, expected: FrameKind) -> Result<T::Inner, FrameError>
where
    T: Follow<'a> + Verifiable + 'a,
{
    expect_kind(frame, expected)?;
    verified::<T>(&frame.body, BODY_BYTES_MAX).ok_or(FrameError::Malformed {
        kind: frame.kind,
        what: "its body is not the flatbuffer of its kind",
    })
}

/// The verified root of a flatbuffer of at most `max` bytes. None of ours nests tables.
fn verified<'a, T>(bytes: &'a [u8], max: usize) -> Option<T::Inner>
where
    T: Follow<'a> + Verifiable + 'a,
{
    let options = VerifierOptions {
        max_depth: 8,
        max_tables: 4,
        max_apparent_size: max,
        ignore_missing_null_terminator: false,
    };
    flatbuffers::root_with_opts::<T>(&options, bytes).ok()
}

fn expect_kind(frame: &Frame, expected: FrameKind) -> Result<(), FrameError> {
    if frame.kind == expected {
        Ok(())
    } else {
        Err(FrameError::UnexpectedKind {
            found: frame.kind,
            expected,
        })
    }
}

/// Refuses a vector that is longer than its cap, before anything is allocated for it.
fn check_count(frame: &Frame, count: usize, max: usize, what: &'static str) -> Result<(), FrameError> {
    if count <= max {
        Ok(())
    } else {
        Err(FrameError::Malformed { kind: frame.kind, what })
    }
}

/// Cuts a payload into the pieces that a body names, in order.
struct Pieces {
    kind: FrameKind,
    rest: Bytes,
}

impl Pieces {
    fn of(frame: &Frame) -> Self {
        Self {
            kind: frame.kind,
            rest: frame.payload.clone(),
        }
    }

    /// The next piece.
    fn take(&mut self, length: u32) -> Result<Bytes, FrameError> {
        let length = length as usize;
        if length > self.rest.len() {
            return Err(self.malformed("its lengths add up to more than its payload"));
        }
        Ok(self.rest.split_to(length))
    }

    /// The next piece, if its flag says that there is one.
    fn take_if(&mut self, present: bool, length: u32) -> Result<Option<Bytes>, FrameError> {
        match (present, length) {
            (true, _) => self.take(length).map(Some),
            (false, 0) => Ok(None),
            (false, _) => Err(self.malformed("a piece has a length but is not there")),
        }
    }

    /// All pieces were taken.
    fn end(&self) -> Result<(), FrameError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("its payload is longer than its lengths add up to"))
        }
    }

    fn malformed(&self, what: &'static str) -> FrameError {
        FrameError::Malformed { kind: self.kind, what }
    }
}

fn id128(id: u128) -> wire::Id128 {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
    wire::Id128::new((id >> 64) as u64, id as u64)
}

fn u128_of(id: &wire::Id128) -> u128 {
    u128::from(id.high()) << 64 | u128::from(id.low())
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("pieces are bounded by the payload's cap")
}

fn count_of<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).expect("counts are bounded by the body's cap")
}
