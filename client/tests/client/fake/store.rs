//! What a fake node keeps, if its script wants answers that mean something.

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_net::error::Refusal;
use margate_net::ids::{LogIndex, Version};
use margate_net::message::{Direction, Operation, Precondition, Row, Success};

/// A store in memory that carries operations out, so that answers mean something.
#[derive(Default)]
pub(crate) struct Store {
    rows: BTreeMap<Bytes, (Version, Bytes)>,
    version: u64,
}

impl Store {
    pub(crate) fn execute(&mut self, operation: &Operation) -> Result<Success, Refusal> {
        let applied = LogIndex(self.version);
        match operation {
            Operation::Set {
                key,
                value,
                precondition,
                returning,
            } => {
                let before = self.rows.get(key).cloned();
                check(*precondition, before.as_ref().map(|(version, _)| *version))?;
                let version = self.put(key, value);
                let old_value = before.map(|(_, value)| value).filter(|_| returning.old_value);
                Ok(Success::Written {
                    version,
                    key: returning.key.then(|| key.clone()),
                    old_value,
                })
            }
            Operation::Get { key, returning, .. } => {
                let (version, value) = self.rows.get(key).cloned().ok_or(Refusal::NotFound)?;
                Ok(Success::Found {
                    version,
                    value,
                    key: returning.key.then(|| key.clone()),
                    applied,
                })
            }
            Operation::Size { key, returning, .. } => {
                let (version, value) = self.rows.get(key).cloned().ok_or(Refusal::NotFound)?;
                Ok(Success::Sized {
                    version,
                    size: value.len() as u64,
                    key: returning.key.then(|| key.clone()),
                    applied,
                })
            }
            Operation::Delete {
                key,
                at_version,
                returning,
            } => {
                let doomed = self
                    .rows
                    .get(key)
                    .is_some_and(|(version, _)| at_version.is_none_or(|wanted| wanted == *version));
                let before = if doomed { self.rows.remove(key) } else { None };
                self.version += u64::from(doomed);
                let old_value = before.map(|(_, value)| value).filter(|_| returning.old_value);
                Ok(Success::Deleted {
                    version: doomed.then_some(Version(self.version)),
                    key: returning.key.then(|| key.clone()),
                    old_value,
                })
            }
            Operation::CompareExchange {
                key,
                expected,
                value,
                returning,
            } => {
                let before = self.rows.get(key).map(|(_, value)| value.clone());
                let version = (before.as_ref() == Some(expected)).then(|| self.put(key, value));
                let old_value = before.filter(|_| returning.old_value);
                Ok(Success::Exchanged {
                    version,
                    key: returning.key.then(|| key.clone()),
                    old_value,
                })
            }
            Operation::List {
                low,
                high,
                limit,
                direction,
                ..
            } => {
                let inside = |key: &Bytes| key >= low && (high.is_empty() || key < high);
                let mut rows: Vec<Row> = self.rows.iter().filter(|(key, _)| inside(key)).map(row).collect();
                if *direction == Direction::Reverse {
                    rows.reverse();
                }
                let more = rows.len() > *limit as usize;
                let next = rows.get(*limit as usize).map(|row| row.key.clone());
                rows.truncate(*limit as usize);
                let last = rows.last().map(|row| row.key.clone()).filter(|_| more);
                let resume = if *direction == Direction::Reverse { last } else { next };
                Ok(Success::Listed { rows, resume, applied })
            }
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes) -> Version {
        self.version += 1;
        // The answer's slices would keep whole frames alive.
        let stored = (Version(self.version), Bytes::copy_from_slice(value));
        self.rows.insert(Bytes::copy_from_slice(key), stored);
        Version(self.version)
    }
}

fn check(precondition: Precondition, present: Option<Version>) -> Result<(), Refusal> {
    match precondition {
        Precondition::Absent => present.map_or(Ok(()), |version| Err(Refusal::AlreadyExists { version })),
        Precondition::Always => Ok(()),
        Precondition::AtVersion(wanted) if present == Some(wanted) => Ok(()),
        Precondition::AtVersion(_) => Err(Refusal::VersionMismatch { actual: present }),
        Precondition::Present => present.map_or(Err(Refusal::NotFound), |_| Ok(())),
    }
}

fn row((key, (version, value)): (&Bytes, &(Version, Bytes))) -> Row {
    Row {
        key: key.clone(),
        version: *version,
        value: Some(value.clone()),
    }
}
