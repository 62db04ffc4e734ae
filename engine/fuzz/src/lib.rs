//! Margate's parsers under a fuzzer: what reads bytes from disk, network or people must never panic, and never allocate what a
//! length in them claims.
//!
//! One module per target, each with `run`, which takes any bytes, and `seeds`, inputs made by the real encoders. Checksums stand
//! in a fuzzer's way: an input may ask for them to be made right ([`input`]), so that what lies behind them is reached. Where an
//! encoder exists, what was decoded must survive it and come back.
//!
//! `.ci/fuzz` builds this crate with coverage, lets each target write its seeds, and runs it.
//!
//! Not here, on purpose: cargo-fuzz (`README.md` says why), and inputs that were found: what they taught is a test beside the code.

pub mod budget;
pub mod config;
pub mod frame;
pub mod handshake;
pub mod image;
pub mod input;
pub mod log_scan;
pub mod seeds;
pub mod state;
