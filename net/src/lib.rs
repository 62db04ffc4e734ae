//! Margate's wire, and the words both sides share.
//!
//! Reading order: [`ids`] names things, [`error`] says what is refused, [`message`] is what clients ask
//! and replicas tell, [`map`] says where everything is, [`measure`] what a core counts. Then the bytes: [`frame`] takes whole frames off
//! a stream, [`codec`] turns their contents into those words and back, [`handshake`] says who may talk.
//! `runtime` (feature `ring`) is the only place with sockets.
//!
//! One request's way: the client's [`codec::FrameWriter::requests`] appends a frame to what its writer
//! sends; the server's [`frame::take_frame`] cuts it off its receive buffer and checks it;
//! [`codec::decode_requests`] makes [`message::Request`]s whose keys and values are slices of that frame;
//! [`codec::FrameWriter::replies`] and [`codec::decode_replies`] are the way back.
//!
//! Not here, on purpose: what operations do (`margate_engine`), when to try again (`margate_client`).

pub mod codec;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod ids;
pub mod limits;
pub mod map;
pub mod measure;
pub mod message;
#[cfg(feature = "ring")]
pub mod runtime;

/// What flatc made of `schema/wire.fbs`; its types never leave this crate.
#[allow(warnings, clippy::all, clippy::undocumented_unsafe_blocks, clippy::unwrap_used, clippy::cast_possible_truncation)]
#[rustfmt::skip]
#[path = "generated/wire.rs"]
pub(crate) mod generated;
