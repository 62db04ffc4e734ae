//! Margate's data path.
pub mod log;
pub mod types;
