//! The server's side of a connection, on an executor of our own: the only place of this crate that reads sockets and clocks.
//!
//! ```text
//! listener::Listener::accept ─► connection::greet ─┐
//! connection::dial ────────────────────────────────┴─► Connection { reader, sender }
//! ```
//!
//! All of it runs on an [`executor`], as do the engine's cores.
//!
//! One task reads a connection and one writes it; each keeps its half. Nothing here is `Send`.
//!
//! Not here, on purpose: what frames mean and what is answered (`margate_engine::runtime`); the tokio
//! side (`margate_client::runtime`).

pub mod connection;
pub mod error;
pub mod executor;
pub mod listener;
#[cfg(test)]
mod tests;
