//! What a client can be told.
//!
//! Not here, on purpose: files and environment variables. The program that uses the client reads them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use margate_net::ids::ClusterId;
use margate_net::limits::{PORT_BASE, PORTS_PER_NODE};

/// How a client finds the deployment and how long it tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Any cores of the deployment: the first one that answers gives the map, which names the others.
    /// Default: the three nodes of `margate dev` on their usual ports.
    pub endpoints: Vec<SocketAddr>,
    /// The deployment that is meant; another one is refused. Default: whichever answers first.
    pub cluster: ClusterId,
    /// Time for one whole operation, tries and waiting included. Default: 5 seconds.
    pub timeout: Duration,
    /// Time to connect to one core and shake hands. Default: 1 second.
    pub connect_timeout: Duration,
    /// After this long without an answer a read is asked again, of another replica if one leads by then.
    /// Writes are never asked again. Default: 1 second.
    pub read_attempt_timeout: Duration,
    /// Operations on one connection that have no answer yet; more of them wait for room. It bounds memory:
    /// 4,096 writes of 1 MiB hold 4 GiB. Those of batch writers count apart ([`BatchWriterConfig`]).
    /// Default: 4,096; at least 1 and at most [`IN_FLIGHT_MAX`] are used.
    pub in_flight_max: usize,
}

impl ClientConfig {
    /// `in_flight_max` within what the client can do.
    pub(crate) fn in_flight_bounded(&self) -> usize {
        self.in_flight_max.clamp(1, IN_FLIGHT_MAX)
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        let endpoint = |node: u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_BASE + node * PORTS_PER_NODE);
        Self {
            endpoints: (0..3).map(endpoint).collect(),
            cluster: ClusterId::UNKNOWN,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            read_attempt_timeout: Duration::from_secs(1),
            in_flight_max: 4_096,
        }
    }
}

/// How much a batch writer takes before it makes its callers wait, and how long it tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchWriterConfig {
    /// Writes that have been handed over and have not ended; more wait for room. Default: 16,384; at least 1
    /// and at most [`IN_FLIGHT_MAX`] are used.
    pub in_flight_max: usize,
    /// Bytes of keys and values of those writes; one that is larger alone goes alone. It bounds memory: what was
    /// sent takes at most four times as much, and 16 MiB for each connection. Default: 32 MiB.
    pub in_flight_bytes_max: usize,
    /// Time for one write from when it was handed over, tries and waiting included. Default: 30 seconds,
    /// since who hands over many writes rather waits than fails.
    pub timeout: Duration,
    /// Failures that a summary names; more are only counted. Default: 100.
    pub failures_max: usize,
}

impl BatchWriterConfig {
    /// `in_flight_max` within what the client can do.
    pub(crate) fn in_flight_bounded(&self) -> usize {
        self.in_flight_max.clamp(1, IN_FLIGHT_MAX)
    }
}

impl Default for BatchWriterConfig {
    fn default() -> Self {
        Self {
            in_flight_max: 16_384,
            in_flight_bytes_max: 32 << 20,
            timeout: Duration::from_secs(30),
            failures_max: 100,
        }
    }
}

/// The most operations one connection or batch writer can have in flight; their bookkeeping then takes about
/// half a GiB.
pub const IN_FLIGHT_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_endpoints_are_those_of_a_three_node_dev_deployment() {
        let ports: Vec<u16> = ClientConfig::default().endpoints.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [7_400, 7_500, 7_600]);
    }
}
