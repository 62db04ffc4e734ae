//! CPU time of the machine and of processes, in clock ticks, and shares of a stretch of it.

use std::fs;

/// The machine's clock ticks since boot, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineTicks {
    /// Of every kind.
    pub(crate) total: u64,
    /// Taken by other guests of the host.
    pub(crate) steal: u64,
}

/// A stretch of time, as seen by the machine and some processes.
pub(crate) struct Stretch {
    machine: MachineTicks,
    processes: Vec<(u32, u64)>,
}

impl Stretch {
    /// Starts watching.
    pub(crate) fn start(pids: &[u32]) -> Self {
        Self {
            machine: machine_ticks().unwrap_or_default(),
            processes: pids.iter().map(|pid| (*pid, process_ticks(*pid).unwrap_or(0))).collect(),
        }
    }

    /// Share of all CPUs' time since the start that other guests took, 0 to 1.
    pub(crate) fn steal(&self) -> f64 {
        let now = machine_ticks().unwrap_or_default();
        share(now.steal.saturating_sub(self.machine.steal), self.total(now))
    }

    /// Share of all CPUs' time since the start that these of the watched processes took, 0 to 1.
    pub(crate) fn used_by(&self, pids: &[u32]) -> f64 {
        let now = machine_ticks().unwrap_or_default();
        let of_process = |(pid, before): &(u32, u64)| process_ticks(*pid).unwrap_or(*before).saturating_sub(*before);
        let used = self.processes.iter().filter(|(pid, _)| pids.contains(pid)).map(of_process).sum();
        share(used, self.total(now))
    }

    fn total(&self, now: MachineTicks) -> u64 {
        now.total.saturating_sub(self.machine.total)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn machine_ticks() -> Option<MachineTicks> {
    parse_machine(&fs::read_to_string("/proc/stat").ok()?)
}

fn process_ticks(pid: u32) -> Option<u64> {
    parse_process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The first line: `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests are in user.
fn parse_machine(text: &str) -> Option<MachineTicks> {
    let ticks = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(MachineTicks {
        total: ticks.iter().fold(0, |sum: u64, ticks| sum.saturating_add(*ticks)),
        steal: *ticks.get(7)?,
    })
}

/// User and system ticks: fields 14 and 15, counted from the name, which may itself hold spaces and brackets.
fn parse_process(text: &str) -> Option<u64> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let machine = parse_machine("cpu  10 1 5 100 2 0 3 7 4 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        assert_eq!(machine, Some(MachineTicks { total: 128, steal: 7 }));
        let process = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 17 5 0 0 20 0 1 0 1 1 1";
        assert_eq!(parse_process(process), Some(22));
    }

    #[test]
    fn this_process_and_machine_can_be_watched() {
        let pid = std::process::id();
        let stretch = Stretch::start(&[pid]);
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_millis(100) {
            std::hint::black_box(0);
        }
        assert!(stretch.used_by(&[pid]) > 0.0);
        assert!((0.0..=1.0).contains(&stretch.steal()));
        assert_eq!(stretch.used_by(&[]).total_cmp(&0.0), std::cmp::Ordering::Equal);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not_but_never_panics(text in "\\PC*", numbers: Vec<u64>) {
            parse_machine(&text);
            parse_process(&text);
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            parse_machine(&format!("cpu  {}", numbers.join(" ")));
            parse_process(&format!("1 (x) {}", numbers.join(" ")));
        }
    }
}
