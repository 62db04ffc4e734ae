//! What the kernel says about processes on this machine, read from `/proc`.
//!
//! Each file has a pure parser and a thin reader; text that is not what we expect reads as "not known",
//! never as a panic.
//!
//! Not here, on purpose: processes on other machines. They are "not on this machine" to every caller.

pub(crate) mod cpu;
pub(crate) mod descriptors;
pub(crate) mod disk;
pub(crate) mod listeners;
pub(crate) mod memory;
pub(crate) mod written;
