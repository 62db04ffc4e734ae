//! The history of a run, cut into the steps of each key.
//!
//! A list is one step on each key it says something about: those it shows and those it passes over. Stale reads
//! are no steps; what they show is checked by `acknowledged`.
//!
//! Not here, on purpose: searching for an order (`linearizable`).

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_net::error::Refusal;
use margate_net::ids::Version;
use margate_net::map::{Map, MapShard};
use margate_net::message::{Consistency, Direction, Operation, ReadVersion, Row, Success};

use super::acknowledged::Deeds;
use super::linearizable::{Verdict, check};
use super::register::{Call, Old, Saw, Step, Value};
use crate::sim::history::{History, Outcome, Record, value_number};
use crate::sim::violation::Violation;

/// Judges every key of a run; also says how many keys were too hard to judge.
///
/// Where many writes are unknown the log, which `acknowledged` has checked by itself, helps: it says which were done.
pub(crate) fn judge(history: &History, map: &Map, keys: &[Bytes], deeds: &Deeds) -> Result<u64, Violation> {
    let mut too_hard = 0;
    for (key, mut steps) in steps(history, map, keys)? {
        let mut verdict = check(&steps);
        if verdict == Verdict::TooHard {
            learn_from_log(&mut steps, deeds);
            verdict = check(&steps);
        }
        match verdict {
            Verdict::Linearizable => {}
            Verdict::TooHard => too_hard += 1,
            Verdict::Not { stuck } => {
                return Err(Violation::NotLinearizable {
                    key,
                    operations: steps.len(),
                    stuck: format!("{:?}", steps[stuck]),
                });
            }
        }
    }
    Ok(too_hard)
}

type Steps = BTreeMap<Bytes, Vec<Step>>;

fn steps(history: &History, map: &Map, keys: &[Bytes]) -> Result<Steps, Violation> {
    let mut steps = Steps::new();
    for record in history.records() {
        if let Operation::List { .. } = &record.operation {
            add_list(record, &map.shards()[record.shard], keys, &mut steps)?;
        } else if let Some((call, saw)) = one_key(record)? {
            add(&mut steps, record.operation.routing_key(), record, call, saw);
        }
    }
    steps.values_mut().for_each(|steps| learn_versions(steps));
    Ok(steps)
}

fn add(steps: &mut Steps, key: &Bytes, record: &Record, call: Call, saw: Saw) {
    let returned = match saw {
        Saw::Nothing { .. } => u64::MAX,
        _ => record.returned,
    };
    steps.entry(key.clone()).or_default().push(Step {
        invoked: record.invoked,
        returned,
        call,
        saw,
    });
}

/// A write nobody answered gets its version from whoever read its value.
fn learn_versions(steps: &mut [Step]) {
    let seen: BTreeMap<Value, Version> = steps
        .iter()
        .filter_map(|step| match step.saw {
            Saw::Found {
                version,
                value: Some(value),
            } => Some((value, version)),
            _ => None,
        })
        .collect();
    for step in steps {
        if let (Call::Set { value, .. } | Call::Exchange { value, .. }, Saw::Nothing { version }) = (&step.call, &mut step.saw) {
            *version = seen.get(value).copied();
        }
    }
}

/// Takes out the unknown writes that were never done, and gives the others their versions.
fn learn_from_log(steps: &mut Vec<Step>, deeds: &Deeds) {
    steps.retain_mut(|step| match (&step.call, &mut step.saw) {
        (Call::Set { value, .. } | Call::Exchange { value, .. }, Saw::Nothing { version }) => {
            *version = deeds.version_of(*value);
            version.is_some()
        }
        _ => true,
    });
}

fn one_key(record: &Record) -> Result<Option<(Call, Saw)>, Violation> {
    let Some(call) = call(&record.operation) else { return Ok(None) };
    let saw = match &record.outcome {
        Outcome::NotExecuted => None,
        Outcome::Open | Outcome::Unknown if record.operation.is_write() => Some(Saw::Nothing { version: None }),
        Outcome::Open | Outcome::Unknown => None,
        Outcome::Answered(Ok(success)) => Some(saw(&record.operation, success)?),
        Outcome::Answered(Err(refusal)) => Some(saw_refusal(*refusal)?),
    };
    Ok(saw.map(|saw| (call, saw)))
}

/// What was asked of one key; nothing for stale reads and lists.
fn call(operation: &Operation) -> Option<Call> {
    Some(match operation {
        Operation::CompareExchange { expected, value, .. } => Call::Exchange {
            expected: value_number(expected),
            value: value_number(value)?,
        },
        Operation::Delete { at_version, .. } => Call::Delete { at: *at_version },
        Operation::Get { version, consistency, .. } | Operation::Size { version, consistency, .. } => match (consistency, version) {
            (Consistency::Stale, _) => return None,
            (Consistency::Linearizable, ReadVersion::Latest) => Call::Read,
            (Consistency::Linearizable, ReadVersion::Exact(version)) => Call::ReadExact { version: *version },
        },
        Operation::Set { value, precondition, .. } => Call::Set {
            value: value_number(value)?,
            when: *precondition,
        },
        Operation::List { .. } => return None,
    })
}

fn saw(operation: &Operation, success: &Success) -> Result<Saw, Violation> {
    let asked_old = match operation {
        Operation::CompareExchange { returning, .. } | Operation::Delete { returning, .. } | Operation::Set { returning, .. } => {
            returning.old_value
        }
        Operation::Get { .. } | Operation::Size { .. } | Operation::List { .. } => false,
    };
    let old = |value: &Option<Bytes>| old(asked_old, value.as_ref());
    match (operation, success) {
        (Operation::Set { .. }, Success::Written { version, old_value, .. })
        | (
            Operation::CompareExchange { .. },
            Success::Exchanged {
                version: Some(version),
                old_value,
                ..
            },
        )
        | (
            Operation::Delete { .. },
            Success::Deleted {
                version: Some(version),
                old_value,
                ..
            },
        ) => Ok(Saw::Wrote {
            version: *version,
            old: old(old_value)?,
        }),
        (
            Operation::CompareExchange { .. },
            Success::Exchanged {
                version: None, old_value, ..
            },
        )
        | (
            Operation::Delete { .. },
            Success::Deleted {
                version: None, old_value, ..
            },
        ) => Ok(Saw::Untouched { old: old(old_value)? }),
        (Operation::Get { .. }, Success::Found { version, value, .. }) => Ok(Saw::Found {
            version: *version,
            value: Some(number(value)?),
        }),
        (Operation::Size { .. }, Success::Sized { version, .. }) => Ok(Saw::Found {
            version: *version,
            value: None,
        }),
        _ => Err(Violation::SenselessAnswer {
            what: "an answer of another kind than the question",
        }),
    }
}

fn old(asked: bool, value: Option<&Bytes>) -> Result<Old, Violation> {
    match (asked, value) {
        (true, value) => Ok(Old::Was(value.map(number).transpose()?)),
        (false, None) => Ok(Old::NotAsked),
        (false, Some(_)) => Err(Violation::SenselessAnswer {
            what: "an old value nobody asked for",
        }),
    }
}

fn saw_refusal(refusal: Refusal) -> Result<Saw, Violation> {
    match refusal {
        Refusal::NotFound => Ok(Saw::Missing),
        Refusal::AlreadyExists { version } => Ok(Saw::Exists { version }),
        Refusal::VersionMismatch { actual } => Ok(Saw::Mismatch { actual }),
        Refusal::NoSuchVersion => Ok(Saw::NoSuchVersion),
        refusal => Err(Violation::SenselessRefusal { refusal }),
    }
}

fn number(value: &Bytes) -> Result<Value, Violation> {
    value_number(value).ok_or(Violation::SenselessAnswer {
        what: "a value nobody wrote, or not all of it",
    })
}

/// One page of a list.
struct Page<'a> {
    rows: &'a [Row],
    low: &'a [u8],
    /// Empty for no end.
    high: &'a [u8],
}

impl<'a> Page<'a> {
    /// The part of the key space a page speaks about.
    fn new(
        shard: &'a MapShard,
        (low, high): (&'a Bytes, &'a Bytes),
        direction: Direction,
        (rows, resume): (&'a [Row], Option<&'a Bytes>),
    ) -> Self {
        let low = low.max(&shard.low);
        let high = match (high.is_empty(), shard.high.is_empty()) {
            (true, _) => &shard.high,
            (false, true) => high,
            (false, false) => high.min(&shard.high),
        };
        let (low, high) = match (resume, direction) {
            (None, _) => (low, high),
            (Some(resume), Direction::Forward) => (low, resume),
            (Some(resume), Direction::Reverse) => (resume, high),
        };
        Self { rows, low, high }
    }

    fn covers(&self, key: &[u8]) -> bool {
        self.low <= key && (self.high.is_empty() || key < self.high)
    }

    fn check(&self, limit: u32, direction: Direction) -> Result<(), Violation> {
        let ordered = self.rows.is_sorted_by(|one, next| match direction {
            Direction::Forward => one.key < next.key,
            Direction::Reverse => one.key > next.key,
        });
        let inside = self.rows.iter().all(|row| self.covers(&row.key));
        if ordered && inside && self.rows.len() <= limit as usize {
            Ok(())
        } else {
            Err(Violation::SenselessAnswer {
                what: "a page that is not in order, not in its range or over its limit",
            })
        }
    }
}

fn add_list(record: &Record, shard: &MapShard, keys: &[Bytes], steps: &mut Steps) -> Result<(), Violation> {
    let Operation::List {
        low,
        high,
        limit,
        direction,
        consistency,
        ..
    } = &record.operation
    else {
        return Ok(());
    };
    let Outcome::Answered(answer) = &record.outcome else {
        return Ok(());
    };
    let Ok(Success::Listed { rows, resume, .. }) = answer else {
        return Err(Violation::SenselessAnswer {
            what: "a list is answered with something else",
        });
    };
    let empty = !high.is_empty() && low >= high;
    let page = Page::new(shard, (low, high), *direction, (rows, resume.as_ref()));
    page.check(*limit, *direction)?;
    if *consistency == Consistency::Stale || empty {
        return Ok(());
    }
    for key in keys.iter().filter(|key| page.covers(key)) {
        let saw = match rows.iter().find(|row| row.key == *key) {
            Some(row) => Saw::Found {
                version: row.version,
                value: row.value.as_ref().map(number).transpose()?,
            },
            None => Saw::Missing,
        };
        add(steps, key, record, Call::Read, saw);
    }
    Ok(())
}
