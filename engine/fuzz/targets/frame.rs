//! See `margate_fuzz::frame`.
#![no_main]

use margate_fuzz::{frame, seeds};

libfuzzer_sys::fuzz_target!(
    init: seeds::write_if_asked(frame::seeds),
    |data: &[u8]| frame::run(data)
);
