//! The client as its users see it, against fake nodes on loopback that speak the real codec.

mod fake;

mod failures;
mod operations;
