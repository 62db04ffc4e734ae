//! How long a node takes to be back, with a log that holds a lot.
//!
//! ```text
//!  exec ──► answers (its core says how it is) ──► serves (each of its replicas has applied what was committed when it was executed,
//!                                                  anywhere, and each shard has a leader)
//! ```
//! The node that leads most is ended: in good order while nobody asks for anything, and killed under load, in turn. The load goes on
//! while it is away and while it comes back.
//!
//! Not here, on purpose: running it (`commands/restart.rs`).

pub(crate) mod arguments;
pub(crate) mod report;
