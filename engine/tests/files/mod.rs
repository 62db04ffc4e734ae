//! Deployments of real nodes on real files, without a network, a clock or a process: each core's effects are carried out by hand, at
//! once and in order.
//!
//! Not here, on purpose: crashes (`crash_points`), a directory that is kept for ever (`format`).

#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod client;
pub(crate) mod deployment;
pub(crate) mod ledger;
pub(crate) mod node;
