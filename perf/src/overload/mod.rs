//! Ten times the load that gives most, half of it from clients that come back at once whatever they are told.
//!
//! `impatient` is such a client, on connections of its own: the public one waits as long as it is asked to, and nothing here weakens that.
//! `mixed` has workers share both kinds, `slices` cuts a run into short stretches to see when latency is as before.
//!
//! Not here, on purpose: running it (`commands/overload.rs`).

pub(crate) mod arguments;
pub(crate) mod connection;
pub(crate) mod impatient;
pub(crate) mod mixed;
pub(crate) mod report;
pub(crate) mod slices;
