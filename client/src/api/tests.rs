//! Local refusals, and answers put into their types.

use margate_net::ids::NodeId;
use margate_net::message::{Direction, Returning};

use super::*;
use crate::testing::{list, set};

fn with(create_only: bool, modify_only: bool, at_version: Option<u64>) -> Result<Precondition, Refusal> {
    Conditions {
        create_only,
        modify_only,
        at_version: at_version.map(Version),
    }
    .precondition()
}

#[test]
fn conditions_come_down_to_one_or_exclude_each_other() {
    assert_eq!(with(false, false, None), Ok(Precondition::Always));
    assert_eq!(with(true, false, None), Ok(Precondition::Absent));
    assert_eq!(with(false, true, None), Ok(Precondition::Present));
    assert_eq!(with(false, false, Some(3)), Ok(Precondition::AtVersion(Version(3))));
    assert_eq!(
        with(false, true, Some(3)),
        Ok(Precondition::AtVersion(Version(3))),
        "a version implies that the key exists"
    );
    let both = Err(Refusal::InvalidArgument(ArgumentFault::CreateAndModify));
    assert_eq!(with(true, true, None), both);
    assert_eq!(with(true, true, Some(3)), both);
    assert_eq!(
        with(true, false, Some(3)),
        Err(Refusal::InvalidArgument(ArgumentFault::CreateAtVersion))
    );
}

#[test]
fn keys_and_values_are_refused_one_byte_over_their_limit() {
    let (key_max, value_max) = (KEY_BYTES_MAX as u64, VALUE_BYTES_MAX as u64);
    assert_eq!(check(&set(&[1; KEY_BYTES_MAX], VALUE_BYTES_MAX)), Ok(()));
    assert_eq!(
        check(&set(&[1; KEY_BYTES_MAX + 1], 1)),
        Err(Refusal::InvalidKey {
            length: key_max + 1,
            max: key_max
        })
    );
    assert_eq!(
        check(&set(b"k", VALUE_BYTES_MAX + 1)),
        Err(Refusal::ValueTooLarge {
            length: value_max + 1,
            max: value_max
        })
    );
    let exchange = |expected: usize, value: usize| Operation::CompareExchange {
        key: Bytes::new(),
        expected: vec![0; expected].into(),
        value: vec![0; value].into(),
        returning: Returning::default(),
    };
    assert_eq!(check(&exchange(VALUE_BYTES_MAX, VALUE_BYTES_MAX)), Ok(()));
    assert!(check(&exchange(VALUE_BYTES_MAX + 1, 1)).is_err());
    assert!(check(&exchange(1, VALUE_BYTES_MAX + 1)).is_err());
    assert!(check(&list(&[1; KEY_BYTES_MAX + 1], b"", Direction::Forward)).is_err());
    assert!(check(&list(b"", &[1; KEY_BYTES_MAX + 1], Direction::Forward)).is_err());
}

#[test]
fn a_missing_key_is_an_answer_to_a_read_and_nothing_else_is() {
    assert_eq!(found(Err(Error::Refused(Refusal::NotFound))), Ok(None));
    assert_eq!(measured(Err(Error::Refused(Refusal::NotFound))), Ok(None));
    let elsewhere = Error::Refused(Refusal::NotLeader { leader: Some(NodeId(1)) });
    assert_eq!(found(Err(elsewhere.clone())), Err(elsewhere));
    assert_eq!(
        written(Err(Error::Refused(Refusal::NotFound))),
        Err(Error::Refused(Refusal::NotFound))
    );
}

#[test]
fn an_answer_of_another_kind_leaves_a_write_unknown_and_fails_a_read() {
    let deletion = || {
        Ok(Success::Deleted {
            version: Some(Version(1)),
            key: None,
            old_value: None,
        })
    };
    let unknown = Error::OutcomeUnknown {
        cause: UnknownCause::Protocol(ProtocolFault::AnswerOfOtherKind),
    };
    assert_eq!(written(deletion()), Err(unknown.clone()));
    assert_eq!(exchanged(deletion()), Err(unknown));
    assert!(deleted(deletion()).is_ok());
    assert_eq!(found(deletion()), Err(Error::Protocol(ProtocolFault::AnswerOfOtherKind)));
    assert_eq!(measured(deletion()), Err(Error::Protocol(ProtocolFault::AnswerOfOtherKind)));
}
