//! One look at a node: every core is asked at once and waited for no longer than a supervisor does.
//!
//! Not here, on purpose: what is made of it (`health`, `metrics`).

use std::collections::BTreeMap;
use std::time::Duration;

use margate_engine::runtime::vigil::Doing;
use margate_engine::runtime::watch::{CoreWatch, NodeWatch};
use margate_engine::types::Nanos;
use margate_net::ids::{CoreId, NodeId};
use margate_net::message::CoreStatus;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// How long a core is waited for: far longer than any turn, shorter than supervisors wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Looks at a node, one look at a time: however often it is asked for one, a core is asked no more often than it answers.
pub(super) struct Looker {
    watch: NodeWatch,
    /// Looks at each core that it did not answer in time.
    silences: Mutex<BTreeMap<CoreId, u64>>,
}

/// A node, as it is now.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// It.
    pub(super) node: NodeId,
    /// Whether it is a member of a deployment.
    pub(super) member: bool,
    /// Whether it was told to stop.
    pub(super) stopping: bool,
    /// How many cores it has.
    pub(super) cores: usize,
    /// Those that serve, or did.
    pub(super) serving: Vec<CoreView>,
}

/// A core, as it is now.
#[derive(Clone, Debug)]
pub(super) struct CoreView {
    /// It.
    pub(super) core: CoreId,
    /// What it says.
    pub(super) answer: Answer,
    /// Looks that it did not answer in time.
    pub(super) silences: u64,
    /// For how long it has not come round, if it does not.
    pub(super) stuck_for: Option<Nanos>,
    /// How often that was so.
    pub(super) stuck_times: u64,
    /// What it was doing when it said so last.
    pub(super) does: Doing,
}

/// What a core says.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// How it is.
    Status(Box<CoreStatus>),
    /// Nothing within [`PATIENCE`].
    Silence,
    /// Nothing ever again: it has stopped.
    Stopped,
}

impl Looker {
    /// Looks at this node.
    pub(super) fn new(watch: NodeWatch) -> Self {
        Self {
            watch,
            silences: Mutex::default(),
        }
    }

    /// One look.
    pub(super) async fn look(&self) -> View {
        let mut silences = self.silences.lock().await;
        let mut asking: JoinSet<CoreView> = self.watch.serving().into_iter().map(ask).collect();
        let mut serving = Vec::with_capacity(asking.len());
        while let Some(looked) = asking.join_next().await {
            // Nothing in it panics; the runtime is not shut down while it looks.
            let Ok(mut core) = looked else { continue };
            let silent = silences.entry(core.core).or_default();
            *silent += u64::from(matches!(core.answer, Answer::Silence));
            core.silences = *silent;
            serving.push(core);
        }
        serving.sort_by_key(|core| core.core);
        View {
            node: self.watch.node(),
            member: self.watch.is_member(),
            stopping: self.watch.is_stopping(),
            cores: self.watch.cores(),
            serving,
        }
    }
}

async fn ask(core: CoreWatch) -> CoreView {
    let answer = match tokio::time::timeout(PATIENCE, core.ask()).await {
        Ok(Some(status)) => Answer::Status(Box::new(status)),
        Ok(None) => Answer::Stopped,
        Err(_elapsed) => Answer::Silence,
    };
    CoreView {
        core: core.core(),
        answer,
        silences: 0,
        stuck_for: core.stuck_for(),
        stuck_times: core.stuck_times(),
        does: core.does(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use margate_net::message::{Readiness, ReplicaRole, ReplicaStatus};

    /// A core that answers: with these replicas, each of a shard of its own.
    pub(in crate::admin) fn answering(core: u16, replicas: &[Readiness]) -> CoreView {
        let replica = |(shard, readiness): (u64, &Readiness)| ReplicaStatus {
            readiness: *readiness,
            ..ReplicaStatus::new(
                margate_net::ids::ShardId(shard),
                margate_net::ids::ReplicaId(1),
                ReplicaRole::Follower,
            )
        };
        let status = CoreStatus {
            replicas: (1..).zip(replicas).map(replica).collect(),
            measures: Some(margate_net::measure::Measures::default()),
            ..CoreStatus::new(NodeId(1), CoreId(core))
        };
        CoreView {
            answer: Answer::Status(Box::new(status)),
            ..silent(core)
        }
    }

    /// A core that does not answer.
    pub(in crate::admin) fn silent(core: u16) -> CoreView {
        CoreView {
            core: CoreId(core),
            answer: Answer::Silence,
            silences: 3,
            stuck_for: None,
            stuck_times: 0,
            does: Doing::EndTurn,
        }
    }

    /// A member of a deployment with these cores.
    pub(in crate::admin) fn member(serving: Vec<CoreView>) -> View {
        View {
            node: NodeId(1),
            member: true,
            stopping: false,
            cores: serving.len(),
            serving,
        }
    }
}
