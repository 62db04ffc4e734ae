//! Histories made by dice: those of a register pass, those with one read altered do not, and on short ones the search
//! agrees with trying every order.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::simple::is_linearizable;
use super::{Judgement, judge, judge_key, search::Verdict};
use crate::history::record::{Old, Operation, Outcome, Record};

/// A register at work: the order of its operations is the order of their numbers.
struct Maker {
    dice: StdRng,
    held: Option<(u64, u64)>,
    version: u64,
    value: u64,
    recent: Vec<u64>,
    records: Vec<Record>,
    /// How far a call and a return may lie from the instant between them.
    spread: u64,
}

/// A history that is linearizable by the way it is made.
fn made(seed: u64, operations: u64, spread: u64, lost_one_in: u32) -> Vec<Record> {
    let mut maker = Maker {
        dice: StdRng::seed_from_u64(seed),
        held: None,
        version: 0,
        value: 0,
        recent: vec![99],
        records: Vec::new(),
        spread,
    };
    (0..operations).for_each(|number| maker.step(10_000 + 10 * number, lost_one_in));
    maker.records
}

impl Maker {
    fn step(&mut self, instant: u64, lost_one_in: u32) {
        let operation = self.operation();
        let lost = operation != Operation::Get && self.dice.random_ratio(1, lost_one_in);
        let happens = !lost || self.dice.random_bool(0.5);
        let failed = !lost && self.dice.random_ratio(1, 20);
        let outcome = if happens && !failed {
            self.apply(operation)
        } else {
            Outcome::Failed
        };
        let reach = if lost { 10 * self.spread } else { self.spread };
        self.records.push(Record {
            process: instant,
            key: 1,
            operation,
            call: instant.saturating_sub(self.dice.random_range(0..=reach)),
            returned: (!lost).then(|| instant + self.dice.random_range(0..=self.spread)),
            outcome: if lost { Outcome::Unknown } else { outcome },
        });
    }

    fn operation(&mut self) -> Operation {
        let standing = self.held.map_or(99, |(value, _)| value);
        let recent = self.recent[self.dice.random_range(0..self.recent.len())];
        let expected = if self.dice.random_bool(0.5) { standing } else { recent };
        match self.dice.random_range(0..10) {
            0..4 => Operation::Get,
            4 => Operation::Delete,
            drawn => {
                self.value += 1;
                let value = self.value;
                self.recent.push(value);
                match drawn {
                    5 | 6 => Operation::Create { value },
                    7 | 8 => Operation::Exchange { expected, value },
                    _ => Operation::Set { value },
                }
            }
        }
    }

    fn apply(&mut self, operation: Operation) -> Outcome {
        let standing = self.held.map(|(value, _)| value);
        match (operation, self.held) {
            (Operation::Get, Some((value, version))) => Outcome::Found { version, value },
            (Operation::Get | Operation::Delete, None) => Outcome::Missing,
            (Operation::Create { .. }, Some((_, version))) => Outcome::Exists { version },
            (Operation::Exchange { expected, .. }, _) if standing != Some(expected) => Outcome::Mismatch { old: standing },
            (Operation::Create { value } | Operation::Exchange { value, .. }, _) => self.write(Some(value), Old::Was(standing)),
            (Operation::Delete, Some(_)) => self.write(None, Old::Was(standing)),
            (Operation::Set { value }, _) if self.dice.random_bool(0.7) => self.write(Some(value), Old::NotAsked),
            (Operation::Set { value }, _) => self.write(Some(value), Old::Was(standing)),
        }
    }

    fn write(&mut self, value: Option<u64>, old: Old) -> Outcome {
        self.version += self.dice.random_range(1..=2);
        let version = self.version;
        self.held = value.map(|value| (value, version));
        Outcome::Wrote { version, old }
    }
}

fn written(records: &[Record]) -> impl Iterator<Item = (Record, u64, u64)> {
    records
        .iter()
        .filter_map(|record| match (record.operation.value(), record.outcome) {
            (Some(value), Outcome::Wrote { version, .. }) => Some((*record, value, version)),
            _ => None,
        })
}

/// Everything the read at `at` could say instead that cannot be true.
fn lies(records: &[Record], at: usize) -> Vec<Outcome> {
    let (call, returned) = (records[at].call, records[at].returned.unwrap_or(u64::MAX));
    let before = |record: &Record| record.returned.is_some_and(|returned| returned < call);
    let newest = written(records)
        .filter(|(record, ..)| before(record))
        .map(|(.., version)| version)
        .max()
        .unwrap_or(0);
    let stale = written(records).filter(|(.., version)| *version < newest);
    let future = written(records).filter(|(record, ..)| record.call > returned);
    let mut lies: Vec<Outcome> = stale
        .chain(future)
        .map(|(_, value, version)| Outcome::Found { version, value })
        .collect();
    lies.push(Outcome::Found {
        version: newest + 1,
        value: 9_999,
    });
    let no_delete = !records
        .iter()
        .any(|record| record.operation == Operation::Delete && record.call <= returned);
    if newest > 0 && no_delete {
        lies.push(Outcome::Missing);
    }
    lies
}

fn reads(records: &[Record]) -> Vec<usize> {
    let found = |at: &usize| matches!(records[*at].outcome, Outcome::Found { .. });
    (0..records.len()).filter(found).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn histories_of_a_register_pass(seed: u64, operations in 1u64..400, spread in 0u64..200, lost_one_in in 2u32..50) {
        let Judgement { violations, undecided, .. } = judge(made(seed, operations, spread, lost_one_in));
        prop_assert!(violations.is_empty() && undecided.is_empty(), "{:?} {:?}", violations, undecided);
    }

    #[test]
    fn histories_with_one_read_altered_do_not(
        seed: u64, operations in 20u64..300, spread in 0u64..200, lost_one_in in 5u32..50,
        read: prop::sample::Index, lie: prop::sample::Index,
    ) {
        let mut records = made(seed, operations, spread, lost_one_in);
        let reads = reads(&records);
        prop_assume!(!reads.is_empty());
        let at = *read.get(&reads);
        let truth = records[at].outcome;
        let lies: Vec<Outcome> = lies(&records, at).into_iter().filter(|lie| *lie != truth).collect();
        records[at].outcome = *lie.get(&lies);
        let Judgement { violations, undecided, .. } = judge(records);
        prop_assert!(violations.len() == 1 && undecided.is_empty());
    }
}

/// A short history, bent in up to five places.
fn bent(seed: u64) -> Vec<Record> {
    let mut dice = StdRng::seed_from_u64(!seed);
    let mut records = made(seed, dice.random_range(4..=8), dice.random_range(0..60), 3);
    for _ in 0..dice.random_range(0..=5) {
        let at = dice.random_range(0..records.len());
        bend(&mut records[at], &mut dice);
    }
    records.sort_by_key(|record| record.call);
    records
}

fn bend(record: &mut Record, dice: &mut StdRng) {
    let near = |dice: &mut StdRng, number: u64| (number + dice.random_range(0..5)).saturating_sub(2).max(1);
    match dice.random_range(0..8) {
        0 => record.call = record.call.saturating_sub(dice.random_range(0..40)),
        1 => record.returned = record.returned.map(|returned| returned + dice.random_range(0..40)),
        2 if record.operation != Operation::Get => {
            (record.returned, record.outcome) = (None, Outcome::Unknown);
        }
        _ => match &mut record.outcome {
            Outcome::Found { version, value } => {
                *version = near(dice, *version);
                *value = near(dice, *value);
            }
            Outcome::Exists { version }
            | Outcome::Wrote {
                version,
                old: Old::NotAsked,
            } => *version = near(dice, *version),
            Outcome::Wrote { old: Old::Was(old), .. } | Outcome::Mismatch { old } => *old = old.map(|old| near(dice, old)),
            Outcome::Missing if record.operation == Operation::Get => {
                let (version, value) = (dice.random_range(1..6), dice.random_range(1..6));
                record.outcome = Outcome::Found { version, value };
            }
            Outcome::Failed | Outcome::Missing | Outcome::Unknown => {}
        },
    }
}

#[test]
fn short_histories_are_judged_as_by_trying_every_order() {
    let mut right = 0;
    const HISTORIES: u64 = 60_000;
    for seed in 0..HISTORIES {
        let records = bent(seed);
        let verdict = judge_key(&records);
        let expected = is_linearizable(&records);
        right += u64::from(expected);
        match verdict {
            Verdict::Linearizable => assert!(expected, "seed {seed}: wrongly passed {records:#?}"),
            Verdict::Not(violation) => assert!(!expected, "seed {seed}: wrongly found {violation} in {records:#?}"),
            Verdict::Undecided => panic!("seed {seed}: {} operations are too hard", records.len()),
        }
    }
    // Both kinds must be frequent, or the test says nothing.
    assert!(
        (HISTORIES / 4..HISTORIES * 3 / 4).contains(&right),
        "{right} of {HISTORIES} are linearizable"
    );
}

#[test]
fn a_search_that_is_given_up_says_so() {
    let records = made(1, 50, 100, 5);
    let problem = super::learn::learn(&records).expect("it is right");
    assert_eq!(super::search::search(&problem, &records, 3), Verdict::Undecided);
}

#[test]
fn a_long_history_is_judged_in_seconds_right_or_wrong() {
    let mut records = made(1, 30_000, 160, 200);
    let began = std::time::Instant::now();
    assert!(judge(records.clone()).violations.is_empty());
    let last = *reads(&records).last().expect("there are reads");
    records[last].outcome = records[reads(&records)[0]].outcome;
    let Judgement { violations, undecided, .. } = judge(records);
    assert!(violations.len() == 1 && undecided.is_empty(), "{violations:?} {undecided:?}");
    assert!(began.elapsed().as_secs() < 40, "{:?}", began.elapsed());
}
