//! How long shards are out: single puts at a fixed rate, and the time in which none is acknowledged.
//!
//! ```text
//!            ┌ target: shard 1 ── a client of its own ──► nodes ◄── kill -9, start again (margate/nodes.rs)
//!  ticks ──► ┤ target: shard 2 ── a client of its own ──►
//!            └ each tick begins a put, whatever became of those before
//! ```
//! What keeps the numbers honest: puts begin by the clock and do not wait for each other, so an outage is full of
//! them. Shards share no connection, so none learns from another's. A put ends an outage only if it began when the
//! killed process was gone: an answer that was under way then proves nothing.
//!
//! Reading order: `arguments`, `seen` is what one shard's puts showed, `probe` makes them, `report` sums them up.
//!
//! Not here, on purpose: whether what was acknowledged stands. The kill test counts that.

pub(crate) mod arguments;
pub(crate) mod probe;
pub(crate) mod report;
pub(crate) mod seen;
