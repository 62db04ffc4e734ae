//! The kill test: nodes are killed with SIGKILL under load, and afterwards every acknowledged write must stand.
//!
//! ```text
//!  workers ──put/get──► client ──► nodes ◄──kill -9, start again── faults
//!     │ begin, acknowledged, unknown, refused                        │
//!     ▼                                                              ▼ workers pause
//!   book: ledger (pure) + journal (a file outside the nodes) ◄──every key, read── verify
//! ```
//! Reading order: `value` tells every write from every other, `ledger` holds what must be true, `violation` is
//! what must not be, `journal` writes everything down, `outage` times the gaps, `worker` drives, `verify` reads,
//! `report` counts. Who is killed, with power or without, and started again is in `margate`.
//!
//! Not here, on purpose: faults of disks, networks and clocks. The simulator has those.

pub(crate) mod book;
pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod outage;
pub(crate) mod report;
pub(crate) mod value;
pub(crate) mod verify;
pub(crate) mod violation;
pub(crate) mod worker;
