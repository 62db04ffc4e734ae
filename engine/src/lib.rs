//! Margate's data path.
pub mod index;
pub mod runtime;
pub mod types;
