//! Configuration files: any text is read and resolved, or refused with a message.
//!
//! The binary that reads them is no library, so its sources are included here as they stand.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the rest of those sources")]

#[path = "../../../tools/src"]
mod tools {
    pub(crate) mod args;
    pub(crate) mod bounds;
    pub(crate) mod config;
    pub(crate) mod exit;
    pub(crate) mod key;
    pub(crate) mod suggest;
    pub(crate) mod units;
}
// Those sources name each other from the top.
use tools::{args, bounds, config, exit, key, suggest, units};

use std::path::Path;

use config::file::{FileConfig, parse};
use config::settings::resolve;

libfuzzer_sys::fuzz_target!(
    init: margate_fuzz::seeds::write_if_asked(margate_fuzz::config::seeds),
    |data: &[u8]| {
        let Ok(text) = str::from_utf8(data) else { return };
        // The largest number of shards has its bounds made: 65,535 of 32 bytes.
        margate_fuzz::budget::within(data.len(), 4 << 20, 256, || run(text));
    }
);

fn run(text: &str) {
    let file = match parse(Path::new("node.toml"), text) {
        Ok(file) => file,
        Err(error) => return assert!(error.to_string().starts_with("node.toml, line ")),
    };
    let written = toml::to_string(&file).expect("plain data");
    assert_eq!(parse(Path::new("node.toml"), &written).expect("what we write can be read"), file);
    if let Err(error) = resolve(file, FileConfig::default(), false) {
        assert!(!error.to_string().is_empty());
    }
}
