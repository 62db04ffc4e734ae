//! The command line of `log`.

use clap::Args;
use margate_engine::log::batch::{BATCH_HEADER_BYTES, HELD_BYTES};
use margate_engine::log::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};
use margate_engine::log::record::ENTRY_HEADER_BYTES;

use crate::args::shared::{LinesArguments, ScratchArguments, TurnsArguments};
use crate::units::byte_count;

/// Writers of one turn, at most: raft-engine gets a thread for each.
const WRITERS_MAX: u16 = 1_024;
/// Bytes of a value, at most: many fit one batch.
const VALUE_BYTES_MAX: u32 = 1 << 16;

/// `log`
#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    /// Writers, each with one append under way; several numbers with commas are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32", conflicts_with = "batch",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(WRITERS_MAX)))]
    pub(crate) writers: Vec<u16>,
    /// Bytes in each value; they do not compress.
    #[arg(long, default_value_t = 256, conflicts_with = "batch", value_parser = clap::value_parser!(u32).range(1..=i64::from(VALUE_BYTES_MAX)))]
    pub(crate) value_bytes: u32,
    /// Append in batches of this size, such as 64KiB, beside fio instead of raft-engine.
    #[arg(long, value_name = "SIZE", value_parser = batch_bytes)]
    pub(crate) batch: Option<usize>,
    #[command(flatten)]
    pub(crate) turns: TurnsArguments,
    /// MiB in each file of both logs.
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(4..=1_024))]
    pub(crate) file_mib: u32,
    #[command(flatten)]
    pub(crate) scratch: ScratchArguments,
    #[command(flatten)]
    pub(crate) printed: LinesArguments,
}

/// Bytes of the value whose append is a batch of so many bytes: one entry, and a word about the batch before.
pub(crate) const fn value_in_batch(batch_bytes: usize) -> usize {
    batch_bytes - BATCH_HEADER_BYTES - HELD_BYTES - ENTRY_HEADER_BYTES
}

/// Whole blocks, of which an entry leaves something for a value.
fn batch_bytes(text: &str) -> Result<usize, String> {
    let most = BATCH_BYTES_MAX / 4;
    let bytes = usize::try_from(byte_count(text)?).unwrap_or(usize::MAX);
    let fits = bytes.is_multiple_of(BLOCK_BYTES) && (BLOCK_BYTES..=most).contains(&bytes);
    fits.then_some(bytes)
        .ok_or_else(|| format!("whole blocks of {BLOCK_BYTES} bytes, up to {most} bytes, are possible"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_whole_blocks() {
        assert_eq!(batch_bytes("64KiB"), Ok(65_536));
        for wrong in ["0", "1000", "2MiB", "much"] {
            assert!(batch_bytes(wrong).is_err(), "{wrong}");
        }
        assert!(value_in_batch(BLOCK_BYTES) > 3_000);
    }
}
