//! One thing that is checked: what was found, what that means, why it matters and how to mend it.

use crate::output::Object;

/// What is checked, in the order it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    IoUring,
    LockedMemory,
    OpenFiles,
    Cpus,
    Governor,
    Steal,
    HugePages,
    ClockSource,
    FileSystem,
    DirectIo,
    Scheduler,
    SyncLatency,
    FreeSpace,
}

/// What was found means this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Pass,
    /// A node runs, slower or less safely than it could; or nothing could be found out.
    Warn,
    /// A node does not start, or what it keeps is not safe.
    Fail,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) item: Item,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    /// What to do; empty where nothing is to be done.
    mend: String,
}

impl Item {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::LockedMemory => "locked memory",
            Self::OpenFiles => "open files",
            Self::Cpus => "cpus",
            Self::Governor => "cpu governor",
            Self::Steal => "stolen time",
            Self::HugePages => "transparent huge pages",
            Self::ClockSource => "clock source",
            Self::FileSystem => "file system",
            Self::DirectIo => "direct i/o",
            Self::Scheduler => "i/o scheduler",
            Self::SyncLatency => "sync latency",
            Self::FreeSpace => "free space",
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::IoUring => "all reading, writing and networking of a node goes through it",
            Self::LockedMemory => "the buffers of each core's rings are locked in memory",
            Self::OpenFiles => "each core has its log and index, its peers and up to 192 clients open",
            Self::Cpus => "each core of a node is one thread that wants a CPU of its own",
            Self::Governor => "a CPU that sleeps or runs slowly between requests answers the next one late",
            Self::Steal => {
                "a CPU that the host gives to others stops a core in the middle of its work; its followers may elect another leader"
            }
            Self::HugePages => "memory that the kernel collects into huge pages stops a core while it is moved",
            Self::ClockSource => "a core reads the clock at every turn; a slow source makes that a system call",
            Self::FileSystem => "what is acknowledged must be on a disk, and the log's files must take direct writes without new metadata",
            Self::DirectIo => "the log is written in blocks of 4 KiB past the page cache, so that a write that returned is durable",
            Self::Scheduler => "a scheduler holds writes back to sort them, which a flash disk or a virtual one does not need",
            Self::SyncLatency => "every write waits for one durable write on a quorum of nodes",
            Self::FreeSpace => {
                "each core prewrites its log segments, and its log takes up to twice what its values need; a nearly full disk refuses writes"
            }
        }
    }
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Row {
    pub(super) fn pass(item: Item, found: impl Into<String>) -> Self {
        Self::new(item, Verdict::Pass, found, "")
    }

    pub(super) fn warn(item: Item, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(item, Verdict::Warn, found, mend)
    }

    pub(super) fn fail(item: Item, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(item, Verdict::Fail, found, mend)
    }

    /// What a file would have told could not be read.
    pub(super) fn unknown(item: Item, what: &str) -> Self {
        Self::warn(
            item,
            format!("{what} cannot be read"),
            "run the check where /proc and /sys are those of the machine",
        )
    }

    fn new(item: Item, verdict: Verdict, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            item,
            verdict,
            found: found.into(),
            mend: mend.into(),
        }
    }

    /// Lines for people: one if all is well, else with reason and remedy.
    pub(super) fn lines(&self) -> Vec<String> {
        let (verdict, name, found) = (self.verdict.word(), self.item.name(), &self.found);
        let mut lines = vec![format!("{verdict}  {name:<22}  {found}")];
        if self.verdict != Verdict::Pass {
            lines.push(format!("{:30}why: {}", "", self.item.why()));
            lines.push(format!("{:30}mend: {}", "", self.mend));
        }
        lines
    }

    /// Fields for programs.
    pub(super) fn object(&self) -> Object {
        Object::default()
            .field("item", self.item.name())
            .field("verdict", self.verdict.word())
            .field("found", self.found.as_str())
            .field("why", self.item.why())
            .field("mend", (self.verdict != Verdict::Pass).then_some(self.mend.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_well_is_explained() {
        assert_eq!(Row::pass(Item::Cpus, "2 CPUs").lines(), ["pass  cpus                    2 CPUs"]);
        let lines = Row::warn(Item::Governor, "powersave", "set it to performance").lines();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2].trim_start(), "mend: set it to performance");
        assert_eq!(lines[0].find("powersave"), lines[1].find("why:"));
    }
}
