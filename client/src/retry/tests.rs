//! The one property that matters: a write that may have been executed is never sent again.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use margate_net::error::WireRefusal;
use margate_net::ids::NodeId;
use proptest::prelude::*;

use super::*;

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 7_400))
}

fn attempt(failure: Failure, purpose: Purpose) -> Attempt {
    Attempt {
        failure,
        address: address(),
        purpose,
        attempts: 1,
        began: Moment(0),
        deadline: Moment::NEVER,
        now: Moment(1_000_000),
        dice: 7,
    }
}

fn every_refusal() -> impl Strategy<Value = Refusal> {
    // Every code has a meaning with these arguments: there are four queues and five faults.
    (1u16..=16, 1u64..=4, 0u64..100)
        .prop_map(|(code, a, b)| Refusal::from_wire(WireRefusal { code, a, b }).expect("codes and arguments are known"))
}

fn failures() -> impl Strategy<Value = Failure> {
    let link = LinkFault::Io(ErrorKind::ConnectionReset);
    prop_oneof![
        Just(Failure::Lost(link)),
        Just(Failure::NotSent(Obstacle::Link {
            address: address(),
            fault: link
        })),
        Just(Failure::NotSent(Obstacle::WindowFull { address: address() })),
        Just(Failure::NotSent(Obstacle::Unsent { address: address() })),
        every_refusal().prop_map(Failure::Refused),
        Just(Failure::Silent),
    ]
}

fn attempts() -> impl Strategy<Value = Attempt> {
    let purpose = prop_oneof![Just(Purpose::Read), Just(Purpose::Write)];
    (
        failures(),
        purpose,
        1u32..100,
        0u64..10_000_000_000,
        0u64..10_000_000_000,
        any::<u64>(),
    )
        .prop_map(|(failure, purpose, attempts, now, deadline, dice)| Attempt {
            attempts,
            deadline: Moment(deadline),
            now: Moment(now),
            dice,
            ..attempt(failure, purpose)
        })
}

/// Said without a look at `judge`: after which failures a write may stand, now or later.
fn may_have_executed(failure: &Failure) -> bool {
    match failure {
        Failure::Lost(_) | Failure::Silent => true,
        Failure::NotSent(_) => false,
        Failure::Refused(refusal) => *refusal == Refusal::OutcomeUnknown,
    }
}

proptest! {
    #[test]
    fn a_write_that_may_have_been_executed_is_unknown_and_never_sent_again(attempt in attempts()) {
        let unknown = matches!(judge(&attempt), Verdict::Fail(Error::OutcomeUnknown { .. }));
        prop_assert_eq!(unknown, attempt.purpose == Purpose::Write && may_have_executed(&attempt.failure));
    }

    #[test]
    fn no_wait_ends_after_the_deadline(attempt in attempts()) {
        if let Verdict::Retry { after, .. } = judge(&attempt) {
            prop_assert!(attempt.now.plus(after) < attempt.deadline);
        }
    }

    #[test]
    fn what_is_refused_for_good_is_told_at_once(refusal in every_refusal(), write in any::<bool>()) {
        let purpose = if write { Purpose::Write } else { Purpose::Read };
        let verdict = judge(&attempt(Failure::Refused(refusal), purpose));
        if refusal == Refusal::DeadlineExceeded {
            prop_assert_eq!(verdict, Verdict::Fail(Error::Timeout { after: Duration::from_millis(1) }));
        } else if refusal.retry() == RetryClass::Never {
            prop_assert_eq!(verdict, Verdict::Fail(Error::Refused(refusal)));
        } else {
            prop_assert_ne!(verdict, Verdict::Fail(Error::Refused(refusal)));
        }
    }

    #[test]
    fn a_back_off_lies_in_the_upper_half_of_its_doubled_span(attempts in 1u32..1_000, dice in any::<u64>()) {
        let span = backoff_span(attempts, dice);
        let whole = BACKOFF_FIRST.saturating_mul(1 << (attempts - 1).min(16)).min(BACKOFF_MAX);
        prop_assert!(span >= whole / 2 && span <= whole, "{:?} of {:?}", span, whole);
    }
}

#[test]
fn a_hint_is_followed_at_once_but_a_chain_of_hints_is_not() {
    let hinted = Failure::Refused(Refusal::NotLeader { leader: Some(NodeId(2)) });
    let after = |attempts| match judge(&Attempt {
        attempts,
        ..attempt(hinted, Purpose::Write)
    }) {
        Verdict::Retry { after, map } => (after, map),
        Verdict::Fail(error) => panic!("a hint is not an end: {error}"),
    };
    assert_eq!(after(1), (Duration::ZERO, MapNeed::Keep));
    assert_eq!(after(2), (Duration::ZERO, MapNeed::Keep));
    assert!(after(3).0 > Duration::ZERO);
}

#[test]
fn an_old_map_is_fetched_before_the_next_attempt() {
    for refusal in [
        Refusal::NoSuchShard,
        Refusal::WrongRange {
            current: margate_net::ids::RangeEpoch(3),
        },
    ] {
        let verdict = judge(&attempt(Failure::Refused(refusal), Purpose::Write));
        assert!(
            matches!(verdict, Verdict::Retry { map: MapNeed::Fetch, .. }),
            "{refusal:?}: {verdict:?}"
        );
    }
}

#[test]
fn a_server_that_names_a_wait_gets_it() {
    let refusal = Refusal::NotReady { retry_after_ms: 30 };
    match judge(&attempt(Failure::Refused(refusal), Purpose::Write)) {
        Verdict::Retry { after, .. } => assert!(after >= Duration::from_millis(30)),
        Verdict::Fail(error) => panic!("not ready is not an end: {error}"),
    }
}

#[test]
fn at_the_deadline_the_last_obstacle_is_named() {
    let refusal = Refusal::NotLeader { leader: None };
    let late = Attempt {
        deadline: Moment(1_000_000),
        ..attempt(Failure::Refused(refusal), Purpose::Write)
    };
    let last = Obstacle::Refused {
        address: address(),
        refusal,
    };
    assert_eq!(
        judge(&late),
        Verdict::Fail(Error::Unavailable {
            after: Duration::from_millis(1),
            last
        })
    );
}

#[test]
fn a_read_nobody_answered_is_a_timeout_at_the_deadline() {
    let late = Attempt {
        deadline: Moment(1_000_000),
        ..attempt(Failure::Silent, Purpose::Read)
    };
    assert_eq!(
        judge(&late),
        Verdict::Fail(Error::Timeout {
            after: Duration::from_millis(1)
        })
    );
}
