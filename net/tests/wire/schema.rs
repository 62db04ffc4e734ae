//! The generated code is that of the schema.

use std::process::Command;

const SCHEMA: &str = include_str!("../../schema/wire.fbs");
const GENERATED: &str = include_str!("../../src/generated/wire.rs");

#[test]
fn the_committed_code_names_the_committed_schema() {
    let expected = format!("// cksum of schema/wire.fbs: {}", cksum(SCHEMA.as_bytes()));
    assert_eq!(
        GENERATED.lines().next(),
        Some(expected.as_str()),
        "run net/regen.sh and commit its result"
    );
}

/// Says so and passes where there is no flatc of the right version: the test above needs none.
#[test]
fn flatc_makes_the_committed_code() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/regen.sh");
    let run = Command::new("sh").args([script, "--print"]).output().expect("a shell is there");
    let complaint = String::from_utf8_lossy(&run.stderr);
    if complaint.contains("flatc 25.12.19 is needed") {
        println!("not compared: {complaint}");
        return;
    }
    assert!(run.status.success(), "{complaint}");
    let same = String::from_utf8_lossy(&run.stdout) == GENERATED;
    assert!(same, "run net/regen.sh and commit its result");
}

/// The checksum of POSIX `cksum`: CRC-32 from the high bit, over the bytes and then their count.
fn cksum(bytes: &[u8]) -> u32 {
    let count = bytes.len().to_le_bytes();
    let significant = count.len() - count.iter().rev().take_while(|byte| **byte == 0).count();
    let crc = bytes.iter().chain(&count[..significant]).fold(0u32, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            let carry = crc >> 31;
            (crc << 1) ^ (carry * 0x04c1_1db7)
        })
    });
    !crc
}
