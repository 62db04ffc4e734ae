//! See `margate_fuzz::image`.
#![no_main]

use margate_fuzz::{image, seeds};

libfuzzer_sys::fuzz_target!(
    init: seeds::write_if_asked(image::seeds),
    |data: &[u8]| image::run(data)
);
