//! What lies in files beside batches, and inside records: shard state, entries' data, changes of members, the identity, rows and marks of
//! the index, the map.
//!
//! Input: one byte that chooses the reader, one of choices, the bytes to read.

use bytes::Bytes;
use margate_engine::bootstrap::identity::{Creation, Identity, Membership};
use margate_engine::index::marks::{self, decode_position, encode_position, position_key};
use margate_engine::index::{CoreMarks, ReplicaMarks, Row, RowFlags};
use margate_engine::log::effects::{EntryData, ExpectedEffect, read_effect, verify_checksums};
use margate_engine::shard::members::{Change, Home, Members};
use margate_engine::shard::state::ShardState;
use margate_engine::types::{HardState, Nanos, Position, ReplicaName, ValueHash};
use margate_net::codec::{decode_map, encode_map};
use margate_net::ids::{CoreId, DirectoryId, LogIndex, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId, Space, Term, Version};
use protobuf::Message;

use crate::budget;
use crate::frame::some_map;
use crate::input::{Input, seal_end};
use crate::log_scan::{config, some_entry};

/// Makes the checksum at the end right.
const SEAL: u8 = 1;
/// Bytes of an effect before its checksum's contents.
const EFFECT_AT: usize = 16;

/// Reads any bytes as one of them.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (reader, choices) = (input.byte() % 10, input.byte());
    let mut bytes = input.0.to_vec();
    let sealed = choices & SEAL != 0;
    budget::within(bytes.len(), 64 << 10, 16, || match reader {
        0 => shard_state(&bytes),
        1 => entry(&mut bytes, sealed),
        2 => identity(&mut bytes, sealed),
        3 => row(&bytes),
        4 => core_marks(&mut bytes, sealed),
        5 => replica_marks(&mut bytes, sealed),
        6 => index_identity(&mut bytes, sealed),
        7 => position(&bytes),
        8 => change(&bytes),
        _ => map(&bytes),
    });
}

fn shard_state(bytes: &[u8]) {
    if let Ok(state) = ShardState::decode(bytes) {
        assert_eq!(state.encode(), bytes);
        let _ = state.contains(b"key");
    }
}

/// With its first effect's checksum made right: that of the rest is the same code.
fn entry(bytes: &mut [u8], sealed: bool) {
    let first = EntryData::parse(bytes).ok().and_then(|entry| entry.effects().next());
    let end = first.map(|(at, effect)| at as usize + 48 + effect.key.len() + effect.value.len());
    if let Some(effect) = bytes.get_mut(EFFECT_AT..end.unwrap_or(0)).filter(|_| sealed) {
        let checksum = crc32fast::hash(&effect[4..]).to_le_bytes();
        effect[..4].copy_from_slice(&checksum);
    }
    let verified = verify_checksums(bytes).is_ok();
    let Ok(entry) = EntryData::parse(bytes) else {
        return assert!(!verified);
    };
    for (at, effect) in entry.effects() {
        let expected = ExpectedEffect {
            cluster: config().cluster,
            shard: ShardId(1),
            key: effect.key,
            version: effect.version,
        };
        let _ = read_effect(&bytes[at as usize..], &expected).map(|read| assert_eq!(read, effect));
    }
}

fn identity(bytes: &mut [u8], sealed: bool) {
    if sealed {
        seal_end(&[], bytes);
    }
    match Identity::decode(bytes) {
        Ok(identity) => assert_eq!(Identity::decode(&identity.encode()), Ok(identity)),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

fn row(bytes: &[u8]) {
    if let Ok(row) = Row::decode(bytes) {
        assert_eq!(row.encode(), bytes);
    }
}

fn core_marks(bytes: &mut [u8], sealed: bool) {
    if sealed {
        seal_end(&marks::CORE_KEY, bytes);
    }
    if let Ok(marks) = CoreMarks::decode(bytes) {
        assert_eq!(marks.encode(), bytes);
    }
}

fn replica_marks(bytes: &mut [u8], sealed: bool) {
    let (key, value) = bytes.split_at_mut(17.min(bytes.len()));
    if sealed {
        seal_end(key, value);
    }
    if let Ok(marks) = ReplicaMarks::decode(key, value) {
        assert_eq!(marks.key(), *key);
        assert_eq!(marks.encode().ok().as_deref(), Some(&*value));
    }
}

fn index_identity(bytes: &mut [u8], sealed: bool) {
    if sealed {
        seal_end(&marks::IDENTITY_KEY, bytes);
    }
    let _ = our_index().check(bytes).map_err(|error| assert!(!error.to_string().is_empty()));
}

fn position(bytes: &[u8]) {
    let (key, value) = bytes.split_at(24.min(bytes.len()));
    if let Ok((name, index, position)) = decode_position(key, value) {
        assert_eq!(position_key(name, index), *key);
        assert_eq!(encode_position(position), *value);
    }
}

fn change(bytes: &[u8]) {
    if let Some((change, raft)) = Change::parse(bytes) {
        assert_eq!(change.to_raft(), raft);
    }
}

fn map(bytes: &[u8]) {
    match decode_map(bytes) {
        Ok(map) => assert_eq!(decode_map(&encode_map(&map)), Ok(map)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn our_index() -> marks::Identity {
    marks::Identity {
        cluster: config().cluster,
        directory: config().directory,
    }
}

pub(crate) fn some_state() -> ShardState {
    ShardState {
        low: Bytes::from_static(b"a"),
        high: Bytes::from_static(b"m"),
        range_epoch: RangeEpoch(1),
        member_epoch: MemberEpoch(2),
        members: Members {
            voters: vec![ReplicaId(1), ReplicaId(2), ReplicaId(3)],
            highest: ReplicaId(3),
            ..Members::default()
        },
        version_high: Version(9),
        clock: Nanos(1_700_000_000_000_000_000),
    }
}

fn some_identity() -> Identity {
    let creation = Creation {
        directories: vec![(NodeId(1), DirectoryId(6))],
        map: some_map(),
    };
    Identity {
        directory: DirectoryId(6),
        node: NodeId(1),
        membership: Membership::Member {
            creation,
            cores_created: true,
            joined: false,
        },
    }
}

fn some_row() -> Row {
    Row {
        version: Version(9),
        position: some_position(),
        size: 5,
        flags: RowFlags::default(),
        hash: ValueHash::of(b"value"),
    }
}

fn some_position() -> Position {
    Position { segment: 1, offset: 4_096 }
}

fn some_marks() -> ReplicaMarks {
    ReplicaMarks {
        name: ReplicaName {
            shard: ShardId(1),
            replica: ReplicaId(1),
        },
        space: Space(1),
        applied: LogIndex(4),
        applied_term: Term(2),
        hard_state: HardState {
            term: Term(2),
            vote: ReplicaId(1),
        },
        commit: LogIndex(4),
        damaged: false,
        truncated: LogIndex(0),
        low: Bytes::from_static(b"a"),
        high: Bytes::from_static(b"m"),
        term_runs: vec![(LogIndex(1), Term(1)), (LogIndex(3), Term(2))],
        state: some_state().encode(),
    }
}

/// One of each, as its encoder makes it.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let (core, replica, name) = (
        CoreMarks {
            generation: 3,
            replay: some_position(),
            replay_sequence: 7,
            next_space: Space(2),
        },
        some_marks(),
        some_marks().name,
    );
    let home = Home {
        replica: ReplicaId(4),
        node: NodeId(3),
        core: CoreId(0),
        directory: DirectoryId(6),
    };
    let all: [Vec<u8>; 10] = [
        some_state().encode().to_vec(),
        some_entry(1, 2),
        some_identity().encode(),
        some_row().encode().to_vec(),
        core.encode(),
        [replica.key().as_slice(), &replica.encode().expect("short")].concat(),
        our_index().encode(),
        [position_key(name, LogIndex(4)).as_slice(), &encode_position(some_position())].concat(),
        Change::Admit(home).to_raft().write_to_bytes().expect("short"),
        encode_map(&some_map()),
    ];
    // Few bytes for which the codec once reserved half a megabyte and two.
    let greedy = [
        (8, vec![0x6a, 0xf6, 0xff, 0xa5, 0, 0, 7, 9, 0x94, 0x95]),
        (8, vec![0x1a, 0xff, 0xff, 0x7f, 0, 3, 0, 0, 0]),
    ];
    let seed = |(reader, bytes): (u8, Vec<u8>)| [&[reader, SEAL], bytes.as_slice()].concat();
    (0..).zip(all).chain(greedy).map(seed).collect()
}
