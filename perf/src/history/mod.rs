//! Histories of real runs: who asked what and when, what was answered and when; and whether a register explains them.
//!
//! ```text
//!  workers ──set/create/cmpxchg/get/delete──► clients ──► nodes ◄── disturbances: kill -9, SIGSTOP, a proxy
//!     │ one line per operation, when it has ended
//!     ▼
//!   FILE (JSON lines) ──► check: cut by key, learn what the answers prove, search for an order
//! ```
//! Reading order: `arguments`, `record` is one operation, `file` the lines, `worker` drives, `disturb` disturbs,
//! `report` counts; `check` judges a file and knows nothing of how it came about.
//!
//! Not here, on purpose: operations on several keys, lists and stale reads. The simulator checks those.

pub(crate) mod arguments;
pub(crate) mod check;
pub(crate) mod disturb;
pub(crate) mod file;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod worker;
