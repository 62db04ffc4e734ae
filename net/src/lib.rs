//! Margate's wire, and the words both sides share.
//!
//! Reading order: [`ids`] names things, [`error`] says what is refused, [`message`] is what clients ask
//! and replicas tell, [`map`] says where everything is.
//!
//! Not here, on purpose: what operations do (`margate_engine`), when to try again (`margate_client`).

pub mod error;
pub mod ids;
pub mod limits;
pub mod map;
pub mod message;
