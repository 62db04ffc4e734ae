//! Images: how a replica that cannot be caught up by entries gets the shard's state.
//!
//! ```text
//!   leader                                            member
//!   Begin (state at an applied entry) ──────────────► a new space, empty
//!            ◄──────────────────────────────── Taken 0
//!   Rows n (keys, versions, values) ────────────────► into its log as copies, once durable into the index
//!            ◄──────────────────────────────── Taken n
//!   End ────────────────────────────────────────────► index durable, raft is told, checkpoint and hard state in the log:
//!            ◄──────────────────────────────── Taken    then it is in force
//! ```
//! One piece is on its way at a time and repeated until it is answered, so a lost message costs a moment and a slow receiver
//! slows only its own image. Whoever hears nothing for too long gives up; a new attempt starts from the beginning in a
//! new space, and the rows of the old one are deleted in bounded steps.
//!
//! Nothing is read and no segment kept for an image before the member has said that it is there. If the index has gone on
//! until then, what it holds by now is begun as another attempt.
//!
//! - [`offer`]: before the member has answered. - [`send`]: the leader's side. - [`receive`]: the member's side.
//!
//! Not here, on purpose: who needs one (`core::offers`), what the log and raft make of it (`core::members`, `core::progress`).

pub mod offer;
pub mod receive;
pub mod send;

#[cfg(test)]
mod tests;
