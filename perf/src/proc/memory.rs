//! Memory of a process that is its own.

use std::fs;

/// Resident anonymous memory in KiB: without files, so without the index's map; `None` for a process that is gone.
pub(crate) fn anonymous_kib(pid: u32) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// The line `RssAnon:   1234 kB`.
fn parse(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_one_that_is_gone_has_none() {
        assert!(anonymous_kib(std::process::id()).is_some_and(|kib| kib > 0));
        assert_eq!(anonymous_kib(u32::MAX), None);
        assert_eq!(parse("VmRSS:\t 7 kB\nRssAnon:\t 42 kB\n"), Some(42));
        assert_eq!(parse("RssAnon: many"), None);
    }
}
