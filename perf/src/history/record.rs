//! One operation as its client saw it, and its line in the file.
//!
//! ```text
//! {"process":3,"key":1,"op":"cmpxchg","value":17,"expected":9,"call":1200,"return":3400,"outcome":"ok","version":12,"old":9}
//! ```
//! `op` is `set`, `create`, `cmpxchg`, `get` or `delete`; `outcome` is `ok` (written or deleted), `found`, `missing`,
//! `exists`, `mismatch`, `failed` (not executed) or `unknown` (no `return`: it stays open until the end). Times are
//! nanoseconds of one monotonic clock. Values are numbers, each written once in a history; 0 is "bytes that nobody
//! wrote". `old` is what stood before, `null` for nothing, and is left out where it was not asked for.
//!
//! Not here, on purpose: whether answers are right (`check`).

use serde::{Deserialize, Deserializer, Serialize};

/// The number of a value.
pub(crate) type Value = u64;
/// Stands for bytes that nobody wrote.
pub(crate) const FOREIGN: Value = 0;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Who asked.
    pub(crate) process: u64,
    /// The key's number.
    pub(crate) key: u64,
    /// What was asked.
    pub(crate) operation: Operation,
    /// When it was asked, in nanoseconds.
    pub(crate) call: u64,
    /// When it was answered, in nanoseconds; never, if its outcome is unknown.
    pub(crate) returned: Option<u64>,
    /// What was answered.
    pub(crate) outcome: Outcome,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Write only if the key does not exist.
    Create { value: Value },
    /// Take the key away.
    Delete,
    /// Write only if `expected` stands.
    Exchange { expected: Value, value: Value },
    /// Read the latest value, linearizably.
    Get,
    /// Write.
    Set { value: Value },
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A create was refused: the key exists at this version.
    Exists { version: u64 },
    /// It was not executed, or a read had no answer.
    Failed,
    /// A read's answer.
    Found { version: u64, value: Value },
    /// An exchange met another value than the expected one, or none.
    Mismatch { old: Option<Value> },
    /// A read or a delete found no key.
    Missing,
    /// It may have been executed, or may yet be.
    Unknown,
    /// A write or a delete was done.
    Wrote { version: u64, old: Old },
}

/// What stood before a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// The caller did not ask.
    NotAsked,
    /// No key, or this value.
    Was(Option<Value>),
}

impl Operation {
    /// The value it would write.
    pub(crate) fn value(&self) -> Option<Value> {
        match self {
            Self::Create { value } | Self::Exchange { value, .. } | Self::Set { value } => Some(*value),
            Self::Delete | Self::Get => None,
        }
    }
}

/// Why a line is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// It is not JSON, or has other fields.
    #[error("it is not a record of a history in JSON")]
    NotJson,
    /// A field is missing or must not be there.
    #[error("the field {0:?} is missing, or must not be there with this operation and outcome")]
    Field(&'static str),
    /// The outcome does not belong to the operation.
    #[error("the outcome does not belong to the operation")]
    Outcome,
    /// It was answered before it was asked.
    #[error("it returns before it is called")]
    Time,
}

/// The fields as they stand in a line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    process: u64,
    key: u64,
    op: OperationWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
    call: u64,
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    returned: Option<u64>,
    outcome: OutcomeWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    old: Option<Option<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum OperationWord {
    Cmpxchg,
    Create,
    Delete,
    Get,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum OutcomeWord {
    Exists,
    Failed,
    Found,
    Mismatch,
    Missing,
    Ok,
    Unknown,
}

/// A field that is there and `null` is not one that is absent.
fn even_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl Record {
    /// Reads one line.
    ///
    /// # Errors
    /// [`RecordError`]: it is none that this module writes.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let line: Line = serde_json::from_slice(line).map_err(|_| RecordError::NotJson)?;
        line.record()
    }

    /// Writes one line, without its end.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn write(&self, to: impl std::io::Write) -> std::io::Result<()> {
        serde_json::to_writer(to, &Line::of(self)).map_err(std::io::Error::from)
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(&Line::of(self)).map_err(|_| std::fmt::Error)?;
        f.write_str(&text)
    }
}

impl Line {
    fn of(record: &Record) -> Self {
        let (op, mut value, expected) = match record.operation {
            Operation::Create { value } => (OperationWord::Create, Some(value), None),
            Operation::Delete => (OperationWord::Delete, None, None),
            Operation::Exchange { expected, value } => (OperationWord::Cmpxchg, Some(value), Some(expected)),
            Operation::Get => (OperationWord::Get, None, None),
            Operation::Set { value } => (OperationWord::Set, Some(value), None),
        };
        let (outcome, version, old) = match record.outcome {
            Outcome::Exists { version } => (OutcomeWord::Exists, Some(version), None),
            Outcome::Failed => (OutcomeWord::Failed, None, None),
            Outcome::Found { version, value: found } => {
                value = Some(found);
                (OutcomeWord::Found, Some(version), None)
            }
            Outcome::Mismatch { old } => (OutcomeWord::Mismatch, None, Some(old)),
            Outcome::Missing => (OutcomeWord::Missing, None, None),
            Outcome::Unknown => (OutcomeWord::Unknown, None, None),
            Outcome::Wrote { version, old } => {
                let old = match old {
                    Old::NotAsked => None,
                    Old::Was(old) => Some(old),
                };
                (OutcomeWord::Ok, Some(version), old)
            }
        };
        Self {
            process: record.process,
            key: record.key,
            op,
            value,
            expected,
            call: record.call,
            returned: record.returned,
            outcome,
            version,
            old,
        }
    }

    /// Every line that means something is one that [`Line::of`] can have made.
    fn record(self) -> Result<Record, RecordError> {
        let record = Record {
            process: self.process,
            key: self.key,
            operation: self.operation()?,
            call: self.call,
            returned: self.returned,
            outcome: self.outcome()?,
        };
        if !belongs(record.operation, record.outcome) {
            return Err(RecordError::Outcome);
        }
        if record.returned.is_none() != (record.outcome == Outcome::Unknown) {
            return Err(RecordError::Field("return"));
        }
        if record.returned.is_some_and(|returned| returned < record.call) {
            return Err(RecordError::Time);
        }
        Line::of(&record).same_fields(&self)?;
        Ok(record)
    }

    fn operation(&self) -> Result<Operation, RecordError> {
        let value = || self.value.filter(|value| *value != FOREIGN).ok_or(RecordError::Field("value"));
        Ok(match self.op {
            OperationWord::Cmpxchg => Operation::Exchange {
                expected: self.expected.ok_or(RecordError::Field("expected"))?,
                value: value()?,
            },
            OperationWord::Create => Operation::Create { value: value()? },
            OperationWord::Delete => Operation::Delete,
            OperationWord::Get => Operation::Get,
            OperationWord::Set => Operation::Set { value: value()? },
        })
    }

    fn outcome(&self) -> Result<Outcome, RecordError> {
        let version = || self.version.ok_or(RecordError::Field("version"));
        Ok(match self.outcome {
            OutcomeWord::Exists => Outcome::Exists { version: version()? },
            OutcomeWord::Failed => Outcome::Failed,
            OutcomeWord::Found => Outcome::Found {
                version: version()?,
                value: self.value.ok_or(RecordError::Field("value"))?,
            },
            OutcomeWord::Mismatch => Outcome::Mismatch {
                old: self.old.ok_or(RecordError::Field("old"))?,
            },
            OutcomeWord::Missing => Outcome::Missing,
            OutcomeWord::Ok => Outcome::Wrote {
                version: version()?,
                old: self.old.map_or(Old::NotAsked, Old::Was),
            },
            OutcomeWord::Unknown => Outcome::Unknown,
        })
    }

    fn same_fields(&self, other: &Self) -> Result<(), RecordError> {
        let fields = [
            ("value", self.value == other.value),
            ("expected", self.expected == other.expected),
            ("version", self.version == other.version),
            ("old", self.old == other.old),
        ];
        match fields.iter().find(|(_, same)| !same) {
            Some((name, _)) => Err(RecordError::Field(name)),
            None => Ok(()),
        }
    }
}

/// Which answers there are to which questions. Deletes that were done and exchanges always say what stood before:
/// without it the checker could not tell what they saw.
fn belongs(operation: Operation, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Failed => true,
        Outcome::Unknown => operation != Operation::Get,
        Outcome::Exists { .. } => matches!(operation, Operation::Create { .. }),
        Outcome::Found { .. } => operation == Operation::Get,
        Outcome::Mismatch { .. } => matches!(operation, Operation::Exchange { .. }),
        Outcome::Missing => matches!(operation, Operation::Get | Operation::Delete),
        Outcome::Wrote { old: Old::NotAsked, .. } => matches!(operation, Operation::Set { .. } | Operation::Create { .. }),
        Outcome::Wrote { old: Old::Was(_), .. } => operation != Operation::Get,
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
