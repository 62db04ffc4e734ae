//! See `margate_fuzz::handshake`.
#![no_main]

use margate_fuzz::{handshake, seeds};

libfuzzer_sys::fuzz_target!(
    init: seeds::write_if_asked(handshake::seeds),
    |data: &[u8]| handshake::run(data)
);
