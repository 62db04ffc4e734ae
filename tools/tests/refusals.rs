//! Operations that a client of ours would never send, against one running node: each is refused alone, with its
//! reason, and changes nothing, while its neighbours in the same frame are carried out.

mod support;

use std::collections::BTreeMap;

use margate_net::codec::{FrameWriter, OperationKind, RawRequest, decode_replies, flag};
use margate_net::error::{ArgumentFault, Refusal};
use margate_net::ids::{LogIndex, RangeEpoch, Version};
use margate_net::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use margate_net::message::{Reply, Success};
use support::node::Single;
use support::wire::{Wire, client_hello};

/// A set in the first of two shards, which ends at 0x80.
const SET: RawRequest<'static> = RawRequest {
    id: 0,
    shard: 1,
    range_epoch: 1,
    timeout_ms: 20_000,
    kind: OperationKind::Set as u8,
    flags: 0,
    version: 0,
    limit: 0,
    pieces: [b"refused", b"value", &[]],
};

/// A get there.
const GET: RawRequest<'static> = RawRequest {
    kind: OperationKind::Get as u8,
    pieces: [b"good", &[], &[]],
    ..SET
};

/// Sends operations in one frame, their ids being their places in it, and waits for all outcomes in that order.
fn outcomes(wire: &mut Wire, operations: &[RawRequest<'_>]) -> Vec<Result<Success, Refusal>> {
    let numbered: Vec<RawRequest<'_>> = (0..)
        .zip(operations)
        .map(|(id, operation)| RawRequest { id, ..*operation })
        .collect();
    let mut out = Vec::new();
    FrameWriter::new().raw_requests(&mut out, numbered.into_iter());
    wire.send(&out);
    let mut outcomes = BTreeMap::new();
    while outcomes.len() < operations.len() {
        let frame = wire.frame().expect("the connection stays");
        for Reply { id, outcome } in decode_replies(&frame).expect("replies") {
            assert!(outcomes.insert(id, outcome).is_none(), "operation {id} is answered twice");
        }
    }
    outcomes.into_values().collect()
}

fn invalid(fault: ArgumentFault) -> Refusal {
    Refusal::InvalidArgument(fault)
}

#[test]
fn each_bad_operation_is_refused_alone() {
    let mut single = Single::create();
    let (mut wire, _) = Wire::greeted(&single.address, &client_hello());
    let good = RawRequest {
        pieces: [b"good", b"1", &[]],
        ..SET
    };
    let (key, value) = (vec![b'k'; KEY_BYTES_MAX + 1], vec![b'v'; VALUE_BYTES_MAX + 1]);
    let bad = bad_operations(&key, &value);

    let between: Vec<RawRequest<'_>> = bad.iter().flat_map(|(operation, _)| [good, *operation]).collect();
    let answers = outcomes(&mut wire, &between);
    for ([good, bad], (operation, refusal)) in answers.as_chunks().0.iter().zip(&bad) {
        assert!(matches!(good, Ok(Success::Written { .. })), "{good:?} beside {operation:?}");
        assert_eq!(bad.as_ref(), Err(refusal), "flags {} of kind {}", operation.flags, operation.kind);
    }

    routes_are_checked(&mut wire);
    versions_are_checked(&mut wire);
    assert_eq!(single.cli().told(&["list"]), "good\t1\n", "a refused operation has left something");
    single.process.stop();
}

/// Another kind of operation there.
fn operation<'a>(kind: OperationKind, pieces: [&'a [u8]; 3]) -> RawRequest<'a> {
    let kind = kind as u8;
    RawRequest { kind, pieces, ..SET }
}

fn bad_operations<'a>(key: &'a [u8], value: &'a [u8]) -> Vec<(RawRequest<'a>, Refusal)> {
    let mut bad = bad_sizes(key, value);
    bad.extend(bad_flags());
    bad.extend([0, 99].map(|kind| (RawRequest { kind, ..SET }, invalid(ArgumentFault::UnknownOperation))));
    let no_rows = operation(OperationKind::List, [b"", b"", b""]);
    bad.push((no_rows, invalid(ArgumentFault::ZeroLimit)));
    bad
}

fn bad_sizes<'a>(key: &'a [u8], value: &'a [u8]) -> Vec<(RawRequest<'a>, Refusal)> {
    let long_key = Refusal::InvalidKey {
        length: key.len() as u64,
        max: KEY_BYTES_MAX as u64,
    };
    let large = Refusal::ValueTooLarge {
        length: value.len() as u64,
        max: VALUE_BYTES_MAX as u64,
    };
    let list = operation(OperationKind::List, [b"", key, b""]);
    vec![
        (operation(OperationKind::Set, [key, b"value", b""]), long_key),
        (operation(OperationKind::Get, [key, b"", b""]), long_key),
        (operation(OperationKind::Delete, [key, b"", b""]), long_key),
        (operation(OperationKind::Size, [key, b"", b""]), long_key),
        (RawRequest { limit: 1, ..list }, long_key),
        (operation(OperationKind::Set, [b"refused", value, b""]), large),
        (operation(OperationKind::CompareExchange, [b"good", value, b"2"]), large),
        (operation(OperationKind::CompareExchange, [b"good", b"1", value]), large),
    ]
}

fn bad_flags() -> Vec<(RawRequest<'static>, Refusal)> {
    let delete = operation(OperationKind::Delete, [b"good", b"", b""]);
    let exchange = operation(OperationKind::CompareExchange, [b"good", b"1", b"2"]);
    let all = flag::CREATE_ONLY | flag::MODIFY_ONLY | flag::AT_VERSION;
    let bad = [
        (SET, flag::CREATE_ONLY | flag::MODIFY_ONLY, ArgumentFault::CreateAndModify),
        (SET, all, ArgumentFault::CreateAndModify),
        (SET, flag::CREATE_ONLY | flag::AT_VERSION, ArgumentFault::CreateAtVersion),
        (SET, flag::STALE, ArgumentFault::UnexpectedFlag),
        (SET, 1 << 15, ArgumentFault::UnexpectedFlag),
        (delete, flag::CREATE_ONLY, ArgumentFault::UnexpectedFlag),
        (exchange, flag::MODIFY_ONLY, ArgumentFault::UnexpectedFlag),
        (GET, flag::KEYS_ONLY, ArgumentFault::UnexpectedFlag),
    ];
    bad.map(|(operation, flags, fault)| (RawRequest { flags, ..operation }, invalid(fault)))
        .into()
}

/// A key outside the shard, an epoch that is over, a shard that is not there.
fn routes_are_checked(wire: &mut Wire) {
    let wrong_range = Err(Refusal::WrongRange { current: RangeEpoch(1) });
    let answers = outcomes(
        wire,
        &[
            RawRequest {
                pieces: [b"\x90", b"value", &[]],
                ..SET
            },
            RawRequest { range_epoch: 0, ..SET },
            RawRequest { shard: 9, ..SET },
            RawRequest { range_epoch: 0, ..GET },
        ],
    );
    assert_eq!(
        answers,
        [wrong_range.clone(), wrong_range.clone(), Err(Refusal::NoSuchShard), wrong_range]
    );
}

/// A version that never was.
fn versions_are_checked(wire: &mut Wire) {
    let read = outcomes(wire, &[GET]);
    let [Ok(Success::Found { version, .. })] = read.as_slice() else {
        panic!("it was written: {read:?}");
    };
    let never = version.0 + 1_000;
    let at_version = |version, operation| RawRequest {
        flags: flag::AT_VERSION,
        version,
        ..operation
    };
    let missing = RawRequest {
        pieces: [b"missing", &[], &[]],
        ..GET
    };
    let set_missing = RawRequest {
        pieces: [b"missing", b"value", &[]],
        ..SET
    };
    let set_good = RawRequest {
        pieces: [b"good", b"2", &[]],
        ..SET
    };
    let answers = outcomes(
        wire,
        &[
            at_version(never, GET),
            at_version(never, set_good),
            at_version(never, set_missing),
            at_version(version.0, GET),
            missing,
        ],
    );
    let mismatch = |actual| Err(Refusal::VersionMismatch { actual });
    let applied = |answer: &Result<Success, Refusal>| match answer {
        Ok(Success::Found { applied, .. }) => *applied,
        other => panic!("{other:?}"),
    };
    let found = Success::Found {
        version: *version,
        value: b"1".as_slice().into(),
        key: None,
        applied: applied(&answers[3]),
    };
    assert!(applied(&answers[3]) > LogIndex(0));
    assert_eq!(
        answers,
        [
            Err(Refusal::NoSuchVersion),
            mismatch(Some(*version)),
            mismatch(None),
            Ok(found),
            Err(Refusal::NotFound)
        ]
    );
    assert_ne!(*version, Version(0));
}
