//! Frames come whole, unchanged and in order, or not at all.

use crate::words::{self, written};
use bytes::BytesMut;
use margate_net::frame::{FrameError, FrameKind, MAGIC, PROTOCOL_VERSION, Stage, missing, take_frame};
use margate_net::limits::{BODY_BYTES_MAX, FRAME_BYTES_MAX, HEADER_BYTES, HELLO_BYTES_MAX, PAYLOAD_BYTES_MAX};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), magic: bool, established: bool) {
        let stage = if established { Stage::Established } else { Stage::Handshake };
        let mut buffer = BytesMut::new();
        if magic {
            buffer.extend_from_slice(&MAGIC.to_le_bytes());
            buffer.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        }
        buffer.extend_from_slice(&bytes);
        prop_assert!(missing(&buffer, stage) <= FRAME_BYTES_MAX);
        while let Ok(Some(_)) = take_frame(&mut buffer, stage) {}
    }

    #[test]
    fn any_split_gives_the_same_frames(sent in vec(words::any_frame_bytes(), 1..5), cuts in vec(any::<Index>(), 0..10)) {
        let whole: Vec<u8> = sent.concat();
        let expected = words::frames(&whole);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(whole.len())).chain([0, whole.len()]).collect();
        cuts.sort_unstable();
        let (mut buffer, mut received) = (BytesMut::new(), Vec::new());
        for cut in cuts.windows(2) {
            buffer.extend_from_slice(&whole[cut[0]..cut[1]]);
            while let Some(frame) = take_frame(&mut buffer, Stage::Established).expect("it is whole") {
                received.push(frame);
            }
        }
        prop_assert_eq!(received, expected);
    }

    #[test]
    fn a_changed_bit_never_passes(frame in words::any_frame_bytes(), at: Index, bit in 0u8..8) {
        let mut changed = BytesMut::from(frame.as_slice());
        changed[at.index(frame.len())] ^= 1 << bit;
        prop_assert!(take_frame(&mut changed, Stage::Established).is_err());
    }

    #[test]
    fn missing_leads_to_the_frame(frame in words::any_frame_bytes(), start: Index) {
        let mut have = start.index(frame.len());
        let mut steps = 0;
        while have < frame.len() {
            let more = missing(&frame[..have], Stage::Established);
            prop_assert!(more > 0 && have + more <= frame.len(), "{more} more after {have} of {}", frame.len());
            prop_assert!(take_frame(&mut BytesMut::from(&frame[..have]), Stage::Established) == Ok(None));
            have += more;
            steps += 1;
        }
        prop_assert!(steps <= 2);
        prop_assert_eq!(missing(&frame, Stage::Established), 0);
    }

    #[test]
    fn before_the_handshake_only_its_frames_pass(frame in words::any_frame_bytes(), hello in words::any_handshake_bytes()) {
        prop_assert!(take_frame(&mut BytesMut::from(hello.as_slice()), Stage::Handshake).expect("it may come").is_some());
        let kind = words::frames(&frame)[0].kind;
        let handshake = matches!(kind, FrameKind::Hello | FrameKind::Welcome | FrameKind::Goodbye);
        // The header alone decides, so nothing is read or allocated for the rest.
        let header = take_frame(&mut BytesMut::from(&frame[..HEADER_BYTES]), Stage::Handshake);
        let expected = FrameError::UnexpectedKind { found: kind, expected: FrameKind::Hello };
        prop_assert_eq!(header.err(), (!handshake).then_some(expected));
    }
}

/// A header with a right checksum and nothing behind it.
fn header(version: u16, kind: u8, flags: u8, body: usize, payload: usize) -> BytesMut {
    let length = |bytes: usize| u32::try_from(bytes).expect("it fits").to_le_bytes();
    let mut out = BytesMut::new();
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&length(body));
    out.extend_from_slice(&length(payload));
    out.extend_from_slice(&[0; 4]);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(out.len(), HEADER_BYTES);
    out
}

fn refused(mut header: BytesMut, stage: Stage) -> FrameError {
    take_frame(&mut header, stage).expect_err("it must be refused")
}

#[test]
fn a_header_tells_what_is_wrong_before_more_is_read() {
    let kind = FrameKind::Request as u8;
    let found = PROTOCOL_VERSION + 1;
    let supported = PROTOCOL_VERSION;
    let established = |header| refused(header, Stage::Established);
    assert_eq!(
        established(header(found, kind, 0, 0, 0)),
        FrameError::UnsupportedVersion { found, supported }
    );
    for unknown in [0, 16, 255] {
        assert_eq!(established(header(0, unknown, 0, 0, 0)), FrameError::UnknownKind { found: unknown });
    }
    assert_eq!(established(header(0, kind, 4, 0, 0)), FrameError::UnknownFlags { found: 4 });
    let mut wrong = header(0, kind, 0, 0, 0);
    wrong[31] ^= 1;
    assert!(matches!(established(wrong), FrameError::HeaderChecksum { .. }));
    let stranger = BytesMut::from(&b"SSH-"[..]);
    let found = u32::from_le_bytes(*b"SSH-");
    assert_eq!(established(stranger), FrameError::BadMagic { found });
}

#[test]
fn claimed_lengths_over_the_caps_are_refused_and_those_at_the_caps_are_waited_for() {
    let kind = FrameKind::Request;
    let code = kind as u8;
    let too_long = refused(header(0, code, 0, BODY_BYTES_MAX + 1, 0), Stage::Established);
    assert!(
        matches!(
            too_long,
            FrameError::BodyTooLong {
                kind: FrameKind::Request,
                ..
            }
        ),
        "{too_long}"
    );
    let too_long = refused(header(0, code, 0, 0, PAYLOAD_BYTES_MAX + 1), Stage::Established);
    assert!(
        matches!(
            too_long,
            FrameError::PayloadTooLong {
                kind: FrameKind::Request,
                ..
            }
        ),
        "{too_long}"
    );
    let mut largest = header(0, code, 0, BODY_BYTES_MAX, PAYLOAD_BYTES_MAX);
    assert_eq!(take_frame(&mut largest, Stage::Established), Ok(None));
    assert_eq!(missing(&largest, Stage::Established), FRAME_BYTES_MAX - HEADER_BYTES);

    let code = FrameKind::Hello as u8;
    for stage in [Stage::Handshake, Stage::Established] {
        let too_long = refused(header(0, code, 0, HELLO_BYTES_MAX + 1, 0), stage);
        assert!(matches!(too_long, FrameError::BodyTooLong { .. }), "{too_long}");
        let too_long = refused(header(0, code, 0, HELLO_BYTES_MAX, 1), stage);
        assert!(matches!(too_long, FrameError::PayloadTooLong { max: 0, .. }), "{too_long}");
        assert_eq!(take_frame(&mut header(0, code, 0, HELLO_BYTES_MAX, 0), stage), Ok(None));
    }
}

#[test]
fn every_error_says_what_to_do() {
    let probe = written(|writer, out| writer.probe(out, 1));
    let kind = words::frames(&probe)[0].kind;
    for (error, hint) in [
        (FrameError::BadMagic { found: 1 }, "check that the address and port"),
        (FrameError::UnsupportedVersion { found: 2, supported: 0 }, "run one version"),
        (FrameError::HeaderChecksum { found: 1, computed: 2 }, "reconnect"),
        (FrameError::BodyTooLong { kind, length: 2, max: 1 }, "send less"),
    ] {
        assert!(error.to_string().contains(hint), "{error}");
    }
}
