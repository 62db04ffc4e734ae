//! What a development deployment consists of: nodes, cores, ports, shards.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use margate_net::limits::{ADMIN_PORT, CORES_MAX, NODES_MAX, PORT_BASE, PORTS_PER_NODE};
use serde::{Deserialize, Serialize};

use super::DevError;
use super::place::Place;
use crate::args::{DevArgs, Global, PortBase};
use crate::cmd::node::choice_name;
use crate::config::file::{AdminSection, ClusterNode, ClusterSection, FileConfig, LogSection, NodeSection};
use crate::config::settings::{REPLICATION, shard_bounds};
use crate::error::Failure;
use crate::key::show;
use crate::listen::listen;

/// Nodes, cores and ports, and where shards meet. The data directory keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Topology {
    replication: usize,
    bounds: Vec<String>,
    /// By node, then by core. Every node has the same number of cores, at least one.
    ports: Vec<Vec<u16>>,
    /// By node: where it answers over HTTP. Records of former versions have none: they are then where the rule puts them.
    #[serde(default)]
    admin: Vec<u16>,
}

impl Topology {
    /// From the flags, with defaults for those that are not there.
    pub(crate) fn asked_for(args: &DevArgs) -> Result<Self, Failure> {
        let nodes = count("nodes", args.nodes.unwrap_or(NODES), NODES_MAX)?;
        let cores = count("cores", args.cores.unwrap_or(CORES), CORES_MAX)?;
        let bounds = shard_bounds(args.shards, args.bounds.as_deref())?;
        let (ports, admin) = match args.port_base.unwrap_or(PortBase::From(PORT_BASE)) {
            PortBase::Auto => free_ports(nodes, cores)?,
            PortBase::From(base) => (
                ruled_ports(base, nodes, 0..cores)?,
                ruled_ports(base, nodes, ADMIN_PORT..ADMIN_PORT + 1)?.concat(),
            ),
        };
        Ok(Self {
            replication: REPLICATION.min(usize::from(nodes)),
            bounds: shown(&bounds),
            ports,
            admin,
        })
    }

    /// Nodes.
    pub(crate) fn nodes(&self) -> usize {
        self.ports.len()
    }

    /// Cores of each node.
    pub(crate) fn cores(&self) -> usize {
        self.ports.first().map_or(0, Vec::len)
    }

    /// Shards.
    pub(crate) fn shards(&self) -> usize {
        self.bounds.len() + 1
    }

    /// Address of every core, by node.
    pub(crate) fn addresses(&self) -> Vec<Vec<SocketAddr>> {
        self.ports
            .iter()
            .map(|ports| ports.iter().map(|port| loopback(*port)).collect())
            .collect()
    }

    /// Address where each node answers over HTTP.
    pub(crate) fn admins(&self) -> Vec<SocketAddr> {
        let ruled = |ports: &Vec<u16>| ports.first().map_or(0, |first| first.saturating_add(ADMIN_PORT));
        let ports: Vec<u16> = if self.admin.is_empty() {
            self.ports.iter().map(ruled).collect()
        } else {
            self.admin.clone()
        };
        ports.into_iter().map(loopback).collect()
    }

    /// Address of every node's first core.
    pub(crate) fn endpoints(&self) -> Vec<SocketAddr> {
        self.ports
            .iter()
            .filter_map(|ports| ports.first())
            .map(|port| loopback(*port))
            .collect()
    }

    /// Whether a record read from disk is one [`Topology::asked_for`] can have made.
    pub(crate) fn is_sound(&self) -> bool {
        let cores = self.cores();
        (1..=NODES_MAX).contains(&self.nodes())
            && (1..=CORES_MAX).contains(&cores)
            && self
                .ports
                .iter()
                .all(|ports| ports.len() == cores && ports.iter().all(|port| *port > 0))
            && (self.admin.is_empty() || self.admin.len() == self.nodes())
            && self.admin.iter().all(|port| *port > 0)
            && (1..=self.nodes()).contains(&self.replication)
            && shard_bounds(None, Some(&self.bounds)).is_ok()
    }

    /// Data that exist were made with this topology: flags may repeat it, not change it.
    pub(crate) fn check_agrees(&self, args: &DevArgs, dir: &Path) -> Result<(), Failure> {
        let differs = |what, recorded: String, asked: Option<String>| match asked {
            Some(asked) if asked != recorded => Err(DevError::Contradiction {
                dir: dir.to_owned(),
                what,
                recorded,
                asked,
            }),
            Some(_) | None => Ok(()),
        };
        differs("--nodes", self.nodes().to_string(), args.nodes.map(|nodes| nodes.to_string()))?;
        differs("--cores", self.cores().to_string(), args.cores.map(|cores| cores.to_string()))?;
        differs("--shards", self.shards().to_string(), args.shards.map(|shards| shards.to_string()))?;
        if args.bounds.is_some() {
            let asked = shown(&shard_bounds(args.shards, args.bounds.as_deref())?);
            differs("--bounds", self.bounds.join(","), Some(asked.join(",")))?;
        }
        let recorded = self.endpoints().first().map_or(0, SocketAddr::port);
        let asked = args.port_base.and_then(|base| match base {
            PortBase::Auto => None,
            PortBase::From(port) => Some(port),
        });
        Ok(differs("--port-base", recorded.to_string(), asked.map(|port| port.to_string()))?)
    }

    /// Finds a taken port before any node is started.
    pub(crate) fn check_ports_free(&self) -> Result<(), DevError> {
        let admins = self.admins().into_iter().map(|address| address.port());
        let mut all = self.ports.iter().flatten().copied().chain(admins);
        all.try_for_each(|port| take(port).map(|_| ()))
    }

    /// Each node's configuration, in order; `shares` are the CPUs of each, without them nothing is pinned.
    pub(crate) fn configs(&self, global: &Global, place: &Place, shares: Option<&[Vec<usize>]>) -> Vec<FileConfig> {
        let cluster = ClusterSection {
            shards: None,
            bounds: Some(self.bounds.clone()),
            replication: Some(self.replication),
            nodes: Some(self.cluster_nodes()),
        };
        let log = LogSection {
            level: choice_name(&global.log_level.unwrap_or(crate::args::LogLevel::Warn)),
            format: global.log_format.as_ref().and_then(choice_name),
        };
        let section = |(id, position): (u64, usize)| NodeSection {
            id: Some(id),
            data: Some(place.node_dir(id).join("data")),
            pin: Some(shares.is_some()),
            cpus: shares.and_then(|shares| shares.get(position).cloned()),
            insecure: None,
            volatile: None,
            listen: None,
        };
        let admin = |address: SocketAddr| AdminSection {
            listen: Some(address.to_string()),
            stall: None,
        };
        let nodes = (1u64..).zip(0..self.nodes()).zip(self.admins());
        nodes
            .map(|(node, address)| FileConfig {
                node: section(node),
                cluster: cluster.clone(),
                admin: admin(address),
                log: log.clone(),
                ..FileConfig::default()
            })
            .collect()
    }

    fn cluster_nodes(&self) -> Vec<ClusterNode> {
        let cores = |addresses: Vec<SocketAddr>| addresses.iter().map(SocketAddr::to_string).collect();
        (1u64..)
            .zip(self.addresses())
            .map(|(id, addresses)| ClusterNode {
                id,
                cores: cores(addresses),
            })
            .collect()
    }
}

fn count(flag: &'static str, count: u16, max: usize) -> Result<u16, DevError> {
    let max = u16::try_from(max).unwrap_or(u16::MAX);
    if (1..=max).contains(&count) {
        Ok(count)
    } else {
        Err(DevError::Count { flag, count, max })
    }
}

/// The port rule: node N's core C listens on base + 100 * (N - 1) + C, and the node answers over HTTP as if it had a core 90.
fn ruled_ports(base: u16, nodes: u16, places: Range<u16>) -> Result<Vec<Vec<u16>>, DevError> {
    let port = |node: u16, place: u16| node.checked_mul(PORTS_PER_NODE)?.checked_add(base)?.checked_add(place);
    (0..nodes)
        .map(|node| places.clone().map(|place| port(node, place)).collect())
        .collect::<Option<_>>()
        .ok_or(DevError::PortRange { base, nodes })
}

/// Ports nobody uses right now, of cores and of nodes. All are held until all are found, so that no port comes twice.
fn free_ports(nodes: u16, cores: u16) -> Result<(Vec<Vec<u16>>, Vec<u16>), DevError> {
    let mut held = Vec::new();
    let mut free = || {
        let listener = take(0)?;
        let address = listener.local_addr().map_err(|source| DevError::Port { port: 0, source })?;
        held.push(listener);
        Ok(address.port())
    };
    let of_cores = (0..nodes)
        .map(|_| (0..cores).map(|_| free()).collect())
        .collect::<Result<_, DevError>>()?;
    let of_nodes = (0..nodes).map(|_| free()).collect::<Result<_, DevError>>()?;
    Ok((of_cores, of_nodes))
}

fn take(port: u16) -> Result<TcpListener, DevError> {
    listen(loopback(port)).map_err(|source| DevError::Port { port, source })
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn shown(bounds: &[Bytes]) -> Vec<String> {
    bounds.iter().map(|bound| show(bound)).collect()
}

const NODES: u16 = 3;
const CORES: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> DevArgs {
        DevArgs {
            nodes: None,
            cores: None,
            shards: None,
            bounds: None,
            port_base: None,
            data: "data".into(),
            fresh: false,
            volatile: false,
        }
    }

    #[test]
    fn ports_follow_the_rule() {
        let mut asked = args();
        asked.cores = Some(2);
        let topology = Topology::asked_for(&asked).expect("valid");
        assert_eq!(topology.ports, [[7_400, 7_401], [7_500, 7_501], [7_600, 7_601]]);
        assert_eq!((topology.shards(), topology.replication), (4, 3));
        assert!(topology.is_sound());
        let admins: Vec<u16> = topology.admins().iter().map(SocketAddr::port).collect();
        assert_eq!(admins, [7_490, 7_590, 7_690]);
        assert!(matches!(ruled_ports(65_500, 2, 0..1), Err(DevError::PortRange { .. })));
        assert!(ruled_ports(65_435, 2, 0..1).is_ok());
    }

    #[test]
    fn a_record_without_admin_ports_has_them_by_the_rule() {
        let topology = Topology::asked_for(&args()).expect("valid");
        let former = Topology {
            admin: Vec::new(),
            ..topology.clone()
        };
        assert!(former.is_sound());
        assert_eq!(former.admins(), topology.admins());
    }

    #[test]
    fn automatic_ports_differ_and_are_free() {
        let mut asked = args();
        asked.port_base = Some(PortBase::Auto);
        asked.cores = Some(4);
        let topology = Topology::asked_for(&asked).expect("valid");
        let admins = topology.admins().into_iter().map(|address| address.port());
        let distinct: std::collections::BTreeSet<u16> = topology.ports.iter().flatten().copied().chain(admins).collect();
        assert_eq!(distinct.len(), 15);
        assert!(topology.is_sound());
    }

    #[test]
    fn flags_may_repeat_the_record_but_not_contradict_it() {
        let mut asked = args();
        asked.bounds = Some(vec!["g".to_owned(), "0x74".to_owned()]);
        let recorded = Topology::asked_for(&asked).expect("valid");
        let agrees = |asked: &DevArgs| recorded.check_agrees(asked, Path::new("data"));
        assert!(agrees(&args()).is_ok());
        let mut same = args();
        (same.nodes, same.shards, same.port_base) = (Some(3), Some(3), Some(PortBase::From(7_400)));
        same.bounds = Some(vec!["g".to_owned(), "t".to_owned()]);
        assert!(agrees(&same).is_ok());
        let mut other = args();
        other.nodes = Some(5);
        let refused = agrees(&other).expect_err("five are not three").to_string();
        assert!(refused.contains("--nodes 3, and 5 is asked for"), "{refused}");
        let mut other = args();
        other.port_base = Some(PortBase::From(8_000));
        assert!(agrees(&other).is_err());
    }

    #[test]
    fn counts_out_of_range_are_refused() {
        let mut asked = args();
        asked.nodes = Some(0);
        assert!(Topology::asked_for(&asked).is_err());
        asked.nodes = Some(1);
        asked.cores = Some(65);
        assert!(Topology::asked_for(&asked).is_err());
    }
}
