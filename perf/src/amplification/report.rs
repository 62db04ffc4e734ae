//! What a phase of `amplification` prints.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::margate::dev::NODES;
use crate::margate::sizes::Sizes;
use crate::units::in_words;

/// A phase between two looks at everything that counts bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AmplificationReport {
    /// Always `amplification`.
    pub(crate) bench: &'static str,
    /// `fill` or `steady`.
    pub(crate) phase: &'static str,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// Keys there are.
    pub(crate) keys: u64,
    /// Replicas of each value.
    pub(crate) replicas: usize,
    /// Values written and acknowledged.
    pub(crate) puts: u64,
    /// Values of which it is unknown whether they were written; if so, only their bytes are counted.
    pub(crate) unknown: u64,
    /// Seconds between the looks.
    pub(crate) secs: f64,
    /// Bytes the disk took for each byte of a value and replica, whoever wrote them.
    pub(crate) disk_per_byte: f64,
    /// Bytes the nodes had written for each byte of a value and replica: without the file system's own.
    pub(crate) nodes_per_byte: f64,
    /// Bytes the disk took.
    pub(crate) disk_bytes: u64,
    /// Bytes the nodes had written, by kind of thread.
    pub(crate) nodes_bytes: BTreeMap<String, u64>,
    /// Bytes per second that others wrote before the deployment was started.
    pub(crate) others_bytes_per_s: u64,
    /// Segments that were let go.
    pub(crate) segments_gone: u64,
    /// Segments at the end that are not in their file's first life, and all segments.
    pub(crate) segments_recycled: (usize, usize),
    /// What the nodes say at the end, together.
    #[serde(flatten)]
    pub(crate) sizes: Sizes,
}

impl AmplificationReport {
    /// Bytes for each byte of a value and replica.
    pub(crate) fn per_byte(&self, bytes: u64) -> f64 {
        let values = self.puts as f64 * self.value_bytes as f64 * self.replicas as f64;
        if values > 0.0 { bytes as f64 / values } else { 0.0 }
    }

    /// With the ratios that follow from what it holds.
    pub(crate) fn with_ratios(self) -> Self {
        let hundredths = |ratio: f64| (ratio * 100.0).round() / 100.0;
        Self {
            disk_per_byte: hundredths(self.per_byte(self.disk_bytes)),
            nodes_per_byte: hundredths(self.per_byte(self.nodes_bytes.values().sum())),
            ..self
        }
    }

    /// What none of the nodes wrote: file systems for themselves, and everybody else.
    fn others_bytes(&self) -> u64 {
        self.disk_bytes.saturating_sub(self.nodes_bytes.values().sum())
    }
}

/// The kind of thread by its name: cores, and workers of the kernel, differ by numbers.
pub(crate) fn kind_of(thread: &str) -> &str {
    thread.trim_end_matches(|end: char| end.is_ascii_digit() || end == '-')
}

impl fmt::Display for AmplificationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} {}: {:.2} bytes on disk for each byte of a value and replica ({:.2} by the nodes themselves); {} puts, {} unknown, {} keys, {} replicas, {:.0} s",
            in_words(self.value_bytes as u64),
            self.phase,
            self.disk_per_byte,
            self.nodes_per_byte,
            self.puts,
            self.unknown,
            self.keys,
            self.replicas,
            self.secs
        )?;
        let parts = self.nodes_bytes.iter();
        for (thread, bytes) in parts {
            writeln!(f, "  {thread}: {} ({:.2})", in_words(*bytes), self.per_byte(*bytes))?;
        }
        writeln!(
            f,
            "  nobody of the nodes: {} ({:.2}): file systems, and whoever else writes, {}/s before the start",
            in_words(self.others_bytes()),
            self.per_byte(self.others_bytes()),
            in_words(self.others_bytes_per_s)
        )?;
        let (recycled, segments) = self.segments_recycled;
        write!(
            f,
            "  segments let go {}, recycled {recycled} of {segments}; logs {} of which {} wait empty, indexes {}, waits for a segment {}",
            self.segments_gone,
            in_words(self.sizes.log_bytes),
            in_words(self.sizes.log_ready_bytes),
            in_words(self.sizes.index_bytes),
            self.sizes.segment_waits
        )
    }
}

/// Replicas of each value.
pub(crate) const REPLICAS: usize = NODES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_for_each_byte_of_each_replica() {
        let report = AmplificationReport {
            bench: "amplification",
            phase: "steady",
            value_bytes: 4096,
            keys: 10,
            replicas: 3,
            puts: 100,
            unknown: 0,
            secs: 1.0,
            disk_per_byte: 0.0,
            nodes_per_byte: 0.0,
            disk_bytes: 4096 * 300 * 3 / 2,
            nodes_bytes: BTreeMap::from([("mgt-core".to_owned(), 4096 * 300), ("mgt-index".to_owned(), 4096 * 75)]),
            others_bytes_per_s: 0,
            segments_gone: 3,
            segments_recycled: (4, 5),
            sizes: Sizes::default(),
        };
        let report = report.with_ratios();
        assert!((report.disk_per_byte - 1.5).abs() < 1e-9 && (report.nodes_per_byte - 1.25).abs() < 1e-9);
        let text = report.to_string();
        assert!(
            text.contains("mgt-index: 300 KiB (0.25)") && text.contains("nobody of the nodes: 300 KiB (0.25)"),
            "{text}"
        );
        let json = serde_json::to_string(&report).expect("plain data");
        assert!(json.contains("\"segments_recycled\":[4,5],\"log_bytes\":0"), "{json}");
    }

    #[test]
    fn threads_are_the_same_kind_whatever_their_number() {
        assert_eq!(kind_of("mgt-core-0"), "mgt-core");
        assert_eq!(kind_of("iou-wrk-12345"), "iou-wrk");
        assert_eq!(kind_of("margate"), "margate");
    }
}
