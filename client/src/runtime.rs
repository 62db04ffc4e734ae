//! The only folder of this crate with sockets, clocks, dice and tasks: one module per async runtime.

#[cfg(feature = "tokio")]
pub mod tokio;
