//! A start finds the damage there is, and none that is not: who has lost acknowledged records is not started, the
//! core's others are.
//!
//! Not here, on purpose: what is lost (`hurt`), and what clients are told.

use crate::sim::hurt::Hurt;
use crate::sim::violation::Violation;
use crate::types::ReplicaName;

/// Judges a start by its core's replicas, those it took for damaged, and the batch at the index's mark, if it has one.
pub(crate) fn check(
    hurt: &Hurt,
    replicas: impl Iterator<Item = ReplicaName>,
    damaged: &[ReplicaName],
    mark: Option<u64>,
) -> Result<(), Violation> {
    for name in replicas {
        let found = damaged.contains(&name);
        if found && !hurt.may_hurt(name) {
            return Err(Violation::FalseDamage { name });
        }
        if !found && hurt.shows(mark, name) {
            return Err(Violation::DamageOverlooked { name });
        }
    }
    Ok(())
}
