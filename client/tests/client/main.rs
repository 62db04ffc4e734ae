//! The client as its users see it, against fake nodes on loopback that speak the real codec.

mod fake;

mod batch_writer;
mod failures;
mod operations;
