//! A target writes its seeds itself when it is asked to, since nothing built with coverage links without the fuzzer.
//!
//! Not here, on purpose: what the seeds are (each target's module).

use std::path::Path;
use std::{env, fs, process};

/// Names the folder to write to.
const VARIABLE: &str = "MARGATE_FUZZ_SEEDS";
/// Bytes of a target's seeds together, at most: they are to be read again and again.
const BYTES_MAX: usize = 20 << 10;

/// Writes the seeds and ends, if the environment names a folder for them; else does nothing.
///
/// # Panics
/// If they cannot be written, or are too many.
pub fn write_if_asked(seeds: impl FnOnce() -> Vec<Vec<u8>>) {
    let Some(folder) = env::var_os(VARIABLE) else { return };
    let seeds = seeds();
    let bytes: usize = seeds.iter().map(Vec::len).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes of seeds");
    fs::create_dir_all(&folder).expect("the folder can be made");
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(Path::new(&folder).join(format!("{number:02}")), seed).expect("the folder can be written to");
    }
    process::exit(0);
}
