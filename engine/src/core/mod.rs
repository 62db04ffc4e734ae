//! One core of a node: its replicas, its log, its index, as one machine without I/O.
//!
//! ```text
//!   events in                        machine                          effects out
//!   requests, peer batches ─►  replicas ──entries──► log ──────────►  Write (one flush in flight)
//!   ticks, Flushed         ─►     ▲ │ committed                       Send, Reply
//!   ReadDone, IndexDone    ─►     │ └──────────────► index overlay ─► CommitIndex (one in flight)
//!   SegmentReady           ─►  values, old entries ────────────────►  Read, PrepareSegment
//! ```
//! The driver (`runtime` or `sim`) gives events to [`machine::Core::handle`], ends each turn with
//! [`machine::Core::end_turn`] and performs the effects after each call. Group commit falls out of the turn: while a flush
//! is in flight operations gather; when it returns, all that gathered goes with the next one. No timer.
//!
//! - [`event`]: what goes in and out.
//! - [`machine`]: the dispatcher. `progress`: from consensus to the log and back.
//! - [`durability`]: what waits for which flush.
//! - [`peers`]: messages grouped by core, with rounds.
//! - [`values`]: values for answers: cache, then reads from the log.
//! - `ledger`: what lives in each segment written since the start.
//! - [`laggards`]: old entries for members that lag.
//! - [`generations`]: when the overlay goes to the index, and with which marks.
//! - `members`: admission of members, images sent and taken; `offers`: which images begin. `copies`: records of copies under way.
//! - `repair`: values that are damaged here, fetched from other members; `mending`: who wants that, and what others want.
//! - [`reclaim`]: old segments come free. `pace`: when, and how fast. `scanning`: what lives in one is copied. `salvaging`: what is
//!   sound in a damaged one; `sweep`: what keeps it. `closing`: what is written before it goes.
//! - [`room`]: how much the disk has left. `disks`: what is refused and left out for that.
//! - `status`: what it says of itself. [`counters`], [`turn`], [`answered`]: what it counts, of each turn and of answers; `measures`: one
//!   copy of all of it.
//! - [`replay`]: from a log and an index to a running core, `replaying` one of its replicas, `rebuilding` where the index is lost. [`creation`]: the first batch of a new one.
//!
//! Not here, on purpose: files, sockets, clocks, threads.

pub mod answered;
mod closing;
mod copies;
pub mod counters;
pub mod creation;
mod disks;
pub mod durability;
pub mod event;
pub mod generations;
pub mod laggards;
mod ledger;
pub mod machine;
mod measures;
mod members;
mod mending;
mod offers;
mod pace;
pub mod peers;
mod progress;
mod rebuilding;
mod recent;
pub mod reclaim;
mod repair;
pub mod replay;
mod replaying;
pub mod room;
mod salvaging;
mod scanning;
mod status;
mod sweep;
pub mod turn;
pub mod values;

#[cfg(test)]
mod tests;
