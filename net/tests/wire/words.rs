//! Arbitrary words of the wire, and frames of every kind.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use margate_net::codec::{Create, CreateAnswer, CreateRefusal, DirectoryState, FrameWriter, OperationKind, ProbeAnswer};
use margate_net::error::{Refusal, WireRefusal};
use margate_net::frame::{Frame, Stage, take_frame};
use margate_net::handshake::{Goodbye, HandshakeRefusal, Hello, Role, Welcome};
use margate_net::ids::{
    ClusterId, CoreId, DirectoryId, Incarnation, LogIndex, MapEpoch, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId, Term, Version,
};
use margate_net::limits::{COUNTER_MAX, KEY_BYTES_MAX, LIST_ROWS_MAX};
use margate_net::map::{Map, MapNode, MapReplica, MapShard};
use margate_net::measure::{Measures, Number, Numbers, Span, Traffic};
use margate_net::message::{
    Consistency, CoreStatus, Direction, DiskRoom, DiskState, EntryKind, MemberBody, MemberMessage, Operation, PeerBatch, PeerEntry,
    PeerMessage, PeerMessageKind, Precondition, Projection, ReadVersion, Readiness, ReplicaRole, ReplicaStatus, Reply, Request, Returning,
    Row, StatusDetail, Success, WritesTaken,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Takes all frames off bytes that are whole frames.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut buffer = BytesMut::from(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = take_frame(&mut buffer, Stage::Established).expect("we wrote it") {
        frames.push(frame);
    }
    assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
    frames
}

/// The one frame that `write` writes.
pub(crate) fn frame(write: impl FnOnce(&mut FrameWriter, &mut Vec<u8>)) -> Frame {
    let mut frames = frames(&written(write));
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

/// The bytes that `write` writes.
pub(crate) fn written(write: impl FnOnce(&mut FrameWriter, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut FrameWriter::new(), &mut out);
    out
}

/// A frame of any kind, as bytes.
pub(crate) fn any_frame_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(request(), 0..5).prop_map(|requests| written(|writer, out| writer.requests(out, &requests))),
        vec(reply(), 1..5).prop_map(|replies| written(|writer, out| writer.replies(out, &replies))),
        peer_batch().prop_map(|batch| written(|writer, out| writer.peer(out, &batch))),
        member_message().prop_map(|message| written(|writer, out| writer.member(out, &message))),
        any_handshake_bytes(),
        map().prop_map(|map| written(|writer, out| writer.map_reply(out, 1, &map))),
        core_status().prop_map(|status| written(|writer, out| writer.status_reply(out, 2, &status))),
        any::<u64>().prop_map(|id| written(|writer, out| writer.map_request(out, id))),
        any::<u64>().prop_map(|id| written(|writer, out| writer.status_request(out, id, StatusDetail::Measures))),
        any::<u64>().prop_map(|id| written(|writer, out| writer.probe(out, id))),
        probe_answer().prop_map(|answer| written(|writer, out| writer.probe_reply(out, 3, &answer))),
        create().prop_map(|create| written(|writer, out| writer.create(out, 4, &create))),
        create_answer().prop_map(|answer| written(|writer, out| writer.create_reply(out, 5, &answer))),
    ]
}

/// A frame that may come before the handshake is done.
pub(crate) fn any_handshake_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        hello().prop_map(|hello| written(|writer, out| writer.hello(out, &hello))),
        welcome().prop_map(|welcome| written(|writer, out| writer.welcome(out, &welcome))),
        goodbye().prop_map(|goodbye| written(|writer, out| writer.goodbye(out, &goodbye))),
    ]
}

pub(crate) fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![9 => bytes(20), 1 => bytes(KEY_BYTES_MAX)]
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    any::<u64>().prop_map(Version)
}

fn returning() -> impl Strategy<Value = Returning> {
    any::<(bool, bool)>().prop_map(|(key, old_value)| Returning { key, old_value })
}

fn returning_key() -> impl Strategy<Value = Returning> {
    any::<bool>().prop_map(|key| Returning { key, old_value: false })
}

fn precondition() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        Just(Precondition::Always),
        Just(Precondition::Absent),
        Just(Precondition::Present),
        version().prop_map(Precondition::AtVersion),
    ]
}

fn read_version() -> impl Strategy<Value = ReadVersion> {
    prop_oneof![Just(ReadVersion::Latest), version().prop_map(ReadVersion::Exact)]
}

fn consistency() -> impl Strategy<Value = Consistency> {
    prop_oneof![Just(Consistency::Linearizable), Just(Consistency::Stale)]
}

fn list() -> impl Strategy<Value = Operation> {
    let direction = prop_oneof![Just(Direction::Forward), Just(Direction::Reverse)];
    let projection = prop_oneof![Just(Projection::KeysAndValues), Just(Projection::KeysOnly)];
    (key(), key(), 1..=LIST_ROWS_MAX, direction, projection, consistency()).prop_map(
        |(low, high, limit, direction, projection, consistency)| Operation::List {
            low,
            high,
            limit,
            direction,
            projection,
            consistency,
        },
    )
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    let set = (key(), bytes(100), precondition(), returning()).prop_map(|(key, value, precondition, returning)| Operation::Set {
        key,
        value,
        precondition,
        returning,
    });
    let delete = (key(), option::of(version()), returning()).prop_map(|(key, at_version, returning)| Operation::Delete {
        key,
        at_version,
        returning,
    });
    let exchange = (key(), bytes(100), bytes(100), returning()).prop_map(|(key, expected, value, returning)| Operation::CompareExchange {
        key,
        expected,
        value,
        returning,
    });
    let reads = (key(), read_version(), consistency(), returning_key());
    let reads = (any::<bool>(), reads).prop_map(|(get, (key, version, consistency, returning))| {
        if get {
            Operation::Get {
                key,
                version,
                consistency,
                returning,
            }
        } else {
            Operation::Size {
                key,
                version,
                consistency,
                returning,
            }
        }
    });
    prop_oneof![set, delete, exchange, reads, list()]
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    (any::<(u64, u64, u64, u32)>(), operation()).prop_map(|((id, shard, range_epoch, timeout_ms), operation)| Request {
        id,
        shard: ShardId(shard),
        range_epoch: RangeEpoch(range_epoch),
        timeout_ms,
        operation,
    })
}

pub(crate) fn refusal() -> impl Strategy<Value = Refusal> {
    (1u16..=17, 1u64..=4, 1u64..=1_000)
        .prop_map(|(code, a, b)| Refusal::from_wire(WireRefusal { code, a, b }).expect("codes and arguments are dense here"))
}

fn row() -> impl Strategy<Value = Row> {
    (key(), version(), option::of(bytes(50))).prop_map(|(key, version, value)| Row { key, version, value })
}

fn success() -> impl Strategy<Value = Success> {
    let maybe = || option::of(bytes(50));
    let applied = || any::<u64>().prop_map(LogIndex);
    prop_oneof![
        (option::of(version()), maybe(), maybe()).prop_map(|(version, key, old_value)| Success::Deleted { version, key, old_value }),
        (option::of(version()), maybe(), maybe()).prop_map(|(version, key, old_value)| Success::Exchanged { version, key, old_value }),
        (version(), maybe(), maybe()).prop_map(|(version, key, old_value)| Success::Written { version, key, old_value }),
        (version(), bytes(100), maybe(), applied()).prop_map(|(version, value, key, applied)| Success::Found {
            version,
            value,
            key,
            applied
        }),
        (version(), any::<u64>(), maybe(), applied()).prop_map(|(version, size, key, applied)| Success::Sized {
            version,
            size,
            key,
            applied
        }),
        (vec(row(), 0..6), maybe(), applied()).prop_map(|(rows, resume, applied)| Success::Listed { rows, resume, applied }),
    ]
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    let outcome = prop_oneof![3 => success().prop_map(Ok), 1 => refusal().prop_map(Err)];
    (any::<u64>(), outcome).prop_map(|(id, outcome)| Reply { id, outcome })
}

fn peer_entry() -> impl Strategy<Value = PeerEntry> {
    let kind = prop_oneof![Just(EntryKind::Normal), Just(EntryKind::Membership)];
    (0..=COUNTER_MAX, 0..=COUNTER_MAX, kind, bytes(100)).prop_map(|(term, index, kind, data)| PeerEntry {
        term: Term(term),
        index: LogIndex(index),
        kind,
        data,
    })
}

pub(crate) fn peer_message() -> impl Strategy<Value = PeerMessage> {
    let ids = any::<(u64, u64, u64)>();
    let kind = select((0..=u8::MAX).filter_map(PeerMessageKind::from_code).collect::<Vec<_>>());
    let counter = || 0..=COUNTER_MAX;
    let numbers = (counter(), counter(), counter(), counter(), counter(), counter());
    let rest = (any::<bool>(), any::<i64>(), bytes(30), vec(peer_entry(), 0..5));
    (ids, kind, numbers, rest).prop_map(|(ids, kind, numbers, (reject, priority, context, entries))| PeerMessage {
        shard: ShardId(ids.0),
        from: ReplicaId(ids.1),
        to: ReplicaId(ids.2),
        kind,
        term: Term(numbers.0),
        log_term: Term(numbers.1),
        index: LogIndex(numbers.2),
        commit: LogIndex(numbers.3),
        commit_term: Term(numbers.4),
        reject,
        reject_hint: LogIndex(numbers.5),
        priority,
        context,
        entries,
    })
}

pub(crate) fn peer_batch() -> impl Strategy<Value = PeerBatch> {
    (any::<(u64, u64)>(), disk_state(), vec(peer_message(), 0..6)).prop_map(|((round, echo), disk, messages)| PeerBatch {
        round,
        echo,
        disk,
        messages,
    })
}

fn disk_state() -> impl Strategy<Value = DiskState> {
    let room = select((0..=u8::MAX).filter_map(DiskRoom::from_code).collect::<Vec<_>>());
    (any::<u64>(), room).prop_map(|(free_bytes, room)| DiskState { free_bytes, room })
}

fn member_body() -> impl Strategy<Value = MemberBody> {
    let counter = || 0..=COUNTER_MAX;
    let directory = || any::<u128>().prop_map(DirectoryId);
    prop_oneof![
        directory().prop_map(|directory| MemberBody::Admit { directory }),
        (counter(), counter(), bytes(100)).prop_map(|(applied, applied_term, state)| MemberBody::Begin {
            applied: LogIndex(applied),
            applied_term: Term(applied_term),
            state,
        }),
        (counter(), counter()).prop_map(|(number, term)| MemberBody::End { number, term: Term(term) }),
        Just(MemberBody::GiveUp),
        bytes(100).prop_map(|data| MemberBody::Have { data }),
        Just(MemberBody::HaveNot),
        directory().prop_map(|directory| MemberBody::Join { directory }),
        Just(MemberBody::Removed),
        (counter(), bytes(100)).prop_map(|(number, data)| MemberBody::Rows { number, data }),
        counter().prop_map(|number| MemberBody::Taken { number }),
        (counter(), bytes(100)).prop_map(|(version, key)| MemberBody::Want {
            version: Version(version),
            key,
        }),
    ]
}

pub(crate) fn member_message() -> impl Strategy<Value = MemberMessage> {
    (any::<(u64, u64, u64, u64)>(), member_body()).prop_map(|((shard, from, to, attempt), body)| MemberMessage {
        shard: ShardId(shard),
        from: ReplicaId(from),
        to: ReplicaId(to),
        attempt,
        body,
    })
}

pub(crate) fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
    let v6 = any::<([u8; 16], u16, u32, u32)>()
        .prop_map(|(ip, port, flow, scope)| std::net::SocketAddrV6::new(ip.into(), port, flow, scope).into());
    prop_oneof![v4, v6]
}

pub(crate) fn map() -> impl Strategy<Value = Map> {
    let nodes = vec(vec(address(), 1..4), 1..4);
    let bounds = btree_set(vec(any::<u8>(), 1..10), 0..6);
    (any::<(u128, u64)>(), nodes, bounds, vec(any::<(u64, u64)>(), 6)).prop_map(|((cluster, epoch), nodes, bounds, epochs)| {
        let nodes: Vec<_> = (1..).zip(nodes).map(|(id, cores)| MapNode { id: NodeId(id), cores }).collect();
        let replicas: Vec<_> = nodes
            .iter()
            .map(|node| MapReplica {
                id: ReplicaId(node.id.0 + 10),
                node: node.id,
                core: CoreId(0),
            })
            .collect();
        let bounds: Vec<_> = bounds.into_iter().map(Bytes::from).collect();
        let lows = std::iter::once(Bytes::new()).chain(bounds.clone());
        let highs = bounds.clone().into_iter().chain([Bytes::new()]);
        let shards = (1..)
            .zip(lows.zip(highs))
            .zip(epochs)
            .map(|((id, (low, high)), (range_epoch, member_epoch))| MapShard {
                id: ShardId(id),
                low,
                high,
                range_epoch: RangeEpoch(range_epoch),
                member_epoch: MemberEpoch(member_epoch),
                replicas: replicas.clone(),
            })
            .collect();
        Map::new(ClusterId(cluster), MapEpoch(epoch), nodes, shards).expect("its parts fit")
    })
}

fn replica_status() -> impl Strategy<Value = ReplicaStatus> {
    let role = select((0..=u8::MAX).filter_map(ReplicaRole::from_code).collect::<Vec<_>>());
    let writes = select((0..=u8::MAX).filter_map(WritesTaken::from_code).collect::<Vec<_>>());
    let readiness = select((0..=u8::MAX).filter_map(Readiness::from_code).collect::<Vec<_>>());
    (any::<[u64; 6]>(), role, writes, readiness, option::of(1..=u64::MAX)).prop_map(
        |([shard, replica, term, commit, applied, last], role, writes, readiness, leader)| ReplicaStatus {
            shard: ShardId(shard),
            replica: ReplicaId(replica),
            role,
            leader: leader.map(NodeId),
            term: Term(term),
            commit: LogIndex(commit),
            applied: LogIndex(applied),
            last: LogIndex(last),
            writes,
            readiness,
        },
    )
}

fn traffic() -> impl Strategy<Value = Traffic> {
    any::<([u64; 6], u16)>().prop_map(
        |([node, frames_sent, bytes_sent, frames_dropped, frames_received, bytes_received], core)| Traffic {
            node: NodeId(node),
            core: CoreId(core),
            frames_sent,
            bytes_sent,
            frames_dropped,
            frames_received,
            bytes_received,
        },
    )
}

pub(crate) fn measures() -> impl Strategy<Value = Measures> {
    let spans = vec((0..Span::COUNT, any::<u64>(), 1u64..1_000_000), 0..40);
    let numbers = vec(any::<u64>(), Number::ALL.len());
    let outcomes = vec((select(OperationKind::ALL.to_vec()), 0u16..18, any::<u64>()), 0..10);
    (spans, numbers, outcomes, vec(traffic(), 0..4)).prop_map(|(spans, numbers, outcomes, traffic)| {
        let mut measures = Measures {
            numbers: Numbers::from_values(numbers.into_iter()).expect("as many as there are"),
            traffic,
            ..Measures::default()
        };
        for (place, nanos, times) in spans {
            let span = Span::all().nth(place).expect("a place of a span");
            measures.times.record(span, nanos, times);
        }
        for (kind, result, count) in outcomes {
            measures.outcomes.set(kind, result, count).expect("an answer that exists");
        }
        measures
    })
}

pub(crate) fn core_status() -> impl Strategy<Value = CoreStatus> {
    let replicas = vec(replica_status(), 0..6);
    (any::<([u64; 8], u16, u32)>(), disk_state(), replicas, option::of(measures())).prop_map(|(numbers, disk, replicas, measures)| {
        let (numbers, core, shards_awaited) = numbers;
        let [
            node,
            uptime_secs,
            log_bytes,
            log_ready_bytes,
            index_bytes,
            overlay_rows,
            segment_waits,
            writes_refused,
        ] = numbers;
        CoreStatus {
            node: NodeId(node),
            core: CoreId(core),
            uptime_secs,
            log_bytes,
            log_ready_bytes,
            index_bytes,
            overlay_rows,
            segment_waits,
            disk,
            writes_refused,
            shards_awaited,
            replicas,
            measures,
        }
    })
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let role = prop_oneof![Just(Role::Client), Just(Role::Peer), Just(Role::Admin)];
    (role, any::<(u128, u128, [u64; 3], u16, u16, u32, u32)>()).prop_map(
        |(role, (cluster, directory, [node, to_node, incarnation], core, to_core, tick_ms, election_ticks))| Hello {
            role,
            cluster: ClusterId(cluster),
            node: NodeId(node),
            core: CoreId(core),
            to_node: NodeId(to_node),
            to_core: CoreId(to_core),
            directory: DirectoryId(directory),
            incarnation: Incarnation(incarnation),
            tick_ms,
            election_ticks,
        },
    )
}

pub(crate) fn welcome() -> impl Strategy<Value = Welcome> {
    any::<(u128, u64, u16, u64, u64)>().prop_map(|(cluster, node, core, incarnation, map_epoch)| Welcome {
        cluster: ClusterId(cluster),
        node: NodeId(node),
        core: CoreId(core),
        incarnation: Incarnation(incarnation),
        map_epoch: MapEpoch(map_epoch),
    })
}

fn handshake_refusal() -> impl Strategy<Value = HandshakeRefusal> {
    prop_oneof![
        any::<(u128, u128)>().prop_map(|(theirs, ours)| HandshakeRefusal::ForeignCluster {
            theirs: ClusterId(theirs),
            ours: ClusterId(ours),
        }),
        any::<(u64, u16, u64, u16)>().prop_map(|(asked_node, asked_core, ours_node, ours_core)| HandshakeRefusal::WrongNode {
            asked_node: NodeId(asked_node),
            asked_core: CoreId(asked_core),
            ours_node: NodeId(ours_node),
            ours_core: CoreId(ours_core),
        }),
        any::<[u32; 4]>().prop_map(|[a, b, c, d]| HandshakeRefusal::TimingDiffers {
            theirs_tick_ms: a,
            theirs_election_ticks: b,
            ours_tick_ms: c,
            ours_election_ticks: d,
        }),
        Just(HandshakeRefusal::NotBootstrapped),
        any::<u32>().prop_map(|max| HandshakeRefusal::TooManyConnections { max }),
        any::<u32>().prop_map(|after_ms| HandshakeRefusal::TooSlow { after_ms }),
        Just(HandshakeRefusal::NamelessPeer),
        any::<u64>().prop_map(|node| HandshakeRefusal::SameNode { node: NodeId(node) }),
    ]
}

/// Any goodbye but those about frames, whose round trip has its own test.
pub(crate) fn goodbye() -> impl Strategy<Value = Goodbye> {
    prop_oneof![
        6 => handshake_refusal().prop_map(Goodbye::Handshake),
        1 => Just(Goodbye::ShuttingDown),
        1 => (65u16..).prop_map(|code| Goodbye::Unknown { code }),
    ]
}

pub(crate) fn probe_answer() -> impl Strategy<Value = ProbeAnswer> {
    (any::<(u64, u128)>(), option::of(any::<u128>())).prop_map(|((node, directory), cluster)| ProbeAnswer {
        node: NodeId(node),
        directory: DirectoryId(directory),
        state: cluster.map_or(DirectoryState::Empty, |cluster| DirectoryState::Member {
            cluster: ClusterId(cluster),
        }),
    })
}

pub(crate) fn create() -> impl Strategy<Value = Create> {
    (any::<u128>(), vec(any::<(u64, u128)>(), 0..5), map()).prop_map(|(cluster, directories, map)| Create {
        cluster: ClusterId(cluster),
        directories: directories.into_iter().map(|(node, id)| (NodeId(node), DirectoryId(id))).collect(),
        map,
    })
}

pub(crate) fn create_answer() -> impl Strategy<Value = CreateAnswer> {
    prop_oneof![
        Just(CreateAnswer::Accepted),
        any::<u128>().prop_map(|ours| CreateAnswer::Refused(CreateRefusal::DirectoryDiffers { ours: DirectoryId(ours) })),
        any::<u128>().prop_map(|ours| CreateAnswer::Refused(CreateRefusal::OtherCluster { ours: ClusterId(ours) })),
        Just(CreateAnswer::Refused(CreateRefusal::TopologyDiffers)),
    ]
}
