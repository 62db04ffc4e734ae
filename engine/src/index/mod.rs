//! The index: which version of each key is current, and where in the log its record lies.
//!
//! ```text
//!  apply ─► active overlay ──freeze──► frozen overlay ──commit──► store (LMDB | memory)
//!               ▲                          ▲                        ▲
//!  get, scan ───┴── looks here first ──────┴── then here ───────────┘  last committed generation
//! ```
//!
//! Reading order: [`row`] is what stands behind a key, [`overlay`] holds the newest ones in memory,
//! [`store`] is what a durable store must do, [`marks`] are the bytes that tell where replay begins, [`live_bytes`] how
//! much log the rows need, [`churn`] what a commit changes of that, [`memory`] is the simulator's store, [`view`] puts the layers together, [`error`] says what
//! goes wrong.
//!
//! Writing is write-if-newer over memory alone: no store is asked at apply. It rests on two facts: inside a
//! shard version order is log order, and only entries above a replica's applied mark are applied.
//!
//! Not here, on purpose: values (they stay in the log), effects that are not applied yet (the resolver's
//! pending overlay), files and threads (`runtime`), when to commit (the core).

pub mod churn;
pub mod error;
pub mod live_bytes;
pub mod marks;
pub mod memory;
pub mod overlay;
pub mod row;
mod sealed;
pub mod store;
pub mod view;

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
mod conformance_upkeep;
#[cfg(test)]
pub(crate) mod differential;

pub use churn::Churn;
pub use error::IndexError;
pub use memory::{MemoryReader, MemoryStore, MemoryWriter};
pub use overlay::Overlay;
pub use row::{Row, RowFlags, Slot};
pub use store::{CoreMarks, Generation, IndexReader, IndexWriter, ReplicaMarks};
pub use view::{Index, OwnedRange};
