//! The register spelt out, and a search that tries every order: too slow for real histories, too simple to be wrong.

use crate::history::record::{Old, Operation, Outcome, Record, Value};

/// What the key holds. A version is unknown while only a write of unknown outcome can have given it.
#[derive(Clone, Copy, Debug, Default)]
struct Register {
    held: Option<(Value, Option<u64>)>,
    /// Every later write has a version above this.
    high: u64,
}

/// Whether some order of these records, all of one key, explains all answers.
pub(super) fn is_linearizable(records: &[Record]) -> bool {
    let relevant: Vec<Record> = records.iter().copied().filter(|record| record.outcome != Outcome::Failed).collect();
    try_all(&relevant, &mut vec![false; relevant.len()], Register::default())
}

fn try_all(records: &[Record], done: &mut [bool], register: Register) -> bool {
    let open = |at: &usize| !done[*at];
    let returned = |at: usize| records[at].returned.unwrap_or(u64::MAX);
    let horizon = (0..records.len()).filter(open).map(returned).min().unwrap_or(u64::MAX);
    if horizon == u64::MAX {
        return true;
    }
    let candidates: Vec<usize> = (0..records.len()).filter(open).filter(|at| records[*at].call <= horizon).collect();
    candidates.into_iter().any(|at| {
        let Some(after) = register.after(&records[at]) else {
            return false;
        };
        done[at] = true;
        let found = try_all(records, done, after);
        done[at] = false;
        found
    })
}

impl Register {
    fn after(self, record: &Record) -> Option<Self> {
        match (record.operation, record.outcome) {
            (_, Outcome::Found { version, value }) => self.shows(version, Some(value)),
            (_, Outcome::Exists { version }) => self.shows(version, None),
            (_, Outcome::Missing) => self.held.is_none().then_some(self),
            (Operation::Exchange { expected, .. }, Outcome::Mismatch { old }) => {
                (self.value() == old && old != Some(expected)).then_some(self)
            }
            (operation, Outcome::Wrote { version, old }) => {
                self.permits(operation)?;
                if let Old::Was(old) = old {
                    (self.value() == old).then_some(())?;
                }
                (version > self.high).then_some(Self {
                    held: operation.value().map(|value| (value, Some(version))),
                    high: version,
                })
            }
            (operation, Outcome::Unknown) => {
                self.permits(operation)?;
                Some(Self {
                    held: operation.value().map(|value| (value, None)),
                    high: self.high + 1,
                })
            }
            (_, Outcome::Failed | Outcome::Mismatch { .. }) => None,
        }
    }

    fn value(self) -> Option<Value> {
        self.held.map(|(value, _)| value)
    }

    fn permits(self, operation: Operation) -> Option<()> {
        let permitted = match operation {
            Operation::Create { .. } => self.held.is_none(),
            Operation::Delete => self.held.is_some(),
            Operation::Exchange { expected, .. } => self.value() == Some(expected),
            Operation::Get => false,
            Operation::Set { .. } => true,
        };
        permitted.then_some(())
    }

    fn shows(self, version: u64, value: Option<Value>) -> Option<Self> {
        let (held, at) = self.held?;
        let is_right = value.is_none_or(|value| value == held);
        match at {
            Some(at) => (is_right && at == version).then_some(self),
            None => (is_right && version >= self.high).then_some(Self {
                held: Some((held, Some(version))),
                high: version,
            }),
        }
    }
}
