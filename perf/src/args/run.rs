//! The flags of what measures: `load`, `ycsb` and `compare`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use margate_net::limits::VALUE_BYTES_MAX;

use super::shared::{EndpointsArguments, LinesArguments, StartArguments};
use super::{KEYS_MAX, bounded, positive_seconds, seconds};
use crate::driver::Pace;
use crate::workload::bench::{Bench, Recipe};
use crate::workload::drawn::KeysDrawn;

/// Operations under way in a closed loop unless told otherwise.
const IN_FLIGHT: usize = 64;
/// And in an open loop at most: more than a system that keeps up ever has.
const IN_FLIGHT_OPEN: usize = 16_384;
/// Operations under way at most, whatever is asked for.
const IN_FLIGHT_MAX: usize = 1 << 16;
/// Operations due per second, at most: more than this program can begin.
const RATE_MAX: i64 = 10_000_000;

/// What all three share.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Bytes in each value; they do not compress.
    #[arg(long, default_value_t = 256, value_parser = value_bytes)]
    pub(crate) value_bytes: usize,
    /// Keys, loaded before the first bench; each has 24 bytes.
    #[arg(long, visible_alias = "records", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=KEYS_MAX))]
    pub(crate) keys: u64,
    /// Operations under way at any instant, each awaited by itself; with --rate at most [default: 64, with --rate 16384]
    #[arg(long, value_parser = in_flight)]
    pub(crate) in_flight: Option<usize>,
    /// Open loop: so many operations per second are due, at fixed intervals, whatever became of those before, and
    /// latency counts from then.
    #[arg(long, value_name = "OPS", value_parser = clap::value_parser!(u32).range(1..=RATE_MAX))]
    pub(crate) rate: Option<u32>,
    /// Seconds that count.
    #[arg(long, default_value = "10", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs: Duration,
    /// Seconds of load before those that count.
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECS")]
    pub(crate) warmup: Duration,
    /// Seed of keys, values and the mix.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Threads of the load generator itself.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) client_threads: u16,
    /// Write each run's whole latency histogram to this file, an HdrHistogram interval log.
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) printed: LinesArguments,
}

impl RunArguments {
    /// The loop that is asked for.
    pub(crate) fn pace(&self) -> Pace {
        match self.rate {
            None => Pace::Closed {
                in_flight: self.in_flight.unwrap_or(IN_FLIGHT),
            },
            Some(rate) => Pace::Open {
                rate,
                in_flight_max: self.in_flight.unwrap_or(IN_FLIGHT_OPEN),
            },
        }
    }
}

/// What `load` and `compare` let one choose about operations.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Operations: one bench, or several with commas, run one after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "put")]
    bench: Vec<Bench>,
    /// How keys are drawn [default: the bench's own way, uniform where nothing is said]
    #[arg(long, value_enum)]
    keys_drawn: Option<KeysDrawn>,
    /// Share of reads in `mixed`, 0 to 1.
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    read_share: f64,
}

impl BenchArguments {
    /// The benches, in order.
    pub(crate) fn recipes(&self) -> Vec<Recipe> {
        let recipe = |bench: &Bench| Recipe::new(*bench, self.read_share, self.keys_drawn);
        self.bench.iter().map(recipe).collect()
    }
}

/// A deployment that runs.
#[derive(Debug, Args)]
pub(crate) struct DeploymentArguments {
    #[command(flatten)]
    pub(crate) at: EndpointsArguments,
    /// Client objects that the workers share.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) clients: u16,
    /// The keys are there already, from a run with the same --keys and --value-bytes.
    #[arg(long)]
    pub(crate) skip_load: bool,
}

/// `load`
#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    #[command(flatten)]
    pub(crate) bench: BenchArguments,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    #[command(flatten)]
    pub(crate) deployment: DeploymentArguments,
}

/// `ycsb`
#[derive(Debug, Args)]
pub(crate) struct YcsbArguments {
    /// Core workloads of YCSB: one, or several with commas, run one after the other on what the former ones left.
    #[arg(required = true, value_delimiter = ',', value_parser = core_workload())]
    workloads: Vec<Bench>,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    #[command(flatten)]
    pub(crate) deployment: DeploymentArguments,
}

impl YcsbArguments {
    /// The workloads, in order.
    pub(crate) fn recipes(&self) -> Vec<Recipe> {
        let recipe = |bench: &Bench| Recipe::new(*bench, 1.0, None);
        self.workloads.iter().map(recipe).collect()
    }
}

/// The peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Three members of the etcd in the PATH.
    Etcd,
    /// One node of the Redis in the PATH, not replicated, that syncs its append-only file before each reply.
    Redis,
}

/// `compare`
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    #[command(flatten)]
    pub(crate) bench: BenchArguments,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    /// Beside whom.
    #[arg(long, value_enum)]
    pub(crate) peer: Peer,
    /// Turns of each system; medians are taken over them.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: u16,
    /// A deployment that runs already, instead of one started here.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["margate", "port_base", "shards"])]
    pub(crate) endpoints: Vec<SocketAddr>,
    /// Seconds without load before each turn.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECS")]
    pub(crate) settle: Duration,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}

fn core_workload() -> impl TypedValueParser<Value = Bench> {
    let letters = PossibleValuesParser::new(["a", "b", "c", "d", "e", "f"]);
    letters.try_map(|letter| Bench::from_str(&format!("ycsb-{letter}"), false))
}

fn value_bytes(text: &str) -> Result<usize, String> {
    bounded(text, 0, VALUE_BYTES_MAX)
}

/// Operations under way.
pub(crate) fn in_flight(text: &str) -> Result<usize, String> {
    bounded(text, 1, IN_FLIGHT_MAX)
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "give a share between 0 and 1, such as 0.95".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Arguments, Command};
    use super::*;
    use clap::Parser;

    fn parse(line: &str) -> Command {
        let parsed = Arguments::try_parse_from(line.split_whitespace());
        parsed.unwrap_or_else(|error| panic!("{line}: {error}")).command
    }

    #[test]
    fn the_rate_chooses_the_loop() {
        for (line, pace) in [
            ("margate-perf load", Pace::Closed { in_flight: IN_FLIGHT }),
            ("margate-perf load --in-flight 7", Pace::Closed { in_flight: 7 }),
            (
                "margate-perf load --rate 5000",
                Pace::Open {
                    rate: 5000,
                    in_flight_max: IN_FLIGHT_OPEN,
                },
            ),
            (
                "margate-perf load --rate 5000 --in-flight 7",
                Pace::Open {
                    rate: 5000,
                    in_flight_max: 7,
                },
            ),
        ] {
            let Command::Load(arguments) = parse(line) else {
                panic!("{line} is a load")
            };
            assert_eq!(arguments.run.pace(), pace, "{line}");
        }
    }

    #[test]
    fn letters_are_ycsbs_workloads() {
        let Command::Ycsb(arguments) = parse("margate-perf ycsb a,e,f") else {
            panic!("it is ycsb")
        };
        let benches: Vec<Bench> = arguments.recipes().iter().map(Recipe::bench).collect();
        assert_eq!(benches, [Bench::YcsbA, Bench::YcsbE, Bench::YcsbF]);
    }

    #[test]
    fn each_bench_has_the_share_and_the_distribution_that_were_asked_for() {
        let Command::Load(arguments) = parse("margate-perf load --bench mixed,ycsb-d --keys-drawn zipfian --read-share 0.95") else {
            panic!("it is a load")
        };
        let told = |recipe: &Recipe| (recipe.bench(), recipe.keys_drawn(), recipe.read_share());
        let recipes: Vec<_> = arguments.bench.recipes().iter().map(told).collect();
        assert_eq!(
            recipes,
            [
                (Bench::Mixed, KeysDrawn::Zipfian, Some(0.95)),
                (Bench::YcsbD, KeysDrawn::Zipfian, None)
            ]
        );
    }
}
