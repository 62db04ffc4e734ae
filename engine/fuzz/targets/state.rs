//! See `margate_fuzz::state`.
#![no_main]

use margate_fuzz::{seeds, state};

libfuzzer_sys::fuzz_target!(
    init: seeds::write_if_asked(state::seeds),
    |data: &[u8]| state::run(data)
);
