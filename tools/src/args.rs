//! The command line: every command, flag and environment twin, declared once.
//!
//! Not here, on purpose: what the commands do (`cmd/`), and the checks on a node's configuration, which
//! are the same for flags and file (`config/`).

mod environment;
mod offline;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use self::offline::{CHECK_EXAMPLES, INSPECT_EXAMPLES};
pub(crate) use self::offline::{CheckArgs, InspectArgs, InspectWhat};
use crate::config::file::ClusterNode;
use crate::exit::EXIT_CODES;
use crate::key::Key;
use crate::units::parse_timeout;

/// A strongly consistent, range-sharded key/value store.
#[derive(Debug, Parser)]
#[command(name = "margate", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Cores of the deployment to ask first, HOST:PORT; by default those of `margate dev`
    #[arg(
        long,
        global = true,
        env = "MARGATE_ENDPOINTS",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        help_heading = "Connection"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Time for one operation, retries included
    #[arg(long, global = true, env = "MARGATE_TIMEOUT", default_value = "5s", value_parser = parse_timeout, help_heading = "Connection")]
    pub(crate) timeout: Duration,
    /// How results are printed on standard output
    #[arg(
        short,
        long,
        global = true,
        env = "MARGATE_OUTPUT",
        value_enum,
        default_value = "text",
        help_heading = "Output"
    )]
    pub(crate) output: OutputFormat,
    /// How much is logged on standard error
    #[arg(long, global = true, env = "MARGATE_LOG_LEVEL", value_enum, help_heading = "Output")]
    pub(crate) log_level: Option<LogLevel>,
    /// Form of the log on standard error
    #[arg(long, global = true, env = "MARGATE_LOG_FORMAT", value_enum, help_heading = "Output")]
    pub(crate) log_format: Option<LogFormat>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// One JSON document per row and line
    Jsonl,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// What needs a person
    Error,
    /// What may soon need one
    Warn,
    /// Starts, stops, connections of nodes, changes of members
    Info,
    /// Why things happened
    Debug,
    /// Everything
    Trace,
}

/// In which form it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON document per line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole deployment on this machine, to try it out
    #[command(after_help = DEV_EXAMPLES)]
    Dev(DevArgs),
    /// Run one node of a deployment
    #[command(after_help = NODE_EXAMPLES)]
    Node(Box<NodeArgs>),
    /// Show and verify the data directory of a stopped node
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
    /// Check whether this machine is fit to run a node
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Watch a running deployment: rates, latencies, leaders, disks
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// Ask a running deployment
    #[command(flatten)]
    Ask(Ask),
}

/// What to ask of a running deployment.
#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// Write a value
    #[command(after_help = SET_EXAMPLES)]
    Set(SetArgs),
    /// Read a value
    #[command(after_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// Delete a key; a missing one ends with code 3
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(DeleteArgs),
    /// Write a value only if another one stands (compare and exchange)
    #[command(after_help = CAS_EXAMPLES)]
    Cas(CasArgs),
    /// Print the size of a value in bytes
    #[command(after_help = SIZE_EXAMPLES)]
    Size(SizeArgs),
    /// List keys and values in order
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Show who leads, how far everyone has come, and sizes on disk
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
}

/// `margate dev`
#[derive(Debug, clap::Args)]
pub(crate) struct DevArgs {
    /// Nodes, one process each [default: 3]
    #[arg(long, value_name = "COUNT", help_heading = "Deployment")]
    pub(crate) nodes: Option<u16>,
    /// Cores of each node [default: 1]
    #[arg(long, value_name = "COUNT", help_heading = "Deployment")]
    pub(crate) cores: Option<u16>,
    /// Shards, which cut the key space evenly [default: 4]
    #[arg(long, value_name = "COUNT", help_heading = "Deployment")]
    pub(crate) shards: Option<u32>,
    /// Keys at which shards meet, instead of an even cut
    #[arg(long, value_name = "KEY", value_delimiter = ',', help_heading = "Deployment")]
    pub(crate) bounds: Option<Vec<String>>,
    /// First port of the first node; node N's core C listens on BASE + 100 * (N - 1) + C, and the node answers over HTTP 90 above
    /// its first core. `auto` asks the kernel for free ports [default: 7400]
    #[arg(long, value_name = "PORT|auto", value_parser = parse_port_base, help_heading = "Deployment")]
    pub(crate) port_base: Option<PortBase>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "./margate-data", help_heading = "Data")]
    pub(crate) data: PathBuf,
    /// Delete what a former `margate dev` left there, and start empty
    #[arg(long, help_heading = "Data")]
    pub(crate) fresh: bool,
    /// Let data lie on tmpfs: all of them are lost when the machine stops
    #[arg(long, help_heading = "Data")]
    pub(crate) volatile: bool,
}

/// `--port-base`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortBase {
    /// Any free ports.
    Auto,
    /// The port rule, from this port.
    From(u16),
}

/// `margate node`. Texts are parsed and checked together with the file's.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Configuration file (TOML); flags and environment win over it
    #[arg(long, env = "MARGATE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Create the deployment, once every other node has answered that it is empty. Give it to one node only
    #[arg(long)]
    pub(crate) bootstrap: bool,
    /// This node's id [node.id]
    #[arg(long, env = "MARGATE_NODE__ID", help_heading = "Node")]
    pub(crate) id: Option<u64>,
    /// This node's data directory [node.data]
    #[arg(long, env = "MARGATE_NODE__DATA", value_name = "DIR", help_heading = "Node")]
    pub(crate) data: Option<PathBuf>,
    /// Pin each core's thread to a CPU [node.pin, default: true]
    #[arg(long, env = "MARGATE_NODE__PIN", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Node")]
    pub(crate) pin: Option<bool>,
    /// CPUs this node may use [node.cpus, default: all]
    #[arg(long, env = "MARGATE_NODE__CPUS", value_name = "CPU", value_delimiter = ',', help_heading = "Node")]
    pub(crate) cpus: Option<Vec<usize>>,
    /// Listen on addresses others can reach, without encryption [node.insecure]
    #[arg(
        long,
        env = "MARGATE_NODE__INSECURE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Node"
    )]
    pub(crate) insecure: Option<bool>,
    /// Let data lie on tmpfs: all of them are lost when the machine stops [node.volatile]
    #[arg(
        long,
        env = "MARGATE_NODE__VOLATILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Node"
    )]
    pub(crate) volatile: Option<bool>,
    /// Where this node's cores listen, one address each, if that is not where cluster.nodes says they are reached [node.listen]
    #[arg(
        long,
        env = "MARGATE_NODE__LISTEN",
        value_name = "IP:PORT",
        value_delimiter = ',',
        help_heading = "Node"
    )]
    pub(crate) listen: Option<Vec<String>>,
    /// All nodes, each as ID=ADDRESS, one address per core joined by + [cluster.nodes]
    #[arg(
        long,
        env = "MARGATE_CLUSTER__NODES",
        value_name = "ID=IP:PORT[+IP:PORT]",
        value_delimiter = ',',
        value_parser = parse_cluster_node,
        help_heading = "Cluster"
    )]
    pub(crate) nodes: Option<Vec<ClusterNode>>,
    /// Shards, which cut the key space evenly [cluster.shards, default: 4]
    #[arg(long, env = "MARGATE_CLUSTER__SHARDS", value_name = "COUNT", help_heading = "Cluster")]
    pub(crate) shards: Option<u32>,
    /// Keys at which shards meet, instead of an even cut [cluster.bounds]
    #[arg(
        long,
        env = "MARGATE_CLUSTER__BOUNDS",
        value_name = "KEY",
        value_delimiter = ',',
        help_heading = "Cluster"
    )]
    pub(crate) bounds: Option<Vec<String>>,
    /// Replicas of each shard [cluster.replication, default: 3, or as many as there are nodes]
    #[arg(long, env = "MARGATE_CLUSTER__REPLICATION", value_name = "COUNT", help_heading = "Cluster")]
    pub(crate) replication: Option<usize>,
    /// Unit of the time between heartbeats and of raft.election [raft.tick, default: 40ms]
    #[arg(long, env = "MARGATE_RAFT__TICK", value_name = "TIME", help_heading = "Raft")]
    pub(crate) tick: Option<String>,
    /// Time without a leader until another one is elected, at least [raft.election, default: 400ms]
    #[arg(long, env = "MARGATE_RAFT__ELECTION", value_name = "TIME", help_heading = "Raft")]
    pub(crate) election: Option<String>,
    /// Size of a log segment [storage.segment_size, default: 64MiB]
    #[arg(long, env = "MARGATE_STORAGE__SEGMENT_SIZE", value_name = "SIZE", help_heading = "Storage")]
    pub(crate) segment_size: Option<String>,
    /// Largest size of a core's index [storage.index_map_size, default: 16GiB]
    #[arg(long, env = "MARGATE_STORAGE__INDEX_MAP_SIZE", value_name = "SIZE", help_heading = "Storage")]
    pub(crate) index_map_size: Option<String>,
    /// Free disk space that the logs leave to the indexes [storage.reserve, default: 2 segments and 128MiB for each core]
    #[arg(long, env = "MARGATE_STORAGE__RESERVE", value_name = "SIZE", help_heading = "Storage")]
    pub(crate) reserve: Option<String>,
    /// Where this node answers over HTTP how it is, or off [admin.listen, default: 90 above the first core's port, on loopback]
    #[arg(long, env = "MARGATE_ADMIN__LISTEN", value_name = "IP:PORT|off", help_heading = "Admin")]
    pub(crate) admin: Option<String>,
    /// How long a core may hear nobody before that is counted and logged, or off [admin.stall, default: 50ms]
    #[arg(long, env = "MARGATE_ADMIN__STALL", value_name = "TIME|off", help_heading = "Admin")]
    pub(crate) stall: Option<String>,
}

/// `margate set`
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The key: text, 0x… or b64:…
    #[arg(value_parser = Key::argument())]
    pub(crate) key: Key,
    /// The value, byte for byte as given
    #[arg(allow_negative_numbers = true, required_unless_present = "stdin", conflicts_with = "stdin")]
    pub(crate) value: Option<OsString>,
    /// Read the value from standard input
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Write only if the key does not exist
    #[arg(long, conflicts_with_all = ["modify_only", "at_version"], help_heading = "Conditions")]
    pub(crate) create_only: bool,
    /// Write only if the key exists
    #[arg(long, help_heading = "Conditions")]
    pub(crate) modify_only: bool,
    /// Write only if the key is at this version
    #[arg(long, value_name = "VERSION", help_heading = "Conditions")]
    pub(crate) at_version: Option<u64>,
    /// What to send back.
    #[command(flatten)]
    pub(crate) returning: ReturningArgs,
}

/// What a write sends back.
#[derive(Debug, clap::Args)]
pub(crate) struct ReturningArgs {
    /// Print the key as the server stored it
    #[arg(long, help_heading = "Output")]
    pub(crate) return_key: bool,
    /// Print the value that stood before
    #[arg(long, help_heading = "Output")]
    pub(crate) return_old_value: bool,
}

/// `margate get`
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The key: text, 0x… or b64:…
    #[arg(value_parser = Key::argument())]
    pub(crate) key: Key,
    /// Print the value without a newline after it
    #[arg(long, help_heading = "Output")]
    pub(crate) raw: bool,
    /// Let any replica answer: faster, perhaps old
    #[arg(long)]
    pub(crate) stale: bool,
    /// Read this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<u64>,
}

/// `margate delete`
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The key: text, 0x… or b64:…
    #[arg(value_parser = Key::argument())]
    pub(crate) key: Key,
    /// Delete only if the key is at this version
    #[arg(long, value_name = "VERSION", help_heading = "Conditions")]
    pub(crate) at_version: Option<u64>,
    /// What to send back.
    #[command(flatten)]
    pub(crate) returning: ReturningArgs,
}

/// `margate cas`
#[derive(Debug, clap::Args)]
pub(crate) struct CasArgs {
    /// The key: text, 0x… or b64:…
    #[arg(value_parser = Key::argument())]
    pub(crate) key: Key,
    /// The value that must stand, byte for byte as given
    #[arg(allow_negative_numbers = true)]
    pub(crate) expected: OsString,
    /// The value to write, byte for byte as given
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: OsString,
    /// What to send back.
    #[command(flatten)]
    pub(crate) returning: ReturningArgs,
}

/// `margate size`
#[derive(Debug, clap::Args)]
pub(crate) struct SizeArgs {
    /// The key: text, 0x… or b64:…
    #[arg(value_parser = Key::argument())]
    pub(crate) key: Key,
    /// Let any replica answer: faster, perhaps old
    #[arg(long)]
    pub(crate) stale: bool,
}

/// `margate list`
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only keys that start with this: text, 0x… or b64:…
    #[arg(long, value_name = "KEY", value_parser = Key::argument(), help_heading = "Range")]
    pub(crate) prefix: Option<Key>,
    /// Start at this key, or with --reverse go down from it
    #[arg(long, value_name = "KEY", value_parser = Key::argument(), help_heading = "Range")]
    pub(crate) from: Option<Key>,
    /// Rows to print at most [default: all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Range")]
    pub(crate) limit: Option<u64>,
    /// From the largest key down
    #[arg(long, help_heading = "Range")]
    pub(crate) reverse: bool,
    /// Print no values
    #[arg(long, help_heading = "Output")]
    pub(crate) keys_only: bool,
    /// Let any replica answer: faster, perhaps old
    #[arg(long)]
    pub(crate) stale: bool,
}

/// `margate status`
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Show how long operations took from stage to stage on each core since its start
    #[arg(long, help_heading = "Output")]
    pub(crate) stages: bool,
}

/// `margate top`
#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_timeout)]
    pub(crate) interval: Duration,
    /// Look twice, print the difference as plain tables, and end; also where standard output is no terminal
    #[arg(long)]
    pub(crate) once: bool,
}

/// Why a text is no `--nodes` element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a node as ID=IP:PORT with one address per core joined by +, like 1=127.0.0.1:7400+127.0.0.1:7401")]
pub(crate) struct ClusterNodeError;

/// Why a text is no `--port-base`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a port from 1 to 65535, or auto")]
pub(crate) struct PortBaseError;

fn parse_cluster_node(text: &str) -> Result<ClusterNode, ClusterNodeError> {
    let (id, cores) = text.split_once('=').ok_or(ClusterNodeError)?;
    Ok(ClusterNode {
        id: id.trim().parse().map_err(|_| ClusterNodeError)?,
        cores: cores.split('+').map(|core| core.trim().to_owned()).collect(),
    })
}

fn parse_port_base(text: &str) -> Result<PortBase, PortBaseError> {
    match text {
        "auto" => Ok(PortBase::Auto),
        port => port.parse().ok().filter(|port| *port > 0).map(PortBase::From).ok_or(PortBaseError),
    }
}

const DEV_EXAMPLES: &str = "\
Examples:
  margate dev                          three nodes on ports 7400, 7500 and 7600
  margate dev --nodes 1 --fresh        one node, nothing kept from before
  margate dev --bounds g,n,t           four shards, which meet at these keys
  margate dev --data /tmp/x --port-base auto

Ctrl-c stops all nodes; a second ctrl-c kills them. The data stay and are used by the next start.
DIR/dev.json says which processes serve on which addresses, and how to start each of them again.";
const NODE_EXAMPLES: &str = "\
Examples:
  margate node --config /etc/margate/margate.toml
  margate node --config node-1.toml --bootstrap
  margate node --id 1 --data /var/lib/margate --nodes 1=127.0.0.1:7400,2=127.0.0.1:7500,3=127.0.0.1:7600

Settings come from defaults, the file, the environment and flags; the later ones win. The environment
variable of a key is MARGATE_SECTION__KEY, like MARGATE_RAFT__TICK.";
const SET_EXAMPLES: &str = "\
Examples:
  margate set hello world
  margate set 0xff00 -- --looks-like-a-flag
  margate set photo --stdin < photo.jpg
  margate set hello again --at-version 17";
const GET_EXAMPLES: &str = "\
Examples:
  margate get hello
  margate get photo --raw > photo.jpg
  margate get hello -o json            {\"key\":…,\"key_encoding\":\"utf8\",\"value\":…,…}

In JSON every key and value has an encoding beside it: utf8, or base64 where it is not UTF-8.";
const DELETE_EXAMPLES: &str = "\
Examples:
  margate delete hello
  margate delete hello --at-version 17 --return-old-value";
const CAS_EXAMPLES: &str = "\
Examples:
  margate cas counter 41 42            ends with code 6 unless 41 stood";
const SIZE_EXAMPLES: &str = "\
Examples:
  margate size photo";
const LIST_EXAMPLES: &str = "\
Examples:
  margate list
  margate list --prefix user/ --keys-only
  margate list --from m --limit 10 -o jsonl

A page is consistent within each shard, not across shards. Text output prints key, tab, value; bytes
that are no plain text are printed as 0x…";
const STATUS_EXAMPLES: &str = "\
Examples:
  margate status
  margate status -o json
  margate status --stages              where the time of reads and writes went, since each core's start

Ends with code 0 only when every shard has a leader, else with 4. A stage's row says how long operations took to
reach it from the stage before; quantiles are at most an eighth too high.";
const TOP_EXAMPLES: &str = "\
Examples:
  margate top
  margate top --interval 5s
  margate top --once -o json

q ends it. Rates and latencies are those between two looks; a core that was started again meanwhile counts from its
start.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn nodes_are_read_from_one_text() {
        let node = parse_cluster_node("2=127.0.0.1:1+127.0.0.1:2").expect("valid");
        assert_eq!((node.id, node.cores.len()), (2, 2));
        assert_eq!(parse_cluster_node("127.0.0.1:1"), Err(ClusterNodeError));
    }

    #[test]
    fn port_bases_are_ports_or_auto() {
        assert_eq!(parse_port_base("auto"), Ok(PortBase::Auto));
        assert_eq!(parse_port_base("7400"), Ok(PortBase::From(7_400)));
        assert_eq!(parse_port_base("0"), Err(PortBaseError));
        assert_eq!(parse_port_base("70000"), Err(PortBaseError));
    }
}
