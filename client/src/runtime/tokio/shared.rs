//! What all clones of a client share: the routing table, a link to every core, and the map's upkeep.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use margate_net::ids::{NodeId, ShardId};
use margate_net::map::Map;
use margate_net::message::Operation;
use rustc_hash::FxHashMap;
use tokio::sync::Mutex;

use crate::config::ClientConfig;
use crate::error::{ConnectError, Error, LinkFault};
use crate::moment::Moment;
use crate::retry::{Failure, backoff_span};
use crate::route::{Route, RoutingTable};

use super::dial::Dialer;
use super::link::Link;

/// See the module's text.
pub(super) struct Shared {
    pub(super) config: ClientConfig,
    pub(super) dialer: Arc<Dialer>,
    board: RwLock<Board>,
    closed: AtomicBool,
    /// When the last fetch of the map ended; held while one is under way, so that there is only one.
    fetched: Mutex<Moment>,
}

/// The table and the links, which belong together: a route's place is a link's ordinal.
struct Board {
    table: RoutingTable,
    links: Vec<Arc<Link>>,
}

/// Where an attempt goes.
#[derive(Clone)]
pub(super) struct Aim {
    pub(super) route: Route,
    pub(super) link: Arc<Link>,
}

impl Shared {
    /// Finds the deployment and its map.
    pub(super) async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        if config.endpoints.is_empty() {
            return Err(ConnectError::NoEndpoints);
        }
        let dialer = Arc::new(Dialer::new(config.connect_timeout, config.cluster));
        let map = first_map(&dialer, &config).await?;
        dialer.settle_cluster(map.cluster());
        let board = RwLock::new(Board::new(Arc::new(map), None, &dialer, &config));
        let fetched = Mutex::new(dialer.clock.now());
        let closed = AtomicBool::new(false);
        Ok(Self {
            config,
            dialer,
            board,
            closed,
            fetched,
        })
    }

    pub(super) fn map(&self) -> Arc<Map> {
        Arc::clone(self.board().table.map())
    }

    /// Where to send an operation; a list is cut to a shard.
    pub(super) fn aim(&self, operation: &mut Operation) -> Result<Aim, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let board = self.board();
        let reachable = |place: usize| board.links.get(place).is_some_and(|link| link.is_reachable());
        let route = board.table.aim(operation, reachable);
        let link = board.links.get(route.place).expect("a table's places are its board's links");
        Ok(Aim {
            route,
            link: Arc::clone(link),
        })
    }

    /// Takes in what a failure says about leaders.
    pub(super) fn learn(&self, shard: ShardId, node: NodeId, failure: &Failure) {
        self.board_mut().table.learn(shard, node, failure);
    }

    /// For someone who sends to many places at once: the table, unless the client is closed, and the link of
    /// each of its places. Nothing is learned and no map installed meanwhile.
    pub(super) fn with_board<T>(&self, use_board: impl FnOnce(Option<&RoutingTable>, &[Arc<Link>]) -> T) -> T {
        let board = self.board();
        let table = (!self.is_closed()).then_some(&board.table);
        use_board(table, &board.links)
    }

    /// Whether it takes no more operations.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Fetches the map, unless that was done since the moment named. Whether or not it worked out, the
    /// next attempt shows.
    pub(super) async fn refresh_map(&self, since: Moment) {
        let mut fetched = self.fetched.lock().await;
        if *fetched > since {
            return;
        }
        for address in self.addresses() {
            if let Ok(map) = self.dialer.ask_map(address).await {
                self.install(map);
                break;
            }
        }
        *fetched = self.dialer.clock.now();
    }

    /// Takes no more operations, waits for those that are open, then closes the connections.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let links = self.board().links.clone();
        for link in &links {
            link.retire();
        }
        let draining = async {
            for link in &links {
                link.drained().await;
            }
        };
        let _late = tokio::time::timeout(self.config.timeout, draining).await;
        for link in &links {
            link.stop();
        }
    }

    fn install(&self, map: Map) {
        let mut board = self.board_mut();
        if map.epoch() <= board.table.map().epoch() {
            return;
        }
        let fresh = Board::new(Arc::new(map), Some(&board), &self.dialer, &self.config);
        let gone = std::mem::replace(&mut *board, fresh);
        for link in gone.links {
            if !board.links.iter().any(|kept| Arc::ptr_eq(kept, &link)) {
                link.retire();
            }
        }
    }

    /// Everybody who may know the map: the endpoints given, then every node's first core.
    fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = self.config.endpoints.clone();
        let map = self.map();
        for address in map.nodes().iter().filter_map(|node| node.cores.first()) {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        addresses
    }

    fn board(&self) -> RwLockReadGuard<'_, Board> {
        self.board.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn board_mut(&self) -> RwLockWriteGuard<'_, Board> {
        self.board.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody waits any more: every operation's future holds the client.
        for link in &self.board().links {
            link.stop();
        }
    }
}

impl Board {
    /// Keeps the links to cores that are in both maps.
    fn new(map: Arc<Map>, before: Option<&Self>, dialer: &Arc<Dialer>, config: &ClientConfig) -> Self {
        let table = RoutingTable::new(map, before.map(|board| &board.table));
        let kept: FxHashMap<_, _> = before
            .iter()
            .flat_map(|board| &board.links)
            .map(|link| (link.place, link))
            .collect();
        let link_to = |place| match kept.get(place) {
            Some(link) => Arc::clone(link),
            None => Arc::new(Link::new(*place, Arc::clone(dialer), config.in_flight_bounded())),
        };
        let links = table.places().iter().map(link_to).collect();
        Self { table, links }
    }
}

/// Asks one endpoint after the other, round after round, until one gives a map.
async fn first_map(dialer: &Dialer, config: &ClientConfig) -> Result<Map, ConnectError> {
    let mut failures = Vec::new();
    let deadline = dialer.clock.instant(dialer.clock.now().plus(config.timeout));
    match tokio::time::timeout_at(deadline, any_map(dialer, &config.endpoints, &mut failures)).await {
        Ok(map) => Ok(map),
        Err(_elapsed) => Err(ConnectError::Unreachable {
            after: config.timeout,
            failures,
        }),
    }
}

async fn any_map(dialer: &Dialer, endpoints: &[SocketAddr], failures: &mut Vec<(SocketAddr, LinkFault)>) -> Map {
    let mut rounds = 0;
    loop {
        for address in endpoints {
            match dialer.ask_map(*address).await {
                Ok(map) => return map,
                Err(fault) => note(failures, *address, fault),
            }
        }
        rounds += 1;
        tokio::time::sleep(backoff_span(rounds, dialer.dice.roll())).await;
    }
}

/// Keeps the last fault of each endpoint.
fn note(failures: &mut Vec<(SocketAddr, LinkFault)>, address: SocketAddr, fault: LinkFault) {
    match failures.iter_mut().find(|(known, _)| *known == address) {
        Some((_, last)) => *last = fault,
        None => failures.push((address, fault)),
    }
}
