//! What one turn of `log` prints.

use std::fmt;

use serde::Serialize;

use super::Turn;
use crate::meter::Reading;
use crate::units::in_words;

/// One turn of one system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LogLine {
    /// `margate`, `raft-engine` or `fio`.
    pub(crate) system: &'static str,
    /// Always `log-append`.
    pub(crate) bench: &'static str,
    /// Appends under way at any instant.
    pub(crate) writers: usize,
    /// Bytes of each value; of each block, where the system knows no values.
    pub(crate) value_bytes: usize,
    /// Seconds that count.
    pub(crate) secs: f64,
    /// How many, how fast.
    #[serde(flatten)]
    pub(crate) reading: Reading,
    /// What was written beside that.
    #[serde(flatten)]
    pub(crate) written: Written,
    /// What an append rests on.
    pub(crate) durability: &'static str,
    /// What the system says it is.
    pub(crate) version: String,
}

/// What a log wrote in a turn, warm-up included; zero where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Written {
    /// Writes to its files.
    pub(crate) batches: u64,
    /// Bytes in them, padding included.
    pub(crate) bytes: u64,
    /// Files that began another life.
    pub(crate) recycled: u64,
    /// Times it had to wait for a file.
    pub(crate) file_waits: u64,
}

/// Who appended, and how an append of theirs is durable.
#[derive(Clone, Debug)]
pub(crate) struct LogSystem {
    /// Its name.
    pub(crate) system: &'static str,
    /// What an append rests on.
    pub(crate) durability: &'static str,
    /// Its version.
    pub(crate) version: String,
}

impl LogLine {
    /// The line of one turn.
    pub(crate) fn new(system: LogSystem, turn: &Turn<'_>, reading: Reading, written: Written) -> Self {
        Self {
            system: system.system,
            bench: "log-append",
            writers: turn.writers,
            value_bytes: turn.value_bytes,
            secs: turn.window.as_secs_f64(),
            reading,
            written,
            durability: system.durability,
            version: system.version,
        }
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reading, written) = (&self.reading, &self.written);
        write!(
            f,
            "{:<11} log-append {:>4} writers of {}  {:>8.0} appends/s  p50 {:>6.0}  p99 {:>6.0}  p99.9 {:>6.0}  max {:>7.0} us",
            self.system,
            self.writers,
            in_words(self.value_bytes as u64),
            reading.ops_per_s,
            reading.p50_us,
            reading.p99_us,
            reading.p999_us,
            reading.max_us,
        )?;
        if written.batches > 0 {
            write!(f, "  {} writes of {}", written.batches, in_words(written.bytes / written.batches))?;
        }
        write!(f, "  recycled {}  waited {}", written.recycled, written.file_waits)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_json_is_flat_and_has_the_promised_names() {
        let turn = Turn {
            folder: Path::new("x"),
            writers: 8,
            value_bytes: 256,
            file_bytes: 4 << 20,
            warmup: Duration::ZERO,
            window: Duration::from_secs(1),
        };
        let system = LogSystem {
            system: "margate",
            durability: "O_DIRECT|O_DSYNC",
            version: "0".to_owned(),
        };
        let written = Written {
            batches: 2,
            bytes: 8192,
            ..Written::default()
        };
        let line = LogLine::new(system, &turn, Reading::default(), written);
        let json = serde_json::to_string(&line).expect("plain data");
        let names = "system bench writers value_bytes secs ops ops_per_s p50_us p99_us p999_us max_us batches bytes recycled file_waits \
                     durability version";
        for name in names.split_whitespace() {
            assert!(json.contains(&format!("\"{name}\":")), "{name} in {json}");
        }
        assert_eq!(json.matches("\":").count(), names.split_whitespace().count());
        assert!(line.to_string().contains("2 writes of 4 KiB"), "{line}");
    }
}
