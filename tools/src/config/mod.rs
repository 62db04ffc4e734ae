//! A node's configuration: defaults < file < environment < flags, merged and checked once.
//!
//! [`mod@file`] reads TOML, [`settings`] merges and checks (`admin` those of one section). Both speak of [`file::FileConfig`], so a flag and
//! a key of the file are the same text and fail with the same message.

mod admin;
pub(crate) mod file;
pub(crate) mod settings;

pub(crate) use settings::{ConfigError, Settings};
