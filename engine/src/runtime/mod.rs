//! The engine's only room with files, sockets, threads and clocks.
//!
//! - [`node`]: a node's life: checks, data directory, bootstrap, cores, stop; `until_stop` ends a replay.
//! - [`preflight`], [`directory`]: what must be true before anything starts; the data directory's own files.
//! - [`bootstrap`]: the bootstrap machine driven over sockets.
//! - [`core_loop`]: one core's executor: events in, effects carried out.
//! - [`server`], [`links`]: connections accepted from clients and peers, connections dialled to peers.
//! - [`segments`], [`disk`]: segment files: prewriting and scanning by threads, writes and reads by the ring.
//! - [`log_alone`]: a core's log without the core, for those who measure it.
//! - [`planted_writes`]: a bug of `disk` that crash tests must find; only a build of its own has it.
//! - [`index_store`] keeps the index in LMDB, read by [`index_reader`], its rows written by `index_rows` with `index_cursor`, its file grown by `index_growth`
//!   and written early by `index_writeback`; [`index_thread`] commits to it off the core, with rests (`index_rests`); `index_trials` and `index_verdict` set a rotten one aside.
//! - [`suspects`]: replicas over which raft panicked, as `panics` heard; `probation` lets innocent ones and innocent indexes go.
//! - [`stopped`], [`index_stopped`]: a stopped node's data directory and index, to be looked at and not changed.
//! - [`clock`], [`notify`], `pulse`: the present, waking a task of the same thread, and waking an executor that has no reason to come round.
//! - `slices`: how long a core waits for a CPU. [`vigil`]: whether an executor comes round. [`watch`]: asking cores how they are. `replied`: how long answers take to their sockets.
//!
//! Not here, on purpose: any decision; the machines outside this folder decide, this folder carries out.

pub mod bootstrap;
pub mod clock;
pub mod core_loop;
pub mod directory;
pub mod disk;
mod index_cursor;
mod index_growth;
pub mod index_reader;
mod index_rests;
mod index_rows;
pub mod index_stopped;
pub mod index_store;
pub mod index_thread;
mod index_trials;
mod index_verdict;
mod index_writeback;
pub mod links;
pub mod log_alone;
pub mod node;
pub mod notify;
mod panics;
pub mod planted_writes;
pub mod preflight;
mod probation;
mod pulse;
mod replied;
pub mod segments;
pub mod server;
mod slices;
pub mod stopped;
pub mod suspects;
mod until_stop;
pub mod vigil;
pub mod watch;
