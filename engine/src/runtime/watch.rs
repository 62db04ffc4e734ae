//! Looking at a running node from outside its cores. A core is asked over a channel and answers on its own thread between two turns,
//! so that nothing it counts is shared.
//!
//! Not here, on purpose: what is made of the answers, and how long they are waited for; both are the watcher's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flume::{Receiver, Sender};
use margate_net::ids::{CoreId, NodeId};
use margate_net::message::CoreStatus;

use super::node::StopHandle;
use super::vigil::{Doing, Vigil};
use crate::types::Nanos;

/// Looks at one node; may be cloned and sent.
#[derive(Clone, Debug)]
pub struct NodeWatch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    node: NodeId,
    cores: usize,
    stop: StopHandle,
    member: AtomicBool,
    serving: Mutex<BTreeMap<CoreId, CoreWatch>>,
}

/// Looks at one core that serves, or did.
#[derive(Clone, Debug)]
pub struct CoreWatch {
    core: CoreId,
    asks: Sender<Ask>,
    vigil: Arc<Vigil>,
}

/// A question how a core is, and where the answer goes.
#[derive(Debug)]
pub struct Ask(Sender<CoreStatus>);

impl NodeWatch {
    /// For a node of so many cores, to be stopped with this handle, that is not a member of a deployment yet.
    #[must_use]
    pub fn new(node: NodeId, cores: usize, stop: StopHandle) -> Self {
        Self(Arc::new(Watched {
            node,
            cores,
            stop,
            member: AtomicBool::new(false),
            serving: Mutex::default(),
        }))
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// How many cores it has, whether they serve or have yet to.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.0.cores
    }

    /// Whether it is a member of a deployment.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.0.member.load(Ordering::Relaxed)
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_requested()
    }

    /// It has become a member.
    pub fn joined(&self) {
        self.0.member.store(true, Ordering::Relaxed);
    }

    /// The cores that serve, in order. Those that replay their log are not among them yet.
    #[must_use]
    pub fn serving(&self) -> Vec<CoreWatch> {
        let serving = self.0.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.values().cloned().collect()
    }

    /// A core begins to serve: it shall answer these.
    pub fn attach(&self, core: CoreId, vigil: Arc<Vigil>) -> Receiver<Ask> {
        // One that is not answered yet is enough: who else asks waits.
        let (asks, asked) = flume::bounded(1);
        let mut serving = self.0.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.insert(core, CoreWatch { core, asks, vigil });
        asked
    }
}

impl CoreWatch {
    /// Which core.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// How it is, with all it has measured; nothing if it has stopped. Waits for as long as it is busy.
    pub async fn ask(&self) -> Option<CoreStatus> {
        let (answer, answered) = flume::bounded(1);
        self.asks.send_async(Ask(answer)).await.ok()?;
        answered.recv_async().await.ok()
    }

    /// For how long it has not come round, if it does not.
    #[must_use]
    pub fn stuck_for(&self) -> Option<Nanos> {
        self.vigil.stuck_for()
    }

    /// How often that was so.
    #[must_use]
    pub fn stuck_times(&self) -> u64 {
        self.vigil.stuck_times()
    }

    /// What it was doing when it said so last.
    #[must_use]
    pub fn does(&self) -> Doing {
        self.vigil.does()
    }
}

impl Ask {
    /// Says how the core is.
    pub fn answer(self, status: CoreStatus) {
        // Who asked may have lost patience.
        let _ = self.0.try_send(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn who_asks_is_answered_or_told_that_the_core_is_gone() {
        let stop = StopHandle::default();
        let watch = NodeWatch::new(NodeId(1), 2, stop.clone());
        assert!(!watch.is_member() && !watch.is_stopping() && watch.serving().is_empty());
        stop.stop();
        assert!(watch.is_stopping());
        watch.joined();
        let asked = watch.attach(CoreId(1), Arc::default());
        let core = watch.serving().remove(0);
        let status = || CoreStatus::new(NodeId(1), CoreId(1));
        block_on(async {
            let mut first = Box::pin(core.ask());
            assert_eq!(poll_once(&mut first).await, None, "nobody has answered yet");
            // One who lost patience disturbs nobody.
            drop(first);
            let mut second = Box::pin(core.ask());
            assert_eq!(poll_once(&mut second).await, None);
            asked.recv_async().await.expect("the first question").answer(status());
            assert_eq!(poll_once(&mut second).await, None);
            asked.recv_async().await.expect("the second question").answer(status());
            assert_eq!(second.await, Some(status()));
            drop(asked);
            assert_eq!(core.ask().await, None);
        });
        assert!(watch.is_member() && watch.cores() == 2);
    }
}
