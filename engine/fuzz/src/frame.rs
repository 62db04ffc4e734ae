//! Frames off a stream, and every decoder of their contents.
//!
//! Input: one byte of choices, two bytes where the stream is cut in two, the stream.

use bytes::{Bytes, BytesMut};
use margate_net::codec::{
    self, Create, CreateAnswer, CreateRefusal, DirectoryState, FrameWriter, OperationKind, ProbeAnswer, RawRequest, flag,
};
use margate_net::error::{Queue, Refusal};
use margate_net::frame::{Frame, FrameKind, Stage, missing, take_frame};
use margate_net::handshake::{Goodbye, HandshakeRefusal};
use margate_net::ids::{ClusterId, DirectoryId, LogIndex, MapEpoch, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId, Term, Version};
use margate_net::limits::{BODY_BYTES_MAX, FRAME_BYTES_MAX};
use margate_net::map::{Map, MapNode, MapReplica, MapShard};
use margate_net::measure::{Measures, Number, Span, Traffic};
use margate_net::message::{
    CoreStatus, EntryKind, PeerBatch, PeerEntry, PeerMessage, PeerMessageKind, ReplicaRole, ReplicaStatus, Reply, Row, StatusDetail,
    Success,
};

use crate::budget;
use crate::handshake::{some_hello, some_welcome};
use crate::input::{Input, seal_frames};

/// Makes the checksums of all frames right.
const SEAL: u8 = 1;
/// Reads as before the handshake.
const HANDSHAKE: u8 = 2;

/// Takes frames off any bytes, and decodes them as everything they could be.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (choices, cut) = (input.byte(), usize::from(input.short()));
    let mut stream = input.0.to_vec();
    if choices & SEAL != 0 {
        seal_frames(&mut stream);
    }
    let stage = if choices & HANDSHAKE == 0 {
        Stage::Established
    } else {
        Stage::Handshake
    };
    // A reply may be larger than the row it is made of, and lists are split by frame.
    budget::within(stream.len(), 64 << 10, 32, || read(&stream, cut, stage));
}

fn read(stream: &[u8], cut: usize, stage: Stage) {
    let (first, second) = stream.split_at(cut.min(stream.len()));
    let mut buffer = BytesMut::with_capacity(stream.len());
    for part in [first, second] {
        buffer.extend_from_slice(part);
        assert!(missing(&buffer, stage) <= FRAME_BYTES_MAX);
        loop {
            match take_frame(&mut buffer, stage) {
                Ok(Some(frame)) => decode(&frame),
                Ok(None) => break,
                Err(error) => return assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// Every decoder; the right one must read what it has read once more, after its encoder.
fn decode(frame: &Frame) {
    assert!(frame.body.len() <= BODY_BYTES_MAX);
    conversations(frame);
    if let Ok(batch) = codec::decode_peer(frame) {
        let again = again(frame, |writer, out| writer.peer(out, &batch));
        assert_eq!(again.map(|frame| codec::decode_peer(&frame)), Some(Ok(batch)));
    }
    if let Ok(replies) = codec::decode_replies(frame) {
        let again = again(frame, |writer, out| writer.replies(out, &replies));
        assert!(replies.is_empty() || again.map(|frame| codec::decode_replies(&frame)) == Some(Ok(replies)));
    }
    if let Ok(map) = codec::decode_map_reply(frame) {
        assert_eq!(codec::decode_map(&codec::encode_map(&map)), Ok(map));
    }
    if let Ok(detail) = codec::decode_status_request(frame) {
        let again = again(frame, |writer, out| writer.status_request(out, 0, detail));
        assert_eq!(again.map(|frame| codec::decode_status_request(&frame)), Some(Ok(detail)));
    }
    if let Ok(status) = codec::decode_status_reply(frame) {
        let again = again(frame, |writer, out| writer.status_reply(out, 0, &status));
        assert_eq!(again.map(|frame| codec::decode_status_reply(&frame)), Some(Ok(status)));
    }
    if let Ok(create) = codec::decode_create(frame) {
        let again = again(frame, |writer, out| writer.create(out, 0, &create));
        assert_eq!(again.map(|frame| codec::decode_create(&frame)), Some(Ok(create)));
    }
    requests(frame);
}

/// Those without a way back that is worth it.
fn conversations(frame: &Frame) {
    let _ = codec::decode_hello(frame);
    let _ = codec::decode_welcome(frame);
    let _ = codec::decode_goodbye(frame).map(|goodbye| goodbye.to_string());
    let _ = codec::decode_map_request(frame);
    let _ = codec::decode_probe(frame);
    let _ = codec::decode_probe_reply(frame);
    let _ = codec::decode_create_reply(frame);
}

/// The good ones are written again as a client would; they must come back as they are, page limits included.
fn requests(frame: &Frame) {
    let Ok(received) = codec::decode_requests(frame) else { return };
    let good: Vec<_> = received.into_iter().filter_map(|one| one.request.ok()).collect();
    let mut out = Vec::new();
    FrameWriter::new().requests(&mut out, &good);
    let mut buffer = BytesMut::from(out.as_slice());
    let mut back = Vec::new();
    while let Some(frame) = take_frame(&mut buffer, Stage::Established).expect("what we write is whole") {
        let received = codec::decode_requests(&frame).expect("what we write can be read");
        back.extend(received.into_iter().filter_map(|one| one.request.ok()));
    }
    assert_eq!(back, good);
}

/// What an encoder makes, if it is one frame of the same kind.
fn again(frame: &Frame, write: impl FnOnce(&mut FrameWriter, &mut Vec<u8>)) -> Option<Frame> {
    let mut out = Vec::new();
    write(&mut FrameWriter::new(), &mut out);
    let taken = take_frame(&mut BytesMut::from(out.as_slice()), Stage::Established);
    taken.expect("what we write is a frame").filter(|again| again.kind == frame.kind)
}

/// A frame of each kind, as their encoders make them.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    type Write = fn(&mut FrameWriter, &mut Vec<u8>);
    let writes: [Write; 14] = [
        |writer, out| writer.hello(out, &some_hello()),
        |writer, out| writer.welcome(out, &some_welcome()),
        |writer, out| writer.goodbye(out, &Goodbye::Handshake(HandshakeRefusal::TooSlow { after_ms: 5_000 })),
        |writer, out| writer.raw_requests(out, some_requests().into_iter()),
        |writer, out| writer.replies(out, &some_replies()),
        |writer, out| writer.peer(out, &some_batch()),
        |writer, out| writer.map_request(out, 7),
        |writer, out| writer.map_reply(out, 7, &some_map()),
        |writer, out| writer.status_request(out, 7, StatusDetail::Measures),
        |writer, out| writer.status_reply(out, 7, &some_status()),
        |writer, out| writer.probe(out, 7),
        |writer, out| writer.probe_reply(out, 7, &some_probe()),
        |writer, out| writer.create(out, 7, &some_create()),
        |writer, out| writer.create_reply(out, 7, &CreateAnswer::Refused(CreateRefusal::TopologyDiffers)),
    ];
    let frame = |write: Write| {
        let mut out = vec![SEAL, 40, 0];
        write(&mut FrameWriter::new(), &mut out);
        out
    };
    writes.map(frame).into()
}

fn some_requests() -> Vec<RawRequest<'static>> {
    let kinds = [
        (OperationKind::Set, flag::CREATE_ONLY, [b"key".as_slice(), b"value", b""]),
        (OperationKind::Get, flag::STALE, [b"key", b"", b""]),
        (OperationKind::Delete, flag::AT_VERSION, [b"key", b"", b""]),
        (OperationKind::CompareExchange, flag::RETURN_KEY, [b"key", b"old", b"new"]),
        (OperationKind::Size, 0, [b"key", b"", b""]),
        (OperationKind::List, flag::REVERSE, [b"a", b"z", b""]),
    ];
    let request = |(kind, flags, pieces)| RawRequest {
        id: 7,
        shard: 2,
        range_epoch: 1,
        timeout_ms: 5_000,
        kind: kind as u8,
        flags,
        version: 3,
        limit: 10,
        pieces,
    };
    kinds.map(request).into()
}

fn some_replies() -> Vec<Reply> {
    let (key, value) = (Some(Bytes::from_static(b"key")), Bytes::from_static(b"value"));
    let (version, applied) = (Version(9), LogIndex(4));
    let rows = vec![Row {
        key: value.clone(),
        version,
        value: key.clone(),
    }];
    let outcomes = [
        Ok(Success::Written {
            version,
            key: key.clone(),
            old_value: None,
        }),
        Ok(Success::Found {
            version,
            value,
            key: key.clone(),
            applied,
        }),
        Ok(Success::Listed {
            rows,
            resume: key,
            applied,
        }),
        Err(Refusal::Busy {
            queue: Queue::Reads,
            retry_after_ms: 5,
        }),
    ];
    outcomes.into_iter().map(|outcome| Reply { id: 7, outcome }).collect()
}

fn some_batch() -> PeerBatch {
    let entry = PeerEntry {
        term: Term(2),
        index: LogIndex(5),
        kind: EntryKind::Normal,
        data: Bytes::from_static(b"data"),
    };
    let message = PeerMessage {
        shard: ShardId(1),
        from: ReplicaId(1),
        to: ReplicaId(2),
        kind: PeerMessageKind::Append,
        term: Term(2),
        log_term: Term(2),
        index: LogIndex(4),
        commit: LogIndex(3),
        commit_term: Term(2),
        reject: false,
        reject_hint: LogIndex(0),
        priority: 0,
        context: Bytes::from_static(b"context"),
        entries: vec![entry.clone(), entry],
    };
    PeerBatch {
        round: 8,
        echo: 7,
        disk: margate_net::message::DiskState::default(),
        messages: vec![message],
    }
}

/// Two shards on one node of two cores.
pub(crate) fn some_map() -> Map {
    let node = MapNode {
        id: NodeId(1),
        cores: ["127.0.0.1:7400", "[::1]:7401"]
            .map(|address| address.parse().expect("an address"))
            .into(),
    };
    let shard = |id, low: &'static [u8], high: &'static [u8]| MapShard {
        id: ShardId(id),
        low: Bytes::from_static(low),
        high: Bytes::from_static(high),
        range_epoch: RangeEpoch(1),
        member_epoch: MemberEpoch(1),
        replicas: vec![MapReplica {
            id: ReplicaId(1),
            node: NodeId(1),
            core: margate_net::ids::CoreId(0),
        }],
    };
    let shards = vec![shard(1, b"", b"m"), shard(2, b"m", b"")];
    Map::new(ClusterId(5), MapEpoch(1), vec![node], shards).expect("it fits together")
}

fn some_status() -> CoreStatus {
    let replica = ReplicaStatus {
        leader: Some(NodeId(1)),
        term: Term(2),
        commit: LogIndex(3),
        applied: LogIndex(3),
        last: LogIndex(4),
        ..ReplicaStatus::new(ShardId(1), ReplicaId(1), ReplicaRole::Leader)
    };
    let core = margate_net::ids::CoreId(0);
    let mut measures = Measures::default();
    measures.times.record(Span::LogFlush, 120_000, 3);
    measures.times.record(Span::Turn, 7_000, 40);
    measures.numbers.set(Number::LogBatches, 3);
    measures.outcomes.count(codec::OperationKind::Set, None);
    measures.traffic.push(Traffic::none(NodeId(2), core));
    CoreStatus {
        uptime_secs: 9,
        replicas: vec![replica],
        measures: Some(measures),
        ..CoreStatus::new(NodeId(1), core)
    }
}

fn some_probe() -> ProbeAnswer {
    ProbeAnswer {
        node: NodeId(1),
        directory: DirectoryId(6),
        state: DirectoryState::Member { cluster: ClusterId(5) },
    }
}

fn some_create() -> Create {
    Create {
        cluster: ClusterId(5),
        directories: vec![(NodeId(1), DirectoryId(6))],
        map: some_map(),
    }
}

/// Every kind has a seed.
const _: () = assert!(FrameKind::CreateReply as usize == 14);
