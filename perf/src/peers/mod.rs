//! The systems beside which margate is measured, each at its durable defaults.
//!
//! `etcd*` is three members and a quorum, the like of margate. `redis*` is one node, not replicated: what a single
//! process does that syncs its log before it answers, and called so wherever it is named. Its client is our own
//! (`resp`, `redis_connection`): four commands of a small protocol, for which the usual library would bring thirty others.
//!
//! Not here, on purpose: tuning a peer beyond its durable defaults, except for the client's connections, where the
//! peer gets whatever suits it best, and for work that only slows it.

pub(crate) mod etcd;
pub(crate) mod etcd_cluster;
pub(crate) mod etcd_members;
pub(crate) mod raft_engine;
pub(crate) mod redis;
pub(crate) mod redis_connection;
pub(crate) mod redis_node;
mod resp;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use crate::error::PerfError;
use crate::report::line::SystemFacts;
use crate::target::Target;

/// Time for a peer to serve after its start.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(100);

/// A running peer; dropping it ends it.
pub(crate) trait PeerSystem: Sized {
    /// Connections to it.
    type Client: Target;
    /// How many, and to whom.
    type Layout: Copy + fmt::Display;

    /// Its name.
    const NAME: &'static str;
    /// Whether it keeps keys in order, so that they can be scanned.
    const ORDERED: bool;

    /// Starts it with its data below `dir` and waits until it serves.
    ///
    /// # Errors
    /// It does not start, or not in time.
    fn start(dir: &Path) -> impl Future<Output = Result<Self, PerfError>>;

    /// Layouts to be tried with so many operations under way.
    fn layouts(in_flight: usize) -> Vec<Self::Layout>;

    /// A middling one.
    fn layout_for_loading() -> Self::Layout;

    /// Connects.
    ///
    /// # Errors
    /// It does not answer.
    fn connect(&self, layout: Self::Layout) -> impl Future<Output = Result<Self::Client, PerfError>>;

    /// What its result lines say.
    fn facts(&self, client: &Self::Client) -> SystemFacts;

    /// Its processes.
    fn pids(&self) -> Vec<u32>;

    /// An error if a process of it has ended.
    ///
    /// # Errors
    /// [`PerfError::Ended`].
    fn check(&mut self) -> Result<(), PerfError>;
}

/// 1, 8 and 64 connections; never more than operations in flight.
fn connections_tried(in_flight: usize) -> impl Iterator<Item = usize> {
    [1, 8, 64].into_iter().filter(move |connections| *connections <= in_flight)
}
