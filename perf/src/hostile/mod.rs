//! Bytes that are no protocol, against running nodes: how they are made, sent, and what comes of it.
//!
//! `frames.rs` draws sound frames and damages them, `sender.rs` says one to a core and hears it out, `report.rs` is
//! what is said at the end.
//!
//! Not here, on purpose: peers that lie in sound frames. A node believes the other nodes of its deployment.

pub(crate) mod arguments;
pub(crate) mod frames;
pub(crate) mod report;
pub(crate) mod sender;
