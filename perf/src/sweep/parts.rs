//! What a sweep is made of: the command lines of each part, short and long.

/// Stands in a command for half of the median rate of the puts before it in its part.
pub(crate) const HALF: &str = "{half}";

/// What a command is told beside its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// Where its files go.
    Disk,
    /// The same, and which `margate` to start.
    Program,
    /// Where a deployment runs that all commands of the part share.
    Deployment,
}

/// Some commands that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// For the command line and for files.
    pub(crate) name: &'static str,
    /// For the page.
    pub(crate) title: &'static str,
    /// Their surroundings.
    pub(crate) surroundings: Surroundings,
    /// The words of each after the program's name.
    pub(crate) commands: Vec<String>,
    /// Whether histograms are kept.
    pub(crate) histograms: bool,
}

/// All parts in the order they are run; limits first, since they are the denominators, and what takes longest last.
pub(crate) fn parts(quick: bool) -> Vec<Part> {
    let size = Size::new(quick);
    let mut parts = vec![limits(&size)];
    parts.extend(ladder(quick).iter().map(|(name, title, in_flight)| {
        let words = format!("--peer etcd --bench put,get --in-flight {in_flight}");
        beside(&size, name, title, &words)
    }));
    parts.extend([ycsb(&size), redis(&size), own(&size)]);
    parts.extend(benches(&size));
    parts
}

/// Names, titles and operations under way of the comparisons beside etcd.
fn ladder(quick: bool) -> &'static [(&'static str, &'static str, u32)] {
    const ALL: [(&str, &str, u32); 5] = [
        ("etcd-768", "Beside etcd, 768 in flight", 768),
        ("etcd-1", "Beside etcd, 1 in flight", 1),
        ("etcd-8", "Beside etcd, 8 in flight", 8),
        ("etcd-64", "Beside etcd, 64 in flight", 64),
        ("etcd-256", "Beside etcd, 256 in flight", 256),
    ];
    if quick { &ALL[..2] } else { &ALL }
}

/// How long and how large.
struct Size {
    quick: bool,
    /// Flags of a turn.
    turn: &'static str,
    /// And how often.
    rounds: &'static str,
    keys: &'static str,
}

impl Size {
    fn new(quick: bool) -> Self {
        let (turn, rounds, keys) = if quick {
            ("--secs 2 --warmup 0.5", "--rounds 1", "--keys 20000")
        } else {
            ("--secs 5 --warmup 2", "--rounds 5", "--keys 100000")
        };
        Self { quick, turn, rounds, keys }
    }

    fn or(&self, quick: &'static str, full: &'static str) -> &'static str {
        if self.quick { quick } else { full }
    }

    fn compare(&self, bench: &str) -> String {
        let settle = self.or("--settle 0.2", "--settle 1");
        format!("compare {bench} {} {} {} {settle}", self.keys, self.turn, self.rounds)
    }
}

/// Commands whose histograms are not kept.
fn part(name: &'static str, title: &'static str, surroundings: Surroundings, commands: Vec<String>) -> Part {
    Part {
        name,
        title,
        surroundings,
        commands,
        histograms: false,
    }
}

fn limits(size: &Size) -> Part {
    let command = format!("limits {}", size.or("--secs 0.8", "--secs 5"));
    part("limits", "What the machine does without us", Surroundings::Disk, vec![command])
}

/// One comparison beside a peer.
fn beside(size: &Size, name: &'static str, title: &'static str, words: &str) -> Part {
    Part {
        histograms: true,
        ..part(name, title, Surroundings::Program, vec![size.compare(words)])
    }
}

fn ycsb(size: &Size) -> Part {
    let title = "YCSB-A beside etcd, 256 in flight";
    beside(size, "ycsb-a", title, "--peer etcd --bench ycsb-a --in-flight 256")
}

fn redis(size: &Size) -> Part {
    let title = "Beside one node of Redis that syncs always, not replicated, 64 in flight";
    beside(size, "redis", title, "--peer redis --bench put,get --in-flight 64")
}

/// Margate alone: puts and the batch writer in turn, a ladder of operations under way, and the clock at half of what it gave.
fn own(size: &Size) -> Part {
    let load = |words: &str| format!("load {words} {} {}", size.keys, size.turn);
    let mut commands = vec![load("--bench put --in-flight 768")];
    let turns = if size.quick { 1 } else { 5 };
    for turn in 0..turns {
        if turn > 0 {
            commands.push(load("--bench put --in-flight 768 --skip-load"));
        }
        commands.push(load("--bench batch --in-flight 16384 --skip-load"));
    }
    let rungs: &[u32] = if size.quick { &[1, 64, 2048] } else { &[1, 8, 64, 256, 1536, 3072] };
    commands.extend(
        rungs
            .iter()
            .map(|rung| load(&format!("--bench put,get --in-flight {rung} --skip-load"))),
    );
    let open = size.or("--secs 3 --warmup 1", "--secs 60 --warmup 5");
    commands.push(format!("load --bench put --rate {HALF} --skip-load {} {open}", size.keys));
    let title = "Alone: the batch writer, more and more in flight, and the clock at half the rate";
    Part {
        histograms: true,
        ..part("own", title, Surroundings::Deployment, commands)
    }
}

/// What measures one thing each, on nodes of its own but for the log.
fn benches(size: &Size) -> Vec<Part> {
    let turns = size.or("--rounds 1 --secs 1 --warmup 0.3", "--rounds 5 --secs 5 --warmup 1");
    let log = vec![format!("log --writers 1,8,32 {turns}"), format!("log --batch 64KiB {turns}")];
    let cold_get = format!("--in-flight 64 {} {turns}", size.or("--times 1", "--times 4"));
    let bench = |name, title, words: &str| part(name, title, Surroundings::Program, vec![format!("{name} {words}")]);
    vec![
        part("log", "The log alone, beside raft-engine and a bare file", Surroundings::Disk, log),
        bench("cold-get", "Gets that no cache holds", &cold_get),
        bench(
            "amplification",
            "Bytes on disk",
            size.or("--value-bytes 4096 --keys 10000 --segment-mib 4", "--value-bytes 4096,256"),
        ),
        bench("failover", "Leaders killed", size.or("--kills 3", "--kills 50")),
        bench(
            "restart",
            "Restarts",
            size.or("--log-mib 64 --rounds 1 --secs-before 2", "--log-mib 2048"),
        ),
        bench(
            "overload",
            "Ten times what gives most",
            size.or("--keys 20000 --secs 5 --ordinary 2 --step 0.5", "--secs 60"),
        ),
        bench(
            "scale",
            "More keys",
            size.or(
                "--keys 10000,200000 --order uniform --secs 4 --commits 1",
                "--secs 20 --cores 1,2 --also-shards 1,16",
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn every_command_is_one_that_this_program_takes() {
        for quick in [true, false] {
            for part in parts(quick) {
                for command in &part.commands {
                    let line = format!("margate-perf {} --json", command.replace(HALF, "1000"));
                    assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
                }
            }
        }
    }

    #[test]
    fn names_are_names_of_one_part_and_quick_parts_are_among_the_others() {
        let names = |quick| parts(quick).iter().map(|part| part.name).collect::<Vec<_>>();
        let all: BTreeSet<_> = names(false).into_iter().collect();
        assert_eq!(all.len(), parts(false).len());
        assert!(names(true).iter().all(|name| all.contains(name)));
        assert_eq!(names(true).first(), Some(&"limits"));
    }
}
