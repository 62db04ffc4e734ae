//! What was acknowledged is in the committed log, once; what was refused is not; whatever a read showed is.
//!
//! Not here, on purpose: the order in which clients saw it (`linearizable`).

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_net::ids::{ShardId, Version};
use margate_net::map::Map;
use margate_net::message::{Operation, Success};

use super::log_agreement::CommittedLog;
use crate::log::effects::{EffectKind, EntryData};
use crate::sim::history::{History, Outcome, Record, value_number};
use crate::sim::violation::Violation;

/// What a version did.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Done {
    key: Bytes,
    /// Nothing for a delete.
    value: Option<Bytes>,
}

/// Everything the committed logs did.
pub(crate) struct Deeds {
    by_version: BTreeMap<(ShardId, Version), Done>,
    /// The versions of each value, by its number.
    of_value: BTreeMap<u64, Vec<Version>>,
}

/// Judges a run by its committed log. Returns what the log did.
pub(crate) fn check(history: &History, map: &Map, log: &CommittedLog) -> Result<Deeds, Violation> {
    let deeds = Deeds::of(log)?;
    for (record, number) in history.records().iter().zip(0..) {
        let shard = map.shards()[record.shard].id;
        deeds.check_times(record, number)?;
        if let Outcome::Answered(Ok(success)) = &record.outcome {
            deeds.check_success(shard, &record.operation, success)?;
        }
    }
    Ok(deeds)
}

impl Deeds {
    /// The version that wrote a value, if any did.
    pub(crate) fn version_of(&self, number: u64) -> Option<Version> {
        self.of_value.get(&number).and_then(|versions| versions.first()).copied()
    }

    fn of(log: &CommittedLog) -> Result<Self, Violation> {
        let mut deeds = Self {
            by_version: BTreeMap::new(),
            of_value: BTreeMap::new(),
        };
        let mut last = (ShardId(0), Version(0));
        for (shard, index, logged) in log.entries() {
            let Ok(data) = EntryData::parse(&logged.data) else { continue };
            for (_, effect) in data.effects() {
                let version = effect.version;
                if (shard, version) <= last {
                    return Err(Violation::VersionsFall { shard, index, version });
                }
                last = (shard, version);
                let value = (effect.kind == EffectKind::Put).then(|| Bytes::copy_from_slice(effect.value));
                if let Some(number) = value.as_deref().and_then(value_number) {
                    deeds.of_value.entry(number).or_default().push(version);
                }
                let key = Bytes::copy_from_slice(effect.key);
                deeds.by_version.insert((shard, version), Done { key, value });
            }
        }
        Ok(deeds)
    }

    /// A write's value is there once at most, and not at all if the write was refused.
    fn check_times(&self, record: &Record, number: u64) -> Result<(), Violation> {
        let times = self.of_value.get(&number).map_or(0, Vec::len);
        let allowed = match &record.outcome {
            Outcome::Answered(Ok(Success::Exchanged { version: None, .. }) | Err(_)) | Outcome::NotExecuted => 0,
            Outcome::Open | Outcome::Unknown | Outcome::Answered(Ok(_)) => 1,
        };
        if times <= allowed {
            Ok(())
        } else {
            Err(Violation::ValueWritten {
                value: number,
                times,
                allowed,
            })
        }
    }

    fn check_success(&self, shard: ShardId, operation: &Operation, success: &Success) -> Result<(), Violation> {
        let key = operation.routing_key();
        match success {
            Success::Written { version, .. }
            | Success::Exchanged {
                version: Some(version), ..
            } => self.check_write(shard, key, *version, written(operation)),
            Success::Deleted {
                version: Some(version), ..
            } => self.check_write(shard, key, *version, None),
            Success::Deleted { version: None, .. } | Success::Exchanged { version: None, .. } => Ok(()),
            Success::Found { version, value, .. } => {
                let whole = |done: &Bytes| done == value;
                self.check_read(shard, key, *version, whole)
            }
            Success::Sized { version, size, .. } => self.check_read(shard, key, *version, |done| done.len() as u64 == *size),
            Success::Listed { rows, .. } => rows.iter().try_for_each(|row| {
                let same = |done: &Bytes| row.value.as_ref().is_none_or(|value| value == done);
                self.check_read(shard, &row.key, row.version, same)
            }),
        }
    }

    fn check_write(&self, shard: ShardId, key: &Bytes, version: Version, value: Option<&Bytes>) -> Result<(), Violation> {
        let done = self.by_version.get(&(shard, version));
        if done.is_some_and(|done| done.key == *key && done.value.as_ref() == value) {
            Ok(())
        } else {
            Err(Violation::AcknowledgedLost {
                shard,
                key: key.clone(),
                version,
            })
        }
    }

    fn check_read(&self, shard: ShardId, key: &Bytes, version: Version, shown: impl Fn(&Bytes) -> bool) -> Result<(), Violation> {
        let done = self.by_version.get(&(shard, version)).filter(|done| done.key == *key);
        if done.and_then(|done| done.value.as_ref()).is_some_and(shown) {
            Ok(())
        } else {
            Err(Violation::ReadUncommitted { key: key.clone(), version })
        }
    }
}

fn written(operation: &Operation) -> Option<&Bytes> {
    match operation {
        Operation::Set { value, .. } | Operation::CompareExchange { value, .. } => Some(value),
        Operation::Delete { .. } | Operation::Get { .. } | Operation::List { .. } | Operation::Size { .. } => None,
    }
}
