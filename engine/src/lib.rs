//! Margate's data path.
pub mod types;
