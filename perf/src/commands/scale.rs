//! `scale`: put throughput over numbers of keys, cores and shards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Verdict, scratch, turn};
use crate::args::shared::StartArguments;
use crate::driver::measured::Measured;
use crate::driver::{Plan, drive};
use crate::error::PerfError;
use crate::margate::room::Holdings;
use crate::margate::sizes::Sizes;
use crate::margate::started::{Shape, Started};
use crate::proc::cpu::Stretch;
use crate::scale::arguments::ScaleArguments;
use crate::scale::commits::Commits;
use crate::scale::line::ScaleLine;
use crate::scale::order::{self, InOrder};
use crate::scale::points::{Order, Point, points};
use crate::target::Target;
use crate::workload::Workload;
use crate::workload::keys::key;

/// Load before the seconds that count.
const WARMUP: Duration = Duration::from_secs(2);
/// Seconds that count, at most, however seldom indexes commit.
const WINDOW_MAX: Duration = Duration::from_secs(640);

/// Measures every point. Good if every write ended as it may and every index has committed often enough.
///
/// # Errors
/// There is too little room for the largest, or a deployment does not start or does not take the keys.
pub(crate) async fn run(arguments: &ScaleArguments) -> Result<Verdict, PerfError> {
    let points = points(arguments);
    let root = scratch::folder(&arguments.start.scratch.data_root, false)?;
    let holdings = points.iter().map(|point| holdings(arguments, point));
    if let Some(largest) = holdings.max_by_key(Holdings::disk_bytes) {
        largest.check_room(root.path())?;
    }
    drop(root);
    let (mut lines, mut verdict) = (Vec::new(), Verdict::Good);
    for point in points {
        let work = async |folder: &Path| measure(arguments, point, folder, &mut lines).await;
        verdict = verdict.and(scratch::within(&arguments.start.scratch, work).await?);
    }
    Ok(verdict)
}

fn holdings(arguments: &ScaleArguments, point: &Point) -> Holdings {
    Holdings {
        keys: point.keys,
        value_bytes: arguments.values.value_bytes,
        cores: point.cores,
    }
}

async fn measure(arguments: &ScaleArguments, point: Point, folder: &Path, lines: &mut Vec<ScaleLine>) -> Result<Verdict, PerfError> {
    let start = StartArguments {
        shards: point.shards,
        ..arguments.start.clone()
    };
    let shape = Shape {
        cores: point.cores,
        ..Shape::USUAL
    };
    let started = Started::start(&start, folder, shape).await?;
    let workload = arguments.values.workload(point.keys);
    let plan = Plan {
        warmup: WARMUP,
        ..Plan::puts(usize::from(arguments.in_flight), arguments.secs, 0)
    };
    let (measured, commits) = match point.order {
        Order::Uniform => {
            turn::load_many(&started.target, &workload, key).await?;
            overwrite(&started, &started.target, (&workload, plan), arguments.commits).await?
        }
        Order::Sequential => {
            turn::load_many(&started.target, &workload, |number| order::key(number, point.keys)).await?;
            let target = Arc::new(InOrder::new(started.target.clone(), point.keys));
            overwrite(&started, &target, (&workload, plan), arguments.commits).await?
        }
    };
    let sizes = Sizes::of(&started.cores().await);
    let line = ScaleLine::new(point, arguments, &measured, commits, sizes, lines);
    arguments.printed.output().emit(&line)?;
    if let Some(failure) = &measured.first_failure {
        eprintln!("  first failure: {failure}");
    }
    let verdict = Verdict::of(arguments.outcomes.allow(&measured.total()) && commits >= arguments.commits);
    lines.push(line);
    Ok(verdict)
}

/// Overwrites the keys for as long as it takes. What was measured last, and how often every index committed in it.
async fn overwrite<T: Target>(
    started: &Started,
    target: &Arc<T>,
    (workload, mut plan): (&Arc<Workload>, Plan),
    commits_min: u32,
) -> Result<(Measured, u32), PerfError> {
    let watched = [started.processes.pids(), &[std::process::id()]].concat();
    loop {
        let mut commits = Commits::default();
        let stretch = Stretch::start(&watched);
        let measured = tokio::select! {
            measured = drive(target.clone(), workload.clone(), plan) => measured?,
            never = commits.watch_after(plan.warmup, started.target.client(0)) => match never {},
        };
        turn::talk_about_cpu(&stretch, &[("margate", started.processes.pids())]);
        started.nodes.check_all()?;
        let (commits, longer) = (commits.fewest(), plan.window * 2);
        if commits >= commits_min || longer > WINDOW_MAX {
            return Ok((measured, commits));
        }
        eprintln!("  an index has committed {commits} times only; again for {} s", longer.as_secs());
        plan.window = longer;
        plan.phase += 1;
    }
}
