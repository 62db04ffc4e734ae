//! The checkers. Some watch every turn of every core, others judge the whole run.
//!
//! - [`witness`]: what one core's disk really holds, read by the log's own scan.
//! - [`log_agreement`]: a committed entry never changes and is the same everywhere, on disks that hold it.
//! - [`single_leader`]: one leader per shard and term.
//! - [`state_hash`]: replicas at equal applied index hold equal rows.
//! - [`marks`]: the index never runs ahead of the commits on disk.
//! - [`linearizable`]: every key's operations have an order that explains what clients saw; [`register`] says which
//!   answers are right, [`calls`] cuts the history into keys.
//! - [`acknowledged`]: what was acknowledged is in the log, once; what was refused is not; what was read is.
//! - [`damage`]: a start finds the damage there is, and none that is not; no replica begins twice on a disk (`witness`).
//! - [`membership`]: nobody is stopped as removed who is not; tenure begins anew with every change of members.
//! - [`values`]: every row leads to a whole record, or to one that is mended once faults have ended.
//! - [`liveness`]: after all faults everything finishes and all replicas agree.
//!
//! Not here, on purpose: making things go wrong (`nemesis`).

pub(crate) mod acknowledged;
pub(crate) mod calls;
pub(crate) mod damage;
pub(crate) mod linearizable;
pub(crate) mod liveness;
pub(crate) mod log_agreement;
pub(crate) mod marks;
pub(crate) mod membership;
pub(crate) mod register;
pub(crate) mod single_leader;
pub(crate) mod state_hash;
pub(crate) mod values;
pub(crate) mod witness;
