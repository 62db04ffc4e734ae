//! Histories made by hand, good and bad: the checker must tell them apart.

use margate_net::ids::Version;
use margate_net::message::Precondition;
use proptest::prelude::*;

use super::*;
use crate::sim::check::register::{Call, Old, Saw, Value};

fn step(invoked: u64, returned: u64, call: Call, saw: Saw) -> Step {
    Step {
        invoked,
        returned,
        call,
        saw,
    }
}

fn set(value: Value, when: Precondition) -> Call {
    Call::Set { value, when }
}

fn put(value: Value) -> Call {
    set(value, Precondition::Always)
}

fn wrote(version: u64) -> Saw {
    Saw::Wrote {
        version: Version(version),
        old: Old::NotAsked,
    }
}

fn found(version: u64, value: Value) -> Saw {
    Saw::Found {
        version: Version(version),
        value: Some(value),
    }
}

fn unknown(invoked: u64, call: Call) -> Step {
    step(invoked, u64::MAX, call, Saw::Nothing { version: None })
}

#[track_caller]
fn good(steps: &[Step]) {
    assert_eq!(check(steps), Verdict::Linearizable);
}

#[track_caller]
fn bad(steps: &[Step], stuck: usize) {
    assert_eq!(check(steps), Verdict::Not { stuck });
}

#[test]
fn nothing_happened() {
    good(&[]);
    good(&[step(1, 2, Call::Read, Saw::Missing)]);
    bad(&[step(1, 2, Call::Read, found(1, 7))], 0);
}

#[test]
fn a_read_sees_the_write_before_it() {
    let write = step(1, 2, put(7), wrote(5));
    good(&[write.clone(), step(3, 4, Call::Read, found(5, 7))]);
    bad(&[write.clone(), step(3, 4, Call::Read, Saw::Missing)], 1);
    bad(&[write.clone(), step(3, 4, Call::Read, found(6, 7))], 1);
    bad(&[write, step(3, 4, Call::Read, found(5, 8))], 1);
}

#[test]
fn a_read_beside_a_write_may_see_either() {
    let write = step(1, 4, put(7), wrote(5));
    good(&[write.clone(), step(2, 3, Call::Read, Saw::Missing)]);
    good(&[write.clone(), step(2, 3, Call::Read, found(5, 7))]);
    // But once it was seen it stays seen.
    bad(
        &[
            step(1, 9, put(7), wrote(5)),
            step(2, 3, Call::Read, found(5, 7)),
            step(4, 5, Call::Read, Saw::Missing),
        ],
        2,
    );
}

#[test]
fn versions_order_writes() {
    good(&[
        step(1, 10, put(7), wrote(6)),
        step(2, 9, put(8), wrote(5)),
        step(11, 12, Call::Read, found(6, 7)),
    ]);
    bad(
        &[
            step(1, 10, put(7), wrote(6)),
            step(2, 9, put(8), wrote(5)),
            step(11, 12, Call::Read, found(5, 8)),
        ],
        2,
    );
    bad(&[step(1, 2, put(7), wrote(6)), step(3, 4, put(8), wrote(5))], 1);
}

#[test]
fn a_stale_read_is_found() {
    bad(
        &[
            step(1, 2, put(7), wrote(1)),
            step(3, 4, put(8), wrote(2)),
            step(5, 6, Call::Read, found(1, 7)),
        ],
        2,
    );
}

#[test]
fn an_unknown_write_may_come_late_or_never() {
    let write = unknown(1, put(7));
    good(&[write.clone(), step(2, 3, Call::Read, Saw::Missing)]);
    good(&[
        write.clone(),
        step(2, 3, Call::Read, Saw::Missing),
        step(4, 5, Call::Read, found(9, 7)),
        step(6, 7, Call::Read, found(9, 7)),
    ]);
    // Its version, once seen, is the one.
    bad(
        &[
            write.clone(),
            step(4, 5, Call::Read, found(9, 7)),
            step(6, 7, Call::Read, found(10, 7)),
        ],
        2,
    );
    // It cannot come before it was asked.
    bad(&[step(1, 2, Call::Read, found(9, 7)), unknown(3, put(7))], 0);
    // It cannot come twice.
    bad(
        &[
            write,
            step(2, 3, Call::Read, found(9, 7)),
            step(4, 5, Call::Delete { at: None }, wrote(10)),
            step(6, 7, Call::Read, found(9, 7)),
        ],
        3,
    );
}

#[test]
fn an_unknown_delete_explains_a_missing_key() {
    let steps = [
        step(1, 2, put(7), wrote(1)),
        unknown(3, Call::Delete { at: None }),
        step(4, 5, Call::Read, Saw::Missing),
    ];
    good(&steps);
    bad(&[steps[0].clone(), steps[2].clone()], 1);
}

#[test]
fn conditions_are_judged_where_they_were_decided() {
    let absent = set(8, Precondition::Absent);
    good(&[step(1, 2, absent.clone(), wrote(1))]);
    let write = step(1, 2, put(7), wrote(1));
    bad(&[write.clone(), step(3, 4, absent.clone(), wrote(2))], 1);
    good(&[write.clone(), step(3, 4, absent.clone(), Saw::Exists { version: Version(1) })]);
    bad(&[write.clone(), step(3, 4, absent, Saw::Exists { version: Version(2) })], 1);
    let present = set(8, Precondition::Present);
    good(&[step(1, 2, present.clone(), Saw::Missing)]);
    bad(&[write.clone(), step(3, 4, present.clone(), Saw::Missing)], 1);
    good(&[write.clone(), step(3, 4, present, wrote(2))]);
    let at = |version| set(8, Precondition::AtVersion(Version(version)));
    good(&[write.clone(), step(3, 4, at(1), wrote(2))]);
    bad(&[write.clone(), step(3, 4, at(5), wrote(6))], 1);
    let mismatch = |actual: Option<u64>| Saw::Mismatch {
        actual: actual.map(Version),
    };
    good(&[write.clone(), step(3, 4, at(5), mismatch(Some(1)))]);
    bad(&[write.clone(), step(3, 4, at(1), mismatch(Some(1)))], 1);
    bad(&[write, step(3, 4, at(5), mismatch(None))], 1);
}

#[test]
fn two_creators_cannot_both_win() {
    bad(
        &[
            step(1, 9, set(7, Precondition::Absent), wrote(1)),
            step(2, 8, set(8, Precondition::Absent), wrote(2)),
        ],
        0,
    );
}

#[test]
fn exchanges_and_deletes_say_what_they_found() {
    let exchange = |expected| Call::Exchange {
        expected: Some(expected),
        value: 9,
    };
    let untouched = |old| Saw::Untouched { old };
    let write = step(1, 2, put(7), wrote(1));
    good(&[
        write.clone(),
        step(3, 4, exchange(7), wrote(2)),
        step(5, 6, Call::Read, found(2, 9)),
    ]);
    bad(&[write.clone(), step(3, 4, exchange(8), wrote(2))], 1);
    good(&[write.clone(), step(3, 4, exchange(8), untouched(Old::Was(Some(7))))]);
    bad(&[write.clone(), step(3, 4, exchange(7), untouched(Old::NotAsked))], 1);
    bad(&[write.clone(), step(3, 4, exchange(8), untouched(Old::Was(None)))], 1);
    let delete = |at: Option<u64>| Call::Delete { at: at.map(Version) };
    good(&[
        write.clone(),
        step(3, 4, delete(None), wrote(2)),
        step(5, 6, Call::Read, Saw::Missing),
    ]);
    bad(&[write.clone(), step(3, 4, delete(None), untouched(Old::NotAsked))], 1);
    good(&[write.clone(), step(3, 4, delete(Some(3)), untouched(Old::NotAsked))]);
    bad(&[write, step(3, 4, delete(Some(1)), untouched(Old::NotAsked))], 1);
    bad(&[step(1, 2, delete(None), wrote(2))], 0);
}

#[test]
fn exact_reads_name_their_version() {
    let exact = |version| Call::ReadExact { version: Version(version) };
    let write = step(1, 2, put(7), wrote(1));
    good(&[write.clone(), step(3, 4, exact(1), found(1, 7))]);
    good(&[write.clone(), step(3, 4, exact(2), Saw::NoSuchVersion)]);
    bad(&[write.clone(), step(3, 4, exact(1), Saw::NoSuchVersion)], 1);
    bad(&[write, step(3, 4, exact(2), found(1, 7))], 1);
}

#[test]
fn many_unknown_writes_are_not_too_hard() {
    let seen = |at: u64| Saw::Nothing {
        version: Some(Version(at + 1)),
    };
    let mut steps: Vec<Step> = (0..40).map(|at| step(at + 1, u64::MAX, put(100 + at), seen(at))).collect();
    steps.extend((0..40).map(|at| step(100 + 2 * at, 101 + 2 * at, Call::Read, found(at + 1, 100 + at))));
    good(&steps);
}

/// A register run one operation after the other, each stretched over its neighbours: always linearizable.
fn history(choices: &[(u8, u8)]) -> Vec<Step> {
    let mut held: Option<(Value, u64)> = None;
    let mut steps = Vec::new();
    for ((kind, stretch), at) in choices.iter().zip(1u64..) {
        let (point, stretch) = (at * 10, u64::from(*stretch % 25));
        let (call, saw) = match kind % 4 {
            0 => {
                held = Some((at, at));
                (put(at), wrote(at))
            }
            1 => match held {
                Some((value, version)) => (Call::Read, found(version, value)),
                None => (Call::Read, Saw::Missing),
            },
            2 if held.is_some() => {
                held = None;
                (Call::Delete { at: None }, wrote(at))
            }
            2 => (Call::Delete { at: None }, Saw::Untouched { old: Old::Was(None) }),
            _ => match held {
                Some((_, version)) => (set(at, Precondition::Absent), Saw::Exists { version: Version(version) }),
                None => {
                    held = Some((at, at));
                    (set(at, Precondition::Absent), wrote(at))
                }
            },
        };
        // Odd and even numbers keep questions and answers apart.
        steps.push(step(2 * (point - stretch.min(9)), 2 * (point + stretch) + 1, call, saw));
    }
    steps
}

proptest! {
    #[test]
    fn what_a_register_did_is_linearizable(choices in proptest::collection::vec(any::<(u8, u8)>(), 0..40)) {
        prop_assert_eq!(check(&history(&choices)), Verdict::Linearizable);
    }

    #[test]
    fn an_order_does_not_depend_on_the_order_of_steps(choices in proptest::collection::vec(any::<(u8, u8)>(), 0..20)) {
        let mut steps = history(&choices);
        steps.reverse();
        prop_assert_eq!(check(&steps), Verdict::Linearizable);
    }

    #[test]
    fn a_read_of_what_was_overwritten_long_ago_is_found(choices in proptest::collection::vec(any::<(u8, u8)>(), 2..30)) {
        let mut steps = history(&choices);
        let (first, second) = (10_001, 10_002);
        steps.push(step(100_000, 100_001, put(first), wrote(first)));
        steps.push(step(100_002, 100_003, put(second), wrote(second)));
        steps.push(step(100_004, 100_005, Call::Read, found(first, first)));
        prop_assert_eq!(check(&steps), Verdict::Not { stuck: steps.len() - 1 });
    }
}
