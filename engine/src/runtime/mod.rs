//! The engine's only room with files, threads and clocks.
//!
//! [`index_store`] keeps the index in LMDB, [`index_thread`] commits to it off the core.
//!
//! Not here, on purpose: any decision; the machines outside this folder decide, this folder carries out.

mod index_growth;
pub mod index_reader;
pub mod index_store;
pub mod index_thread;
