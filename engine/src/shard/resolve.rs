//! From an operation to its effect, before it is proposed.
//!
//! The resolver sees what the key will hold once everything proposed before is applied: the pending overlay
//! first, then the index. What it decides is carried out as it stands: the entry holds only effects.
//!
//! Not here, on purpose: proofs. An answer that reveals state is [`Resolution::Observed`] and waits, in
//! `propose.rs`, for the proof that this replica led when it looked.

use bytes::Bytes;
use margate_net::error::Refusal;
use margate_net::ids::{Space, Version};
use margate_net::message::{Operation, Precondition, Returning, Success};

use super::answer::{Answer, Fill, Place, Ticket};
use super::pending::{PendingOverlay, PendingSlot};
use crate::index::error::IndexError;
use crate::index::row::{Row, Slot};
use crate::index::store::IndexReader;
use crate::index::view::Index;
use crate::planted::Planted;
use crate::types::ValueHash;

/// What becomes of an operation.
#[derive(Debug)]
pub enum Resolution {
    /// An effect, and the answer once it is applied.
    Write(Change, Answer),
    /// No effect; the answer reveals state and needs proof.
    Observed(Answer),
}

/// An effect before it is put into an entry.
#[derive(Debug)]
pub enum Change {
    /// Takes a key away.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Gives a key a value.
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
}

/// What the resolver looks at.
pub struct Resolver<'a, R: IndexReader> {
    /// Effects proposed and not applied.
    pub pending: &'a mut PendingOverlay,
    /// Effects applied.
    pub index: &'a Index<R>,
    /// Where the replica's rows are.
    pub space: Space,
    /// The bug to show, [`Planted::NONE`] in production.
    pub planted: Planted,
}

/// What a key holds, by the resolver's view.
struct Current {
    version: Version,
    value: Held,
}

enum Held {
    Memory(Bytes),
    Stored(Row),
}

impl<R: IndexReader> Resolver<'_, R> {
    /// Decides a write. `version` is what its effect will carry, if it has one.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    ///
    /// # Panics
    /// If given a read; those are never queued for resolution.
    pub fn resolve(&mut self, ticket: Ticket, operation: Operation, version: Version) -> Result<Resolution, IndexError> {
        match operation {
            Operation::Set {
                key,
                value,
                precondition,
                returning,
            } => self.set(ticket, key, value, precondition, returning, version),
            Operation::Delete {
                key,
                at_version,
                returning,
            } => self.delete(ticket, key, at_version, returning, version),
            Operation::CompareExchange {
                key,
                expected,
                value,
                returning,
            } => self.compare_exchange(ticket, key, (&expected, value), returning, version),
            Operation::Get { .. } | Operation::List { .. } | Operation::Size { .. } => unreachable!("reads are not resolved"),
        }
    }

    fn set(
        &mut self,
        ticket: Ticket,
        key: Bytes,
        value: Bytes,
        precondition: Precondition,
        returning: Returning,
        version: Version,
    ) -> Result<Resolution, IndexError> {
        // A blind set asks nothing of the state, so it costs no look-up.
        let blind = precondition == Precondition::Always && !returning.old_value;
        let current = if blind { None } else { self.look_up(&key)? };
        let refusal = match (precondition, &current) {
            (Precondition::Always, _) | (Precondition::Absent, None) | (Precondition::Present, Some(_)) => None,
            (Precondition::Absent, Some(current)) => Some(Refusal::AlreadyExists { version: current.version }),
            (Precondition::Present, None) => Some(Refusal::NotFound),
            (Precondition::AtVersion(wanted), current) => {
                let actual = current.as_ref().map(|current| current.version);
                (actual != Some(wanted)).then_some(Refusal::VersionMismatch { actual })
            }
        };
        if let Some(refusal) = refusal {
            return Ok(Resolution::Observed(Answer::refused(ticket, refusal)));
        }
        let (old_value, fills) = old_value(returning, current, &key);
        let success = Success::Written {
            version,
            key: returned_key(returning, &key),
            old_value,
        };
        Ok(Resolution::Write(
            Change::Put { key, value },
            Answer {
                ticket,
                outcome: Ok(success),
                fills,
            },
        ))
    }

    fn delete(
        &mut self,
        ticket: Ticket,
        key: Bytes,
        at_version: Option<Version>,
        returning: Returning,
        version: Version,
    ) -> Result<Resolution, IndexError> {
        let current = self.look_up(&key)?;
        let hit = current
            .as_ref()
            .is_some_and(|current| at_version.is_none_or(|wanted| wanted == current.version));
        let (old_value, fills) = old_value(returning, current, &key);
        let success = Success::Deleted {
            version: hit.then_some(version),
            key: returned_key(returning, &key),
            old_value,
        };
        let answer = Answer {
            ticket,
            outcome: Ok(success),
            fills,
        };
        Ok(if hit {
            Resolution::Write(Change::Delete { key }, answer)
        } else {
            Resolution::Observed(answer)
        })
    }

    fn compare_exchange(
        &mut self,
        ticket: Ticket,
        key: Bytes,
        (expected, value): (&Bytes, Bytes),
        returning: Returning,
        version: Version,
    ) -> Result<Resolution, IndexError> {
        let current = self.look_up(&key)?;
        let hit = current.as_ref().is_some_and(|current| current.equals(expected));
        let (old_value, fills) = old_value(returning, current, &key);
        let success = Success::Exchanged {
            version: hit.then_some(version),
            key: returned_key(returning, &key),
            old_value,
        };
        let answer = Answer {
            ticket,
            outcome: Ok(success),
            fills,
        };
        Ok(if hit {
            Resolution::Write(Change::Put { key, value }, answer)
        } else {
            Resolution::Observed(answer)
        })
    }

    fn look_up(&mut self, key: &Bytes) -> Result<Option<Current>, IndexError> {
        let pending = if self.planted.resolve_ignores_pending() {
            None
        } else {
            self.pending.get(key)
        };
        match pending {
            Some(PendingSlot::Deleted { .. }) => Ok(None),
            Some(PendingSlot::Put { version, value }) => Ok(Some(Current {
                version: *version,
                value: Held::Memory(value.clone()),
            })),
            None => Ok(match self.index.get(self.space, key)? {
                Some(Slot::Put(row)) => Some(Current {
                    version: row.version,
                    value: Held::Stored(row),
                }),
                Some(Slot::Deleted(_)) | None => None,
            }),
        }
    }
}

impl Current {
    /// Sizes first, then hashes: a stored value need not be read.
    fn equals(&self, expected: &[u8]) -> bool {
        match &self.value {
            Held::Memory(value) => value == expected,
            Held::Stored(row) => row.size == expected.len() as u64 && row.hash == ValueHash::of(expected),
        }
    }
}

/// The literal key, where it was asked for.
pub(crate) fn returned_key(returning: Returning, key: &Bytes) -> Option<Bytes> {
    returning.key.then(|| key.clone())
}

fn old_value(returning: Returning, current: Option<Current>, key: &Bytes) -> (Option<Bytes>, Vec<Fill>) {
    let Some(current) = current.filter(|_| returning.old_value) else {
        return (None, Vec::new());
    };
    match current.value {
        Held::Memory(value) => (Some(value), Vec::new()),
        Held::Stored(row) => (
            Some(Bytes::new()),
            vec![Fill {
                place: Place::OldValue,
                key: key.clone(),
                row,
            }],
        ),
    }
}
