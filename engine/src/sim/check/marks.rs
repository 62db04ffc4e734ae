//! The index is never ahead of the log: what a generation says is applied has its commit on disk, and whom it lets run
//! has begun there (invariant 6).
//!
//! Not here, on purpose: whether the rows are right (`state_hash`).

use super::witness::Witness;
use crate::index::store::ReplicaMarks;
use crate::sim::violation::Violation;

/// Judges the marks of a generation that has just become durable.
pub(crate) fn check(marks: &[ReplicaMarks], witness: &Witness) -> Result<(), Violation> {
    let unborn = marks.iter().find(|marks| !marks.damaged && !witness.has_begun(marks.name));
    if let Some(marks) = unborn {
        return Err(Violation::IndexKnowsUnborn { name: marks.name });
    }
    let ahead = marks.iter().find(|marks| marks.applied > witness.commit(marks.name));
    ahead.map_or(Ok(()), |marks| {
        Err(Violation::IndexAhead {
            name: marks.name,
            applied: marks.applied,
            commit: witness.commit(marks.name),
        })
    })
}
