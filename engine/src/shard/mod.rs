//! One replica's state machine: what a shard does with operations, entries and reads.
//!
//! ```text
//!   request ─► queue ─► resolve ─► entry ─► (consensus, log) ─► apply ─► answer
//!                 └───► reads ─► (confirmation) ─► look up ─► answer
//! ```
//! - [`answer`]: what a client gets, and which values still have to be fetched for it.
//! - [`state`]: the shard's replicated state that is not a key.
//! - `caught_up`: whether it has applied what was committed when its process started.
//! - [`members`]: who belongs to it, and how that changes.
//! - [`queue`]: operations waiting to be resolved, within caps.
//! - [`pending`]: effects proposed and not yet applied.
//! - [`resolve`]: from an operation to effects, before it is proposed.
//! - [`reads`]: reads waiting for proof that this replica still leads.
//! - `status`: what it says of itself. [`tally`]: what the replicas of a core count and measure.
//! - [`replica`]: the machine that holds them together; [`propose`] and [`apply`] are its two longer duties.
//!
//! Not here, on purpose: disks and sockets, group commit over all replicas of a core (`core`).

pub mod answer;
pub mod apply;
mod caught_up;
pub mod members;
pub mod pending;
pub mod propose;
pub mod queue;
pub mod reads;
pub mod replica;
pub mod resolve;
pub mod state;
mod status;
pub mod tally;
