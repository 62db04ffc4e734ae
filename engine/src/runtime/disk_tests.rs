//! Reads of a file on the disk of the build; writes are tried by a whole log (`log_alone`).

use margate_net::runtime::executor::Executor;

use super::*;
use crate::log::limits::BLOCK_BYTES;

const SEGMENT: u32 = 7;
/// Bytes of the file: whole blocks, as segments are.
const BYTES: usize = 3 * READ_BYTES_MAX - BLOCK_BYTES;

fn byte_at(offset: usize) -> u8 {
    u8::try_from(offset % 251).expect("less than 251")
}

/// What one read of the file gives.
fn read(offset: u32, length: usize) -> Result<Bytes, LogReadFault> {
    // Temporary folders may be in memory, which takes no direct reads.
    let built = std::env::current_exe().expect("a test is a program");
    let folder = tempfile::tempdir_in(built.parent().expect("it lies in a folder")).expect("a folder on the disk of the build");
    let bytes: Vec<u8> = (0..BYTES).map(byte_at).collect();
    std::fs::write(segments::path(folder.path(), SEGMENT), bytes).expect("it takes a file");
    let log = folder.path().to_owned();
    let executor = Executor::new().expect("this machine has io_uring");
    executor.run(LogDisk::new(log).read(Position { segment: SEGMENT, offset }, length))
}

#[test]
fn pieces_of_a_long_read_come_in_order() {
    for (offset, length) in [(0, 100), (4_096, READ_BYTES_MAX), (4_096, READ_BYTES_MAX + 1), (511, BYTES - 511)] {
        let found = read(offset, length).expect("it is there");
        let from = usize::try_from(offset).expect("small");
        assert_eq!(found.len(), length);
        assert!(
            found.iter().enumerate().all(|(at, byte)| *byte == byte_at(from + at)),
            "{length} bytes at {offset}"
        );
    }
}

#[test]
fn a_read_beyond_the_end_is_a_fault_whichever_piece_it_is_in() {
    for length in [BYTES + 1, READ_BYTES_MAX] {
        let offset = if length > BYTES {
            0
        } else {
            u32::try_from(BYTES - 10).expect("small")
        };
        let found = read(offset, length).map(|bytes| bytes.len());
        let position = Position { segment: SEGMENT, offset };
        assert_eq!(
            found,
            Err(LogReadFault {
                position,
                length,
                errno: 0
            })
        );
    }
}
