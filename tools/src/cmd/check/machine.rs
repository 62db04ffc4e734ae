//! The machine: what the kernel allows and how its CPUs run. What a node's own start asks too is asked by the same code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use margate_engine::runtime::preflight::{self, PreflightError};
use rustix::thread::sched_getaffinity;

use super::row::{Item, Row};
use crate::units::show_size;

/// Locked memory that is enough for a node of three cores.
const MEMLOCK_EASY: u64 = 8 << 20;
/// Thousandths of its time that a machine may lose to others before it shows.
const STEAL_PERMILLE_MAX: u64 = 20;
/// Clock sources that are read without a system call, or as fast as it gets.
const FAST_CLOCKS: [&str; 5] = [
    "tsc",
    "kvm-clock",
    "arch_sys_counter",
    "hyperv_clocksource_tsc_page",
    "riscv_clocksource",
];

/// Every row about the machine.
pub(super) fn rows() -> Vec<Row> {
    let cpus = allowed_cpus();
    vec![
        io_uring(preflight::io_uring(), &text_of("/proc/sys/kernel/osrelease").unwrap_or_default()),
        locked_memory(preflight::locked_memory()),
        open_files(preflight::descriptors(cpus), preflight::descriptors(1)),
        cpus_row(cpus, std::thread::available_parallelism().map_or(cpus, usize::from)),
        governor(&governors()),
        text_of("/proc/stat").map_or_else(|| Row::unknown(Item::Steal, "/proc/stat"), |text| steal(&text)),
        huge_pages(text_of("/sys/kernel/mm/transparent_hugepage/enabled").as_deref()),
        text_of(CLOCK_SOURCE).map_or_else(|| Row::unknown(Item::ClockSource, CLOCK_SOURCE), |text| clock_source(&text)),
    ]
}

const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// A file's text without what surrounds it.
pub(super) fn text_of(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The word in brackets, as the kernel shows a choice.
pub(super) fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word)
}

fn allowed_cpus() -> usize {
    sched_getaffinity(None).map_or(1, |set| usize::try_from(set.count()).unwrap_or(1).max(1))
}

/// The governor of every CPU that has one.
fn governors() -> Vec<String> {
    let Ok(cpus) = fs::read_dir("/sys/devices/system/cpu") else {
        return Vec::new();
    };
    let file = |cpu: fs::DirEntry| text_of(cpu.path().join("cpufreq/scaling_governor"));
    cpus.filter_map(Result::ok).filter_map(file).collect()
}

fn io_uring(ring: Result<(), PreflightError>, kernel: &str) -> Row {
    match ring {
        Ok(()) => Row::pass(Item::IoUring, format!("Linux {kernel}, a ring was made")),
        Err(PreflightError::IoUringForbidden { by }) => Row::fail(Item::IoUring, by.to_string(), by.mend()),
        Err(PreflightError::NoIoUring { errno }) => Row::fail(
            Item::IoUring,
            format!("Linux {kernel} has none or an old one (error {errno})"),
            "start Linux 5.11 or newer with io_uring built in",
        ),
        Err(
            error @ (PreflightError::MemlockTooLow { .. }
            | PreflightError::MemlockTaken { .. }
            | PreflightError::DescriptorsTooFew { .. }
            | PreflightError::NotLoopback { .. }
            | PreflightError::NoDirectIo { .. }
            | PreflightError::NotDurable { .. }),
        ) => Row::fail(Item::IoUring, error.to_string(), "do as it says"),
    }
}

fn locked_memory(limit: Result<u64, PreflightError>) -> Row {
    let mend = "raise it: ulimit -l, or LimitMEMLOCK in the unit; 8 MiB are enough for a node of three cores";
    match limit {
        Ok(u64::MAX) => Row::pass(Item::LockedMemory, "no limit"),
        Ok(limit) if limit < MEMLOCK_EASY => Row::warn(Item::LockedMemory, format!("at most {}", show_size(limit)), mend),
        Ok(limit) => Row::pass(Item::LockedMemory, format!("at most {}", show_size(limit))),
        Err(error) => Row::fail(Item::LockedMemory, error.to_string(), mend),
    }
}

fn open_files(for_all: Result<u64, PreflightError>, for_one: Result<u64, PreflightError>) -> Row {
    let mend = "raise it: ulimit -n, or LimitNOFILE in the unit";
    match (for_all, for_one) {
        (Ok(u64::MAX), _) => Row::pass(Item::OpenFiles, "no limit"),
        (Ok(limit), _) => Row::pass(Item::OpenFiles, format!("at most {limit}")),
        (Err(_), Ok(limit)) => Row::warn(Item::OpenFiles, format!("at most {limit}, too few for a core on each CPU"), mend),
        (Err(_), Err(error)) => Row::fail(Item::OpenFiles, error.to_string(), mend),
    }
}

fn cpus_row(allowed: usize, at_once: usize) -> Row {
    if at_once < allowed {
        return Row::warn(
            Item::Cpus,
            format!("{allowed} CPUs, of which a cgroup's quota gives the time of {at_once}"),
            "give the node whole CPUs instead of a quota, or no more cores than the quota has CPUs",
        );
    }
    Row::pass(Item::Cpus, format!("{allowed} CPUs may be used, one for each core"))
}

fn governor(governors: &[String]) -> Row {
    let kinds: BTreeSet<&str> = governors.iter().map(String::as_str).collect();
    let found = kinds.iter().copied().collect::<Vec<_>>().join(", ");
    if kinds.is_empty() {
        Row::pass(Item::Governor, "the kernel does not change the CPUs' speed here")
    } else if found == "performance" {
        Row::pass(Item::Governor, found)
    } else {
        Row::warn(
            Item::Governor,
            found,
            "set it to performance: cpupower frequency-set -g performance",
        )
    }
}

/// Of `/proc/stat`, the share of time others had since the machine started.
fn steal(stat: &str) -> Row {
    let Some(permille) = steal_permille(stat) else {
        return Row::unknown(Item::Steal, "the time stolen from the CPUs");
    };
    let found = format!("{}.{} % since the machine started", permille / 10, permille % 10);
    if permille > STEAL_PERMILLE_MAX {
        let mend = "move to a host, or a kind of virtual machine, that does not share its CPUs";
        Row::warn(Item::Steal, found, mend)
    } else {
        Row::pass(Item::Steal, found)
    }
}

fn steal_permille(stat: &str) -> Option<u64> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user.
    let times = all
        .split_ascii_whitespace()
        .take(8)
        .map(str::parse)
        .collect::<Result<Vec<u64>, _>>();
    let times = times.ok().filter(|times| times.len() == 8)?;
    let total = times.iter().try_fold(0_u64, |sum, time| sum.checked_add(*time))?;
    times.last()?.checked_mul(1_000)?.checked_div(total)
}

fn huge_pages(enabled: Option<&str>) -> Row {
    match enabled.map(|text| chosen(text).unwrap_or(text)) {
        None => Row::pass(Item::HugePages, "not in this kernel"),
        Some("always") => Row::warn(
            Item::HugePages,
            "always",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, at every boot",
        ),
        Some(kind) => Row::pass(Item::HugePages, kind),
    }
}

fn clock_source(source: &str) -> Row {
    if FAST_CLOCKS.contains(&source) {
        Row::pass(Item::ClockSource, source)
    } else {
        let mend = "boot with clocksource=tsc, if the CPU's counter is steady; on a virtual machine, with the host's own clock";
        Row::warn(Item::ClockSource, source, mend)
    }
}

#[cfg(test)]
mod tests {
    use margate_engine::runtime::preflight::Forbids;
    use proptest::prelude::*;

    use super::super::row::Verdict;
    use super::*;

    #[track_caller]
    fn assert_is(row: &Row, verdict: Verdict, found: &str) {
        assert_eq!((row.verdict, row.found.as_str()), (verdict, found));
    }

    #[test]
    fn a_ring_is_made_or_the_row_names_who_is_against_it() {
        assert_is(&io_uring(Ok(()), "6.1"), Verdict::Pass, "Linux 6.1, a ring was made");
        let forbidden = io_uring(Err(PreflightError::IoUringForbidden { by: Forbids::Sysctl }), "6.1");
        assert_is(&forbidden, Verdict::Fail, "the sysctl kernel.io_uring_disabled is 2");
        assert!(forbidden.lines().concat().contains("mend: set it to 0"));
        let missing = io_uring(Err(PreflightError::NoIoUring { errno: 38 }), "5.4");
        assert_is(&missing, Verdict::Fail, "Linux 5.4 has none or an old one (error 38)");
    }

    #[test]
    fn limits_are_enough_scant_or_too_low() {
        assert_is(&locked_memory(Ok(u64::MAX)), Verdict::Pass, "no limit");
        assert_is(&locked_memory(Ok(8 << 20)), Verdict::Pass, "at most 8.0 MiB");
        assert_is(&locked_memory(Ok(1 << 20)), Verdict::Warn, "at most 1.0 MiB");
        assert_eq!(
            locked_memory(Err(PreflightError::MemlockTooLow { limit: 1 })).verdict,
            Verdict::Fail
        );
        let few = || {
            Err(PreflightError::DescriptorsTooFew {
                limit: 1,
                cores: 1,
                needed: 2,
            })
        };
        assert_is(&open_files(Ok(1_024), Ok(1_024)), Verdict::Pass, "at most 1024");
        assert_eq!(open_files(few(), Ok(1_024)).verdict, Verdict::Warn);
        assert_eq!(open_files(few(), few()).verdict, Verdict::Fail);
    }

    #[test]
    fn cpus_that_are_shared_slowed_or_stolen_are_told() {
        assert_eq!(cpus_row(4, 4).verdict, Verdict::Pass);
        assert_eq!(cpus_row(4, 2).verdict, Verdict::Warn);
        assert_eq!(governor(&[]).verdict, Verdict::Pass);
        let governors = ["powersave", "performance", "powersave"].map(str::to_owned);
        assert_is(&governor(&governors), Verdict::Warn, "performance, powersave");
        assert_is(&governor(&governors[1..2]), Verdict::Pass, "performance");
        let stat = |steal: u64| format!("cpu  100 0 100 {} 0 0 0 {steal} 7 0\ncpu0 1 2 3\n", 800 - steal);
        assert_is(&steal(&stat(20)), Verdict::Pass, "2.0 % since the machine started");
        assert_is(&steal(&stat(21)), Verdict::Warn, "2.1 % since the machine started");
        assert_eq!(steal("cpu  1 2 3\n").verdict, Verdict::Warn);
    }

    #[test]
    fn what_the_kernel_chose_is_judged() {
        assert_is(&huge_pages(Some("[always] madvise never")), Verdict::Warn, "always");
        assert_is(&huge_pages(Some("always [madvise] never")), Verdict::Pass, "madvise");
        assert_eq!(huge_pages(None).verdict, Verdict::Pass);
        assert_is(&clock_source("tsc"), Verdict::Pass, "tsc");
        assert_is(&clock_source("hpet"), Verdict::Warn, "hpet");
    }

    proptest! {
        #[test]
        fn no_text_of_a_kernel_to_come_panics(text in ".{0,80}", numbers in proptest::collection::vec(any::<u64>(), 0..12)) {
            let _ = (chosen(&text), steal(&text), huge_pages(Some(&text)), clock_source(&text));
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            let _ = steal(&format!("cpu  {}", numbers.join(" ")));
        }
    }
}
