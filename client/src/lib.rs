//! Margate's client.
//!
//! Reading order: [`config`] is what it can be told, [`api`] what it answers, [`error`] what it says
//! instead of an answer. The pure core decides: `route` where an operation goes, `batch` what shares a
//! frame, `retry` what is tried again, `walk` how a list goes on, `schedule` what a batch writer sends when.
//! [`runtime`] does: sockets, tasks, timers; its text tells one operation's way through all of them.
//!
//! What a caller can rely on: an operation that was answered happened once; an operation that was
//! refused did not happen; a write whose answer never came is [`Error::OutcomeUnknown`], and is not sent
//! a second time.
//!
//! For many writes there is [`BatchWriter`], with its own promises: order by key, a result for each write,
//! back-pressure. Its text says them whole, the README in short (`README.md`, "Many writes"), and
//! `client/examples/batch.rs` uses all of it.
//!
//! Not here, on purpose: what operations do (`margate_engine`), how bytes lie on the wire
//! (`margate_net`), transactions and sessions (to come).

#![cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "only a runtime calls the core"))]

pub mod config;

pub mod api;
pub mod error;

mod batch;
mod moment;
mod retry;
mod route;
mod schedule;
mod walk;

#[cfg(test)]
mod testing;

pub mod runtime;

pub use api::{CoreStatusReply, Deleted, Exchanged, FailedWrite, Found, Measured, Page, WriteSummary, Written};
pub use config::{BatchWriterConfig, ClientConfig};
pub use error::{ConnectError, Error, LinkFault, NotTaken, Obstacle, OrderFault, ProtocolFault, UnknownCause};
#[cfg(feature = "tokio")]
pub use runtime::tokio::{
    BatchWriter, Client, CompareExchangeRequest, DeleteRequest, Flush, GetRequest, HandOver, ListRequest, OperationFuture, Receipt,
    SetRequest, SizeRequest,
};
