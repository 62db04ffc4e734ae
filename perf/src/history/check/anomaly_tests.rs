//! Histories made by hand: every kind of anomaly, each beside the history that differs only in being right.

use super::violation::Violation;
use super::{Judgement, judge};
use crate::history::record::{FOREIGN, Old, Operation, Outcome, Record};

fn record(call: u64, returned: u64, operation: Operation, outcome: Outcome) -> Record {
    Record {
        process: call,
        key: 1,
        operation,
        call,
        returned: (outcome != Outcome::Unknown).then_some(returned),
        outcome,
    }
}

fn wrote(version: u64) -> Outcome {
    Outcome::Wrote {
        version,
        old: Old::NotAsked,
    }
}

fn set(call: u64, returned: u64, value: u64, version: u64) -> Record {
    record(call, returned, Operation::Set { value }, wrote(version))
}

fn create(call: u64, returned: u64, value: u64, outcome: Outcome) -> Record {
    record(call, returned, Operation::Create { value }, outcome)
}

fn exchange(call: u64, returned: u64, (expected, value): (u64, u64), version: u64) -> Record {
    let outcome = Outcome::Wrote {
        version,
        old: Old::Was(Some(expected)),
    };
    record(call, returned, Operation::Exchange { expected, value }, outcome)
}

fn mismatch(call: u64, returned: u64, (expected, value): (u64, u64), old: Option<u64>) -> Record {
    record(call, returned, Operation::Exchange { expected, value }, Outcome::Mismatch { old })
}

fn delete(call: u64, returned: u64, old: u64, version: u64) -> Record {
    let old = Old::Was(Some(old));
    record(call, returned, Operation::Delete, Outcome::Wrote { version, old })
}

fn get(call: u64, returned: u64, value: u64, version: u64) -> Record {
    record(call, returned, Operation::Get, Outcome::Found { version, value })
}

fn missing(call: u64, returned: u64) -> Record {
    record(call, returned, Operation::Get, Outcome::Missing)
}

fn unknown(call: u64, operation: Operation) -> Record {
    record(call, 0, operation, Outcome::Unknown)
}

fn failed(call: u64, returned: u64, value: u64) -> Record {
    record(call, returned, Operation::Set { value }, Outcome::Failed)
}

#[track_caller]
fn good(records: &[Record]) {
    let Judgement { violations, undecided, .. } = judge(records.to_vec());
    assert!(violations.is_empty() && undecided.is_empty(), "{violations:?}");
}

#[track_caller]
fn bad(records: &[Record]) -> Violation {
    let mut judgement = judge(records.to_vec());
    let (key, violation) = judgement.violations.pop().expect("it must be found");
    assert_eq!(key, 1);
    violation
}

/// No order, and this is the record that fits nowhere.
#[track_caller]
fn no_order(records: &[Record], at: usize) {
    match bad(records) {
        Violation::NoOrder { stuck, .. } => assert_eq!(stuck, records[at]),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_right_is_right() {
    good(&[]);
    good(&[missing(1, 2)]);
    good(&[set(1, 2, 7, 1), get(3, 4, 7, 1), delete(5, 6, 7, 2), missing(7, 8)]);
    good(&[
        create(1, 2, 7, wrote(1)),
        create(3, 4, 8, Outcome::Exists { version: 1 }),
        get(5, 6, 7, 1),
    ]);
    good(&[set(1, 2, 7, 1), exchange(3, 4, (7, 8), 2), mismatch(5, 6, (7, 9), Some(8))]);
    // Beside each other, versions say who came first.
    good(&[set(1, 9, 7, 2), set(2, 8, 8, 1), get(10, 11, 7, 2)]);
    // A read beside a write may see either.
    good(&[set(1, 9, 7, 1), missing(2, 3), get(4, 5, 7, 1)]);
}

#[test]
fn a_stale_read() {
    good(&[set(1, 2, 7, 1), set(3, 6, 8, 2), get(5, 7, 7, 1)]);
    no_order(&[set(1, 2, 7, 1), set(3, 4, 8, 2), get(5, 6, 7, 1)], 2);
    no_order(&[set(1, 2, 7, 1), set(3, 4, 8, 2), missing(5, 6)], 2);
    no_order(&[set(1, 2, 7, 1), delete(3, 4, 7, 2), get(5, 6, 7, 1)], 2);
}

#[test]
fn a_lost_update() {
    good(&[set(1, 2, 7, 1), exchange(3, 8, (7, 8), 2), exchange(4, 7, (8, 9), 3)]);
    no_order(&[set(1, 2, 7, 1), exchange(3, 8, (7, 8), 2), exchange(4, 7, (7, 9), 3)], 2);
    let with_old = |old| {
        record(
            5,
            6,
            Operation::Set { value: 9 },
            Outcome::Wrote {
                version: 3,
                old: Old::Was(Some(old)),
            },
        )
    };
    good(&[set(1, 2, 7, 1), set(3, 4, 8, 2), with_old(8)]);
    no_order(&[set(1, 2, 7, 1), set(3, 4, 8, 2), with_old(7)], 2);
}

#[test]
fn a_dirty_read_of_a_failed_write() {
    good(&[set(1, 2, 7, 1), failed(3, 4, 8), get(5, 6, 7, 1)]);
    for shows in [get(5, 6, 8, 2), get(3, 4, 8, 2), mismatch(5, 6, (1, 9), Some(8))] {
        let violation = bad(&[set(1, 2, 7, 1), failed(3, 4, 8), shows]);
        assert!(matches!(violation, Violation::NotExecuted { .. }), "{violation}");
    }
}

#[test]
fn a_value_from_nowhere() {
    for value in [9, FOREIGN] {
        let violation = bad(&[set(1, 2, 7, 1), get(3, 4, value, 2)]);
        assert!(matches!(violation, Violation::Nowhere { .. }), "{violation}");
    }
    let other_version = bad(&[set(1, 2, 7, 1), get(3, 4, 7, 2)]);
    assert!(matches!(other_version, Violation::OtherVersion { .. }), "{other_version}");
    // From the future: the value is asked for only later.
    no_order(&[get(1, 2, 7, 1), set(3, 4, 7, 1)], 0);
}

#[test]
fn a_read_that_goes_back_in_time() {
    let write = set(1, 2, 7, 1);
    good(&[write, set(3, 20, 8, 2), get(4, 5, 7, 1), get(6, 7, 8, 2)]);
    no_order(&[write, set(3, 20, 8, 2), get(4, 5, 8, 2), get(6, 7, 7, 1)], 3);
    let lost = unknown(3, Operation::Set { value: 8 });
    good(&[write, lost, get(4, 5, 7, 1), get(6, 7, 8, 2)]);
    no_order(&[write, lost, get(4, 5, 8, 2), get(6, 7, 7, 1)], 3);
}

#[test]
fn a_write_that_was_acknowledged_and_is_lost() {
    good(&[set(1, 2, 7, 1), get(3, 4, 7, 1)]);
    no_order(&[set(1, 2, 7, 1), missing(3, 4)], 1);
    no_order(&[set(1, 2, 7, 1), create(3, 4, 8, wrote(2))], 1);
    no_order(&[set(1, 2, 7, 1), record(3, 4, Operation::Delete, Outcome::Missing)], 1);
    // A delete of unknown outcome explains it, once.
    let deleted = unknown(2, Operation::Delete);
    good(&[set(1, 2, 7, 1), deleted, missing(3, 4)]);
    good(&[set(1, 2, 7, 1), deleted, create(3, 4, 8, wrote(5))]);
    no_order(&[set(1, 2, 7, 1), deleted, missing(3, 4), set(5, 6, 8, 5), missing(7, 8)], 4);
    no_order(&[set(1, 2, 7, 1), missing(3, 4), unknown(5, Operation::Delete)], 1);
}

#[test]
fn a_refused_create_that_wrote() {
    let refused = create(3, 4, 8, Outcome::Exists { version: 1 });
    good(&[set(1, 2, 7, 1), refused, get(5, 6, 7, 1)]);
    let violation = bad(&[set(1, 2, 7, 1), refused, get(5, 6, 8, 2)]);
    assert!(matches!(violation, Violation::NotExecuted { .. }), "{violation}");
    // Refused by what did not stand any more, or by nothing at all.
    no_order(
        &[set(1, 2, 7, 1), delete(3, 4, 7, 2), create(5, 6, 8, Outcome::Exists { version: 1 })],
        2,
    );
    no_order(&[create(1, 2, 8, Outcome::Exists { version: 1 })], 0);
    let by_deletion = bad(&[set(1, 2, 7, 1), delete(3, 4, 7, 2), create(5, 6, 8, Outcome::Exists { version: 2 })]);
    assert!(matches!(by_deletion, Violation::ExistsDeleted { version: 2, .. }), "{by_deletion}");
}

#[test]
fn an_unknown_write_that_is_applied_twice() {
    let lost = unknown(1, Operation::Set { value: 7 });
    good(&[lost, get(2, 3, 7, 1), set(4, 5, 8, 2), get(6, 7, 8, 2)]);
    let violation = bad(&[lost, get(2, 3, 7, 1), set(4, 5, 8, 2), get(6, 7, 7, 3)]);
    assert!(
        matches!(violation, Violation::AppliedTwice { first: 1, second: 3, .. }),
        "{violation}"
    );
    // Seen without its version both times.
    no_order(
        &[
            lost,
            mismatch(2, 3, (1, 20), Some(7)),
            set(4, 5, 8, 2),
            mismatch(6, 7, (1, 21), Some(7)),
        ],
        3,
    );
    good(&[
        lost,
        mismatch(2, 3, (1, 20), Some(7)),
        set(4, 5, 8, 2),
        mismatch(6, 7, (1, 21), Some(8)),
    ]);
}

#[test]
fn an_unknown_write_may_come_late_once_or_never() {
    let lost = unknown(1, Operation::Set { value: 7 });
    good(&[lost, missing(2, 3)]);
    good(&[lost, missing(2, 3), get(4, 5, 7, 1)]);
    good(&[lost, set(2, 3, 8, 1), get(4, 5, 8, 1), get(6, 7, 7, 2)]);
    no_order(&[get(1, 2, 7, 1), unknown(3, Operation::Set { value: 7 })], 0);
    // Conditions hold for it too.
    good(&[unknown(1, Operation::Create { value: 7 }), get(2, 3, 7, 1)]);
    no_order(&[set(1, 2, 8, 1), unknown(3, Operation::Create { value: 7 }), get(4, 5, 7, 2)], 2);
    good(&[
        set(1, 2, 8, 1),
        unknown(3, Operation::Exchange { expected: 8, value: 7 }),
        get(4, 5, 7, 2),
    ]);
    no_order(
        &[
            set(1, 2, 8, 1),
            set(3, 4, 9, 2),
            unknown(5, Operation::Exchange { expected: 8, value: 7 }),
            get(6, 7, 7, 3),
        ],
        3,
    );
}

#[test]
fn unknown_writes_explain_each_other() {
    // A create that was refused by a value nobody ever read.
    let exists = |version| create(4, 5, 9, Outcome::Exists { version });
    good(&[
        unknown(1, Operation::Set { value: 7 }),
        exists(3),
        missing_after_delete(3)[0],
        missing_after_delete(3)[1],
    ]);
    no_order(&[unknown(6, Operation::Set { value: 7 }), exists(3)], 1);
    // 7 is exchanged for 8 without a word, then 8 is seen.
    let chain = [
        unknown(1, Operation::Set { value: 7 }),
        unknown(2, Operation::Exchange { expected: 7, value: 8 }),
        mismatch(3, 4, (1, 20), Some(8)),
    ];
    good(&chain);
    no_order(&chain[1..], 1);
    // A deletion nobody saw makes room for a create nobody was told of.
    let made_room = [
        set(1, 2, 6, 1),
        unknown(3, Operation::Delete),
        unknown(3, Operation::Create { value: 7 }),
        get(5, 6, 7, 9),
    ];
    good(&made_room);
    no_order(&[made_room[0], made_room[2], made_room[3]], 2);
}

fn missing_after_delete(version: u64) -> [Record; 2] {
    [delete(6, 7, 7, version + 1), missing(8, 9)]
}

#[test]
fn versions_are_held_against_time() {
    // Linearizable by its values alone, yet the later write has the lower version.
    no_order(&[set(1, 2, 7, 6), set(3, 4, 8, 5)], 0);
    no_order(&[set(1, 2, 7, 6), set(3, 4, 8, 5), get(5, 6, 8, 5)], 0);
    let twice = bad(&[set(1, 2, 7, 1), set(3, 4, 8, 1)]);
    assert!(matches!(twice, Violation::VersionTwice { version: 1, .. }), "{twice}");
    // No version is left for the write that must have come in between.
    let between = |version| {
        [
            set(1, 2, 6, 1),
            unknown(3, Operation::Set { value: 7 }),
            mismatch(4, 5, (1, 20), Some(7)),
            set(6, 7, 8, version),
        ]
    };
    good(&between(3));
    no_order(&between(2), 3);
}

#[test]
fn answers_that_contradict_themselves_or_each_other() {
    let old = Old::Was(Some(9));
    let stood = set(1, 2, 7, 1);
    for senseless in [
        mismatch(3, 4, (7, 8), Some(7)),
        record(
            3,
            4,
            Operation::Exchange { expected: 7, value: 8 },
            Outcome::Wrote { version: 2, old },
        ),
        record(
            3,
            4,
            Operation::Create { value: 8 },
            Outcome::Wrote {
                version: 2,
                old: Old::Was(Some(7)),
            },
        ),
        record(
            3,
            4,
            Operation::Delete,
            Outcome::Wrote {
                version: 2,
                old: Old::Was(None),
            },
        ),
    ] {
        let violation = bad(&[stood, senseless]);
        assert!(matches!(violation, Violation::Senseless { .. }), "{violation}");
    }
    let twice = bad(&[stood, failed(3, 4, 7)]);
    assert!(matches!(twice, Violation::ValueTwice { value: 7, .. }), "{twice}");
}

#[test]
fn keys_are_judged_apart() {
    let mut other = get(3, 4, 7, 1);
    other.key = 2;
    let judgement = judge(vec![other, set(1, 2, 7, 1), get(5, 6, 7, 1)]);
    assert_eq!(judgement.keys, 2);
    let wrong: Vec<u64> = judgement.violations.iter().map(|(key, _)| *key).collect();
    assert_eq!(wrong, [2]);
}
