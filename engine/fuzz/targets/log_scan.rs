//! See `margate_fuzz::log_scan`.
#![no_main]

use margate_fuzz::{log_scan, seeds};

libfuzzer_sys::fuzz_target!(
    init: seeds::write_if_asked(log_scan::seeds),
    |data: &[u8]| log_scan::run(data)
);
