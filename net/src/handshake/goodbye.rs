//! Why a connection ends: one enum, one table to wire codes.
//!
//! On the wire a goodbye is a code, four 64-bit arguments and two 128-bit names (`docs/protocol.md` lists
//! them).

use super::HandshakeRefusal;
use crate::error::UnknownRefusal;
use crate::frame::{FrameError, FrameKind};
use crate::ids::{ClusterId, CoreId, NodeId};

/// Why the other side closed the connection, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Goodbye {
    /// It does not open the connection.
    #[error("the other side refused the connection: {0}")]
    Handshake(HandshakeRefusal),
    /// It could not make sense of what this side sent.
    #[error("the other side closed the connection and says: {0}")]
    Frame(FrameError),
    /// It is stopping.
    #[error("the other side is shutting down; use another node")]
    ShuttingDown,
    /// It has a reason that this build does not know.
    #[error("the other side closed the connection for a reason this build does not know (code {code}); run one version on both sides")]
    Unknown {
        /// The reason's code.
        code: u16,
    },
}

/// A goodbye as it travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WireGoodbye {
    pub(crate) code: u16,
    pub(crate) args: [u64; 4],
    pub(crate) theirs: u128,
    pub(crate) ours: u128,
}

const FOREIGN_CLUSTER: u16 = 1;
const WRONG_NODE: u16 = 2;
const TIMING_DIFFERS: u16 = 3;
const NOT_BOOTSTRAPPED: u16 = 4;
const TOO_MANY_CONNECTIONS: u16 = 5;
const TOO_SLOW: u16 = 6;
const NAMELESS_PEER: u16 = 7;
const SAME_NODE: u16 = 8;
const BAD_MAGIC: u16 = 32;
const UNSUPPORTED_VERSION: u16 = 33;
const UNKNOWN_KIND: u16 = 34;
const UNKNOWN_FLAGS: u16 = 35;
const BODY_TOO_LONG: u16 = 36;
const PAYLOAD_TOO_LONG: u16 = 37;
const HEADER_CHECKSUM: u16 = 38;
const CONTENT_CHECKSUM: u16 = 39;
const MALFORMED: u16 = 40;
const UNEXPECTED_KIND: u16 = 41;
const UNKNOWN_REFUSAL: u16 = 42;
const SHUTTING_DOWN: u16 = 64;

impl Goodbye {
    pub(crate) fn to_wire(self) -> WireGoodbye {
        match self {
            Self::Handshake(refusal) => handshake_to_wire(refusal),
            Self::Frame(error) => frame_to_wire(error),
            Self::ShuttingDown => wire(SHUTTING_DOWN, [0; 4]),
            Self::Unknown { code } => wire(code, [0; 4]),
        }
    }

    /// Total: what is not understood still says that the connection ends.
    pub(crate) fn from_wire(wire: WireGoodbye) -> Self {
        let code = wire.code;
        if code == SHUTTING_DOWN {
            return Self::ShuttingDown;
        }
        let handshake = handshake_from_wire(wire).map(Self::Handshake);
        handshake
            .or_else(|| frame_from_wire(wire).map(Self::Frame))
            .unwrap_or(Self::Unknown { code })
    }
}

fn wire(code: u16, args: [u64; 4]) -> WireGoodbye {
    WireGoodbye {
        code,
        args,
        ..WireGoodbye::default()
    }
}

fn handshake_to_wire(refusal: HandshakeRefusal) -> WireGoodbye {
    match refusal {
        HandshakeRefusal::ForeignCluster { theirs, ours } => WireGoodbye {
            theirs: theirs.0,
            ours: ours.0,
            ..wire(FOREIGN_CLUSTER, [0; 4])
        },
        HandshakeRefusal::WrongNode {
            asked_node,
            asked_core,
            ours_node,
            ours_core,
        } => wire(
            WRONG_NODE,
            [asked_node.0, u64::from(asked_core.0), ours_node.0, u64::from(ours_core.0)],
        ),
        HandshakeRefusal::TimingDiffers {
            theirs_tick_ms,
            theirs_election_ticks,
            ours_tick_ms,
            ours_election_ticks,
        } => wire(
            TIMING_DIFFERS,
            [theirs_tick_ms, theirs_election_ticks, ours_tick_ms, ours_election_ticks].map(u64::from),
        ),
        HandshakeRefusal::NotBootstrapped => wire(NOT_BOOTSTRAPPED, [0; 4]),
        HandshakeRefusal::TooManyConnections { max } => wire(TOO_MANY_CONNECTIONS, [u64::from(max), 0, 0, 0]),
        HandshakeRefusal::TooSlow { after_ms } => wire(TOO_SLOW, [u64::from(after_ms), 0, 0, 0]),
        HandshakeRefusal::NamelessPeer => wire(NAMELESS_PEER, [0; 4]),
        HandshakeRefusal::SameNode { node } => wire(SAME_NODE, [node.0, 0, 0, 0]),
    }
}

fn handshake_from_wire(wire: WireGoodbye) -> Option<HandshakeRefusal> {
    let [a, b, c, d] = wire.args;
    let core = |value: u64| u16::try_from(value).ok().map(CoreId);
    let number = |value: u64| u32::try_from(value).ok();
    Some(match wire.code {
        FOREIGN_CLUSTER => HandshakeRefusal::ForeignCluster {
            theirs: ClusterId(wire.theirs),
            ours: ClusterId(wire.ours),
        },
        WRONG_NODE => HandshakeRefusal::WrongNode {
            asked_node: NodeId(a),
            asked_core: core(b)?,
            ours_node: NodeId(c),
            ours_core: core(d)?,
        },
        TIMING_DIFFERS => HandshakeRefusal::TimingDiffers {
            theirs_tick_ms: number(a)?,
            theirs_election_ticks: number(b)?,
            ours_tick_ms: number(c)?,
            ours_election_ticks: number(d)?,
        },
        NOT_BOOTSTRAPPED => HandshakeRefusal::NotBootstrapped,
        TOO_MANY_CONNECTIONS => HandshakeRefusal::TooManyConnections { max: number(a)? },
        TOO_SLOW => HandshakeRefusal::TooSlow { after_ms: number(a)? },
        NAMELESS_PEER => HandshakeRefusal::NamelessPeer,
        SAME_NODE => HandshakeRefusal::SameNode { node: NodeId(a) },
        _ => return None,
    })
}

fn frame_to_wire(error: FrameError) -> WireGoodbye {
    let of_kind = |kind: FrameKind| u64::from(kind as u8);
    match error {
        FrameError::BadMagic { found } => wire(BAD_MAGIC, [u64::from(found), 0, 0, 0]),
        FrameError::UnsupportedVersion { found, supported } => wire(UNSUPPORTED_VERSION, [u64::from(found), u64::from(supported), 0, 0]),
        FrameError::UnknownKind { found } => wire(UNKNOWN_KIND, [u64::from(found), 0, 0, 0]),
        FrameError::UnknownFlags { found } => wire(UNKNOWN_FLAGS, [u64::from(found), 0, 0, 0]),
        FrameError::BodyTooLong { kind, length, max } => wire(BODY_TOO_LONG, [of_kind(kind), u64::from(length), u64::from(max), 0]),
        FrameError::PayloadTooLong { kind, length, max } => wire(PAYLOAD_TOO_LONG, [of_kind(kind), u64::from(length), u64::from(max), 0]),
        FrameError::HeaderChecksum { found, computed } => wire(HEADER_CHECKSUM, [u64::from(found), u64::from(computed), 0, 0]),
        FrameError::ContentChecksum { kind, found, computed } => {
            wire(CONTENT_CHECKSUM, [of_kind(kind), u64::from(found), u64::from(computed), 0])
        }
        FrameError::Malformed { kind, what: _ } => wire(MALFORMED, [of_kind(kind), 0, 0, 0]),
        FrameError::UnexpectedKind { found, expected } => wire(UNEXPECTED_KIND, [of_kind(found), of_kind(expected), 0, 0]),
        FrameError::UnknownRefusal(unknown) => wire(UNKNOWN_REFUSAL, [u64::from(unknown.code), unknown.a, unknown.b, 0]),
        FrameError::ImpossibleMap(_) => wire(MALFORMED, [of_kind(FrameKind::MapReply), 0, 0, 0]),
    }
}

fn frame_from_wire(wire: WireGoodbye) -> Option<FrameError> {
    let [a, b, c, _] = wire.args;
    let byte = |value: u64| u8::try_from(value).ok();
    let short = |value: u64| u16::try_from(value).ok();
    let number = |value: u64| u32::try_from(value).ok();
    let kind = |value: u64| byte(value).and_then(FrameKind::from_wire);
    Some(match wire.code {
        BAD_MAGIC => FrameError::BadMagic { found: number(a)? },
        UNSUPPORTED_VERSION => FrameError::UnsupportedVersion {
            found: short(a)?,
            supported: short(b)?,
        },
        UNKNOWN_KIND => FrameError::UnknownKind { found: byte(a)? },
        UNKNOWN_FLAGS => FrameError::UnknownFlags { found: byte(a)? },
        BODY_TOO_LONG => FrameError::BodyTooLong {
            kind: kind(a)?,
            length: number(b)?,
            max: number(c)?,
        },
        PAYLOAD_TOO_LONG => FrameError::PayloadTooLong {
            kind: kind(a)?,
            length: number(b)?,
            max: number(c)?,
        },
        HEADER_CHECKSUM => FrameError::HeaderChecksum {
            found: number(a)?,
            computed: number(b)?,
        },
        CONTENT_CHECKSUM => FrameError::ContentChecksum {
            kind: kind(a)?,
            found: number(b)?,
            computed: number(c)?,
        },
        MALFORMED => FrameError::Malformed {
            kind: kind(a)?,
            what: "the other side's log says what",
        },
        UNEXPECTED_KIND => FrameError::UnexpectedKind {
            found: kind(a)?,
            expected: kind(b)?,
        },
        UNKNOWN_REFUSAL => FrameError::UnknownRefusal(UnknownRefusal {
            code: short(a)?,
            a: b,
            b: c,
        }),
        _ => return None,
    })
}
