//! Margate's data path: shards, consensus, the log, the index, and the simulator that runs all of it from a seed.
//!
//! How one put travels, with the functions that carry it: a frame is cut off a connection by
//! `runtime` and reaches [`core::machine::Core::handle`] as requests; [`shard::replica::Replica::admit`] queues it;
//! at the end of the turn [`shard::replica::Replica::propose_queued`] resolves it into an effect and proposes one entry for
//! all that gathered; [`consensus::group::Group::progress`] yields the entry for the log and the messages for
//! followers; [`log::writer::LogWriter::flush`] lays all replicas' records into one batch, which the driver writes
//! directly; `Flushed` lets go what waited for it; once a quorum has it, [`shard::replica::Replica::apply`] puts it
//! into the index's overlay and the answer leaves through [`core::values::Values::deliver`].
//!
//! Not here, on purpose: bytes on the wire (`margate_net`), who should hold which shard (`margate_directory`).

pub mod bootstrap;
pub mod config;
pub mod consensus;
pub mod core;
mod hashes;
mod head;
pub mod image;
pub mod index;
pub mod limits;
pub mod log;
pub mod planted;
pub mod runtime;
pub mod shard;
pub mod sim;
pub mod types;
