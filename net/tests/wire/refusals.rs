//! One bad operation refuses only itself.

use crate::words::frame;
use margate_net::codec::{OperationKind, RawRequest, ReceivedRequest, decode_requests, flag};
use margate_net::error::{ArgumentFault, Refusal};
use margate_net::frame::FrameError;
use margate_net::ids::Version;
use margate_net::limits::{KEY_BYTES_MAX, LIST_ROWS_MAX, VALUE_BYTES_MAX};
use margate_net::message::{Operation, Precondition};

fn raw(kind: OperationKind, flags: u16, pieces: [&[u8]; 3]) -> RawRequest<'_> {
    RawRequest {
        id: 42,
        shard: 1,
        range_epoch: 1,
        timeout_ms: 1_000,
        kind: kind as u8,
        flags,
        version: 7,
        limit: 10,
        pieces,
    }
}

/// Sends an operation between two good ones, which must not suffer.
fn received(bad: RawRequest<'_>) -> Result<Operation, Refusal> {
    let good = |id| RawRequest {
        id,
        ..raw(OperationKind::Get, 0, [b"key", b"", b""])
    };
    let frame = frame(|writer, out| writer.raw_requests(out, [good(1), bad, good(2)].into_iter()));
    let mut all = decode_requests(&frame).expect("the frame is right");
    assert_eq!(all.len(), 3);
    let ReceivedRequest { id, request } = all.swap_remove(1);
    assert_eq!(id, 42, "a refusal must find its way back");
    assert!(all.iter().all(|one| one.request.is_ok()));
    request.map(|request| request.operation)
}

fn refused(bad: RawRequest<'_>) -> Refusal {
    received(bad).expect_err("it must be refused")
}

#[test]
fn keys_and_values_over_their_limits() {
    let long_key = vec![1; KEY_BYTES_MAX + 1];
    let long_value = vec![1; VALUE_BYTES_MAX + 1];
    let invalid_key = Refusal::InvalidKey { length: 1_025, max: 1_024 };
    let too_large = Refusal::ValueTooLarge {
        length: 1_048_577,
        max: 1_048_576,
    };
    for kind in [
        OperationKind::Get,
        OperationKind::Set,
        OperationKind::Delete,
        OperationKind::Size,
        OperationKind::List,
    ] {
        assert_eq!(refused(raw(kind, 0, [&long_key, b"", b""])), invalid_key);
    }
    assert_eq!(refused(raw(OperationKind::List, 0, [b"", &long_key, b""])), invalid_key);
    assert_eq!(refused(raw(OperationKind::Set, 0, [b"k", &long_value, b""])), too_large);
    assert_eq!(refused(raw(OperationKind::CompareExchange, 0, [b"k", &long_value, b""])), too_large);
    assert_eq!(refused(raw(OperationKind::CompareExchange, 0, [b"k", b"", &long_value])), too_large);
    assert!(received(raw(OperationKind::Set, 0, [&long_key[1..], &long_value[1..], b""])).is_ok());
}

#[test]
fn conditions_that_exclude_each_other() {
    let precondition = |flags| match received(raw(OperationKind::Set, flags, [b"k", b"v", b""])) {
        Ok(Operation::Set { precondition, .. }) => Ok(precondition),
        Ok(other) => panic!("a set became {other:?}"),
        Err(refusal) => Err(refusal),
    };
    let fault = |fault| Err(Refusal::InvalidArgument(fault));
    let (create, modify, at) = (flag::CREATE_ONLY, flag::MODIFY_ONLY, flag::AT_VERSION);
    assert_eq!(precondition(0), Ok(Precondition::Always));
    assert_eq!(precondition(create), Ok(Precondition::Absent));
    assert_eq!(precondition(modify), Ok(Precondition::Present));
    assert_eq!(precondition(at), Ok(Precondition::AtVersion(Version(7))));
    assert_eq!(precondition(modify | at), Ok(Precondition::AtVersion(Version(7))));
    assert_eq!(precondition(create | modify), fault(ArgumentFault::CreateAndModify));
    assert_eq!(precondition(create | at), fault(ArgumentFault::CreateAtVersion));
    assert_eq!(precondition(create | modify | at), fault(ArgumentFault::CreateAndModify));
}

#[test]
fn kinds_and_flags_that_are_not_there() {
    let unknown = Refusal::InvalidArgument(ArgumentFault::UnknownOperation);
    for kind in [0, 7, 255] {
        // An unknown kind may have three pieces; what follows is still found.
        let bad = RawRequest {
            kind,
            ..raw(OperationKind::Get, 0xffff, [b"one", b"two", b"three"])
        };
        assert_eq!(refused(bad), unknown);
    }
    let unexpected = Refusal::InvalidArgument(ArgumentFault::UnexpectedFlag);
    for (kind, flags) in [
        (OperationKind::Set, flag::STALE),
        (OperationKind::Get, flag::RETURN_OLD_VALUE),
        (OperationKind::Size, flag::CREATE_ONLY),
        (OperationKind::Delete, flag::MODIFY_ONLY),
        (OperationKind::CompareExchange, flag::AT_VERSION),
        (OperationKind::List, flag::RETURN_KEY),
        (OperationKind::Get, 1 << 8),
        (OperationKind::Set, 1 << 15),
    ] {
        assert_eq!(refused(raw(kind, flags, [b"k", b"", b""])), unexpected, "{kind:?} {flags:#x}");
    }
}

#[test]
fn limits_of_lists() {
    let list = |limit| {
        received(RawRequest {
            limit,
            ..raw(OperationKind::List, flag::REVERSE | flag::KEYS_ONLY, [b"a", b"b", b""])
        })
    };
    assert_eq!(list(0), Err(Refusal::InvalidArgument(ArgumentFault::ZeroLimit)));
    for (asked, given) in [
        (1, 1),
        (LIST_ROWS_MAX, LIST_ROWS_MAX),
        (LIST_ROWS_MAX + 1, LIST_ROWS_MAX),
        (u32::MAX, LIST_ROWS_MAX),
    ] {
        assert!(matches!(list(asked), Ok(Operation::List { limit, .. }) if limit == given));
    }
}

#[test]
fn a_piece_that_its_kind_does_not_take_spoils_the_frame() {
    let bad = raw(OperationKind::Get, 0, [b"k", b"v", b""]);
    let frame = frame(|writer, out| writer.raw_requests(out, [bad].into_iter()));
    assert!(matches!(decode_requests(&frame), Err(FrameError::Malformed { .. })));
}
