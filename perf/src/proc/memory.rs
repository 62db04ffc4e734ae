//! Memory of a process that is its own.

use std::fs;

use serde::Serialize;

/// Resident anonymous memory in KiB: without files, so without the index's map; `None` for a process that is gone.
pub(crate) fn anonymous_kib(pid: u32) -> Option<u64> {
    line(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "RssAnon:")
}

/// A line such as `RssAnon:   1234 kB`.
fn line(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Resident memory in KiB that a process cannot do without: anonymous pages, and those it has locked or pinned, which may be the same
/// ones; `None` for a process that is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Held {
    /// Anonymous pages.
    pub(crate) anonymous_kib: u64,
    /// Locked pages, and those pinned for the kernel, such as a ring's buffers.
    pub(crate) locked_kib: u64,
}

impl Held {
    /// What this process holds now.
    pub(crate) fn by(pid: u32) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let (rollup, status) = (read("smaps_rollup")?, read("status")?);
        let locked = line(&status, "VmLck:").unwrap_or(0) + line(&status, "VmPin:").unwrap_or(0);
        Some(Self {
            anonymous_kib: line(&rollup, "Anonymous:")?,
            locked_kib: locked,
        })
    }

    /// Both together: pages that are both are counted twice.
    pub(crate) fn sum_kib(self) -> u64 {
        self.anonymous_kib + self.locked_kib
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_one_that_is_gone_has_none() {
        assert!(anonymous_kib(std::process::id()).is_some_and(|kib| kib > 0));
        assert_eq!(anonymous_kib(u32::MAX), None);
        assert_eq!(line("VmRSS:\t 7 kB\nRssAnon:\t 42 kB\n", "RssAnon:"), Some(42));
        assert_eq!(line("RssAnon: many", "RssAnon:"), None);
        let held = Held::by(std::process::id()).expect("this process");
        assert!(held.anonymous_kib > 0 && held.sum_kib() >= held.anonymous_kib, "{held:?}");
        assert_eq!(Held::by(u32::MAX), None);
    }
}
