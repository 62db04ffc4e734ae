//! The command line. Flags of what measures are in `args/run.rs`, what several commands take in `args/shared.rs`, flags of other
//! commands beside their work or here.

pub(crate) mod run;
pub(crate) mod shared;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use margate_net::limits::VALUE_BYTES_MAX;

use crate::amplification::arguments::AmplificationArguments;
use crate::cold_get::arguments::ColdGetArguments;
use crate::failover::arguments::{FailoverArguments, ProbeArguments};
use crate::history::arguments::{CheckArguments, HistoryArguments};
use crate::hostile::arguments::HostileArguments;
use crate::limits::arguments::LimitsArguments;
use crate::log::arguments::LogArguments;
use crate::overload::arguments::OverloadArguments;
use crate::parts::arguments::PartsArguments;
use crate::restart::arguments::RestartArguments;
use crate::scale::arguments::ScaleArguments;
use crate::sweep::arguments::SweepArguments;
use crate::workload::keys::NUMBER_MAX;
use run::{CompareArguments, LoadArguments, YcsbArguments, in_flight};
use shared::{EndpointsArguments, LineArguments, StartArguments};

/// Keys whose numbers still fit their digits.
const KEYS_MAX: u64 = NUMBER_MAX;

/// Load generator for margate, comparisons beside peers, the kill test, and histories.
#[derive(Debug, Parser)]
#[command(name = "margate-perf", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  margate dev                                              (in another terminal)
  margate-perf load --bench put --in-flight 768 --secs 10
  margate-perf load --bench mixed --read-share 0.95 --keys-drawn zipfian --rate 20000 --hdr latencies.hlog
  margate-perf ycsb a,b,c,f,d,e --records 100000 --in-flight 256
  margate-perf flags
  margate-perf compare --peer etcd --bench put,get,ycsb-a --in-flight 768 --secs 10 --rounds 5
  margate-perf compare --peer redis --bench put --in-flight 64
  margate-perf kill --leader 20 --all 20
  margate-perf failover --kills 10
  margate-perf history --out h.jsonl --secs 60 --kill-every 10 --pause-every 10 --proxy
  margate-perf check h.jsonl
  margate-perf hostile --frames 100000
  margate-perf log --writers 1,8,32
  margate-perf log --batch 64KiB
  margate-perf amplification --value-bytes 4096,256
  margate-perf scale --keys 100000,1000000 --cores 1,2 --also-shards 1,16
  margate-perf overload --secs 60
  margate-perf restart --log-mib 2048
  margate-perf cold-get --in-flight 64
  margate-perf limits
  margate-perf sweep --quick                               (needs a build with --features peers)
  margate-perf parts --count";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts a running deployment under load and prints one result line per bench.
    Load(LoadArguments),
    /// Loads records into a running deployment and runs core workloads of YCSB: a line per kind of operation, one for all.
    Ycsb(YcsbArguments),
    /// Starts margate and a peer on one filesystem and measures them in turn: A B A B.
    Compare(CompareArguments),
    /// Kills nodes under load and checks that every acknowledged write stands.
    Kill(KillArguments),
    /// Kills leaders and prints how long their shards acknowledged nothing.
    Failover(FailoverArguments),
    /// Puts single values into a running deployment and prints the longest time in which a shard acknowledged none.
    Probe(ProbeArguments),
    /// Drives a deployment while it is disturbed and writes down every operation, for `check`.
    History(HistoryArguments),
    /// Judges recorded histories: is each key linearizable?
    Check(CheckArguments),
    /// Tells a deployment bad frames and checks that nobody else notices.
    Hostile(HostileArguments),
    /// Appends to our log and to raft-engine, or to our log and a file with fio, in turn: A B A B.
    Log(LogArguments),
    /// Measures what the disk does, with fio, and the loopback, with an echo: what no deployment here can exceed.
    Limits(LimitsArguments),
    /// Runs all that measures, part by part, and writes a page about it; goes on where it was interrupted.
    Sweep(SweepArguments),
    /// Counts the bytes a disk takes for each byte of a value, on the first fill and later.
    Amplification(AmplificationArguments),
    /// Measures put throughput over numbers of keys, cores and shards.
    Scale(ScaleArguments),
    /// Asks for ten times what gives most, half of it impatiently, and prints what came of it and what it left behind.
    Overload(OverloadArguments),
    /// Restarts nodes with a long log, in good order and after a kill, and prints how long they take to serve.
    Restart(RestartArguments),
    /// Reads values that no cache holds, and blocks of a file with fio, in turn: A B A B.
    ColdGet(ColdGetArguments),
    /// Runs parts of the data path by themselves and prints how long they take, or counts their instructions.
    Parts(PartsArguments),
    /// Prints the open flags of every log file of a running deployment; fails where one is not direct and durable.
    Flags(FlagsArguments),
}

/// `kill`
#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    /// Times to kill the node that leads most shards.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) leader: u32,
    /// Times to kill all nodes.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) all: u32,
    /// Cut the power of nodes' disks before they are killed, with a program that takes `mount DIR…` and `cut DIR…`.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) cut_with: Option<PathBuf>,
    /// Seconds of load before each kill, and again between a leader's kill and its restart: half to one and a half of it.
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECS")]
    pub(crate) secs_between: Duration,
    /// Keys that are written, all of them read after each kill.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=KEYS_MAX))]
    pub(crate) keys: u64,
    /// Bytes in each value, at least the 24 that tell values apart.
    #[arg(long, default_value_t = 256, value_parser = unique_value_bytes)]
    pub(crate) value_bytes: usize,
    /// Operations under way at any instant.
    #[arg(long, default_value_t = 64, value_parser = in_flight)]
    pub(crate) in_flight: usize,
    /// Operations per second, at most, all workers together; it bounds the journal.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) printed: LineArguments,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}

/// `flags`
#[derive(Debug, Args)]
pub(crate) struct FlagsArguments {
    #[command(flatten)]
    pub(crate) deployment: EndpointsArguments,
}

/// Where `margate dev` listens when it is not told otherwise.
pub(crate) const DEV_ENDPOINTS: &str = "127.0.0.1:7400,127.0.0.1:7500,127.0.0.1:7600";

/// A number of seconds, of at most a day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds, such as 10 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| "between 0 and 86400 seconds are possible".to_owned())
}

/// A number of seconds that is not nothing.
pub(crate) fn positive_seconds(text: &str) -> Result<Duration, String> {
    let duration = seconds(text)?;
    let enough = duration >= Duration::from_millis(10);
    enough
        .then_some(duration)
        .ok_or_else(|| "at least 0.01 seconds must count".to_owned())
}

/// Bytes of a value that can be told from every other.
pub(crate) fn unique_value_bytes(text: &str) -> Result<usize, String> {
    bounded(text, crate::kill::value::BYTES_MIN, VALUE_BYTES_MAX)
}

fn bounded(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| format!("give a whole number between {min} and {max}"))?;
    let fits = (min..=max).contains(&number);
    fits.then_some(number)
        .ok_or_else(|| format!("between {min} and {max} are possible"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Arguments, ErrorKind> {
        Arguments::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_lines_of_the_documentation_are_accepted() {
        for line in [
            "margate-perf load --bench put --value-bytes 256 --keys 100000 --in-flight 768 --secs 10 --seed 7 --warmup 2 --json",
            "margate-perf load --bench put,get,mixed --endpoints 127.0.0.1:1,127.0.0.1:2",
            "margate-perf load --bench mixed --read-share 0.95 --keys-drawn latest --rate 20000 --hdr h",
            "margate-perf ycsb a --records 1000 --value-bytes 1000 --in-flight 256 --secs 10 --rate 1000",
            "margate-perf ycsb a,b,c,f,d,e --skip-load",
            "margate-perf compare --peer redis --bench ycsb-a,ycsb-f --rate 5000",
            "margate-perf compare --peer etcd --bench get --in-flight 1 --secs 0.5 --rounds 5 --data-root /tmp",
            "margate-perf compare --peer etcd --endpoints 127.0.0.1:7400",
            "margate-perf kill --data-root . --leader 20 --all 20 --secs-between 1 --json",
            "margate-perf failover --kills 10 --p50-max-ms 600 --max-ms 1500 --json",
            "margate-perf probe --secs 12 --max-ms 3000",
            "margate-perf flags",
            "margate-perf history --out h --secs 60 --kill-every 10 --pause-every 0.5 --clients 16 --keys 8 --data-root .",
            "margate-perf history --out h --proxy --shards 2",
            "margate-perf history --out h --operations 1000000 --endpoints 127.0.0.1:1",
            "margate-perf check a b --allow-undecided --json",
            "margate-perf log --writers 1,8,32 --value-bytes 256 --rounds 5 --file-mib 16 --data-root . --json",
            "margate-perf log --batch 64KiB --secs 2",
            "margate-perf amplification --value-bytes 4096,256 --keys 1000000 --segment-mib 4 --allow-unknown --data-root . --json",
            "margate-perf scale --keys 100000,20000000 --order sequential --cores 1,2 --also-shards 16 --secs 5 --allow-unknown --json",
            "margate-perf overload --peak-in-flight 768 --times 10 --connections 64 --secs 60 --ordinary 10 --json",
            "margate-perf restart --log-mib 2048 --rounds 3 --graceful-max-ms 3000 --killed-max-ms 10000 --data-root . --json",
            "margate-perf limits --secs 1 --message-bytes 320 --data-root . --json",
            "margate-perf sweep --quick --out perf-report --data-root . --only limits,log",
            "margate-perf cold-get --times 4 --in-flight 64 --rounds 3 --secs 5 --json",
            "margate-perf parts --secs 0.5 --data-root . --json",
            "margate-perf parts frame,raft --count --recorded perf/parts.toml",
            "margate-perf parts --record",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "margate-perf load --secs 0",
            "margate-perf load --secs=-1",
            "margate-perf load --secs forever",
            "margate-perf load --keys 0",
            "margate-perf load --in-flight 0",
            "margate-perf load --value-bytes 1048577",
            "margate-perf load --rate 0",
            "margate-perf load --read-share 1.01",
            "margate-perf kill --value-bytes 8",
            "margate-perf failover --kills 0",
            "margate-perf probe --rate 0",
            "margate-perf history --out h --clients 0",
            "margate-perf history --out h --kill-every 0",
            "margate-perf log --writers 0",
            "margate-perf log --batch 1000",
        ] {
            assert_eq!(parse(line).expect_err(line), ErrorKind::ValueValidation, "{line}");
        }
        for line in [
            "margate-perf compare --peer etcd --endpoints 127.0.0.1:1 --margate x",
            "margate-perf log --batch 64KiB --writers 1",
            "margate-perf history --out h --secs 1 --operations 1",
            "margate-perf parts frame --record",
            "margate-perf history --out h --endpoints 127.0.0.1:1 --kill-every 1",
            "margate-perf history --out h --endpoints 127.0.0.1:1 --proxy",
        ] {
            assert_eq!(parse(line).expect_err(line), ErrorKind::ArgumentConflict, "{line}");
        }
    }
}
