//! `restart`: how long a node with a long log takes to be back.

use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use margate_net::ids::NodeId;
use margate_net::message::CoreStatus;
use tokio::time::sleep;

use super::{Verdict, scratch, turn};
use crate::driver::{Plan, drive};
use crate::error::PerfError;
use crate::margate::cores::{answers, has_applied, highest_commits};
use crate::margate::dev::{every_shard_led, late_after};
use crate::margate::nodes::Chosen;
use crate::margate::room::Holdings;
use crate::margate::started::{Shape, Started};
use crate::restart::arguments::RestartArguments;
use crate::restart::report::{Back, End, RestartReport};
use crate::workload::Workload;
use crate::workload::keys::{KEY_BYTES, key};

/// How often a node is asked whether it is back.
const POLL: Duration = Duration::from_millis(5);
/// Time for a node to be back.
const BACK_WITHIN: Duration = Duration::from_secs(300);
/// Longer than any restart: the load ends when it is dropped.
const LOAD: Duration = Duration::from_secs(86_400);

/// Fills the logs, restarts nodes in both ways in turn, and prints the times. Good only if they are within the limits that are given.
///
/// # Errors
/// There is too little room, the deployment does not start or does not come back.
pub(crate) async fn run(arguments: &RestartArguments) -> Result<Verdict, PerfError> {
    scratch::within(&arguments.start.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &RestartArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let log_bytes = u64::from(arguments.log_mib) << 20;
    let holdings = Holdings {
        // All of them live; what records take beside keys and values comes on top.
        keys: log_bytes.div_ceil((arguments.values.value_bytes + KEY_BYTES) as u64),
        value_bytes: arguments.values.value_bytes,
        cores: 1,
    };
    holdings.check_room(folder)?;
    let started = Started::start(&arguments.start, folder, Shape::USUAL).await?;
    let workload = arguments.values.workload(holdings.keys);
    turn::load_many(&started.target, &workload, key).await?;
    let mut run = Run {
        arguments,
        started,
        workload,
        phase: 0,
    };
    let (mut graceful, mut killed) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        graceful.push(run.after_stop().await?);
        killed.push(run.after_kill().await?);
    }
    let (graceful, killed) = (RestartReport::of(End::Graceful, &graceful), RestartReport::of(End::Killed, &killed));
    arguments.printed.output().emit(&graceful)?;
    arguments.printed.output().emit(&killed)?;
    let within = graceful.is_within(arguments.graceful_max_ms) && killed.is_within(arguments.killed_max_ms);
    Ok(Verdict::of(within))
}

struct Run<'a> {
    arguments: &'a RestartArguments,
    started: Started,
    workload: Arc<Workload>,
    phase: u64,
}

impl Run<'_> {
    async fn after_stop(&mut self) -> Result<Back, PerfError> {
        self.started.rest().await?;
        let chosen = self.started.nodes.leader(self.started.target.client(0)).await?;
        self.restart(&chosen, End::Graceful).await
    }

    async fn after_kill(&mut self) -> Result<Back, PerfError> {
        self.phase += 1;
        let plan = Plan::puts(usize::from(self.arguments.in_flight), LOAD, self.phase);
        let load = drive(self.started.target.clone(), self.workload.clone(), plan);
        let load = async {
            load.await?;
            pending::<Result<Infallible, PerfError>>().await
        };
        let secs_before = self.arguments.secs_before;
        let restarting = async {
            sleep(secs_before).await;
            let chosen = self.started.nodes.leader(self.started.target.client(0)).await?;
            self.restart(&chosen, End::Killed).await
        };
        tokio::select! {
            back = restarting => back,
            never = load => match never? {},
        }
    }

    /// Ends a node, starts it again, and waits until it serves.
    async fn restart(&mut self, chosen: &Chosen, end: End) -> Result<Back, PerfError> {
        let client = self.started.target.client(0).clone();
        let nodes = &mut self.started.nodes;
        let log_bytes = answers(&client)
            .await
            .iter()
            .filter(|core| core.node == chosen.node)
            .map(log_in_use)
            .sum();
        let ending = match end {
            End::Graceful => nodes.stop(chosen).await?,
            End::Killed => nodes.kill(chosen).await?,
        };
        let ended = ending.at.elapsed();
        let committed = highest_commits(&answers(&client).await);
        let executed = Instant::now();
        nodes.begin_again(&ending).await?;
        let mut answered = None;
        loop {
            let cores = answers(&client).await;
            if cores.iter().any(|core| core.node == chosen.node) {
                answered.get_or_insert_with(|| executed.elapsed());
            }
            if has_applied(&cores, chosen.node, &committed) && every_shard_led(&client).await {
                break;
            }
            nodes.check_all()?;
            late_after(executed, BACK_WITHIN, "a restarted node to serve", nodes.talk())?;
            sleep(POLL).await;
        }
        let serves = executed.elapsed();
        let back = Back {
            ended,
            answers: answered.unwrap_or(serves),
            serves,
            log_bytes,
        };
        tell(chosen.node, end, &back);
        Ok(back)
    }
}

/// Bytes of log that hold something.
fn log_in_use(core: &CoreStatus) -> u64 {
    core.log_bytes.saturating_sub(core.log_ready_bytes)
}

fn tell(node: NodeId, end: End, back: &Back) {
    let millis = |time: Duration| time.as_millis();
    eprintln!(
        "  node {node} {end:?}: gone after {} ms, answers {} ms and serves {} ms after exec",
        millis(back.ended),
        millis(back.answers),
        millis(back.serves)
    );
}
