//! What processes have had written to disks, by `/proc/PID/io`, and by which of their threads.
//!
//! The kernel counts a direct write where it is handed to the disk, and any other where a page of the cache becomes dirty. What the file
//! system writes for itself, its journal above all, is in nobody's count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Bytes written by a process, or by several, by the name of the thread; `None` of a name is all threads that are gone by now.
pub(crate) type ByThread = BTreeMap<Option<String>, u64>;

/// What these processes have had written so far. One that is gone, or not ours to look at, has written nothing.
pub(crate) fn bytes_by_thread(pids: &[u32]) -> ByThread {
    let mut sum = ByThread::new();
    for pid in pids {
        let process = Path::new("/proc").join(pid.to_string());
        let mut of_threads = 0;
        for thread in fs::read_dir(process.join("task")).into_iter().flatten().flatten() {
            let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            let bytes = bytes_written(&thread.path());
            of_threads += bytes;
            *sum.entry(Some(name.trim_end().to_owned())).or_default() += bytes;
        }
        *sum.entry(None).or_default() += bytes_written(&process).saturating_sub(of_threads);
    }
    sum
}

/// What was written between two looks, the largest part first; nothing is left out but nothing.
pub(crate) fn since(now: &ByThread, earlier: &ByThread) -> Vec<(String, u64)> {
    let named = |name: &Option<String>| name.clone().unwrap_or_else(|| "threads that are gone".to_owned());
    let mut parts: Vec<(String, u64)> = now
        .iter()
        .map(|(name, bytes)| (named(name), bytes.saturating_sub(earlier.get(name).copied().unwrap_or(0))))
        .filter(|(_, bytes)| *bytes > 0)
        .collect();
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    parts
}

fn bytes_written(task: &Path) -> u64 {
    fs::read_to_string(task.join("io")).ok().and_then(|text| parse(&text)).unwrap_or(0)
}

/// The line `write_bytes: 1234`.
fn parse(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("write_bytes:"))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_kernels_line_is_read() {
        assert_eq!(parse("rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 0\n"), Some(4096));
        assert_eq!(parse("write_bytes: many"), None);
        assert_eq!(parse("cancelled_write_bytes: 1"), None);
    }

    #[test]
    fn what_this_process_writes_is_counted() {
        let pids = [std::process::id()];
        let before = bytes_by_thread(&pids);
        // Not in /tmp, which may be in memory.
        let mut file = tempfile::tempfile_in(".").expect("the crate's folder is writable");
        file.write_all(&[7; 1 << 20]).expect("the disk takes it");
        file.sync_all().expect("the disk takes it");
        let written: u64 = since(&bytes_by_thread(&pids), &before).iter().map(|(_, bytes)| bytes).sum();
        assert!(written >= 1 << 20, "{written} bytes");
        assert_eq!(bytes_by_thread(&[u32::MAX]), ByThread::from([(None, 0)]));
    }

    #[test]
    fn parts_are_sorted_and_what_wrote_nothing_is_left_out() {
        let by = |parts: [(Option<&str>, u64); 3]| parts.map(|(name, bytes)| (name.map(str::to_owned), bytes)).into();
        let now = by([(Some("core"), 9), (Some("index"), 20), (None, 5)]);
        let earlier = by([(Some("core"), 9), (Some("index"), 10), (Some("gone"), 7)]);
        let parts = since(&now, &earlier);
        assert_eq!(parts, [("index".to_owned(), 10), ("threads that are gone".to_owned(), 5)]);
    }
}
