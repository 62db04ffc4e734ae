//! A start finds the damage there is, and none that is not: who has lost acknowledged records is not started, the
//! core's others are.
//!
//! Not here, on purpose: what is lost (`hurt`), and what clients are told.

use crate::sim::hurt::{Hurt, ScanView};
use crate::sim::violation::Violation;
use crate::types::ReplicaName;

/// Judges a start by whom it started and whom it took for damaged. Some may stay out without damage.
pub(crate) fn check(
    (hurt, view): (&Hurt, &ScanView),
    may_end: impl Fn(ReplicaName) -> bool,
    mut started: impl Iterator<Item = ReplicaName>,
    damaged: &[ReplicaName],
) -> Result<(), Violation> {
    if let Some(name) = damaged.iter().copied().find(|name| !hurt.may_hurt(*name) && !may_end(*name)) {
        return Err(Violation::FalseDamage { name });
    }
    match started.find(|name| hurt.shows(view, *name)) {
        Some(name) => Err(Violation::DamageOverlooked { name }),
        None => Ok(()),
    }
}
