//! The systems beside which margate is measured, each at its durable defaults.
//!
//! Not here, on purpose: tuning a peer beyond its durable defaults, except for the client's connections, where the
//! peer gets whatever suits it best.

pub(crate) mod etcd;
pub(crate) mod etcd_cluster;
pub(crate) mod etcd_members;

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
