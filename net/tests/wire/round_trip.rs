//! Everything that can be said arrives as it was said.

use crate::words::{self, frame, frames, written};
use std::net::SocketAddr;

use bytes::Bytes;
use margate_net::codec::{
    decode_create, decode_create_reply, decode_goodbye, decode_hello, decode_map, decode_map_reply, decode_member, decode_peer,
    decode_probe_reply, decode_replies, decode_requests, decode_status_reply, decode_status_request, decode_welcome, encode_map,
    peer_message_payload_bytes, request_payload_bytes,
};
use margate_net::error::{Refusal, UnknownRefusal};
use margate_net::frame::{FrameError, FrameKind};
use margate_net::handshake::Goodbye;
use margate_net::ids::{ClusterId, CoreId, LogIndex, MapEpoch, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId, Term, Version};
use margate_net::limits::{
    COUNTER_MAX, DOCUMENT_BYTES_MAX, OPERATIONS_PER_FRAME_MAX, PAYLOAD_BYTES_MAX, PEER_MESSAGES_PER_FRAME_MAX, SHARDS_MAX, VALUE_BYTES_MAX,
};
use margate_net::map::{Map, MapError, MapNode, MapReplica, MapShard};
use margate_net::message::{
    EntryKind, MemberBody, MemberMessage, PeerBatch, PeerEntry, PeerMessage, PeerMessageKind, Reply, Row, StatusDetail, Success,
};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn requests(requests in vec(words::request(), 0..8)) {
        let frame = frame(|writer, out| writer.requests(out, &requests));
        prop_assert_eq!(frame.payload.len(), requests.iter().map(request_payload_bytes).sum::<usize>());
        let received = decode_requests(&frame).expect("we wrote it");
        prop_assert_eq!(received.len(), requests.len());
        for (received, sent) in received.into_iter().zip(requests) {
            prop_assert_eq!(received.id, sent.id);
            prop_assert_eq!(received.request, Ok(sent));
        }
    }

    #[test]
    fn replies(replies in vec(words::reply(), 1..8)) {
        let frame = frame(|writer, out| writer.replies(out, &replies));
        prop_assert_eq!(decode_replies(&frame).expect("we wrote it"), replies);
    }

    #[test]
    fn peer_batches(batch in words::peer_batch()) {
        let frame = frame(|writer, out| writer.peer(out, &batch));
        prop_assert_eq!(frame.payload.len(), batch.messages.iter().map(peer_message_payload_bytes).sum::<usize>());
        prop_assert_eq!(decode_peer(&frame).expect("we wrote it"), batch);
    }

    #[test]
    fn member_messages(message in words::member_message()) {
        let frame = frame(|writer, out| writer.member(out, &message));
        prop_assert_eq!(decode_member(&frame).expect("we wrote it"), message);
    }

    #[test]
    fn maps(map in words::map(), request_id: u64) {
        let encoded = encode_map(&map);
        let cores: usize = map.nodes().iter().map(|node| 16 + 32 * node.cores.len()).sum();
        let shards: usize = map.shards().iter().map(|shard| 32 + shard.low.len() + 24 * shard.replicas.len()).sum();
        prop_assert!(encoded.len() <= 256 + cores + shards, "`Map::new` must not count less than a map takes");
        prop_assert_eq!(&decode_map(&encoded).expect("we wrote it"), &map);
        let frame = frame(|writer, out| writer.map_reply(out, request_id, &map));
        prop_assert_eq!(frame.request_id, request_id);
        prop_assert_eq!(decode_map_reply(&frame).expect("we wrote it"), map);
    }

    #[test]
    fn statuses(status in words::core_status()) {
        let frame = frame(|writer, out| writer.status_reply(out, 7, &status));
        prop_assert_eq!(decode_status_reply(&frame).expect("we wrote it"), status);
    }

    #[test]
    fn questions_for_statuses(request_id: u64) {
        for detail in [StatusDetail::Brief, StatusDetail::Measures] {
            let frame = frame(|writer, out| writer.status_request(out, request_id, detail));
            prop_assert_eq!((decode_status_request(&frame), frame.request_id), (Ok(detail), request_id));
        }
    }

    #[test]
    fn sessions(hello in words::hello(), welcome in words::welcome(), goodbye in words::goodbye()) {
        prop_assert_eq!(decode_hello(&frame(|writer, out| writer.hello(out, &hello))), Ok(hello));
        prop_assert_eq!(decode_welcome(&frame(|writer, out| writer.welcome(out, &welcome))), Ok(welcome));
        prop_assert_eq!(decode_goodbye(&frame(|writer, out| writer.goodbye(out, &goodbye))), Ok(goodbye));
    }

    #[test]
    fn bootstraps(probe in words::probe_answer(), create in words::create(), answer in words::create_answer()) {
        prop_assert_eq!(decode_probe_reply(&frame(|writer, out| writer.probe_reply(out, 1, &probe))), Ok(probe));
        prop_assert_eq!(decode_create(&frame(|writer, out| writer.create(out, 2, &create))), Ok(create));
        prop_assert_eq!(decode_create_reply(&frame(|writer, out| writer.create_reply(out, 3, &answer))), Ok(answer));
    }
}

/// A map of as many shards as there may be, with starts of this many bytes, three replicas each.
fn largest_map(low_bytes: usize) -> Result<Map, MapError> {
    let address = SocketAddr::from(([127, 0, 0, 1], 7_400));
    let node = |id| MapNode {
        id: NodeId(id),
        cores: vec![address],
    };
    let replica = |node| MapReplica {
        id: ReplicaId(node),
        node: NodeId(node),
        core: CoreId(0),
    };
    let low = |index: usize| {
        let mut low = vec![0; low_bytes];
        low[..4].copy_from_slice(&u32::try_from(index).expect("few shards").to_be_bytes());
        if index == 0 || index == SHARDS_MAX {
            Bytes::new()
        } else {
            Bytes::from(low)
        }
    };
    let shard = |index: usize| MapShard {
        id: ShardId(index as u64 + 1),
        low: low(index),
        high: low(index + 1),
        range_epoch: RangeEpoch(1),
        member_epoch: MemberEpoch(1),
        replicas: (1..=3).map(replica).collect(),
    };
    let nodes = (1..=3).map(node).collect();
    Map::new(ClusterId(1), MapEpoch(1), nodes, (0..SHARDS_MAX).map(shard).collect())
}

#[test]
fn the_largest_map_fits_a_frame_and_a_larger_one_is_none() {
    let map = largest_map(4).expect("it fits");
    let frame = frame(|writer, out| writer.map_reply(out, 1, &map));
    assert!(decode_map_reply(&frame) == Ok(map));
    let error = largest_map(40).expect_err("it does not fit");
    assert!(
        matches!(
            error,
            MapError::Bytes {
                max: DOCUMENT_BYTES_MAX,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn goodbyes_about_frames_keep_their_numbers() {
    let kind = FrameKind::Peer;
    let errors = [
        FrameError::BadMagic { found: 7 },
        FrameError::UnsupportedVersion { found: 3, supported: 0 },
        FrameError::UnknownKind { found: 200 },
        FrameError::UnknownFlags { found: 128 },
        FrameError::BodyTooLong { kind, length: 3, max: 2 },
        FrameError::PayloadTooLong { kind, length: 5, max: 4 },
        FrameError::HeaderChecksum { found: 1, computed: 2 },
        FrameError::ContentChecksum {
            kind,
            found: 1,
            computed: 2,
        },
        FrameError::UnexpectedKind {
            found: kind,
            expected: FrameKind::Request,
        },
        FrameError::UnknownRefusal(UnknownRefusal { code: 99, a: 1, b: 2 }),
    ];
    for error in errors {
        let goodbye = Goodbye::Frame(error);
        assert_eq!(decode_goodbye(&frame(|writer, out| writer.goodbye(out, &goodbye))), Ok(goodbye));
    }
    // What exactly is malformed stays in the log of the side that saw it.
    let malformed = Goodbye::Frame(FrameError::Malformed { kind, what: "a test" });
    let received = decode_goodbye(&frame(|writer, out| writer.goodbye(out, &malformed)));
    assert!(matches!(
        received,
        Ok(Goodbye::Frame(FrameError::Malformed { kind: FrameKind::Peer, .. }))
    ));
}

#[test]
fn one_bit_more_than_a_frame_of_replies_goes_into_the_next() {
    let refused = |id| Reply {
        id,
        outcome: Err(Refusal::NotFound),
    };
    let many: Vec<_> = (0..=OPERATIONS_PER_FRAME_MAX as u64).map(refused).collect();
    assert_frames_of_replies(&many, 2);
    let value = Bytes::from(vec![7; VALUE_BYTES_MAX]);
    let found = |id| Reply {
        id,
        outcome: Ok(Success::Found {
            version: Version(1),
            value: value.clone(),
            key: None,
            applied: LogIndex(1),
        }),
    };
    let large: Vec<_> = (0..17).map(found).collect();
    assert_frames_of_replies(&large, 3);
    let row = Row {
        key: Bytes::from_static(b"k"),
        version: Version(1),
        value: None,
    };
    let page = |id| Reply {
        id,
        outcome: Ok(Success::Listed {
            rows: vec![row.clone(); 1_024],
            resume: None,
            applied: LogIndex(1),
        }),
    };
    let pages: Vec<_> = (0..17).map(page).collect();
    assert_frames_of_replies(&pages, 2);
    assert_eq!(written(|writer, out| writer.replies(out, &[])).len(), 0);
}

fn assert_frames_of_replies(replies: &[Reply], expected: usize) {
    let frames = frames(&written(|writer, out| writer.replies(out, replies)));
    assert_eq!(frames.len(), expected);
    let decoded = frames.iter().flat_map(|frame| decode_replies(frame).expect("we wrote it"));
    assert!(decoded.eq(replies.iter().cloned()));
}

#[test]
fn a_round_is_split_by_messages_and_by_bytes_and_a_beat_is_one_frame() {
    let beat = PeerBatch {
        round: 5,
        echo: 4,
        ..PeerBatch::default()
    };
    assert_frames_of_round(&beat, 1);
    let many = PeerBatch {
        messages: vec![append(0); PEER_MESSAGES_PER_FRAME_MAX + 1],
        ..beat.clone()
    };
    assert_frames_of_round(&many, 2);
    let large = PeerBatch {
        messages: vec![append(3 << 20); 5],
        ..beat
    };
    assert_frames_of_round(&large, 3);
}

fn append(bytes: usize) -> PeerMessage {
    PeerMessage {
        shard: ShardId(1),
        from: ReplicaId(1),
        to: ReplicaId(2),
        kind: PeerMessageKind::Append,
        term: Term(3),
        log_term: Term(3),
        index: LogIndex(9),
        commit: LogIndex(8),
        commit_term: Term(3),
        reject: false,
        reject_hint: LogIndex(0),
        priority: 0,
        context: Bytes::new(),
        entries: vec![PeerEntry {
            term: Term(3),
            index: LogIndex(10),
            kind: EntryKind::Normal,
            data: Bytes::from(vec![1; bytes]),
        }],
    }
}

fn assert_frames_of_round(batch: &PeerBatch, expected: usize) {
    let frames = frames(&written(|writer, out| writer.peer(out, batch)));
    assert_eq!(frames.len(), expected);
    let parts: Vec<_> = frames.iter().map(|frame| decode_peer(frame).expect("we wrote it")).collect();
    assert!(parts.iter().all(|part| (part.round, part.echo) == (batch.round, batch.echo)));
    assert!(parts.iter().flat_map(|part| &part.messages).eq(&batch.messages));
}

fn of_member(body: MemberBody) -> MemberMessage {
    MemberMessage {
        shard: ShardId(u64::MAX),
        from: ReplicaId(u64::MAX),
        to: ReplicaId(u64::MAX),
        attempt: u64::MAX,
        body,
    }
}

#[test]
fn the_largest_message_about_members_fits_a_frame() {
    let begin = of_member(MemberBody::Begin {
        applied: LogIndex(COUNTER_MAX),
        applied_term: Term(COUNTER_MAX),
        state: Bytes::from(vec![7; PAYLOAD_BYTES_MAX]),
    });
    assert_eq!(decode_member(&frame(|writer, out| writer.member(out, &begin))), Ok(begin));
}

#[test]
fn numbers_about_members_that_cannot_be_counted_on_from_are_refused() {
    let beyond = COUNTER_MAX + 1;
    let bodies = [
        MemberBody::Taken { number: beyond },
        MemberBody::Rows {
            number: beyond,
            data: Bytes::new(),
        },
        MemberBody::End {
            number: 1,
            term: Term(beyond),
        },
        MemberBody::Begin {
            applied: LogIndex(beyond),
            applied_term: Term(1),
            state: Bytes::new(),
        },
    ];
    for body in bodies {
        let refused = decode_member(&frame(|writer, out| writer.member(out, &of_member(body.clone()))));
        let kind = FrameKind::Member;
        let what = "a number, term or index is impossibly large";
        assert_eq!(refused, Err(FrameError::Malformed { kind, what }), "{body:?}");
    }
}
