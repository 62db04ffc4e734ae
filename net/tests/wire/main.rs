//! The wire from outside: one file per question, `words.rs` makes up what is sent.

mod frame;
mod golden;
mod handshake;
mod hostile;
mod refusals;
mod round_trip;
mod schema;
mod words;
