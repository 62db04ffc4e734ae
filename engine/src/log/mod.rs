//! A core's log: the one place where acknowledged bytes live.
//!
//! ```text
//! segment 1                                   segment 2
//! ┌────────┬───────┬───────────┬──────┬─────┐ ┌────────┬───────┬───────────────────┐
//! │ header │ batch │ batch     │ seal │ 0 0 │ │ header │ batch │ 0 0 0 (prewritten)│
//! └────────┴───────┴───────────┴──────┴─────┘ └────────┴───────┴───────────────────┘
//!            one batch = one direct write = the records of all replicas of the core
//! ```
//! One write's way: [`writer::LogWriter::push`] queues a record, [`writer::LogWriter::flush`] makes a batch of
//! what is queued, [`flush::Flush::encode_into`] lays it into the aligned buffer, the runtime writes that, and
//! [`writer::LogWriter::flushed`] says what is durable. At start [`scan::scan`] reads all of it back and tells
//! a torn tail, which was never acknowledged, from damage, which was. [`fetch::entries_in_chunk`] serves old
//! entries to followers that lag, [`effects::read_effect`] one value to a reader.
//!
//! Since one flush is in flight, batch N + 1 proves that N was durable, and says what N held. `docs/format.md`
//! draws every byte.
//!
//! Not here, on purpose: files, clocks and rings (a `runtime` folder), Raft's view of the entries
//! (`consensus`), what effects do (`shard`), reclaim, repair and images (`core`). `pool` holds the segments,
//! `commits` what is known to be committed.

pub mod batch;
mod bytes;
mod commits;
pub mod effects;
pub mod fetch;
pub mod flush;
pub mod limits;
mod pool;
pub mod record;
pub mod scan;
pub mod segment;
pub mod writer;

#[cfg(test)]
mod tests;
