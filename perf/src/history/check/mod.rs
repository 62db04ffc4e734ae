//! Is a history linearizable: is there, for each key, an order of its operations, each between its call and its
//! return, in which a register with versions gives exactly these answers?
//!
//! The register: every write gets a higher version than all writes of the key before it. A write whose outcome is
//! unknown may happen at any time after its call, once, or never.
//!
//! Keys are judged one by one, which is enough: a history is linearizable if each of its objects is. `learn` finds
//! what answers prove by themselves and what each operation needs to find; `search` looks for the order.
//!
//! Not here, on purpose: anything of margate. A history is judged by its lines alone.

mod learn;
mod search;
pub(crate) mod violation;

use super::record::Record;
use search::Verdict;
use violation::Violation;

/// What came of all keys of a history.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// Keys that were judged.
    pub(crate) keys: usize,
    /// What is wrong, by key; the first thing of each.
    pub(crate) violations: Vec<(u64, Violation)>,
    /// Keys whose search was given up, and how many operations each has.
    pub(crate) undecided: Vec<(u64, usize)>,
}

/// Judges every key.
pub(crate) fn judge(mut records: Vec<Record>) -> Judgement {
    records.sort_by_key(|record| (record.key, record.call));
    let mut judgement = Judgement::default();
    for of_key in records.chunk_by(|one, next| one.key == next.key) {
        judgement.keys += 1;
        let Some(key) = of_key.first().map(|record| record.key) else {
            continue;
        };
        match judge_key(of_key) {
            Verdict::Linearizable => {}
            Verdict::Not(violation) => judgement.violations.push((key, *violation)),
            Verdict::Undecided => judgement.undecided.push((key, of_key.len())),
        }
    }
    judgement
}

/// Judges one key; its records come in the order of their calls.
fn judge_key(records: &[Record]) -> Verdict {
    match learn::learn(records) {
        Err(violation) => Verdict::Not(violation),
        Ok(problem) => search::search(&problem, records, search::CONFIGURATIONS_MAX),
    }
}

#[cfg(test)]
mod anomaly_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod simple;
