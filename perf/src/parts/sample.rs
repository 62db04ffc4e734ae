//! Keys, values and names that the parts are given: the same in every run.

use bytes::Bytes;
use margate_engine::index::row::{Row, RowFlags, Slot};
use margate_engine::types::{Position, ReplicaName, ValueHash};
use margate_net::ids::{ReplicaId, ShardId, Space, Version};
use margate_net::message::{Operation, Precondition, Returning};

use crate::workload::keys::mix;
use crate::workload::values::Values;

/// Where all rows are.
pub(super) const SPACE: Space = Space(1);
/// Bytes of every value.
const VALUE_BYTES: usize = 256;

/// Values that do not compress, one for each number.
pub(super) fn values(numbers: std::ops::Range<u64>) -> Vec<Bytes> {
    let values = Values::new(VALUE_BYTES);
    numbers.map(|number| values.make(number, mix(number))).collect()
}

/// A set with a condition.
pub(super) fn set(key: Bytes, value: Bytes, precondition: Precondition) -> Operation {
    Operation::Set {
        key,
        value,
        precondition,
        returning: Returning::default(),
    }
}

/// A replica of a shard.
pub(super) const fn replica(shard: u64, replica: u64) -> ReplicaName {
    ReplicaName {
        shard: ShardId(shard),
        replica: ReplicaId(replica),
    }
}

/// A row of this version, in the segment of the same number, whose value has this hash.
pub(super) fn slot(version: Version, hash: ValueHash) -> Slot {
    let segment = u32::try_from(version.0).expect("versions count runs");
    Slot::Put(Row {
        version,
        position: Position { segment, offset: 4_096 },
        size: VALUE_BYTES as u64,
        flags: RowFlags::NONE,
        hash,
    })
}
