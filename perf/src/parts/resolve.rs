//! From operations to changes, as a leader decides them.

use bytes::Bytes;
use margate_engine::index::{Index, IndexError, MemoryReader, MemoryStore, OwnedRange};
use margate_engine::planted::Planted;
use margate_engine::shard::answer::{Asked, ConnectionId, Ticket};
use margate_engine::shard::pending::{PendingOverlay, PendingSlot};
use margate_engine::shard::resolve::{Resolution, Resolver};
use margate_engine::types::{Nanos, ValueHash};
use margate_net::codec::OperationKind;
use margate_net::ids::{LogIndex, Version};
use margate_net::message::{Operation, Precondition, Returning};

use super::{Part, Scale, sample};
use crate::workload::keys::key;

/// The version of everything there is.
const PRESENT: Version = Version(1);

/// Of four writes two are blind, one asks for a version and one for a value. What these look at is half of it proposed and half
/// of it applied; the rows are all in the index's overlay.
pub(super) struct Writes {
    pending: PendingOverlay,
    index: Index<MemoryReader>,
    values: Vec<Bytes>,
    operations: Vec<Operation>,
}

impl Writes {
    pub(super) fn new(scale: Scale) -> Self {
        let values = sample::values(0..scale.operations as u64);
        let everything = OwnedRange {
            space: sample::SPACE,
            low: Bytes::new(),
            high: Bytes::new(),
        };
        let mut index = Index::new(MemoryStore::new().reader());
        let mut pending = PendingOverlay::default();
        for number in 0..scale.rows {
            let value = values.get(usize::try_from(number).unwrap_or(usize::MAX));
            let hash = value.map_or_else(ValueHash::default, |value| ValueHash::of(value));
            index.apply(&everything, &key(number), sample::slot(PRESENT, hash));
        }
        for (number, value) in (0..).zip(&values).filter(|(number, _)| number % 8 < 4) {
            let slot = PendingSlot::Put {
                version: PRESENT,
                value: value.clone(),
            };
            pending.add(key(number), slot);
        }
        pending.proposed(LogIndex(1));
        Self {
            pending,
            index,
            values,
            operations: Vec::new(),
        }
    }
}

impl Part for Writes {
    fn prepare(&mut self) -> Result<(), IndexError> {
        let operation = |(number, value): (u64, &Bytes)| match number % 4 {
            0 => sample::set(key(number), value.clone(), Precondition::AtVersion(PRESENT)),
            1 => Operation::CompareExchange {
                key: key(number),
                expected: value.clone(),
                value: value.clone(),
                returning: Returning::default(),
            },
            _ => sample::set(key(number), value.clone(), Precondition::Always),
        };
        self.operations = (0..).zip(&self.values).map(operation).collect();
        Ok(())
    }

    fn run(&mut self) -> Result<usize, IndexError> {
        let mut resolver = Resolver {
            pending: &mut self.pending,
            index: &self.index,
            space: sample::SPACE,
            planted: Planted::NONE,
        };
        let ticket = Ticket {
            connection: ConnectionId(1),
            id: 1,
            asked: Asked {
                kind: OperationKind::Set,
                received: Nanos(0),
            },
        };
        let mut writes = 0;
        for operation in self.operations.drain(..) {
            let resolution = resolver.resolve(ticket, operation, PRESENT.next())?;
            writes += usize::from(matches!(resolution, Resolution::Write(..)));
        }
        Ok(writes)
    }
}
