//! Merging and checking: from what file and flags say to what the engine is started with.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use margate_engine::config::NodeConfig;
use margate_engine::log::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use margate_net::ids::NodeId;
use margate_net::limits::{CORES_MAX, KEY_BYTES_MAX, NODES_MAX, SHARDS_MAX};
use margate_net::map::MapNode;

use super::admin;
use super::file::{AdminSection, ClusterNode, ClusterSection, FileConfig, FileError, LogSection, NodeSection, RaftSection, StorageSection};
use crate::args::{LogFormat, LogLevel};
use crate::bounds;
use crate::key::Key;
use crate::units::{parse_duration, parse_size};

/// A node's whole configuration, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What the engine is started with.
    pub(crate) node: NodeConfig,
    /// CPUs the node is confined to; `None` leaves it where it was started.
    pub(crate) cpus: Option<Vec<usize>>,
    /// Where it answers whoever looks at it, if anywhere.
    pub(crate) admin: Option<SocketAddr>,
    /// How much is logged.
    pub(crate) log_level: LogLevel,
    /// In which form.
    pub(crate) log_format: LogFormat,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file is wrong.
    #[error("{0}")]
    File(#[from] FileError),
    /// A key that has no default is not set anywhere.
    #[error("{key} is not set; give it in the file, as {env}, or as {flag}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Its environment variable.
        env: &'static str,
        /// Its flag.
        flag: &'static str,
    },
    /// A key's value cannot be used.
    #[error("{key} is {value:?}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// As it was given.
        value: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The node's own id is not in the list of nodes.
    #[error("node.id is {id}, but cluster.nodes lists {known}; add the node there or correct its id")]
    NotListed {
        /// This node.
        id: u64,
        /// The ids that are listed.
        known: String,
    },
    /// An address others can reach, before there is encryption.
    #[error("{address} is not a loopback address, and connections are not encrypted yet; pass --insecure if the network is yours alone")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// A `MARGATE_…__…` variable does not exist.
    #[error("the environment sets {name}, which is not known; {help}")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The nearest one that exists, or all of them.
        help: String,
    },
}

/// Lays flags (and their environment twins) over a file and checks the result.
pub(crate) fn resolve(file: FileConfig, flags: FileConfig, bootstrap: bool) -> Result<Settings, ConfigError> {
    let merged = overlay(file, flags);
    let nodes = nodes(&merged.cluster)?;
    let id = own_id(&merged.node, &nodes)?;
    let insecure = merged.node.insecure.unwrap_or(false);
    let listen = listen(merged.node.listen.as_deref(), id, &nodes)?;
    let bound = bound(&nodes, id, &listen);
    let admin = admin::listen(merged.admin.listen.as_deref(), &bound)?;
    check_loopback(bound.into_iter().chain(admin), insecure)?;
    let (tick_ms, election_ticks) = timing(&merged.raft)?;
    Ok(Settings {
        node: NodeConfig {
            node: id,
            data: merged.node.data.ok_or(MISSING_DATA)?,
            bounds: shard_bounds(merged.cluster.shards, merged.cluster.bounds.as_deref())?,
            replication: replication(merged.cluster.replication, nodes.len())?,
            nodes,
            listen,
            bootstrap,
            pin: merged.node.pin.unwrap_or(true),
            insecure,
            volatile: merged.node.volatile.unwrap_or(false),
            tick_ms,
            election_ticks,
            stall_ms: admin::stall_ms(merged.admin.stall.as_deref())?,
            segment_bytes: segment_bytes(merged.storage.segment_size.as_deref().unwrap_or(SEGMENT_SIZE))?,
            reserve_bytes: merged
                .storage
                .reserve
                .as_deref()
                .map(|text| size("storage.reserve", text))
                .transpose()?,
            index_map_bytes: index_map_bytes(merged.storage.index_map_size.as_deref().unwrap_or(INDEX_MAP_SIZE))?,
        },
        cpus: merged.node.cpus,
        admin,
        log_level: choice("log.level", merged.log.level.as_deref())?.unwrap_or(LogLevel::Info),
        log_format: choice("log.format", merged.log.format.as_deref())?.unwrap_or(LogFormat::Text),
    })
}

/// The inner bounds between shards, from a count, from the bounds themselves, or from both if they agree.
pub(crate) fn shard_bounds(shards: Option<u32>, given: Option<&[String]>) -> Result<Vec<Bytes>, ConfigError> {
    let count = shards.unwrap_or(SHARDS);
    let in_range = usize::try_from(count).is_ok_and(|count| (1..=SHARDS_MAX).contains(&count));
    if !in_range {
        return Err(value(
            "cluster.shards",
            count,
            format!("between 1 and {SHARDS_MAX} shards are possible"),
        ));
    }
    let Some(given) = given else {
        return Ok(bounds::even(count));
    };
    if shards.is_some_and(|shards| u64::from(shards) != given.len() as u64 + 1) {
        let problem = format!("{} bounds make {} shards; leave one of the two out", given.len(), given.len() + 1);
        return Err(value("cluster.shards", count, problem));
    }
    parse_bounds(given)
}

fn parse_bounds(given: &[String]) -> Result<Vec<Bytes>, ConfigError> {
    let mut bounds: Vec<Bytes> = Vec::with_capacity(given.len());
    for text in given {
        let refuse = |problem: String| value("cluster.bounds", text, problem);
        let Key(bound) = Key::parse(text.clone().into_bytes()).map_err(|error| refuse(error.to_string()))?;
        if bound.is_empty() || bound.len() > KEY_BYTES_MAX {
            return Err(refuse(format!("a bound has between 1 and {KEY_BYTES_MAX} bytes")));
        }
        if bounds.last().is_some_and(|last| *last >= bound) {
            return Err(refuse(
                "it is not above the bound before it; give bounds in rising order".to_owned(),
            ));
        }
        bounds.push(bound);
    }
    if bounds.len() >= SHARDS_MAX {
        return Err(value(
            "cluster.bounds",
            bounds.len(),
            format!("at most {SHARDS_MAX} shards are possible"),
        ));
    }
    Ok(bounds)
}

fn overlay(under: FileConfig, over: FileConfig) -> FileConfig {
    FileConfig {
        node: NodeSection {
            id: over.node.id.or(under.node.id),
            data: over.node.data.or(under.node.data),
            pin: over.node.pin.or(under.node.pin),
            cpus: over.node.cpus.or(under.node.cpus),
            insecure: over.node.insecure.or(under.node.insecure),
            volatile: over.node.volatile.or(under.node.volatile),
            listen: over.node.listen.or(under.node.listen),
        },
        cluster: overlay_cluster(under.cluster, over.cluster),
        raft: RaftSection {
            tick: over.raft.tick.or(under.raft.tick),
            election: over.raft.election.or(under.raft.election),
        },
        storage: StorageSection {
            segment_size: over.storage.segment_size.or(under.storage.segment_size),
            index_map_size: over.storage.index_map_size.or(under.storage.index_map_size),
            reserve: over.storage.reserve.or(under.storage.reserve),
        },
        admin: AdminSection {
            listen: over.admin.listen.or(under.admin.listen),
            stall: over.admin.stall.or(under.admin.stall),
        },
        log: LogSection {
            level: over.log.level.or(under.log.level),
            format: over.log.format.or(under.log.format),
        },
    }
}

/// `shards` and `bounds` say the same thing, so one given above hides both below.
fn overlay_cluster(under: ClusterSection, over: ClusterSection) -> ClusterSection {
    let cut_above = over.shards.is_some() || over.bounds.is_some();
    ClusterSection {
        shards: if cut_above { over.shards } else { under.shards },
        bounds: if cut_above { over.bounds } else { under.bounds },
        replication: over.replication.or(under.replication),
        nodes: over.nodes.or(under.nodes),
    }
}

fn nodes(cluster: &ClusterSection) -> Result<Vec<MapNode>, ConfigError> {
    let listed = cluster.nodes.as_deref().filter(|nodes| !nodes.is_empty()).ok_or(MISSING_NODES)?;
    if listed.len() > NODES_MAX {
        return Err(value(
            "cluster.nodes",
            listed.len(),
            format!("at most {NODES_MAX} nodes are possible"),
        ));
    }
    let (mut ids, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    listed
        .iter()
        .map(|node| {
            if node.id == 0 || !ids.insert(node.id) {
                return Err(value("cluster.nodes", node.id, "ids start at 1 and are used once"));
            }
            cores(node, &mut addresses)
        })
        .collect()
}

fn cores(node: &ClusterNode, taken: &mut BTreeSet<SocketAddr>) -> Result<MapNode, ConfigError> {
    if !(1..=CORES_MAX).contains(&node.cores.len()) {
        let problem = format!("node {} must have between 1 and {CORES_MAX} cores", node.id);
        return Err(value("cluster.nodes", node.cores.len(), problem));
    }
    let address = |text: &String| {
        let address: SocketAddr = text
            .parse()
            .map_err(|_| value("cluster.nodes", text, "write a core as IP:PORT, like 127.0.0.1:7400"))?;
        if address.port() == 0 || !taken.insert(address) {
            return Err(value("cluster.nodes", text, "every core needs an address and port of its own"));
        }
        Ok(address)
    };
    Ok(MapNode {
        id: NodeId(node.id),
        cores: node.cores.iter().map(address).collect::<Result<_, _>>()?,
    })
}

fn own_id(section: &NodeSection, nodes: &[MapNode]) -> Result<NodeId, ConfigError> {
    let id = section.id.ok_or(MISSING_ID)?;
    if nodes.iter().any(|node| node.id.0 == id) {
        return Ok(NodeId(id));
    }
    let known: Vec<String> = nodes.iter().map(|node| node.id.to_string()).collect();
    Err(ConfigError::NotListed {
        id,
        known: known.join(", "),
    })
}

/// Where the cores listen if they are told so: behind a proxy that is not where others reach them.
fn listen(given: Option<&[String]>, own: NodeId, nodes: &[MapNode]) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let cores = nodes.iter().find(|node| node.id == own).map_or(0, |node| node.cores.len());
    if given.len() != cores {
        let problem = format!("the node has {cores} cores in cluster.nodes; give an address for each, or leave it out");
        return Err(value("node.listen", given.join(","), problem));
    }
    let mut taken = BTreeSet::new();
    let address = |text: &String| {
        let address: Option<SocketAddr> = text.parse().ok();
        let address = address.filter(|address| address.port() != 0 && taken.insert(*address));
        address.ok_or_else(|| {
            value(
                "node.listen",
                text,
                "write one IP:PORT for each core, like 127.0.0.1:7400, each once",
            )
        })
    };
    given.iter().map(address).collect()
}

/// The addresses that the node's cores bind.
fn bound(nodes: &[MapNode], own: NodeId, listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let reached = nodes.iter().filter(|node| node.id == own).flat_map(|node| &node.cores);
    reached.filter(|_| listen.is_empty()).chain(listen).copied().collect()
}

fn check_loopback(mut bound: impl Iterator<Item = SocketAddr>, insecure: bool) -> Result<(), ConfigError> {
    match bound.find(|address| !insecure && !address.ip().is_loopback()) {
        Some(address) => Err(ConfigError::NotLoopback { address }),
        None => Ok(()),
    }
}

fn timing(raft: &RaftSection) -> Result<(u32, u32), ConfigError> {
    let tick_text = raft.tick.as_deref().unwrap_or(TICK);
    let election_text = raft.election.as_deref().unwrap_or(ELECTION);
    let tick = duration("raft.tick", tick_text)?;
    let election = duration("raft.election", election_text)?;
    let tick_ms = u32::try_from(tick.as_millis()).ok().filter(|millis| (1..=60_000).contains(millis));
    let tick_ms = tick_ms.ok_or_else(|| value("raft.tick", tick_text, "it must be between 1ms and 60s"))?;
    let ticks = u32::try_from(election.as_millis() / u128::from(tick_ms)).ok();
    let whole = election.as_millis().is_multiple_of(u128::from(tick_ms));
    match ticks.filter(|ticks| whole && (ELECTION_TICKS_MIN..=ELECTION_TICKS_MAX).contains(ticks)) {
        Some(ticks) => Ok((tick_ms, ticks)),
        None => Err(value(
            "raft.election",
            election_text,
            format!("it must be a whole number of ticks ({tick_text}), from {ELECTION_TICKS_MIN} to {ELECTION_TICKS_MAX} of them"),
        )),
    }
}

fn replication(given: Option<usize>, nodes: usize) -> Result<usize, ConfigError> {
    let wanted = given.unwrap_or_else(|| REPLICATION.min(nodes));
    if (1..=nodes).contains(&wanted) {
        Ok(wanted)
    } else {
        Err(value(
            "cluster.replication",
            wanted,
            format!("there are {nodes} nodes, so it must be between 1 and {nodes}"),
        ))
    }
}

fn segment_bytes(text: &str) -> Result<u32, ConfigError> {
    let (low, high) = (SEGMENT_BYTES_MIN >> 20, SEGMENT_BYTES_MAX >> 20);
    let problem = format!("it must be a multiple of 4KiB, from {low}MiB to {high}MiB");
    let bytes = size("storage.segment_size", text)?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| bytes.is_multiple_of(4_096) && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(bytes))
        .ok_or_else(|| value("storage.segment_size", text, problem))
}

fn index_map_bytes(text: &str) -> Result<usize, ConfigError> {
    let bytes = size("storage.index_map_size", text)?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| bytes.is_multiple_of(4_096) && *bytes >= INDEX_MAP_BYTES_MIN)
        .ok_or_else(|| value("storage.index_map_size", text, "it must be a multiple of 4KiB, at least 16MiB"))
}

pub(super) fn duration(key: &'static str, text: &str) -> Result<Duration, ConfigError> {
    parse_duration(text).map_err(|error| value(key, text, error.to_string()))
}

fn size(key: &'static str, text: &str) -> Result<u64, ConfigError> {
    parse_size(text).map_err(|error| value(key, text, error.to_string()))
}

fn choice<T: clap::ValueEnum>(key: &'static str, text: Option<&str>) -> Result<Option<T>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    T::from_str(text, false).map(Some).map_err(|_| {
        let known: Vec<String> = T::value_variants()
            .iter()
            .filter_map(clap::ValueEnum::to_possible_value)
            .map(|possible| possible.get_name().to_owned())
            .collect();
        value(key, text, format!("write one of {}", known.join(", ")))
    })
}

pub(super) fn value(key: &'static str, value: impl ToString, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        problem: problem.into(),
    }
}

const MISSING_ID: ConfigError = ConfigError::Missing {
    key: "node.id",
    env: "MARGATE_NODE__ID",
    flag: "--id",
};
const MISSING_DATA: ConfigError = ConfigError::Missing {
    key: "node.data",
    env: "MARGATE_NODE__DATA",
    flag: "--data",
};
const MISSING_NODES: ConfigError = ConfigError::Missing {
    key: "cluster.nodes",
    env: "MARGATE_CLUSTER__NODES",
    flag: "--nodes",
};

/// Shards unless told otherwise.
pub(crate) const SHARDS: u32 = 4;
/// Replicas of a shard unless told otherwise or there are fewer nodes.
pub(crate) const REPLICATION: usize = 3;
/// Ten ticks, five heartbeats, to an election: one or two that are lost do not start one.
const TICK: &str = "40ms";
const ELECTION: &str = "400ms";
/// Fewer would let one late heartbeat depose a leader.
const ELECTION_TICKS_MIN: u32 = 3;
const ELECTION_TICKS_MAX: u32 = 1_000;
const SEGMENT_SIZE: &str = "64MiB";
/// Address space, not disk or memory: the file is sparse.
const INDEX_MAP_SIZE: &str = "16GiB";
const INDEX_MAP_BYTES_MIN: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: u64, core: &str) -> ClusterNode {
        ClusterNode {
            id,
            cores: vec![core.to_owned()],
        }
    }

    fn base() -> FileConfig {
        let mut config = FileConfig::default();
        config.node.id = Some(1);
        config.node.data = Some("data".into());
        config.cluster.nodes = Some(vec![listed(1, "127.0.0.1:7400"), listed(2, "127.0.0.1:7500")]);
        config
    }

    fn refused(change: impl FnOnce(&mut FileConfig)) -> String {
        let mut config = base();
        change(&mut config);
        resolve(config, FileConfig::default(), false)
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn defaults_fill_what_nobody_says() {
        let settings = resolve(base(), FileConfig::default(), true).expect("valid");
        assert_eq!(settings.node.node, NodeId(1));
        assert_eq!(settings.node.bounds.len(), 3);
        assert_eq!(settings.node.replication, 2);
        assert_eq!((settings.node.tick_ms, settings.node.election_ticks), (40, 10));
        assert_eq!(settings.node.segment_bytes, 64 << 20);
        assert!(settings.node.bootstrap && settings.node.pin && !settings.node.insecure);
        assert_eq!(settings.log_level, LogLevel::Info);
    }

    #[test]
    fn flags_win_over_the_file() {
        let mut flags = FileConfig::default();
        flags.node.id = Some(2);
        flags.raft.tick = Some("10ms".into());
        flags.cluster.bounds = Some(vec!["m".into()]);
        flags.log.level = Some("debug".into());
        let mut file = base();
        file.raft.tick = Some("500ms".into());
        file.raft.election = Some("500ms".into());
        file.cluster.shards = Some(9);
        file.log.level = Some("error".into());
        let settings = resolve(file, flags, false).expect("valid");
        assert_eq!(settings.node.node, NodeId(2));
        assert_eq!((settings.node.tick_ms, settings.node.election_ticks), (10, 50));
        assert_eq!(settings.node.bounds, [Bytes::from_static(b"m")]);
        assert_eq!(settings.log_level, LogLevel::Debug);
    }

    #[test]
    fn refusals_name_the_key_and_what_would_be_right() {
        assert_eq!(
            refused(|config| config.node.id = None),
            "node.id is not set; give it in the file, as MARGATE_NODE__ID, or as --id"
        );
        assert_eq!(
            refused(|config| config.node.id = Some(7)),
            "node.id is 7, but cluster.nodes lists 1, 2; add the node there or correct its id"
        );
        assert_eq!(
            refused(|config| config.raft.election = Some("250ms".into())),
            "raft.election is \"250ms\": it must be a whole number of ticks (40ms), from 3 to 1000 of them"
        );
        assert_eq!(
            refused(|config| config.cluster.replication = Some(3)),
            "cluster.replication is \"3\": there are 2 nodes, so it must be between 1 and 2"
        );
        assert_eq!(
            refused(|config| config.log.format = Some("xml".into())),
            "log.format is \"xml\": write one of text, json"
        );
        for wrong in ["2MiB", "2GiB", "5001KiB"] {
            assert!(refused(|config| config.storage.segment_size = Some(wrong.into())).contains("from 4MiB to 1024MiB"));
        }
        assert!(refused(|config| config.cluster.bounds = Some(vec!["b".into(), "a".into()])).contains("rising order"));
        assert!(refused(|config| config.cluster.nodes = Some(vec![listed(1, "localhost")])).contains("IP:PORT"));
        let twice = vec![listed(1, "127.0.0.1:1"), listed(2, "127.0.0.1:1")];
        assert!(refused(|config| config.cluster.nodes = Some(twice)).contains("of its own"));
    }

    #[test]
    fn shards_and_bounds_must_agree() {
        assert!(shard_bounds(Some(2), Some(&["m".to_owned()])).is_ok());
        assert!(shard_bounds(Some(3), Some(&["m".to_owned()])).is_err());
        assert!(shard_bounds(Some(0), None).is_err());
        assert!(shard_bounds(None, Some(&[])).is_ok_and(|bounds| bounds.is_empty()));
    }

    #[test]
    fn a_node_listens_where_it_is_reached_or_where_it_is_told() {
        let settings = resolve(base(), FileConfig::default(), false).expect("valid");
        assert!(settings.node.listen.is_empty());
        let mut config = base();
        config.node.listen = Some(vec!["127.0.0.1:9000".into()]);
        // What others reach need not be loopback: a proxy is bound there, not the node.
        config.cluster.nodes = Some(vec![listed(1, "10.0.0.1:7400"), listed(2, "10.0.0.2:7400")]);
        let settings = resolve(config, FileConfig::default(), false).expect("valid");
        assert_eq!(settings.node.listen, ["127.0.0.1:9000".parse().expect("an address")]);
        let listening = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            refused(|config| config.node.listen = Some(addresses))
        };
        assert!(listening(&["127.0.0.1:1", "127.0.0.1:2"]).contains("has 1 cores"));
        assert!(listening(&["localhost"]).contains("IP:PORT"));
        assert!(listening(&["127.0.0.1:0"]).contains("IP:PORT"));
        assert!(listening(&["0.0.0.0:7400"]).contains("--insecure"));
    }

    #[test]
    fn only_loopback_is_bound_without_insecure() {
        let open = |config: &mut FileConfig| config.cluster.nodes = Some(vec![listed(1, "0.0.0.0:7400")]);
        assert!(refused(open).contains("--insecure"));
        let mut config = base();
        open(&mut config);
        config.node.insecure = Some(true);
        assert!(resolve(config, FileConfig::default(), false).is_ok());
    }
}
