//! Contents that no honest peer would send: decoders refuse them or make sense of them, and never panic.

use crate::words;
use bytes::Bytes;
use margate_net::codec::{
    decode_create, decode_create_reply, decode_goodbye, decode_hello, decode_map, decode_map_reply, decode_member, decode_peer,
    decode_probe, decode_probe_reply, decode_replies, decode_requests, decode_status_reply, decode_status_request, decode_welcome,
    encode_map,
};
use margate_net::frame::{Frame, FrameError, FrameKind};
use margate_net::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Lets every decoder loose on a frame; those of another kind must say so.
fn decode_all(frame: &Frame) -> usize {
    let decoded = [
        (FrameKind::Hello, decode_hello(frame).err()),
        (FrameKind::Welcome, decode_welcome(frame).err()),
        (FrameKind::Goodbye, decode_goodbye(frame).err()),
        (FrameKind::Request, decode_requests(frame).err()),
        (FrameKind::Reply, decode_replies(frame).err()),
        (FrameKind::Peer, decode_peer(frame).err()),
        (FrameKind::MapReply, decode_map_reply(frame).err()),
        (FrameKind::StatusRequest, decode_status_request(frame).err()),
        (FrameKind::StatusReply, decode_status_reply(frame).err()),
        (FrameKind::Probe, decode_probe(frame).err()),
        (FrameKind::ProbeReply, decode_probe_reply(frame).err()),
        (FrameKind::Create, decode_create(frame).err()),
        (FrameKind::CreateReply, decode_create_reply(frame).err()),
        (FrameKind::Member, decode_member(frame).err()),
    ];
    for (kind, error) in &decoded {
        let expected = FrameError::UnexpectedKind {
            found: frame.kind,
            expected: *kind,
        };
        assert_eq!(
            *error == Some(expected),
            *kind != frame.kind,
            "{kind:?} of {:?}: {error:?}",
            frame.kind
        );
    }
    decoded.iter().filter(|(_, error)| error.is_none()).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn arbitrary_contents(
        kind in select(&FrameKind::ALL),
        request_id: u64,
        body in vec(any::<u8>(), 0..200),
        payload in vec(any::<u8>(), 0..200),
    ) {
        decode_all(&Frame { kind, request_id, body: body.into(), payload: payload.into() });
    }

    /// Starts from valid contents, so that changes reach what lies behind the verifier.
    #[test]
    fn changed_contents(bytes in words::any_frame_bytes(), changes in vec((any::<Index>(), any::<u8>()), 1..6), cut: Option<Index>) {
        let mut frame = words::frames(&bytes).remove(0);
        frame.body = changed(&frame.body, &changes, cut);
        decode_all(&frame);
        frame.payload = changed(&frame.payload, &changes, cut);
        decode_all(&frame);
    }

    /// There is one way to say a thing: what is decoded says in full what came.
    #[test]
    fn decoded_members_are_all_that_came(message in words::member_message(), payload in vec(any::<u8>(), 0..3), changes in vec((any::<Index>(), any::<u8>()), 0..4)) {
        let mut frame = words::frame(|writer, out| writer.member(out, &message));
        frame.body = changed(&frame.body, &changes, None);
        frame.payload = payload.into();
        if let Ok(decoded) = decode_member(&frame) {
            let again = words::frame(|writer, out| writer.member(out, &decoded));
            prop_assert_eq!(decode_member(&again), Ok(decoded));
            prop_assert_eq!(again.payload, frame.payload);
        }
    }

    #[test]
    fn changed_maps(map in words::map(), changes in vec((any::<Index>(), any::<u8>()), 1..6), cut: Option<Index>) {
        // Whatever is decoded is a map, which `Map::new` has checked.
        let _ = decode_map(&changed(&Bytes::from(encode_map(&map)), &changes, cut));
    }

    /// A valid operation never has a key or value over the limits, whatever came.
    #[test]
    fn decoded_requests_keep_the_limits(bytes in vec(words::request(), 1..5), changes in vec((any::<Index>(), any::<u8>()), 1..6)) {
        let mut frame = words::frame(|writer, out| writer.requests(out, &bytes));
        frame.body = changed(&frame.body, &changes, None);
        for received in decode_requests(&frame).unwrap_or_default() {
            if let Ok(request) = received.request {
                prop_assert_eq!(request.id, received.id);
                prop_assert!(request.operation.routing_key().len() <= KEY_BYTES_MAX);
                prop_assert!(request.operation.payload_bytes() <= KEY_BYTES_MAX + 2 * VALUE_BYTES_MAX);
            }
        }
    }
}

fn changed(bytes: &Bytes, changes: &[(Index, u8)], cut: Option<Index>) -> Bytes {
    let mut bytes = bytes.to_vec();
    for (at, value) in changes {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
    }
    bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
    bytes.into()
}

#[test]
fn valid_frames_decode_by_exactly_one_decoder() {
    let probe = words::frame(|writer, out| writer.probe(out, 1));
    assert_eq!(decode_all(&probe), 1);
}

#[test]
fn payloads_that_lengths_do_not_add_up_to_are_malformed() {
    let frames = [
        words::frame(|writer, out| writer.requests(out, &[sample_request()])),
        words::frame(|writer, out| writer.replies(out, &[sample_reply()])),
    ];
    for frame in frames {
        assert_eq!(decode_all(&frame), 1);
        let mut longer = frame.payload.to_vec();
        longer.push(0);
        let shorter = frame.payload.slice(1..);
        for payload in [Bytes::from(longer), shorter] {
            assert_eq!(decode_all(&Frame { payload, ..frame.clone() }), 0);
        }
    }
}

fn sample_request() -> margate_net::message::Request {
    use margate_net::ids::{RangeEpoch, ShardId};
    use margate_net::message::{Operation, Precondition, Request, Returning};
    Request {
        id: 1,
        shard: ShardId(1),
        range_epoch: RangeEpoch(1),
        timeout_ms: 1,
        operation: Operation::Set {
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(b"value"),
            precondition: Precondition::Always,
            returning: Returning::default(),
        },
    }
}

fn sample_reply() -> margate_net::message::Reply {
    use margate_net::ids::{LogIndex, Version};
    use margate_net::message::{Reply, Success};
    Reply {
        id: 1,
        outcome: Ok(Success::Found {
            version: Version(1),
            value: Bytes::from_static(b"value"),
            key: None,
            applied: LogIndex(1),
        }),
    }
}
