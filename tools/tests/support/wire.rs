//! A connection that sends whatever bytes a test wants, and frames made by hand.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use bytes::BytesMut;
use margate_net::codec::{FrameWriter, decode_goodbye, decode_welcome};
use margate_net::frame::{Frame, FrameError, FrameKind, MAGIC, PROTOCOL_VERSION, Stage, take_frame};
use margate_net::handshake::{Goodbye, Hello, Role, Welcome};
use margate_net::ids::ClusterId;

use super::SOON;

/// What a core must say to some bytes before it hangs up.
pub(crate) type Case = (&'static str, Vec<u8>, FrameError);

/// One end of a connection to a core.
pub(crate) struct Wire {
    stream: TcpStream,
    received: BytesMut,
}

impl Wire {
    /// Connects and says nothing.
    pub(crate) fn open(address: &str) -> Self {
        let address: SocketAddr = address.parse().expect("an address");
        let stream = TcpStream::connect_timeout(&address, SOON).expect("the core listens");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let received = BytesMut::new();
        Self { stream, received }
    }

    /// Connects and shakes hands.
    pub(crate) fn greeted(address: &str, hello: &Hello) -> (Self, Welcome) {
        let mut wire = Self::open(address);
        wire.send(&hello_frame(hello));
        let frame = wire.frame().expect("the core answers");
        let welcome = decode_welcome(&frame).expect("a welcome");
        (wire, welcome)
    }

    /// Sends bytes. What the core has closed in the meantime is no failure: its last words may wait to be read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame; `None` when the core has closed its direction.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        loop {
            let taken = take_frame(&mut self.received, Stage::Established).expect("the core sends frames");
            if taken.is_some() {
                return taken;
            }
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes).expect("the core answers or closes in time") {
                0 => {
                    assert!(self.received.is_empty(), "the core closed inside a frame");
                    return None;
                }
                count => self.received.extend_from_slice(&bytes[..count]),
            }
        }
    }

    /// The core's last words, after which it must close.
    #[track_caller]
    pub(crate) fn expect_goodbye(mut self) -> Goodbye {
        let frame = self.frame().expect("a goodbye before the end");
        let goodbye = decode_goodbye(&frame).expect("a goodbye");
        assert_eq!(self.frame(), None, "something came after the goodbye");
        goodbye
    }
}

/// A client of an unknown deployment, which every core welcomes.
pub(crate) fn client_hello() -> Hello {
    Hello::of_guest(Role::Client, ClusterId::UNKNOWN)
}

/// A Hello frame.
pub(crate) fn hello_frame(hello: &Hello) -> Vec<u8> {
    let mut out = Vec::new();
    FrameWriter::new().hello(&mut out, hello);
    out
}

/// A frame made by hand, as `docs/protocol.md` draws it; nobody checks that its contents make sense.
pub(crate) fn frame_of(kind: FrameKind, body: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
    let content = [body, payload].concat();
    let mut frame = MAGIC.to_le_bytes().to_vec();
    frame.extend(PROTOCOL_VERSION.to_le_bytes());
    frame.extend([kind as u8, 0]);
    frame.extend([0; 8]);
    frame.extend(length(body));
    frame.extend(length(payload));
    frame.extend(crc32fast::hash(&content).to_le_bytes());
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    frame.extend(content);
    frame
}

/// A frame with some bytes of its header replaced, and its header checksum made right again.
pub(crate) fn with_header(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = with_bytes(frame, at, bytes);
    let checksum = crc32fast::hash(&changed[..28]).to_le_bytes();
    changed[28..32].copy_from_slice(&checksum);
    changed
}

/// A frame with some bytes replaced.
pub(crate) fn with_bytes(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = frame.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

/// What no stream may hold, whoever sends it, made from a frame that is sound.
pub(crate) fn spoilt(kind: FrameKind, sound: &[u8], body_max: usize, payload_max: usize) -> Vec<Case> {
    let cap = |bytes: usize| u32::try_from(bytes).expect("caps are small");
    let (body, payload) = (cap(body_max), cap(payload_max));
    let unsealed = with_bytes(sound, 8, &[0xff]);
    let cut = sound.len() - 1;
    vec![
        (
            "magic",
            with_header(sound, 0, b"GET "),
            FrameError::BadMagic {
                found: u32::from_le_bytes(*b"GET "),
            },
        ),
        (
            "version",
            with_header(sound, 4, &[9, 0]),
            FrameError::UnsupportedVersion {
                found: 9,
                supported: PROTOCOL_VERSION,
            },
        ),
        ("header checksum", unsealed.clone(), header_checksum(&unsealed)),
        ("kind", with_header(sound, 6, &[99]), FrameError::UnknownKind { found: 99 }),
        ("flags", with_header(sound, 7, &[1]), FrameError::UnknownFlags { found: 1 }),
        (
            "body length",
            with_header(sound, 16, &(body + 1).to_le_bytes()),
            FrameError::BodyTooLong {
                kind,
                length: body + 1,
                max: body,
            },
        ),
        (
            "payload length",
            with_header(sound, 20, &u32::MAX.to_le_bytes()),
            FrameError::PayloadTooLong {
                kind,
                length: u32::MAX,
                max: payload,
            },
        ),
        (
            "content checksum",
            with_bytes(sound, cut, &[sound[cut] ^ 1]),
            content_checksum(kind, sound),
        ),
        ("no flatbuffer", frame_of(kind, &[0xff; 16], &[]), malformed(kind)),
        ("no body", frame_of(kind, &[], &[]), malformed(kind)),
    ]
}

fn header_checksum(frame: &[u8]) -> FrameError {
    FrameError::HeaderChecksum {
        found: u32::from_le_bytes(frame[28..32].try_into().expect("four bytes")),
        computed: crc32fast::hash(&frame[..28]),
    }
}

/// What is said of a frame whose last byte has its lowest bit flipped.
fn content_checksum(kind: FrameKind, sound: &[u8]) -> FrameError {
    let mut content = sound[32..].to_vec();
    let found = crc32fast::hash(&content);
    *content.last_mut().expect("a body") ^= 1;
    FrameError::ContentChecksum {
        kind,
        found,
        computed: crc32fast::hash(&content),
    }
}

/// What is said of contents that make no sense.
pub(crate) fn malformed(kind: FrameKind) -> FrameError {
    FrameError::Malformed {
        kind,
        what: "the other side's log says what",
    }
}

/// What is said of a frame that its sender may not send.
pub(crate) fn unexpected(found: FrameKind, expected: FrameKind) -> FrameError {
    FrameError::UnexpectedKind { found, expected }
}
