//! Frames: a fixed header of 32 bytes, a small body, a raw payload.
//!
//! ```text
//! 0        4         6      7       8            16             20                24              28
//! | magic  | version | kind | flags | request id | body length  | payload length  | content crc32 | header crc32 |
//! ```
//!
//! Integers are little endian. The content checksum covers body and payload, the header's its first 28
//! bytes. Nothing is believed, and nothing allocated, before the header's checksum and both lengths are
//! checked against the caps of the frame's kind; before the handshake only bounded kinds pass at all.
//!
//! Not here, on purpose: what bodies mean (`codec`), who may send what (`handshake`), sockets (`runtime`).

use bytes::{Buf, Bytes, BytesMut};

use crate::error::UnknownRefusal;
use crate::limits::{BODY_BYTES_MAX, HEADER_BYTES, HELLO_BYTES_MAX, MEMBER_BODY_BYTES_MAX, PAYLOAD_BYTES_MAX, STATUS_REQUEST_BYTES_MAX};
use crate::map::MapError;

/// The first four bytes of every frame.
pub const MAGIC: u32 = u32::from_le_bytes(*b"MRGT");
/// The protocol this build speaks; a frame of any other is refused.
pub const PROTOCOL_VERSION: u16 = 0;

/// One whole frame, its checksums verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// Names a question, so that its answer can be told from others; 0 in batches, whose items have ids.
    pub request_id: u64,
    /// A flatbuffer, or nothing.
    pub body: Bytes,
    /// Raw bytes: keys and values one after the other, or a document.
    pub payload: Bytes,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// The first frame of a connection, from the side that dialled.
    Hello = 1,
    /// Its answer: the connection is open.
    Welcome = 2,
    /// The last frame of a connection, with the reason.
    Goodbye = 3,
    /// Operations of a client.
    Request = 4,
    /// Their outcomes.
    Reply = 5,
    /// Raft messages between two cores.
    Peer = 6,
    /// Asks for the map.
    MapRequest = 7,
    /// The map.
    MapReply = 8,
    /// Asks how a core is.
    StatusRequest = 9,
    /// How it is.
    StatusReply = 10,
    /// Asks whether a data directory is empty.
    Probe = 11,
    /// Whether it is.
    ProbeReply = 12,
    /// Makes an empty data directory a member of a new deployment.
    Create = 13,
    /// Whether it is one now.
    CreateReply = 14,
    /// What makes and mends members of a shard.
    Member = 15,
}

/// How much of the conversation is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the handshake is done: only kinds with a small body and no payload.
    Handshake,
    /// After it: every kind, within its caps.
    Established,
}

/// Bytes do not make a frame, or a frame's contents do not mean anything. The connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The stream does not start with a frame.
    #[error("the peer sent magic {found:#010x}, not a frame; check that the address and port are a Margate core's")]
    BadMagic {
        /// The four bytes, little endian.
        found: u32,
    },
    /// A frame of another protocol.
    #[error("the peer speaks protocol {found} and this build {supported}; run one version on both sides")]
    UnsupportedVersion {
        /// The peer's protocol version.
        found: u16,
        /// This build's.
        supported: u16,
    },
    /// A kind that this protocol does not have.
    #[error("the peer sent a frame of kind {found}, which this protocol does not have; run one version on both sides")]
    UnknownKind {
        /// The kind.
        found: u8,
    },
    /// Flags that this protocol does not have.
    #[error("the peer sent frame flags {found:#04x}, which this protocol does not have; run one version on both sides")]
    UnknownFlags {
        /// All flags of the frame.
        found: u8,
    },
    /// The body is longer than its kind may have at this stage.
    #[error("the body of a {kind:?} frame has {length} bytes and at most {max} are allowed here; send less in one frame")]
    BodyTooLong {
        /// The frame's kind.
        kind: FrameKind,
        /// Bytes claimed.
        length: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// The payload is longer than its kind may have at this stage.
    #[error("the payload of a {kind:?} frame has {length} bytes and at most {max} are allowed here; send less in one frame")]
    PayloadTooLong {
        /// The frame's kind.
        kind: FrameKind,
        /// Bytes claimed.
        length: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// The header was changed on its way.
    #[error("a frame header has checksum {found:#010x} where {computed:#010x} is right; the network or the peer damages bytes, reconnect")]
    HeaderChecksum {
        /// As it came.
        found: u32,
        /// As it should have been.
        computed: u32,
    },
    /// Body or payload were changed on their way.
    #[error(
        "a {kind:?} frame has checksum {found:#010x} where {computed:#010x} is right; the network or the peer damages bytes, reconnect"
    )]
    ContentChecksum {
        /// The frame's kind.
        kind: FrameKind,
        /// As it came.
        found: u32,
        /// As it should have been.
        computed: u32,
    },
    /// The contents do not follow `docs/protocol.md`.
    #[error("a {kind:?} frame is malformed: {what}; run one version on both sides")]
    Malformed {
        /// The frame's kind.
        kind: FrameKind,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A frame of a kind that makes no sense here.
    #[error("a {found:?} frame came where {expected:?} was expected; a connection starts with Hello and keeps to its role")]
    UnexpectedKind {
        /// What came.
        found: FrameKind,
        /// What was expected; Hello stands for all kinds of the handshake.
        expected: FrameKind,
    },
    /// A reply's refusal is unknown.
    #[error(transparent)]
    UnknownRefusal(#[from] UnknownRefusal),
    /// A map was sent whose parts do not fit together.
    #[error("the peer sent an impossible map: {0}")]
    ImpossibleMap(#[from] MapError),
}

/// Takes one whole frame off the front of `buffer`, or `None` if more bytes are needed ([`missing`] says
/// how many).
///
/// # Errors
/// [`FrameError`] as soon as the bytes can no longer become an allowed frame; the stream is useless then.
pub fn take_frame(buffer: &mut BytesMut, stage: Stage) -> Result<Option<Frame>, FrameError> {
    let Some(header) = Header::read(buffer, stage)? else {
        return Ok(None);
    };
    if buffer.len() < header.frame_bytes() {
        return Ok(None);
    }
    let mut content = buffer.split_to(header.frame_bytes()).freeze();
    content.advance(HEADER_BYTES);
    let computed = crc32fast::hash(&content);
    if computed != header.content_crc {
        return Err(FrameError::ContentChecksum {
            kind: header.kind,
            found: header.content_crc,
            computed,
        });
    }
    let body = content.split_to(header.body_length as usize);
    Ok(Some(Frame {
        kind: header.kind,
        request_id: header.request_id,
        body,
        payload: content,
    }))
}

/// Bytes still needed before [`take_frame`] can give the next frame: those of the header, then those of
/// the frame, never more than its kind's caps allow. Zero for bytes that [`take_frame`] takes or refuses.
#[must_use]
pub fn missing(buffer: &[u8], stage: Stage) -> usize {
    match Header::read(buffer, stage) {
        Ok(Some(header)) => header.frame_bytes().saturating_sub(buffer.len()),
        Ok(None) => HEADER_BYTES.saturating_sub(buffer.len()),
        Err(_) => 0,
    }
}

/// Starts a frame at the end of `out`: room for the header, then the body. The caller appends the payload
/// and calls [`finish`] with what this returns.
pub(crate) fn begin(out: &mut Vec<u8>, body: &[u8]) -> FrameStart {
    let start = FrameStart {
        at: out.len(),
        body_length: body.len(),
    };
    out.resize(out.len() + HEADER_BYTES, 0);
    out.extend_from_slice(body);
    start
}

/// Ends a frame: computes checksums and writes its header.
///
/// # Panics
/// If the frame is over the caps of its kind: the caller must have split it.
pub(crate) fn finish(out: &mut [u8], start: FrameStart, kind: FrameKind, request_id: u64) {
    let (header, content) = out[start.at..].split_at_mut(HEADER_BYTES);
    let caps = kind.caps();
    let payload_length = content.len() - start.body_length;
    let fits = start.body_length <= caps.body && payload_length <= caps.payload;
    assert!(
        fits,
        "a {kind:?} frame of {} + {payload_length} bytes is over its caps",
        start.body_length
    );
    let length = |bytes: usize| u32::try_from(bytes).expect("caps are below 2^32");
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    header[6] = kind as u8;
    header[7] = 0;
    header[8..16].copy_from_slice(&request_id.to_le_bytes());
    header[16..20].copy_from_slice(&length(start.body_length).to_le_bytes());
    header[20..24].copy_from_slice(&length(payload_length).to_le_bytes());
    header[24..28].copy_from_slice(&crc32fast::hash(content).to_le_bytes());
    let crc = crc32fast::hash(&header[0..28]);
    header[28..32].copy_from_slice(&crc.to_le_bytes());
}

/// Where a frame that is being written starts, and how long its body is.
pub(crate) struct FrameStart {
    at: usize,
    body_length: usize,
}

/// Most bytes a frame of some kind may have.
struct Caps {
    body: usize,
    payload: usize,
}

/// A header whose checksum, kind and lengths are checked.
struct Header {
    kind: FrameKind,
    request_id: u64,
    body_length: u32,
    payload_length: u32,
    content_crc: u32,
}

impl Header {
    /// `None` if more bytes are needed. Wrong magic and version are told as early as they are seen: a
    /// caller of another protocol may never send 32 bytes.
    fn read(buffer: &[u8], stage: Stage) -> Result<Option<Self>, FrameError> {
        check_start(buffer)?;
        let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let mut crc = &header[28..];
        let (found, computed) = (crc.get_u32_le(), crc32fast::hash(&header[..28]));
        if found != computed {
            return Err(FrameError::HeaderChecksum { found, computed });
        }
        let mut fields = &header[6..28];
        let (kind, flags) = (fields.get_u8(), fields.get_u8());
        let header = Self {
            kind: FrameKind::from_wire(kind).ok_or(FrameError::UnknownKind { found: kind })?,
            request_id: fields.get_u64_le(),
            body_length: fields.get_u32_le(),
            payload_length: fields.get_u32_le(),
            content_crc: fields.get_u32_le(),
        };
        if flags != 0 {
            return Err(FrameError::UnknownFlags { found: flags });
        }
        header.check_caps(stage)?;
        Ok(Some(header))
    }

    fn check_caps(&self, stage: Stage) -> Result<(), FrameError> {
        let kind = self.kind;
        if stage == Stage::Handshake && !kind.is_handshake() {
            return Err(FrameError::UnexpectedKind {
                found: kind,
                expected: FrameKind::Hello,
            });
        }
        let caps = kind.caps();
        let cap = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let (length, max) = (self.body_length, cap(caps.body));
        if length > max {
            return Err(FrameError::BodyTooLong { kind, length, max });
        }
        let (length, max) = (self.payload_length, cap(caps.payload));
        if length > max {
            return Err(FrameError::PayloadTooLong { kind, length, max });
        }
        Ok(())
    }

    fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.body_length as usize + self.payload_length as usize
    }
}

fn check_start(buffer: &[u8]) -> Result<(), FrameError> {
    if let Some(magic) = buffer.first_chunk::<4>() {
        let found = u32::from_le_bytes(*magic);
        if found != MAGIC {
            return Err(FrameError::BadMagic { found });
        }
    }
    if let Some(start) = buffer.first_chunk::<6>() {
        let found = u16::from_le_bytes([start[4], start[5]]);
        if found != PROTOCOL_VERSION {
            return Err(FrameError::UnsupportedVersion {
                found,
                supported: PROTOCOL_VERSION,
            });
        }
    }
    Ok(())
}

impl FrameKind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 15] = [
        Self::Hello,
        Self::Welcome,
        Self::Goodbye,
        Self::Request,
        Self::Reply,
        Self::Peer,
        Self::MapRequest,
        Self::MapReply,
        Self::StatusRequest,
        Self::StatusReply,
        Self::Probe,
        Self::ProbeReply,
        Self::Create,
        Self::CreateReply,
        Self::Member,
    ];

    /// The kind with this code.
    pub(crate) fn from_wire(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }

    /// Whether a frame of this kind may come before the handshake is done.
    fn is_handshake(self) -> bool {
        match self {
            Self::Hello | Self::Welcome | Self::Goodbye => true,
            Self::Request
            | Self::Reply
            | Self::Peer
            | Self::MapRequest
            | Self::MapReply
            | Self::StatusRequest
            | Self::StatusReply
            | Self::Probe
            | Self::ProbeReply
            | Self::Create
            | Self::CreateReply
            | Self::Member => false,
        }
    }

    fn caps(self) -> Caps {
        let (body, payload) = match self {
            Self::Hello | Self::Welcome | Self::Goodbye | Self::ProbeReply | Self::CreateReply => (HELLO_BYTES_MAX, 0),
            Self::MapRequest | Self::Probe => (0, 0),
            Self::StatusRequest => (STATUS_REQUEST_BYTES_MAX, 0),
            Self::MapReply | Self::StatusReply => (0, PAYLOAD_BYTES_MAX),
            Self::Member => (MEMBER_BODY_BYTES_MAX, PAYLOAD_BYTES_MAX),
            Self::Request | Self::Reply | Self::Peer | Self::Create => (BODY_BYTES_MAX, PAYLOAD_BYTES_MAX),
        };
        Caps { body, payload }
    }
}
