//! How empty data directories become a deployment, once.
//!
//! ```text
//!   first node: Empty ──(every peer said "empty", with its directory)──► Creating ──(every peer accepted)──► Member
//!   others:     Empty ──(a creation record that names this directory)──────────────────────────────────────► Member
//!   joining:    Empty ──(the first node is a member; to the first node: most others are)───────────────────► Member, no replica
//! ```
//! Silence means wait. An empty directory never votes on its own: a node makes voters only from a record that
//! names its present directory, and the record is durable before anyone hears of it.
//!
//! - [`identity`]: what a data directory says of itself, byte by byte.
//! - [`machine`]: the machine above.
//!
//! Not here, on purpose: how a member without a replica gets one (`core::members`), sockets and files.

pub mod identity;
pub mod machine;
