//! Raft, which is the raft crate's: this folder only wraps it so that nothing outside sees its types.
//!
//! ```text
//!            step, tick, propose, read_index, persisted, applied
//!   shard ───────────────────────────────────────────────────────►  Group ── RawNode ── EntryWindow
//!         ◄───────────────────────────────────────────────────────
//!            Progress: entries and hard state to append, messages (now | once durable), committed, reads
//! ```
//! - [`group`]: one replica's RawNode, with our dice and our rules before every step.
//! - [`sanity`]: what a message must be like before it is stepped.
//! - [`tenure`]: the time in which a leader may answer reads alone.
//! - [`window`]: the entries raft may ask for, in memory; older ones are fetched from the log.
//! - `called`: whose raft is being called, should it panic.
//! - [`convert`]: raft's messages to and from the wire's.
//!
//! Not here, on purpose: what entries mean (`shard`), where they are written (`log`), who should be a member (`shard::members`).

pub(crate) mod called;
pub mod convert;
pub mod group;
pub mod sanity;
pub mod tenure;
pub mod window;
