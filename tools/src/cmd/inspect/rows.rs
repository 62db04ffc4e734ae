//! Whether every pointer of an index leads to the record it means (invariant 5), and every noted entry to its batch.
//!
//! A row may point to an entry's effect or to a copy of it; the bytes are the same. Rows of images that never came into force and
//! of replicas that are gone are dropped by the next start, and what they point to may be gone before: they are counted only.

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_engine::index::IndexError;
use margate_engine::index::row::{Row, RowError, split_index_key};
use margate_engine::log::effects::{EFFECT_HEADER_BYTES, EffectKind, ExpectedEffect, read_effect};
use margate_engine::log::fetch::entries_in_chunk;
use margate_engine::log::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};
use margate_engine::runtime::index_reader::HeedReader;
use margate_engine::shard::state::ShardState;
use margate_engine::types::{Position, ReplicaName, ValueHash};
use margate_net::ids::{ClusterId, LogIndex, ShardId, Space};

use super::look::IndexView;
use super::problem::{PositionFault, Problem, Problems, RowFault};
use super::segments::MappedSegments;
use super::survey::Survey;

/// What rows are held against.
pub(super) struct Pointers<'a> {
    pub(super) segments: &'a mut MappedSegments,
    pub(super) cluster: ClusterId,
    /// The first byte after the last batch.
    pub(super) end: Position,
    owners: BTreeMap<Space, Owner>,
    /// The first space never used.
    next_space: Space,
    view: &'a IndexView,
    /// Rows of spaces that have no owner any more.
    pub(super) left: u64,
}

/// Who has a space.
struct Owner {
    name: ReplicaName,
    /// Its range and highest version; `None` if its state is damaged, or newer than what the index knows.
    state: Option<ShardState>,
}

impl<'a> Pointers<'a> {
    /// Of the replicas that the index knows, and of the images that came into force since.
    pub(super) fn new(segments: &'a mut MappedSegments, cluster: ClusterId, survey: &Survey, view: &'a IndexView) -> Self {
        let known = view.replicas.iter().map(|marks| {
            let owner = Owner {
                name: marks.name,
                state: ShardState::decode(&marks.state).ok(),
            };
            (marks.space, owner)
        });
        let in_force = survey.replicas.iter().filter(|(_, replica)| replica.is_whole());
        let newer = in_force.map(|(name, replica)| {
            let owner = Owner { name: *name, state: None };
            (replica.space, owner)
        });
        Self {
            segments,
            cluster,
            end: survey.end,
            // The later one counts: what the index knows.
            owners: newer.chain(known).collect(),
            next_space: view.core.map_or(Space(0), |core| core.next_space),
            view,
            left: 0,
        }
    }

    /// Follows every row; how many there are.
    pub(super) fn rows(&mut self, index: &HeedReader, problems: &mut Problems) -> Result<u64, IndexError> {
        let mut count = 0;
        index.visit_rows(&mut |index_key, row| {
            count += 1;
            match split_index_key(index_key) {
                None => problems.add(Problem::IndexKey { bytes: index_key.len() }),
                Some((space, key)) => {
                    if let Err(fault) = self.row(space, key, row) {
                        let key = key.to_vec();
                        problems.add(Problem::Row { space, key, fault });
                    }
                }
            }
        })?;
        Ok(count)
    }

    /// Follows every noted entry; how many there are.
    pub(super) fn positions(&mut self, index: &HeedReader, problems: &mut Problems) -> Result<u64, IndexError> {
        let mut count = 0;
        index.visit_positions(&mut |noted| {
            count += 1;
            match noted {
                Err(error) => problems.add(Problem::Index(error)),
                // Where its entries were may be gone.
                Ok((name, ..)) if self.view.is_former(name) => {}
                Ok((name, index, position)) => {
                    if let Err(fault) = self.entry_position(name, index, position) {
                        problems.add(Problem::EntryPosition {
                            name,
                            index,
                            position,
                            fault,
                        });
                    }
                }
            }
        })?;
        Ok(count)
    }

    fn row(&mut self, space: Space, key: &[u8], row: Result<Row, RowError>) -> Result<(), RowFault> {
        let row = row.map_err(RowFault::Bytes)?;
        let Some(owner) = self.owners.get(&space) else {
            self.left += 1;
            return if space < self.next_space {
                Ok(())
            } else {
                Err(RowFault::NoReplica)
            };
        };
        let shard = owner.check(key, &row)?;
        let position = row.position;
        if position >= self.end {
            return Err(RowFault::BeyondLog(position));
        }
        let bytes = (EFFECT_HEADER_BYTES + key.len()).saturating_add(usize::try_from(row.size).unwrap_or(usize::MAX));
        let record = self.segments.slice(position, bytes);
        let record = record.map_err(|fault| RowFault::Unreadable { position, fault })?;
        let expected = ExpectedEffect {
            cluster: self.cluster,
            shard,
            key,
            version: row.version,
        };
        let effect = read_effect(record, &expected).map_err(|fault| RowFault::Mismatch { position, fault })?;
        if effect.kind != EffectKind::Put {
            return Err(RowFault::Deleted(position));
        }
        let same = effect.value.len() as u64 == row.size && effect.hash == row.hash && ValueHash::of(effect.value) == row.hash;
        if same { Ok(()) } else { Err(RowFault::OtherValue(position)) }
    }

    fn entry_position(&mut self, name: ReplicaName, index: LogIndex, at: Position) -> Result<(), PositionFault> {
        if at >= self.end {
            return Err(PositionFault::NotThere);
        }
        let first = self.chunk(at, BLOCK_BYTES)?;
        let mut fetched = entries_in_chunk(&first, at, name).map_err(PositionFault::Batch)?;
        if let Some(needs) = fetched.walked.needs {
            let whole = self.chunk(at, needs.min(BATCH_BYTES_MAX))?;
            fetched = entries_in_chunk(&whole, at, name).map_err(PositionFault::Batch)?;
        }
        let held = fetched.entries.iter().any(|entry| entry.index == index);
        if held { Ok(()) } else { Err(PositionFault::NotThere) }
    }

    fn chunk(&mut self, at: Position, bytes: usize) -> Result<Bytes, PositionFault> {
        let found = self.segments.slice(at, bytes).map_err(PositionFault::Read)?;
        Ok(Bytes::copy_from_slice(found))
    }
}

impl Owner {
    /// Whether a row may be this replica's; the shard that wrote it.
    fn check(&self, key: &[u8], row: &Row) -> Result<ShardId, RowFault> {
        let (version, highest) = match &self.state {
            Some(state) if !state.contains(key) => return Err(RowFault::OutsideRange(self.name)),
            Some(state) => (row.version, state.version_high),
            None => return Ok(self.name.shard),
        };
        if version > highest {
            return Err(RowFault::Ahead { version, highest });
        }
        Ok(self.name.shard)
    }
}
